"""Image features: the hidden states of a model, one vector for each patch of an image, or one for the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters, Pipeline
from minitransformers.pipelines.images import load_image


class ImageFeatureExtractionPipeline(Pipeline):
    """The last hidden states of an image, by a model without a head.

    Keywords of a call:
        pool: True returns the pooled vector, (1, hidden).
        return_tensors: True returns tensors in place of nested lists.
        image_processor_kwargs: further arguments of the image processor.
        timeout: seconds to wait for an image from the web.

    Returns:
        (1, patches, hidden) numbers for each image.
    """

    _load_tokenizer = False
    _load_image_processor = True

    def preprocess(self, image: Any, timeout: float | int | None = None, **image_processor_kwargs: Any) -> Any:
        """Read the image, and bring it to the size that the model was trained with."""
        pixels = load_image(image, timeout)
        return self.image_processor(pixels, return_tensors="pt", **image_processor_kwargs).to(self.dtype)

    def _forward(self, model_inputs: Any) -> dict[str, Tensor | None]:
        output = self.model(**model_inputs)
        return {"features": output[0], "pooled": output.get("pooler_output")}

    def postprocess(
        self, model_outputs: Mapping[str, Tensor | None], pool: bool | None = False, return_tensors: bool = False
    ) -> Any:
        """The features as a tensor, or as nested lists."""
        features = model_outputs["pooled" if pool else "features"]
        if features is None:
            raise InputError("pool=True: the model has no pooled output. Leave pool out.")
        return features if return_tensors else features.tolist()

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        further = parameters.pop("image_processor_kwargs", None) or {}
        preprocess, forward, postprocess = super()._sanitize_parameters(**parameters)
        return {**preprocess, **further}, forward, postprocess

    def _further_names(self) -> set[str]:
        return set()  # the processor's arguments come in image_processor_kwargs
