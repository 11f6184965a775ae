"""How a backbone runs its blocks: with the cache of earlier calls, and recomputing them where memory is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from minitransformers.configs.config import Config
from minitransformers.errors import InputError, UnknownArgumentError, nearest
from minitransformers.nn.cache import KeyValueCache

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
    _checkpointing_options: dict[str, Any]

    # ---- recomputing -------------------------------------------------------------------------------------------------

    def run_block(self, block: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a block, under gradient checkpointing where that is on."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, *args, **self._checkpointing_options, **kwargs)
        return block(*args, **kwargs)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether blocks are computed anew in the backward pass, to save memory."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """While training, keep only the blocks' inputs and compute the rest anew in the backward pass.

        Args:
            gradient_checkpointing_kwargs: passed to `torch.utils.checkpoint.checkpoint`; default
                `{"use_reentrant": False}`.

        Raises:
            InputError: `use_reentrant` is not False.
            UnknownArgumentError: an entry that `checkpoint` has not.
        """
        for name, value in (gradient_checkpointing_kwargs or {}).items():
            if name not in CHECKPOINTING_OPTIONS:
                raise UnknownArgumentError(
                    f"gradient_checkpointing_kwargs takes no {name!r}, only what torch.utils.checkpoint has: "
                    f"{', '.join(CHECKPOINTING_OPTIONS)}.{nearest(name, CHECKPOINTING_OPTIONS)}"
                )
            if name == "use_reentrant" and value is not False:
                raise InputError(
                    f"gradient_checkpointing_kwargs has use_reentrant={value!r}, but blocks take arguments by name, "
                    f"which that variant does not know: leave it out, or pass False. The gradients are the same."
                )
        self._checkpointing_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        for module in self.modules():  # the backbone, and an encoder or decoder inside it
            if isinstance(module, BlockRunner):
                module._checkpointing_options = self._checkpointing_options
                module.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep everything that the backward pass needs (the default)."""
        for module in self.modules():
            if isinstance(module, BlockRunner):
                module.gradient_checkpointing = False

    # ---- the cache ---------------------------------------------------------------------------------------------------

    def uses_cache(self, use_cache: bool | None) -> bool:
        """Whether to return a cache: the argument, else the config; never where blocks are computed anew."""
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and self.gradient_checkpointing and self.training:
            return False  # a block that is computed anew would add its keys and values a second time
        return bool(use_cache)

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads and width of a head of a cache for this model; families with other heads override it."""
        config = self.config
        width = config.hidden_size // config.num_attention_heads
        return config.num_hidden_layers, config.num_attention_heads, width

    def read_cache(
        self, past_key_values: KeyValueCache | None, use_cache: bool, batch_size: int
    ) -> KeyValueCache | None:
        """The cache to compute with: the one given, else a new one where `use_cache` asks for it."""
        num_layers, num_heads, head_dim = self.cache_layout
        if past_key_values is None:
            return KeyValueCache(num_layers) if use_cache else None
        if not isinstance(past_key_values, KeyValueCache):
            raise InputError(
                f"past_key_values must be the cache that an earlier call returned (a KeyValueCache), "
                f"got {type(past_key_values).__name__}."
            )
        if not len(past_key_values):
            past_key_values.add_layers(num_layers)
        if len(past_key_values) != num_layers:
            raise InputError(
                f"past_key_values is of a model with {len(past_key_values)} layers; this one has {num_layers}."
            )
        if past_key_values.length:
            key, _ = past_key_values.self_attention[0].read()  # its other layers are alike
            if key.shape[0] != batch_size:
                raise InputError(
                    f"past_key_values holds {key.shape[0]} sequences and the input {batch_size}: pass the same batch, "
                    f"or choose rows of the cache with past_key_values.reorder(rows)."
                )
            if key.shape[1] != num_heads or key.shape[3] != head_dim:
                raise InputError(
                    f"past_key_values is of a model with {key.shape[1]} heads of width {key.shape[3]}; this one has "
                    f"{num_heads} of width {head_dim}."
                )
        return past_key_values
