"""Trains a masked language model on text files, line by line or in blocks of equal length."""

import logging
import math
import os
import sys
from dataclasses import dataclass, field
from itertools import chain
from typing import Optional

import datasets
import torch
import transformers
from datasets import load_dataset
from sklearn.metrics import accuracy_score
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    is_torch_xla_available,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0")
require_version("datasets>=2.14.0", "To fix: pip install -r requirements.txt")

logger = logging.getLogger(__name__)
MODEL_CONFIG_CLASSES = list(MODEL_FOR_MASKED_LM_MAPPING.keys())
MODEL_TYPES = tuple(conf.model_type for conf in MODEL_CONFIG_CLASSES)


@dataclass
class ModelArguments:
    """The model that is trained: a checkpoint, or a new one."""

    model_name_or_path: Optional[str] = field(default=None, metadata={"help": "Leave it out for a new model."})
    model_type: Optional[str] = field(default=None, metadata={"help": "One of " + ", ".join(MODEL_TYPES)})
    config_overrides: Optional[str] = field(default=None, metadata={"help": "As in hidden_size=32,num_labels=3."})
    config_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    tokenizer_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    cache_dir: Optional[str] = field(default=None, metadata={"help": "Where downloads are kept."})
    use_fast_tokenizer: bool = field(default=True, metadata={"help": "Use the tokenizers library."})
    model_revision: str = field(default="main", metadata={"help": "A branch, tag or commit."})
    token: Optional[str] = field(default=None, metadata={"help": "The hub's token."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})
    dtype: Optional[str] = field(
        default=None,
        metadata={"help": "The weights' dtype.", "choices": ["auto", "bfloat16", "float16", "float32"]},
    )
    low_cpu_mem_usage: bool = field(default=False, metadata={"help": "Make no weights before loading."})

    def __post_init__(self):
        if self.config_overrides is not None and (self.config_name is not None or self.model_name_or_path is not None):
            raise ValueError("--config_overrides is for new models only.")


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    train_file: Optional[str] = field(default=None, metadata={"help": "A text, csv or json file."})
    validation_file: Optional[str] = field(default=None, metadata={"help": "A text, csv or json file."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    validation_split_percentage: Optional[int] = field(default=5, metadata={"help": "Without a validation file."})
    max_seq_length: Optional[int] = field(default=None, metadata={"help": "Longer texts are truncated."})
    preprocessing_num_workers: Optional[int] = field(default=None, metadata={"help": "Processes."})
    mlm_probability: float = field(default=0.15, metadata={"help": "The part of tokens that is predicted."})
    line_by_line: bool = field(default=False, metadata={"help": "A line is an example."})
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad to the longest length."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    streaming: bool = field(default=False, metadata={"help": "Read the texts while training."})

    def __post_init__(self):
        if self.train_file is None and self.validation_file is None:
            raise ValueError("Name a file for training or validation.")
        for path in (self.train_file, self.validation_file):
            if path is not None and path.split(".")[-1] not in ["csv", "json", "txt"]:
                raise ValueError("Files should be csv, json or txt files.")


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        model_args, data_args, training_args = parser.parse_json_file(json_file=os.path.abspath(sys.argv[1]))
    else:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses()

    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        handlers=[logging.StreamHandler(sys.stdout)],
    )
    if training_args.should_log:
        transformers.utils.logging.set_verbosity_info()
    log_level = training_args.get_process_log_level()
    logger.setLevel(log_level)
    datasets.utils.logging.set_verbosity(log_level)
    transformers.utils.logging.set_verbosity(log_level)
    transformers.utils.logging.enable_default_handler()
    transformers.utils.logging.enable_explicit_format()
    logger.warning(
        f"Process rank: {training_args.local_process_index}, device: {training_args.device}, "
        f"n_gpu: {training_args.n_gpu}, distributed: {training_args.parallel_mode.value == 'distributed'}, "
        f"16-bits training: {training_args.fp16}"
    )

    last_checkpoint = None
    if os.path.isdir(training_args.output_dir) and training_args.do_train:
        last_checkpoint = get_last_checkpoint(training_args.output_dir)
        if last_checkpoint is not None and training_args.resume_from_checkpoint is None:
            logger.info(f"Checkpoint detected, resuming training at {last_checkpoint}.")
    set_seed(training_args.seed)

    data_files = {}
    if data_args.train_file is not None:
        data_files["train"] = data_args.train_file
        extension = data_args.train_file.split(".")[-1]
    if data_args.validation_file is not None:
        data_files["validation"] = data_args.validation_file
        extension = data_args.validation_file.split(".")[-1]
    if extension == "txt":
        extension = "text"
    options = {"data_files": data_files, "cache_dir": model_args.cache_dir, "token": model_args.token}
    raw_datasets = load_dataset(extension, **options)
    if "validation" not in raw_datasets:
        part = data_args.validation_split_percentage
        raw_datasets["validation"] = load_dataset(extension, split=f"train[:{part}%]", **options)
        raw_datasets["train"] = load_dataset(extension, split=f"train[{part}%:]", **options)

    config_kwargs = {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.token,
        "trust_remote_code": model_args.trust_remote_code,
    }
    if model_args.config_name:
        config = AutoConfig.from_pretrained(model_args.config_name, **config_kwargs)
    elif model_args.model_name_or_path:
        config = AutoConfig.from_pretrained(model_args.model_name_or_path, **config_kwargs)
    else:
        config = CONFIG_MAPPING[model_args.model_type]()
        logger.warning("You are instantiating a new config instance from scratch.")
        if model_args.config_overrides is not None:
            logger.info(f"Overriding config: {model_args.config_overrides}")
            config.update_from_string(model_args.config_overrides)
            logger.info(f"New config of {config.hidden_size} units, {config.num_hidden_layers} layers")

    tokenizer_kwargs = {
        "cache_dir": model_args.cache_dir,
        "use_fast": model_args.use_fast_tokenizer,
        "revision": model_args.model_revision,
        "token": model_args.token,
        "trust_remote_code": model_args.trust_remote_code,
    }
    if model_args.tokenizer_name:
        tokenizer = AutoTokenizer.from_pretrained(model_args.tokenizer_name, **tokenizer_kwargs)
    elif model_args.model_name_or_path:
        tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path, **tokenizer_kwargs)
    else:
        raise ValueError("A new tokenizer is not made here: name one with --tokenizer_name.")

    if model_args.model_name_or_path:
        dtype = model_args.dtype if model_args.dtype in ["auto", None] else getattr(torch, model_args.dtype)
        model = AutoModelForMaskedLM.from_pretrained(
            model_args.model_name_or_path,
            from_tf=bool(".ckpt" in model_args.model_name_or_path),
            config=config,
            cache_dir=model_args.cache_dir,
            revision=model_args.model_revision,
            token=model_args.token,
            trust_remote_code=model_args.trust_remote_code,
            dtype=dtype,
            low_cpu_mem_usage=model_args.low_cpu_mem_usage,
        )
    else:
        logger.info("Training new model from scratch")
        model = AutoModelForMaskedLM.from_config(config, trust_remote_code=model_args.trust_remote_code)

    embedding_size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embedding_size:
        model.resize_token_embeddings(len(tokenizer))

    column_names = list(raw_datasets["train" if training_args.do_train else "validation"].features)
    text_column_name = "text" if "text" in column_names else column_names[0]
    if data_args.max_seq_length is None:
        max_seq_length = tokenizer.model_max_length
        if max_seq_length > 1024:
            logger.warning("The tokenizer's model_max_length is beyond 1024: 1024 is used.")
            max_seq_length = 1024
    else:
        if data_args.max_seq_length > tokenizer.model_max_length:
            logger.warning(f"max_seq_length {data_args.max_seq_length} is cut to {tokenizer.model_max_length}.")
        max_seq_length = min(data_args.max_seq_length, tokenizer.model_max_length)

    map_kwargs = {
        "batched": True,
        "num_proc": data_args.preprocessing_num_workers,
        "load_from_cache_file": not data_args.overwrite_cache,
    }
    if data_args.line_by_line:
        padding = "max_length" if data_args.pad_to_max_length else False

        def tokenize_lines(examples):
            lines = [line for line in examples[text_column_name] if len(line) > 0 and not line.isspace()]
            examples[text_column_name] = lines
            return tokenizer(
                lines, padding=padding, truncation=True, max_length=max_seq_length, return_special_tokens_mask=True
            )

        with training_args.main_process_first(desc="dataset map tokenization"):
            tokenized_datasets = raw_datasets.map(
                tokenize_lines,
                remove_columns=[text_column_name],
                desc="Running tokenizer on dataset line_by_line",
                **map_kwargs,
            )
    else:

        def tokenize_texts(examples):
            return tokenizer(examples[text_column_name], return_special_tokens_mask=True)

        def group_texts(examples):
            joined = {name: list(chain(*examples[name])) for name in examples}
            total = len(joined[next(iter(examples))]) // max_seq_length * max_seq_length
            return {
                name: [values[start : start + max_seq_length] for start in range(0, total, max_seq_length)]
                for name, values in joined.items()
            }

        with training_args.main_process_first(desc="dataset map tokenization"):
            tokenized_datasets = raw_datasets.map(
                tokenize_texts, remove_columns=column_names, desc="Running tokenizer on every text", **map_kwargs
            )
        with training_args.main_process_first(desc="grouping texts together"):
            tokenized_datasets = tokenized_datasets.map(
                group_texts, desc=f"Grouping texts in chunks of {max_seq_length}", **map_kwargs
            )

    if training_args.do_train:
        train_dataset = tokenized_datasets["train"]
        if data_args.max_train_samples is not None:
            train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
    if training_args.do_eval:
        eval_dataset = tokenized_datasets["validation"]
        if data_args.max_eval_samples is not None:
            eval_dataset = eval_dataset.select(range(min(len(eval_dataset), data_args.max_eval_samples)))

        def preprocess_logits_for_metrics(logits, labels):
            if isinstance(logits, tuple):
                logits = logits[0]
            return logits.argmax(dim=-1)

        def compute_metrics(eval_preds):
            preds, labels = eval_preds
            labels, preds = labels.reshape(-1), preds.reshape(-1)
            mask = labels != -100
            return {"accuracy": accuracy_score(labels[mask], preds[mask])}

    pad_to_multiple_of_8 = data_args.line_by_line and training_args.fp16 and not data_args.pad_to_max_length
    data_collator = DataCollatorForLanguageModeling(
        tokenizer=tokenizer,
        mlm_probability=data_args.mlm_probability,
        pad_to_multiple_of=8 if pad_to_multiple_of_8 else None,
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        processing_class=tokenizer,
        data_collator=data_collator,
        compute_metrics=compute_metrics if training_args.do_eval and not is_torch_xla_available() else None,
        preprocess_logits_for_metrics=preprocess_logits_for_metrics
        if training_args.do_eval and not is_torch_xla_available()
        else None,
    )

    if training_args.do_train:
        checkpoint = None
        if training_args.resume_from_checkpoint is not None:
            checkpoint = training_args.resume_from_checkpoint
        elif last_checkpoint is not None:
            checkpoint = last_checkpoint
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        metrics = train_result.metrics
        metrics["train_samples"] = min(data_args.max_train_samples or len(train_dataset), len(train_dataset))
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    if training_args.do_eval:
        logger.info("*** Evaluate ***")
        metrics = trainer.evaluate()
        metrics["eval_samples"] = min(data_args.max_eval_samples or len(eval_dataset), len(eval_dataset))
        try:
            perplexity = math.exp(metrics["eval_loss"])
        except OverflowError:
            perplexity = float("inf")
        metrics["perplexity"] = perplexity
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "fill-mask"}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
