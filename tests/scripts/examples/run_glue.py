"""Fine-tunes a classifier of sentences, or of pairs of sentences, on local files or a GLUE task."""

import logging
import os
import random
import sys
from dataclasses import dataclass, field
from typing import Optional

import datasets
import numpy as np
import transformers
from datasets import load_dataset
from sklearn.metrics import accuracy_score, f1_score
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    HfArgumentParser,
    PretrainedConfig,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0")
require_version("datasets>=1.8.0", "To fix: pip install -r requirements.txt")

COLUMNS_OF_TASK = {
    "cola": ("sentence", None),
    "mrpc": ("sentence1", "sentence2"),
    "qnli": ("question", "sentence"),
    "sst2": ("sentence", None),
}

logger = logging.getLogger(__name__)


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    task_name: Optional[str] = field(default=None, metadata={"help": f"One of {', '.join(COLUMNS_OF_TASK)}."})
    max_seq_length: int = field(default=128, metadata={"help": "Longer texts are truncated."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    pad_to_max_length: bool = field(default=True, metadata={"help": "Pad to `max_seq_length`, not to the batch."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    max_predict_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    train_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})
    validation_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})
    test_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})

    def __post_init__(self):
        if self.task_name is not None:
            self.task_name = self.task_name.lower()
            if self.task_name not in COLUMNS_OF_TASK:
                raise ValueError("Unknown task: choose one of " + ",".join(COLUMNS_OF_TASK))
        elif self.train_file is None or self.validation_file is None:
            raise ValueError("Name a GLUE task, or files for training and validation.")
        else:
            extension = self.train_file.split(".")[-1]
            assert extension in ["csv", "json"], "`train_file` should be a csv or a json file."


