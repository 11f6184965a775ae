"""The outputs of models: data classes, and ordered dictionaries, that are read by attribute, by key and by index.

The class and field names are those of `transformers`, in its order, so that `outputs.logits`, `outputs["logits"]` and
`outputs[0]` mean the same in both libraries. Fields that are None are left out of keys, indices and tuples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch.utils._pytree as pytree
from torch import Tensor

from minitransformers.errors import InputError, UnknownNameError, nearest


class ModelOutput(OrderedDict[str, Any]):
    """The base of all outputs: a dictionary of the fields of a data class, in their order, that are not None.

    Subclasses are data classes with optional fields. The first argument of their constructor may also be a dictionary,
    or pairs of names and values, as libraries pass it that map a function over an output.
    """

    _names: ClassVar[tuple[str, ...]] = ()  # of the fields, in order

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = (name for name, hint in vars(cls).get("__annotations__", {}).items() if "ClassVar" not in str(hint))
        cls._names = tuple(dict.fromkeys((*cls._names, *own)))
        if "__repr__" not in vars(cls):  # `dataclass` would add one that prints whole tensors
            cls.__repr__ = ModelOutput.__repr__  # type: ignore[method-assign]
        # As pytree nodes, outputs pass through torch.export, torch.func and distributed wrappers.
        pytree.register_pytree_node(
            cls,
            lambda output: (list(output.values()), list(output.keys())),
            lambda values, names: cls(**dict(zip(names, values, strict=True))),
            serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
        )

    def __post_init__(self) -> None:
        first = self._names[0]
        value = getattr(self, first)
        may_be_pairs = list(self) == [first] and isinstance(value, (Mapping, list, tuple, Iterator))
        pairs = _as_pairs(value) if may_be_pairs else None
        if pairs is not None:
            setattr(self, first, None)
            for name, value in pairs:
                self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(self.values())

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise UnknownNameError(f"{type(self).__name__} has no {key!r}; it has {list(self)}.{nearest(key, self)}")
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._names:
            raise UnknownNameError(f"{type(self).__name__} has no field {key!r}.{nearest(key, self._names)}")
        setattr(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        names = self._names
        if name not in names:
            return
        if value is None:
            if name in self:
                super().__delitem__(name)
            return
        is_new = name not in self
        super().__setitem__(name, value)
        for later in names[names.index(name) + 1 :] if is_new else ():
            if later in self:
                self.move_to_end(later)

    def __getattr__(self, name: str) -> Any:  # only names that are not found otherwise
        raise AttributeError(f"{type(self).__name__} has no field {name!r}.{nearest(name, self._names)}")

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self._names), vars(self)

    def __repr__(self) -> str:
        """One line for each field, with types and shapes in place of whole tensors."""
        fields = [f"{name}={_brief(value)}" for name, value in self.items()]
        inside = "".join(f"\n    {field}," for field in fields) + "\n" if len(fields) > 1 else "".join(fields)
        return f"{type(self).__name__}({inside})"

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse a change that would make attributes and keys differ.

        Raises:
            InputError: always.
        """
        raise InputError(f"The fields of a {type(self).__name__} are fixed: assign None to one to leave it out.")

    __delitem__ = pop = popitem = clear = setdefault = update = _refuse


