"""Fine-tunes a model that chooses one of four endings of a sentence."""

import logging
import os
import sys
from dataclasses import dataclass, field
from itertools import chain

import datasets
import numpy as np
import transformers
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForMultipleChoice,
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version

check_min_version("5.0.0")

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """The model that is fine-tuned, with its config and tokenizer."""

    model_name_or_path: str = field(metadata={"help": "A directory or a name on the hub."})
    config_name: str | None = field(default=None, metadata={"help": "If it is elsewhere."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "If it is elsewhere."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads are kept."})
    use_fast_tokenizer: bool = field(default=True, metadata={"help": "Use the tokenizers library."})
    model_revision: str = field(default="main", metadata={"help": "A branch, tag or commit."})
    token: str | None = field(default=None, metadata={"help": "The hub's token."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    train_file: str | None = field(default=None, metadata={"help": "A csv or json file."})
    validation_file: str | None = field(default=None, metadata={"help": "A csv or json file."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes."})
    max_seq_length: int | None = field(default=None, metadata={"help": "Longer texts are truncated."})
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad to the longest length."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first ones."})


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

    data_files = {"train": data_args.train_file, "validation": data_args.validation_file}
    raw_datasets = load_dataset(
        data_args.train_file.split(".")[-1],
        data_files=data_files,
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )

    options = {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.token,
        "trust_remote_code": model_args.trust_remote_code,
    }
    config = AutoConfig.from_pretrained(model_args.config_name or model_args.model_name_or_path, **options)
    tokenizer = AutoTokenizer.from_pretrained(
        model_args.tokenizer_name or model_args.model_name_or_path, use_fast=model_args.use_fast_tokenizer, **options
    )
    model = AutoModelForMultipleChoice.from_pretrained(
        model_args.model_name_or_path,
        from_tf=bool(".ckpt" in model_args.model_name_or_path),
        config=config,
        **options,
    )

    ending_names = [f"ending{i}" for i in range(4)]
    context_name, question_header_name = "sent1", "sent2"
    max_seq_length = tokenizer.model_max_length if data_args.max_seq_length is None else data_args.max_seq_length
    if max_seq_length > min(tokenizer.model_max_length, 1024):
        logger.warning(f"A length of {max_seq_length} is more than the model or this script takes.")
        max_seq_length = min(tokenizer.model_max_length, 1024)

    def preprocess_function(examples):
        first_sentences = [[context] * 4 for context in examples[context_name]]
        second_sentences = [
            [f"{header} {examples[end][i]}" for end in ending_names]
            for i, header in enumerate(examples[question_header_name])
        ]
        tokenized_examples = tokenizer(
            list(chain(*first_sentences)),
            list(chain(*second_sentences)),
            truncation=True,
            max_length=max_seq_length,
            padding="max_length" if data_args.pad_to_max_length else False,
        )
        return {k: [v[i : i + 4] for i in range(0, len(v), 4)] for k, v in tokenized_examples.items()}

    def prepared(split, most):
        dataset = raw_datasets[split]
        if most is not None:
            dataset = dataset.select(range(min(len(dataset), most)))
        with training_args.main_process_first(desc=f"{split} dataset map pre-processing"):
            return dataset.map(
                preprocess_function,
                batched=True,
                num_proc=data_args.preprocessing_num_workers,
                load_from_cache_file=not data_args.overwrite_cache,
            )

    if training_args.do_train:
        train_dataset = prepared("train", data_args.max_train_samples)
    if training_args.do_eval:
        eval_dataset = prepared("validation", data_args.max_eval_samples)

    data_collator = (
        default_data_collator
        if data_args.pad_to_max_length
        else DataCollatorForMultipleChoice(
            tokenizer=tokenizer, pad_to_multiple_of=8 if training_args.fp16 else None, return_tensors="pt"
        )
    )

    def compute_metrics(eval_predictions):
        predictions, label_ids = eval_predictions
        preds = np.argmax(predictions, axis=1)
        return {"accuracy": (preds == label_ids).astype(np.float32).mean().item()}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        processing_class=tokenizer,
        data_collator=data_collator,
        compute_metrics=compute_metrics,
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
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    kwargs = {
        "finetuned_from": model_args.model_name_or_path,
        "tasks": "multiple-choice",
        "dataset_tags": "swag",
        "dataset_args": "regular",
        "dataset": "SWAG",
        "language": "en",
    }
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
