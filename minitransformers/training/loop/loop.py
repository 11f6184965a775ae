"""The training loop: all of masked or causal language-model training, top to bottom.

    optimizer = AdamW(model.parameters(), lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=100, num_training_steps=1000)
    train(model, optimizer, schedule, batches, Settings(steps=1000, output_dir="run", save_every=100))

Under `torchrun`, with `model = parallelize(model)` before the optimizer, it trains on several processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from minitransformers.errors import TrainingError
from minitransformers.training.loop.batches import Batch, Batches, sizes, to_device
from minitransformers.training.loop.distributed import clip_gradients, shared_gradients, sum_over_ranks, world_size
from minitransformers.training.loop.evaluation import evaluate as measure
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.objective import Counts, count_labels, share_of_loss
from minitransformers.training.loop.precision import autocast
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.settings import Settings
from minitransformers.training.loop.state import resume, save_checkpoint


def train(
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    batches: Iterable[Batch],
    settings: Settings,
    *,
    validation: Iterable[Batch] | None = None,
    loss: Callable[[nn.Module, Batch, Counts], Tensor] = share_of_loss,
    evaluate: Callable[[nn.Module, Iterable[Batch], Settings], Mapping[str, float]] = measure,
    hooks: Sequence[Hooks] = (),
    loggers: Sequence[Callable[[dict[str, Any]], None]] = (),
) -> Run:
    """Train `model` in place, and give the finished run, whose `progress` and `history` tell how it went.

    Args:
        model: called as model(**batch), gives an output with a loss. Where it is on, training happens.
        batches: a DataLoader, or anything that can be iterated once an epoch and gives dictionaries of tensors.
        validation: what `evaluate` measures the model on. A ReduceLROnPlateau is stepped with its `Settings.metric`.
        loss: of a micro-batch, its share in the mean over the whole batch; see `share_of_loss`.
        hooks: objects that are told of each event, and may ask for an evaluation, a checkpoint, or the end.
        loggers: called with each record, a dictionary of numbers; see `Logger` for going on from a checkpoint.

    Raises:
        InputError: settings or data that nothing can be trained with.
        CheckpointError: `output_dir` is that of another run, or none of its checkpoints can be read.
        TrainingError: the loss is not finite, and `on_nan` is "stop".
    """
    run = Run(model, optimizer, schedule, Batches(batches), settings, hooks, loggers, validation)
    scaler, progress, device = run.scaler, run.progress, run.device
    resume(run)
    run.call("on_train_begin")
    while not run.is_finished or (progress.batch and not progress.left_epoch):
        run.call("on_epoch_begin")
        for micro_batches in run.batches.epoch(run):
            if run.is_finished:
                break
            run.call("on_step_begin")
            model.train()
            # A mean over the labels of the whole batch: each micro-batch must know how many those are, on all ranks.
            counts = sum_over_ranks([count_labels(model, batch) for batch in micro_batches], device)
            parts: list[Tensor] = []
            for number, batch in enumerate(micro_batches, 1):
                with shared_gradients(model, now=number == len(micro_batches)):
                    with autocast(settings.precision, device):
                        part = loss(model, to_device(batch, device), counts)
                    # Ranks' gradients are averaged, but parts are to be added up.
                    scaler.scale(part * world_size()).backward()  # type: ignore[no-untyped-call]
                parts.append(part.detach())
                if number < len(micro_batches):
                    run.call("on_substep_end")
            sums = sum_over_ranks([{"loss": float(sum(parts)), **sizes(micro_batches)}], device)
            learning_rate, grad_norm = optimizer.param_groups[0]["lr"], math.nan
            if math.isfinite(sums["loss"]):
                scaler.unscale_(optimizer)
                grad_norm = clip_gradients(model, settings.max_grad_norm)
                run.call("on_pre_optimizer_step")
                scale = scaler.get_scale()
                scaler.step(optimizer)  # unless half precision overflowed: then only the scale goes down
                scaler.update()
                run.call("on_optimizer_step")
                if scaler.get_scale() >= scale:
                    run.step_schedule()
            elif settings.on_nan == "stop":
                raise TrainingError(run.explain_nan(sums["loss"]))
            optimizer.zero_grad()
            run.advance(len(micro_batches), **sums, grad_norm=grad_norm, learning_rate=learning_rate)
            run.call("on_step_end")
            _do_what_is_due(run, evaluate)
        else:
            run.next_epoch()
        progress.left_epoch = progress.batch > 0  # the run ends in its middle
        run.call("on_epoch_end")
        _do_what_is_due(run, evaluate)
    run.call("on_train_end")
    return run


def _do_what_is_due(run: Run, evaluate: Callable[..., Mapping[str, float]]) -> None:
    """Log, evaluate and save, where the settings or a hook ask for it."""
    if run.takes("log"):
        run.log_step()
    if run.takes("evaluate") and run.validation is not None:
        metrics = evaluate(run.model, run.validation, run.settings)
        run.log({f"eval_{name}": value for name, value in metrics.items()})
        run.call("on_evaluate", metrics)
        run.compare(metrics)
    if run.takes("save"):
        run.call("on_save", save_checkpoint(run))
