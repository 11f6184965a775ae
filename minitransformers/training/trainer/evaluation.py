"""The Trainer's methods about evaluation and prediction."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.training.loop.batches import num_rows
from minitransformers.training.loop.distributed import from_main, gather_interleaved, is_sharded, world_size
from minitransformers.training.trainer.data_loaders import batches_of_this_rank, in_lockstep
from minitransformers.training.trainer.nested import nested_numpify
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.predictions import (
    BatchResult,
    EvalLoopOutput,
    EvalPrediction,
    PredictionOutput,
    check_metrics,
    speed_metrics,
)
from minitransformers.training.trainer.steps import set_optimizer_mode


class TrainerEvaluation(Parts):
    """Predictions and metrics."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate the model, and log and return its metrics.

        Args:
            eval_dataset: by default the Trainer's; each data set of a dictionary is evaluated.
            ignore_keys: fields of the model's output that are no predictions.
            metric_key_prefix: prefix of each metric's name.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, dict):
            metrics: dict[str, float] = {}
            for name, each in dataset.items():
                part = each if eval_dataset is not None else name
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        loader = self.get_eval_dataloader(eval_dataset)
        only_loss = True if self.compute_metrics is None else None
        output = self._timed_loop(loader, "Evaluation", only_loss, ignore_keys, metric_key_prefix)
        self.log(output.metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, output.metrics)
        return output.metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Predictions for a data set, in its order, and metrics if it has labels."""
        loader = self.get_test_dataloader(test_dataset)
        output = self._timed_loop(loader, "Prediction", None, ignore_keys, metric_key_prefix)
        self.control = self.callback_handler.on_predict(self.args, self.state, self.control, output.metrics)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Compute the predictions of all batches, each process its own, and join them.

        The loss is the mean over examples, each with the mean loss of its batch, as in `transformers`. It differs from
        the mean over labels if the batches have different numbers of labels.
        """
        only_loss = self.args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        if not self.is_in_train:
            self._place_for_evaluation()
        was_training = self.model.training
        self.model.eval()
        set_optimizer_mode(self.optimizer, "eval")
        self.callback_handler.eval_dataloader = dataloader
        by_batch = self.args.batch_eval_metrics and self.compute_metrics is not None
        keeps_all = not by_batch or description == "Prediction"
        results: list[BatchResult] = []
        metrics: dict[str, Any] | None = None
        for batch, is_last, counts in self._evaluated(dataloader):
            loss, logits, labels = self.prediction_step(self.model, batch, only_loss, ignore_keys)
            if logits is not None and self.preprocess_logits_for_metrics is not None:
                logits = self.preprocess_logits_for_metrics(logits, labels)
            if by_batch:
                metrics = self._metrics_of_batch(loss, logits, labels, batch, is_last) or metrics
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
            inputs = batch[self._input_name] if "inputs" in self.args.include_for_metrics else None
            kept = (logits, labels, inputs) if keeps_all else (None, None, None)
            arrays = (None if values is None else nested_numpify(values) for values in kept)
            rows, number = num_rows(batch), None if loss is None else float(loss)
            if counts:
                results.append(BatchResult(rows, number, self._loss_weight(rows), *arrays))
        self.model.train(was_training)
        compute_metrics = None if by_batch else self.compute_metrics
        return self.evaluator.join(
            gather_interleaved(results), description, metric_key_prefix, compute_metrics, metrics=metrics
        )

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Any, Any]:
        """Loss, predictions and labels of one batch; None for each that does not exist or is not needed."""
        if ignore_keys is None:
            ignore_keys = getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", None)
        return self.evaluator.predict_batch(
            model,
            self._prepare_inputs(inputs),
            self._loss_and_outputs,
            label_names=self.label_names,
            ignore_keys=ignore_keys,
            only_loss=prediction_loss_only,
            context=self.compute_loss_context_manager,
        )

    # ---- helpers -----------------------------------------------------------------------------------------------------

    def _evaluated(self, dataloader: Any) -> Iterable[tuple[Any, bool, bool]]:
        """The batches of this process, each with whether it is the last, and whether it counts."""
        own = batches_of_this_rank(dataloader)
        batches = iter(in_lockstep(own) if is_sharded(self.model) else ((batch, True) for batch in own))
        following = next(batches, None)
        while following is not None:
            (batch, counts), following = following, next(batches, None)
            yield batch, following is None, counts

    def _metrics_of_batch(self, loss: Any, logits: Any, labels: Any, batch: Any, is_last: bool) -> Any:
        """The result of `compute_metrics` for one batch; of the last, that of the evaluation."""
        if self.compute_metrics is None or logits is None or labels is None:
            return None
        if world_size() > 1:
            raise InputError("batch_eval_metrics=True is for one process: each batch would be one process's own.")
        wanted = self.args.include_for_metrics
        prediction = EvalPrediction(
            logits, labels, batch if "inputs" in wanted else None, loss if "loss" in wanted else None
        )
        metrics = self.compute_metrics(prediction, compute_result=is_last)
        return check_metrics(metrics) if is_last else None

    def _place_for_evaluation(self) -> None:
        """Move the model to the device, in half precision if the whole evaluation is."""
        if self.args.bf16_full_eval or self.args.fp16_full_eval:
            dtype = torch.bfloat16 if self.args.bf16_full_eval else torch.float16
            self.model.to(device=self.args.device, dtype=dtype)

    def _loss_weight(self, rows: int) -> int:
        """The weight of a batch with so many rows in the mean loss."""
        return rows

    def _timed_loop(
        self, loader: Any, description: str, only_loss: bool | None, ignore_keys: list[str] | None, prefix: str
    ) -> EvalLoopOutput:
        """`evaluation_loop`, with its speed among the metrics."""
        start = time.time()
        output = self.evaluation_loop(loader, description, only_loss, ignore_keys, prefix)
        steps = math.ceil(output.num_samples / (self.args.eval_batch_size * world_size()))
        speed = speed_metrics(prefix, start, output.num_samples, steps)
        # All processes use the metrics of the first, which decide about checkpoints and the end of the run.
        return output._replace(metrics=from_main({**output.metrics, **speed}))
