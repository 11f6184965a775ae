"""Every processor and filter on drawn texts and scores, compared with the reference's of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from generating import assert_close
from hypothesis import given, strategies as st
from torch import Tensor

from minitransformers import generation

VOCABULARY = 13

tokens = st.integers(0, VOCABULARY - 1)
some_tokens = st.lists(tokens, min_size=1, max_size=4, unique=True)
words = st.lists(st.lists(tokens, min_size=1, max_size=3), min_size=1, max_size=4)
keep = st.fixed_dictionaries({"min_tokens_to_keep": st.integers(1, 3)})
fractions = st.floats(0.01, 0.99)
PROMPT = 3  # length of the prompt that starts every text


def arguments(*values: Any, **named: Any) -> st.SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Positional and named arguments of a class; a strategy named `also` draws further named ones."""
    also = named.pop("also", st.just({}))
    drawn = st.tuples(*values), st.fixed_dictionaries(named), also
    return st.builds(lambda positional, first, second: (positional, {**first, **second}), *drawn)


ends = st.one_of(tokens, some_tokens, some_tokens.map(torch.tensor))
source = st.lists(st.lists(tokens, min_size=4, max_size=4), min_size=1, max_size=1).map(torch.tensor)

CLASSES: dict[str, st.SearchStrategy[Any]] = {
    "RepetitionPenaltyLogitsProcessor": arguments(
        st.floats(0.3, 3.0), also=st.sampled_from([{}, {"prompt_ignore_length": 2}])
    ),
    "EncoderRepetitionPenaltyLogitsProcessor": arguments(st.floats(0.3, 3.0), source),
    "NoRepeatNGramLogitsProcessor": arguments(st.integers(1, 4)),
    "EncoderNoRepeatNGramLogitsProcessor": arguments(st.integers(1, 3), source),
    "SequenceBiasLogitsProcessor": arguments(
        st.one_of(
            words.map(lambda lists: {tuple(ids): 1.5 - len(ids) for ids in lists}),
            words.map(lambda lists: [[ids, 0.5 * len(ids)] for ids in lists]),
        )
    ),
    "NoBadWordsLogitsProcessor": arguments(words, st.one_of(st.none(), ends)),
    "SuppressTokensLogitsProcessor": arguments(some_tokens),
    "SuppressTokensAtBeginLogitsProcessor": arguments(some_tokens, st.integers(3, 6)),
    "MinLengthLogitsProcessor": arguments(st.integers(0, 9), ends),
    "MinNewTokensLengthLogitsProcessor": arguments(st.just(PROMPT), st.integers(0, 6), ends),
    "ForcedBOSTokenLogitsProcessor": arguments(tokens),
    "ForcedEOSTokenLogitsProcessor": arguments(st.integers(2, 9), ends),
    "ExponentialDecayLengthPenalty": arguments(
        st.tuples(st.integers(0, 3), st.floats(0.7, 1.5)), ends, st.just(PROMPT)
    ),
    "InfNanRemoveLogitsProcessor": arguments(),
    "LogitNormalization": arguments(),
    "TemperatureLogitsWarper": arguments(st.floats(0.05, 5.0)),
    "TopKLogitsWarper": arguments(st.integers(1, 20), also=keep),
    "TopPLogitsWarper": arguments(st.one_of(fractions, st.just(1.0)), also=keep),
    "MinPLogitsWarper": arguments(st.one_of(fractions, st.sampled_from([0.0, 1.0])), also=keep),
    "TypicalLogitsWarper": arguments(fractions, also=keep),
    "EpsilonLogitsWarper": arguments(fractions, also=keep),
    "EtaLogitsWarper": arguments(fractions, also=keep),
    "TopHLogitsWarper": arguments(fractions),
}


@st.composite
def texts_and_scores(draw: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """Ids that repeat themselves, and scores with ties and with tokens that are forbidden already."""
    rows, length, seed = draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(0, 2**31))
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, VOCABULARY, generator=random) * draw(st.sampled_from([0.3, 2.0, 8.0]))
    if draw(st.booleans()):
        scores = scores.round()
    forbidden = torch.rand(rows, VOCABULARY, generator=random) < draw(st.sampled_from([0.0, 0.4]))
    forbidden[:, 0] = False
    return torch.randint(0, VOCABULARY, (rows, length), generator=random), scores.masked_fill(forbidden, -torch.inf)


@pytest.mark.parametrize("name", CLASSES)
@given(data=st.data(), case=texts_and_scores())
def test_as_the_reference(name: str, data: st.DataObject, case: tuple[Tensor, Tensor]) -> None:
    positional, named = data.draw(CLASSES[name])
    input_ids, scores = case
    ours = getattr(generation, name)(*positional, **named)
    theirs = getattr(transformers.generation, name, None) or getattr(transformers.generation.logits_process, name)
    expected = theirs(*positional, **named)(input_ids, scores.clone())
    given_scores, given_ids = scores.clone(), input_ids.clone()
    assert_close(ours(input_ids, scores), expected, name)
    assert torch.equal(scores, given_scores), "the scores that were passed have changed"
    assert torch.equal(input_ids, given_ids), "the ids that were passed have changed"


@given(case=texts_and_scores(), ignored=st.integers(0, 4), penalty=st.floats(0.3, 3.0))
def test_repetition_penalty_with_padding_of_each_row(case: tuple[Tensor, Tensor], ignored: int, penalty: float) -> None:
    input_ids, scores = case
    padding = torch.tensor([ignored, 0, 2])[: len(input_ids)]
    ours = generation.RepetitionPenaltyLogitsProcessor(penalty, padding)
    theirs = transformers.RepetitionPenaltyLogitsProcessor(penalty, padding)
    assert_close(ours(input_ids, scores), theirs(input_ids, scores), "scores")


@given(case=texts_and_scores(), beams=st.integers(1, 3), allowed=some_tokens)
def test_prefix_constraint(case: tuple[Tensor, Tensor], beams: int, allowed: list[int]) -> None:
    input_ids, scores = (tensor[:1].repeat(2 * beams, 1) for tensor in case)

    def function(text: int, ids: Tensor) -> list[int]:
        return allowed[: 1 + (text + len(ids)) % len(allowed)]

    ours = generation.PrefixConstrainedLogitsProcessor(function, beams)
    theirs = transformers.PrefixConstrainedLogitsProcessor(function, beams)
    assert_close(ours(input_ids, scores), theirs(input_ids, scores), "scores")


def test_not_a_number_is_replaced() -> None:
    scores = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1.0]])
    expected = transformers.InfNanRemoveLogitsProcessor()(torch.zeros(1, 1).long(), scores)
    assert torch.equal(generation.InfNanRemoveLogitsProcessor()(torch.zeros(1, 1).long(), scores), expected)


@given(data=st.data(), case=texts_and_scores(), names=st.lists(st.sampled_from(sorted(CLASSES)), max_size=5))
def test_several_in_a_row(data: st.DataObject, case: tuple[Tensor, Tensor], names: list[str]) -> None:
    """A list applies its processors in order, and so does the reference's, with processors of either library in it."""
    drawn = [(name, *data.draw(CLASSES[name])) for name in names]
    ours = generation.LogitsProcessorList(getattr(generation, name)(*values, **named) for name, values, named in drawn)
    expected = case[1]
    for processor in ours:
        expected = processor(case[0], expected)
    assert_close(ours(*case), expected, "our list")
    assert_close(transformers.LogitsProcessorList(ours)(*case), expected, "the reference's list")
