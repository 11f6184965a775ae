"""Token classification: the label of each token, or the entities that labelled tokens form.

tokens -> words (first, average, max) -> entities (every strategy but none) -> windows of a long text joined
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError, warn
from minitransformers.pipelines.base import ChunkPipeline, Parameters
from minitransformers.pipelines.texts import encode, length_limit


class AggregationStrategy(StrEnum):
    """The values of `aggregation_strategy`."""

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"


class TokenClassificationPipeline(ChunkPipeline):
    """Named entities, parts of speech and other labels of tokens, by a model with a token-classification head.

        tag = pipeline("ner", model="…", aggregation_strategy="simple")
        tag("Ada Lovelace lived in London.")

    Keywords of a call:
        aggregation_strategy: "none" returns tokens. "simple" joins neighbouring tokens of one entity. "first",
            "average" and "max" give each word one label before that: its first token's, that of the mean of its
            tokens' probabilities, or the label of its most confident token.
        ignore_labels: labels that are left out (["O"]).
        stride: read a text that is too long in windows that share this many tokens; needs another strategy than
            "none". Where entities of two windows overlap, the longer one stays, then the more probable. Without it,
            the end of a text that is too long is not read, as in transformers, with a warning.
        is_split_into_words: each input is a list of words.
        delimiter: joins the words of such a list to the text that `start` and `end` count in (" ").
        offset_mapping: the characters of each token, in place of the tokenizer's.

    The labels may be written in IOB1 or IOB2 (B-, I-), BIOES (B-, I-, E-, S-), BILOU (B-, I-, L-, U-) or without
    prefixes; the model's label names tell which.

    Returns:
        For each text a list of `{"entity", "score", "index", "word", "start", "end"}` with "none", otherwise of
        `{"entity_group", "score", "word", "start", "end"}`. `start` and `end` are characters of the text.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForTokenClassification",)
    default_input_names = "sequences"

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Tag a text, or each of several; see the class."""
        offsets = parameters.get("offset_mapping")
        if offsets and isinstance(offsets, list) and not isinstance(offsets[0], list):
            parameters["offset_mapping"] = [offsets]
        words = parameters.get("is_split_into_words", self._preprocess_params.get("is_split_into_words"))
        if words and isinstance(inputs, (list, tuple)) and not all(isinstance(each, list) for each in inputs):
            inputs = [list(inputs)]  # the words of one text
        return super().__call__(inputs, *args, **parameters)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        given = {name: value for name, value in parameters.items() if value is not None}
        strategy = given.get("aggregation_strategy")
        if strategy is not None:
            strategy = given["aggregation_strategy"] = read_strategy(strategy)
        if "stride" in given:
            limit = length_limit(self)
            stride = check_count("stride", given["stride"])
            if limit is not None and stride >= limit - self.tokenizer.num_special_tokens_to_add():
                raise InputError(f"stride={stride} must be smaller than a window, which has {limit} tokens.")
            if strategy == AggregationStrategy.NONE:
                raise InputError("stride needs aggregation_strategy='simple', 'first', 'average' or 'max'.")
        return super()._sanitize_parameters(**given)

    # ---- from a text to labelled tokens ------------------------------------------------------------------------------

    def preprocess(
        self,
        sentence: Any,
        offset_mapping: Any = None,
        is_split_into_words: bool = False,
        delimiter: str = " ",
        stride: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Encode a text, in windows where `stride` is given."""
        if not isinstance(sentence, list if is_split_into_words else str):
            wanted = "a list of words" if is_split_into_words else "a str; a list of words needs is_split_into_words"
            raise InputError(f"A text must be {wanted}, got {sentence!r:.80}.")
        text: Any = delimiter.join(sentence) if is_split_into_words else sentence
        limit = length_limit(self)
        options: dict[str, Any] = {"truncation": True, "max_length": limit} if limit else {}
        windows = {"return_overflowing_tokens": True, "padding": True, "stride": stride} if stride is not None else {}
        encoded = encode(
            self,
            sentence,
            is_split_into_words=is_split_into_words,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            **options,
            **windows,
        )
        if stride is None and encoded.encodings is not None and encoded.encodings[0].overflowing:
            warn(f"The end of the text {text!r:.40} has no labels: it has more than {limit} tokens. Pass stride=….")
        encoded.pop("overflow_to_sample_mapping", None)
        for number in range(len(encoded["input_ids"])):
            window = {name: value[number : number + 1] for name, value in encoded.items()}
            offsets = window.pop("offset_mapping") if offset_mapping is None else offset_mapping
            starts = word_starts(encoded.word_ids(number), sentence, delimiter) if is_split_into_words else None
            yield {**window, "offset_mapping": shifted(offsets[0], starts), "sentence": text}

    def _forward(self, model_inputs: Any) -> dict[str, Any]:
        extras = {name: model_inputs.pop(name) for name in ("special_tokens_mask", "offset_mapping", "sentence")}
        return {"logits": self.model(**model_inputs).logits, **extras, "input_ids": model_inputs["input_ids"]}

    def postprocess(
        self,
        all_outputs: list[dict[str, Any]],
        aggregation_strategy: str = AggregationStrategy.NONE,
        ignore_labels: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Name the labels, and join tokens to entities."""
        ignored = ["O"] if ignore_labels is None else ignore_labels
        found: list[dict[str, Any]] = []
        for outputs in all_outputs:
            tokens = self._tokens(outputs, aggregation_strategy)
            entities = self._aggregate(tokens, aggregation_strategy)
            found += [each for each in entities if each.get("entity", each.get("entity_group")) not in ignored]
        return longest_of_overlapping(found) if len(all_outputs) > 1 else found

    def _tokens(self, outputs: Mapping[str, Any], strategy: str) -> list[dict[str, Any]]:
        """The tokens of a window without special ones: probabilities (labels,), characters, and place in a word."""
        text, ids, offsets = outputs["sentence"], outputs["input_ids"][0].tolist(), outputs["offset_mapping"]
        offsets = offsets[0] if isinstance(offsets, list) and offsets and isinstance(offsets[0], list) else offsets
        probabilities = outputs["logits"][0].float().softmax(dim=-1).numpy()
        knows_words = getattr(self.tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
        tokens = []
        for index, is_special in enumerate(outputs["special_tokens_mask"][0].tolist()):
            if is_special:
                continue
            word = self.tokenizer.convert_ids_to_tokens(ids[index])
            start, end = offsets[index]
            if ids[index] == self.tokenizer.unk_token_id:
                word, is_subword = text[start:end], False
            elif knows_words:  # "##ing" is longer than its text
                is_subword = len(word) != end - start
            else:
                is_subword = start > 0 and " " not in text[start - 1 : start + 1]
            token = {"word": word, "scores": probabilities[index], "start": start, "end": end, "index": index}
            tokens.append({**token, "is_subword": is_subword})
        return tokens

    # ---- from tokens to entities -------------------------------------------------------------------------------------

    def _aggregate(self, tokens: list[dict[str, Any]], strategy: str) -> list[dict[str, Any]]:
        if strategy in (AggregationStrategy.NONE, AggregationStrategy.SIMPLE):
            labelled = [self._labelled(token) for token in tokens]
            return labelled if strategy == AggregationStrategy.NONE else self._entities(labelled)
        words: list[list[dict[str, Any]]] = []
        for token in tokens:
            if token["is_subword"] and words:
                words[-1].append(token)
            else:
                words.append([token])
        return self._entities([self._word(word, strategy) for word in words])

    def _labelled(self, token: dict[str, Any]) -> dict[str, Any]:
        label, score = self._best(token["scores"])
        names = ("index", "word", "start", "end")
        return {"entity": label, "score": score, **{name: token[name] for name in names}}

    def _word(self, tokens: list[dict[str, Any]], strategy: str) -> dict[str, Any]:
        """A word with the one label that `strategy` gives it."""
        scores = tokens[0]["scores"]
        if strategy == AggregationStrategy.MAX:
            scores = max((token["scores"] for token in tokens), key=lambda each: float(each.max()))
        elif strategy == AggregationStrategy.AVERAGE:
            scores = sum(token["scores"] for token in tokens) / len(tokens)
        label, score = self._best(scores)
        text = self.tokenizer.convert_tokens_to_string([token["word"] for token in tokens])
        return {
            "entity": label,
            "score": score,
            "word": text,
            "start": tokens[0]["start"],
            "end": tokens[-1]["end"],
        }

    def _best(self, scores: Any) -> tuple[str, float]:
        best = int(scores.argmax())
        return self.model.config.id2label[best], float(scores[best])

    def _entities(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Join neighbouring tokens or words of one entity."""
        begin, end = boundaries(self.model.config.id2label.values())
        groups: list[list[dict[str, Any]]] = []
        for part in parts:
            prefix, kind = prefix_and_kind(part["entity"], begin + end)
            if groups:
                last_prefix, last_kind = prefix_and_kind(groups[-1][-1]["entity"], begin + end)
                if kind == last_kind and prefix not in begin and last_prefix not in end:
                    groups[-1].append(part)
                    continue
            groups.append([part])
        return [self._entity(group) for group in groups]

    def _entity(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "entity_group": parts[0]["entity"].split("-", 1)[-1],
            "score": sum(part["score"] for part in parts) / len(parts),
            "word": self.tokenizer.convert_tokens_to_string([part["word"] for part in parts]),
            "start": parts[0]["start"],
            "end": parts[-1]["end"],
        }


NerPipeline = TokenClassificationPipeline


def read_strategy(strategy: Any) -> AggregationStrategy:
    """An `aggregation_strategy`, in upper or lower case.

    Raises:
        InputError: there is no such strategy.
    """
    try:
        return AggregationStrategy(str(strategy).lower())
    except ValueError:
        names = ", ".join(repr(str(each)) for each in AggregationStrategy)
        raise InputError(f"aggregation_strategy={strategy!r} must be one of {names}.") from None


def boundaries(labels: Any) -> tuple[str, str]:
    """The prefixes of labels that begin an entity, and those that end one, by the scheme of `labels`.

    IOB1 and IOB2 know a beginning only. BIOES and BILOU are told by their labels for ends and single tokens.
    """
    prefixes = {label[0] for label in labels if label[1:2] == "-"}
    if prefixes & {"E", "S"} and prefixes <= {"B", "I", "E", "S"}:
        return "BS", "ES"
    if prefixes & {"L", "U"} and prefixes <= {"B", "I", "L", "U"}:
        return "BU", "LU"
    return "B", ""


def prefix_and_kind(label: str, prefixes: str) -> tuple[str, str]:
    """ "B-PER" as ("B", "PER"). A label without a known prefix continues a neighbour of the same label."""
    if label[1:2] == "-" and label[0] in "I" + prefixes:
        return label[0], label[2:]
    return "I", label


def longest_of_overlapping(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entities of all windows in order; of two that overlap the longer one, then the more probable."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda each: each["start"]):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(entity)
            continue
        length, best = entity["end"] - entity["start"], kept[-1]["end"] - kept[-1]["start"]
        if length > best or (length == best and entity["score"] > kept[-1]["score"]):
            kept[-1] = entity
    return kept


def word_starts(word_ids: list[int | None], words: Any, delimiter: str) -> list[int]:
    """For each token, the character at which its word starts in the joined text; 0 for special tokens."""
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + len(delimiter))
    return [0 if number is None else starts[number] for number in word_ids]


def shifted(offsets: Any, starts: list[int] | None) -> list[tuple[int, int]]:
    """Pairs of characters, moved by `starts`."""
    pairs = [(int(start), int(end)) for start, end in offsets]
    if starts is None:
        return pairs
    return [(start + move, end + move) for (start, end), move in zip(pairs, starts, strict=True)]
