"""Two processes that train as one would: `torchrun --nproc-per-node 2 parallel_training.py DIRECTORY`.

For a decoder with tied weights and an encoder with two heads: whole runs with DDP and with FSDP2; runs that begin with
one and go on with the other; runs that go on from checkpoints of one process, which are in DIRECTORY already.
"""

import errno
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from parallel_runs import HALF, STEPS, build, go, is_tied

from minitransformers.errors import TrainingError
from minitransformers.training import state
from minitransformers.training.distributed import rank


def a_full_disk_on_one_of_them(directory):
    """Both stop with an error, and neither waits for the other; the checkpoint before is as it was."""
    go(build("gpt2", "ddp"), directory, HALF)
    write_json = state.write_json

    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    if rank() == 1:
        state.write_json = full
    try:
        go(build("gpt2", "ddp"), directory, STEPS)
    except TrainingError as error:
        assert "No space left" in str(error)  # noqa: PT017
    else:
        raise AssertionError("the disk was full, and nobody noticed")
    state.write_json = write_json
    dist.barrier()
    assert [path.name for path in directory.glob("*checkpoint*")] == [f"checkpoint-{HALF}"]
    go(build("gpt2", "ddp"), directory, STEPS)


def main():
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    for family in ("gpt2", "bert"):
        for kind, other in (("ddp", "fsdp"), ("fsdp", "ddp")):
            go(build(family, kind), directory / f"{family}-{kind}", STEPS)
            go(build(family, kind), directory / f"{family}-{kind}-half", HALF)
            go(build(family, kind), directory / f"{family}-{kind}-{other}", HALF)
            model = build(family, other)
            go(model, directory / f"{family}-{kind}-{other}", STEPS)
            assert is_tied(model)
            assert all(isinstance(weight, DTensor) == (other == "fsdp") for weight in model.parameters())
            go(build(family, kind), directory / f"{family}-alone-{kind}", STEPS)
    a_full_disk_on_one_of_them(directory / "gpt2-full-disk")


main()
