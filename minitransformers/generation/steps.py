"""Step and Search: decoding as something to iterate over, one step at a time, whatever the strategy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.decoder import Decoder
from minitransformers.generation.processors.base import LogitsProcessorList
from minitransformers.generation.stopping import StoppingCriteriaList
from minitransformers.outputs import ModelOutput

PerStep = tuple[Any, ...] | None


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """The result of greedy decoding, sampling and assisted decoding.

    `sequences` (rows, length): prompts and continuations. Where asked for, one entry for each new token: `scores`
    (rows, vocabulary) as the processors left them, `logits` as the model gave them, `attentions` and `hidden_states`
    of every layer. `past_key_values`: the cache, to go on from.
    """

    sequences: Tensor | None = None
    scores: PerStep = None
    logits: PerStep = None
    attentions: PerStep = None
    hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """The result of beam search; see `GenerateDecoderOnlyOutput`, whose rows are here the beams of all texts.

    `sequences_scores` (rows,): the log-probability of each result over its length to the power of `length_penalty`.
    `beam_indices` (rows, new tokens): the beam that each of its tokens was chosen in; −1 after its end.
    """

    sequences: Tensor | None = None
    sequences_scores: Tensor | None = None
    scores: PerStep = None
    logits: PerStep = None
    beam_indices: Tensor | None = None
    attentions: PerStep = None
    hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """The same of an encoder–decoder, whose `sequences` are the target.

    `encoder_attentions` and `encoder_hidden_states` of every layer, once for each source; the decoder's and
    `cross_attentions` for each new token.
    """

    sequences: Tensor | None = None
    scores: PerStep = None
    logits: PerStep = None
    encoder_attentions: PerStep = None
    encoder_hidden_states: PerStep = None
    decoder_attentions: PerStep = None
    cross_attentions: PerStep = None
    decoder_hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """The result of beam search with an encoder–decoder; see `GenerateBeamDecoderOnlyOutput`."""

    sequences: Tensor | None = None
    sequences_scores: Tensor | None = None
    scores: PerStep = None
    logits: PerStep = None
    beam_indices: Tensor | None = None
    encoder_attentions: PerStep = None
    encoder_hidden_states: PerStep = None
    decoder_attentions: PerStep = None
    cross_attentions: PerStep = None
    decoder_hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class Step:
    """What one step of decoding has chosen, for every row: every text, every sample of it, or every beam.

    Attributes:
        token_ids: (rows,) the new token; padding in rows that had ended before.
        cumulative: (rows,) the log-probability of each row's continuation so far.
        finished: (rows,) whether the row has ended. In beam search, whether its text has.
        sequences: (rows, length) prompts and continuations so far, this token included.
        logits: (rows, vocabulary) as the model gave them; in beam search, of the beams before the step.
        scores: (rows, vocabulary) the same after all processors: what was chosen by.
        parents: (rows,) in beam search, which beam before the step each beam now goes on from.
    """

    token_ids: Tensor
    cumulative: Tensor
    finished: Tensor
    sequences: Tensor
    logits: Tensor
    scores: Tensor
    parents: Tensor | None = None

    def distribution(self) -> Tensor:
        """(rows, vocabulary) the probability of every token as the next of each row, after all processors."""
        return (self.scores if self.parents is None else self.scores[self.parents]).softmax(dim=-1)

    @property
    def probabilities(self) -> Tensor:
        """(rows,) the probability of each row's new token."""
        return self.distribution().gather(-1, self.token_ids[:, None]).squeeze(-1)

    def alternatives(self, count: int = 5) -> tuple[Tensor, Tensor]:
        """The likeliest tokens of each row, likeliest first: ids and probabilities, both (rows, count)."""
        probabilities, ids = self.distribution().topk(min(count, self.scores.shape[-1]), dim=-1)
        return ids, probabilities


