"""Every model class against `transformers`, on random tiny configurations, weights and inputs.

comparing.py says what is asked, a table (bert_cases.py, gpt2_cases.py …) what is drawn; here each line of every table
goes through the whole suite. A new family needs a table, and a line in families.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from cases import Case, Pair
from comparing import (
    YARDSTICK,
    DisagreementError,
    Flat,
    assert_same,
    assert_same_gradients,
    distance,
    distance_of_gradients,
    flat,
    pinned_names,
)
from drawing import Example, Values, chunk
from families import BACKBONES, CASES, CLASSES, FAMILIES, INHERITED
from fewer import fewer
from hypothesis import Phase, given, settings, strategies as st
from mutations import MUTATIONS, attend_coarsely

from minitransformers.models.gpt2 import GPT2Attention

EVERYTHING = {"output_hidden_states": True, "output_attentions": True}

pytestmark = pytest.mark.filterwarnings(
    "ignore:The batch is padded on the left",
    "ignore:With inputs_embeds padding cannot be seen",
    "ignore:position_ids start",
)


# Rounding is that of the blocks, and of a loss over the vocabulary; other heads add a layer at most.
ROUNDED = [
    case
    for case in CASES
    if case in BACKBONES
    or (case.name.endswith(("LMHeadModel", "ForCausalLM", "MaskedLM", "Generation")) and not case.about)
]


# A head adds a layer and a loss to a backbone that has been drawn for itself: fewer examples show what it does.
third = fewer(3)


@pytest.mark.parametrize("case", BACKBONES, ids=repr)
@given(data=st.data())
def test_float64_is_the_same_function(case: Case, data: st.DataObject) -> None:
    """Outputs, hidden states, attention maps, cache, loss and all gradients; from both of our attention kernels."""
    assert_same_function(case, data)


@pytest.mark.parametrize("case", [case for case in CASES if case not in BACKBONES], ids=repr)
@third
@given(data=st.data())
def test_float64_is_the_same_function_with_a_head(case: Case, data: st.DataObject) -> None:
    """The same of classes with a head, and of backbones built otherwise."""
    assert_same_function(case, data)


def assert_same_function(case: Case, data: st.DataObject) -> None:
    pair = Pair(case, data.draw(case.examples))
    theirs = pair.run_reference(**EVERYTHING)
    assert_agree(pair.run_ours("eager", **EVERYTHING), theirs)
    assert_agree(pair.run_ours("sdpa", output_hidden_states=True), without_attentions(theirs))


def assert_agree(ours: tuple[Flat, Flat], theirs: tuple[Flat, Flat]) -> None:
    assert_same(ours[0], theirs[0])
    assert_same_gradients(ours[1], theirs[1])


def without_attentions(results: tuple[Flat, Flat]) -> tuple[Flat, Flat]:
    outputs, gradients = results
    maps = maps_of(outputs)
    return {name: tensor for name, tensor in outputs.items() if name not in maps}, gradients


class NoticedError(Exception):
    """A search has found what it looked for."""


# The search ends with the first example in which an error shows.
searching = settings(max_examples=200, phases=(Phase.generate,), database=None)


IN_BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


@IN_BOTH_DTYPES
@pytest.mark.parametrize("case", ROUNDED, ids=repr)
@third
@given(data=st.data())
def test_rounds_no_worse_than_the_reference(case: Case, dtype: torch.dtype, data: st.DataObject) -> None:
    """At most four times as far from the reference's eager program as its other programs are, and one last place.

    Only the eager program gives attention maps, GPT-1 and GPT-Neo have no other, and for a text of a single token the
    attention kernels agree exactly. There, the reference's own results for weights that are off by one last place say
    how far rounding takes this example; and for gradients everywhere, since some cancel to noise.
    """
    assert_rounds_no_worse(Pair(case, data.draw(case.examples), dtype))


@IN_BOTH_DTYPES
@pytest.mark.parametrize("case", BACKBONES, ids=repr)
def test_coarser_rounding_is_noticed(case: Case, dtype: torch.dtype) -> None:
    """In some example, attention whose output loses five bits is further from the reference than allowed."""

    @searching
    @given(example=case.examples)
    def look_for_a_difference(example: Example) -> None:
        pair = Pair(case, example, dtype)
        attend_coarsely(pair)
        try:
            assert_rounds_no_worse(pair)
        except AssertionError as difference:
            raise NoticedError from difference

    with pytest.raises(NoticedError):
        look_for_a_difference()


def assert_rounds_no_worse(pair: Pair) -> None:
    dtype = pair.dtype
    outputs, gradients = pair.run_reference(**EVERYTHING)
    programs = list(pair.run_the_references_other_programs(**EVERYTHING))
    nudged = pair.run_the_reference_nudged(**EVERYTHING)
    if not pair.reference._supports_sdpa or all(distance(other, outputs, dtype) == 0 for other, _ in programs):
        programs.append(nudged)
    allowed = YARDSTICK * max(distance(other, outputs, dtype) for other, _ in programs) + 1
    allowed_of_maps = max(allowed, YARDSTICK * distance(maps_of(nudged[0]), outputs, dtype) + 1)
    all_gradients = [other for _, other in (*programs, nudged)]
    allowed_of_gradients = YARDSTICK * max(distance_of_gradients(each, gradients, dtype) for each in all_gradients) + 1
    for kernel, further in (("eager", EVERYTHING), ("sdpa", {"output_hidden_states": True})):
        ours, our_gradients = pair.run_ours(kernel, **further)
        assert {name: t.dtype for name, t in ours.items()} == {name: outputs[name].dtype for name in ours}
        maps = maps_of(ours)
        assert distance({name: t for name, t in ours.items() if name not in maps}, outputs, dtype) <= allowed
        assert distance(maps, outputs, dtype) <= allowed_of_maps
        assert distance_of_gradients(our_gradients, gradients, dtype) <= allowed_of_gradients


def maps_of(outputs: Flat) -> Flat:
    return {name: tensor for name, tensor in outputs.items() if "attentions" in name}


@pytest.mark.parametrize("case", [case for case in CASES if case.has_cache], ids=repr)
@given(data=st.data())
def test_chunks_continue_from_the_cache(case: Case, data: st.DataObject) -> None:
    """A sequence cut anywhere, each piece computed with the cache of those before, gives the reference's numbers.

    Where padding stands in front, what a whole sequence is classified by may be padding in one of the pieces: there,
    only outputs that have a row for each token are compared.
    """
    example = data.draw(case.examples)
    length = example.real.shape[1]
    cuts = data.draw(st.sets(st.integers(1, length - 1)) if length > 1 else st.just(set()))
    train = data.draw(st.booleans())  # with gradients the cache works another way
    pair = Pair(case, example)
    pair.ours.set_attn_implementation(data.draw(st.sampled_from(["eager", "sdpa"])))
    our_cache, their_cache = None, pair.cache_that_keeps_all()
    with nullcontext() if train else torch.no_grad():
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), length], strict=True):
            ours = pair.ours(**chunk(pair.our_arguments, start, stop), past_key_values=our_cache, use_cache=True)
            with pair.exactly():
                theirs = pinned_names(
                    pair.reference(
                        **chunk(pair.reference_arguments, start, stop), past_key_values=their_cache, use_cache=True
                    )
                )
            our_cache, their_cache = ours.past_key_values, theirs["past_key_values"]
            real = example.real[:, start:stop]
            by_token = case.per_token if example.real.all() else case.per_token & set(theirs)
            compared = [name for name in theirs if name in by_token or (real.all() and name != "past_key_values")]
            assert_same(
                flat({name: ours[name] for name in compared}, real, case.per_token),
                flat({name: theirs[name] for name in compared}, real, case.per_token),
            )
    assert_same(
        flat({"past_key_values": our_cache}, example.real), flat({"past_key_values": their_cache}, example.real)
    )


def with_each_error() -> Iterator[Any]:
    """Each class with each of its errors. What the backbone has shown, its heads show again in the long run alone."""
    for family in FAMILIES:
        backbone = family.cases[0]
        for case in (case for case in family.cases if case in CASES):
            for mutation in case.mutations:
                is_new = case is backbone or mutation not in backbone.mutations
                yield pytest.param(case, mutation, marks=() if is_new else pytest.mark.thorough)


@pytest.mark.parametrize(("case", "mutation"), with_each_error(), ids=repr)
def test_an_error_is_noticed(case: Case, mutation: str) -> None:
    """In some example our model agrees, and with one error built in it does not."""

    @searching
    @given(example=case.examples)
    def look_for_a_difference(example: Example) -> None:
        pair = Pair(case, example)
        theirs = pair.run_reference(**EVERYTHING)
        assert_agree(pair.run_ours("eager", **EVERYTHING), theirs)
        MUTATIONS[mutation](pair)
        try:
            assert_agree(pair.run_ours("eager", **EVERYTHING), theirs)
        except DisagreementError as difference:
            raise NoticedError from difference

    with pytest.raises(NoticedError):
        look_for_a_difference()


@pytest.mark.parametrize("case", CASES, ids=repr)
@third
@given(data=st.data())
def test_tuples_and_flags_of_the_config(case: Case, data: st.DataObject) -> None:
    """`return_dict=False` gives the reference's tuple, and what to return may stand in the config."""
    pair = Pair(case, data.draw(case.examples))
    for name in EVERYTHING:
        flag = data.draw(st.booleans())
        setattr(pair.ours.config, name, flag)
        for module in pair.reference.modules():  # whose parts may have a copy of the configuration
            if hasattr(module, "config"):
                setattr(module.config, name, flag)
    if case.name in ("GPTNeoForTokenClassification", "GPTNeoForQuestionAnswering"):
        # The reference leaves out the second part of the backbone's tuple, the cache, also where there is none.
        pair.ours.config.use_cache = pair.reference.config.use_cache = True
        for arguments in (pair.our_arguments, pair.reference_arguments):
            arguments.pop("use_cache", None)
    theirs = pair.reference(**pair.reference_arguments, return_dict=False)
    assert layout(pair.ours(**pair.our_arguments, return_dict=False)) == layout(theirs)
    pair.ours.config.return_dict = False
    assert layout(pair.ours(**pair.our_arguments)) == layout(theirs)


