"""Several processes: PyTorch's own DistributedDataParallel and fully sharded data parallelism (FSDP2).

Run a script with `torchrun --nproc-per-node 2 script.py`; in it, put `model = parallelize(model)` before the optimizer
is made, and give each process its own part of the data.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minitransformers.errors import InputError, TrainingError

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
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def default_device() -> torch.device:
    """The process's own CUDA device, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def parallelize(
    model: nn.Module, kind: str = "ddp", *, device: torch.device | str | None = None, **options: Any
) -> nn.Module:
    """The model, ready to be trained by all processes that `torchrun` started; under plain `python`, on one device.

    Args:
        model: on the CPU, with the same weights in all processes.
        kind: "ddp" keeps the whole model in each process and averages gradients. "fsdp" cuts weights, gradients and the
            optimizer's state into pieces, one a process, and puts a block's weights together while it is computed
            (Zhao et al., 2023; torch.distributed.fsdp.fully_shard). Do not change its outputs in place
            (`logits += 1`): the backward pass would find weights that are still in pieces.
        device: where to train; by default `default_device()`.
        options: for `DistributedDataParallel`, or for `fully_shard`.

    Raises:
        InputError: another kind.
    """
    if kind not in ("ddp", "fsdp"):
        raise InputError(f"kind={kind!r} must be 'ddp' or 'fsdp'.")
    device = torch.device(device) if device is not None else default_device()
    meet(device)
    model.to(device)
    if not is_distributed():
        return model
    for parameter in model.parameters():  # FSDP2 asks for it, DDP is faster so; GPT-2's, read from a file, are not
        parameter.data = parameter.data.contiguous()
    if kind == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, **options)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Outputs of linear layers with a bias are views; nothing here writes to them, and the docstring says so to others.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor", UserWarning)
    options.setdefault("mesh", init_device_mesh(device.type, (world_size(),)))
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, **options)
    # Whatever is in no block: embeddings and heads, tied ones together.
    fully_shard(model, **options)
    return model


def meet(device: torch.device) -> None:
    """Where `torchrun` started this process, let it and the others know each other; once, whoever asks."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not is_distributed() and {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_part)


def _part() -> None:
    """Before the interpreter shuts down, end what `meet` began.

    Gloo's threads let go of a collective's tensors a moment after everyone has the result. A thread for which that is a
    moment too late aborts the whole process ("terminate called without an active exception"), so they are waited for.
    After an error the others may be waiting for this process: it leaves without a word, and torchrun ends them.
    """
    if is_distributed() and not hasattr(sys, "last_value"):
        dist.destroy_process_group()
    time.sleep(1)


def unwrap(model: nn.Module) -> nn.Module:
    """The model that was given to `parallelize` or to `torch.compile`."""
    while isinstance(inner := getattr(model, "_orig_mod", None) or getattr(model, "module", None), nn.Module):
        if type(model).__name__ not in ("DistributedDataParallel", "OptimizedModule", "DataParallel"):
            break
        model = inner
    return model


@contextmanager
def shared_gradients(model: nn.Module, *, now: bool) -> Iterator[None]:
    """Within it, a backward pass averages gradients over the ranks (`now`), or leaves that to a later one."""
    whole: Any = model
    if is_sharded(model):
        whole.set_requires_gradient_sync(now)
        yield
    elif hasattr(model, "no_sync") and not now:  # DistributedDataParallel
        with whole.no_sync():
            yield
    else:
        yield


def clip_gradients(model: nn.Module, max_norm: float | None) -> float:
    """Scale all gradients down to `max_norm` together, where their norm exceeds it; give the norm that they had.

    Pascanu et al. (2013), algorithm 1. Over the pieces on all ranks, where gradients are cut into pieces.
    """
    norm = nn.utils.clip_grad_norm_(model.parameters(), torch.inf if max_norm is None else max_norm)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def sum_over_ranks(numbers: Sequence[Mapping[str, int | float]], device: torch.device) -> dict[str, float]:
    """The sum of dictionaries with the same keys, key by key, over those given and those of all other ranks."""
    sums = {key: float(sum(each[key] for each in numbers)) for key in (numbers[0] if numbers else ())}
    if not is_distributed() or world_size() == 1:
        return sums
    totals = torch.tensor(list(sums.values()), dtype=torch.float64 if device.type != "mps" else None, device=device)
    dist.all_reduce(totals)
    return dict(zip(sums, totals.tolist(), strict=True))


def max_over_ranks(number: int) -> int:
    """The largest of all ranks' numbers."""
    if not is_distributed() or world_size() == 1:
        return number
    numbers: list[int] = [0] * world_size()
    dist.all_gather_object(numbers, number)
    return max(numbers)


def wait_for_all() -> None:
    """Return when all ranks are here."""
    if is_distributed():
        dist.barrier()


def from_main(value: Result) -> Result:
    """The value that rank 0 has."""
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def dealt_to_all(own: list[Result]) -> list[Result]:
    """The items of all ranks, in the order in which they were dealt: the first of each rank, then the second …"""
    if not is_distributed():
        return own
    hands: list[list[Result]] = [[]] * world_size()
    dist.all_gather_object(hands, own)
    return [hand[turn] for turn in range(max(map(len, hands))) for hand in hands if turn < len(hand)]


def all_together(action: Callable[[], Result]) -> Result:
    """Do something on each rank; an error on one is raised on all, so that none waits for ever.

    Raises:
        TrainingError: on ranks that had no error themselves.
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
    """Whether the weights are cut into pieces."""
    return hasattr(model, "set_requires_gradient_sync")


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights of a model that is cut into pieces, by name, tied ones once; on rank 0 and its CPU, else nothing."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    first = {id(tensor): name for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    return {name: whole[name] for name in first.values() if name in whole}  # type: ignore[misc]


@contextmanager
def as_plain(model: nn.Module) -> Iterator[Any]:
    """Within it, the model that was given to `parallelize` has its own class again, whose name goes into config.json.

    (`fully_shard` puts a class of its own before it.)
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
