"""What all checks share: calling a learner's code, comparing it, and finding the mistake that explains its output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

UNKNOWN = "unknown: none of the known mistakes, alone or two together, gives this output"
CALLABLE = "It can be called."

# The names that learners give to an argument, in lower case and without underscores.
NAMES = {
    "query": ("query", "q", "queries"),
    "key": ("key", "k", "keys"),
    "value": ("value", "v", "values"),
    "mask": ("mask", "attentionmask", "attnmask", "srcmask", "allowed"),
    "x": ("x", "hiddenstates", "hidden", "inputs", "input", "embeddings", "src", "source"),
    "input_ids": ("inputids", "ids", "tokens", "tokenids", "inputs", "input", "x", "start", "prompt"),
    "special": ("specialtokensmask", "special", "specials", "isspecial", "specialmask"),
    "mask_token_id": ("masktokenid", "maskid", "masktoken"),
    "vocab_size": ("vocabsize", "vocabularysize", "nvocab", "v"),
    "generator": ("generator", "rng", "g", "random"),
    "seed": ("seed",),
    "documents": ("documents", "docs", "corpus", "texts"),
    "logits": ("logits", "scores", "x"),
    "temperature": ("temperature", "temp", "t"),
    "top_k": ("topk", "k"),
    "top_p": ("topp", "p", "nucleus"),
    "model": ("model", "step", "decoder", "f"),
    "beams": ("beams", "numbeams", "beamsize", "beamwidth", "width", "k"),
    "steps": ("steps", "maxnewtokens", "maxlength", "length", "n"),
    "eos_token_id": ("eostokenid", "eos", "eosid", "end"),
    "linear": ("linear", "base", "layer", "baselayer", "module"),
    "rank": ("rank", "r"),
    "alpha": ("alpha", "loraalpha"),
    "word": ("word", "text", "token", "string", "s"),
    "merges": ("merges", "ranks", "rules"),
    "vocabulary": ("vocabulary", "vocab"),
    "queries": ("queries", "length", "n", "size", "seqlen", "sequencelength", "querylength", "t"),
    "keys": ("keys", "keylength", "total", "totallength"),
    "attention_mask": ("attentionmask", "padding", "paddingmask", "mask"),
    "hidden_size": (
        "hiddensize",
        "hidden",
        "dim",
        "dmodel",
        "embdim",
        "embeddingdim",
        "width",
        "features",
        "d",
        "nembd",
    ),
    "length": ("length", "maxlength", "maxlen", "n", "seqlen", "numpositions", "positions"),
    "eps": ("eps", "epsilon", "varianceepsilon"),
    "max_positions": ("maxpositions", "maxpositionembeddings", "positions", "numpositions", "maxlength", "blocksize"),
    "segments": ("segments", "typevocabsize", "numsegments", "types", "segmentcount"),
    "segment_ids": ("segmentids", "tokentypeids", "segments", "types", "segment", "typeids"),
    "table": ("table", "weight", "embeddingweight", "wordembeddings", "embeddings", "embedding", "tiedweight"),
    "heads": ("heads", "numheads", "nheads", "nhead", "numattentionheads", "h"),
    "layers": ("layers", "numlayers", "nlayers", "nlayer", "depth", "numhiddenlayers", "blocks"),
    "mlm_logits": ("mlmlogits", "predictionlogits", "tokenlogits", "predictionscores"),
    "nsp_logits": ("nsplogits", "nextsentencelogits", "seqrelationshiplogits", "pairlogits"),
    "mlm_labels": ("mlmlabels", "labels", "tokenlabels"),
    "nsp_labels": ("nsplabels", "nextsentencelabels", "nextsentencelabel", "pairlabels"),
    "labels": ("labels", "label", "targets", "target", "inputids", "ids", "y"),
    "batches": ("batches", "loader", "dataloader", "data", "dataset"),
    "optimizer": ("optimizer", "optim", "opt"),
    "accumulation": ("accumulation", "accumulate", "gradientaccumulationsteps", "accumulationsteps", "microbatches"),
    "max_norm": ("maxnorm", "maxgradnorm", "clip", "gradclip", "clipnorm"),
    "step": ("step", "t", "i", "iteration"),
    "peak": ("peak", "lr", "learningrate", "maxlr", "peaklr", "baselr"),
    "warmup": ("warmup", "warmupsteps", "numwarmupsteps"),
    "total": ("total", "totalsteps", "steps", "numtrainingsteps", "maxsteps"),
    "images": ("images", "image", "pixels", "pixelvalues", "x", "imgs"),
    "patch_size": ("patchsize", "size", "patch", "p"),
    "image_size": ("imagesize", "imgsize", "resolution"),
    "channels": ("channels", "numchannels", "inchannels", "c"),
}


class CheckError(AssertionError):
    """A learner's code breaks a law.

    Attributes:
        law: the law, as a sentence.
        cause: the mistake that gives exactly this output, or `UNKNOWN`.
        counterexample: the smallest case that was found, as a table.
    """

    def __init__(self, law: str, cause: str, counterexample: str) -> None:
        self.law, self.cause, self.counterexample = law, cause, counterexample
        super().__init__(f"{law}\n\n{counterexample}\n\nLikely cause: {cause}.")


def judge(laws: Iterable[tuple[str, Callable[[], str | None]]], cause: Callable[[], str]) -> None:
    """Try the laws in order; at the first that gives a counter-example, or fails, raise a CheckError with the cause."""
    for law, broken in laws:
        try:
            counterexample = broken()
        except CheckError:
            raise
        except AssertionError as error:  # one of `testing.laws`
            counterexample = str(error)
        if counterexample is not None:
            raise CheckError(law, cause(), counterexample)


def judge_outputs(
    observed: Sequence[Tensor],
    reference: Callable[[frozenset[str]], Iterable[Tensor]],
    mistakes: Mapping[str, str],
    laws: Sequence[tuple[str, str]],
) -> None:
    """Compare outputs with those of a plain implementation; where they differ, raise a CheckError with the cause.

    Args:
        observed: the learner's output on each probe.
        reference: a plain implementation: from the names of mistakes to its output on each probe.
        mistakes: for each name, the sentence that explains it.
        laws: for each probe the law that it tries, and the words for its place in the table.
    """
    right = list(reference(frozenset()))
    judge(
        [
            (law, partial(compare, ours, theirs, place))
            for ours, theirs, (law, place) in zip(observed, right, laws, strict=True)
        ],
        lambda: find_cause(observed, reference, mistakes),
    )


def find_cause(
    observed: Sequence[Any],
    reference: Callable[[frozenset[str]], Iterable[Any]],
    mistakes: Mapping[str, str],
    same: Callable[[Any, Any], bool] | None = None,
    *,
    counts: Sequence[int] = (1, 2),
) -> str:
    """The mistake, or else the two mistakes, with which `reference` gives all that was observed.

    Args:
        observed: the learner's output on each probe.
        reference: a plain implementation: from the names of mistakes to its output on each probe.
        mistakes: for each name, the sentence that explains it.
        same: tells whether two outputs are equal; by default `equal`.
        counts: how many mistakes are tried together, in this order.
    """
    same = equal if same is None else same
    for count in counts:
        for names in combinations(mistakes, count):
            try:
                # Outputs may be made one by one: the first that differs ends the comparison.
                outputs = iter(reference(frozenset(names)))
                found = all(same(ours, next(outputs)) for ours in observed)
            except (RuntimeError, IndexError, ValueError):
                continue  # this mistake is impossible with these shapes
            if found:
                return "; and ".join(mistakes[name] for name in names)
    return UNKNOWN


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two tensors (or other values) are the same up to rounding; NaN equals NaN."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        if ours.shape != theirs.shape:
            return False
        return torch.allclose(ours.double(), theirs.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    return bool(ours == theirs)


def table(columns: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> str:
    """A small table in plain text: one line for each row, numbers with three decimals."""
    cells = [["", *columns]] + [[name, *map(_cell, values)] for name, values in rows.items()]
    widths = [max(len(line[i]) if i < len(line) else 0 for line in cells) for i in range(max(map(len, cells)))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=False))]
        ).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    value = value.item() if isinstance(value, Tensor) else value
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def compare(actual: Tensor, expected: Tensor, place: str) -> str | None:
    """A table of the first row (of the last dimension) in which two tensors differ; None where none does."""
    if actual.shape != expected.shape:
        return table(["shape"], {"yours": [tuple(actual.shape)], "expected": [tuple(expected.shape)]})
    if equal(actual, expected):
        return None
    close = torch.isclose(actual.double(), expected.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    index = tuple(int(i) for i in (~close).nonzero()[0][:-1])
    numbers = [str(i) for i in range(actual.shape[-1])]
    rows = {"yours": actual[index].tolist(), "expected": expected[index].tolist()}
    return f"{place}, at {list(index)}:\n" + table(numbers, rows)


# ---- calling ---------------------------------------------------------------------------------------------------------


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a function, of a class's `__init__` or of a module's `forward`."""
    target = function.forward if isinstance(function, nn.Module) else function
    return dict(inspect.signature(target).parameters)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has an argument of this meaning: see `NAMES`."""
    return any(_plain(parameter) in NAMES[name] for parameter in parameters_of(function))


def is_required(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has an argument of this meaning, without a default."""
    return any(p.default is p.empty and _plain(p.name) in NAMES[name] for p in parameters_of(function).values())


