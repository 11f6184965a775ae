"""Encoder–decoders: the encoder reads the source once, the decoder attends to it (Vaswani et al., 2017, §3.1).

Each family has an encoder and a decoder of its own; here is how they are joined, and where the decoder's input comes
from while training.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.generation.config import as_list
from minitransformers.models.base.checks import check_ids, check_labels, check_length, check_type, read_shape
from minitransformers.models.base.mask_arguments import check_mask
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.cache import Cache
from minitransformers.nn.masks import can_read_values, read_attention_mask
from minitransformers.outputs import BaseModelOutput, Seq2SeqModelOutput


class EncoderDecoderModel(PreTrainedModel):
    """The base of such models.

    A backbone has an `encoder` and a `decoder`, both with a `token_embedding`, and the embedding that is `shared` by
    them.
    """

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding that encoder and decoder share."""
        shared: nn.Embedding = self.base_model.shared
        return shared

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding, in encoder and decoder too."""
        self.base_model.shared = embeddings
        for part in self._parts():
            part.token_embedding = _of_the_same_weight(embeddings)

    def _parts(self) -> list[Any]:
        """The encoder, the decoder, or both."""
        return [getattr(self.base_model, name) for name in ("encoder", "decoder") if hasattr(self.base_model, name)]

    def _token_embeddings(self) -> list[nn.Embedding]:
        tables = [self.get_input_embeddings(), *(part.token_embedding for part in self._parts())]
        return list(dict.fromkeys(tables))

    def get_encoder(self) -> Any:
        """The part that reads the source."""
        return self.base_model.encoder

    def get_decoder(self) -> Any:
        """The part that writes the target."""
        return self.base_model.decoder

    @property
    def max_target_length(self) -> int | None:
        """How many positions the decoder has; None where they do not end."""
        return None

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head: the decoder's."""
        layout: tuple[int, int, int] = self.get_decoder().cache_layout
        return layout

    @staticmethod
    def read_encoder_outputs(encoder_outputs: Any) -> BaseModelOutput:
        """What an encoder gave, as an output or as a tuple (last hidden state, hidden states, attentions)."""
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
        """What the decoder reads where it is to write `labels`: see `shift_tokens_right`."""
        config: Any = self.config
        return shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)

    def decoder_input_ids_for(
        self, labels: Tensor | None, decoder_input_ids: Tensor | None, decoder_inputs_embeds: Tensor | None
    ) -> Tensor | None:
        """The decoder's ids: those given, else made of the labels, which are checked first."""
        if labels is None or decoder_input_ids is not None or decoder_inputs_embeds is not None:
            return decoder_input_ids
        check_type("labels", labels)
        if labels.ndim != 2:
            raise InputError(f"labels has shape {tuple(labels.shape)}; expected (batch, length of the target).")
        config: Any = self.config
        check_labels(labels, labels.shape, config.vocab_size)
        return self.prepare_decoder_input_ids_from_labels(labels)

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
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> Seq2SeqModelOutput:
        """Run the encoder, unless its output is given, and then the decoder."""
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise InputError("Pass either decoder_input_ids or decoder_inputs_embeds, or to a language model labels.")
        options = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        if encoder_outputs is None:
            # The decoder checks all this too, but then the encoder has computed in vain.
            sources = [tensor for tensor in (input_ids, inputs_embeds) if isinstance(tensor, Tensor)]
            self._check_target(
                sources, decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds, past_key_values
            )
            encoded = self.get_encoder()(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **options
            )
        else:
            encoded = self.read_encoder_outputs(encoder_outputs)
        decoded = self.get_decoder()(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            inputs_embeds=decoder_inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **options,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )

    def _check_target(
        self,
        sources: list[Tensor],
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        past_key_values: Cache | None,
    ) -> None:
        """Refuse a decoder's input that is wrong by itself, or of another batch than the source."""
        config: Any = self.config
        batch_size, length = read_shape(input_ids, inputs_embeds, config.d_model, "decoder_")
        for source in sources:
            if source.ndim > 1 and source.shape[0] != batch_size:
                raise InputError(
                    f"The source has {source.shape[0]} rows and the decoder's input {batch_size}: each text needs a "
                    f"target."
                )
        past_length = 0 if past_key_values is None else past_key_values.get_seq_length()
        check_ids("decoder_input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        if self.max_target_length is not None:
            check_length(length, past_length, self.max_target_length)
        if attention_mask is not None:
            check_mask("decoder_attention_mask", attention_mask, self.cache_layout[1])
            read_attention_mask(
                attention_mask,
                batch_size=batch_size,
                query_length=length,
                key_length=past_length + length,
                is_causal=True,
                dtype=self.dtype,
                device=self.device,
                name="decoder_attention_mask",
            )


def _of_the_same_weight(embeddings: nn.Embedding) -> nn.Embedding:
    """A module of its own over one parameter.

    One module under several names would not do: `torch.func.functional_call`, which puts other tensors in the place of
    parameters for a while, would leave its last one behind.
    """
    twin = nn.Embedding(
        embeddings.num_embeddings, embeddings.embedding_dim, padding_idx=embeddings.padding_idx, device="meta"
    )
    twin.weight = embeddings.weight
    return twin.train(embeddings.training)


def shift_tokens_right(
    input_ids: Int[Tensor, "batch length"], pad_token_id: int | None, decoder_start_token_id: int | None
) -> Int[Tensor, "batch length"]:
    """The start token and all but the last of the ids: at each position a decoder reads what came before its label.

    −100, which marks what is not to be learnt, becomes padding.
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
    """The decoder's vector at the last end-of-text token of each row: what a sequence is classified by.

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
    """The same, infinities in float16 brought back into its range, so that training can go on; no change elsewhere."""
    if hidden_states.dtype != torch.float16:
        return hidden_states
    largest = torch.finfo(torch.float16).max
    limit = torch.where(hidden_states.isinf().any(), largest - 1000, largest)
    return hidden_states.clamp(-limit, limit)
