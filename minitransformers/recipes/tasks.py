"""What each task makes of rows of data: a model, examples with labels, and figures.

A class for each task. `load` reads the model with a head for the labels of the data, `encode` makes examples, `collate`
batches, `measure` the figures of a model on rows, of which the first decides which epoch is best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from minitransformers import auto
from minitransformers.alignment import encode_answer, encode_conversation
from minitransformers.alignment.likelihood import answer_log_probabilities
from minitransformers.assets import fetch
from minitransformers.data import DataCollatorForSeq2Seq, DataCollatorForTokenClassification, DataCollatorWithPadding
from minitransformers.errors import CorpusError, InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.pipelines import pipeline
from minitransformers.recipes.metrics import accuracy, entity_scores, exact_match, macro_f1, token_f1
from minitransformers.recipes.recipe import Recipe
from minitransformers.recipes.rows import Row, column
from minitransformers.tokenization import AutoTokenizer
from minitransformers.tokenization.chat.prompt_templates import plain_chat


class Task:
    """What the tasks share: the tokenizer, and a model with a head for the labels."""

    loader: Any
    labels: list[str]

    def __init__(self, recipe: Recipe, rows: Sequence[Row]) -> None:
        self.recipe = recipe
        self.source = recipe.model if recipe.model is not None else str(fetch("minilm"))
        loader: Any = AutoTokenizer
        self.tokenizer: Any = loader.from_pretrained(self.source)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.labels = self.find_labels(rows)

    def find_labels(self, rows: Sequence[Row]) -> list[str]:
        """The labels of the data, sorted."""
        return []

    def load(self) -> Any:
        """The model, with a new head where the task has labels."""
        options: dict[str, Any] = {}
        if self.labels:
            options["id2label"] = dict(enumerate(self.labels))
            options["label2id"] = {label: index for index, label in enumerate(self.labels)}
        model = self.loader.from_pretrained(self.source, **options)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self.tokenizer.pad_token_id
        return model

    def id_of(self, label: str) -> int:
        """The number of a label.

        Raises:
            CorpusError: the training data lacks it.
        """
        if label not in self.labels:
            raise CorpusError(f"The label {label!r} does not occur in the training data: {', '.join(self.labels)}.")
        return self.labels.index(label)


class Classify(Task):
    """Rows with a text (or two) and a label."""

    loader = auto.AutoModelForSequenceClassification

    def find_labels(self, rows: Sequence[Row]) -> list[str]:
        """Those of the column `label`."""
        found = sorted({str(label) for label in column(rows, self.recipe.label)})
        if len(found) < 2:
            raise CorpusError(f"All rows have the label {found[0]!r}: there is nothing to learn.")
        return found

    def encode(self, rows: Sequence[Row]) -> list[Row]:
        """Ids of the texts, and the number of the label."""
        encoded = self._tokenize(rows)
        labels = [self.id_of(str(label)) for label in column(rows, self.recipe.label)]
        return [
            {name: values[index] for name, values in encoded.items()} | {"labels": label}
            for index, label in enumerate(labels)
        ]

    def _tokenize(self, rows: Sequence[Row]) -> Any:
        texts = [[str(text) for text in column(rows, self.recipe.text)]]
        if self.recipe.pair is not None:
            texts.append([str(text) for text in column(rows, self.recipe.pair)])
        return self.tokenizer(*texts, truncation=True, max_length=self.recipe.max_length)

    def collate(self, rows: list[Row]) -> Any:
        """Padded ids, and labels."""
        return DataCollatorWithPadding(self.tokenizer)(rows)

    @torch.no_grad()
    def measure(self, model: Any, rows: Sequence[Row]) -> dict[str, float]:
        """Accuracy and macro F₁."""
        examples, found = self.encode(rows), []
        for start in range(0, len(examples), 32):
            batch = self.collate(examples[start : start + 32]).to(model.device)
            found += (
                model(**{name: value for name, value in batch.items() if name != "labels"}).logits.argmax(-1).tolist()
            )
        labels = [example["labels"] for example in examples]
        return {"accuracy": accuracy(found, labels), "macro_f1": macro_f1(found, labels)}


class Tag(Task):
    """Rows with `tokens`, the words of a sentence, and `tags` (or `ner_tags`), one for each."""

    loader = auto.AutoModelForTokenClassification

    def find_labels(self, rows: Sequence[Row]) -> list[str]:
        """Those of all words."""
        return sorted({tag for row in rows for tag in _tags(row)})

    def encode(self, rows: Sequence[Row]) -> list[Row]:
        """Ids, and a label at the first token of each word."""
        words = [list(map(str, tokens)) for tokens in column(rows, "tokens")]
        encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.recipe.max_length)
        examples = []
        for index, row in enumerate(rows):
            tags, labels, before = [self.id_of(tag) for tag in _tags(row)], [], None
            if len(tags) != len(words[index]):
                raise CorpusError(f"Row {index + 1} has {len(words[index])} tokens and {len(tags)} tags.")
            for word in encoded.word_ids(index):
                labels.append(IGNORED if word is None or word == before else tags[word])
                before = word
            examples.append({"input_ids": encoded["input_ids"][index], "labels": labels})
        return examples

    def collate(self, rows: list[Row]) -> Any:
        """Padded ids and labels."""
        return DataCollatorForTokenClassification(self.tokenizer)(rows)

    @torch.no_grad()
    def measure(self, model: Any, rows: Sequence[Row]) -> dict[str, float]:
        """Precision, recall and F₁ of whole entities, and the accuracy of words. F₁ comes first."""
        examples = self.encode(rows)
        predicted: list[list[str]] = []
        true: list[list[str]] = []
        for start in range(0, len(examples), 32):
            batch = self.collate(examples[start : start + 32]).to(model.device)
            best = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)
            for ids, labels in zip(best.tolist(), batch["labels"].tolist(), strict=True):
                kept = [(id, label) for id, label in zip(ids, labels, strict=True) if label != IGNORED]
                predicted.append([self.labels[id] for id, _ in kept])
                true.append([self.labels[label] for _, label in kept])
        flat = [[tag for tags in side for tag in tags] for side in (predicted, true)]
        words = accuracy(*flat)
        if not any(tag.startswith(("B-", "I-")) for tag in self.labels):  # parts of speech, say
            return {"accuracy": words, "macro_f1": macro_f1(*flat)}
        scores = entity_scores(predicted, true)
        return {"f1": scores["f1"], "precision": scores["precision"], "recall": scores["recall"], "accuracy": words}


def _tags(row: Row) -> list[str]:
    name = next((name for name in ("tags", "ner_tags", "pos_tags") if name in row), "tags")
    (found,) = column([row], name)
    return [str(tag) for tag in found]


class Answer(Task):
    """Rows with `question`, `context` and `answers`: {"text": […], "answer_start": […]}, or a list of such pairs.

    A row without an answer teaches that the text does not answer (SQuAD 2).
    """

    loader = auto.AutoModelForQuestionAnswering

    def encode(self, rows: Sequence[Row]) -> list[Row]:
        """Windows of question and context, with the positions of the answer's first and last token.

        A window without the answer has the position 0 for both.
        """
        questions, contexts = ([str(text) for text in column(rows, name)] for name in ("question", "context"))
        encoded = self.tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=self.recipe.max_length,
            stride=min(32, self.recipe.max_length // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        examples = []
        for window, index in enumerate(encoded["overflow_to_sample_mapping"]):
            texts, starts = _answers(rows[index])
            first = last = 0
            if texts:
                begin, end = starts[0], starts[0] + len(texts[0])
                if contexts[index][begin:end] != texts[0]:
                    raise CorpusError(f"Row {index + 1}: the context has no {texts[0]!r} at character {begin}.")
                of_context = [part == 1 for part in encoded.sequence_ids(window)]
                spans = enumerate(encoded["offset_mapping"][window])
                inside = [i for i, (a, b) in spans if of_context[i] and a < end and b > begin]
                covered = encoded["offset_mapping"][window]
                if inside and covered[inside[0]][0] <= begin and covered[inside[-1]][1] >= end:
                    first, last = inside[0], inside[-1]
            example = {name: encoded[name][window] for name in self.tokenizer.model_input_names if name in encoded}
            examples.append({**example, "start_positions": first, "end_positions": last})
        return examples

    def collate(self, rows: list[Row]) -> Any:
        """Padded ids, and positions."""
        return DataCollatorWithPadding(self.tokenizer)(rows)

    def measure(self, model: Any, rows: Sequence[Row]) -> dict[str, float]:
        """F₁ of the answers' words and the share of exact matches, in percent/100. F₁ comes first."""
        answer = pipeline("question-answering", model, tokenizer=self.tokenizer, device=model.device, progress=False)
        inputs = [{"question": str(row["question"]), "context": str(row["context"])} for row in rows]
        has_none = any(not _answers(row)[0] for row in rows)
        found = answer(inputs, batch_size=32, handle_impossible_answer=has_none, max_seq_len=self.recipe.max_length)
        found = [found] if isinstance(found, dict) else found
        right = [_answers(row)[0] or [""] for row in rows]
        pairs = [(each["answer"], texts) for each, texts in zip(found, right, strict=True)]
        return {
            "f1": sum(token_f1(text, texts) for text, texts in pairs) / len(pairs),
            "exact_match": sum(exact_match(text, texts) for text, texts in pairs) / len(pairs),
        }


