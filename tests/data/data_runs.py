"""A run of training at a place in its data, for tests of what it reads from there."""

from __future__ import annotations

import torch

from minitransformers.training import Run, Settings
from minitransformers.training.loop.batches import Batches
from minitransformers.training.loop.run import Progress


def run_at(batches: Batches, epoch: int, batch: int = 0) -> Run:
    """A run that has finished `epoch` epochs, and used `batch` batches of the next."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = Run(model, optimizer, None, batches, Settings(epochs=1_000))
    run.progress = Progress(epoch=epoch, batch=batch)
    return run
