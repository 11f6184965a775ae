"""From the arguments of a backbone's `forward` to what its blocks need: options resolved, everything checked once.

Checks of single arguments are in checks.py, of masks in masks.py. Everything is checked before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_length,
    read_shape,
)
from minitransformers.models.base.masks import (
    read_attention_mask,
    read_context_mask,
    separate_documents,
    warn_of_left_padding,
    warn_of_packing,
    within_window,
)
from minitransformers.nn.cache import Cache, DynamicCache, EncoderDecoderCache, as_cache
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.packed import PackedCache


class OutputOptions(TypedDict, total=False):
    """Arguments by name that every `forward` passes on to its backbone; None means the config's value."""

    output_attentions: bool | None
    output_hidden_states: bool | None


@dataclass
class Inputs:
    """The prepared inputs of one forward pass, and the hidden states and attention weights that it is asked to keep.

    Attributes:
        batch_size, length: of the input, without what is in the cache.
        past_length: number of tokens in the cache.
        position_ids: (batch or 1, length).
        mask: who may attend to whom.
        context, context_mask: input of the cross-attention.
        cache: keys and values of earlier tokens, to which this pass adds; None without one.
        past_key_values: the cache, where the output has one.
        kernel: of the attention, "sdpa" or "eager".
        is_complete_mask: the caller gave a mask of four dimensions, which nothing restricts further.
    """

    batch_size: int
    length: int
    position_ids: Tensor
    mask: AttentionMask
    kernel: str
    keeps_hidden_states: bool
    keeps_attentions: bool
    past_length: int = 0
    cache: Cache | None = None
    past_key_values: Cache | None = None
    context: Tensor | None = None
    context_mask: AttentionMask = AttentionMask()  # noqa: RUF009
    is_complete_mask: bool = False
    _hidden_states: list[Tensor] = field(default_factory=list)
    _attentions: list[Tensor | None] = field(default_factory=list)
    _cross_attentions: list[Tensor | None] = field(default_factory=list)

    def for_layer(self, index: int) -> dict[str, Any]:
        """The arguments by name of block `index`, besides hidden states and mask."""
        cache = self.cache
        options: dict[str, Any] = {"kernel": self.kernel, "record": self.record if self.keeps_attentions else None}
        if cache is not None:
            options["cache"] = cache.self_layer(index)
        if self.context is not None:
            options |= {"context": self.context, "context_mask": self.context_mask}
            options["cross_cache"] = None if cache is None else cache.cross_layer(index)
        return options

    def window(self, size: int | None) -> AttentionMask:
        """The mask, restricted to the last `size` tokens up to the query's own; None restricts nothing."""
        if self.is_complete_mask or self.mask.lengths is not None:  # packed texts are shorter than the window
            return self.mask
        return within_window(self.mask, size, self.length, self.past_length + self.length, self.position_ids.device)

    def keep(self, hidden_states: Tensor) -> None:
        """Keep a block's input, or the output of the last one, where the caller asked for hidden states."""
        if self.keeps_hidden_states:
            self._hidden_states.append(hidden_states)

    def record(self, weights: Tensor | None, cross_weights: Tensor | None = None) -> None:
        """Keep a block's attention weights; blocks are given this function where the caller asked for attentions."""
        self._attentions.append(weights)
        if self.context is not None:
            self._cross_attentions.append(cross_weights)

    def kept(self, *, cross: bool = False) -> dict[str, Any]:
        """The fields of an output: `hidden_states`, `attentions` and, with `cross`, `cross_attentions`."""
        attends = self.keeps_attentions
        fields: dict[str, Any] = {
            "hidden_states": tuple(self._hidden_states) if self.keeps_hidden_states else None,
            "attentions": tuple(self._attentions) if attends else None,
        }
        if cross:
            fields["cross_attentions"] = tuple(self._cross_attentions) if attends and self.context is not None else None
        return fields


