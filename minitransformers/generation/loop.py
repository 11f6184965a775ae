"""Greedy decoding and sampling: the loop in which a model writes a text, one token at a time.

`model.generate(…)` (mixin.py) reads the arguments and runs this loop. Beam search (beam.py) and assisted decoding
(assisted.py) are loops of the same form: each takes a `Search`, the state of the call, and yields a `Step` for each new
token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation import outputs
from minitransformers.generation.config import GenerationConfig
from minitransformers.generation.inputs import NextTokenModel
from minitransformers.generation.outputs import Step
from minitransformers.outputs import ModelOutput


def next_token_loop(search: Search) -> Iterator[Step]:
    """Greedy decoding and, with `do_sample`, sampling: add the next token to each row until all rows have ended."""
    rows, device = search.sequences.shape[0], search.sequences.device
    finished = torch.zeros(rows, dtype=torch.bool, device=device)
    cumulative = torch.zeros(rows, device=device)

    while search.sequences.shape[1] < search.max_length and not finished.all():
        logits = search.model(search.sequences)[:, -1]
        scores = search.process(logits, logits)
        if search.settings.do_sample:
            # Finished rows draw too: so the draws of the other rows do not depend on them.
            token = search.draw(scores.softmax(dim=-1)).squeeze(1)
        else:
            token = scores.argmax(dim=-1)
        if search.track_probability:
            cumulative = cumulative + log_probability(scores, token).masked_fill(finished, 0.0)
        if search.padding is not None:
            token = token.masked_fill(finished, search.padding)
        search.sequences = torch.cat([search.sequences, token[:, None]], dim=1)
        finished = finished | search.ended(search.sequences)
        yield Step(token, cumulative, finished, search.sequences, logits, scores)


def log_probability(scores: Tensor, token_ids: Tensor) -> Tensor:
    """(rows,) the log-probability of each row's token, given scores (rows, vocabulary)."""
    return scores.gather(1, token_ids[:, None]).squeeze(1) - scores.logsumexp(dim=-1)


class Search:
    """The state of one call of `generate`; iterating over it takes the steps of its loop.

    Args:
        loop: the strategy: called with the search, yields a `Step` for each new token.
        model: the model with its cache and inputs.
        input_ids: (rows, length) the prompts; one row for each continuation.
        settings: the settings of the call.
        processors: change the scores of every step, one after the other.
        criteria: return which rows have ended, besides those that are complete or end with one of `ends`.
        ends: the tokens that end a text.
        max_length: the most tokens a text may have, including its prompt.
        generator: source of random numbers; by default PyTorch's global one.

    Attributes:
        sequences: (rows, length) prompts and continuations so far; after the last step, the result.
        padding: the token that fills rows which have ended; None where nothing ends a text early.
        track_probability: whether steps have `cumulative`, which costs a pass over the scores.
        beams: the results of beam search, under the names of the output's fields.
    """

    def __init__(
        self,
        loop: Callable[[Search], Iterator[Step]],
        model: NextTokenModel,
        input_ids: Tensor,
        settings: GenerationConfig,
        processors: Iterable[Callable[[Tensor, Tensor], Tensor]],
        criteria: Iterable[Callable[..., Tensor | bool]],
        ends: list[int],
        max_length: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.model, self.sequences, self.settings = model, input_ids, settings
        self.processors, self.criteria = processors, criteria
        self.ends = torch.tensor(ends, dtype=torch.long, device=input_ids.device)
        self.max_length, self.generator = max_length, generator
        # Without an end-of-text token, rows that a criterion has ended go on until all rows have ended.
        self.padding = (ends[0] if settings.pad_token_id is None else settings.pad_token_id) if ends else None
        self.track_probability = True
        self.beams: dict[str, Tensor | None] = {}
        self._kept: dict[str, list[Any]] = {}
        if settings.return_dict_in_generate:
            names = ("scores", "logits", "attentions", "hidden_states")
            self._kept = {name: [] for name in names if getattr(settings, f"output_{name}")}
            if "attentions" in self._kept and model.is_encoder_decoder:
                self._kept["cross_attentions"] = []
        self._steps = loop(self)

    def __iter__(self) -> Search:
        return self

    def __next__(self) -> Step:
        with torch.no_grad():
            return next(self._steps)

    def process(self, logits: Tensor, scores: Tensor) -> Tensor:
        """(rows, vocabulary) the scores after all processors: logits or, in beam search, log-probabilities.

        Also keeps what the output of the call is asked to contain.
        """
        for processor in self.processors:
            scores = processor(self.sequences, scores)
        if self._kept:
            current = {"scores": scores, "logits": logits, **self.model.details}
            for name, values in self._kept.items():
                values.append(current[name])
        return scores

    def ended(self, sequences: Tensor) -> Tensor:
        """(rows,) which rows are complete, end with an end-of-text token, or meet a criterion."""
        ended = torch.isin(sequences[:, -1], self.ends) | (sequences.shape[1] >= self.max_length)
        for criterion in self.criteria:
            ended = ended | criterion(sequences, tuple(self._kept["scores"]) if "scores" in self._kept else None)
        return ended

    def draw(self, probabilities: Tensor, count: int = 1) -> Tensor:
        """(rows, count) tokens drawn without replacement."""
        try:
            return torch.multinomial(probabilities, count, generator=self.generator)
        except RuntimeError as error:
            raise InputError(
                f"There is no token to draw after {self.sequences.shape[1]} tokens ({error}): the processors forbid "
                f"all of them, or the model returns NaN."
            ) from error

    def output(self) -> ModelOutput:
        """The sequences, the cache and everything that was kept, as the output class of the strategy and the model."""
        fields: dict[str, Any] = {name: tuple(values) for name, values in self._kept.items()}
        if self.model.is_encoder_decoder:
            for name in fields.keys() & {"attentions", "hidden_states"}:
                fields[f"decoder_{name}"] = fields.pop(name)
                fields[f"encoder_{name}"] = self.model.encoded.get(name)
        fields |= {"sequences": self.sequences, "past_key_values": self.model.cache, **self.beams}
        return OUTPUTS[bool(self.beams), self.model.is_encoder_decoder](**fields)


# The output class of a search, by whether it has beams and whether the model is an encoder–decoder.
OUTPUTS: dict[tuple[bool, bool], Callable[..., ModelOutput]] = {
    (False, False): outputs.GenerateDecoderOnlyOutput,
    (False, True): outputs.GenerateEncoderDecoderOutput,
    (True, False): outputs.GenerateBeamDecoderOnlyOutput,
    (True, True): outputs.GenerateBeamEncoderDecoderOutput,
}
