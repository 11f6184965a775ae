"""What a model consists of: parameters and shapes of each part, memory, and the arithmetic for each token.

    print(model.summary())

Arithmetic is counted, not estimated: a copy of the model without numbers (on the meta device) runs its forward pass,
and PyTorch's counter adds 2 for each multiplication and addition of every matrix product. Norms, activations and
softmax, some per cent more, are left out, as papers do (Kaplan et al., 2020, table 1).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError


@dataclass(frozen=True)
class Part:
    """A module, or a stack of equal ones.

    Attributes:
        name: in the model; of a stack, the first and the last.
        depth: how many modules it is in.
        module: its class, and of a stack how many.
        shape: of its weight; empty unless it has one of its own.
        parameters: of all of it; tied ones belong to the part that has them first.
        flops: of all of it, for one token.
    """

    name: str
    depth: int
    module: str
    shape: tuple[int, ...]
    parameters: int
    flops: float


@dataclass(frozen=True)
class Summary:
    """The table of a model; `print` shows it, `to_dict` gives its numbers.

    Attributes:
        model, dtype: the class and the type of its weights.
        parts: in the model's order, each followed by what it consists of.
        parameters, trainable: numbers of parameters, tied ones counted once.
        weight_bytes: memory of parameters and buffers.
        training_bytes: of weights, gradients and the two moments of Adam, without activations.
        cache_bytes_per_token: keys and values that generation keeps; 0 of a model that does not generate.
        length: tokens of the text that `flops_per_token` is for; an image's patches.
        flops_per_token: of a forward pass, divided by its tokens. A training step takes about three times as much.
    """

    model: str
    dtype: str
    parts: list[Part]
    parameters: int
    trainable: int
    weight_bytes: int
    training_bytes: int
    cache_bytes_per_token: int
    length: int
    flops_per_token: float

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain values, which JSON can hold."""
        return asdict(self)

    def __str__(self) -> str:
        """The table, and the totals below it."""
        rows = [("part", "module", "weight", "parameters", "share", "FLOPs/token")]
        for part in self.parts:
            share = f"{100 * part.parameters / max(1, self.parameters):.1f} %"
            shape = " × ".join(map(str, part.shape))
            rows.append(
                ("  " * part.depth + part.name, part.module, shape, f"{part.parameters:,}", share, _short(part.flops))
            )
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "─" * max(map(len, lines)))
        frozen = self.parameters - self.trainable
        facts = {
            f"{self.model}, {self.dtype}": f"{self.parameters:,} parameters"
            + (f", {frozen:,} of them frozen" if frozen else ""),
            "weights in memory": _bytes(self.weight_bytes),
            "training with Adam": f"{_bytes(self.training_bytes)} for weights, gradients and moments",
            "cache for each token": _bytes(self.cache_bytes_per_token) if self.cache_bytes_per_token else "",
            "arithmetic": f"{_short(self.flops_per_token)}FLOPs for each of {self.length} tokens"
            if self.length
            else "not counted",
        }
        return "\n".join([*lines, "", *(f"{name}: {fact}" for name, fact in facts.items() if fact)])


def summarize(model: Any, *, length: int | None = None, depth: int = 4) -> Summary:
    """The summary of a model.

    Args:
        model: any `PreTrainedModel`, on any device, the meta device included.
        length: tokens of the text for which arithmetic is counted; default: 128, or the model's longest text if that is
            shorter. An encoder-decoder reads and writes so many. Images have the model's own size.
        depth: how many levels of modules the table shows.

    Raises:
        InputError: a length or depth below 1, or a text longer than the model takes.
    """
    longest = getattr(model.config, "max_position_embeddings", None)
    if length is not None and (length < 1 or (isinstance(longest, int) and length > longest)):
        raise InputError(f"length={length} must be from 1 to the model's longest text, {longest}.")
    if depth < 1:
        raise InputError(f"depth={depth} must be at least 1.")
    length = length or min(128, longest if isinstance(longest, int) else 128)
    counts, tokens = _count_flops(model, length)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}  # tied ones once
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    return Summary(
        model=type(model).__name__,
        dtype=str(model.dtype).removeprefix("torch."),
        parts=list(_parts(model, "", 0, depth, sizes, counts)),
        parameters=sum(sizes.values()),
        trainable=sum(parameter.numel() for parameter in trained),
        weight_bytes=weights + buffers,
        training_bytes=weights + 3 * sum(parameter.numel() * parameter.element_size() for parameter in trained),
        cache_bytes_per_token=_cache_bytes(model) if model.can_generate() else 0,
        length=tokens,
        flops_per_token=counts.get("", 0.0),
    )


