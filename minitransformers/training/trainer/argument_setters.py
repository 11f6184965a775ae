"""Setters: the methods of `TrainingArguments` that set the fields of one subject together, and return the arguments.

args = TrainingArguments("run").set_training(learning_rate=1e-4, num_epochs=1).set_evaluate("epoch")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from minitransformers.errors import InputError

Arguments = TypeVar("Arguments", bound="Setters")


class Setters:
    """Methods that assign several fields, by the names and with the defaults of `transformers`, and check them."""

    if TYPE_CHECKING:

        def _set(self: Arguments, **fields: Any) -> Arguments: ...

    def set_training(
        self: Arguments,
        learning_rate: float | int = 5e-5,
        batch_size: int = 8,
        weight_decay: float | int = 0,
        num_epochs: float | int = 3,
        max_steps: int = -1,
        gradient_accumulation_steps: int = 1,
        seed: int = 42,
        activation_checkpointing: bool = False,
        gradient_checkpointing: bool | None = None,
    ) -> Arguments:
        """Set the length of the training, its batches and its optimizer; `batch_size` is that of one process."""
        recompute = activation_checkpointing if gradient_checkpointing is None else gradient_checkpointing
        return self._set(
            do_train=True,
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            weight_decay=weight_decay,
            num_train_epochs=num_epochs,
            max_steps=max_steps,
            gradient_accumulation_steps=gradient_accumulation_steps,
            seed=seed,
            activation_checkpointing=recompute,
            gradient_checkpointing=recompute,
        )

    def set_evaluate(
        self: Arguments,
        strategy: str = "no",
        steps: int = 500,
        batch_size: int = 8,
        accumulation_steps: int | None = None,
        delay: float | int | None = None,
        loss_only: bool = False,
    ) -> Arguments:
        """Set when the model is evaluated, and the batches of evaluations."""
        _check_steps(strategy, steps)
        return self._set(
            eval_strategy=strategy,
            do_eval=strategy != "no",
            eval_steps=steps,
            per_device_eval_batch_size=batch_size,
            eval_accumulation_steps=accumulation_steps,
            eval_delay=0 if delay is None else delay,
            prediction_loss_only=loss_only,
        )

    def set_testing(self: Arguments, batch_size: int = 8, loss_only: bool = False) -> Arguments:
        """Set the batches of predictions; they are also those of evaluations."""
        return self._set(do_predict=True, per_device_eval_batch_size=batch_size, prediction_loss_only=loss_only)

    def set_save(
        self: Arguments,
        strategy: str = "steps",
        steps: int = 500,
        total_limit: int | None = None,
        on_each_node: bool = False,
    ) -> Arguments:
        """Set when the model is saved, and how many checkpoints are kept."""
        _check_steps(strategy, steps)
        return self._set(
            save_strategy=strategy, save_steps=steps, save_total_limit=total_limit, save_on_each_node=on_each_node
        )

    def set_logging(
        self: Arguments,
        strategy: str = "steps",
        steps: int = 500,
        report_to: str | list[str] = "none",
        level: str = "passive",
        first_step: bool = False,
        nan_inf_filter: bool = False,
        on_each_node: bool = False,
        replica_level: str = "passive",
    ) -> Arguments:
        """Set when numbers are logged, where to, and which messages are shown."""
        _check_steps(strategy, steps)
        return self._set(
            logging_strategy=strategy,
            logging_steps=steps,
            report_to=report_to,
            log_level=level,
            logging_first_step=first_step,
            logging_nan_inf_filter=nan_inf_filter,
            log_on_each_node=on_each_node,
            log_level_replica=replica_level,
        )

    def set_push_to_hub(
        self: Arguments,
        model_id: str,
        strategy: str = "every_save",
        token: str | None = None,
        private_repo: bool | None = None,
        always_push: bool = False,
        revision: str | None = None,
    ) -> Arguments:
        """Set the repository of a hub that the model is pushed to, and when."""
        return self._set(
            push_to_hub=True,
            hub_model_id=model_id,
            hub_strategy=strategy,
            hub_token=token,
            hub_private_repo=private_repo,
            hub_always_push=always_push,
            hub_revision=revision,
        )

    def set_optimizer(
        self: Arguments,
        name: str = "adamw_torch",
        learning_rate: float | int = 5e-5,
        weight_decay: float | int = 0,
        beta1: float | int = 0.9,
        beta2: float | int = 0.999,
        epsilon: float | int = 1e-8,
        args: str | None = None,
    ) -> Arguments:
        """Set the optimizer; `args` are its further options as text."""
        return self._set(
            optim=name,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            adam_beta1=beta1,
            adam_beta2=beta2,
            adam_epsilon=epsilon,
            optim_args=args,
        )

    def set_lr_scheduler(
        self: Arguments,
        name: str = "linear",
        num_epochs: float | int = 3.0,
        max_steps: int = -1,
        warmup_steps: float | int = 0,
    ) -> Arguments:
        """Set the schedule of the learning rate, and its length."""
        return self._set(
            lr_scheduler_type=name, num_train_epochs=num_epochs, max_steps=max_steps, warmup_steps=warmup_steps
        )

    def set_dataloader(
        self: Arguments,
        train_batch_size: int = 8,
        eval_batch_size: int = 8,
        drop_last: bool = False,
        num_workers: int = 0,
        pin_memory: bool = True,
        persistent_workers: bool = False,
        prefetch_factor: int | None = None,
        multiprocessing_context: str | None = None,
        in_order: bool = True,
        auto_find_batch_size: bool = False,
        ignore_data_skip: bool = False,
        sampler_seed: int | None = None,
    ) -> Arguments:
        """Set the batches and the workers that load them."""
        return self._set(
            per_device_train_batch_size=train_batch_size,
            per_device_eval_batch_size=eval_batch_size,
            dataloader_drop_last=drop_last,
            dataloader_num_workers=num_workers,
            dataloader_pin_memory=pin_memory,
            dataloader_persistent_workers=persistent_workers,
            dataloader_prefetch_factor=prefetch_factor,
            dataloader_multiprocessing_context=multiprocessing_context,
            dataloader_in_order=in_order,
            auto_find_batch_size=auto_find_batch_size,
            ignore_data_skip=ignore_data_skip,
            data_seed=sampler_seed,
        )


def _check_steps(strategy: str, steps: float | int) -> None:
    if strategy == "steps" and not steps:
        raise InputError(f"steps={steps!r}: strategy='steps' needs a number of steps above 0.")