def _as_pairs(value: Any) -> list[tuple[str, Any]] | None:
    """`value` as pairs of names and values, if it is a dictionary or a collection of such pairs."""
    if isinstance(value, Mapping):
        return list(value.items())
    pairs: list[Any] = list(value)
    are_pairs = all(isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    return pairs if are_pairs and pairs else None


def _brief(value: Any) -> str:
    """A tensor's type and shape, or its value if it is a single number; a tuple by its first entry and its length."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        where = "" if value.device.type == "cpu" else f" on {value.device}"
        number = _number(value) if value.ndim == 0 else None
        return f"{dtype}{list(value.shape)}{where}" if number is None else f"{number} ({dtype}{where})"
    if isinstance(value, (list, tuple)) and value:
        first, several = _brief(value[0]), len(value) > 1
        return f"({first}, … {len(value)} in all)" if several else f"({first},)"
    return repr(value) if isinstance(value, (str, int, float, tuple, list)) else type(value).__name__


def _number(scalar: Tensor) -> str | None:
    """The value to six digits; None while tracing and on the meta device, where there is none."""
    try:
        value = scalar.item()
    except RuntimeError:
        return None
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if TYPE_CHECKING:  # the caller knows which fields its arguments ask for, and need not test each for None
    MaybeTensor = Tensor | Any
    HiddenStates = tuple[Tensor, ...] | Any
else:
    MaybeTensor = Tensor | None
    HiddenStates = tuple[Tensor, ...] | None
Attentions = HiddenStates


@dataclass
class BaseModelOutput(ModelOutput):
    """The output of a backbone: `last_hidden_state` (batch, length, hidden)."""

    last_hidden_state: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPast(ModelOutput):
    """The output of a decoder: `last_hidden_state` (batch, length, hidden) and the cache of keys and values."""

    last_hidden_state: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """The output of an encoder with a vector for the sequence: `pooler_output` (batch, hidden)."""

    last_hidden_state: MaybeTensor = None
    pooler_output: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """The output of an encoder, or of BERT as a decoder.

    `last_hidden_state` (batch, length, hidden); `pooler_output` (batch, hidden); `hidden_states`, the embeddings' and
    every block's output (batch, length, hidden); `attentions`, one per block (batch, heads, query, key).
    """

    last_hidden_state: MaybeTensor = None
    pooler_output: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """The output of a decoder: `last_hidden_state` (batch, length, hidden) and the cache of keys and values."""

    last_hidden_state: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """`logits` (batch, length, vocabulary): scores of the token at each position."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutput(ModelOutput):
    """`logits` (batch, length, vocabulary): scores of the next token, from a model without a cache."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """`logits` (batch, length, vocabulary): scores of the next token."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """`logits` (batch, length, vocabulary): scores of the next token."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: Attentions = None


@dataclass
class NextSentencePredictorOutput(ModelOutput):
    """`logits` (batch, 2): 0 = the second sentence follows the first, 1 = it does not."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class BertForPreTrainingOutput(ModelOutput):
    """Both heads: `prediction_logits` (batch, length, vocabulary) and `seq_relationship_logits` (batch, 2)."""

    loss: MaybeTensor = None
    prediction_logits: MaybeTensor = None
    seq_relationship_logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class AlbertForPreTrainingOutput(ModelOutput):
    """Both heads: `prediction_logits` (batch, length, vocabulary) and `sop_logits` (batch, 2), the sentences' order."""

    loss: MaybeTensor = None
    prediction_logits: MaybeTensor = None
    sop_logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class ElectraForPreTrainingOutput(ModelOutput):
    """`logits` (batch, length): above 0 where a token was replaced."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput):
    """`logits` (batch, labels), from a decoder."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class TokenClassifierOutput(ModelOutput):
    """`logits` (batch, length, labels)."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, length): scores of the answer's first and last token."""

    loss: MaybeTensor = None
    start_logits: MaybeTensor = None
    end_logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class MultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices)."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class GPT2DoubleHeadsModelOutput(ModelOutput):
    """Language model and choice: `logits` (batch, choices, length, vocabulary), `mc_logits` (batch, choices)."""

    loss: MaybeTensor = None
    mc_loss: MaybeTensor = None
    logits: MaybeTensor = None
    mc_logits: MaybeTensor = None
    past_key_values: Any = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class OpenAIGPTDoubleHeadsModelOutput(ModelOutput):
    """Language model and choice: `logits` (batch, choices, length, vocabulary), `mc_logits` (batch, choices)."""

    loss: MaybeTensor = None
    mc_loss: MaybeTensor = None
    logits: MaybeTensor = None
    mc_logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class ImageClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class MaskedImageModelingOutput(ModelOutput):
    """`reconstruction` (batch, channels, height, width) of the images."""

    loss: MaybeTensor = None
    reconstruction: MaybeTensor = None
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """The output of an encoder–decoder: `last_hidden_state` (batch, target length, hidden) is the decoder's.

    The cache holds keys and values of the decoder's own tokens and of the encoder's output. `cross_attentions`, one per
    block of the decoder: (batch, heads, target, source).
    """

    last_hidden_state: MaybeTensor = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: MaybeTensor = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None

    def all_but_last_hidden_state(self) -> dict[str, Any]:
        """The fields that the output of a model with a head shares."""
        return {name: value for name, value in self.items() if name != "last_hidden_state"}


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """`logits` (batch, target length, vocabulary): scores of the next token of the target."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: MaybeTensor = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels), from an encoder–decoder."""

    loss: MaybeTensor = None
    logits: MaybeTensor = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: MaybeTensor = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, target length), from an encoder–decoder."""

    loss: MaybeTensor = None
    start_logits: MaybeTensor = None
    end_logits: MaybeTensor = None
    past_key_values: Any = None
    decoder_hidden_states: HiddenStates = None
    decoder_attentions: Attentions = None
    cross_attentions: Attentions = None
    encoder_last_hidden_state: MaybeTensor = None
    encoder_hidden_states: HiddenStates = None
    encoder_attentions: Attentions = None