@dataclass
class ModelArguments:
    """The model that is fine-tuned, with its config and tokenizer."""

    model_name_or_path: str = field(metadata={"help": "A directory or a name on the hub."})
    config_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    tokenizer_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    cache_dir: Optional[str] = field(default=None, metadata={"help": "Where downloads are kept."})
    use_fast_tokenizer: bool = field(default=True, metadata={"help": "Use the tokenizers library."})
    model_revision: str = field(default="main", metadata={"help": "A branch, tag or commit."})
    token: Optional[str] = field(default=None, metadata={"help": "The hub's token."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})
    ignore_mismatched_sizes: bool = field(default=False, metadata={"help": "A head of other sizes is made anew."})


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
    logger.info(f"Training/evaluation parameters {type(training_args).__name__}")

    last_checkpoint = None
    if os.path.isdir(training_args.output_dir) and training_args.do_train:
        last_checkpoint = get_last_checkpoint(training_args.output_dir)
        if last_checkpoint is not None and training_args.resume_from_checkpoint is None:
            logger.info(f"Checkpoint detected, resuming training at {last_checkpoint}.")
    set_seed(training_args.seed)

    if data_args.task_name is not None:
        raw_datasets = load_dataset(
            "nyu-mll/glue", data_args.task_name, cache_dir=model_args.cache_dir, token=model_args.token
        )
    else:
        data_files = {"train": data_args.train_file, "validation": data_args.validation_file}
        if training_args.do_predict:
            if data_args.test_file is None:
                raise ValueError("Predicting needs a `test_file`.")
            data_files["test"] = data_args.test_file
        for key in data_files:
            logger.info(f"load a local file for {key}: {data_files[key]}")
        kind = "csv" if data_args.train_file.endswith(".csv") else "json"
        raw_datasets = load_dataset(kind, data_files=data_files, cache_dir=model_args.cache_dir, token=model_args.token)

    is_regression = raw_datasets["train"].features["label"].dtype in ["float32", "float64"]
    if is_regression:
        num_labels = 1
    elif data_args.task_name is not None:
        label_list = raw_datasets["train"].features["label"].names
        num_labels = len(label_list)
    else:
        label_list = raw_datasets["train"].unique("label")
        label_list.sort()
        num_labels = len(label_list)

    config = AutoConfig.from_pretrained(
        model_args.config_name if model_args.config_name else model_args.model_name_or_path,
        num_labels=num_labels,
        finetuning_task=data_args.task_name,
        cache_dir=model_args.cache_dir,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        model_args.tokenizer_name if model_args.tokenizer_name else model_args.model_name_or_path,
        cache_dir=model_args.cache_dir,
        use_fast=model_args.use_fast_tokenizer,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        model_args.model_name_or_path,
        config=config,
        cache_dir=model_args.cache_dir,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
        ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
    )

    if data_args.task_name is not None:
        sentence1_key, sentence2_key = COLUMNS_OF_TASK[data_args.task_name]
    else:
        names = [name for name in raw_datasets["train"].column_names if name != "label"]
        if "sentence1" in names and "sentence2" in names:
            sentence1_key, sentence2_key = "sentence1", "sentence2"
        else:
            sentence1_key, sentence2_key = (names[0], names[1]) if len(names) >= 2 else (names[0], None)
    padding = "max_length" if data_args.pad_to_max_length else False

    label_to_id = None
    if (
        model.config.label2id != PretrainedConfig(num_labels=num_labels).label2id
        and data_args.task_name is not None
        and not is_regression
    ):
        known = {name.lower(): index for name, index in model.config.label2id.items()}
        if sorted(known) == sorted(label_list):
            label_to_id = {index: int(known[label_list[index]]) for index in range(num_labels)}
        else:
            logger.warning(f"The model's labels {sorted(known)} are not the data's {sorted(label_list)}: ignored.")
    elif data_args.task_name is None and not is_regression:
        label_to_id = {label: index for index, label in enumerate(label_list)}
    if label_to_id is not None:
        model.config.label2id = label_to_id
        model.config.id2label = {index: label for label, index in config.label2id.items()}

    if data_args.max_seq_length > tokenizer.model_max_length:
        logger.warning(f"max_seq_length {data_args.max_seq_length} is cut to {tokenizer.model_max_length}.")
    max_seq_length = min(data_args.max_seq_length, tokenizer.model_max_length)

    def preprocess_function(examples):
        texts = (
            (examples[sentence1_key],) if sentence2_key is None else (examples[sentence1_key], examples[sentence2_key])
        )
        result = tokenizer(*texts, padding=padding, max_length=max_seq_length, truncation=True)
        if label_to_id is not None and "label" in examples:
            result["label"] = [label_to_id[label] if label != -1 else -1 for label in examples["label"]]
        return result

    with training_args.main_process_first(desc="dataset map pre-processing"):
        raw_datasets = raw_datasets.map(
            preprocess_function,
            batched=True,
            load_from_cache_file=not data_args.overwrite_cache,
            desc="Running tokenizer on dataset",
        )
    if training_args.do_train:
        train_dataset = raw_datasets["train"]
        if data_args.max_train_samples is not None:
            train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
        for index in random.sample(range(len(train_dataset)), 3):
            logger.info(f"Sample {index} of the training set: {train_dataset[index]}.")
    if training_args.do_eval:
        eval_dataset = raw_datasets["validation"]
        if data_args.max_eval_samples is not None:
            eval_dataset = eval_dataset.select(range(min(len(eval_dataset), data_args.max_eval_samples)))
    if training_args.do_predict:
        predict_dataset = raw_datasets["test"]
        if data_args.max_predict_samples is not None:
            predict_dataset = predict_dataset.select(range(min(len(predict_dataset), data_args.max_predict_samples)))

    def compute_metrics(p: EvalPrediction):
        preds = p.predictions[0] if isinstance(p.predictions, tuple) else p.predictions
        preds = np.squeeze(preds) if is_regression else np.argmax(preds, axis=1)
        if is_regression:
            return {"mse": ((preds - p.label_ids) ** 2).mean().item()}
        result = {
            "accuracy": accuracy_score(p.label_ids, preds),
            "f1": float(f1_score(p.label_ids, preds, average="macro")),
        }
        result["combined_score"] = np.mean(list(result.values())).item()
        return result

    if data_args.pad_to_max_length:
        data_collator = default_data_collator
    elif training_args.fp16:
        data_collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    else:
        data_collator = None

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        compute_metrics=compute_metrics,
        processing_class=tokenizer,
        data_collator=data_collator,
    )

    if training_args.do_train:
        checkpoint = None
        if training_args.resume_from_checkpoint is not None:
            checkpoint = training_args.resume_from_checkpoint
        elif last_checkpoint is not None:
            checkpoint = last_checkpoint
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        metrics = train_result.metrics
        max_train_samples = data_args.max_train_samples or len(train_dataset)
        metrics["train_samples"] = min(max_train_samples, len(train_dataset))
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()

    if training_args.do_eval:
        logger.info("*** Evaluate ***")
        for task, dataset in [(data_args.task_name, eval_dataset)]:
            metrics = trainer.evaluate(eval_dataset=dataset)
            metrics["eval_samples"] = min(data_args.max_eval_samples or len(dataset), len(dataset))
            trainer.log_metrics("eval", metrics)
            trainer.save_metrics("eval", metrics if task is None else {f"{task}_{k}": v for k, v in metrics.items()})

    if training_args.do_predict:
        logger.info("*** Predict ***")
        if "label" in predict_dataset.features:
            predict_dataset = predict_dataset.remove_columns("label")
        predictions = trainer.predict(predict_dataset, metric_key_prefix="predict").predictions
        predictions = np.squeeze(predictions) if is_regression else np.argmax(predictions, axis=1)
        output_file = os.path.join(training_args.output_dir, f"predict_results_{data_args.task_name}.txt")
        if trainer.is_world_process_zero():
            with open(output_file, "w") as writer:
                writer.write("index\tprediction\n")
                for index, item in enumerate(predictions):
                    writer.write(f"{index}\t{item:3.3f}\n" if is_regression else f"{index}\t{label_list[item]}\n")

    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "text-classification"}
    if data_args.task_name is not None:
        kwargs["language"] = "en"
        kwargs["dataset_tags"] = "glue"
        kwargs["dataset_args"] = data_args.task_name
        kwargs["dataset"] = f"GLUE {data_args.task_name.upper()}"
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
