"""The Trainer's methods about the optimizer and the schedule."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from minitransformers.errors import InputError
from minitransformers.training.loop.optimizers import decay_parameter_names, optimizer_class, parameter_groups
from minitransformers.training.loop.schedules import get_scheduler
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.parts import Parts


class TrainerOptimization(Parts):
    """The optimizer, its parameter groups, and the schedule of its learning rate."""

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Create the optimizer and the schedule, unless they were passed."""
        self.create_optimizer()
        self.create_scheduler(num_training_steps, self.optimizer)

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The optimizer that was passed, or that of the arguments, for the Trainer's model or another."""
        if self.optimizer is None:
            model = self.model if model is None else model
            groups = parameter_groups(model, self.args.weight_decay, set(self.get_decay_parameter_names(model)))
            kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = kind(groups, **options)
        optimizer: Optimizer = self.optimizer
        return optimizer

    @staticmethod
    def get_optimizer_cls_and_kwargs(
        args: TrainingArguments, model: nn.Module | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The class of the optimizer that the arguments name, and its arguments besides the parameters."""
        return optimizer_class(
            args.optim,
            learning_rate=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            optim_args=args.optim_args,
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """The schedule that was passed, or that of the arguments."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer or self.create_optimizer()
            if any(group["lr"] is None for group in optimizer.param_groups):
                raise InputError("The optimizer has lr=None: pass AdafactorSchedule(optimizer) with it, in optimizers.")
            warmup = self.args.get_warmup_steps(num_training_steps)
            options: Any = self.args.lr_scheduler_kwargs
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type, optimizer, warmup, num_training_steps, options
            )
            self._own_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The names of the parameters with weight decay."""
        return sorted(decay_parameter_names(model))

    # ---- what callbacks and scripts read -----------------------------------------------------------------------------

    def get_num_trainable_parameters(self) -> int:
        """The number of parameters that require a gradient."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def get_learning_rates(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [group["lr"] for group in self._made_optimizer().param_groups]

    def get_optimizer_group(self, param: Any = None) -> Any:
        """The group of the optimizer that has a parameter; without one, the lists of the parameters of all groups."""
        groups = self._made_optimizer().param_groups
        for group in groups:
            if param is not None and any(each is param for each in group["params"]):
                return group
        return [group["params"] for group in groups]

    def _get_learning_rate(self) -> float:
        """The learning rate of the last step."""
        if isinstance(self.lr_scheduler, ReduceLROnPlateau) or self.lr_scheduler is None:
            return float(self._made_optimizer().param_groups[0]["lr"])
        return float(self.lr_scheduler.get_last_lr()[0])

    def _made_optimizer(self) -> Optimizer:
        if self.optimizer is None:
            raise InputError("There is no optimizer yet: call create_optimizer() first, or train().")
        optimizer: Optimizer = self.optimizer
        return optimizer
