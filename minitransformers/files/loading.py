"""Weights from a file into a model, without a second copy, with a report of what was there and what was not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minitransformers.errors import CheckpointError
from minitransformers.files.weight_names import WeightTable

logger = logging.getLogger(__name__)


@dataclass
class LoadingReport:
    """What became of the weights, in the names that the file and `transformers` use."""

    missing_keys: set[str] = field(default_factory=set)
    """Not in the file: newly initialised."""
    unexpected_keys: set[str] = field(default_factory=set)
    """In the file, and of no use for this model."""
    mismatched_keys: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)
    """Name, shape in the file, shape in the model: newly initialised, as `ignore_mismatched_sizes=True` asked."""
    error_msgs: list[str] = field(default_factory=list)
    """Always empty: what is wrong is raised."""


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    table: WeightTable,
    *,
    may_be_missing: Callable[[str], bool],
    initialise: Callable[[nn.Module, str, Tensor], None],
    tied: bool,
    shape_of: Callable[[str], tuple[int, ...]] | None = None,
    dtype: torch.dtype | None = None,
    stays_wide: Callable[[str], bool] = lambda name: False,
    ignore_mismatched_sizes: bool = False,
    origin: str = "the checkpoint",
) -> LoadingReport:
    """Put `weights`, named as in `transformers`, into `model`, which may be on the meta device.

    Tensors are assigned, not copied: a memory-mapped tensor stays mapped.

    Args:
        table: the family's names.
        may_be_missing: whether a parameter of ours, by name, may be newly initialised (a head) or not (the backbone).
        initialise: gives a parameter of a module its first value, in place.
        tied: whether the config ties word embeddings.
        shape_of: the shape of a weight by name, where it is known without loading it.
        dtype: what the weights are converted to; None: what the first of them has.
        stays_wide: whether a parameter of ours, by name, is float32 in a model that is loaded in float16.
        ignore_mismatched_sizes: newly initialise weights of a head that have another shape.
        origin: where the weights come from, for messages.

    Raises:
        CheckpointError: a weight of the backbone is missing or has another shape, nothing fits at all, or a weight is
            no floating-point number.
    """
    shape_of = shape_of or (lambda name: tuple(weights[name].shape))
    expected = _tensors(model)
    found, report = _assign_names(weights, table, expected)

    ties = {name: source for name, source in table.ties.items() if tied and name in expected and source in expected}
    for name, source in ties.items():  # the shared tensor may stand in the file under either name
        if source not in found and name in found:
            found[source] = found.pop(name)

    if tied:
        _find_under_tied_names(found, report, table, expected)

    mismatched = {}
    for ours, (theirs, transposed) in found.items():
        shape = shape_of(theirs)
        wanted = tuple(expected[ours].shape)
        if (shape[::-1] if transposed else shape) != wanted:
            mismatched[ours] = (theirs, shape, wanted[::-1] if transposed else wanted)
    _refuse_misshapen(model, mismatched, ignore_mismatched_sizes, may_be_missing, origin)
    for ours, description in mismatched.items():
        del found[ours]
        report.mismatched_keys.add(description)

    missing = [name for name in expected if name not in found and name not in ties]
    _refuse_missing(model, missing, mismatched, found, table, may_be_missing, origin)
    _refuse_dtypes({theirs: weights[theirs].dtype for theirs, _ in found.values()}, origin)

    dtype = dtype or next((weights[theirs].dtype for theirs, _ in found.values()), None)
    for ours, (theirs, transposed) in found.items():
        tensor = weights[theirs]
        own_dtype = torch.float32 if dtype == torch.float16 and stays_wide(ours) else dtype
        _set_tensor(model, ours, (tensor.t() if transposed else tensor).to(own_dtype))
    for name in missing:
        if not isinstance(expected[name], nn.Parameter):
            continue  # a buffer keeps what the constructor has computed: nothing is missing
        _initialise(model, name, dtype, initialise)
        if name not in mismatched:
            report.missing_keys.add(table.to_theirs(name).name)
    report.missing_keys |= {name for name, of in table.doubles.items() if of in report.missing_keys}
    for name, source in ties.items():
        if name not in found or torch.equal(model.get_parameter(name), model.get_parameter(source)):
            _set_tensor(model, name, model.get_parameter(source))
    _log(model, report, origin)
    return report


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and stored buffer by name, shared ones under each of their names."""
    return dict(model.state_dict(keep_vars=True))


