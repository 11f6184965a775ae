"""The results of generation: the steps of a search, and outputs of `generate` with `return_dict_in_generate=True`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from minitransformers.outputs import MaybeTensor, ModelOutput

if TYPE_CHECKING:  # as in minitransformers.outputs
    PerStep = tuple[Any, ...] | Any
else:
    PerStep = tuple[Any, ...] | None


@dataclass
class Step:
    """The tokens that one step chooses, one for each row: each text, each sample of it, or each beam.

    Attributes:
        token_ids: (rows,) the new tokens; padding in rows that have ended before.
        cumulative: (rows,) the log-probability of each row's continuation so far.
        finished: (rows,) whether the row has ended; in beam search, whether its text has.
        sequences: (rows, length) prompts and continuations so far, including the new token.
        logits: (rows, vocabulary) the output of the model; in beam search, of the beams before the step.
        scores: (rows, vocabulary) the logits after all processors, which the choice is made from.
        parents: (rows,) in beam search, the beam before the step that each beam continues.
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
        """The most likely tokens of each row in descending order: ids and probabilities, both (rows, count)."""
        probabilities, ids = self.distribution().topk(min(count, self.scores.shape[-1]), dim=-1)
        return ids, probabilities


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """The result of greedy decoding, sampling and assisted decoding.

    `sequences` (rows, length): prompts and continuations. Optional, one entry for each new token: `scores` (rows,
    vocabulary), after the processors; `logits`, before them; `attentions` and `hidden_states` of every layer.
    `past_key_values`: the cache, from which another call can continue.
    """

    sequences: MaybeTensor = None
    scores: PerStep = None
    logits: PerStep = None
    attentions: PerStep = None
    hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """The result of beam search; see `GenerateDecoderOnlyOutput`. The rows of each step are the beams of all texts.

    `sequences_scores` (rows,): the log-probability of each result, divided by its length to the power of
    `length_penalty`. `beam_indices` (rows, new tokens): the beam that each token was chosen in; −1 after the end.
    """

    sequences: MaybeTensor = None
    sequences_scores: MaybeTensor = None
    scores: PerStep = None
    logits: PerStep = None
    beam_indices: MaybeTensor = None
    attentions: PerStep = None
    hidden_states: PerStep = None
    past_key_values: Any = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """The result of greedy decoding and sampling with an encoder–decoder; `sequences` are the targets.

    `encoder_attentions` and `encoder_hidden_states` of every layer, once for each source; the decoder's and
    `cross_attentions` for each new token. The other fields are those of `GenerateDecoderOnlyOutput`.
    """

    sequences: MaybeTensor = None
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
    """The result of beam search with an encoder–decoder.

    The fields are those of `GenerateBeamDecoderOnlyOutput` and `GenerateEncoderDecoderOutput`.
    """

    sequences: MaybeTensor = None
    sequences_scores: MaybeTensor = None
    scores: PerStep = None
    logits: PerStep = None
    beam_indices: MaybeTensor = None
    encoder_attentions: PerStep = None
    encoder_hidden_states: PerStep = None
    decoder_attentions: PerStep = None
    cross_attentions: PerStep = None
    decoder_hidden_states: PerStep = None
    past_key_values: Any = None


GenerateNonBeamOutput = GenerateDecoderOnlyOutput | GenerateEncoderDecoderOutput
GenerateBeamOutput = GenerateBeamDecoderOnlyOutput | GenerateBeamEncoderDecoderOutput
GenerateOutput = GenerateNonBeamOutput | GenerateBeamOutput
