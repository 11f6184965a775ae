"""Question answering against a search over every span of every window, written out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch

from minitransformers import InputError, QuestionAnsweringPipeline, pipeline
from minitransformers.pipelines.plausibility import reasons_for_doubt

Saved = Callable[..., str]
FAMILIES = ["BertForQuestionAnswering", "RobertaForQuestionAnswering", "BartForQuestionAnswering"]


@pytest.fixture(scope="module", params=FAMILIES)
def answerer(request: pytest.FixtureRequest, saved: Saved) -> QuestionAnsweringPipeline:
    return pipeline("question-answering", saved(request.param))


def every_answer(
    answerer: QuestionAnsweringPipeline, question: str, context: str, longest: int, stride: int, length: int
) -> tuple[dict[tuple[int, int], float], float]:
    """The characters of every answer with its score, and the score of no answer: one span at a time."""
    tokenizer = answerer.tokenizer
    alone = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    word_of, in_word = dict(zip(map(tuple, alone.offset_mapping), alone.word_ids(), strict=True)), {}
    for (start, end), word in zip(alone.offset_mapping, alone.word_ids(), strict=True):
        in_word.setdefault(word, []).extend((start, end))
    windows = tokenizer(
        question, context, truncation="only_second", max_length=length, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    answers: dict[tuple[int, int], float] = {}
    nothing = math.inf
    for number, ids in enumerate(windows["input_ids"]):
        fields = {name: torch.tensor([windows[name][number]]) for name in tokenizer.model_input_names}
        with torch.no_grad():
            output = answerer.model(**fields)
        starts, ends = output.start_logits[0].double().tolist(), output.end_logits[0].double().tolist()
        nothing = min(nothing, starts[ids.index(tokenizer.cls_token_id)] + ends[ids.index(tokenizer.cls_token_id)])
        sequence = windows.sequence_ids(number)
        here: dict[tuple[int, int], float] = {}
        for i in range(len(ids)):
            for j in range(i, min(i + longest, len(ids))):
                if any(sequence[k] != 1 for k in (i, j)):
                    continue
                begin = min(in_word[word_of[tuple(windows["offset_mapping"][number][i])]])
                end = max(in_word[word_of[tuple(windows["offset_mapping"][number][j])]])
                text = context[begin:end]
                begin, end = begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())
                if begin < end:
                    here[begin, end] = here.get((begin, end), 0.0) + math.exp(starts[i] + ends[j])
        for span, mass in here.items():
            answers[span] = max(answers.get(span, -math.inf), math.log(mass))
    return answers, nothing


@pytest.mark.parametrize("no_answer", [False, True])
def test_answers_are_those_of_a_search_over_every_span(answerer: QuestionAnsweringPipeline, no_answer: bool) -> None:
    draw = random.Random(6)
    contexts = [text for text in tiny.texts(6, 75) if text.strip() and text != "\u200b"]
    for context in draw.sample([text for text in contexts if len(text) < 400], 6) + max(contexts, key=len).split("|"):
        question = draw.choice(["Who wrote it?", "Where 😀?", "東京?", "naïve  rain"])
        longest, stride = draw.choice([1, 3, 15]), draw.choice([0, 2, 5])
        options = {"max_answer_len": longest, "doc_stride": stride, "max_seq_len": 40, "top_k": 6}
        found = answerer(
            question=question, context=context, handle_impossible_answer=no_answer, batch_size=4, **options
        )
        answers, nothing = every_answer(answerer, question, context, longest, stride, 40)
        total = sum(math.exp(score) for score in answers.values()) + (math.exp(nothing) if no_answer else 0)
        expected = sorted(((score, span) for span, score in answers.items()), key=lambda pair: (-pair[0], pair[1]))
        rows = [{"score": math.exp(s) / total, "start": a, "end": b, "answer": context[a:b]} for s, (a, b) in expected]
        if no_answer:
            rows.append({"score": math.exp(nothing) / total, "start": 0, "end": 0, "answer": ""})
            rows.sort(key=lambda row: -row["score"])
        tiny.assert_same(found, rows[:6])
        assert sum(row["score"] for row in rows) == pytest.approx(1)


def test_threshold_of_no_answer(answerer: QuestionAnsweringPipeline) -> None:
    inputs = {"question": "Who wrote it?", "context": "Ada Lovelace wrote it in London."}
    options = {"handle_impossible_answer": True, "top_k": 1}
    assert answerer(inputs, null_score_diff_threshold=-1e9, **options)["answer"] == ""
    assert answerer(inputs, null_score_diff_threshold=1e9, **options)["answer"] != ""


def test_forms_of_input(answerer: QuestionAnsweringPipeline) -> None:
    context = "Ada Lovelace wrote it in London."
    one = answerer(question="Who?", context=context)
    assert answerer("Who?", context) == answerer({"question": "Who?", "context": context}) == one
    assert answerer([{"question": "Who?", "context": context}]) == one
    several = answerer(question=["Who?", "Where?"], context=context)
    assert [several[0]["answer"], len(several)] == [one["answer"], 2]
    sample = answerer.create_sample(["Who?"], [context])
    assert next(answerer(each for each in sample)) == one
    assert one["answer"] == context[one["start"] : one["end"]]
    assert len(answerer(question="Who?", context=context, top_k=3)) == 3


def test_a_long_question_is_cut(answerer: QuestionAnsweringPipeline) -> None:
    context = "Ada Lovelace wrote it."
    short = answerer(question="Who", context=context, max_question_len=1, align_to_words=False)
    tokens = answerer.tokenizer("Who", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    first = answerer(question="Who"[: tokens[0][1]], context=context, align_to_words=False)
    tiny.assert_same(short, first)
    with pytest.raises(InputError, match="room"):
        answerer(question="where " * 60, context=context)


@pytest.mark.parametrize(("question", "context"), [("", "A text."), ("Who?", "  "), ("Who?", 3), ("\n", "A text.")])
def test_empty_texts_are_errors(answerer: QuestionAnsweringPipeline, question: Any, context: Any) -> None:
    with pytest.raises(InputError, match="is empty"):
        answerer([{"question": question, "context": context}])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"answer": {"answer": "…!", "start": 0, "end": 2}}, "empty"),
        ({"found": (15, False)}, "too long"),
        ({"question": "Did Ada do it?"}, "repeats the question"),
        ({"answers": [(0, 3, 0.5), (10, 13, 0.4)]}, "low margin"),
        ({"answers": [(0, 3, 0.5), (0, 12, 0.4)]}, None),  # overlapping answers are the same one
        ({"found": (1, True)}, "start after end"),
    ],
)
def test_reasons_for_doubt(changes: dict[str, Any], reason: str | None) -> None:
    arguments: dict[str, Any] = {
        "answer": {},
        "question": "Who wrote it?",
        "context": "Ada wrote it, Bob read it.",
        "answers": [(0, 3, 0.5)],
        "found": (1, False),
        "max_answer_len": 15,
    }
    arguments |= changes
    arguments["answer"] = {"answer": "Ada", "start": 0, "end": 3, "score": 0.5, **arguments["answer"]}
    reasons = reasons_for_doubt(**arguments)
    assert [each.partition(":")[0] for each in reasons] == ([] if reason is None else [reason])


def test_plausibility_is_added_to_answers(answerer: QuestionAnsweringPipeline) -> None:
    answer = answerer(
        question="Who wrote it?", context="Ada Lovelace wrote it.", check_plausibility=True, max_answer_len=2
    )
    assert answer["plausible"] == (not answer["reasons"])
    same = answerer(
        question="Ada Lovelace wrote it", context="Ada Lovelace wrote it.", check_plausibility=True, top_k=9
    )
    assert any("repeats the question" in reason for each in same for reason in each["reasons"])