def _answers(row: Row) -> tuple[list[str], list[int]]:
    (answers,) = column([row], "answers")
    if isinstance(answers, list):
        answers = {name: [each[name] for each in answers] for name in ("text", "answer_start")}
    try:
        return list(answers["text"]), [int(start) for start in answers["answer_start"]]
    except (TypeError, KeyError, ValueError) as error:
        raise CorpusError(f"'answers' must have 'text' and 'answer_start', got {str(answers)[:80]}.") from error


class Generate(Task):
    """Rows with a `text`, of which every token is learnt; or with `prompt` and `answer`, of which the answer is."""

    loader = auto.AutoModelForCausalLM

    def encode(self, rows: Sequence[Row]) -> list[Row]:
        """Ids and labels; texts end with the end-of-text token."""
        if all("prompt" in row and "answer" in row for row in rows):
            pairs = [(str(row["prompt"]), f" {str(row['answer']).lstrip()}") for row in rows]
        else:
            pairs = [("", str(text)) for text in column(rows, self.recipe.text)]
        return [dict(encode_answer(self.tokenizer, *pair, max_length=self.recipe.max_length)) for pair in pairs]

    def collate(self, rows: list[Row]) -> Any:
        """Padded ids and labels."""
        return DataCollatorForSeq2Seq(self.tokenizer, padding=True)(rows)

    @torch.no_grad()
    def measure(self, model: Any, rows: Sequence[Row]) -> dict[str, float]:
        """The log-likelihood of a learnt token, which comes first, and its perplexity."""
        examples, total = self.encode(rows), 0.0
        count = sum(label != IGNORED for example in examples for label in example["labels"][1:])
        for start in range(0, len(examples), 16):
            batch = self.collate(examples[start : start + 16]).to(model.device)
            total += float(answer_log_probabilities(model, batch).sum())
        if not count:
            raise InputError("The rows have no token to predict.")
        return {"log_likelihood": total / count, "perplexity": math.exp(min(-total / count, 700.0))}


class Chat(Generate):
    """Rows with `messages`: [{"role": "user", "content": …}, {"role": "assistant", …}, …]."""

    def encode(self, rows: Sequence[Row]) -> list[Row]:
        """By the tokenizer's chat template; without one, each of the assistant's turns after plain text."""
        examples: list[Row] = []
        for messages in column(rows, "messages"):
            if self.tokenizer.chat_template is not None:
                examples.append(dict(encode_conversation(self.tokenizer, messages, self.recipe.max_length)))
                continue
            for index, message in enumerate(messages):
                if message["role"] == "assistant":
                    before = plain_chat(messages[:index])
                    limit = self.recipe.max_length
                    examples.append(dict(encode_answer(self.tokenizer, before, f" {message['content']}", limit)))
        if not examples:
            raise CorpusError("The conversations have no turn of the assistant to learn.")
        return examples


TASK_CLASSES: dict[str, type[Any]] = {
    "classify": Classify,
    "tag": Tag,
    "answer": Answer,
    "generate": Generate,
    "chat": Chat,
}
