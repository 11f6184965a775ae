"""What models return: data classes that are read by attribute, by key and by index.

The class and field names are those of `transformers`, in its order, so that `outputs.logits`, `outputs["logits"]` and
`outputs[0]` mean the same here and there. Fields that are None are left out of keys, indices and tuples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch.utils._pytree as pytree
from torch import Tensor

from minitransformers.errors import UnknownNameError, nearest


@dataclass
class ModelOutput:
    """The base of all outputs; subclasses are data classes whose fields are all optional."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # As pytree nodes, outputs pass through torch.export, torch.func and distributed wrappers.
        pytree.register_pytree_node(
            cls,
            lambda output: (list(output.values()), output.keys()),
            lambda values, names: cls(**dict(zip(names, values, strict=True))),
            serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
        )

    def keys(self) -> list[str]:
        """The names of the fields that are not None, in order."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def values(self) -> list[Any]:
        """The values of the fields that are not None, in order."""
        return list(self.to_tuple())

    def items(self) -> list[tuple[str, Any]]:
        """Names and values of the fields that are not None, in order."""
        return list(zip(self.keys(), self.values(), strict=True))

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def get(self, name: str, default: Any = None) -> Any:
        """The field `name`, or `default` where it is None or unknown."""
        return getattr(self, name) if name in self else default

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise UnknownNameError(f"{type(self).__name__} has no {key!r}; it has {self.keys()}.{nearest(key, self)}")
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in [field.name for field in fields(self)]:
            raise UnknownNameError(f"{type(self).__name__} has no field {key!r}.{nearest(key, self)}")
        setattr(self, key, value)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


HiddenStates = tuple[Tensor, ...] | None
Attentions = tuple[Tensor, ...] | None


@dataclass
class BaseModelOutput(ModelOutput):
    """A backbone's that has nothing besides: `last_hidden_state` (batch, length, hidden)."""

    last_hidden_state: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPast(ModelOutput):
    """A decoder's: `last_hidden_state` (batch, length, hidden) and the cache of keys and values."""

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """An encoder's, with a vector for the sequence: `pooler_output` (batch, hidden)."""

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """An encoder's, or BERT's as decoder.

    `last_hidden_state` (batch, length, hidden); `pooler_output` (batch, hidden); `hidden_states`, the embeddings' and
    every block's output (batch, length, hidden); `attentions`, one per block (batch, heads, query, key).
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """A decoder's: `last_hidden_state` (batch, length, hidden) and the cache of keys and values."""

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """`logits` (batch, length, vocabulary): which token stands at each position."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutput(ModelOutput):
    """`logits` (batch, length, vocabulary): which token comes next, from a model without a cache."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """`logits` (batch, length, vocabulary): which token comes next."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """`logits` (batch, length, vocabulary): which token comes next."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class NextSentencePredictorOutput(ModelOutput):
    """`logits` (batch, 2): 0 = the second sentence follows the first, 1 = it does not."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BertForPreTrainingOutput(ModelOutput):
    """Both heads: `prediction_logits` (batch, length, vocabulary) and `seq_relationship_logits` (batch, 2)."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class AlbertForPreTrainingOutput(ModelOutput):
    """Both heads: `prediction_logits` (batch, length, vocabulary) and `sop_logits` (batch, 2), the sentences' order."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    sop_logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class ElectraForPreTrainingOutput(ModelOutput):
    """`logits` (batch, length): above 0 where a token was replaced."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput):
    """`logits` (batch, labels), from a decoder."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class TokenClassifierOutput(ModelOutput):
    """`logits` (batch, length, labels)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, length): where the answer begins and ends."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class MultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class GPT2DoubleHeadsModelOutput(ModelOutput):
    """Language model and choice: `logits` (batch, choices, length, vocabulary), `mc_logits` (batch, choices)."""

    loss: Tensor | None = None
    mc_loss: Tensor | None = None
    logits: Tensor | None = None
    mc_logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class OpenAIGPTDoubleHeadsModelOutput(ModelOutput):
    """Language model and choice: `logits` (batch, choices, length, vocabulary), `mc_logits` (batch, choices)."""

    loss: Tensor | None = None
    mc_loss: Tensor | None = None
    logits: Tensor | None = None
    mc_logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class ImageClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class MaskedImageModelingOutput(ModelOutput):
    """`reconstruction` (batch, channels, height, width) of the images."""

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """An encoder–decoder's: `last_hidden_state` is the decoder's, (batch, target length, hidden).

    The cache holds keys and values of the decoder's own tokens and of the encoder's output. `cross_attentions`, one per
    block of the decoder: (batch, heads, target, source).
    """

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None

    def all_but_last_hidden_state(self) -> dict[str, Any]:
        """The fields that the output of a model with a head takes over."""
        return {name: value for name, value in vars(self).items() if name != "last_hidden_state"}


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """`logits` (batch, target length, vocabulary): which token comes next in the target."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels), from an encoder–decoder."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, target length), from an encoder–decoder."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None
