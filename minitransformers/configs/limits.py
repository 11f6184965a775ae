"""How large a model a configuration describes, and what is too large: known before anything is built.

A file of 1 kB can ask for more layers, or larger matrices, than any machine has room for.
"""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from minitransformers.errors import CheckpointError, ConfigError

MOST_LAYERS = 10_000
MOST_LABELS = 1_000_000
MOST = 2**28  # of any other size: the elements of a matrix with such sides can be counted, and no model comes near it
MOST_ELEMENTS = 2**60  # of all weights together: more bytes than any address has room for


def count_blocks(config: Any) -> int:
    """The number of blocks that a model is built of, each with weights of its own."""
    if groups := _value(config, "num_hidden_groups"):  # ALBERT runs the same blocks several times
        return groups * _value(config, "inner_group_num", default=1)
    return _value(config, "num_hidden_layers") + _value(config, "num_decoder_layers", "decoder_layers")


def least_elements(config: Any) -> int:
    """A lower bound of the number of weights: embeddings, attention and feed-forward layers, without the rest."""
    hidden = _value(config, "hidden_size")
    heads = _value(config, "num_attention_heads", default=1)
    inner = heads * _value(config, "head_dim", default=hidden // max(heads, 1))
    wide = _value(config, "intermediate_size", "d_ff", "hidden_dim", "n_inner", "encoder_ffn_dim", default=hidden)
    embedding = _value(config, "embedding_size", default=hidden)
    elements = count_blocks(config) * 2 * hidden * (inner + wide) + _value(config, "vocab_size") * embedding
    if not hasattr(type(config), "rope_defaults"):  # rotations have no weights
        elements += _value(config, "max_position_embeddings") * embedding
    if rows_and_columns := getattr(type(config), "grid", None) and config.grid:  # of patches
        elements += math.prod(rows_and_columns) * hidden
        elements += _value(config, "num_channels") * _value(config, "patch_size", default=1) ** 2 * hidden
    return elements


def check_fields(config: Any) -> None:
    """Refuse numbers that no model can have, before a list of as many entries is made, or a product overflows.

    Raises:
        ConfigError: there is one; the message names the field.
    """
    for name in config._fields:
        value = vars(config)[name]
        largest = max(
            (item for item in (value if isinstance(value, list) else [value]) if type(item) is int), default=0
        )
        if largest > MOST:
            raise ConfigError(f"{type(config).__name__}: {name}={value!r:.80} is too large; it may be up to {MOST:,}.")
    layers = max(count_blocks(config), _value(config, "num_hidden_layers"))
    if layers > MOST_LAYERS:
        raise ConfigError(
            f"{type(config).__name__}: {layers:,} layers are too many; models of up to {MOST_LAYERS:,} can be built."
        )


def check_size(config: Any) -> None:
    """Refuse a configuration of a model that cannot be built here, before it is tried.

    On the meta device, where weights take no memory, the memory of the machine is no limit.

    Raises:
        ConfigError: more blocks than a model can have, or more memory than this machine has.
    """
    check_fields(config)
    elements = least_elements(config)
    memory = _memory()
    on_cpu = not torch.empty(0).is_meta and torch.get_default_device().type == "cpu"
    needed = elements * (config.dtype or torch.get_default_dtype()).itemsize
    if elements > MOST_ELEMENTS or (on_cpu and memory is not None and needed > memory):
        has = "" if memory is None else f", and this machine has {_words(memory)}"
        raise ConfigError(
            f"{type(config).__name__}: a model of these sizes has weights of at least {_words(needed)}{has}. "
            f"Make hidden_size, the number of layers or the vocabulary smaller, or build it inside "
            f"`with torch.device('meta'):`."
        )


def check_against_file(config: Any, tensors: int, origin: str) -> None:
    """Refuse a configuration that asks for more blocks than a checkpoint has tensors, before they are built.

    Raises:
        CheckpointError: it does.
    """
    if (blocks := count_blocks(config)) > max(tensors, 100):  # of fewer, the weights that lack are listed
        raise CheckpointError(
            f"The configuration of {origin} asks for {blocks:,} layers, and its files have {tensors:,} tensors: are "
            f"config.json and the weights from the same model?"
        )


def _value(config: Any, *names: str, default: int = 0) -> int:
    """The first of these fields that is a number, under the names of the family or the common ones."""
    values = (vars(config).get(config._aliases.get(name, name)) for name in names)
    return next((value for value in values if isinstance(value, int)), default)


def _memory() -> int | None:
    """The machine's memory in bytes; None where the system does not say it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _words(size: int) -> str:
    unit = min(max(size.bit_length() - 1, 0) // 10, 6)
    return f"{size / 1024**unit:,.0f} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[unit]}"