def layout(value: Any) -> Any:
    """Shapes of tensors in nested tuples, without the empty tuples that the reference has for what it did not see."""
    if isinstance(value, tuple):
        return tuple(layout(part) for part in value if not isinstance(part, tuple) or part)
    return tuple(value.shape) if isinstance(value, torch.Tensor) else "cache"


@pytest.mark.parametrize("case", INHERITED, ids=lambda case: case.name)
def test_classes_that_inherit_compute_nothing_by_themselves(case: Case) -> None:
    parts = [module for module in case.ours.__mro__ if module.__module__ == case.ours.__module__]
    assert not [part for part in parts if "forward" in vars(part)]


@pytest.mark.parametrize("case", CLASSES, ids=lambda case: case.name)
def test_positional_arguments_are_the_references(case: Case) -> None:
    """A positional call means the same: the reference's explicit parameters, in its order, come first in ours.

    In GPT-1 and GPT-Neo that ends before options of the output, which are by name only here, as in its other families.
    """
    theirs = inspect.signature(case.reference.forward).parameters.values()
    explicit = list(pinned_names({p.name: p.default for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD}).items())
    by_name = (
        [name for name, _ in explicit].index("output_attentions") if ("output_attentions", None) in explicit else None
    )
    ours = inspect.signature(case.ours.forward).parameters.values()
    assert [(p.name, p.default) for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD] == explicit[:by_name]


