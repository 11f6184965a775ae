"""Seq2SeqTrainer: a `Trainer` that can generate texts in evaluations, for metrics such as ROUGE and BLEU.

    args = Seq2SeqTrainingArguments("run", predict_with_generate=True, generation_max_length=64)
    trainer = Seq2SeqTrainer(model, args, data_collator=DataCollatorForSeq2Seq(tokenizer, model=model), …)
    trainer.predict(dataset, num_beams=4).predictions  # ids of tokens, for tokenizer.batch_decode

As in `transformers`, generated ids and labels are padded with the tokenizer's padding, or with −100 if texts longer
than `max_length` have different lengths in different batches. The loss is the model's own loss of the labels; all
batches have the same weight in its mean. There are two intended differences. Without a limit for the length, texts have
at most 20 tokens in every batch; in `transformers`, those of the first batch have 21. And with several evaluation sets,
the arguments of `evaluate` are used for all of them; `transformers` uses only those of `args`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.generation.config import GenerationConfig
from minitransformers.generation.mixin import split_arguments
from minitransformers.training.loop.objective import shifts_labels
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.predictions import EvalPrediction, PredictionOutput
from minitransformers.training.trainer.trainer import Trainer

DEFAULT_LENGTH = 20  # of generated texts


@dataclass
class Seq2SeqTrainingArguments(TrainingArguments):
    """`TrainingArguments`, with settings of the generation in evaluations.

    Attributes:
        sortish_sampler: not covered, and without effect in `transformers` 5: False.
        predict_with_generate: predictions are generated ids; otherwise logits, as in any Trainer. Without
            `compute_metrics`, `evaluate` generates nothing, because it needs only the loss.
        generation_max_length, generation_num_beams: the default `max_length` and `num_beams` of `evaluate` and
            `predict`.
        generation_config: the model's new generation config: a GenerationConfig, a file, a directory, or the name of a
            model on the hub.
    """

    sortish_sampler: bool = False
    predict_with_generate: bool = False
    generation_max_length: int | None = None
    generation_num_beams: int | None = None
    generation_config: Any = None

    def __post_init__(self) -> None:
        if self.sortish_sampler:
            raise UnknownArgumentError(
                f"{type(self).__name__} does not cover sortish_sampler={self.sortish_sampler!r}: use "
                f"train_sampling_strategy='group_by_length'."
            )
        for name in ("generation_max_length", "generation_num_beams"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1)
        if not isinstance(self.generation_config, str | Path | GenerationConfig | None):
            raise InputError(
                f"generation_config must be a GenerationConfig of this library, or a path or name, not "
                f"{type(self.generation_config).__module__}.{type(self.generation_config).__name__}."
            )
        super().__post_init__()
        if self.fsdp and self.predict_with_generate:
            raise InputError("predict_with_generate=True needs whole weights: leave fsdp out, or generate afterwards.")

    def to_dict(self) -> dict[str, Any]:
        """All fields, including those of `generation_config`."""
        values = super().to_dict()
        given = self.generation_config
        return {**values, "generation_config": given.to_dict() if isinstance(given, GenerationConfig) else given}


class Seq2SeqTrainer(Trainer):
    """Trains a model, and with `predict_with_generate` evaluates the texts that it generates.

    Args:
        args: `Seq2SeqTrainingArguments`.
        processing_class: its `pad_token_id` (or `eos_token_id`) pads generated ids; by default the config's.
        compute_metrics: receives generated ids as `predictions`, and labels with −100 for positions without a label.
        others: of a `Trainer`.

    Raises:
        InputError, UnknownArgumentError: invalid arguments, before any work.
    """

    args: Seq2SeqTrainingArguments

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., Any] | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[[EvalPrediction], Any] | None = None,
        callbacks: Sequence[Any] | None = None,
        optimizers: tuple[Optimizer | None, Any] = (None, None),
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        **others: Any,
    ) -> None:
        args = Seq2SeqTrainingArguments("tmp_trainer") if args is None else args
        if not isinstance(args, Seq2SeqTrainingArguments):
            raise InputError(f"args of a Seq2SeqTrainer must be Seq2SeqTrainingArguments, not {type(args).__name__}.")
        given = args.generation_config
        self._generation_config = None if given is None else self.load_generation_config(given)
        self._gen_kwargs: dict[str, Any] = {}  # of the current `evaluate` or `predict`
        super().__init__(
            model,
            args,
            data_collator,
            train_dataset,
            eval_dataset,
            processing_class,
            model_init,
            compute_loss_func,
            compute_metrics,
            callbacks,
            optimizers,
            preprocess_logits_for_metrics=preprocess_logits_for_metrics,
            **others,
        )

    @staticmethod
    def load_generation_config(gen_config_arg: str | Path | GenerationConfig) -> GenerationConfig:
        """A copy of a GenerationConfig, or the one in a file, in a directory, or of a model on the hub."""
        if isinstance(gen_config_arg, GenerationConfig):
            gen_config_arg.validate()
            return copy.deepcopy(gen_config_arg)
        path = Path(gen_config_arg)
        if path.is_file():
            return GenerationConfig.from_pretrained(path.parent, path.name)
        return GenerationConfig.from_pretrained(gen_config_arg)

    def _set_model(self, model: nn.Module) -> None:
        can_generate = getattr(model, "can_generate", None)
        if self.args.predict_with_generate and not (can_generate is not None and can_generate()):
            raise InputError(
                f"predict_with_generate=True: {type(model).__name__} cannot generate. Use a class that can, such as "
                f"AutoModelForSeq2SeqLM, or leave predict_with_generate out."
            )
        super()._set_model(model)
        if self._generation_config is not None:
            self.model.generation_config = copy.deepcopy(self._generation_config)

    # ---- evaluation --------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **gen_kwargs: Any,
    ) -> dict[str, float]:
        """Evaluate the model; `gen_kwargs` are arguments of `generate`, such as `max_length` and `num_beams`."""
        with self._generating(gen_kwargs):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        **gen_kwargs: Any,
    ) -> PredictionOutput:
        """Predictions for a data set, in its order; `gen_kwargs` are arguments of `generate`."""
        with self._generating(gen_kwargs):
            return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **gen_kwargs: Any,
    ) -> tuple[Tensor | None, Any, Any]:
        """Loss, predictions and labels of one batch; with `predict_with_generate`, predictions are generated ids."""
        if not self.args.predict_with_generate or prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = self._prepare_inputs(inputs)
        labels = inputs.get("labels")
        with torch.no_grad(), self.compute_loss_context_manager():
            options = self._with_length(gen_kwargs or self._gen_kwargs or self._with_defaults({}))
            generated = self.model.generate(**_prompt(inputs), **options, return_dict_in_generate=False)
            loss = None if labels is None else self._own_loss(model, inputs, labels)
        return loss, self._padded(generated), None if labels is None else self._padded(labels)

    def _own_loss(self, model: nn.Module, inputs: dict[str, Any], labels: Tensor) -> Tensor:
        """The model's loss, smoothed as in training."""
        outputs = model(**inputs)
        if self.label_smoother is not None:
            return self.label_smoother(outputs, labels, shift_labels=shifts_labels(model))
        loss: Tensor = outputs["loss"] if hasattr(outputs, "items") else outputs[0]
        return loss.mean()

    def _loss_weight(self, rows: int) -> int:
        return self.args.eval_batch_size

    # ---- arguments of the generation ---------------------------------------------------------------------------------

    @contextmanager
    def _generating(self, gen_kwargs: dict[str, Any]) -> Iterator[None]:
        """Set the arguments of the generation, with those of an enclosing `evaluate` as defaults."""
        if gen_kwargs and self.args.predict_with_generate:
            of_generate = inspect.signature(self.model.generate).parameters
            others = {"tokenizer", "generator", *of_generate} - {"kwargs"}
            split_arguments(self.model, {name: each for name, each in gen_kwargs.items() if name not in others})
        outer = self._gen_kwargs
        self._gen_kwargs = self._with_defaults({**outer, **gen_kwargs})
        try:
            yield
        finally:
            self._gen_kwargs = outer

    def _with_defaults(self, gen_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments, with those of `args` as defaults."""
        given = dict(gen_kwargs)
        if given.get("max_length") is None and given.get("max_new_tokens") is None:
            given["max_length"] = self.args.generation_max_length
        if given.get("num_beams") is None:
            given["num_beams"] = self.args.generation_num_beams
        missing = [name for name in ("max_length", "max_new_tokens", "num_beams") if given.get(name) is None]
        return {name: value for name, value in given.items() if name not in missing}

    def _with_length(self, gen_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments, with a maximal length for an encoder–decoder if nothing else sets it."""
        limits = {**self.model.generation_config.values, **gen_kwargs}.keys() & {"max_length", "max_new_tokens"}
        if limits or not self.model.config.is_encoder_decoder:
            return gen_kwargs
        return {**gen_kwargs, "max_length": min(DEFAULT_LENGTH, self.model.max_positions or DEFAULT_LENGTH)}

    def _padded(self, ids: Tensor) -> Tensor:
        """The ids, padded to the maximal length of the model's generation config."""
        config, length = self.model.generation_config, ids.shape[-1]
        width = config.max_length or DEFAULT_LENGTH
        if length >= width and config.max_new_tokens is not None:
            width = config.max_new_tokens + 1
        return ids if length >= width else F.pad(ids, (0, width - length), value=self._padding())

    def _padding(self) -> int:
        """The padding token."""
        if hasattr(self.processing_class, "pad_token_id"):
            padding, owner = self.processing_class.pad_token_id, "the tokenizer"
            padding = self.processing_class.eos_token_id if padding is None else padding
        else:
            padding, owner = self.model.config.pad_token_id, "the model's config"
        if padding is None:
            raise InputError(f"Set pad_token_id of {owner}: it pads the generated ids.")
        return int(padding)


def _prompt(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of `generate`: without the labels, and without decoder inputs that were made from them."""
    ids, labels = inputs.get("decoder_input_ids"), inputs.get("labels")
    left_out = ["labels"]
    if labels is not None and ids is not None and ids.shape == labels.shape:
        left_out += ["decoder_input_ids", "decoder_attention_mask"]
    return {name: value for name, value in inputs.items() if name not in left_out}
