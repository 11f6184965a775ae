"""Question answering: the part of a text that answers a question (Devlin et al., 2019, §4.2 and §4.3).

A model scores each token of the context as the start and as the end of the answer. A span's score is the sum of its
start's and its end's. Every span is considered that starts and ends in the context, in this order, and has at most
`max_answer_len` tokens, in every window of a context that is too long for the model. Spans of the same characters, such
as parts of one word, are one answer: its score is the log of the sum of their exponentials in the window where this is
highest. The softmax over all answers gives their probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError
from minitransformers.pipelines.base import ChunkPipeline, Parameters
from minitransformers.pipelines.plausibility import reasons_for_doubt
from minitransformers.pipelines.texts import encode, length_limit


class QuestionAnsweringPipeline(ChunkPipeline):
    """Answers that are parts of a context, by a model with a question-answering head.

        answer = pipeline("question-answering", model="…")
        answer(question="Who wrote it?", context="Mary Shelley wrote the novel in 1816.")
        answer(question=["Who wrote it?", "When?"], context="…")
        answer([{"question": "…", "context": "…"}, …], top_k=3)

    Keywords of a call (names of transformers 4, which had this task):
        top_k: how many answers (1); more than one gives a list.
        max_answer_len: the longest answer, in tokens (15).
        max_seq_len: the length of a window, question included, in tokens; 384, or what the model can read.
        doc_stride: how many tokens of the context neighbouring windows share; 128, or half of a window.
        max_question_len: longer questions are cut (64).
        handle_impossible_answer: also consider that the context has no answer, "" (SQuAD 2). Its score is that of the
            first token, the lowest of all windows.
        null_score_diff_threshold: no answer comes first where its score is higher than the best answer's by more
            than this (0).
        align_to_words: extend answers to whole words (True).
        check_plausibility: add "plausible" and "reasons" to each answer; see `reasons_for_doubt`.

    Returns:
        `{"score", "start", "end", "answer"}`: the probability among all answers, the characters of the context, and
        the text between them. A list of them for several questions, or `top_k` above 1.

    Raises:
        InputError: an empty question or context, or lengths that leave no room for the context.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForQuestionAnswering",)
    default_input_names = "question,context"

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        """Answer a question, or each of several; see the class."""
        inputs = _read_arguments(args, parameters)
        if isinstance(inputs, list) and len(inputs) == 1:
            inputs = inputs[0]
        return super().__call__(inputs, **parameters)

    @staticmethod
    def create_sample(question: Any, context: Any) -> Any:
        """One input, or a list of them, from questions and contexts."""
        return _pairs(question, context)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        given = {name: value for name, value in parameters.items() if value is not None and name != "padding"}
        for name in ("top_k", "max_answer_len", "max_seq_len", "max_question_len"):
            if name in given:
                check_count(name, given[name], least=1)
        return super()._sanitize_parameters(**given)

    # ---- a question and its context, in windows ----------------------------------------------------------------------

    def preprocess(
        self,
        example: Mapping[str, Any],
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int = 64,
        align_to_words: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Encode the question with each window of the context."""
        question, context = (_text_of(example, name) for name in ("question", "context"))
        limit = length_limit(self) or 384
        length = min(limit, max_seq_len or 384)
        in_question = self.tokenizer(
            question, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        ).offset_mapping
        if len(in_question) > max_question_len:
            question = question[: in_question[max_question_len - 1][1]]
            in_question = in_question[:max_question_len]
        room = length - len(in_question) - self.tokenizer.num_special_tokens_to_add(pair=True)
        stride = min(128, room // 2) if doc_stride is None else check_count("doc_stride", doc_stride)
        if room < 1 or stride >= room:
            raise InputError(
                f"Windows of {length} tokens with a question of {len(in_question)} have room for {max(room, 0)} tokens "
                f"of the context, which must be more than doc_stride={stride}: change max_seq_len, max_question_len or "
                f"doc_stride."
            )
        # Models that are padded on the left, decoders, read the context first, as in transformers 4.
        first = self.tokenizer.padding_side == "right"
        encoded = encode(
            self,
            *((question, context) if first else (context, question)),
            truncation="only_second" if first else "only_first",
            max_length=length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=self.tokenizer.pad_token_id is not None,
        )
        encoded.pop("overflow_to_sample_mapping")
        offsets = encoded.pop("offset_mapping")
        words = self._words(context) if align_to_words else {}
        starts, ends = _trims(context)  # answers neither begin nor end with white space
        for number in range(len(encoded["input_ids"])):
            in_context = [sequence == int(first) for sequence in encoded.sequence_ids(number)]
            pairs = [words.get(pair, pair) for pair in map(tuple, offsets[number].tolist())]
            is_context = zip(pairs, in_context, strict=True)
            spans = [(starts[start], ends[end]) if inside else (0, 0) for (start, end), inside in is_context]
            window = {name: value[number : number + 1] for name, value in encoded.items()}
            yield {
                **window,
                "in_context": torch.tensor([in_context]),
                "characters": torch.tensor([spans]),
                "is_null": self._null_place(window["input_ids"])[None],
                "example": {"question": question, "context": context},
            }

    def _words(self, context: str) -> dict[tuple[int, int], tuple[int, int]]:
        """The characters of each token of the context -> those of its word."""
        encoded = self.tokenizer(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        words: dict[int, tuple[int, int]] = {}
        numbers = encoded.word_ids()
        for number, (start, end) in zip(numbers, encoded.offset_mapping, strict=True):
            if number is not None:
                known = words.get(number, (start, end))
                words[number] = (min(known[0], start), max(known[1], end))
        pairs = zip(numbers, encoded.offset_mapping, strict=True)
        return {tuple(pair): words[number] for number, pair in pairs if number is not None}

    def _null_place(self, input_ids: Any) -> Any:
        """A mask of the token whose scores stand for no answer: [CLS], or the first one."""
        ids = input_ids[0]
        first = ids == self.tokenizer.cls_token_id if self.tokenizer.cls_token_id is not None else ids != ids
        if not first.any():
            padding = self.tokenizer.pad_token_id
            first = ids != padding if padding is not None and self.tokenizer.padding_side == "left" else ids == ids
        return (first.cumsum(0) == 1) & first

    def _forward(self, model_inputs: Any) -> dict[str, Any]:
        extras = {name: model_inputs.pop(name) for name in ("in_context", "characters", "is_null", "example")}
        outputs = self.model(**model_inputs)
        return {"start": outputs.start_logits, "end": outputs.end_logits, **extras}

    # ---- the best spans ----------------------------------------------------------------------------------------------

    def postprocess(
        self,
        all_outputs: list[dict[str, Any]],
        top_k: int = 1,
        max_answer_len: int = 15,
        handle_impossible_answer: bool = False,
        null_score_diff_threshold: float | int = 0.0,
        check_plausibility: bool = False,
    ) -> Any:
        """Rank the answers of all windows."""
        context = all_outputs[0]["example"]["context"]
        tables = [_spans(outputs, max_answer_len) for outputs in all_outputs]
        spans, scores, contradicting, lengths = (np.concatenate(columns) for columns in zip(*tables, strict=True))
        order = np.lexsort((spans[:, 1], spans[:, 0], -scores))  # by score, then by place
        _, first = np.unique(spans[order], axis=0, return_index=True)
        best = order[np.sort(first)]  # each answer in the window that scores it best
        null = min(float((outputs["start"] + outputs["end"])[outputs["is_null"]][0]) for outputs in all_outputs)
        everything = np.append(scores[best], null) if handle_impossible_answer else scores[best]
        if not len(everything):
            return [] if top_k > 1 else {"score": 0.0, "start": 0, "end": 0, "answer": ""}
        total = everything.max() + np.log(np.exp(everything - everything.max()).sum())

        answers = []
        for row in best[: top_k + 1]:
            start, end = (int(place) for place in spans[row])
            answers.append(_answer(float(np.exp(scores[row] - total)), start, end, context))
        if handle_impossible_answer:
            nothing = _answer(float(np.exp(null - total)), 0, 0, context)
            is_first = not len(best) or null - scores[best[0]] > null_score_diff_threshold
            rest = sorted([*answers[not is_first :], nothing], key=lambda each: -each["score"])
            answers = [nothing, *answers] if is_first else [answers[0], *rest]
        answers = answers[:top_k]
        if check_plausibility:
            every = [(int(spans[row][0]), int(spans[row][1]), float(np.exp(scores[row] - total))) for row in best]
            details = {tuple(spans[row]): (int(lengths[row]), bool(contradicting[row])) for row in best[: top_k + 1]}
            question = all_outputs[0]["example"]["question"]
            for answer in answers:
                found = details.get((answer["start"], answer["end"]), (0, False))
                reasons = reasons_for_doubt(answer, question, context, every, found, max_answer_len)
                answer |= {"plausible": not reasons, "reasons": reasons}
        return answers if top_k > 1 else answers[0]


def _answer(score: float, start: int, end: int, context: str) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end, "answer": context[start:end]}


def _spans(outputs: Mapping[str, Any], max_answer_len: int) -> tuple[Any, Any, Any, Any]:
    """The answers of a window: characters (answers, 2), scores, whether start and end contradict, lengths in tokens.

    They contradict where the window's most likely start comes after its most likely end.
    """
    places = outputs["in_context"][0].nonzero()[:, 0]
    start, end = (outputs[name][0][places].double().numpy() for name in ("start", "end"))
    characters = outputs["characters"][0][places].numpy()
    contradict = bool(len(places)) and int(start.argmax()) > int(end.argmax())
    columns = []
    for length in range(1, min(max_answer_len, len(places)) + 1):
        stop = len(places) - length + 1
        spans = np.stack([characters[:stop, 0], characters[length - 1 :, 1]], axis=1)
        scores = start[:stop] + end[length - 1 :]
        valid = spans[:, 0] < spans[:, 1]
        columns.append((spans[valid], scores[valid], np.full(valid.sum(), length)))
    if not columns:
        return np.zeros((0, 2), dtype=int), np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=int)
    all_spans, all_scores, lengths = (np.concatenate(column) for column in zip(*columns, strict=True))
    answers, of_answer = np.unique(all_spans, axis=0, return_inverse=True)
    scores, longest = np.full(len(answers), -np.inf), np.zeros(len(answers), dtype=int)
    np.logaddexp.at(scores, of_answer.reshape(-1), all_scores)
    np.maximum.at(longest, of_answer.reshape(-1), lengths)
    return answers, scores, np.full(len(answers), contradict), longest


def _trims(text: str) -> tuple[list[int], list[int]]:
    """For each place, the first character at or after it that is no white space, and the end of the last before it."""
    ends = [0]
    for place, character in enumerate(text):
        ends.append(ends[-1] if character.isspace() else place + 1)
    starts = [len(text)]
    for place in reversed(range(len(text))):
        starts.append(starts[-1] if text[place].isspace() else place)
    return starts[::-1], ends


# ---- the forms of input ----------------------------------------------------------------------------------------------


def _read_arguments(args: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """The inputs, taken out of positional arguments, `question` and `context`, or `data`."""
    question, context = parameters.pop("question", None), parameters.pop("context", None)
    data = parameters.pop("data", parameters.pop("X", None))
    if question is not None or context is not None:
        if question is None or context is None or args:
            raise InputError("Pass question=… and context=… together, and nothing else before them.")
        return _pairs(question, context)
    if len(args) == 2 and all(isinstance(each, str) for each in args):
        return _pairs(*args)
    inputs = list(args) if len(args) > 1 else args[0] if args else data
    if inputs is None:
        raise InputError("Pass question=… and context=…, or a list of {'question': …, 'context': …}.")
    return inputs


def _pairs(question: Any, context: Any) -> Any:
    questions = [question] if isinstance(question, str) else list(question)
    contexts = [context] * len(questions) if isinstance(context, str) else list(context)
    if len(questions) != len(contexts):
        raise InputError(f"There are {len(questions)} questions and {len(contexts)} contexts: pass one for each.")
    pairs = [{"question": each, "context": its} for each, its in zip(questions, contexts, strict=True)]
    return pairs[0] if isinstance(question, str) and isinstance(context, str) else pairs


def _text_of(example: Any, name: str) -> str:
    if not isinstance(example, Mapping) or name not in example:
        raise InputError(f"A question must be {{'question': …, 'context': …}}, got {example!r:.80}.")
    text = example[name]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"The {name} is empty: pass a text with at least a word, not {text!r:.40}.")
    return text
