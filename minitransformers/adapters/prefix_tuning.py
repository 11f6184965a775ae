"""Prefix tuning (Li and Liang, 2021, §4): trained keys and values in front of every text, in every block.

    h_i = P_θ[i, :]                  where i is in the prefix
    h_i = LM(z_i, h_<i)              elsewhere                                                  (eq. 3)

A prefix of n positions is the cache that n earlier tokens would have left: keys and values of n × layers × 2. It is
passed as `past_key_values`, so that tokens attend to it and it attends to nothing. An encoder–decoder has its prefix in
the decoder. Training is steadier where the prefix is computed by a small network (§4.3),

    P_θ[i, :] = MLP_θ(P'_θ[i, :])

which is dropped when the prefix is saved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.adapters.virtual_tokens import (
    NAME,
    VirtualTokens,
    VirtualTokensConfig,
    cached_length,
    named_arguments,
    refuse_packed,
    text_length,
)
from minitransformers.configs.fields import size
from minitransformers.errors import InputError
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.cache import Cache, CacheLayer, DynamicCache, EncoderDecoderCache


class Prefix(VirtualTokens):
    """P_θ, (n, layers · 2 · heads · head width), and the hook that puts it into the cache."""

    def __init__(self, config: PrefixTuningConfig, layout: tuple[int, int, int], width: int, **where: Any) -> None:
        layers, heads, head_width = layout
        sizes = {
            "num_layers": layers,
            "num_attention_heads": heads,
            "token_dim": heads * head_width,
        }
        super().__init__(config.num_virtual_tokens, sizes)
        self.layout = layout
        self.order = [(config.num_transformer_submodules or 1) * layer % layers for layer in range(layers)]
        numbers = layers * 2 * heads * head_width
        if config.prefix_projection:
            inner = config.encoder_hidden_size or width
            self.embedding = nn.Embedding(self.count, heads * head_width, **where)
            self.transform = nn.Sequential(
                nn.Linear(heads * head_width, inner, **where), nn.Tanh(), nn.Linear(inner, numbers, **where)
            )
        else:
            self.embedding = nn.Embedding(self.count, numbers, **where)
            self.transform = nn.Sequential()

    def forward(self) -> Tensor:
        """P_θ: row i has the keys and values of virtual token i, block after block."""
        return self.transform(self.embedding.weight)  # type: ignore[no-any-return]

    def keys_and_values(self, batch_size: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """For each block, keys and values (batch, heads, n, head width)."""
        layers, heads, head_width = self.layout
        prefix = self().to(dtype).view(self.count, layers, 2, heads, head_width).permute(1, 2, 3, 0, 4)
        prefix = prefix[:, :, None].expand(-1, -1, batch_size, -1, -1, -1)
        return [(prefix[index, 0], prefix[index, 1]) for index in self.order]

    def put_into_cache(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]]:
        """A hook before the decoder's forward: an empty cache gets the prefix, and the mask and positions count it."""
        arguments = named_arguments(decoder, args, kwargs)
        cache, length = arguments.get("past_key_values"), text_length(arguments)
        batch_size = next(
            len(arguments[name]) for name in ("input_ids", "inputs_embeds") if arguments.get(name) is not None
        )
        past = cached_length(cache)
        arguments["attention_mask"] = self.in_mask(arguments.get("attention_mask"), max(past - self.count, 0) + length)
        if arguments.get("position_ids") is not None:
            arguments["position_ids"] = arguments["position_ids"] + self.count
        if not past:
            refuse_packed(arguments)
            prefix = self.keys_and_values(batch_size, decoder.dtype)  # type: ignore[arg-type]
            if decoder.training and decoder.is_activation_checkpointing:
                arguments["past_key_values"] = self.constant_cache(prefix)
            else:
                arguments["past_key_values"] = cache = DynamicCache() if cache is None else cache
                for index, (key, value) in enumerate(prefix):
                    cache.self_layer(index).update(key, value)
        return (), arguments

    @staticmethod
    def constant_cache(prefix: list[tuple[Tensor, Tensor]]) -> EncoderDecoderCache:
        """A cache that holds the prefix alone, for blocks that are computed twice under gradient checkpointing."""
        own, of_context = (Cache(layer_class_to_replicate=ConstantLayer) for _ in range(2))
        for index, (key, value) in enumerate(prefix):
            layer = own.layer(index)
            layer.keys, layer.values = key, value
        return EncoderDecoderCache(own, of_context)


class ConstantLayer(CacheLayer):
    """A layer of a cache that keeps no new tokens: a block that is computed again finds it as before."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The prefix's keys and values, and behind them these."""
        if self._keys is None or self._values is None:
            return key_states, value_states
        return torch.cat([self._keys, key_states], dim=2), torch.cat([self._values, value_states], dim=2)


class PrefixTuningConfig(VirtualTokensConfig):
    """Settings of prefix tuning, under peft's names.

    Attributes:
        num_virtual_tokens: the prefix's length n.
        prefix_projection: compute the prefix by a network of two layers while it is trained.
        encoder_hidden_size: the network's inner width; by default the model's.
        num_transformer_submodules: in a language model that is an encoder–decoder, peft gives block i of L the keys and
            values of place 2i mod L, so that blocks share them. None does the same there, so that files can be
            exchanged. 1 gives each block its own, which peft cannot load.
    """

    method = "PREFIX_TUNING"
    prefix_projection: bool = False
    encoder_hidden_size: int | None = size(None)
    num_transformer_submodules: int | None = size(None)

    def attach(self, model: Any, *, is_strict: bool = True) -> None:
        """Give the decoder, or the backbone of a model without one, a prefix.

        Raises:
            InputError: a family whose blocks take no cache.
        """
        parts = (part for part in (model.get_decoder(), model.base_model) if isinstance(part, PreTrainedModel))
        decoder = next((part for part in parts if "past_key_values" in part._forward_arguments), None)
        if decoder is None:
            raise InputError(
                f"{type(model).__name__} takes no past_key_values, which the prefix would be: use PromptTuningConfig "
                f"or LoraConfig."
            )
        if self.num_transformer_submodules is None:
            self.num_transformer_submodules = 2 if model.config.is_encoder_decoder and model.can_generate() else 1
        where = {"device": model.device, "dtype": torch.promote_types(model.dtype, torch.float32)}
        prefix = Prefix(self, decoder.cache_layout, model.config.hidden_size, **where)
        model.add_module(NAME, prefix)
        decoder.register_forward_pre_hook(prefix.put_into_cache, with_kwargs=True)

    def file_fields(self, model: Any) -> dict[str, Any]:
        """The fields; peft, too, drops the network from files."""
        width = self.encoder_hidden_size or model.config.hidden_size
        return {**super().file_fields(model), "encoder_hidden_size": width}
