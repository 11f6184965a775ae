"""tune: some epochs of training, and the weights of the best one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.training import Hooks, Run, Settings, train
from minitransformers.training.loop.optimizers import parameter_groups
from minitransformers.training.loop.schedules import get_linear_schedule_with_warmup

Row = dict[str, Any]
Batch = dict[str, Tensor]


class Batches:
    """The rows in batches, in another order in each epoch; rows of one batch have about the same length.

    Args:
        rows: with `input_ids`.
        collate: makes a batch of a list of rows.
        size: rows in a batch.
        seed: of the order.
    """

    def __init__(self, rows: Sequence[Row], collate: Callable[[list[Row]], Any], size: int, seed: int = 0) -> None:
        self.rows, self.collate, self.size, self._random = rows, collate, size, random.Random(seed)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        shuffled = self._random.sample(self.rows, len(self.rows))
        many = self.size * 16  # sorted by length, so that there is little padding
        chunks = (shuffled[start : start + many] for start in range(0, len(shuffled), many))
        ordered = [row for chunk in chunks for row in sorted(chunk, key=lambda row: len(row["input_ids"]))]
        batches = [ordered[start : start + self.size] for start in range(0, len(ordered), self.size)]
        self._random.shuffle(batches)
        for batch in batches:
            yield dict(self.collate(batch))


def tune(
    model: PreTrainedModel,
    rows: Sequence[Row],
    collate: Callable[[list[Row]], Any],
    *,
    epochs: int = 3,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    seed: int = 0,
    score: Callable[[PreTrainedModel], float] | None = None,
    report: Callable[[str], None] | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Train the model's trainable parameters in place, and leave those of the best epoch in it.

    AdamW with weight decay 0.01; the rate rises over the first tenth of the steps and falls to 0 in a straight line
    (Devlin et al., 2018, appendix A.3).

    Args:
        model: with frozen parameters where they are not to be trained (`choose_parameters`).
        rows: examples, with `input_ids` and labels.
        collate: makes a batch of a list of rows.
        seed: of order and dropout.
        score: measures the model on validation data after each epoch, more being better; without it, the last epoch
            counts.
        report: gets a line of text after each epoch.
        show_progress: whether to show a bar.

    Returns:
        `seconds` of the training steps alone, `losses` and `scores` of the epochs, and `best_epoch`, from 1.

    Raises:
        InputError: no rows, or nothing to train.
    """
    if not rows:
        raise InputError("There are no rows to train on.")
    check_count("epochs", epochs, least=1)
    check_count("batch_size", batch_size, least=1)
    groups = parameter_groups(model, weight_decay=0.01)
    if not any(group["params"] for group in groups):
        raise InputError(f"All parameters of {type(model).__name__} are frozen: there is nothing to train.")
    torch.manual_seed(seed)
    batches = Batches(rows, collate, batch_size, seed)
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    steps = epochs * len(batches)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=steps // 10, num_training_steps=steps)
    best = _BestEpoch(score, report)
    settings = Settings(epochs=epochs, log_every=1, show_progress=show_progress)
    train(model, optimizer, schedule, batches, settings, hooks=[best])
    model.eval()
    return best.restore(model)


class _BestEpoch(Hooks):
    """Measures the model after each epoch, and keeps the trained parameters of the best."""

    def __init__(self, score: Callable[[PreTrainedModel], float] | None, report: Callable[[str], None] | None) -> None:
        self.score, self.report = score, report
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.seconds = 0.0
        self.kept: dict[str, Tensor] = {}
        self.best_epoch = 0

    def on_epoch_begin(self, run: Run) -> None:
        """Start the clock."""
        self._started, self._sum, self._steps = time.perf_counter(), 0.0, 0

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """Add up the loss of the step."""
        self._sum, self._steps = self._sum + record["loss"], self._steps + 1

    def on_epoch_end(self, run: Run) -> None:
        """Measure; keep the weights if they are the best."""
        self.seconds += time.perf_counter() - self._started
        self.losses.append(self._sum / max(1, self._steps))
        line = f"epoch {len(self.losses)}: loss {self.losses[-1]:.3f}"
        if self.score is not None:
            run.model.eval()
            self.scores.append(self.score(run.model))  # type: ignore[arg-type]
            line += f", on validation {self.scores[-1]:.3f}"
            if self.scores[-1] > max(self.scores[:-1], default=float("-inf")):
                self.best_epoch = len(self.scores)
                trained = (pair for pair in run.model.named_parameters() if pair[1].requires_grad)
                self.kept = {name: parameter.detach().clone() for name, parameter in trained}
        if self.report is not None:
            self.report(f"{line}, {self.seconds:.0f} s")

    def restore(self, model: PreTrainedModel) -> dict[str, Any]:
        """Put the best epoch's weights back, and return the figures."""
        with torch.no_grad():
            for name, value in self.kept.items():
                model.get_parameter(name).copy_(value)
        return {
            "seconds": self.seconds,
            "losses": self.losses,
            "scores": self.scores,
            "best_epoch": self.best_epoch or len(self.losses),
        }
