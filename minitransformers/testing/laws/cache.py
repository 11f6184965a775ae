"""The cache: a text in pieces gets what it gets in one pass, whatever happens to the cache between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.laws.outputs import Model, gradients_of, mixture, per_token


def run_in_chunks(
    model: Model,
    input_ids: Int[Tensor, "batch length"],
    cuts: Sequence[int],
    *,
    attention_mask: Int[Tensor, "batch length"] | None = None,
    position_ids: Int[Tensor, "#batch length"] | None = None,
    cache: Any = None,
    **arguments: Any,
) -> list[Any]:
    """The outputs of a model that is given a text in pieces, each with the cache that the piece before it returned.

    Args:
        cuts: where pieces end and begin, ascending, between 1 and length − 1; none is one pass.
        attention_mask, position_ids: of the whole text.
        cache: passed to the first call; None lets the model make one.
    """
    length = input_ids.shape[1]
    ends = [*cuts, length]
    if any(not first < second for first, second in zip([0, *cuts], ends, strict=True)):
        raise InputError(f"cuts={list(cuts)} must ascend, between 1 and {length - 1}.")
    outputs, start = [], 0
    for end in ends:
        if attention_mask is not None:
            arguments["attention_mask"] = attention_mask[:, :end]
        if position_ids is not None:
            arguments["position_ids"] = position_ids[:, start:end]
        output = model(input_ids=input_ids[:, start:end], past_key_values=cache, use_cache=True, **arguments)
        cache, start = output.past_key_values, end
        outputs.append(output)
    return outputs


def assert_cache_consistent(
    model: Model, input_ids: Int[Tensor, "batch length"], cuts: Sequence[int], *, cache: Any = None, **arguments: Any
) -> None:
    """A text given in pieces, with the cache, gets what it gets in one pass; and so does the cache in the end.

    Args:
        cuts, cache, arguments: see `run_in_chunks`.
    """
    (whole,) = run_in_chunks(model, input_ids, [], **arguments)
    pieces = run_in_chunks(model, input_ids, cuts, cache=cache, **arguments)
    expected = per_token(whole, input_ids.shape[1])
    assert_close(_joined(pieces, cuts, expected), expected, name=f"in pieces cut at {list(cuts)}:")
    assert_close(pieces[-1].past_key_values, whole.past_key_values, name="the cache after the last piece")


def assert_cache_crops(
    model: Model, input_ids: Int[Tensor, "batch length"], length: int, *, attention_mask: Tensor | None = None
) -> None:
    """After other tokens were taken back with `crop`, the right ones get what they get in one pass.

    Args:
        length: how many tokens are right from the start, at least 1 and less than there are.
    """
    wrong = input_ids.clone()
    wrong[:, length:] = (wrong[:, length:] + 1) % model.config.vocab_size  # type: ignore[attr-defined]
    mask = {} if attention_mask is None else {"attention_mask": attention_mask}
    cache = model(input_ids=wrong, use_cache=True, **mask).past_key_values
    cache.crop(length)
    went_on = model(input_ids=input_ids[:, length:], past_key_values=cache, use_cache=True, **mask)
    whole = model(input_ids=input_ids, use_cache=True, **mask)
    new = input_ids.shape[1] - length
    expected = {name: tensor[:, length:] for name, tensor in per_token(whole, input_ids.shape[1]).items()}
    assert_close(per_token(went_on, new), expected, name=f"after the cache was cropped to {length}:")
    assert_close(went_on.past_key_values, whole.past_key_values, name="the cache after it was cropped and filled again")


def assert_cache_reorders(
    model: Model,
    input_ids: Int[Tensor, "batch length"],
    rows: Sequence[int],
    cut: int,
    *,
    attention_mask: Tensor | None = None,
) -> None:
    """A cache whose rows were taken by `reorder`, some twice and some not at all, goes on as those rows do in one pass.

    Args:
        rows: indices into the batch, as a beam search would choose them.
        cut: how many tokens are in the cache when it is reordered, at least 1 and less than there are.
    """
    index = torch.tensor(rows)
    masks = {} if attention_mask is None else {"attention_mask": attention_mask}
    cache = model(
        input_ids=input_ids[:, :cut], use_cache=True, **{name: mask[:, :cut] for name, mask in masks.items()}
    ).past_key_values
    cache.reorder_cache(index)
    masks = {name: mask[index] for name, mask in masks.items()}
    went_on = model(input_ids=input_ids[index][:, cut:], past_key_values=cache, use_cache=True, **masks)
    whole = model(input_ids=input_ids[index], use_cache=True, **masks)
    expected = {name: tensor[:, cut:] for name, tensor in per_token(whole, input_ids.shape[1]).items()}
    actual = per_token(went_on, input_ids.shape[1] - cut)
    assert_close(actual, expected, name=f"after the cache was reordered to {list(rows)}:")


def assert_cache_differentiable(
    model: nn.Module, input_ids: Int[Tensor, "batch length"], cuts: Sequence[int], **arguments: Any
) -> None:
    """The gradient of a text given in pieces is that of one pass: it flows back through the cache.

    Needs grad mode. What is differentiated is a fixed random mixture of all outputs that have an entry for each token.

    Args:
        cuts, arguments: see `run_in_chunks`.
    """
    (whole,) = run_in_chunks(model, input_ids, [], **arguments)
    pieces = run_in_chunks(model, input_ids, cuts, **arguments)
    in_one_pass = per_token(whole, input_ids.shape[1])
    in_pieces = _joined(pieces, cuts, in_one_pass)
    assert_gradients_close(gradients_of(model, mixture(in_pieces)), gradients_of(model, mixture(in_one_pass)))


def _joined(pieces: Sequence[Any], cuts: Sequence[int], whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `whole`, one pass's, as the outputs of all pieces have them: put one behind the other."""
    length = next(iter(whole.values())).shape[1]
    spans = zip([0, *cuts], [*cuts, length], strict=True)
    per_piece = [per_token(piece, end - start) for piece, (start, end) in zip(pieces, spans, strict=True)]
    return {name: torch.cat([tensors[name] for tensors in per_piece], dim=1) for name in whole}
