"""find_executable_batch_size: repeats a function with smaller batches until its memory suffices."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import torch

from minitransformers.errors import TrainingError

OUT_OF_MEMORY = (
    "out of memory.",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)


def find_executable_batch_size(
    function: Callable[..., Any] | None = None, starting_batch_size: int = 128, auto_find_batch_size: bool = False
) -> Any:
    """`function`, called with a batch size as its first argument, which shrinks to nine tenths when memory is short.

    Without `function`, a decorator.

    Args:
        function: (batch_size, …) → any result.
        starting_batch_size: the first batch size.
        auto_find_batch_size: False passes `starting_batch_size` and leaves errors as they are.

    Raises:
        TrainingError: the memory does not even suffice for one example.
    """
    if function is None:
        return functools.partial(
            find_executable_batch_size,
            starting_batch_size=starting_batch_size,
            auto_find_batch_size=auto_find_batch_size,
        )
    if not auto_find_batch_size:
        return functools.partial(function, batch_size=starting_batch_size)

    @functools.wraps(function)
    def with_any_size(*args: Any, **kwargs: Any) -> Any:
        batch_size = starting_batch_size
        while batch_size:
            try:
                return function(batch_size, *args, **kwargs)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the except clause, because the error's traceback holds the tensors.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            batch_size = batch_size * 9 // 10
        raise TrainingError(
            "No executable batch size found, reached zero: the memory does not suffice for one example."
        )

    return with_any_size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of the CPU, does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
    )