class PreparesInputs(nn.Module):
    """The preparation of inputs, a base of `PreTrainedModel`."""

    config: Any
    device: Any
    dtype: Any
    counts_padding: ClassVar[bool] = True  # whether `default_positions` counts padding that `input_ids` show

    def prepare_inputs(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        *,
        is_causal: bool,
        width: int | None = None,
        heads: int | None = None,
        max_positions: str | None = "max_position_embeddings",
        token_types: str = "type_vocab_size",
        has_cross_attention: bool = False,
        documents: bool = True,
        takes_positions: bool = True,
        widens: bool = True,
        prefix: str = "",
    ) -> Inputs:
        """Check the arguments of a text model's `forward` and resolve those that are None.

        Args:
            is_causal: a token sees itself and those before it; only then a cache is made and returned.
            width: of `inputs_embeds`; `config.hidden_size` where it is None.
            heads: of the attention; `config.num_attention_heads` where it is None.
            max_positions: the field of the config that limits positions; None where there is no limit.
            token_types: the field of the config that limits `token_type_ids`.
            has_cross_attention: whether the model can attend to `encoder_hidden_states`.
            documents: `position_ids` that start again within a row separate documents (causal models only).
            takes_positions: whether `forward` has `position_ids`, so that padding on the left can be left out of them.
            widens: embeddings of the model's own type are added to `inputs_embeds`, which may thus be of a narrower
                type.
            prefix: "decoder_" for the names in messages.

        Raises:
            InputError: an argument of a wrong type, shape or range.
        """
        config = self.config
        batch_size, length = shape = read_shape(input_ids, inputs_embeds, width or config.hidden_size, prefix)
        cache, returns_cache = self._read_cache(
            past_key_values,
            use_cache,
            batch_size,
            is_causal,
            has_context=encoder_hidden_states is not None or config.is_encoder_decoder,
        )
        past_length = 0 if cache is None else cache.get_seq_length()
        weight = next(parameter for parameter in self.parameters() if parameter.is_floating_point())
        if inputs_embeds is not None:
            check_dtype(f"{prefix}inputs_embeds", inputs_embeds, weight.dtype, may_be_widened=widens)
        check_ids(f"{prefix}input_ids", input_ids, shape, config.vocab_size, "vocab_size")
        if token_type_ids is not None:
            check_ids("token_type_ids", token_type_ids, shape, getattr(config, token_types), token_types)
        if position_ids is not None:
            limit = getattr(config, max_positions) if max_positions else None
            check_ids("position_ids", position_ids, shape, limit, max_positions or "")

        heads = heads or config.num_attention_heads
        mask = read_attention_mask(
            attention_mask,
            (batch_size, heads, length, past_length + length),
            is_causal=is_causal,
            dtype=weight.dtype,
            device=weight.device,
            name=f"{prefix}attention_mask",
        )
        if isinstance(cache, PackedCache):
            mask = AttentionMask(is_causal=True, lengths=cache.lengths)
        elif is_causal and position_ids is None and attention_mask is not None and not past_length:
            if takes_positions and (self.counts_padding or input_ids is None):
                warn_of_left_padding(attention_mask)
        elif is_causal and documents and position_ids is not None and attention_mask is None and not past_length:
            if cache is None:
                mask = separate_documents(mask, position_ids)
            else:
                warn_of_packing(position_ids)
        context_mask = AttentionMask()
        if encoder_hidden_states is not None:
            context_mask = read_context_mask(
                encoder_hidden_states,
                encoder_attention_mask,
                batch_size=batch_size,
                query_length=length,
                context_size=config.hidden_size if has_cross_attention else None,
                num_heads=heads,
                dtype=weight.dtype,
                cache=cache,
            )
        if position_ids is None:
            position_ids = self.default_positions(input_ids, batch_size, length, past_length, max_positions)
        return Inputs(
            batch_size,
            length,
            position_ids,
            mask,
            **self.output_options(output_attentions, output_hidden_states),
            past_length=past_length,
            cache=cache,
            past_key_values=cache if returns_cache else None,
            context=encoder_hidden_states,
            context_mask=context_mask,
            is_complete_mask=attention_mask is not None and attention_mask.ndim == 4,
        )

    def output_options(self, output_attentions: bool | None, output_hidden_states: bool | None) -> dict[str, Any]:
        """The fields of `Inputs` that follow from what the output is to contain; only the eager kernel has weights."""
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        return {
            "kernel": "eager" if attentions else config.attn_implementation or "sdpa",
            "keeps_attentions": bool(attentions),
            "keeps_hidden_states": bool(
                config.output_hidden_states if output_hidden_states is None else output_hidden_states
            ),
        }

    def default_positions(
        self,
        input_ids: Tensor | None,
        batch_size: int,
        length: int,
        past_length: int,
        max_positions: str | None,
    ) -> Tensor:
        """Positions where none are given: 0, 1, …, padding included, after those of the tokens in the cache."""
        if max_positions is not None:
            check_length(length, past_length, getattr(self.config, max_positions))
        return torch.arange(past_length, past_length + length, device=self.device)[None]

    def _read_cache(
        self,
        past_key_values: Cache | None,
        use_cache: bool | None,
        batch_size: int,
        is_causal: bool,
        has_context: bool,
    ) -> tuple[Cache | None, bool]:
        """The cache to compute with, given or new, and whether to return it."""
        config = self.config
        if not is_causal:
            if past_key_values is None:
                return None, False
            cache = as_cache(past_key_values)  # a prefix that every token sees (Li and Liang, 2021)
            self._check_cache(cache, batch_size)
            return cache, False
        use_cache = bool(config.use_cache if use_cache is None else use_cache)
        if self.training and getattr(self, "is_activation_checkpointing", False):
            use_cache = False  # a block that is computed again would add its keys and values a second time
        if past_key_values is None:
            if not use_cache:
                return None, False
            return (EncoderDecoderCache() if has_context else DynamicCache()), True

        cache = as_cache(past_key_values)
        if has_context and not isinstance(cache, EncoderDecoderCache):
            cache = EncoderDecoderCache(cache, DynamicCache())
        self._check_cache(cache, batch_size)
        return cache, use_cache

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads of keys, and width of a head; families with other names override it."""
        config = self.config
        heads = config.num_attention_heads
        return config.num_hidden_layers, heads, config.hidden_size // heads

    def _check_cache(self, cache: Cache, batch_size: int) -> None:
        """Refuse a cache of another model or another batch."""
        num_layers, num_heads, head_dim = self.cache_layout
        if len(cache) not in (0, num_layers):
            raise InputError(f"past_key_values is of a model with {len(cache)} layers; this one has {num_layers}.")
        if not cache.get_seq_length():
            return
        key, _ = cache.self_layer(0).read()  # all layers are alike
        if key.shape[0] != batch_size:
            raise InputError(
                f"past_key_values holds {key.shape[0]} sequences and the input {batch_size}: pass the same batch, "
                f"or choose rows of the cache with past_key_values.batch_select_indices(rows)."
            )
        if key.shape[1] != num_heads or key.shape[3] != head_dim:
            raise InputError(
                f"past_key_values is of a model with {key.shape[1]} heads of width {key.shape[3]}; this one has "
                f"{num_heads} of width {head_dim}."
            )


Record = Callable[[Tensor | None, Tensor | None], None]
"""`Inputs.record`: blocks are given it where attention weights are wanted."""
