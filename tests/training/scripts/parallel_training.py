"""Two processes that train like one: `torchrun --nproc-per-node 2 parallel_training.py DIRECTORY`.

For a decoder with tied weights and an encoder with two heads: whole runs with DDP and with FSDP2; runs that start with
one and resume with the other; runs that resume from checkpoints of one process, which DIRECTORY contains; FSDP2 in half
precision.
"""

import errno
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from parallel_runs import HALF, STEPS, build, go, is_tied, own_batches

import minitransformers as mt
from minitransformers.errors import TrainingError
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.training import Hooks, Settings, parallelize, train
from minitransformers.training.loop import checkpoints
from minitransformers.training.loop.distributed import rank


def a_full_disk_on_one_of_them(directory):
    """Both stop with an error, and neither waits for the other; the previous checkpoint is unchanged."""
    go(build("gpt2", "ddp"), directory, HALF)
    write_json = checkpoints.write_json

    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    if rank() == 1:
        checkpoints.write_json = full
    try:
        go(build("gpt2", "ddp"), directory, STEPS)
    except TrainingError as error:
        assert "No space left" in str(error)  # noqa: PT017
    else:
        raise AssertionError("the disk was full, and nobody noticed")
    checkpoints.write_json = write_json
    dist.barrier()
    assert [path.name for path in directory.glob("*checkpoint*")] == [f"checkpoint-{HALF}"]
    go(build("gpt2", "ddp"), directory, STEPS)


class Overflow(Hooks):
    """In the third step one gradient of one process is infinite, as after an overflow in half precision."""

    def on_train_begin(self, run):
        self.unscale, run.scaler.unscale_ = run.scaler.unscale_, lambda optimizer: self.spoil(run, optimizer)

    def spoil(self, run, optimizer):
        if run.progress.step == 2 and rank() == 1:
            gradient = optimizer.param_groups[0]["params"][0].grad.to_local()
            gradient.view(-1)[0] = math.inf
        self.before = [weight.to_local().clone() for weight in run.model.parameters()]
        self.unscale(optimizer)

    def on_optimizer_step(self, run):
        is_left = all(
            weight.to_local().equal(before) for weight, before in zip(run.model.parameters(), self.before, strict=True)
        )
        assert is_left == (run.progress.step == 2), (rank(), run.progress.step)

    def on_step_end(self, run):
        assert run.scaler.get_scale() == (2.0**15 if run.progress.step > 2 else 2.0**16)


def half_precision_in_pieces():
    """A step that overflows on one process is skipped on all, and the result equals that of unsharded training."""
    losses = []
    for kind, hooks in (("ddp", ()), ("fsdp", ()), ("fsdp", [Overflow()])):
        model = build("gpt2", kind)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
        settings = Settings(steps=4, precision="fp16")
        run = train(model, optimizer, None, own_batches("gpt2"), settings, hooks=hooks)
        assert run.scaler.is_enabled()
        losses.append([record["loss"] for record in run.history])
    assert all(abs(one - other) < 1e-2 for one, other in zip(losses[0], losses[1], strict=True)), losses
    assert losses[2][:3] == losses[1][:3]
    assert losses[2][3] != losses[1][3]


SPECIAL = (mt.AlbertForPreTraining, mt.ElectraForPreTraining, mt.BertForQuestionAnswering, mt.ViTForMaskedImageModeling)


class Gradients(Hooks):
    def on_pre_optimizer_step(self, run):
        self.norm = sum(
            float(weight.grad.square().sum()) for weight in run.model.parameters() if weight.grad is not None
        )


def labels_that_do_not_all_count():
    """Loss and gradients of micro-batches of two processes are those of one batch; one process has a batch fewer."""
    for model_class in SPECIAL:
        norms = []
        for kind in (None, "ddp"):
            model = tiny_model(model_class)
            batches = [example_batch(model, rows=2, length=6, padding=padding, seed=padding) for padding in (4, 1, 2)]
            labels = batches[0].get("labels", [*batches[0].values()][-1])
            labels[0].zero_()
            if kind is None:
                whole = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
                loss = model(**whole).loss
                loss.backward()
                norms.append(sum(float(w.grad.square().sum()) for w in model.parameters() if w.grad is not None))
                continue
            model = parallelize(model, kind, device="cpu")
            hook, settings = Gradients(), Settings(steps=1, accumulation=2, max_grad_norm=None)
            own = batches[:2] if rank() == 0 else batches[2:]
            run = train(model, torch.optim.SGD(model.parameters(), lr=0.0), None, own, settings, hooks=[hook])
            norms.append(hook.norm)
            assert run.progress.loss == pytest.approx(float(loss.detach()), rel=1e-6), model_class
        assert norms[0] == pytest.approx(norms[1], rel=1e-6), model_class


def whole_matrices():
    """Adafactor refuses sharded parameters."""
    with pytest.raises(mt.InputError, match="cannot train sharded parameters"):
        mt.Adafactor(build("bert", "fsdp").parameters())


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
    half_precision_in_pieces()
    labels_that_do_not_all_count()
    whole_matrices()
    a_full_disk_on_one_of_them(directory / "gpt2-full-disk")


main()