def _parts(
    module: nn.Module, prefix: str, depth: int, deepest: int, sizes: dict[str, int], counts: dict[str, float]
) -> Iterator[Part]:
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        inside = sum(size for key, size in sizes.items() if key.startswith(f"{path}."))
        has_weights = next(child.parameters(), None) is not None
        if not has_weights:
            continue
        weight = getattr(child, "weight", None)
        shape = tuple(weight.shape) if isinstance(weight, Tensor) else ()
        title, shown, inner = name, type(child).__name__, child
        if isinstance(child, nn.ModuleList) and len(child) > 1 and len(set(map(type, child))) == 1:
            title, shown, inner = f"{name}.0 … {len(child) - 1}", f"{len(child)} × {type(child[0]).__name__}", child[0]
            flops = sum(counts.get(f"{path}.{index}", 0.0) for index in range(len(child)))
            next_prefix = f"{path}.0."
        else:
            flops, next_prefix = counts.get(path, 0.0), f"{path}."
        yield Part(title, depth, shown, shape, inside, flops)
        if depth + 1 < deepest:
            yield from _parts(inner, next_prefix, depth + 1, deepest, sizes, counts)


def _count_flops(model: Any, length: int) -> tuple[dict[str, float], int]:
    """The FLOPs of each module by name for one token, "" being the model, and the number of tokens; 0 if it cannot run.

    An adapted or otherwise changed model is copied as it is.
    """
    from torch.utils.flop_counter import FlopCounterMode

    config = copy.deepcopy(model.config)
    config.attn_implementation = "sdpa"
    if all(parameter.is_meta for parameter in model.parameters()):
        twin = model
    else:
        memo: dict[int, Any] = {id(model.config): config}
        for tensor in (*model.parameters(), *model.buffers()):
            empty = torch.empty_like(tensor, device="meta")
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
        twin = copy.deepcopy(model, memo)
    was_training = twin.training
    kernel, twin.config.attn_implementation = twin.config.attn_implementation, "sdpa"
    inputs, tokens = _inputs(twin, length)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            twin.eval()(**inputs)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):  # a user's own forward with other arguments
        return {}, 0
    finally:
        twin.config.attn_implementation = kernel
        twin.train(was_training)
    root = type(twin).__name__
    totals = {name: float(sum(ops.values())) / tokens for name, ops in counter.get_flop_counts().items()}
    return {"": totals.get("Global", 0.0)} | {
        name.removeprefix(f"{root}."): flops for name, flops in totals.items() if name.startswith(f"{root}.")
    }, tokens


def _inputs(model: Any, length: int) -> tuple[dict[str, Tensor], int]:
    """Arguments of a forward pass on the meta device, and how many tokens it computes."""
    config = model.config
    if model.main_input_name == "pixel_values":
        size = config.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        patch = config.patch_size
        rows, columns = patch if isinstance(patch, list | tuple) else (patch, patch)
        pixels = torch.zeros(1, config.num_channels, height, width, device="meta", dtype=model.dtype)
        return {"pixel_values": pixels}, (height // rows) * (width // columns)
    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    choices = "MultipleChoice" in type(model).__name__ or "DoubleHeads" in type(model).__name__
    inputs = {"input_ids": ids[None] if choices else ids}
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in model._forward_arguments:
        inputs["decoder_input_ids"] = ids
    return inputs, length


def _cache_bytes(model: Any) -> int:
    """Keys and values of one token in all layers of the decoder."""
    config = model.config
    fields = ("num_decoder_layers", "decoder_layers", "num_hidden_layers")
    layers = next((value for name in fields if isinstance(value := getattr(config, name, None), int)), 0)
    heads = getattr(config, "decoder_attention_heads", None) or config.num_attention_heads
    width = getattr(config, "d_kv", None) or getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    element = torch.empty((), dtype=model.dtype).element_size()
    return int(2 * layers * key_heads * width * element)


def _short(number: float) -> str:
    """Three digits and a prefix: 1.23 M."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {prefix}"
    return f"{number:.0f} "


def _bytes(number: int) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} bytes"
