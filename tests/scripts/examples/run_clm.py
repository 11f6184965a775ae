"""Trains a causal language model on text files, in blocks of equal length."""

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
from datasets import IterableDatasetDict, load_dataset
from sklearn.metrics import accuracy_score
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    is_torch_xla_available,
    set_seed,
)
from transformers.testing_utils import CaptureLogger
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0")
require_version("datasets>=2.14.0", "To fix: pip install -r requirements.txt")

logger = logging.getLogger(__name__)
MODEL_CONFIG_CLASSES = list(MODEL_FOR_CAUSAL_LM_MAPPING.keys())
MODEL_TYPES = tuple(conf.model_type for conf in MODEL_CONFIG_CLASSES)


@dataclass
class ModelArguments:
    """The model that is trained: a checkpoint, or a new one."""

    model_name_or_path: Optional[str] = field(default=None, metadata={"help": "Leave it out for a new model."})
    model_type: Optional[str] = field(default=None, metadata={"help": "One of " + ", ".join(MODEL_TYPES)})
    config_overrides: Optional[str] = field(default=None, metadata={"help": "As in n_embd=10,resid_pdrop=0.2."})
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

    def __post_init__(self):
        if self.config_overrides is not None and (self.config_name is not None or self.model_name_or_path is not None):
            raise ValueError("--config_overrides is for new models only.")


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    train_file: Optional[str] = field(default=None, metadata={"help": "A text, csv or json file."})
    validation_file: Optional[str] = field(default=None, metadata={"help": "A text, csv or json file."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    streaming: bool = field(default=False, metadata={"help": "Read the texts while training."})
    block_size: Optional[int] = field(default=None, metadata={"help": "The length of the blocks."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    validation_split_percentage: Optional[int] = field(default=5, metadata={"help": "Without a validation file."})
    preprocessing_num_workers: Optional[int] = field(default=None, metadata={"help": "Processes."})
    keep_linebreaks: bool = field(default=True, metadata={"help": "Of text files."})

    def __post_init__(self):
        if self.streaming:
            require_version("datasets>=2.0.0", "The streaming feature requires `datasets>=2.0.0`")
        if self.train_file is None and self.validation_file is None:
            raise ValueError("Name a file for training or validation.")


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

    data_files, dataset_args = {}, {}
    if data_args.train_file is not None:
        data_files["train"] = data_args.train_file
    if data_args.validation_file is not None:
        data_files["validation"] = data_args.validation_file
    extension = (data_args.train_file or data_args.validation_file).split(".")[-1]
    if extension == "txt":
        extension = "text"
        dataset_args["keep_linebreaks"] = data_args.keep_linebreaks
    raw_datasets = load_dataset(
        extension,
        data_files=data_files,
        cache_dir=model_args.cache_dir,
        token=model_args.token,
        streaming=data_args.streaming,
        **dataset_args,
    )
    if "validation" not in raw_datasets:
        if data_args.streaming:
            whole = raw_datasets["train"]
            raw_datasets = IterableDatasetDict({"validation": whole.take(4), "train": whole.skip(4)})
        else:
            part = data_args.validation_split_percentage
            for name, split in {"validation": f"train[:{part}%]", "train": f"train[{part}%:]"}.items():
                raw_datasets[name] = load_dataset(
                    extension,
                    data_files=data_files,
                    split=split,
                    cache_dir=model_args.cache_dir,
                    token=model_args.token,
                    **dataset_args,
                )

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
        model = AutoModelForCausalLM.from_pretrained(
            model_args.model_name_or_path,
            from_tf=bool(".ckpt" in model_args.model_name_or_path),
            config=config,
            cache_dir=model_args.cache_dir,
            revision=model_args.model_revision,
            token=model_args.token,
            trust_remote_code=model_args.trust_remote_code,
            dtype=dtype,
        )
    else:
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=model_args.trust_remote_code)
        n_params = sum({p.data_ptr(): p.numel() for p in model.parameters()}.values())
        logger.info(f"Training new model from scratch - Total size={n_params / 2**20:.2f}M params")

    embedding_size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embedding_size:
        model.resize_token_embeddings(len(tokenizer))

    if training_args.do_train:
        column_names = list(raw_datasets["train"].features or {"text": None})
    else:
        column_names = list(raw_datasets["validation"].features or {"text": None})
    text_column_name = "text" if "text" in column_names else column_names[0]

    # The logger is pickled with the function, which happens before it is loaded otherwise.
    tok_logger = transformers.utils.logging.get_logger("transformers.tokenization_utils_base")

    def tokenize_function(examples):
        with CaptureLogger(tok_logger) as cl:
            output = tokenizer(examples[text_column_name])
        if "Token indices sequence length is longer than the" in cl.out:
            tok_logger.warning("^^^^ Ignore this: the long input is cut in blocks before it meets the model.")
        return output

    map_kwargs = {"batched": True}
    if not data_args.streaming:
        map_kwargs["num_proc"] = data_args.preprocessing_num_workers
        map_kwargs["load_from_cache_file"] = not data_args.overwrite_cache
    with training_args.main_process_first(desc="dataset map tokenization"):
        tokenized_datasets = raw_datasets.map(tokenize_function, remove_columns=column_names, **map_kwargs)

    max_pos_embeddings = config.max_position_embeddings if hasattr(config, "max_position_embeddings") else 1024
    if data_args.block_size is None:
        block_size = tokenizer.model_max_length
        if block_size > max_pos_embeddings:
            logger.warning(f"The tokenizer's model_max_length is beyond the model's {max_pos_embeddings} positions.")
            block_size = min(1024, max_pos_embeddings) if max_pos_embeddings > 0 else 1024
    else:
        if data_args.block_size > tokenizer.model_max_length:
            logger.warning(f"block_size {data_args.block_size} is cut to {tokenizer.model_max_length}.")
        block_size = min(data_args.block_size, tokenizer.model_max_length)

    def group_texts(examples):
        joined = {name: list(chain(*examples[name])) for name in examples}
        total = len(joined[next(iter(examples))]) // block_size * block_size
        result = {
            name: [values[start : start + block_size] for start in range(0, total, block_size)]
            for name, values in joined.items()
        }
        result["labels"] = result["input_ids"].copy()
        return result

    with training_args.main_process_first(desc="grouping texts together"):
        lm_datasets = tokenized_datasets.map(group_texts, **map_kwargs)

    if training_args.do_train:
        train_dataset = lm_datasets["train"]
        if data_args.max_train_samples is not None:
            if data_args.streaming:
                train_dataset = train_dataset.take(data_args.max_train_samples)
            else:
                train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
    if training_args.do_eval:
        eval_dataset = lm_datasets["validation"]
        if data_args.max_eval_samples is not None:
            if data_args.streaming:
                eval_dataset = eval_dataset.take(data_args.max_eval_samples)
            else:
                eval_dataset = eval_dataset.select(range(min(len(eval_dataset), data_args.max_eval_samples)))

        def preprocess_logits_for_metrics(logits, labels):
            if isinstance(logits, tuple):  # the cache and others stand behind the logits
                logits = logits[0]
            return logits.argmax(dim=-1)

        def compute_metrics(eval_preds):
            preds, labels = eval_preds
            labels, preds = labels[:, 1:].reshape(-1), preds[:, :-1].reshape(-1)
            return {"accuracy": accuracy_score(labels, preds)}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        processing_class=tokenizer,
        data_collator=default_data_collator,
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
        if data_args.streaming:
            metrics["train_samples"] = data_args.max_train_samples
        else:
            metrics["train_samples"] = min(data_args.max_train_samples or len(train_dataset), len(train_dataset))
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    if training_args.do_eval:
        logger.info("*** Evaluate ***")
        metrics = trainer.evaluate()
        if data_args.streaming:
            metrics["eval_samples"] = data_args.max_eval_samples
        else:
            metrics["eval_samples"] = min(data_args.max_eval_samples or len(eval_dataset), len(eval_dataset))
        try:
            perplexity = math.exp(metrics["eval_loss"])
        except OverflowError:
            perplexity = float("inf")
        metrics["perplexity"] = perplexity
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "text-generation"}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
