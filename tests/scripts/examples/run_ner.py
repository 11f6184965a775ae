"""Fine-tunes a tagger of words on local files."""

import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Optional

import datasets
import numpy as np
import transformers
from datasets import ClassLabel, load_dataset
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    HfArgumentParser,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0")
require_version("datasets>=1.8.0", "To fix: pip install -r requirements.txt")

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """The model that is fine-tuned, with its config and tokenizer."""

    model_name_or_path: str = field(metadata={"help": "A directory or a name on the hub."})
    config_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    tokenizer_name: Optional[str] = field(default=None, metadata={"help": "If it is elsewhere."})
    cache_dir: Optional[str] = field(default=None, metadata={"help": "Where downloads are kept."})
    model_revision: str = field(default="main", metadata={"help": "A branch, tag or commit."})
    token: Optional[str] = field(default=None, metadata={"help": "The hub's token."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})
    ignore_mismatched_sizes: bool = field(default=False, metadata={"help": "A head of other sizes is made anew."})


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    task_name: Optional[str] = field(default="ner", metadata={"help": "The name of the task (ner, pos...)."})
    train_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})
    validation_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})
    test_file: Optional[str] = field(default=None, metadata={"help": "A csv or json file."})
    text_column_name: Optional[str] = field(default=None, metadata={"help": "The column of words."})
    label_column_name: Optional[str] = field(default=None, metadata={"help": "The column of labels."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    preprocessing_num_workers: Optional[int] = field(default=None, metadata={"help": "Processes."})
    max_seq_length: Optional[int] = field(default=None, metadata={"help": "Longer texts are truncated."})
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad to the longest length."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Use only the first ones."})
    label_all_tokens: bool = field(default=False, metadata={"help": "Label all tokens of a word, not the first."})
    return_entity_level_metrics: bool = field(default=False, metadata={"help": "Figures of each entity."})

    def __post_init__(self):
        if self.train_file is None and self.validation_file is None:
            raise ValueError("Name a file for training or validation.")
        self.task_name = self.task_name.lower()


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
    if data_args.validation_file is not None:
        data_files["validation"] = data_args.validation_file
    if data_args.test_file is not None:
        data_files["test"] = data_args.test_file
    extension = (data_args.train_file or data_args.validation_file).split(".")[-1]
    raw_datasets = load_dataset(extension, data_files=data_files, cache_dir=model_args.cache_dir)

    part = raw_datasets["train"] if training_args.do_train else raw_datasets["validation"]
    column_names, features = part.column_names, part.features
    if data_args.text_column_name is not None:
        text_column_name = data_args.text_column_name
    else:
        text_column_name = "tokens" if "tokens" in column_names else column_names[0]
    if data_args.label_column_name is not None:
        label_column_name = data_args.label_column_name
    elif f"{data_args.task_name}_tags" in column_names:
        label_column_name = f"{data_args.task_name}_tags"
    else:
        label_column_name = column_names[1]

    labels_are_int = isinstance(features[label_column_name].feature, ClassLabel)
    if labels_are_int:
        label_list = features[label_column_name].feature.names
        label_to_id = {index: index for index in range(len(label_list))}
    else:
        label_list = sorted({label for labels in raw_datasets["train"][label_column_name] for label in labels})
        label_to_id = {label: index for index, label in enumerate(label_list)}
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
    tokenizer_name_or_path = model_args.tokenizer_name if model_args.tokenizer_name else model_args.model_name_or_path
    if config.model_type in {"bloom", "gpt2", "roberta", "deberta"}:
        tokenizer = AutoTokenizer.from_pretrained(
            tokenizer_name_or_path,
            cache_dir=model_args.cache_dir,
            use_fast=True,
            revision=model_args.model_revision,
            token=model_args.token,
            trust_remote_code=model_args.trust_remote_code,
            add_prefix_space=True,
        )
    else:
        tokenizer = AutoTokenizer.from_pretrained(
            tokenizer_name_or_path,
            cache_dir=model_args.cache_dir,
            use_fast=True,
            revision=model_args.model_revision,
            token=model_args.token,
            trust_remote_code=model_args.trust_remote_code,
        )
    model = AutoModelForTokenClassification.from_pretrained(
        model_args.model_name_or_path,
        config=config,
        cache_dir=model_args.cache_dir,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
        ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
    )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError("This script needs a tokenizer that knows which word a token is of.")

    if model.config.label2id != PretrainedConfig(num_labels=num_labels).label2id:
        if sorted(model.config.label2id.keys()) == sorted(label_list):
            if labels_are_int:
                label_to_id = {i: int(model.config.label2id[l]) for i, l in enumerate(label_list)}
                label_list = [model.config.id2label[i] for i in range(num_labels)]
            else:
                label_list = [model.config.id2label[i] for i in range(num_labels)]
                label_to_id = {l: i for i, l in enumerate(label_list)}
        else:
            logger.warning(f"The model's labels {sorted(model.config.label2id)} are not the data's {label_list}.")
    model.config.label2id = {l: i for i, l in enumerate(label_list)}
    model.config.id2label = dict(enumerate(label_list))

    # B-X -> I-X, for the further tokens of a word
    inside = [
        label_list.index("I-" + l[2:]) if l.startswith("B-") and "I-" + l[2:] in label_list else index
        for index, l in enumerate(label_list)
    ]
    padding = "max_length" if data_args.pad_to_max_length else False

    def tokenize_and_align_labels(examples):
        tokenized_inputs = tokenizer(
            examples[text_column_name],
            padding=padding,
            truncation=True,
            max_length=data_args.max_seq_length,
            is_split_into_words=True,
        )
        aligned = []
        for index, label in enumerate(examples[label_column_name]):
            previous, label_ids = None, []
            for word in tokenized_inputs.word_ids(batch_index=index):
                if word is None:
                    label_ids.append(-100)
                elif word != previous:
                    label_ids.append(label_to_id[label[word]])
                else:
                    label_ids.append(inside[label_to_id[label[word]]] if data_args.label_all_tokens else -100)
                previous = word
            aligned.append(label_ids)
        tokenized_inputs["labels"] = aligned
        return tokenized_inputs

    def prepared(split, most=None):
        dataset = raw_datasets[split]
        if most is not None:
            dataset = dataset.select(range(min(len(dataset), most)))
        with training_args.main_process_first(desc=f"{split} dataset map pre-processing"):
            return dataset.map(
                tokenize_and_align_labels,
                batched=True,
                num_proc=data_args.preprocessing_num_workers,
                load_from_cache_file=not data_args.overwrite_cache,
                desc=f"Running tokenizer on {split} dataset",
            )

    if training_args.do_train:
        train_dataset = prepared("train", data_args.max_train_samples)
    if training_args.do_eval:
        eval_dataset = prepared("validation", data_args.max_eval_samples)
    if training_args.do_predict:
        predict_dataset = prepared("test")

    data_collator = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8 if training_args.fp16 else None)

    def compute_metrics(p):
        predictions, labels = p
        predictions = np.argmax(predictions, axis=2)
        true, guessed = labels[labels != -100], predictions[labels != -100]
        figures = precision_recall_fscore_support(true, guessed, average="macro", zero_division=0)
        results = dict(zip(("precision", "recall", "f1"), map(float, figures[:3]), strict=True))
        results["accuracy"] = accuracy_score(true, guessed)
        if data_args.return_entity_level_metrics:
            for index, label in enumerate(label_list):
                results[f"{label}_recall"] = float((guessed[true == index] == index).mean())
        return results

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
        metrics = train_result.metrics
        trainer.save_model()
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

    if training_args.do_predict:
        logger.info("*** Predict ***")
        predictions, labels, metrics = trainer.predict(predict_dataset, metric_key_prefix="predict")
        predictions = np.argmax(predictions, axis=2)
        true_predictions = [
            [label_list[p] for (p, l) in zip(prediction, label, strict=True) if l != -100]
            for prediction, label in zip(predictions, labels, strict=True)
        ]
        trainer.log_metrics("predict", metrics)
        trainer.save_metrics("predict", metrics)
        if trainer.is_world_process_zero():
            with open(os.path.join(training_args.output_dir, "predictions.txt"), "w") as writer:
                for prediction in true_predictions:
                    writer.write(" ".join(prediction) + "\n")

    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "token-classification"}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
