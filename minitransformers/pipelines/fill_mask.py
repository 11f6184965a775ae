"""Filling masks: the tokens that fit best where a text has a mask token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.pipelines.base import Parameters, Pipeline, PipelineException
from minitransformers.pipelines.texts import encode


class FillMaskPipeline(Pipeline):
    """The most likely tokens at each mask of a text, by a model with a masked-language-model head.

        fill = pipeline("fill-mask", model="bert-base-uncased")
        fill("Paris is the [MASK] of France.", top_k=3)

    Keywords of a call:
        top_k: how many tokens (5).
        targets: a text or several: only these tokens, by their probability in the whole vocabulary. A word that is no
            token is represented by its first token.
        truncation: True cuts a text that is too long.
        tokenizer_kwargs: further arguments of the tokenizer.

    Returns:
        For a text with one mask a list of `{"score", "token", "token_str", "sequence"}`, the most likely first; with
        several masks a list of such lists, each mask filled while the others stay. A list of one text gives the
        answer for that text, as in transformers.

    Raises:
        PipelineException: the text, after truncation, or the tokenizer has no mask token.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForMaskedLM", "ForConditionalGeneration")

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Fill the masks of a text, or of each of several; see the class."""
        answers = super().__call__(inputs, *args, **parameters)
        return answers[0] if isinstance(inputs, list) and len(inputs) == 1 else answers

    def preprocess(self, text: Any, truncation: Any = None, tokenizer_kwargs: Mapping[str, Any] | None = None) -> Any:
        """Encode a text that has a mask."""
        options = {} if truncation is None else {"truncation": truncation}
        encoded = encode(self, text, **{**options, **(tokenizer_kwargs or {})})
        if not (encoded["input_ids"] == self.tokenizer.mask_token_id).any():
            raise self._error(f"No mask_token ({self.tokenizer.mask_token}) found on the input {text!r:.80}.")
        return encoded

    def _forward(self, model_inputs: Any) -> dict[str, Tensor]:
        return {"logits": self.model(**model_inputs).logits, "input_ids": model_inputs["input_ids"]}

    def postprocess(
        self, model_outputs: Mapping[str, Tensor], top_k: int = 5, targets: list[int] | None = None
    ) -> list[Any]:
        """Choose the tokens, and write the text with each."""
        ids = model_outputs["input_ids"][0]
        masks = (ids == self.tokenizer.mask_token_id).nonzero()[:, 0]
        probabilities = model_outputs["logits"][0, masks].float().softmax(dim=-1)
        if targets is not None:  # their ids
            probabilities = probabilities[:, targets]
        scores, choices = probabilities.topk(min(top_k, probabilities.shape[-1]))
        rows = []
        for mask, mask_scores, mask_choices in zip(masks.tolist(), scores.tolist(), choices.tolist(), strict=True):
            tokens = mask_choices if targets is None else [targets[choice] for choice in mask_choices]
            rows.append([self._filled(ids, mask, *pair, len(masks)) for pair in zip(mask_scores, tokens, strict=True)])
        return rows[0] if len(rows) == 1 else rows

    def _filled(self, ids: Tensor, mask: int, score: float, token: int, count: int) -> dict[str, Any]:
        filled = ids.clone()
        filled[mask] = token
        filled = filled[filled != self.tokenizer.pad_token_id] if self.tokenizer.pad_token_id is not None else filled
        # Of several masks, the others stay in the text: they are special tokens.
        text = self.tokenizer.decode(filled, skip_special_tokens=count == 1)
        return {"score": score, "token": token, "token_str": self.tokenizer.decode([token]), "sequence": text}

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        if parameters.get("targets") is not None:
            parameters["targets"] = self.get_target_ids(parameters["targets"])
        if self.tokenizer.mask_token_id is None:
            raise self._error("The tokenizer has no mask_token: use the tokenizer that the model was trained with.")
        given = {name: value for name, value in parameters.items() if value is not None}
        return super()._sanitize_parameters(**given)

    def get_target_ids(self, targets: str | list[str]) -> list[int]:
        """The token ids of `targets`.

        Raises:
            InputError: there are none.
        """
        vocabulary, ids = self.tokenizer.get_vocab(), []
        for target in [targets] if isinstance(targets, str) else targets:
            found = vocabulary.get(target)
            if found is None:
                pieces = self.tokenizer(target, add_special_tokens=False)["input_ids"]
                if not pieces:
                    warn(f"The target {target!r} has no tokens: it is left out.")
                    continue
                found = pieces[0]
                token = self.tokenizer.convert_ids_to_tokens(found)
                warn(f"The target {target!r} is no token of the vocabulary: its first token {token!r} stands for it.")
            ids.append(found)
        if not ids:
            raise InputError(f"targets={targets!r} has no token: pass at least one word.")
        return list(dict.fromkeys(ids))

    def get_masked_index(self, input_ids: Tensor) -> Tensor:
        """The places of mask tokens."""
        return torch.nonzero(input_ids == self.tokenizer.mask_token_id, as_tuple=False)

    def _error(self, reason: str) -> PipelineException:
        return PipelineException("fill-mask", self.model.name_or_path, reason)