def log_probability(scores: Tensor, token_ids: Tensor) -> Tensor:
    """(rows,) the log-probability of each row's token, of scores (rows, vocabulary)."""
    return scores.gather(1, token_ids[:, None]).squeeze(1) - scores.logsumexp(dim=-1)


class Search(ABC):
    """A way to find continuations; iterating over it runs it.

    Args:
        decoder: the model and its state.
        input_ids: (rows, length) the prompts, each as often as it has continuations.
        settings: the resolved settings of the call.
        processors: applied to the scores of every step.
        criteria: say which rows have ended.
        longest: how many tokens a text may have.
        generator: where random numbers come from; PyTorch's own unless given.

    Attributes:
        sequences: (rows, length) prompts and continuations so far; in the end, the result.
        follows_probability: whether `cumulative` of the steps is kept up. It costs a pass over the scores.
    """

    def __init__(
        self,
        decoder: Decoder,
        input_ids: Tensor,
        settings: GenerationConfig,
        processors: LogitsProcessorList,
        criteria: StoppingCriteriaList,
        longest: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.decoder = decoder
        self.sequences = input_ids
        self.settings = settings
        self.processors = processors
        self.criteria = criteria
        self.longest = longest
        self.generator = generator
        self.follows_probability = True
        keep = bool(settings.return_dict_in_generate)
        self._kept: dict[str, list[Any]] = {
            name: []
            for name in ("scores", "logits", "attentions", "hidden_states")
            if keep and getattr(settings, f"output_{name}")
        }
        if "attentions" in self._kept and decoder.is_encoder_decoder:
            self._kept["cross_attentions"] = []
        self._steps = self._run()

    def __iter__(self) -> Search:
        return self

    def __next__(self) -> Step:
        with torch.no_grad():
            return next(self._steps)

    @abstractmethod
    def _run(self) -> Iterator[Step]:
        """Take one step after another, until nothing is left to do."""

    @abstractmethod
    def output(self) -> ModelOutput:
        """The result, with everything that was asked to be kept."""

    def _processed(self, logits: Tensor, scores: Tensor) -> Tensor:
        """The scores (logits, or log-probabilities made of them) after all processors; keeps what is to be kept."""
        scores = self.processors(self.sequences, scores)
        current = {
            "scores": scores,
            "logits": logits,
            "attentions": self.decoder.attentions,
            "hidden_states": self.decoder.hidden_states,
            "cross_attentions": self.decoder.cross_attentions,
        }
        for name, values in self._kept.items():
            values.append(current[name])
        return scores

    def _ended(self, sequences: Tensor) -> Tensor:
        """Which rows any criterion ends."""
        scores = self._kept.get("scores")
        return self.criteria(sequences, None if scores is None else tuple(scores))

    def _draw(self, probabilities: Tensor, count: int = 1) -> Tensor:
        """(rows, count) tokens drawn without replacement."""
        try:
            return torch.multinomial(probabilities, count, generator=self.generator)
        except RuntimeError as error:
            raise InputError(
                f"There is no token to draw after {self.sequences.shape[1]} tokens ({error}): the processors forbid "
                f"all of them, or the model gives NaN."
            ) from error

    @property
    def _padding(self) -> int | None:
        """What fills rows that ended early; None where there is neither padding nor an end of text."""
        pad, ends = self.settings.pad_token_id, as_list(self.settings.eos_token_id)
        return pad if pad is not None else ends[0] if ends else None

    def _kept_and_cache(self) -> dict[str, Any]:
        """What was kept of every step and of the encoder, and the cache, under the names of the outputs' fields."""
        found: dict[str, Any] = {name: tuple(values) for name, values in self._kept.items()}
        if self.decoder.is_encoder_decoder:
            for name in found.keys() & {"attentions", "hidden_states"}:
                found[f"decoder_{name}"] = found.pop(name)
                found[f"encoder_{name}"] = self.decoder.encoded.get(name)
        return {**found, "past_key_values": self.decoder.cache}
