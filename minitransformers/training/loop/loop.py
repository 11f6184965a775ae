"""The training loop: all of masked or causal language-model training, top to bottom.

    optimizer = AdamW(model.parameters(), lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=100, num_training_steps=1000)
    train(model, optimizer, schedule, batches, Settings(steps=1000, output_dir="run", save_every=100))

Under `torchrun`, with `model = parallelize(model)` before the optimizer, it trains on several processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from minitransformers.errors import TrainingError
from minitransformers.training.loop.background_saving import BackgroundSaving
from minitransformers.training.loop.batches import Batch, Batches, sizes, to_device
from minitransformers.training.loop.checkpoints import owning_output_dir, resume, save_checkpoint
from minitransformers.training.loop.distributed import clip_gradients, gradient_sync, rank, sum_over_ranks, world_size
from minitransformers.training.loop.evaluation import check_evaluations, evaluate as default_evaluate
from minitransformers.training.loop.hooks import Hooks, call_hooks
from minitransformers.training.loop.objective import Counts, count_labels, normalized_loss
from minitransformers.training.loop.precision import autocast
from minitransformers.training.loop.progress_bar import ProgressBar
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.settings import Settings
from minitransformers.training.loop.termination import Termination

Logger = Callable[[dict[str, Any]], None]


def train(
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    batches: Iterable[Batch] | Batches,
    settings: Settings,
    *,
    validation: Iterable[Batch] | None = None,
    loss: Callable[[nn.Module, Batch, Counts], Tensor] = normalized_loss,
    evaluate: Callable[[nn.Module, Iterable[Batch], Settings], Mapping[str, float]] = default_evaluate,
    hooks: Sequence[Hooks] = (),
    loggers: Sequence[Logger] = (),
    micro_step: Callable[[Run, Batch, Counts], Tensor] | None = None,
    report: Callable[[Run], None] | None = None,
) -> Run:
    """Train `model` in place, and return the finished run with its `progress` and `history`.

    Args:
        model: called as model(**batch), returns an output with a loss. Training happens on the device it is on.
        batches: a DataLoader, or any iterable that yields the dictionaries of tensors of one epoch each time.
        validation: the batches for `evaluate`. A ReduceLROnPlateau is stepped with their `Settings.metric`.
        loss: the part of a micro-batch in the mean loss over the whole batch; see `normalized_loss`.
        hooks: objects whose methods are called at each event, and which may request an evaluation, a checkpoint, or the
            end of the run.
        loggers: called with each record, a dictionary of numbers; see `Logger` for resuming from a checkpoint.
        micro_step: in place of `loss`, the forward and backward pass of a micro-batch; returns its part of the loss.
        report: in place of `evaluate` and `loggers`, called after each step and epoch to log, evaluate and save.

    Raises:
        InputError: settings or data that cannot be used for training.
        CheckpointError: `output_dir` belongs to another run or is in use, or none of its checkpoints can be read.
        TrainingError: the loss or the gradient is not finite, and `on_nan` is "stop".
        SystemExit: with status 0, after SIGTERM and a checkpoint, if there is an `output_dir`.
    """
    if report is None:
        check_evaluations(settings, schedule, validation, has_hooks=bool(hooks))
    data = batches if isinstance(batches, Batches) else Batches(batches)
    run = Run(model, optimizer, schedule, data, settings, validation)
    progress = run.progress
    micro_step = micro_step or partial(_forward_backward, loss)
    saving = BackgroundSaving()
    report = report or partial(_log_evaluate_save, hooks, loggers, evaluate, saving)
    if settings.show_progress and rank() == 0:
        hooks = [*hooks, ProgressBar()]
    # Under SIGTERM, the run ends with a checkpoint. Two runs cannot write into the same directory.
    with Termination(enabled=settings.is_guarded) as termination, owning_output_dir(settings), saving:
        resume(run, hooks, loggers)
        call_hooks(hooks, "on_train_begin", run)
        if progress.owes_evaluation:  # an earlier process was ended before it
            run.should_evaluate, progress.owes_evaluation = True, False
            report(run)
        _train_epochs(run, hooks, micro_step, report, termination)
        saving.finish()
        call_hooks(hooks, "on_train_end", run)
    return run


def _train_epochs(
    run: Run,
    hooks: Sequence[Hooks],
    micro_step: Callable[[Run, Batch, Counts], Tensor],
    report: Callable[[Run], None],
    termination: Termination,
) -> None:
    """All steps that are left."""
    model, optimizer, settings, scaler = run.model, run.optimizer, run.settings, run.scaler
    progress, device = run.progress, run.device
    while not run.is_finished or (progress.batch and not progress.left_epoch):
        call_hooks(hooks, "on_epoch_begin", run)
        model.train()
        for micro_batches in run.batches.epoch(progress, settings):
            if run.is_finished:
                break
            call_hooks(hooks, "on_step_begin", run)
            if not model.training:
                model.train()
            # The loss is a mean over the labels of the whole batch: each micro-batch needs their number on all ranks.
            counts = sum_over_ranks([count_labels(model, batch) for batch in micro_batches], device)
            parts: list[Tensor] = []
            for number, batch in enumerate(micro_batches, 1):
                with gradient_sync(model, enabled=number == len(micro_batches)):
                    parts.append(micro_step(run, batch, counts))
                if number < len(micro_batches):
                    call_hooks(hooks, "on_substep_end", run)
            own = {"loss": float(sum(parts)), **sizes(micro_batches), "ended": termination.is_requested}
            sums = sum_over_ranks([own], device)
            is_ended = sums.pop("ended") > 0  # by a signal to any rank
            termination.is_requested |= is_ended
            learning_rate, grad_norm = optimizer.param_groups[0]["lr"], math.nan
            if math.isfinite(sums["loss"]):
                scaler.unscale_(optimizer)
                grad_norm = clip_gradients(model, settings.max_grad_norm)
            is_skipped = not (math.isfinite(sums["loss"]) and (math.isfinite(grad_norm) or run.scaler_may_help))
            if not is_skipped:
                call_hooks(hooks, "on_pre_optimizer_step", run)
                scale = scaler.get_scale()
                scaler.step(optimizer)  # skipped if a half-precision gradient overflowed: then only the scale decreases
                scaler.update()
                call_hooks(hooks, "on_optimizer_step", run)
                if scaler.get_scale() >= scale:
                    run.step_schedule()
            elif settings.on_nan == "stop":
                raise TrainingError(run.explain_nan(len(micro_batches), sums["loss"], grad_norm))
            else:
                run.skip(len(micro_batches), sums["loss"], grad_norm)
                if math.isfinite(sums["loss"]):
                    scaler.update()
            optimizer.zero_grad()
            run.advance(
                len(micro_batches), **sums, grad_norm=grad_norm, learning_rate=learning_rate, is_skipped=is_skipped
            )
            call_hooks(hooks, "on_step_end", run)
            if is_ended:
                _save_and_exit(run, hooks, report)
            report(run)
        else:
            run.next_epoch()
        progress.left_epoch = progress.batch > 0  # the run ends in the middle of the epoch
        call_hooks(hooks, "on_epoch_end", run)
        report(run)


def _save_and_exit(run: Run, hooks: Sequence[Hooks], report: Callable[[Run], None]) -> None:
    """After SIGTERM: write a checkpoint, unless the last step was the last of the run.

    An evaluation that is due takes too long now; the process that continues the run makes up for it.
    """
    if run.is_finished:
        return
    run.progress.owes_evaluation = run.should_evaluate
    run.should_evaluate, run.should_save = False, True
    call_hooks(hooks, "on_termination", run)
    report(run)
    raise SystemExit(0)


def _forward_backward(
    loss: Callable[[nn.Module, Batch, Counts], Tensor], run: Run, batch: Batch, counts: Counts
) -> Tensor:
    """Add the gradients of a micro-batch, and return its part of the loss."""
    with autocast(run.settings.precision, run.device):
        part = loss(run.model, to_device(batch, run.device), counts)
    # Gradients are averaged over the ranks, but the parts of the loss must be added.
    run.scaler.scale(part * world_size()).backward()  # type: ignore[no-untyped-call]
    return part.detach()


def _log_evaluate_save(
    hooks: Sequence[Hooks],
    loggers: Sequence[Logger],
    evaluate: Callable[..., Mapping[str, float]],
    saving: BackgroundSaving,
    run: Run,
) -> None:
    """Log, evaluate and save, if the settings or a hook have requested it."""
    if run.pop_due("log"):
        _log(run, hooks, loggers, run.pop_losses())
    if run.pop_due("evaluate") and run.validation is not None:
        metrics = evaluate(run.model, run.validation, run.settings)
        _log(run, hooks, loggers, {f"eval_{name}": value for name, value in metrics.items()})
        call_hooks(hooks, "on_evaluate", run, metrics)
        run.compare(metrics)
    if run.pop_due("save"):
        if run.settings.async_save:
            saving.start(run, hooks)
        else:
            call_hooks(hooks, "on_save", run, save_checkpoint(run, hooks))


def _log(run: Run, hooks: Sequence[Hooks], loggers: Sequence[Logger], values: Mapping[str, Any]) -> None:
    """Pass a record to the hooks, the history, and on the main process the loggers."""
    record = run.with_step(values)
    run.progress.records += 1
    call_hooks(hooks, "on_log", run, record)
    run.history.append(record)
    if rank() == 0:
        for logger in loggers:
            logger(record)
