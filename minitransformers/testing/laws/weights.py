"""Weights: tied ones stay one, saved ones come back as they were, and unused ones do not matter."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.testing.comparing import assert_close, named_tensors
from minitransformers.testing.laws.outputs import mixture


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


def assert_names_bijective(table: CheckpointNames, names: Iterable[str]) -> None:
    """A table gives each name of a module's tensor a name of its own in files, and reads that back as the same.

    Args:
        names: of a model's parameters.
    """
    taken: dict[str, str] = {}
    for name in names:
        written = table.file_name(name)
        if written in taken:
            raise AssertionError(f"{name!r} and {taken[written]!r} are both written as {written!r}")
        taken[written] = name
        if (read := table.module_name(written)) != name:
            raise AssertionError(f"{name!r} is written as {written!r} and read back as {read!r}")


def _tied(model: nn.Module) -> list[list[str]]:
    return sorted(sorted(names) for names in sharing(model) if len(names) > 1)


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
        (gradient,) = torch.autograd.grad(mixture(before), [weight], allow_unused=True)
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
