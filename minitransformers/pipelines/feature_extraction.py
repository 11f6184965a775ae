"""Feature extraction: the hidden states of a model, one vector for each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters, Pipeline
from minitransformers.pipelines.texts import encode


class FeatureExtractionPipeline(Pipeline):
    """The last hidden states of a text, by a model without a head; with a head, its logits.

        extract = pipeline("feature-extraction", model="bert-base-uncased")
        extract("A text", return_tensors=True).shape  # (1, tokens, hidden)

    Keywords of a call:
        return_tensors: True returns tensors in place of nested lists.
        truncation: True cuts a text that is too long.
        tokenize_kwargs: further arguments of the tokenizer.

    Returns:
        (1, tokens, hidden) numbers for each text. A batch gives the same: vectors of padding are left out, which
        transformers returns.
    """

    _load_tokenizer = True
    _load_image_processor = False
    padding_side = "right"  # which leaves the tokens' positions as they are

    def preprocess(self, text: Any, **tokenize_kwargs: Any) -> Any:
        """Encode a text."""
        return encode(self, text, **tokenize_kwargs)

    def _forward(self, model_inputs: Any) -> dict[str, Any]:
        return {"features": self.model(**model_inputs)[0], "attention_mask": model_inputs.get("attention_mask")}

    def postprocess(self, model_outputs: Mapping[str, Any], return_tensors: bool = False) -> Any:
        """Leave out the vectors of padding."""
        features: Tensor = model_outputs["features"]
        mask = model_outputs["attention_mask"]
        if mask is not None and mask.shape == features.shape[:2]:
            features = features[:, mask[0].bool()]
        return features if return_tensors else features.tolist()

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        further = parameters.pop("tokenize_kwargs", None) or {}
        if parameters.get("truncation") is not None and "truncation" in further:
            raise InputError("truncation is given twice, as a keyword and in tokenize_kwargs: leave one out.")
        truncation = parameters.pop("truncation", None)
        options = further if truncation is None else {**further, "truncation": truncation}
        preprocess, forward, postprocess = super()._sanitize_parameters(**parameters)
        return {**preprocess, **options}, forward, postprocess

    def _further_names(self) -> set[str]:
        return set()  # the tokenizer's arguments come in tokenize_kwargs
