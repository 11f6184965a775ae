"""Small things that scripts for `transformers` import from its utilities."""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from minitransformers.configs.checks import check_choice
from minitransformers.generation.seeds import set_seed

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
WEIGHTS_NAME = "pytorch_model.bin"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
MODEL_CARD_NAME = "modelcard.json"
PREFIX_CHECKPOINT_DIR = "checkpoint"
SPIECE_UNDERLINE = "▁"
IMAGENET_DEFAULT_MEAN = [0.485, 0.456, 0.406]
IMAGENET_DEFAULT_STD = [0.229, 0.224, 0.225]
IMAGENET_STANDARD_MEAN = [0.5, 0.5, 0.5]
IMAGENET_STANDARD_STD = [0.5, 0.5, 0.5]


class EvalLoopOutput(NamedTuple):
    """The result of an evaluation: predictions and labels as arrays, metrics, and the number of examples."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float] | None
    num_samples: int | None


def speed_metrics(
    split: str,
    start_time: float,
    num_samples: int | None = None,
    num_steps: int | None = None,
    num_tokens: int | None = None,
) -> dict[str, float]:
    """The seconds since `start_time` (of time.time()), and samples, steps and tokens a second.

    Args:
        split: the beginning of the names: "train" gives "train_runtime", "train_samples_per_second" …
        start_time: when the measured work began.
        num_samples, num_steps, num_tokens: what was processed; those that are None are left out.
    """
    runtime = time.time() - start_time
    metrics = {f"{split}_runtime": round(runtime, 4)}
    for name, number in {"samples": num_samples, "steps": num_steps, "tokens": num_tokens}.items():
        if number is not None and runtime > 0:
            metrics[f"{split}_{name}_per_second"] = round(number / runtime, 3)
    return metrics


def enable_full_determinism(seed: int, warn_only: bool = False) -> None:
    """Seed every source of random numbers, and let PyTorch use only algorithms that give the same result each time.

    Args:
        seed: for Python, NumPy and PyTorch.
        warn_only: warn about an operation without such an algorithm, in place of an error.
    """
    set_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def is_main_process(local_rank: int) -> bool:
    """Whether a process is the first of its machine; −1 stands for a single process."""
    return local_rank in (-1, 0)


@contextmanager
def torch_distributed_zero_first(local_rank: int) -> Iterator[None]:
    """Let the first process of a machine run the block before the others, which find its files then."""
    if local_rank not in (-1, 0):
        torch.distributed.barrier()
    yield
    if local_rank == 0:
        torch.distributed.barrier()


def send_example_telemetry(*args: Any, **kwargs: Any) -> None:
    """Send nothing: this library has no telemetry."""


def get_parameter_names(
    model: nn.Module,
    forbidden_layer_types: Sequence[type[nn.Module]],
    forbidden_layer_names: Sequence[str] | None = None,
) -> list[str]:
    """The names of the parameters outside certain layers, as scripts choose those for weight decay.

    Args:
        model: whose parameters are named.
        forbidden_layer_types: classes of layers whose parameters are left out.
        forbidden_layer_names: regular expressions that are searched in the names, in lower case, and in what remains of
            them inside each layer.
    """
    modules = dict(model.named_modules())
    patterns = [re.compile(pattern) for pattern in forbidden_layer_names or ()]
    names = []
    for name, _ in model.named_parameters(remove_duplicate=False):
        parts = name.split(".")
        layers = (modules[".".join(parts[:depth])] for depth in range(1, len(parts)))
        inside = [".".join(parts[depth:]).lower() for depth in range(len(parts))]
        is_forbidden = any(isinstance(layer, tuple(forbidden_layer_types)) for layer in layers)
        if not is_forbidden and not any(pattern.search(end) for pattern in patterns for end in inside):
            names.append(name)
    return names


class DataCollatorMixin:
    """The base of a user's collator, which defines `torch_call(features)`, and `numpy_call(features)` for arrays."""

    return_tensors = "pt"

    def __call__(self, features: list[Any], return_tensors: str | None = None) -> Any:
        """The batch of `features`, as tensors ("pt") or arrays ("np")."""
        kinds = {"pt": "torch_call", "np": "numpy_call"}
        kind = check_choice("return_tensors", return_tensors or self.return_tensors, kinds)
        return getattr(self, kinds[kind])(features)


class CaptureLogger:
    """A context in which a logger's messages are collected: they are in `out` afterwards."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.out = ""
        self._stream = io.StringIO()
        self._handler = logging.StreamHandler(self._stream)

    def __enter__(self) -> CaptureLogger:
        self.logger.addHandler(self._handler)
        return self

    def __exit__(self, *exception: object) -> None:
        self.logger.removeHandler(self._handler)
        self.out = self._stream.getvalue()

    def __repr__(self) -> str:
        return f"captured: {self.out}\n"
