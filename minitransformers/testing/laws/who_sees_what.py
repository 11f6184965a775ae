"""Who sees what: a token neither the later ones, nor other rows of its batch, nor padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.nn.positions import positions_from_mask
from minitransformers.testing.comparing import assert_close, named_tensors
from minitransformers.testing.laws.outputs import Model, per_token

# What has one entry for each token, and what stands where there is none.
_PADDING = {"attention_mask": 0, "token_type_ids": 0, "position_ids": 0}


def assert_causal(
    model: Model, inputs: Tensor, position: int, *, vocab_size: int | None = None, **arguments: Any
) -> None:
    """What comes after `position` changes nothing of what the model says up to it.

    Args:
        inputs: ids (batch, length), passed as `input_ids`, or vectors (batch, length, hidden), passed as they are.
        position: the last one that must stay as it is; at least one token follows it.
        vocab_size: ids are below it; default `model.config.vocab_size`.
        arguments: passed to the model.
    """
    length = inputs.shape[1]
    if not 0 <= position < length - 1:
        raise InputError(f"position={position} must be one of 0 … {length - 2}, so that something follows it.")
    later = torch.arange(length, device=inputs.device) > position
    if inputs.is_floating_point():
        noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0)).to(inputs)
        changed = torch.where(later[:, None], inputs + noise, inputs)
        before, after = model(inputs, **arguments), model(changed, **arguments)
    else:
        vocab_size = model.config.vocab_size if vocab_size is None else vocab_size  # type: ignore[attr-defined]
        changed = torch.where(later, (inputs + 1) % vocab_size, inputs)
        before, after = model(input_ids=inputs, **arguments), model(input_ids=changed, **arguments)
    assert_close(
        {name: tensor[:, : position + 1] for name, tensor in per_token(after, length).items()},
        {name: tensor[:, : position + 1] for name, tensor in per_token(before, length).items()},
        name=f"up to position {position}, after later tokens changed:",
    )


def assert_rows_independent(model: Model, batch: Mapping[str, Tensor], order: Sequence[int] | None = None) -> None:
    """Each row of a batch gets what it gets alone, and rows in another order get the same in that order.

    Args:
        batch: arguments of the model, each with the batch in dimension 0. Labels are left out: a loss is of all rows.
        order: a permutation of the rows; the reverse by default.
    """
    batch = {name: tensor for name, tensor in batch.items() if name != "labels"}
    size = len(next(iter(batch.values())))
    rows = torch.tensor(range(size - 1, -1, -1) if order is None else order)
    together = dict(named_tensors(model(**batch)))
    reordered = dict(named_tensors(model(**{name: tensor[rows] for name, tensor in batch.items()})))
    assert_close(reordered, {name: tensor[rows] for name, tensor in together.items()}, name="rows in another order:")
    for row in range(size):
        alone = dict(named_tensors(model(**{name: tensor[row : row + 1] for name, tensor in batch.items()})))
        assert_close(
            {name: tensor[row : row + 1] for name, tensor in together.items()}, alone, name=f"row {row} in its batch:"
        )


def assert_permutation_equivariant(
    module: Callable[[Tensor], Any], hidden_states: Float[Tensor, "batch length hidden"], order: Sequence[int]
) -> None:
    """A module that knows no positions gives permuted tokens their own results, permuted.

    Args:
        order: a permutation of the positions.
    """
    permutation = torch.tensor(order)
    length = hidden_states.shape[1]
    plain = per_token(module(hidden_states), length)
    permuted = per_token(module(hidden_states[:, permutation]), length)
    assert_close(permuted, {name: tensor[:, permutation] for name, tensor in plain.items()}, name="of permuted tokens:")


# ---- padding ---------------------------------------------------------------------------------------------------------


def assert_padding_invariant(
    model: Model,
    batch: Mapping[str, Tensor],
    amount: int,
    *,
    side: str = "right",
    pad_token_id: int = 0,
    with_positions: bool = True,
    prefix: str = "",
) -> None:
    """More padding changes nothing: every output, the loss included, is what it was, with `amount` more positions.

    On the right that holds of a plain forward pass. On the left positions must count real tokens only, so they are
    passed: `position_ids=positions_from_mask(attention_mask)`, with and without the padding. A causal model's label of
    each text's first token must be −100 there: else the padding in front of it, once there is some, is to predict it.

    Args:
        batch: arguments of the model, of which those with one entry for each token are padded: `input_ids` (which
            must be there), `inputs_embeds`, `attention_mask` (ones if it is not there), `token_type_ids`,
            `position_ids` and `labels`. Tokens may stand in dimension 1, or in 2 behind a dimension of choices.
        amount: number of positions to add, at least 1.
        side: "right" or "left".
        with_positions: False for a model that takes no `position_ids`, since it knows distances only.
        prefix: "decoder_" to pad the target of an encoder–decoder, to which the labels belong, and not the source.
    """
    if amount < 1 or side not in ("right", "left"):
        raise InputError(f"amount={amount} must be at least 1 and side={side!r} 'right' or 'left'.")
    batch = {f"{prefix}attention_mask": torch.ones_like(batch[f"{prefix}input_ids"]), **batch}
    padded = pad_batch(batch, amount, side=side, pad_token_id=pad_token_id, prefix=prefix)
    if side == "left" and with_positions:
        batch = {"position_ids": positions_from_mask(batch["attention_mask"]), **batch}
        padded = {"position_ids": positions_from_mask(padded["attention_mask"]), **padded}
    expected = dict(named_tensors(model(**batch)))
    actual = dict(named_tensors(model(**padded)))
    assert_close(
        {
            name: _without_padding(tensor, expected[name], amount, side) if name in expected else tensor
            for name, tensor in actual.items()
        },
        expected,
        name=f"with {amount} more paddings on the {side}:",
    )


def pad_batch(
    batch: Mapping[str, Tensor], amount: int, *, side: str = "right", pad_token_id: int = 0, prefix: str = ""
) -> dict[str, Tensor]:
    """`batch` with `amount` more positions of padding: see `assert_padding_invariant`."""
    around = (0, amount) if side == "right" else (amount, 0)
    ids, vectors = f"{prefix}input_ids", f"{prefix}inputs_embeds"
    values = {f"{prefix}{name}": value for name, value in {"input_ids": pad_token_id, **_PADDING}.items()}
    if prefix or "decoder_input_ids" not in batch:  # whose target the labels are of
        values["labels"] = IGNORED
    padded = dict(batch)
    for name, value in values.items():
        # Labels may also be one class for each row, or a 0 or 1 for each class of it as floating point: no padding.
        if name in batch and batch[name].shape == batch[ids].shape and not batch[name].is_floating_point():
            padded[name] = F.pad(batch[name], around, value=value)
    if vectors in batch:
        padded[vectors] = F.pad(batch[vectors], (0, 0, *around))
    return padded


def _without_padding(tensor: Tensor, expected: Tensor, amount: int, side: str) -> Tensor:
    """`tensor` without `amount` entries in each dimension that is longer by them: positions, queries, keys."""
    for dim in range(min(tensor.ndim, expected.ndim)):
        if tensor.shape[dim] == expected.shape[dim] + amount:
            tensor = tensor.narrow(dim, 0 if side == "right" else amount, expected.shape[dim])
    return tensor
