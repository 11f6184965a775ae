"""What every transformer must obey, as functions that fail where a module does not: for models here, and for your own.

    from minitransformers.testing.laws import assert_causal
    assert_causal(my_decoder, input_ids, position=3)

A *model* is anything that is called with `input_ids=…` (and, where a law says so, `attention_mask`, `position_ids`,
`past_key_values`) and gives a tensor, or an output, mapping or sequence of tensors. The batch is dimension 0 of each.
The laws of decoders are laws of an encoder–decoder's target: see `TargetSide`.
Dropout must be off: a law compares two passes. Rounding is allowed for as `assert_close` says, so float64 is the dtype
in which the laws are sharp. They run in the caller's grad mode.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.checkpoints.rules import WeightTable
from minitransformers.errors import InputError
from minitransformers.nn.attention import Attended, eager_attention, fused_attention
from minitransformers.nn.losses import IGNORED
from minitransformers.nn.positions import positions_from_mask
from minitransformers.testing.comparing import assert_close, assert_gradients_close, named_tensors

Model = Callable[..., Any]

# What has one entry for each token, and what stands where there is none.
_PADDING = {"attention_mask": 0, "token_type_ids": 0, "position_ids": 0}


class TargetSide(nn.Module):
    """An encoder–decoder as a decoder, of its target: to read one source, or what the encoder has made of it.

    Args:
        source: arguments of the model, such as `input_ids` and `attention_mask`, or `encoder_outputs`.
    """

    def __init__(self, model: Any, source: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.source, self.config = model, dict(source), model.config

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **arguments: Any,
    ) -> Any:
        """The model's output without what the encoder gave; ids, mask and vectors are of the target."""
        output = self.model(
            **self.source,
            decoder_input_ids=input_ids,
            decoder_attention_mask=attention_mask,
            decoder_inputs_embeds=inputs_embeds,
            **arguments,
        )
        for name in output.keys():  # noqa: SIM118  # an output, which gives its fields in turn
            if name.startswith("encoder_"):
                output[name] = None
        return output


# ---- who sees what ---------------------------------------------------------------------------------------------------


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
        {name: tensor[:, : position + 1] for name, tensor in _per_token(after, length).items()},
        {name: tensor[:, : position + 1] for name, tensor in _per_token(before, length).items()},
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
    plain = _per_token(module(hidden_states), length)
    permuted = _per_token(module(hidden_states[:, permutation]), length)
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


# ---- the cache -------------------------------------------------------------------------------------------------------


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
    expected = _per_token(whole, input_ids.shape[1])
    lengths = [end - start for start, end in zip([0, *cuts], [*cuts, input_ids.shape[1]], strict=True)]
    per_piece = [_per_token(piece, length) for piece, length in zip(pieces, lengths, strict=True)]
    joined = {name: torch.cat([tensors[name] for tensors in per_piece], dim=1) for name in expected}
    assert_close(joined, expected, name=f"in pieces cut at {list(cuts)}:")
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
    expected = {name: tensor[:, length:] for name, tensor in _per_token(whole, input_ids.shape[1]).items()}
    assert_close(_per_token(went_on, new), expected, name=f"after the cache was cropped to {length}:")
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
    cache.reorder(index)
    masks = {name: mask[index] for name, mask in masks.items()}
    went_on = model(input_ids=input_ids[index][:, cut:], past_key_values=cache, use_cache=True, **masks)
    whole = model(input_ids=input_ids[index], use_cache=True, **masks)
    expected = {name: tensor[:, cut:] for name, tensor in _per_token(whole, input_ids.shape[1]).items()}
    actual = _per_token(went_on, input_ids.shape[1] - cut)
    assert_close(actual, expected, name=f"after the cache was reordered to {list(rows)}:")


def assert_cache_differentiable(
    model: nn.Module, input_ids: Int[Tensor, "batch length"], cuts: Sequence[int], **arguments: Any
) -> None:
    """The gradient of a text given in pieces is that of one pass: it flows back through the cache.

    Needs grad mode. What is differentiated is a fixed random mixture of all outputs that have an entry for each token.

    Args:
        cuts, arguments: see `run_in_chunks`.
    """
    length = input_ids.shape[1]
    (whole,) = run_in_chunks(model, input_ids, [], **arguments)
    pieces = run_in_chunks(model, input_ids, cuts, **arguments)
    per_piece = [
        _per_token(piece, end - start) for piece, start, end in zip(pieces, [0, *cuts], [*cuts, length], strict=True)
    ]
    names = _per_token(whole, length).keys()
    joined = {name: torch.cat([tensors[name] for tensors in per_piece], dim=1) for name in names}
    expected = _gradients(model, _mixture(_per_token(whole, length)))
    assert_gradients_close(_gradients(model, _mixture(joined)), expected)


# ---- kernels ---------------------------------------------------------------------------------------------------------


