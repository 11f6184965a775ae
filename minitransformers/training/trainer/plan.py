"""Plan: the length of a run of the Trainer."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from minitransformers.errors import InputError
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.data_loaders import has_length


@dataclass(frozen=True)
class Plan:
    """The steps, epochs, batches and samples of a run."""

    max_steps: int
    num_epochs: int
    batches_per_epoch: int
    num_samples: float | int

    @classmethod
    def of(cls, args: TrainingArguments, loader: Any, num_examples: int, samples_per_step: int) -> Plan:
        """The plan of the arguments for that data.

        Raises:
            InputError: the data has not even one batch.
        """
        if not has_length(loader):
            steps = args.max_steps
            return cls(steps, sys.maxsize, steps * args.gradient_accumulation_steps, steps * samples_per_step)
        batches = len(loader)
        if not batches:
            raise InputError(
                f"The training data has {num_examples} examples, fewer than one batch of {args.train_batch_size}, and "
                f"dataloader_drop_last=True drops that."
            )
        steps_per_epoch = -(-batches // args.gradient_accumulation_steps)
        if args.max_steps > 0:
            epochs, samples = -(-args.max_steps // steps_per_epoch), float(args.max_steps * samples_per_step)
            return cls(args.max_steps, epochs, batches, samples)
        steps = math.ceil(args.num_train_epochs * steps_per_epoch)
        return cls(steps, math.ceil(args.num_train_epochs), batches, num_examples * args.num_train_epochs)
