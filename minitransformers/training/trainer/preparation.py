"""Checks and preparations before a `Trainer` trains: its arguments, the model, the optimizer, the checkpoint."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from minitransformers.errors import CheckpointError, InputError
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.loop.checkpoint_directories import checkpoints_in
from minitransformers.training.loop.distributed import rank
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.data_loaders import has_length

logger = logging.getLogger(__name__)


def check_parts(
    args: TrainingArguments,
    *,
    model: Any,
    model_init: Any,
    data_collator: Any,
    train_dataset: Any,
    eval_dataset: Any,
    optimizers: tuple[Any, Any],
    optimizer_cls_and_kwargs: Any,
) -> None:
    """Check the arguments of `Trainer`.

    Raises:
        InputError: a wrong type, a missing argument, or two that exclude each other.
    """
    if (model is None) == (model_init is None):
        raise InputError("Trainer needs either model=… or model_init=….")
    if model is not None and not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch module, not {type(model).__name__}: {model!r:.60}.")
    if not callable(data_collator):
        raise InputError(f"data_collator must be callable, not {type(data_collator).__name__}.")
    if args.eval_strategy != "no" and eval_dataset is None:
        raise InputError(f"eval_strategy={str(args.eval_strategy)!r} needs eval_dataset=….")
    if model_init is not None and optimizers != (None, None):
        raise InputError(
            "optimizers=… belong to one model, but model_init=… creates new models: override create_optimizer."
        )
    if optimizer_cls_and_kwargs is not None and optimizers[0] is not None:
        raise InputError("Pass either optimizers=… or optimizer_cls_and_kwargs=…, not both.")
    if train_dataset is not None and not has_length(train_dataset) and args.max_steps <= 0:
        raise InputError("train_dataset has no length: set max_steps, the length of the run.")


def prepare_model(model: Any, args: TrainingArguments, processing_class: Any) -> None:
    """Enable the recomputation of blocks, and copy the tokenizer's special tokens into the model's configs.

    Raises:
        InputError: the model cannot recompute its blocks.
    """
    if args.activation_checkpointing:
        if not hasattr(model, "gradient_checkpointing_enable"):
            raise InputError(f"activation_checkpointing=True: {type(model).__name__} does not support it.")
        model.gradient_checkpointing_enable(args.activation_checkpointing_kwargs)
    if isinstance(processing_class, PreTrainedTokenizerBase) and hasattr(model, "config"):
        _copy_special_tokens(model, processing_class)


def check_optimizer(optimizer: Optimizer | None, model: nn.Module) -> Optimizer:
    """The optimizer.

    Raises:
        InputError: it is missing, or has parameters of another model.
    """
    if optimizer is None:
        raise InputError("create_optimizer must set self.optimizer.")
    known = {id(parameter) for parameter in model.parameters()}
    foreign = sum(id(each) not in known for group in optimizer.param_groups for each in group["params"])
    if foreign:
        raise InputError(
            f"The optimizer has {foreign} parameters that are not the model's: create it from the parameters of the "
            f"trained model, after that was moved to its device."
        )
    return optimizer


def find_checkpoint(resume_from_checkpoint: str | os.PathLike[str] | bool | None, output_dir: Path) -> Path | bool:
    """The value of the loop's `Settings.resume`.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    if resume_from_checkpoint is None or resume_from_checkpoint is False:
        return False
    if resume_from_checkpoint is True:
        if not checkpoints_in(output_dir):
            raise CheckpointError(
                f"resume_from_checkpoint=True, but there is no checkpoint in output_dir={str(output_dir)!r}."
            )
        return True
    if not Path(resume_from_checkpoint).is_dir():
        raise CheckpointError(f"resume_from_checkpoint={str(resume_from_checkpoint)!r} is not a directory.")
    return Path(resume_from_checkpoint)


def _copy_special_tokens(model: Any, tokenizer: Any) -> None:
    """Copy the tokenizer's special tokens into the configs; a GPT-2 classifier, for example, needs the padding."""
    changed = {}
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        token = getattr(tokenizer, name, None)
        for config in (model.config, getattr(model, "generation_config", None)):
            if token is None or not hasattr(config, name):  # a T5Config, for example, has no bos_token_id
                continue
            present = getattr(config, name, None)
            if isinstance(present, list) and name == "eos_token_id":
                if token not in present:
                    setattr(config, name, [token, *present])
                    changed[name] = token
            elif present != token:
                setattr(config, name, token)
                changed[name] = token
    if changed and rank() == 0:
        logger.warning("The model's config now has the special tokens of the tokenizer: %s.", changed)
