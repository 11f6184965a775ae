"""Training on several processes, with PyTorch's DistributedDataParallel or fully sharded data parallelism (FSDP2).

Run a script with `torchrun --standalone --nproc-per-node 2 script.py`; without `--standalone` (or, on several machines,
`--rdzv-backend c10d`), processes that `--max-restarts` starts again often fail to meet. In the script, call
`model = parallelize(model)` before the optimizer is created, and give each process its own part of the data.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minitransformers.configs.checks import check_choice
from minitransformers.errors import TrainingError

Result = TypeVar("Result")


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def local_rank() -> int:
    """The number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", rank())) if is_distributed() else 0


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if is_distributed() else 1


def default_device() -> torch.device:
    """The process's own CUDA device, or MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def parallelize(
    model: nn.Module, kind: str = "ddp", *, device: torch.device | str | None = None, **options: Any
) -> nn.Module:
    """The model for training on all processes that `torchrun` started; under plain `python`, on one device.

    Args:
        model: on the CPU, with the same weights in all processes.
        kind: "ddp" keeps the whole model in each process and averages the gradients. "fsdp" shards weights, gradients
            and the optimizer's state over the processes, and gathers the weights of a block while it is computed
            (Zhao et al., 2023; torch.distributed.fsdp.fully_shard). Do not change its outputs in place
            (`logits += 1`): the backward pass would use weights that are still sharded.
        device: the device of this process; by default `default_device()`.
        options: of `DistributedDataParallel`, or of `fully_shard`.

    Raises:
        InputError: an unknown kind.
    """
    check_choice("kind", kind, ("ddp", "fsdp"))
    device = torch.device(device) if device is not None else default_device()
    join_process_group(device)
    model.to(device)
    if not is_distributed():
        return model
    # FSDP2 needs contiguous weights, and DDP is faster with them. GPT-2's, read from a file, are transposed views.
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    if kind == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, **options)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Outputs of linear layers with a bias are views. This library does not write to them; see the docstring.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor", UserWarning)
    options.setdefault("mesh", init_device_mesh(device.type, (world_size(),)))
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, **options)
    # The modules outside the blocks: embeddings and heads, tied ones together.
    fully_shard(model, **options)
    return model


def join_process_group(device: torch.device, backend: str | None = None, timeout: timedelta | None = None) -> None:
    """Connect this process with the others that `torchrun` started; later calls do nothing.

    Args:
        device: of this process.
        backend: of `init_process_group`; by default "nccl" for GPUs, and "gloo" for CPUs.
        timeout: the longest time to wait for the others; by default that of PyTorch.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not is_distributed() and {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        dist.init_process_group(backend or ("nccl" if device.type == "cuda" else "gloo"), timeout=timeout)
        atexit.register(_leave_process_group)


def _leave_process_group() -> None:
    """Destroy the process group before the interpreter shuts down.

    Gloo's threads release the tensors of a collective shortly after everyone has the result. A thread that does so
    during the shutdown aborts the whole process ("terminate called without an active exception"), hence the sleep.
    After an error the others may be waiting for this process: it exits without them, and torchrun ends them.
    """
    if is_distributed() and not hasattr(sys, "last_value"):
        dist.destroy_process_group()
    time.sleep(1)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of `parallelize` and `torch.compile`."""
    while isinstance(inner := getattr(model, "_orig_mod", None) or getattr(model, "module", None), nn.Module):
        if type(model).__name__ not in ("DistributedDataParallel", "OptimizedModule", "DataParallel"):
            break
        model = inner
    return model


@contextmanager
def gradient_sync(model: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Let backward passes average the gradients over the ranks, or, not `enabled`, leave that to a later one."""
    wrapped: Any = model
    if is_sharded(model):
        wrapped.set_requires_gradient_sync(enabled)
        yield
    elif hasattr(model, "no_sync") and not enabled:  # DistributedDataParallel
        with wrapped.no_sync():
            yield
    else:
        yield


def clip_gradients(model: nn.Module, max_norm: float | None) -> float:
    """Scale all gradients down to a joint norm of `max_norm` if it is larger; return the norm before that.

    Pascanu et al. (2013), algorithm 1. The norm of sharded gradients is that of all ranks together.
    """
    norm = nn.utils.clip_grad_norm_(model.parameters(), torch.inf if max_norm is None else max_norm)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def sum_over_ranks(numbers: Sequence[Mapping[str, int | float]], device: torch.device) -> dict[str, float]:
    """The sum, key by key, of the dictionaries of all ranks; all have the same keys."""
    sums = {key: float(sum(each[key] for each in numbers)) for key in (numbers[0] if numbers else ())}
    if not is_distributed() or world_size() == 1:
        return sums
    totals = torch.tensor(list(sums.values()), dtype=torch.float64 if device.type != "mps" else None, device=device)
    dist.all_reduce(totals)
    return dict(zip(sums, totals.tolist(), strict=True))


def collective_device() -> torch.device:
    """A device whose tensors can be summed over the ranks."""
    return torch.device("cuda" if is_distributed() and dist.get_backend() == "nccl" else "cpu")


def max_over_ranks(number: int) -> int:
    """The largest number of all ranks."""
    if not is_distributed() or world_size() == 1:
        return number
    largest = torch.tensor(number, device=collective_device())
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def wait_for_all() -> None:
    """Return when all ranks have called this function."""
    if is_distributed():
        dist.barrier()


def from_main(value: Result) -> Result:
    """The value of rank 0."""
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_interleaved(own: list[Result]) -> list[Result]:
    """The items of all ranks, in turns: the first item of each rank, then the second item of each …"""
    if not is_distributed():
        return own
    lists: list[list[Result]] = [[]] * world_size()
    dist.all_gather_object(lists, own)
    return [items[turn] for turn in range(max(map(len, lists))) for items in lists if turn < len(items)]


def on_all_ranks(action: Callable[[], Result]) -> Result:
    """Call `action` on each rank; an error on one rank is raised on all, because they would wait for it forever.

    Raises:
        TrainingError: on the ranks without an error of their own.
    """
    error: Exception | None = None
    try:
        result = action()
    except Exception as raised:
        error = raised
    if is_distributed():
        errors: list[str | None] = [None] * world_size()
        dist.all_gather_object(errors, None if error is None else f"{type(error).__name__}: {error}")
        other = next((text for text in errors if text is not None), None)
        if error is None and other is not None:
            raise TrainingError(f"Another process failed: {other}")
    if error is not None:
        raise error
    return result


def is_sharded(model: nn.Module) -> bool:
    """Whether the weights are sharded over the processes."""
    return hasattr(model, "set_requires_gradient_sync")


def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights of a sharded model by name, tied ones once, on the CPU of rank 0; empty on other ranks."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    first = {id(tensor): name for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    return {name: full[name] for name in first.values() if name in full}  # type: ignore[misc]


@contextmanager
def with_own_class(model: nn.Module) -> Iterator[Any]:
    """The model inside the wrappers, with its own class for a while; the name of the class goes into config.json.

    (`fully_shard` replaces the class by a subclass.)
    """
    plain: Any = unwrap(model)
    sharded_class = type(plain)
    if is_sharded(plain):
        from torch.distributed.fsdp import FSDPModule

        plain.__class__ = next(each for each in type(plain).__mro__ if not issubclass(each, FSDPModule))
    try:
        yield plain
    finally:
        plain.__class__ = sharded_class
