"""States of random number generators as JSON: of Python, NumPy, PyTorch on every device, and of a loader's parts."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minitransformers.errors import CheckpointError
from minitransformers.training.loop.restoring import restoring


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
    """Restore a state that `random_state` returned; generators of devices that are missing here are left out.

    Raises:
        CheckpointError: it is no such state.
    """
    with restoring("The state of the random numbers"):
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(tuple(_checked_numpy(state["numpy"], np.random.get_state())))
        torch.set_rng_state(_bytes(state["torch"], torch.get_rng_state()))
        if torch.cuda.is_available():
            for device, text in enumerate(state["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(_bytes(text, torch.cuda.get_rng_state(device)), device)
        if torch.backends.mps.is_available() and state["mps"] is not None:
            torch.mps.set_rng_state(_bytes(state["mps"], torch.mps.get_rng_state()))


def generator_state(loader: object) -> dict[str, Any]:
    """The state of the generators in a loader's parts: samplers, collator, data set."""
    return {name: _state_of(generator) for name, generator in _generators(loader)}


def set_generator_state(loader: object, state: Mapping[str, Any]) -> None:
    """Restore a state that `generator_state` returned.

    Raises:
        CheckpointError: it is no such state.
    """
    for name, generator in _generators(loader):
        with restoring(f"The state of {name}"):
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
        generator.set_state(_bytes(state, generator.get_state()))
    elif isinstance(generator, random.Random):
        version, words, gauss = state
        generator.setstate((version, tuple(words), gauss))
    else:
        generator.bit_generator.state = _checked_numpy(state, generator.bit_generator.state)


def _text(state: Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _bytes(text: str, present: Tensor) -> Tensor:
    """The state of a generator; `present` is another one of it, which has the same size."""
    state = bytearray(base64.b64decode(text, validate=True))
    if len(state) != present.numel():
        raise CheckpointError(f"The state of a generator has {len(state)} bytes; it must have {present.numel()}.")
    return torch.frombuffer(state, dtype=torch.uint8)


def _checked_numpy(saved: Any, present: Any, name: str = "numpy") -> Any:
    """The state of a generator of NumPy, in the form of a present one: NumPy itself does not check all of it."""
    if isinstance(present, Mapping):
        if not isinstance(saved, Mapping) or saved.keys() != present.keys():
            raise CheckpointError(f"The state {name} must have the entries {sorted(present)}.")
        return {key: _checked_numpy(saved[key], present[key], key) for key in present}
    if isinstance(present, np.ndarray):
        return np.array([_word(each, present.dtype) for each in _of_length(saved, len(present), name)], present.dtype)
    if isinstance(present, tuple):  # of the global generator: name, words, position, whether there is a spare, spare
        saved = _of_length(saved, len(present), name)
        names = ("bit_generator", "key", "pos", "has_gauss", "cached_gaussian")
        return [_checked_numpy(*each) for each in zip(saved, present, names, strict=True)]
    if isinstance(present, str):
        if saved != present:
            raise CheckpointError(f"{name} is {saved!r:.40} in the checkpoint and {present!r} in this process.")
        return saved
    if isinstance(present, float):
        return float(saved)
    largest = _LARGEST.get(name, 2**128 - 1)
    if isinstance(saved, bool) or not isinstance(saved, int) or not 0 <= saved <= largest:
        raise CheckpointError(f"The state of a generator has {name}={saved!r:.40}; it must be from 0 to {largest}.")
    return saved


_LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "has_gauss": 1, "uinteger": 2**32 - 1}


def _of_length(values: Any, length: int, name: str) -> Any:
    if not isinstance(values, list | tuple | np.ndarray) or len(values) != length:
        raise CheckpointError(f"The state of a generator has {name} of another length than {length}.")
    return values


def _word(value: Any, dtype: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= np.iinfo(dtype).max:
        raise CheckpointError(f"The state of a generator has the number {value!r:.40}, which is no {dtype}.")
    return int(value)
