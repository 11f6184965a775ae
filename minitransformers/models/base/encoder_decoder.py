"""Encoder–decoders: the encoder reads the source once, the decoder attends to it (Vaswani et al., 2017, §3.1).

Each family has an encoder and a decoder of its own. This file joins them, and makes the decoder's input of the labels.
"""

from __future__ import annotations

import copy
from typing import Any, Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.generation.config import as_list
from minitransformers.models.base.checks import can_read_values, check_labels, check_type, read_shape
from minitransformers.models.base.inputs import OutputOptions
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.cache import Cache
from minitransformers.outputs import BaseModelOutput, Seq2SeqModelOutput


class EncoderDecoderModel(PreTrainedModel):
    """The base of such models.

    A backbone has an `encoder`, a `decoder` or both, each with a token embedding, and the embedding that is `shared` by
    them.
    """

    _input_embeddings = "shared"

    config: Any

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding, in encoder and decoder too."""
        super().set_input_embeddings(value)
        if self.base_model is self:
            for part in self._parts():
                if part.get_input_embeddings() is not value:
                    part.set_input_embeddings(_of_the_same_weight(value))

    def _parts(self) -> list[Any]:
        """The encoder, the decoder, or both."""
        return [getattr(self.base_model, name) for name in ("encoder", "decoder") if hasattr(self.base_model, name)]

    def _token_embeddings(self) -> list[nn.Embedding]:
        tables = [self.get_input_embeddings(), *(part.get_input_embeddings() for part in self._parts())]
        return list(dict.fromkeys(tables))

    @staticmethod
    def read_encoder_outputs(encoder_outputs: Any) -> BaseModelOutput:
        """The output of an encoder, given as it is or as a tuple (last hidden state, hidden states, attentions)."""
        names = ("last_hidden_state", "hidden_states", "attentions")
        if isinstance(encoder_outputs, (tuple, list)):
            fields = dict(zip(names, encoder_outputs, strict=False))
        else:
            fields = {name: getattr(encoder_outputs, name, None) for name in names}
        vectors = fields.get("last_hidden_state")
        if not isinstance(vectors, Tensor) or vectors.ndim != 3:
            raise InputError(
                f"encoder_outputs must be the output of model.get_encoder(), or a tuple that begins with its last "
                f"hidden state (batch, length, hidden), got {type(encoder_outputs).__name__}."
            )
        return BaseModelOutput(**fields)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The decoder's input for the target `labels`: see `shift_tokens_right`."""
        return shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    def decoder_input_ids_for(
        self, labels: Tensor | None, decoder_input_ids: Tensor | None, decoder_inputs_embeds: Tensor | None
    ) -> Tensor | None:
        """The decoder's ids: those given, or else made of the labels, which are checked here."""
        if labels is None:
            return decoder_input_ids
        check_type("labels", labels)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            if labels.ndim != 2:
                raise InputError(f"labels has shape {tuple(labels.shape)}; expected (batch, length of the target).")
            check_labels(labels, labels.shape, self.config.vocab_size)
            return self.prepare_decoder_input_ids_from_labels(labels)
        shape = read_shape(decoder_input_ids, decoder_inputs_embeds, self.config.hidden_size, "decoder_")
        check_labels(labels, shape, self.config.vocab_size)
        return decoder_input_ids

    def encode_and_decode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        decoder_input_ids: Tensor | None,
        decoder_attention_mask: Tensor | None,
        encoder_outputs: Any,
        past_key_values: Cache | None,
        inputs_embeds: Tensor | None,
        decoder_inputs_embeds: Tensor | None,
        use_cache: bool | None,
        **options: Unpack[OutputOptions],
    ) -> Seq2SeqModelOutput:
        """Run the encoder, unless its output is given, and then the decoder."""
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise InputError("Pass either decoder_input_ids or decoder_inputs_embeds, or to a language model labels.")
        target = {
            "input_ids": decoder_input_ids,
            "attention_mask": decoder_attention_mask,
            "inputs_embeds": decoder_inputs_embeds,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }
        encoder, decoder = self.get_encoder(), self.get_decoder()
        if encoder_outputs is None:
            # The decoder checks its input too, but only after the encoder has run.
            _check_rows(decoder.prepare_inputs(**target).batch_size, input_ids, inputs_embeds)
            encoded = encoder(input_ids, attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **options)
        else:
            encoded = self.read_encoder_outputs(encoder_outputs)
        decoded = decoder(
            **target,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            return_dict=True,
            **options,
        )
        return Seq2SeqModelOutput(
            decoded.last_hidden_state,
            decoded.past_key_values,
            decoded.hidden_states,
            decoded.attentions,
            decoded.cross_attentions,
            encoded.last_hidden_state,
            encoded.hidden_states,
            encoded.attentions,
        )


def _check_rows(batch_size: int, *sources: Tensor | None) -> None:
    """Refuse a source with another number of rows than the decoder's input."""
    for source in sources:
        if isinstance(source, Tensor) and source.ndim > 1 and source.shape[0] != batch_size:
            raise InputError(
                f"The source has {source.shape[0]} rows and the decoder's input {batch_size}: each text needs a target."
            )


def _of_the_same_weight(embeddings: nn.Module) -> nn.Module:
    """A copy of the module over the same parameter.

    One module under several names would not do: `torch.func.functional_call`, which replaces parameters for the time of
    a call, would leave the last replacement behind.
    """
    weight: Any = embeddings.weight
    return copy.deepcopy(embeddings, {id(weight): weight})


def shift_tokens_right(
    input_ids: Int[Tensor, "batch length"], pad_token_id: int | None, decoder_start_token_id: int | None
) -> Int[Tensor, "batch length"]:
    """The start token and all but the last of the ids: at each position a decoder reads the label before its own.

    −100, which marks labels that are ignored, becomes padding.
    """
    missing = {"pad_token_id": pad_token_id, "decoder_start_token_id": decoder_start_token_id}
    for name, value in missing.items():
        if value is None:
            raise InputError(f"The decoder's input is made of labels with config.{name}, which is None: set it.")
    start = torch.full_like(input_ids[:, :1], decoder_start_token_id)  # type: ignore[arg-type]
    shifted = torch.cat([start, input_ids[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == -100, pad_token_id)  # type: ignore[arg-type]


def sentence_vectors(
    hidden_states: Float[Tensor, "batch length hidden"],
    input_ids: Int[Tensor, "batch length"],
    eos_token_id: int | list[int] | None,
) -> Float[Tensor, "batch hidden"]:
    """The decoder's vector at the last end-of-text token of each row, by which a sequence is classified.

    Raises:
        InputError: rows have different numbers of such tokens, or none.
    """
    ends = torch.isin(input_ids, torch.tensor(as_list(eos_token_id), device=input_ids.device))
    counts = ends.sum(dim=1)
    if can_read_values(counts) and (not bool((counts == counts[0]).all()) or not bool(counts[0])):
        raise InputError(
            f"Every row of input_ids must have the same number of end-of-text tokens (eos_token_id={eos_token_id}), at "
            f"least one; there are {counts.tolist()}."
        )
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (positions * ends).amax(dim=1)
    return hidden_states[torch.arange(last.shape[0], device=last.device), last]


def kept_finite(hidden_states: Tensor) -> Tensor:
    """The same in the range of float16: infinite activations are clamped. Other types are returned as they are."""
    if hidden_states.dtype != torch.float16:
        return hidden_states
    largest = torch.finfo(torch.float16).max
    limit = torch.where(hidden_states.isinf().any(), largest - 1000, largest)
    return hidden_states.clamp(-limit, limit)
