"""The Trainer's methods that compute: a step's forward and backward pass, and the loss."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.training.loop.distributed import sum_over_ranks
from minitransformers.training.loop.objective import count_labels, normalized_losses, shifts_labels
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.training_loss import takes_number


class TrainerSteps(Parts):
    """The forward and backward pass of a batch."""

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Add the gradients of a batch; returns its loss, of which those of a step's batches add up to the mean.

        An override may compute the gradients itself, with `self.accelerator.backward(loss)`.

        Args:
            model: the model as it is trained.
            inputs: the batch, as the collator made it.
            num_items_in_batch: the number of labels in all batches of the step.
        """
        model.train()
        set_optimizer_mode(self.optimizer, "train")
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            options: Any = {"num_items_in_batch": num_items_in_batch} if takes_number(self.compute_loss) else {}
            loss = self.compute_loss(model, inputs, **options)
        del inputs
        every = self.args.torch_empty_cache_steps
        if every is not None and self.state.global_step % every == 0:
            self.accelerator.free_memory()
        if self._training_loss is not None:
            loss = self._training_loss.normalized(loss)
        self.accelerator.backward(loss)
        detached: Tensor = loss.detach()
        return detached

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, with the model's output if `return_outputs`.

        In training it is normalized by the number of labels of all accumulated batches, `num_items_in_batch`: their
        losses add up to the mean. An override that does not call this method may return the mean over its own batch,
        which is then weighted; if it divides by `num_items_in_batch`, it sets the class attribute
        `loss_is_scaled_for_ga` to True.
        """
        step = self._training_loss if self._training_loss is not None and self._training_loss.counts else None
        counts = dict(step.counts if step is not None and step.counts else count_labels(model, inputs))
        if num_items_in_batch is not None and "labels" in counts:
            counts["labels"] = float(num_items_in_batch)
        if self.compute_loss_func is not None or (self.label_smoother is not None and "labels" in inputs):
            labels = inputs.pop("labels", None)
            outputs = model(**inputs)
            if self.compute_loss_func is not None:
                loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch)
            elif self.label_smoother is not None:
                number = max(1, counts["labels"])
                loss = self.label_smoother(
                    outputs, labels, shift_labels=shifts_labels(model), num_items_in_batch=number
                )
        else:
            losses, outputs = normalized_losses(model, inputs, counts, reads_output=return_outputs)
            loss = sum(losses.values())
            if step is None and not any(counts.values()):
                loss = loss * math.nan  # a mean over no label; an evaluation's mean leaves it out
        if step is not None:
            step.is_normalized = True
            loss = loss * step.processes
        return (loss, outputs) if return_outputs else loss

    def _loss_and_outputs(self, model: nn.Module, inputs: Any) -> Any:
        """The loss of an evaluation's batch, and the model's output."""
        options: dict[str, Any] = {}
        if takes_number(self.compute_loss):
            number = count_labels(model, inputs).get("labels")
            options["num_items_in_batch"] = None if number is None else torch.tensor(number, device=self.args.device)
        return self.compute_loss(model, inputs, return_outputs=True, **options)

    def compute_loss_context_manager(self) -> AbstractContextManager[None]:
        """The context of each forward pass: matrix products in the precision of the arguments."""
        return self.autocast_smart_context_manager()

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[None]:
        """Compute matrix products of the block in the precision of the arguments."""
        return self.accelerator.autocast()

    # ---- counts ------------------------------------------------------------------------------------------------------

    def floating_point_ops(self, inputs: Any) -> float | int:
        """The approximate number of floating-point operations for a batch (Kaplan et al., 2020, §2.1)."""
        method = getattr(self.model, "floating_point_ops", None)
        if method is not None:
            return float(method(inputs))
        ids, count = _ids(inputs, self._input_name), getattr(self.model, "num_parameters", None)
        return 0 if ids is None or count is None else 6.0 * ids.numel() * count(exclude_embeddings=True)

    def store_flos(self) -> None:
        """Add the floating-point operations of all processes since the last call to `state.total_flos`."""
        self.state.total_flos += sum_over_ranks([{"flos": self.current_flos}], self.args.device)["flos"]
        self.current_flos = 0.0

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Count the tokens of a batch, of all processes, in `state.num_input_tokens_seen`, if arguments say so."""
        kind, ids = self.args.include_num_input_tokens_seen, _ids(inputs, self._input_name)
        if kind == "no":
            return
        number = 0 if ids is None else ids.numel()
        padding = getattr(self.processing_class, "pad_token_id", None)
        if kind == "non_padding" and ids is not None:
            if isinstance(mask := inputs.get("attention_mask"), Tensor):
                number = int(mask.sum())
            elif padding is not None:
                number = int(ids.ne(padding).sum())
        self.state.num_input_tokens_seen += int(sum_over_ranks([{"tokens": number}], self.args.device)["tokens"])


def set_optimizer_mode(optimizer: Any, mode: str) -> None:
    """Call `train()` or `eval()` of an optimizer that has them, such as a schedule-free one."""
    method = getattr(optimizer, mode, None)
    if callable(method):
        method()


def _ids(inputs: Any, name: str) -> Tensor | None:
    ids = inputs.get(name) if hasattr(inputs, "get") else None
    return ids if isinstance(ids, Tensor) else None
