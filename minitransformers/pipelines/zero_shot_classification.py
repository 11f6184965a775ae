"""Zero-shot classification: labels that are chosen at the call, by a model of natural-language inference.

For each label the model judges whether the text entails a sentence such as "This example is politics." (Yin et al.,
2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from minitransformers.errors import InputError, warn
from minitransformers.pipelines.base import ChunkPipeline, Parameters
from minitransformers.pipelines.text_classification import classifier_logits
from minitransformers.pipelines.texts import encode, length_limit


class ZeroShotClassificationPipeline(ChunkPipeline):
    """The labels of a text among those of a call, by a classifier trained for entailment.

        classify = pipeline("zero-shot-classification", model="facebook/bart-large-mnli")
        classify("The match ended 2 to 1.", candidate_labels=["sports", "politics"])

    Keywords of a call:
        candidate_labels: a list, or a text with commas; also the second argument.
        hypothesis_template: the sentence, with {} where the label goes ("This example is {}.").
        multi_label: labels do not exclude each other: each has a probability of its own, of entailment against
            contradiction. By default the probabilities of all labels sum to 1.

    Returns:
        For each text `{"sequence", "labels", "scores"}`, the most likely label first.

    Raises:
        InputError: no labels, or a template without {}.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForSequenceClassification",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.entailment_id == -1:
            warn(
                f"No label of the model is called 'entailment' (its labels are "
                f"{list(self.model.config.id2label.values())}): the last one is taken for it. Set config.label2id."
            )

    @property
    def entailment_id(self) -> int:
        """The number of the label 'entailment'; −1, the last label, if no label has that name."""
        labels = self.model.config.label2id.items()
        return next((number for label, number in labels if label.lower().startswith("entail")), -1)

    def __call__(self, sequences: Any, *args: Any, **parameters: Any) -> Any:  # type: ignore[override]
        """Classify a text, or each of several; the second argument may be the labels. See the class."""
        if len(args) == 1 and "candidate_labels" not in parameters:
            parameters["candidate_labels"], args = args[0], ()
        return super().__call__(sequences, *args, **parameters)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        labels = parameters.get("candidate_labels")
        if isinstance(labels, str):
            parameters["candidate_labels"] = [label.strip() for label in labels.split(",") if label.strip()]
        return super()._sanitize_parameters(**parameters)

    def preprocess(
        self, text: Any, candidate_labels: Any = None, hypothesis_template: str = "This example is {}."
    ) -> Iterator[dict[str, Any]]:
        """Encode the text with the sentence of each label."""
        if not candidate_labels or not isinstance(text, str) or not text:
            raise InputError(f"Pass a text and at least one label: got {text!r:.60} and {candidate_labels!r}.")
        if hypothesis_template.format(candidate_labels[0]) == hypothesis_template:
            raise InputError(f"hypothesis_template={hypothesis_template!r} has no {{}} where the label goes.")
        limit = length_limit(self)
        options: dict[str, Any] = {"truncation": "only_first", "max_length": limit} if limit else {}
        for label in candidate_labels:
            pair = encode(self, text, hypothesis_template.format(label), **options)
            yield {"candidate_label": label, "sequence": text, **pair}

    def _forward(self, model_inputs: Any) -> dict[str, Any]:
        names = {name: model_inputs.pop(name) for name in ("candidate_label", "sequence")}
        return {**names, "logits": classifier_logits(self.model, model_inputs)}

    def postprocess(self, all_outputs: list[dict[str, Any]], multi_label: bool = False) -> dict[str, Any]:
        """Turn the logits of entailment to probabilities, and sort the labels."""
        labels = [outputs["candidate_label"] for outputs in all_outputs]
        logits = torch.cat([outputs["logits"] for outputs in all_outputs]).float()  # (labels, 2 or 3)
        if multi_label or len(labels) == 1:
            contradiction = -1 if self.entailment_id == 0 else 0
            scores = logits[:, [contradiction, self.entailment_id]].softmax(dim=-1)[:, 1]
        else:
            scores = logits[:, self.entailment_id].softmax(dim=0)
        order = sorted(range(len(labels)), key=lambda number: float(scores[number]))[::-1]
        return {
            "sequence": all_outputs[0]["sequence"],
            "labels": [labels[number] for number in order],
            "scores": [float(scores[number]) for number in order],
        }
