"""Weights from a file into a model, without a second copy, and a report of what was there and what was not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import CheckpointError, ShapeError
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.files.finite import converted, report_non_finite

logger = logging.getLogger(__name__)

Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass
class LoadingReport:
    """What became of the weights, by the names of parameters, which are those of `transformers`."""

    missing_keys: set[str] = field(default_factory=set)
    """Not in the file: newly initialized."""
    unexpected_keys: set[str] = field(default_factory=set)
    """In the file, and of no use for this model."""
    mismatched_keys: set[Mismatch] = field(default_factory=set)
    """Name, shape in the file, shape in the model: newly initialized, as `ignore_mismatched_sizes=True` asked."""
    error_msgs: list[str] = field(default_factory=list)
    """Always empty: errors are raised."""


def load_weights(
    model: Any,
    weights: Mapping[str, Tensor],
    names: CheckpointNames,
    *,
    ties: Mapping[str, str],
    shape_of: Callable[[str], tuple[int, ...]] | None = None,
    dtype: torch.dtype | None = None,
    ignore_mismatched_sizes: bool = False,
    refuse_non_finite: bool = False,
    origin: str = "the checkpoint",
) -> LoadingReport:
    """Put `weights` into `model`, whose parameters may be on the meta device; initialize those that are missing.

    Tensors are assigned, not copied: a memory-mapped tensor stays mapped.

    Args:
        names: where the file's names differ from the model's.
        ties: pairs of the model's parameters that are one: the file may have either.
        shape_of: the shape of a weight by its name in the file, where it is known without loading it.
        dtype: type of the model; None: that of the first weight.
        ignore_mismatched_sizes: newly initialize weights of a head that have another shape.
        refuse_non_finite: raise an error where a weight is NaN or infinite. Otherwise there is a warning, after a look
            at all of small weights, and at the ends of large ones, which are not read yet.
        origin: source of the weights, for messages.

    Raises:
        CheckpointError: a weight of the backbone is missing or has another shape (`ShapeError`), nothing fits, or
            a weight has no floating-point type, or a value that `dtype` cannot hold.
    """
    shape_of = shape_of or (lambda name: tuple(weights[name].shape))
    expected = dict(model.state_dict(keep_vars=True))
    found, report = _match(weights, names, expected, ties)

    shapes = {name: tuple(expected[name].shape) for name in found}
    transposed = {name for name in found if names.is_transposed(name)}
    if any(shape_of(found[name]) == shapes[name] != shapes[name][::-1] for name in transposed):
        transposed = set()  # a state dict of our own, as torch.save writes it
    for name, in_file in list(found.items()):
        shape, wanted = shape_of(in_file), shapes[name][::-1] if name in transposed else shapes[name]
        if shape != wanted:
            report.mismatched_keys.add((name, shape, wanted))
            del found[name]
    mismatched = {name for name, _, _ in report.mismatched_keys}
    _refuse_misshapen(model, report.mismatched_keys, ignore_mismatched_sizes, origin)
    missing = [name for name in expected if name not in found and not (name in ties and ties[name] in expected)]
    _refuse_missing(model, [name for name in missing if name not in mismatched], found, origin)
    _refuse_dtypes({in_file: weights[in_file].dtype for in_file in found.values()}, origin)

    dtype = dtype or next((weights[in_file].dtype for in_file in found.values()), None)
    report_non_finite({in_file: weights[in_file] for in_file in found.values()}, refuse_non_finite, origin)
    for name, in_file in found.items():
        tensor = weights[in_file].t() if name in transposed else weights[in_file]
        kept = torch.float32 if model._keeps_fp32(name, dtype) else dtype
        _assign(model, name, converted(tensor, kept, in_file, origin))
    new = [name for name in missing if isinstance(expected[name], nn.Parameter)]  # buffers keep their computed values
    model._initialize_missing(new, dtype)
    tied_to_new = {name for name, source in ties.items() if source in new and name in expected and name not in found}
    report.missing_keys = (set(new) | tied_to_new) - mismatched
    report.missing_keys = _without(report.missing_keys, model._keys_to_ignore_on_load_missing)
    report.unexpected_keys = _without(report.unexpected_keys, model._keys_to_ignore_on_load_unexpected)
    for name, source in ties.items():
        if name in expected and source in expected:
            tied = model.get_parameter(source)
            if name not in found or torch.equal(model.get_parameter(name), tied):
                _assign(model, name, tied)
    _log(model, report, origin)
    return report


def _match(
    weights: Iterable[str], names: CheckpointNames, expected: Mapping[str, Tensor], ties: Mapping[str, str]
) -> tuple[dict[str, str], LoadingReport]:
    """For each parameter and buffer of the model, the name in the file."""
    found: dict[str, str] = {}
    report = LoadingReport()
    unused: dict[str, str] = {}
    for in_file in weights:
        name = names.module_name(in_file)
        if name is None:
            continue
        # A file may come from the bare backbone and the model have a head, or the other way round.
        candidates = (name, f"{names.base}.{name}", name.removeprefix(f"{names.base}."))
        ours = next((candidate for candidate in candidates if candidate in expected), None)
        if ours is None:
            unused[in_file] = name
        else:
            found.setdefault(ours, in_file)
    for name, source in ties.items():  # the file may have a tied tensor under either name
        if source in expected and source not in found and name in found:
            found[source] = found.pop(name)
    for in_file, name in unused.items():
        # The embedding may be in the file only as the output layer, which this model does not have.
        source = ties.get(name, "")
        embeddings = [
            embedding for embedding in (source, source.removeprefix(f"{names.base}.")) if embedding in expected
        ]
        if embeddings and embeddings[0] not in found:
            found[embeddings[0]] = in_file
        else:
            report.unexpected_keys.add(in_file)
    return found, report


def _refuse_misshapen(model: Any, mismatched: set[Mismatch], ignore: bool, origin: str) -> None:
    wrong = [entry for entry in sorted(mismatched) if not (ignore and model._may_be_missing(entry[0]))]
    if not wrong:
        return
    lines = [
        f"{name!r} has shape {shape} in {origin}, and {type(model).__name__} needs {needed}"
        for name, shape, needed in wrong
    ]
    only_head = all(model._may_be_missing(name) for name, _, _ in mismatched)
    remedy = (
        "For a new head of another size pass ignore_mismatched_sizes=True."
        if only_head
        else "Is config.json from another model, or overridden by an argument?"
    )
    raise ShapeError(f"{_listed(lines)}. {remedy}")


def _refuse_missing(model: Any, missing: list[str], found: Iterable[str], origin: str) -> None:
    needed = [name for name in missing if not model._may_be_missing(name)]
    if not needed:
        return
    if all(model._may_be_missing(name) for name in found):
        raise CheckpointError(
            f"{origin} has none of the weights of {type(model).__name__}, for instance {needed[0]!r}: it is the "
            f"checkpoint of another architecture, or its weights have other names."
        )
    raise CheckpointError(
        f"{origin} lacks {len(needed)} weight(s) that {type(model).__name__} cannot do without: "
        f"{_listed([repr(name) for name in needed])}. Is the file complete, and config.json from the same model?"
    )


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _refuse_dtypes(dtypes: Mapping[str, torch.dtype], origin: str) -> None:
    wrong = [f"{name!r} is {dtype}" for name, dtype in dtypes.items() if dtype not in _DTYPES]
    if wrong:
        raise CheckpointError(
            f"In {origin}, {_listed(wrong)}: weights must be float16, bfloat16, float32 or float64. Use the original "
            f"of a quantized checkpoint."
        )


def _without(names: set[str], patterns: Iterable[str] | None) -> set[str]:
    """The names in which none of the regular expressions is found."""
    return {name for name in names if not is_listed(name, patterns)}


def is_listed(name: str, patterns: Iterable[str] | None) -> bool:
    """Whether one of the regular expressions is found in a name."""
    return any(re.search(pattern, name) for pattern in patterns or ())


def _listed(items: list[str], most: int = 8) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more


def _assign(model: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        module._parameters[leaf] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor)


def _log(model: nn.Module, report: LoadingReport, origin: str) -> None:
    new = sorted(report.missing_keys | {name for name, _, _ in report.mismatched_keys})
    if new:
        logger.warning(
            "%s has no weights that fit %s of %s: newly initialized. Train the model before you use its results.",
            origin,
            ", ".join(new),
            type(model).__name__,
        )
    if report.unexpected_keys:
        logger.info("%s: not used by %s: %s", origin, type(model).__name__, ", ".join(sorted(report.unexpected_keys)))
