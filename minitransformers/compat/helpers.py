"""Small things that scripts for `transformers` import from its utilities."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from minitransformers.configs.checks import check_choice
from minitransformers.generation.seeds import set_seed

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
WEIGHTS_NAME = "pytorch_model.bin"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
WEIGHTS_INDEX_NAME = "pytorch_model.bin.index.json"
ADAPTER_CONFIG_NAME = "adapter_config.json"
ADAPTER_WEIGHTS_NAME = "adapter_model.bin"
ADAPTER_SAFE_WEIGHTS_NAME = "adapter_model.safetensors"
IMAGE_PROCESSOR_NAME = FEATURE_EXTRACTOR_NAME = "preprocessor_config.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
FULL_TOKENIZER_FILE = TOKENIZER_FILE = "tokenizer.json"
SPECIAL_TOKENS_MAP_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
TRAINING_ARGS_NAME = "training_args.bin"
TRAINER_STATE_NAME = "trainer_state.json"
OPTIMIZER_NAME = "optimizer.pt"
SCHEDULER_NAME = "scheduler.pt"
SCALER_NAME = "scaler.pt"
MODEL_CARD_NAME = "modelcard.json"
PREFIX_CHECKPOINT_DIR = "checkpoint"
SPIECE_UNDERLINE = SENTENCEPIECE_UNDERLINE = "▁"
IMAGENET_DEFAULT_MEAN = [0.485, 0.456, 0.406]
IMAGENET_DEFAULT_STD = [0.229, 0.224, 0.225]
IMAGENET_STANDARD_MEAN = [0.5, 0.5, 0.5]
IMAGENET_STANDARD_STD = [0.5, 0.5, 0.5]
OPENAI_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
OPENAI_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
TextInput, PreTokenizedInput, EncodedInput = str, list[str], list[int]  # what a tokenizer takes
VERY_LARGE_INTEGER = int(1e30)  # the model_max_length of a tokenizer without a limit
LARGE_INTEGER = int(1e20)


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