def call(function: Callable[..., Any], values: Mapping[str, Any], expected: str) -> Any:
    """Call a learner's function with those of `values` that it takes, by name where names are known, else in order.

    Args:
        function: a function, class or module.
        values: arguments by the names of `NAMES`, those that every function must take first.
        expected: the signature to show when it cannot be called.

    Raises:
        CheckError: its arguments are not understood, or it fails.
    """
    parameters = parameters_of(function)
    places = [p for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    given, left = {}, dict(values)
    for parameter in places:
        meaning = next((name for name in left if _plain(parameter.name) in NAMES[name]), None)
        if meaning is not None:
            given[parameter.name] = left.pop(meaning)
    unknown = [p.name for p in places if p.name not in given and p.default is p.empty]
    if unknown:
        needed = [p.name for p in places if p.default is p.empty]
        if len(needed) > len(values):
            raise CheckError(CALLABLE, f"nothing is known to pass as {unknown[0]!r}", f"expected: {expected}")
        given = dict(zip(needed, values.values(), strict=False))
    positional = [given.pop(p.name) for p in places if p.kind is p.POSITIONAL_ONLY and p.name in given]
    if not places:
        positional = list(values.values())
    try:
        return function(*positional, **given)
    except Exception as error:
        shapes = {k: tuple(v.shape) for k, v in values.items() if isinstance(v, Tensor)}
        where = f"called with {shapes}\nexpected: {expected}" if shapes else f"expected: {expected}"
        raise CheckError(CALLABLE, f"it fails with {type(error).__name__}: {error}", where) from error


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def tensor_of(output: Any, expected: str) -> Tensor:
    """The tensor that a function returned, or the first of several."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(first, Tensor):
        raise CheckError(CALLABLE, f"it returns a {type(first).__name__}, not a tensor", f"expected: {expected}")
    return first.detach()


# ---- dropout ---------------------------------------------------------------------------------------------------------


@contextmanager
def evaluating(function: Any) -> Iterator[None]:
    """A module in evaluation mode, without gradients, and afterwards as it was."""
    modules = list(function.modules()) if isinstance(function, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(function, nn.Module):
        function.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def check_repeatable(run: Callable[[], Tensor]) -> None:
    """The same input gives the same output; where it does not, see whether it does without any dropout."""
    first, second = run(), run()
    counterexample = compare(second, first, "the second of two calls with the same input")
    if counterexample is None:
        return
    with patch("torch.nn.functional.dropout", _no_dropout), patch("torch.dropout", _no_dropout):
        without = equal(run(), run())
    cause = "dropout is active in evaluation" if without else UNKNOWN
    raise CheckError("In evaluation the same input gives the same output.", cause, counterexample)


def _no_dropout(input: Tensor, *arguments: Any, **options: Any) -> Tensor:
    return input
