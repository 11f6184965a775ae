"""Replace values while a model runs: patches, ablated heads, and maps of what a replacement restores.

Activation patching: Vig et al. (2020), §3; Meng et al. (2022), "Locating and editing factual associations in GPT", §2.
Ablated heads: Michel et al. (2019), "Are sixteen heads really better than one?", §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.errors import InputError, nearest
from minitransformers.interpret.tracing import trace
from minitransformers.interpret.watching import PARTS, blocks, canonical_name, logits_of, watch

Replacement = Tensor | Callable[[Tensor], Tensor]


@contextmanager
def patch(model: nn.Module, values: Mapping[str | tuple[str, str], Replacement]) -> Iterator[None]:
    """Replace intermediate values in every call of `model` inside the block.

        with patch(model, {"transformer.h.3": lambda x: x * 0, ("transformer.h.4.attn", "weights"): uniform}):
            model(**inputs)

    To trace what a patch leads to, open `trace` inside of it.

    Args:
        values: by the name of a module (its output) or by (name, part), see `watch`: a tensor of the same shape, or a
            function of the value. A module that runs several times is patched each time.

    Raises:
        InputError: an unknown name or part, another shape, or a value that the model never computed inside the block.
    """
    wanted: dict[tuple[str, str], Replacement] = {}
    for key, replacement in values.items():
        name, part = (key, "output") if isinstance(key, str) else key
        if part not in PARTS:
            raise InputError(f"There is no part {part!r}; parts are {list(PARTS)}.{nearest(part, PARTS)}")
        wanted[canonical_name(model, name), part] = replacement
    unused = set(wanted)

    def see(name: str, part: str, value: Tensor) -> Tensor | None:
        if (name, part) not in wanted:
            return None
        unused.discard((name, part))
        replacement = wanted[name, part]
        return replacement if isinstance(replacement, Tensor) else replacement(value)

    with watch(model, see):
        yield
    if unused:
        raise InputError(f"The model computed none of {sorted(unused)}, so that nothing was patched there.")


@contextmanager
def ablate_heads(model: nn.Module, heads: Mapping[int | str, Sequence[int]], *, by: str = "zero") -> Iterator[None]:
    """Silence heads of attention in every call of `model` inside the block.

    Args:
        heads: the numbers of the heads, by the number of a block or by the name of a module that contains their
            attention: {2: [0, 5]}. A model with two stacks, or with shared blocks, needs names.
        by: "zero" replaces the output of a head by zeros, as in Michel et al.; "mean" by its mean over batch and
            positions.

    Raises:
        InputError: no such block or head, or a name without attention in it.
    """
    if by not in ("zero", "mean"):
        raise InputError(f"by={by!r} must be 'zero' or 'mean'.")
    wanted = {_module_of(model, key): list(numbers) for key, numbers in heads.items()}
    unused = set(wanted)

    def see(name: str, part: str, value: Tensor) -> Tensor | None:
        keys = [key for key in wanted if name == key or name.startswith(f"{key}.")] if part == "heads" else []
        for key in keys:
            unused.discard(key)
            value = value.clone()
            for head in wanted[key]:
                if not 0 <= head < value.shape[1]:
                    raise InputError(f"{name!r} has no head {head}: its heads are 0 to {value.shape[1] - 1}.")
                value[:, head] = 0 if by == "zero" else value[:, head].mean(dim=(0, 1))
        return value if keys else None

    with watch(model, see):
        yield
    if unused:
        raise InputError(f"Nothing attended in {sorted(unused)}, so that no head was ablated there.")


def activation_patching(
    model: nn.Module,
    clean: Any,
    corrupted: Any,
    metric: Callable[[Tensor], Tensor | float],
    *,
    part: str = "residual",
) -> Float[Tensor, "layers places"]:
    """How much of the clean answer each value of the clean run restores in the corrupted run (Meng et al., §2.1).

    Args:
        clean, corrupted: arguments of the model, or token ids, of the same shape.
        metric: a number for logits, such as the difference of two tokens' logits.
        part: "residual", a column for each position of the output of a block; "heads", one for each head.

    Returns:
        (metric patched − metric corrupted) / (metric clean − metric corrupted): 0 restores nothing, 1 everything.

    Raises:
        InputError: shapes that differ, or a metric that is the same for both.
    """
    if part not in ("residual", "heads"):
        raise InputError(f"part={part!r} must be 'residual' or 'heads'.")
    with torch.no_grad():
        with trace(model) as activations:
            best = float(metric(logits_of(model, clean)))
        worst = float(metric(logits_of(model, corrupted)))
        if best == worst:
            raise InputError(f"The metric is {best} for clean and corrupted inputs: there is nothing to restore.")
        stack = activations.stacks[-1]
        rows = []
        for number, block in enumerate(blocks(model)[stack]):
            if part == "residual":
                source, key, axis = activations.residual(stack)[number + 1], (block, "output"), 1
            else:
                attention = next(each for each in activations.attentions if each.name.startswith(f"{block}."))
                source, key, axis = attention.heads, (attention.name, "heads"), 1
            row = []
            for place in range(source.shape[axis]):
                with patch(model, {key: _put(source, place)}):
                    row.append((float(metric(logits_of(model, corrupted))) - worst) / (best - worst))
            rows.append(row)
    return torch.tensor(rows)


def _put(source: Tensor, place: int) -> Callable[[Tensor], Tensor]:
    """A function that takes one position, or one head, from the clean run."""

    def replace(value: Tensor) -> Tensor:
        if value.shape != source.shape:
            raise InputError(f"clean and corrupted inputs differ in shape: {source.shape} and {value.shape}.")
        value = value.clone()
        value[:, place] = source[:, place]
        return value

    return replace


def _module_of(model: nn.Module, key: int | str) -> str:
    if isinstance(key, str):
        return canonical_name(model, key)
    stacks = blocks(model)
    if len(stacks) != 1:
        raise InputError(
            f"The model has the stacks {list(stacks)}: name the block, such as {next(iter(stacks))}.{key}."
        )
    names = next(iter(stacks.values()))
    if not 0 <= key < len(names):
        raise InputError(f"There is no block {key}: the model's blocks are {names}.")
    return names[key]
