"""ProcessArguments: what `TrainingArguments` say of this process, its device, and the other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

from minitransformers.training.loop.distributed import default_device, local_rank, rank, wait_for_all, world_size
from minitransformers.training.trainer.strategies import ParallelMode


class ProcessArguments:
    """Derived values about devices and processes."""

    use_cpu: bool
    bf16: bool
    fp16: bool
    activation_checkpointing: bool | None
    ddp_find_unused_parameters: bool | None
    ddp_bucket_cap_mb: int | None
    ddp_broadcast_buffers: bool | None
    ddp_static_graph: bool | None
    ddp_timeout: int
    fsdp: Any
    fsdp_config: Any
    log_on_each_node: bool

    @property
    def precision(self) -> str:
        """The precision of matrix products: "bf16", "fp16" or "fp32"."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"

    @property
    def device(self) -> torch.device:
        """The device: a GPU if there is one, unless `use_cpu`."""
        return torch.device("cpu") if self.use_cpu else default_device()

    @property
    def world_size(self) -> int:
        """The number of processes that train together."""
        return world_size()

    @property
    def n_gpu(self) -> int:
        """The number of devices that this process uses: 1, or 0 for the CPU. More need `torchrun`."""
        return 0 if self.device.type == "cpu" else 1

    @property
    def parallel_mode(self) -> ParallelMode:
        """Whether the run has several processes."""
        return ParallelMode.DISTRIBUTED if world_size() > 1 else ParallelMode.NOT_PARALLEL

    @property
    def mixed_precision(self) -> str:
        """`precision`, with "no" for float32, as accelerate names it."""
        return "no" if self.precision == "fp32" else self.precision

    @property
    def place_model_on_device(self) -> bool | None:
        """Whether the `Trainer` moves the model; None for its own choice. A subclass may override it."""
        return None

    @property
    def ddp_timeout_delta(self) -> timedelta:
        """`ddp_timeout` as a timedelta."""
        return timedelta(seconds=self.ddp_timeout)

    @property
    def process_index(self) -> int:
        """The number of this process, from 0."""
        return rank()

    @property
    def local_process_index(self) -> int:
        """The number of this process on its machine, from 0."""
        return local_rank()

    @contextmanager
    def main_process_first(self, local: bool = True, desc: str = "work") -> Iterator[None]:
        """Let the first process run the block before the others, which can then read the files that it has cached.

        Args:
            local: the first process of each machine; False for the first of all, on machines that share their files.
            desc: a description of the work; has no effect.
        """
        goes_first = (local_rank() if local else rank()) == 0
        if not goes_first:
            wait_for_all()
        try:
            yield
        finally:
            if goes_first:
                wait_for_all()

    @property
    def parallel_options(self) -> dict[str, Any]:
        """The arguments of `parallelize`."""
        if self.fsdp:
            config: Any = self.fsdp_config
            return {"kind": "fsdp", "reshard_after_forward": config.get("reshard_after_forward", True)}
        find = self.ddp_find_unused_parameters
        options = {
            "find_unused_parameters": not self.activation_checkpointing if find is None else find,
            "bucket_cap_mb": self.ddp_bucket_cap_mb,
            "broadcast_buffers": self.ddp_broadcast_buffers,
            "static_graph": self.ddp_static_graph,
        }
        return {name: value for name, value in options.items() if value is not None}

    @property
    def should_save(self) -> bool:
        """Whether this process writes files."""
        return rank() == 0

    @property
    def should_log(self) -> bool:
        """Whether this process prints."""
        return (local_rank() if self.log_on_each_node else rank()) == 0
