"""Image classification: the labels of an image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters, Pipeline
from minitransformers.pipelines.images import load_image
from minitransformers.pipelines.text_classification import read_function, score_labels, sorted_labels


class ImageClassificationPipeline(Pipeline):
    """The labels of an image, by a model with an image-classification head.

        classify = pipeline("image-classification", model="google/vit-base-patch16-224")
        classify("photograph.png")

    An image is a path, an address (https://…), a PIL image, an array or a tensor.

    Keywords of a call:
        top_k: how many labels (5).
        function_to_apply: as in text classification.
        timeout: seconds to wait for an image from the web.

    Returns:
        For each image a list of `{"label", "score"}`, the most likely first.
    """

    _load_tokenizer = False
    _load_image_processor = True
    heads = ("ForImageClassification",)

    def __call__(self, inputs: Any = None, *args: Any, **parameters: Any) -> Any:
        """Classify an image, or each of several; see the class."""
        inputs = parameters.pop("images", inputs)  # its old name
        if inputs is None:
            raise InputError("Pass an image: a path, an address, a PIL image, an array or a tensor.")
        return super().__call__(inputs, *args, **parameters)

    def preprocess(self, image: Any, timeout: float | int | None = None) -> Any:
        """Read the image, and bring it to the size that the model was trained with."""
        return self.image_processor(images=load_image(image, timeout), return_tensors="pt").to(self.dtype)

    def _forward(self, model_inputs: Any) -> dict[str, Tensor]:
        return {"logits": self.model(**model_inputs).logits}

    def postprocess(
        self, model_outputs: Any, function_to_apply: Any = None, top_k: int | None = 5
    ) -> list[dict[str, Any]]:
        """Name and sort the labels."""
        scores = score_labels(model_outputs["logits"][0], self.model.config, function_to_apply)
        return sorted_labels(scores, self.model.config.id2label, top_k)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        if parameters.get("function_to_apply") is not None:
            parameters["function_to_apply"] = read_function(parameters["function_to_apply"])
        return super()._sanitize_parameters(**parameters)
