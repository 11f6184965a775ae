"""How a backbone runs its blocks: with the cache of earlier calls, and recomputing them where memory is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from minitransformers.configs.config import Config
from minitransformers.errors import InputError
from minitransformers.nn.cache import Cache, DynamicCache, EncoderDecoderCache, as_cache

CHECKPOINTING_OPTIONS = (
    "use_reentrant",
    "preserve_rng_state",
    "context_fn",
    "determinism_check",
    "debug",
    "early_stop",
)


class BlockRunner(nn.Module):
    """What a backbone needs to run its blocks: a base of `PreTrainedModel`."""

    config: Config
    gradient_checkpointing = False
    checkpointing_options: dict[str, Any]

    # ---- recomputing -------------------------------------------------------------------------------------------------

    def run_block(self, block: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a block, under gradient checkpointing where that is on."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, *args, **self.checkpointing_options, **kwargs)
        return block(*args, **kwargs)

    # ---- the cache ---------------------------------------------------------------------------------------------------

    def uses_cache(self, use_cache: bool | None) -> bool:
        """Whether to return a cache: the argument, else the config; never where blocks are computed anew."""
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and self.gradient_checkpointing and self.training:
            return False  # a block that is computed anew would add its keys and values a second time
        return bool(use_cache)

    def read_cache(self, past_key_values: Cache | None, use_cache: bool, batch_size: int) -> Cache | None:
        """The cache to compute with: the one given, else a new one where `use_cache` asks for it."""
        num_layers, num_heads, head_dim = self.cache_layout
        if past_key_values is None:
            has_context = self.config.is_encoder_decoder or getattr(self.config, "add_cross_attention", False)
            return (EncoderDecoderCache() if has_context else DynamicCache()) if use_cache else None
        cache = as_cache(past_key_values)
        if len(cache) not in (0, num_layers):
            raise InputError(f"past_key_values is of a model with {len(cache)} layers; this one has {num_layers}.")
        if cache.get_seq_length():
            key, _ = cache.self_layer(0).read()  # its other layers are alike
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
        return cache