@pytest.mark.parametrize("pick", ["last", "first", "mean"])
def test_choices_of_several_texts_are_scored_text_by_text(pick: str) -> None:
    """The reference then summarises over the choices, not the tokens; one text at a time it does what is meant."""
    ids = Values(0).ids(11, 2, 3, 5)
    config = {"vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 2, "summary_type": pick}
    case = next(case for case in CASES if case.name == "GPT2DoubleHeadsModel")
    pair = Pair(case, Example(config, {"input_ids": ids}, torch.ones(6, 5, dtype=torch.bool), seed=1))
    scores = pair.ours(ids).mc_logits
    for text, scores_of_text in zip(ids, scores, strict=True):
        torch.testing.assert_close(scores_of_text, pair.reference(text).mc_logits)


def test_upcast_attention_is_computed_in_float32() -> None:
    """In bfloat16 the flag shows: with it on both sides we are nearer to the reference than with it on one."""
    config = {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 2, "reorder_and_upcast_attn": True}
    case = next(case for case in CASES if case.name == "GPT2Model")
    ids = Values(0).ids(50, 3, 12)
    pair = Pair(case, Example(config, {"input_ids": ids}, torch.ones(3, 12, dtype=torch.bool), seed=1), torch.bfloat16)
    theirs, _ = pair.run_reference()
    with_upcast, _ = pair.run_ours("eager")
    for module in pair.ours.modules():
        if isinstance(module, GPT2Attention):
            module.upcast = False
    without, _ = pair.run_ours("eager")
    assert 2 * distance(with_upcast, theirs, torch.bfloat16) < distance(without, theirs, torch.bfloat16)