def _assign_names(
    weights: Iterable[str], table: WeightTable, expected: Mapping[str, Tensor]
) -> tuple[dict[str, tuple[str, bool]], LoadingReport]:
    """For each tensor of ours, its name in the file and whether it is transposed there."""
    found: dict[str, tuple[str, bool]] = {}
    report = LoadingReport()
    for theirs in weights:
        target = table.to_ours(theirs)
        if target is None:
            continue
        # A file may come from the bare backbone and the model have a head, or the other way round.
        names = (target.name, f"{table.base}.{target.name}", target.name.removeprefix(f"{table.base}."))
        ours = next((name for name in names if name in expected), None)
        if ours is None:
            report.unexpected_keys.add(theirs)
        elif ours not in found or theirs.removeprefix(f"{table.base}.") in table.doubles:
            # Under two names, the one that the reference computes with counts.
            found[ours] = (theirs, target.transposed)
    return found, report


def _find_under_tied_names(
    found: dict[str, tuple[str, bool]], report: LoadingReport, table: WeightTable, expected: Mapping[str, Tensor]
) -> None:
    """A bare backbone's embedding may stand in the file as the output layer only, which the backbone does not have."""
    for theirs in sorted(report.unexpected_keys):
        target = table.to_ours(theirs)
        source = table.ties.get(target.name, "") if target is not None else ""
        for ours in {source, source.removeprefix(f"{table.base}.")} & expected.keys():
            if target is not None and ours not in found:
                found[ours] = (theirs, target.transposed)
                report.unexpected_keys.discard(theirs)


def _refuse_misshapen(
    model: nn.Module,
    mismatched: Mapping[str, tuple[str, tuple[int, ...], tuple[int, ...]]],
    ignore: bool,
    may_differ: Callable[[str], bool],
    origin: str,
) -> None:
    wrong = [entry for ours, entry in mismatched.items() if not (ignore and may_differ(ours))]
    if not wrong:
        return
    lines = [
        f"{name!r} has shape {shape} in {origin}, and {type(model).__name__} needs {needed}"
        for name, shape, needed in wrong
    ]
    only_head = all(may_differ(ours) for ours in mismatched)
    remedy = (
        "For a new head of another size pass ignore_mismatched_sizes=True."
        if only_head
        else "Is config.json from another model, or overridden by an argument?"
    )
    raise CheckpointError(f"{_listed(lines)}. {remedy}")


def _refuse_missing(
    model: nn.Module,
    missing: list[str],
    mismatched: Mapping[str, object],
    found: Mapping[str, object],
    table: WeightTable,
    may_be_missing: Callable[[str], bool],
    origin: str,
) -> None:
    needed = [name for name in missing if not may_be_missing(name) and name not in mismatched]
    if not needed:
        return
    if not any(not may_be_missing(name) for name in found):
        raise CheckpointError(
            f"{origin} has none of the weights of {type(model).__name__}, for instance "
            f"{table.to_theirs(needed[0]).name!r}: it is the checkpoint of another architecture, or was saved by "
            f"something that names weights differently."
        )
    names = _listed([repr(table.to_theirs(name).name) for name in needed])
    raise CheckpointError(
        f"{origin} lacks {len(needed)} weight(s) that {type(model).__name__} cannot do without: {names}. "
        f"Is the file complete, and config.json from the same model?"
    )


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _refuse_dtypes(dtypes: Mapping[str, torch.dtype], origin: str) -> None:
    wrong = [f"{name!r} is {dtype}" for name, dtype in dtypes.items() if dtype not in _DTYPES]
    if wrong:
        raise CheckpointError(
            f"In {origin}, {_listed(wrong)}: weights must be float16, bfloat16, float32 or float64. Of a quantized "
            f"checkpoint, take the original."
        )


def _listed(items: list[str], most: int = 8) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _set_tensor(model: nn.Module, name: str, tensor: Tensor) -> None:
    module, leaf = _owner(model, name)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    elif isinstance(tensor, nn.Parameter):
        module._parameters[leaf] = tensor
    else:
        module._parameters[leaf] = nn.Parameter(tensor)


def _initialise(
    model: nn.Module, name: str, dtype: torch.dtype | None, initialise: Callable[[nn.Module, str, Tensor], None]
) -> None:
    module, leaf = _owner(model, name)
    old = getattr(module, leaf)
    _set_tensor(model, name, torch.empty(old.shape, dtype=dtype or old.dtype, device="cpu"))
    with torch.no_grad():
        initialise(module, leaf, getattr(module, leaf))


def _log(model: nn.Module, report: LoadingReport, origin: str) -> None:
    new = sorted(report.missing_keys | {name for name, _, _ in report.mismatched_keys})
    if new:
        logger.warning(
            "%s has no weights that fit %s of %s: newly initialised. Train the model before you use its results.",
            origin,
            ", ".join(new),
            type(model).__name__,
        )
    if report.unexpected_keys:
        logger.info("%s: not used by %s: %s", origin, type(model).__name__, ", ".join(sorted(report.unexpected_keys)))
