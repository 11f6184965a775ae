"""States of random number generators as JSON: of Python, NumPy, PyTorch on every device, and of a loader's parts."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def random_state() -> dict[str, Any]:
    """The state of the global generators; `set_random_state` restores it."""
    return {
        "python": random.getstate(),
        "numpy": [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],
        "torch": _text(torch.get_rng_state()),
        "cuda": [_text(state) for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "mps": _text(torch.mps.get_rng_state()) if torch.backends.mps.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore a state that `random_state` returned; generators of devices that are missing here are left out."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, words, *rest = state["numpy"]
    np.random.set_state((name, np.array(words, dtype=np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if torch.cuda.is_available():
        for device, text in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(_bytes(text), device)
    if torch.backends.mps.is_available() and state["mps"] is not None:
        torch.mps.set_rng_state(_bytes(state["mps"]))


def generator_state(loader: object) -> dict[str, Any]:
    """The state of the generators in a loader's parts: samplers, collator, data set."""
    return {name: _state_of(generator) for name, generator in _generators(loader)}


def set_generator_state(loader: object, state: Mapping[str, Any]) -> None:
    """Restore a state that `generator_state` returned."""
    for name, generator in _generators(loader):
        if name in state:
            _set_state_of(generator, state[name])


_PARTS = (
    "sampler",
    "batch_sampler",
    "batch_sampler.sampler",
    "collate_fn",
    "collate_fn.data_collator",  # inside RemoveColumnsCollator
    "dataset",
    "dataset.dataset",  # inside ShardedStream, or torch's Subset
)


def _generators(loader: object) -> Iterator[tuple[str, Any]]:
    """Each generator that is an attribute of the loader or of one of its parts, once, with its path."""
    seen: set[int] = set()
    for path in ("", *_PARTS):
        part: Any = loader
        for name in filter(None, path.split(".")):
            part = getattr(part, name, None)
        attributes = {"generator": getattr(part, "generator", None), **getattr(part, "__dict__", {})}
        for name, value in attributes.items():
            if isinstance(value, (torch.Generator, random.Random, np.random.Generator)) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}".lstrip("."), value


def _state_of(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return _text(generator.get_state())
    return generator.getstate() if isinstance(generator, random.Random) else generator.bit_generator.state


def _set_state_of(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(_bytes(state))
    elif isinstance(generator, random.Random):
        version, words, gauss = state
        generator.setstate((version, tuple(words), gauss))
    else:
        generator.bit_generator.state = state


def _text(state: Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
