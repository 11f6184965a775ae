"""Evaluator: the part of the `Trainer` that computes predictions and metrics.

It changes no weights and calls no callbacks. The Trainer goes through the batches; the Evaluator computes the result of
each batch, and joins the results of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from minitransformers.errors import InputError
from minitransformers.training.loop.objective import has_loss
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.predictions import (
    BatchResult,
    EvalLoopOutput,
    EvalPrediction,
    check_metrics,
    concatenate,
)


class Evaluator:
    """Computes predictions and metrics, as `args` say."""

    def __init__(self, args: TrainingArguments) -> None:
        self.args = args

    def predict_batch(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        compute_loss: Callable[[nn.Module, Any], tuple[Tensor, Any]],
        *,
        label_names: Sequence[str],
        ignore_keys: Collection[str] | None,
        only_loss: bool,
        context: Callable[[], AbstractContextManager[None]],
    ) -> tuple[Tensor | None, Any, Any]:
        """Loss, predictions and labels of one batch; None for each that does not exist or is not needed.

        Args:
            model: the model.
            inputs: the batch, on the model's device.
            compute_loss: (model, inputs) → loss and outputs, for a batch with labels.
            label_names: the entries of a batch that are labels.
            ignore_keys: fields of the output that are no predictions; None means `past_key_values`.
            only_loss: return only the loss.
            context: the context of the forward pass: its precision.
        """
        labels: Any = tuple(inputs.get(name) for name in label_names)
        has_labels = bool(labels) and all(each is not None for each in labels)
        ignored = {*(["past_key_values"] if ignore_keys is None else ignore_keys), *(["loss"] if has_labels else [])}
        with torch.no_grad(), context():
            if has_labels:
                loss, outputs = compute_loss(model, inputs)
                loss = loss.detach().mean()
            else:
                loss, outputs = None, model(**inputs)
        if only_loss:
            return loss, None, None
        if hasattr(outputs, "items"):
            logits: Any = tuple(value for name, value in outputs.items() if name not in ignored)
        else:
            logits = outputs[1:] if has_labels and has_loss(outputs) else outputs
        if self.args.precision != "fp32":  # metrics are computed in float32
            logits = tree_map_only(Tensor, _as_float, logits)
        return loss, _single(logits), _single(labels) if has_labels else None

    def join(
        self,
        results: Sequence[BatchResult],
        description: str,
        prefix: str,
        compute_metrics: Callable[[EvalPrediction], Any] | None,
        *,
        metrics: Mapping[str, Any] | None = None,
    ) -> EvalLoopOutput:
        """Predictions, labels and metrics of all batches.

        Args:
            results: of all batches of all processes.
            description: the name of the evaluation, for errors.
            prefix: of each metric's name, without the "_" after it.
            compute_metrics: see `Trainer`.
            metrics: those that were computed batch by batch.

        Raises:
            InputError: there is no batch, or `compute_metrics` returns no dictionary.
        """
        num_samples = sum(each.rows for each in results)
        if not num_samples:
            raise InputError(f"{description}: the data set is empty.")

        def column(name: str) -> Any:
            values = [value for each in results if (value := getattr(each, name)) is not None]
            return concatenate(values) if self.args.eval_do_concat_batches else values or None

        predictions, labels = column("predictions"), column("labels")
        losses = [np.full(each.loss_weight, each.loss, np.float32) for each in results if each.loss is not None]
        found: dict[str, Any] = {}
        if losses:
            per_example = np.concatenate(losses)
            finite = per_example[np.isfinite(per_example)] if self.args.logging_nan_inf_filter else per_example
            found["loss"] = float((finite if len(finite) else per_example).mean())
        found |= metrics or {}
        if compute_metrics is not None and predictions is not None and labels is not None:
            given_losses = per_example if losses and "loss" in self.args.include_for_metrics else None
            found |= check_metrics(compute_metrics(EvalPrediction(predictions, labels, column("inputs"), given_losses)))
        begin = f"{prefix}_"
        found = {name if name.startswith(begin) else begin + name: value for name, value in found.items()}
        return EvalLoopOutput(predictions, labels, found, num_samples)


def _single(values: Any) -> Any:
    """The element of a tuple with one element; other values unchanged."""
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
