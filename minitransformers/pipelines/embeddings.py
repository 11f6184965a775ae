"""Vectors of whole texts: sentence embeddings, the similarity of texts, and search by meaning.

Reimers and Gurevych (2019): the mean of a text's token vectors, normalized to length 1, so that the dot product of two
vectors is the cosine of their angle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minitransformers.configs.checks import check_choice, check_count, check_flag
from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters, Pipeline
from minitransformers.pipelines.texts import encode

POOLINGS = ("mean", "cls", "max")
_BATCH = 32


class SentenceEmbeddingPipeline(Pipeline):
    """One vector for a text, from the last hidden states of a model.

        embed = pipeline("sentence-embedding", model="sentence-transformers/all-MiniLM-L6-v2")
        embed(["A man eats.", "Someone has a meal."], return_tensors=True).shape  # (2, hidden)

    A list is read in batches of 32 unless `batch_size` is given, texts of similar lengths together.

    Keywords of a call:
        pooling: "mean" of the tokens' vectors, "cls" for the first token's, or "max", the largest value of each
            component.
        normalize: scale the vector to length 1 (True).
        truncation: True, the default, cuts texts that are too long.
        return_tensors: True returns tensors, (hidden,) for a text and (texts, hidden) for a list, in place of lists of
            numbers.
    """

    _load_tokenizer = True
    _load_image_processor = False
    padding_side = "right"  # which leaves the tokens' positions as they are

    def __init__(self, *args: Any, batch_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, batch_size=_BATCH if batch_size is None else batch_size, **kwargs)

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Embed a text, or each of several; see the class."""
        if not isinstance(inputs, (list, tuple)) or not all(isinstance(text, str) for text in inputs):
            return super().__call__(inputs, *args, **parameters)
        # Texts of similar lengths in one batch need little padding.
        order = sorted(range(len(inputs)), key=lambda number: len(inputs[number]))
        vectors = super().__call__([inputs[number] for number in order], *args, **parameters)
        restored = [vector for _, vector in sorted(zip(order, vectors, strict=True), key=lambda pair: pair[0])]
        return torch.stack(restored) if restored and isinstance(restored[0], Tensor) else restored

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        if "pooling" in parameters:
            check_choice("pooling", parameters["pooling"], POOLINGS)
        for name in ("normalize", "return_tensors"):
            if name in parameters:
                check_flag(name, parameters[name])
        return super()._sanitize_parameters(**parameters)

    def preprocess(self, text: Any, truncation: Any = True) -> Any:
        """Encode a text."""
        if not isinstance(text, str):
            raise InputError(f"A text must be a str, got {text!r:.80}.")
        return encode(self, text, truncation=truncation)

    def _forward(self, model_inputs: Any, pooling: str = "mean", normalize: bool = True) -> dict[str, Tensor]:
        output = self.model(**model_inputs)
        is_encoder_decoder = self.model.config.is_encoder_decoder and "encoder_last_hidden_state" in output
        states = output.encoder_last_hidden_state if is_encoder_decoder else output[0]
        mask = model_inputs.get("attention_mask", torch.ones_like(model_inputs["input_ids"]))
        vectors = pool(states, mask, pooling)
        return {"vectors": F.normalize(vectors, dim=-1) if normalize else vectors}

    def postprocess(self, model_outputs: Mapping[str, Tensor], return_tensors: bool = False) -> Any:
        """The vector as a tensor, or as a list of numbers."""
        vector = model_outputs["vectors"][0]
        return vector if return_tensors else vector.tolist()


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Hidden states (batch, tokens, hidden) as one vector for each text, (batch, hidden); 0 in `mask` is padding."""
    is_token = mask.bool()[..., None]
    if pooling == "cls":  # the first token, which padding on the left precedes
        return states[torch.arange(len(states), device=states.device), mask.long().argmax(dim=1)]
    if pooling == "max":
        return states.masked_fill(~is_token, -torch.inf).amax(dim=1)
    return (states * is_token).sum(dim=1) / is_token.sum(dim=1)


class SentenceSimilarityPipeline(SentenceEmbeddingPipeline):
    """How similar texts are in meaning: the cosine of their vectors, from −1 to 1.

        similarity = pipeline("sentence-similarity", model="sentence-transformers/all-MiniLM-L6-v2")
        similarity({"source_sentence": "A man eats.", "sentences": ["Someone has a meal.", "It rains."]})
        similarity("A man eats.", "Someone has a meal.")

    Keywords of a call: `pooling`, `truncation` and `batch_size` of sentence embedding.

    Returns:
        A number for each sentence; one number for two texts.
    """

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Compare a text with others; see the class."""
        if len(args) == 1:
            others = [args[0]] if isinstance(args[0], str) else list(args[0])
            scores = self._compare(inputs, others, parameters)
            return scores[0] if isinstance(args[0], str) else scores
        if isinstance(inputs, Mapping):
            return self._compare(inputs.get("source_sentence"), inputs.get("sentences"), parameters)
        return [self(each, *args, **parameters) for each in inputs]

    def _compare(self, source: Any, others: Any, parameters: Parameters) -> list[float]:
        if not isinstance(source, str) or not isinstance(others, Sequence) or isinstance(others, str) or not others:
            raise InputError("Pass two texts, or {'source_sentence': a text, 'sentences': a list of texts}.")
        options = {**parameters, "normalize": True, "return_tensors": True}
        vectors = super().__call__([source, *others], **options)
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines


class SemanticSearchPipeline(SentenceEmbeddingPipeline):
    """The texts of a collection that are nearest to a query in meaning.

        search = pipeline("semantic-search", model="…", corpus=texts)
        search("how to reset a password", top_k=3)

    The collection is embedded once, when it is given; a query costs one pass of the model and a product with all
    vectors.

    Args:
        corpus: the texts; `add` takes more.

    Keywords of a call:
        top_k: how many texts (5).
        pooling, truncation: of sentence embedding. The collection is embedded with those of the constructor.

    Returns:
        For each query a list of `{"corpus_id", "score", "text"}`, the nearest first; the score is the cosine.
    """

    def __init__(self, *args: Any, corpus: Iterable[str] = (), top_k: int = 5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.top_k = check_count("top_k", top_k, least=1)
        self.texts: list[str] = []
        self.vectors = torch.empty(0, 0)
        self.add(corpus)

    def add(self, texts: Iterable[str]) -> None:
        """Embed further texts, and add them to the collection."""
        new = list(texts)
        if new:
            vectors = super().__call__(new, normalize=True, return_tensors=True)
            self.vectors = torch.cat([self.vectors, vectors]) if self.texts else vectors
            self.texts += new

    def __call__(self, inputs: Any, *args: Any, top_k: int | None = None, **parameters: Any) -> Any:
        """Search for a query, or for each of several; see the class."""
        if not self.texts:
            raise InputError("There is no text to search: pass corpus=[…], or add(texts).")
        count = min(self.top_k if top_k is None else check_count("top_k", top_k, least=1), len(self.texts))
        queries = [inputs] if isinstance(inputs, str) else list(inputs)
        if not queries:
            return []
        vectors = super().__call__(queries, *args, **{**parameters, "normalize": True, "return_tensors": True})
        scores, places = (vectors @ self.vectors.T).topk(count, dim=-1)
        found = [
            [
                {"corpus_id": place, "score": score, "text": self.texts[place]}
                for score, place in zip(row_scores, row_places, strict=True)
            ]
            for row_scores, row_places in zip(scores.tolist(), places.tolist(), strict=True)
        ]
        return found[0] if isinstance(inputs, str) else found
