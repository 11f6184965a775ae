"""See, and change where wanted, every intermediate value of a running model, without changes to the model.

PyTorch's hooks show the inputs and outputs of modules; between them, `attend` runs a kernel of attention on queries,
keys and values per head. For as long as something watches, the kernels of `nn.attention` are wrapped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError, nearest
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.nn.attention import KERNELS, AttentionOutput, eager_attention
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock

HEAD_PARTS = ("query", "key", "value", "weights", "heads")
PARTS = ("input", "output", *HEAD_PARTS)

# Called with a module's name, the part and its value; returns the value to go on with, or None to leave it.
See = Callable[[str, str, Tensor], Tensor | None]


class Watcher:
    """What is called while a model runs, and the names of the modules that are running."""

    def __init__(self, model: nn.Module, see: See) -> None:
        self.model, self.see = model, see
        self.thread = threading.get_ident()
        self.running: list[str] = []

    def pass_on(self, name: str, part: str, value: Tensor) -> Tensor:
        """The value, or the one that it is replaced by."""
        seen = self.see(name, part, value)
        if seen is None:
            return value
        if seen.shape != value.shape:
            raise InputError(
                f"The {part} of {name!r} has the shape {tuple(value.shape)}, and its replacement has the shape "
                f"{tuple(seen.shape)}. They must agree."
            )
        return seen.to(device=value.device, dtype=value.dtype)

    def before(self, name: str, module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The hook that runs before the module's forward."""
        if module is self.model:
            self.running.clear()  # an earlier call may have ended in an error
        self.running.append(name)
        for index, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                value = self.pass_on(name, "input", argument)
                return (*arguments[:index], value, *arguments[index + 1 :]), options
        for key, argument in options.items():
            if isinstance(argument, Tensor):
                return arguments, {**options, key: self.pass_on(name, "input", argument)}
        return None

    def after(self, name: str, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        """The hook that runs after the module's forward."""
        self.running.pop()
        first = first_tensor(output)
        if first is None:
            return None
        value = self.pass_on(name, "output", first)
        return None if value is first else _with_first(output, value, name)


_WATCHERS: list[Watcher] = []
_LOCK = threading.RLock()
_UNWRAPPED: dict[str, Callable[..., AttentionOutput]] = {}


@contextmanager
def watch(model: nn.Module, see: See) -> Iterator[Watcher]:
    """Call `see(name, part, value)` for every intermediate value while `model` runs in this thread.

    Args:
        model: any module whose attention goes through `nn.attention.attend`.
        see: is given the name of the module, as in `model.named_modules()`, the part and the value. Parts are "input"
            and "output" of a module (its first tensor) and, of one that attends, "query", "key", "value" (batch, heads,
            length, width), "weights" (batch, heads, query, key) and "heads", the averages (batch, heads, query, width).
            A tensor returned replaces the value; None leaves it.
    """
    watcher = Watcher(model, see)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(partial(watcher.before, name), with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(partial(watcher.after, name)).remove)
        _add(watcher)
        stack.callback(_remove, watcher)
        yield watcher


def blocks(model: nn.Module) -> dict[str, list[str]]:
    """The names of a model's blocks, by the name of the stack that they are in: {"transformer.h": [...]}."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, (GradientCheckpointingLayer, EncoderBlock, DecoderBlock)):
            found.setdefault(stack_of(name), []).append(name)
    return found


def stack_of(block: str) -> str:
    """The name before the first number: "transformer.h" of "transformer.h.3"."""
    parts = block.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0]]) if numbers else block


def canonical_name(model: nn.Module, name: str) -> str:
    """The name under which a module is seen; a module that is shared has several, and is seen under its first.

    Raises:
        InputError: there is no module of that name; the nearest one is named.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        raise InputError(f"{type(model).__name__} has no module named {name!r}.{nearest(name, modules)}")
    first: str = next(first for first, module in model.named_modules() if module is modules[name])
    return first


def first_tensor(output: Any) -> Tensor | None:
    """A module's output, or the first tensor in it."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((value for value in values if isinstance(value, Tensor)), None)


def _with_first(output: Any, value: Tensor, name: str) -> Any:
    """The output with its first tensor replaced."""
    if isinstance(output, Tensor):
        return value
    if not isinstance(output, tuple):
        raise InputError(f"The output of {name!r} is a {type(output).__name__}. Replace that of a module inside it.")
    index = next(index for index, each in enumerate(output) if isinstance(each, Tensor))
    values = (*output[:index], value, *output[index + 1 :])
    return type(output)(*values) if hasattr(output, "_fields") else values


# ---- kernels of attention --------------------------------------------------------------------------------------------


def _add(watcher: Watcher) -> None:
    with _LOCK:
        if not _WATCHERS:
            _UNWRAPPED.update(KERNELS)
            for name, kernel in _UNWRAPPED.items():
                KERNELS[name] = partial(_run_watched, kernel)
        _WATCHERS.append(watcher)


def _remove(watcher: Watcher) -> None:
    with _LOCK:
        _WATCHERS.remove(watcher)
        if not _WATCHERS:
            KERNELS.update(_UNWRAPPED)
            _UNWRAPPED.clear()


def _run_watched(
    kernel: Callable[..., AttentionOutput], query: Tensor, key: Tensor, value: Tensor, **options: Any
) -> AttentionOutput:
    """Run the kernel; its inputs, weights and output are shown to those who watch the module that calls it."""
    here = threading.get_ident()
    watching = [each for each in _WATCHERS if each.running and each.thread == here]
    for each in watching:
        name = each.running[-1]
        query = each.pass_on(name, "query", query)
        key = each.pass_on(name, "key", key)
        value = each.pass_on(name, "value", value)
    output, weights = kernel(query, key, value, **options)
    if not watching:
        return AttentionOutput(output, weights)
    # A fused kernel gives no weights: they are computed besides, and its output stays as it is.
    shown = weights
    if shown is None:
        shown = eager_attention(query, key, value, **{**options, "dropout": 0.0}).weights
    assert shown is not None
    changed = shown
    for each in watching:
        changed = each.pass_on(each.running[-1], "weights", changed)
    if changed is not shown:
        dropout = options.get("dropout", 0.0)
        dropped = dropout(changed) if isinstance(dropout, nn.Dropout) else F.dropout(changed, dropout)
        output, weights = dropped @ value, None if weights is None else changed
    for each in watching:
        output = each.pass_on(each.running[-1], "heads", output)
    return AttentionOutput(output, weights)


def run_model(model: nn.Module, inputs: Any) -> Any:
    """The model's output for a mapping of arguments, or for token ids."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs)


def logits_of(model: nn.Module, inputs: Any) -> Tensor:
    """The `logits` of the model's output.

    Raises:
        InputError: the model has none.
    """
    output = run_model(model, inputs)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor):
        raise InputError(f"{type(model).__name__} returns no logits. Take a model with a head.")
    return logits