def assert_kernels_agree(
    query: Float[Tensor, "batch heads query dim"],
    key: Float[Tensor, "batch heads key dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    mask: Bool[Tensor, "#batch #heads #query key"] | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    is_causal: bool = False,
    kernel: Callable[..., Attended] = fused_attention,
    reference: Callable[..., Attended] = eager_attention,
    tolerance: float | None = None,
    **options: Any,
) -> None:
    """`kernel` computes what `reference` does: outputs, and gradients of query, key, value and bias, all finite.

    A query that may attend to nothing gets exactly zeros from both, and sends back exactly zeros.

    Args:
        options: `scale`, `upcast`, passed to both.
    """
    results = []
    for attend in (kernel, reference):
        inputs = {"query": query, "key": key, "value": value} | ({} if bias is None else {"bias": bias})
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
        with torch.enable_grad():
            output = attend(**leaves, mask=mask, is_causal=is_causal, **options).output
            gradients = torch.autograd.grad(_mixture({"output": output}), list(leaves.values()))
        results.append((output.detach(), dict(zip(leaves, gradients, strict=True))))
    (ours, our_gradients), (theirs, their_gradients) = results
    for name, tensor in {"output": ours, **our_gradients, "expected": theirs, **their_gradients}.items():
        if not tensor.isfinite().all():
            raise AssertionError(f"{name} has numbers that are not finite")
    if mask is not None:
        allowed = mask
        if is_causal:
            query_length, key_length = query.shape[2], key.shape[2]
            positions = torch.arange(query_length)[:, None] + key_length - query_length
            allowed = mask & (torch.arange(key_length)[None] <= positions)
        nothing = ~allowed.any(dim=-1, keepdim=True)
        for name, tensor in (("output", ours), ("expected", theirs), ("gradient of query", our_gradients["query"])):
            if tensor.masked_select(nothing).any():
                raise AssertionError(f"{name} is not zero for a query that may attend to nothing")
    assert_close(ours, theirs, tolerance=tolerance)
    assert_gradients_close(our_gradients, their_gradients, tolerance=tolerance)


def assert_implementations_agree(model: Any, batch: Mapping[str, Tensor]) -> None:
    """A model computes the same with "eager" and with "sdpa" attention: outputs, loss and the gradient of each weight.

    Args:
        model: has `set_attn_implementation`; afterwards it is as before.
        batch: arguments of the model. The gradient is of its loss where there is one, else of a fixed random mixture
            of all its outputs.
    """
    before = model.config.attn_implementation
    results = []
    try:
        for name in ("eager", "sdpa"):
            model.set_attn_implementation(name)
            with torch.enable_grad():
                output = dict(named_tensors(model(**batch)))
                target = output.get("output.loss")
                results.append((output, _gradients(model, _mixture(output) if target is None else target)))
    finally:
        model.config.attn_implementation = before
    (eager, eager_gradients), (fused, fused_gradients) = results
    assert_close(fused, eager, name="of sdpa:")
    assert_gradients_close(fused_gradients, eager_gradients)


# ---- weights ---------------------------------------------------------------------------------------------------------


def assert_tied(model: nn.Module, *names: str) -> None:
    """Several names stand for one parameter, which is counted, saved by torch and trained once.

    Args:
        names: of the parameters; by default the weights of `get_input_embeddings()` and `get_output_embeddings()`.
    """
    by_name = dict(model.named_parameters(remove_duplicate=False))
    if not names:
        layers: list[nn.Module] = [model.get_input_embeddings(), model.get_output_embeddings()]  # type: ignore[operator]
        names = tuple(name for name, _ in by_name.items() if any(by_name[name] is layer.weight for layer in layers))
        if len(names) < 2 or layers[0].weight is not layers[1].weight:
            raise AssertionError("the weights of the input and of the output embeddings are two parameters")
    first = by_name[names[0]]
    for name in names[1:]:
        if by_name[name] is not first:
            raise AssertionError(f"{name!r} and {names[0]!r} are two parameters")
    if sum(parameter is first for parameter in model.parameters()) != 1:
        raise AssertionError(f"{names[0]!r} is not counted once among the parameters")


def sharing(model: nn.Module) -> set[frozenset[str]]:
    """The names of the model's parameters, those that stand for one parameter together."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {frozenset(group) for group in names.values()}


def assert_same_weights(actual: nn.Module, expected: nn.Module) -> None:
    """Both have the same parameters and buffers, bit for bit, and share the same of them."""
    assert_close(actual.state_dict(), expected.state_dict(), tolerance=0.0, equal_nan=True, name="weights")
    if sharing(actual) != sharing(expected):
        raise AssertionError(f"tied are {_tied(actual)}, expected {_tied(expected)}")


def assert_saved_and_loaded_equal(
    model: Any, directory: str | PathLike[str], batch: Mapping[str, Tensor] | None = None, **save_options: Any
) -> Any:
    """`save_pretrained`, then `from_pretrained`, gives the same model: weights, ties, dtype, config and results.

    Args:
        directory: to write to.
        batch: arguments to compare results with, in float64.
        save_options: for `save_pretrained`.

    Returns:
        The loaded model.
    """
    model.save_pretrained(directory, **save_options)
    loaded, report = type(model).from_pretrained(
        directory, output_loading_info=True, attn_implementation=model.config.attn_implementation
    )
    for kind, names in report.items():
        if names:
            raise AssertionError(f"{kind} after loading what was saved: {names}")
    assert_same_weights(loaded, model)
    if loaded.config != model.config:
        raise AssertionError(f"the config became {loaded.config!r}, and was {model.config!r}")
    if batch is not None:
        # In float64, since the same numbers may lie transposed in memory and be summed up in another order.
        with torch.no_grad():
            actual, expected = (copy.deepcopy(one).double().eval()(**batch) for one in (loaded, model))
        assert_close(actual, expected, name="of the loaded model:")
    return loaded


def assert_names_bijective(table: WeightTable, names: Iterable[str]) -> None:
    """A table of weight names gives each of our names one of its own in files, and reads that back as the same.

    Whether behind the prefix of the backbone or without it.

    Args:
        names: of a model's parameters.
    """
    taken: dict[str, str] = {}
    for name in names:
        written = table.to_theirs(name)
        if written.name in taken:
            raise AssertionError(f"{name!r} and {taken[written.name]!r} are both written as {written.name!r}")
        taken[written.name] = name
        read = table.to_ours(written.name)
        if read is None or read.name != name or read.transposed != written.transposed:
            raise AssertionError(f"{name!r} is written as {written} and read back as {read}")
        if table.to_theirs(read.name) != written:
            raise AssertionError(f"{written.name!r} is read as {read} and written back as {table.to_theirs(read.name)}")


def assert_unused_parameters_do_not_matter(
    model: nn.Module, batch: Mapping[str, Tensor], parameter: str, entries: Any, *, amount: float = 1.0
) -> None:
    """Entries of a parameter that nothing in the batch refers to change nothing and get no gradient.

    Such as the embeddings of tokens that do not occur, in a model without a language-model head, or of the padding.
    Compared are outputs with an entry for each token, where its mask in the batch (`attention_mask`, of a target
    `decoder_attention_mask`) is not 0, those with one for each row, and the loss.

    Args:
        parameter: its name.
        entries: index into it, for instance of rows.
        amount: what is added to them, and taken away again.
    """
    weight = model.get_parameter(parameter)
    kept = weight.detach().clone()
    with torch.enable_grad():
        before = _of_real_tokens(model(**batch), batch)
        (gradient,) = torch.autograd.grad(_mixture(before), [weight], allow_unused=True)
    if gradient is not None and gradient[entries].any():
        raise AssertionError(f"there is a gradient of the entries of {parameter} that should not matter")
    try:
        with torch.no_grad():
            weight[entries] += amount
            after = _of_real_tokens(model(**batch), batch)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert_close(after, before, name=f"after entries of {parameter} changed that should not matter:")


# ---- tools -----------------------------------------------------------------------------------------------------------


def _per_token(output: Any, length: int) -> dict[str, Tensor]:
    """The tensors of an output that have an entry for each token: (batch, length) or (batch, length, …)."""
    found = {
        name: tensor
        for name, tensor in named_tensors(output)
        if tensor.ndim in (2, 3) and tensor.shape[1] == length and "past_key_values" not in name
    }
    if not found:
        raise InputError(f"The output has no tensor (batch, {length}, …) with an entry for each token.")
    return found


def _of_real_tokens(output: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an output without what belongs to padding, and without attention weights and caches."""
    tensors = {}
    for name, tensor in named_tensors(output):
        if tensor.ndim > 3:
            continue
        of_target = "decoder_attention_mask" in batch and "encoder_" not in name
        mask = batch.get("decoder_attention_mask" if of_target else "attention_mask")
        if mask is not None and tensor.shape[: mask.ndim] == mask.shape:
            tensor = tensor[mask.bool()]
        tensors[name] = tensor
    return tensors


def _mixture(tensors: Mapping[str, Tensor]) -> Tensor:
    """One number to which every number in `tensors` contributes, each with a fixed weight of its own."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.is_floating_point():
            weights = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).add(0.5)
            signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
            total = total + (tensor * (weights * signs).to(tensor)).sum()
    return total


def _gradients(model: nn.Module, target: Tensor) -> dict[str, Tensor | None]:
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(target, list(trained.values()), allow_unused=True)
    return dict(zip(trained, gradients, strict=True))


def _tied(model: nn.Module) -> list[list[str]]:
    return sorted(sorted(names) for names in sharing(model) if len(names) > 1)
