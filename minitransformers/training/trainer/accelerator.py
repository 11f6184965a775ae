"""Accelerator: the attribute `Trainer.accelerator`, with the parts of `accelerate.Accelerator` that scripts use.

    class MyTrainer(Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            …
            self.accelerator.backward(loss)
            return loss.detach()

It holds no state of its own besides the scaler of the loss for fp16: the devices, the processes and the precision are
those of the `TrainingArguments`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from minitransformers.training.loop.batches import to_device
from minitransformers.training.loop.distributed import (
    clip_gradients,
    full_weights,
    gradient_sync,
    is_distributed,
    is_sharded,
    local_rank,
    parallelize,
    rank,
    unwrap,
    wait_for_all,
    world_size,
)
from minitransformers.training.loop.precision import autocast
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.data_loaders import share_batches


class Accelerator:
    """Devices, processes and precision of a run, under the names of `accelerate`.

    Attributes:
        scaler: scales the loss for fp16, during a run; None before.
        gradient_accumulation_steps: 1, because the `Trainer` divides losses itself, as that of `transformers` does.
        sync_gradients: whether gradients are averaged over the processes after the current batch.
    """

    def __init__(self, args: TrainingArguments) -> None:
        self.args = args
        self.scaler: torch.amp.GradScaler | None = None
        self.gradient_accumulation_steps = 1
        self.sync_gradients = True

    # ---- processes ---------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.args.device

    @property
    def num_processes(self) -> int:
        """The number of processes that train together."""
        return world_size()

    @property
    def process_index(self) -> int:
        """The number of this process, from 0."""
        return rank()

    @property
    def local_process_index(self) -> int:
        """The number of this process on its machine, from 0."""
        return local_rank()

    @property
    def is_main_process(self) -> bool:
        """Whether this is the first process."""
        return rank() == 0

    @property
    def is_local_main_process(self) -> bool:
        """Whether this is the first process of its machine."""
        return local_rank() == 0

    @property
    def is_last_process(self) -> bool:
        """Whether this is the last process."""
        return rank() == world_size() - 1

    @property
    def use_distributed(self) -> bool:
        """Whether there are several processes."""
        return world_size() > 1

    @property
    def mixed_precision(self) -> str:
        """The precision of matrix products: "no", "bf16" or "fp16"."""
        return self.args.mixed_precision

    def wait_for_everyone(self) -> None:
        """Return when all processes have called this method."""
        wait_for_all()

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Let the first process run the block before the others."""
        with self.args.main_process_first(local=False):
            yield

    @contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """Let the first process of each machine run the block before the others."""
        with self.args.main_process_first():
            yield

    def print(self, *values: Any, **options: Any) -> None:
        """`print`, by the first process of each machine."""
        if self.is_local_main_process:
            print(*values, **options)

    # ---- training ----------------------------------------------------------------------------------------------------

    def prepare(self, *objects: Any, device_placement: Any = None) -> Any:
        """The objects for this process: models on its device, wrapped if there are several processes, and loaders that
        read its own share of the batches. Other objects, such as optimizers, are returned as they are.

        Args:
            objects: models, DataLoaders, optimizers, schedules.
            device_placement: has no effect.
        """
        prepared = tuple(self._prepare(each) for each in objects)
        return prepared if len(prepared) > 1 else prepared[0]

    def prepare_model(self, model: nn.Module, device_placement: Any = None, evaluation_mode: bool = False) -> nn.Module:
        """The model on the device; for training, wrapped if there are several processes."""
        return model.to(self.device) if evaluation_mode else self._prepare(model)

    def prepare_data_loader(self, data_loader: DataLoader[Any], **_: Any) -> DataLoader[Any]:
        """A loader of this process's share of the batches."""
        return share_batches(data_loader, self.args)

    def prepare_optimizer(self, optimizer: Any, **_: Any) -> Any:
        """The optimizer."""
        return optimizer

    def prepare_scheduler(self, scheduler: Any) -> Any:
        """The schedule."""
        return scheduler

    def _prepare(self, value: Any) -> Any:
        if isinstance(value, DataLoader):
            return share_batches(value, self.args)
        if isinstance(value, nn.Module) and value is unwrap(value) and not is_sharded(value):
            return parallelize(value, device=self.device, **self.args.parallel_options)
        return value

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Add the gradients of `loss`, scaled for fp16. They are averaged over the processes.

        Args:
            loss: one number.
            options: of `Tensor.backward`, such as `retain_graph`.
        """
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward(**options)  # type: ignore[no-untyped-call]

    def autocast(self, *_: Any, **__: Any) -> AbstractContextManager[None]:
        """Compute matrix products of the block in the precision of the arguments."""
        return autocast(self.args.precision, self.device)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Do not average the gradients of the block's backward passes over the processes."""
        return gradient_sync(model, enabled=False)

    def clip_grad_norm_(self, parameters: Any, max_norm: float | int, norm_type: float | int = 2) -> Tensor:
        """Scale the gradients down to a norm of `max_norm` if it is larger; returns the norm before that."""
        if isinstance(parameters, nn.Module):
            return torch.tensor(clip_gradients(parameters, max_norm))
        return nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)

    def unwrap_model(self, model: nn.Module, keep_fp32_wrapper: bool = True, keep_torch_compile: bool = False) -> Any:
        """The model inside the wrappers for several processes and for compilation; the options have no effect."""
        return unwrap(model)

    def get_state_dict(self, model: nn.Module, unwrap: bool = True) -> dict[str, Any]:
        """All weights by name; of a sharded model, on the CPU of the first process."""
        return full_weights(model) if is_sharded(model) else self.unwrap_model(model).state_dict()

    # ---- tensors of all processes ------------------------------------------------------------------------------------

    def gather(self, tensor: Any) -> Any:
        """The tensors of all processes, which have the same shape, joined in their first dimension.

        Dictionaries, lists and tuples of tensors are gathered one by one; single numbers become vectors.
        """
        if isinstance(tensor, dict):
            return type(tensor)({name: self.gather(each) for name, each in tensor.items()})
        if isinstance(tensor, list | tuple):
            return type(tensor)(self.gather(each) for each in tensor)
        if not is_distributed():
            return tensor
        own = tensor[None] if tensor.ndim == 0 else tensor.contiguous()
        parts = [torch.empty_like(own) for _ in range(world_size())]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    def gather_for_metrics(self, input_data: Any, use_gather_object: bool = False) -> Any:
        """`gather`, or for objects that are no tensors, the list of the objects of all processes."""
        if not use_gather_object:
            return self.gather(input_data)
        if not is_distributed():
            return input_data
        objects: list[Any] = [None] * world_size()
        dist.all_gather_object(objects, input_data)
        return [each for part in objects for each in part] if isinstance(input_data, list) else objects

    def reduce(self, tensor: Tensor, reduction: str = "sum", scale: float | int = 1.0) -> Tensor:
        """The sum of the tensors of all processes, or with reduction="mean" their mean, times `scale`."""
        total = tensor.clone()
        if is_distributed():
            dist.all_reduce(total)
        return total * (scale / world_size() if reduction == "mean" else scale)

    def pad_across_processes(self, tensor: Any, dim: int = 0, pad_index: int = 0, pad_first: bool = False) -> Any:
        """The tensor, padded in dimension `dim` to the longest of all processes."""
        if isinstance(tensor, list | tuple):
            return type(tensor)(self.pad_across_processes(each, dim, pad_index, pad_first) for each in tensor)
        if not is_distributed() or not isinstance(tensor, Tensor) or dim >= tensor.ndim:
            return tensor
        longest = int(self.gather(torch.tensor([tensor.shape[dim]], device=tensor.device)).max())
        missing = longest - tensor.shape[dim]
        pad = [0, 0] * (tensor.ndim - dim - 1) + ([missing, 0] if pad_first else [0, missing])
        return F.pad(tensor, pad, value=pad_index)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def save(self, obj: Any, f: str | os.PathLike[str], safe_serialization: bool = False) -> None:
        """Write an object to a file, on the first process: with `torch.save`, or tensors by name as safetensors."""
        if not self.is_main_process:
            return
        if safe_serialization:
            from safetensors.torch import save_file

            save_file({name: tensor.contiguous() for name, tensor in obj.items()}, str(f), metadata={"format": "pt"})
        else:
            torch.save(obj, Path(f))

    def to_device(self, batch: Any) -> Any:
        """The batch with its tensors on the device."""
        return to_device(batch, self.device)

    def free_memory(self, *objects: Any) -> tuple[None, ...]:
        """Release unused memory of the device; returns None for each object, to be assigned to its name."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return (None,) * len(objects)

    clear = free_memory

    def end_training(self) -> None:
        """Leave the process group, at the very end of a script."""
        if is_distributed():
            dist.destroy_process_group()
