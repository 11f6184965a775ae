"""Text classification: the labels of a text, or of a pair of texts, with their probabilities."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.pipelines.base import Parameters, Pipeline
from minitransformers.pipelines.texts import encode
from minitransformers.tokenization.base.codec import Codec


class ClassificationFunction(StrEnum):
    """The values of `function_to_apply`."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    NONE = "none"


class TextClassificationPipeline(Pipeline):
    """The labels of a text, by a model with a sequence-classification head.

        classify = pipeline("text-classification", model="…")
        classify("I love it.")
        classify({"text": "A man sleeps.", "text_pair": "Nobody is awake."}, top_k=None)

    Keywords of a call:
        top_k: how many labels, the most likely first; None for all. Not given: the best label.
        function_to_apply: "softmax", "sigmoid" or "none". By default as `score_labels` says.
        truncation and other arguments of the tokenizer: True cuts a text that is too long.

    Returns:
        For each text `{"label", "score"}`, or a list of them if `top_k` is given. A single text without `top_k` gives
        a list of one, as in transformers.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForSequenceClassification",)

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Classify a text or a pair, or each of several; see the class."""
        answer = super().__call__(inputs, *args, **parameters)
        return [answer] if isinstance(inputs, str) and "top_k" not in parameters else answer

    def _is_single(self, inputs: Any) -> bool:
        # [["first", "second"]] is an old way to write a pair.
        return super()._is_single(inputs) or _is_old_pair(inputs)

    def preprocess(self, inputs: Any, **tokenizer_kwargs: Any) -> Any:
        """Encode a text, or a pair {"text": …, "text_pair": …}."""
        if isinstance(inputs, dict):
            return encode(self, **inputs, **tokenizer_kwargs)
        if _is_old_pair(inputs):
            return encode(self, *inputs[0], **tokenizer_kwargs)
        if not isinstance(inputs, str):
            raise InputError(
                f"A text must be a str, and a pair of texts {{'text': …, 'text_pair': …}}; got {inputs!r:.80}."
            )
        return encode(self, inputs, **tokenizer_kwargs)

    def _forward(self, model_inputs: Any) -> dict[str, Tensor]:
        return {"logits": classifier_logits(self.model, model_inputs)}

    def postprocess(
        self, model_outputs: Any, function_to_apply: Any = None, top_k: int | str | None = ""
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Name the labels, and sort them if `top_k` is given."""
        scores = score_labels(model_outputs["logits"][0], self.model.config, function_to_apply)
        names = self.model.config.id2label
        if top_k == "":
            best = int(scores.argmax())
            return {"label": names[best], "score": float(scores[best])}
        return sorted_labels(scores, names, top_k)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        if "return_all_scores" in parameters:
            raise UnknownArgumentError("return_all_scores was removed: pass top_k=None for all labels.")
        function = parameters.get("function_to_apply")
        if function is not None:
            parameters["function_to_apply"] = read_function(function)
        return super()._sanitize_parameters(**parameters)

    def _further_names(self) -> set[str]:
        return CALL_NAMES


def _is_old_pair(inputs: Any) -> bool:
    return isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], list) and len(inputs[0]) == 2


CALL_NAMES = set(Codec.__call__.__annotations__) - {"text", "text_pair", "unknown", "return", "return_tensors"}
"""The tokenizer's keywords that a call may have."""


def classifier_logits(model: Any, model_inputs: Any) -> Tensor:
    """The logits of a classifier; of a decoder, without a cache."""
    takes_cache = "use_cache" in getattr(model, "_forward_arguments", ())
    logits: Tensor = model(**model_inputs, **({"use_cache": False} if takes_cache else {})).logits
    return logits


def read_function(function: Any) -> ClassificationFunction:
    """A `function_to_apply`, in upper or lower case.

    Raises:
        InputError: there is no such function.
    """
    try:
        return ClassificationFunction(str(function).lower())
    except ValueError:
        names = ", ".join(repr(str(each)) for each in ClassificationFunction)
        raise InputError(f"function_to_apply={function!r} must be one of {names}.") from None


def score_labels(logits: Tensor, config: Any, function: ClassificationFunction | None) -> Tensor:
    """The score of each label, (labels,) in float32.

    By default the logits themselves for a regression; the sigmoid where labels do not exclude each other, or there is
    only one; otherwise the softmax.
    """
    logits = logits.float()
    if function is None:
        if config.problem_type == "regression":
            function = ClassificationFunction.NONE
        elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
            function = ClassificationFunction.SIGMOID
        else:
            function = ClassificationFunction.SOFTMAX
    if function == ClassificationFunction.SIGMOID:
        return torch.sigmoid(logits)
    return logits.softmax(dim=-1) if function == ClassificationFunction.SOFTMAX else logits


def sorted_labels(scores: Tensor, names: Any, top_k: Any) -> list[dict[str, Any]]:
    """The best `top_k` labels, None for all, each `{"label", "score"}`.

    Raises:
        InputError: `top_k` is no whole number of at least 1.
    """
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise InputError(f"top_k={top_k!r} must be a whole number of at least 1, or None for all labels.")
    labels = [{"label": names[number], "score": score} for number, score in enumerate(scores.tolist())]
    return sorted(labels, key=lambda label: -label["score"])[:top_k]
