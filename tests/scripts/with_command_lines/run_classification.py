"""Fine-tunes a classifier, in the manner of example scripts: all that it is told stands on its command line."""

import logging
import os
import sys
from dataclasses import dataclass, field

import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0.dev0")
require_version("torch>=2.0", "To fix: pip install torch")
logger = logging.getLogger(__name__)

POSITIVE = ["a fine film", "we loved it", "great fun", "a good story", "good people", "a great day"]
NEGATIVE = ["a bad film", "we left early", "no fun at all", "a poor story", "bad people", "a sad day"]


@dataclass
class DataTrainingArguments:
    """What the script does with the texts."""

    max_seq_length: int = field(default=128, metadata={"help": "Longer texts are cut."})
    pad_to_max_length: bool = field(default=True, metadata={"help": "Pad all texts to max_seq_length."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Take so many examples only."})


@dataclass
class ModelArguments:
    """Where the model comes from."""

    model_name_or_path: str = field(metadata={"help": "A directory or a name."})
    use_fast_tokenizer: bool = field(default=True)


class Texts(torch.utils.data.Dataset):
    def __init__(self, texts, labels, tokenizer, data_args):
        padding = "max_length" if data_args.pad_to_max_length else False
        self.encodings = tokenizer(texts, padding=padding, max_length=data_args.max_seq_length, truncation=True)
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {**{key: value[index] for key, value in self.encodings.items()}, "label": self.labels[index]}


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        model_args, data_args, training_args = parser.parse_json_file(json_file=sys.argv[1])
    else:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses()

    logging.basicConfig(format="%(levelname)s - %(name)s - %(message)s", handlers=[logging.StreamHandler(sys.stdout)])
    if training_args.should_log:
        transformers.utils.logging.set_verbosity_info()
    log_level = training_args.get_process_log_level()
    logger.setLevel(log_level)
    transformers.utils.logging.set_verbosity(log_level)
    transformers.utils.logging.enable_default_handler()
    transformers.utils.logging.enable_explicit_format()
    logger.info(f"16-bit training: {training_args.fp16}, level {log_level}")
    logger.warning(f"Process rank: {training_args.process_index}, device: {training_args.device}")

    last_checkpoint = None
    if os.path.isdir(training_args.output_dir) and training_args.do_train:
        last_checkpoint = get_last_checkpoint(training_args.output_dir)
        if last_checkpoint is not None and training_args.resume_from_checkpoint is None:
            logger.info(f"Checkpoint detected, resuming training at {os.path.basename(last_checkpoint)}.")
    set_seed(training_args.seed)

    options = {"cache_dir": None, "revision": "main", "token": None, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(model_args.model_name_or_path, num_labels=2, finetuning_task="texts", **options)
    tokenizer = AutoTokenizer.from_pretrained(
        model_args.model_name_or_path, use_fast=model_args.use_fast_tokenizer, **options
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        model_args.model_name_or_path, config=config, ignore_mismatched_sizes=False, **options
    )

    texts, labels = POSITIVE + NEGATIVE, [1] * len(POSITIVE) + [0] * len(NEGATIVE)
    train_dataset = Texts(texts, labels, tokenizer, data_args)
    if data_args.max_train_samples is not None:
        train_dataset = torch.utils.data.Subset(train_dataset, range(data_args.max_train_samples))
    eval_dataset = Texts(texts[4:8], labels[4:8], tokenizer, data_args)

    def compute_metrics(p: EvalPrediction):
        preds = p.predictions[0] if isinstance(p.predictions, tuple) else p.predictions
        return {"accuracy": (np.argmax(preds, axis=1) == p.label_ids).astype(np.float32).mean().item()}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        compute_metrics=compute_metrics,
        processing_class=tokenizer,
        data_collator=None if data_args.pad_to_max_length else DataCollatorWithPadding(tokenizer),
    )
    if training_args.do_train:
        checkpoint = training_args.resume_from_checkpoint or last_checkpoint
        result = trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        print(f"*** train *** {result.global_step} steps")
        trainer.save_state()
    if training_args.do_eval:
        metrics = trainer.evaluate(eval_dataset=eval_dataset)
        print(f"*** eval *** loss {metrics['eval_loss']:.4f}, accuracy {metrics['eval_accuracy']}")
    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "text-classification", "language": "en"}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)
    print(sorted(name for name in os.listdir(training_args.output_dir) if name.startswith(("checkpoint", "README"))))


if __name__ == "__main__":
    main()
