"""Fine-tunes a tagger of words in a loop of its own, with accelerate."""

import argparse
import json
import logging
import math
import os
import random

import datasets
import torch
import transformers
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import set_seed
from datasets import ClassLabel, load_dataset
from sklearn.metrics import precision_recall_fscore_support
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    CONFIG_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PretrainedConfig,
    SchedulerType,
    default_data_collator,
    get_scheduler,
)
from transformers.utils import check_min_version
from transformers.utils.versions import require_version

check_min_version("5.0.0")
logger = get_logger(__name__)
require_version("datasets>=1.8.0", "To fix: pip install -r requirements.txt")
MODEL_CONFIG_CLASSES = list(MODEL_MAPPING.keys())
MODEL_TYPES = tuple(conf.model_type for conf in MODEL_CONFIG_CLASSES)


def parse_args():
    parser = argparse.ArgumentParser(description="Fine-tune a transformers model on token classification")
    parser.add_argument("--train_file", type=str, default=None)
    parser.add_argument("--validation_file", type=str, default=None)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--pad_to_max_length", action="store_true")
    parser.add_argument("--model_name_or_path", type=str, required=False)
    parser.add_argument("--per_device_train_batch_size", type=int, default=8)
    parser.add_argument("--per_device_eval_batch_size", type=int, default=8)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--max_train_steps", type=int, default=None)
    parser.add_argument("--lr_scheduler_type", type=SchedulerType, default="linear")
    parser.add_argument("--num_warmup_steps", type=int, default=0)
    parser.add_argument("--output_dir", type=str, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--model_type", type=str, default=None, choices=MODEL_TYPES)
    parser.add_argument("--label_all_tokens", action="store_true")
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument("--ignore_mismatched_sizes", action="store_true")
    return parser.parse_args()


def main():
    args = parse_args()
    accelerator = Accelerator()
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s", datefmt="%m/%d/%Y %H:%M:%S", level=logging.INFO
    )
    logger.info(accelerator.state, main_process_only=False)
    if accelerator.is_local_main_process:
        datasets.utils.logging.set_verbosity_warning()
        transformers.utils.logging.set_verbosity_info()
    else:
        datasets.utils.logging.set_verbosity_error()
        transformers.utils.logging.set_verbosity_error()
    if args.seed is not None:
        set_seed(args.seed)
    if accelerator.is_main_process and args.output_dir is not None:
        os.makedirs(args.output_dir, exist_ok=True)
    accelerator.wait_for_everyone()

    data_files = {"train": args.train_file, "validation": args.validation_file}
    raw_datasets = load_dataset(args.train_file.split(".")[-1], data_files=data_files)
    column_names, features = raw_datasets["train"].column_names, raw_datasets["train"].features
    text_column_name = "tokens" if "tokens" in column_names else column_names[0]
    label_column_name = "ner_tags" if "ner_tags" in column_names else column_names[1]
    labels_are_int = isinstance(features[label_column_name].feature, ClassLabel)
    if labels_are_int:
        label_list = features[label_column_name].feature.names
    else:
        label_list = sorted({label for labels in raw_datasets["train"][label_column_name] for label in labels})
    label_to_id = {label: index for index, label in enumerate(label_list)}
    num_labels = len(label_list)

    if args.model_name_or_path:
        config = AutoConfig.from_pretrained(
            args.model_name_or_path, num_labels=num_labels, trust_remote_code=args.trust_remote_code
        )
    else:
        config = CONFIG_MAPPING[args.model_type]()
    if config.model_type in {"bloom", "gpt2", "roberta"}:
        tokenizer = AutoTokenizer.from_pretrained(
            args.model_name_or_path, use_fast=True, add_prefix_space=True, trust_remote_code=args.trust_remote_code
        )
    else:
        tokenizer = AutoTokenizer.from_pretrained(
            args.model_name_or_path, use_fast=True, trust_remote_code=args.trust_remote_code
        )
    model = AutoModelForTokenClassification.from_pretrained(
        args.model_name_or_path,
        from_tf=bool(".ckpt" in args.model_name_or_path),
        config=config,
        ignore_mismatched_sizes=args.ignore_mismatched_sizes,
        trust_remote_code=args.trust_remote_code,
    )
    embedding_size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embedding_size:
        model.resize_token_embeddings(len(tokenizer))
    if model.config.label2id != PretrainedConfig(num_labels=num_labels).label2id:
        if sorted(model.config.label2id.keys()) == sorted(label_list):
            label_list = [model.config.id2label[i] for i in range(num_labels)]
            label_to_id = {label: index for index, label in enumerate(label_list)}
    model.config.label2id = {label: index for index, label in enumerate(label_list)}
    model.config.id2label = dict(enumerate(label_list))
    inside = [
        label_list.index("I-" + label[2:]) if label.startswith("B-") and "I-" + label[2:] in label_list else index
        for index, label in enumerate(label_list)
    ]
    padding = "max_length" if args.pad_to_max_length else False

    def tokenize_and_align_labels(examples):
        tokenized_inputs = tokenizer(
            examples[text_column_name],
            max_length=args.max_length,
            padding=padding,
            truncation=True,
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
                    label_ids.append(inside[label_to_id[label[word]]] if args.label_all_tokens else -100)
                previous = word
            aligned.append(label_ids)
        tokenized_inputs["labels"] = aligned
        return tokenized_inputs

    with accelerator.main_process_first():
        processed = raw_datasets.map(tokenize_and_align_labels, batched=True, remove_columns=column_names)
    train_dataset, eval_dataset = processed["train"], processed["validation"]
    for index in random.sample(range(len(train_dataset)), 3):
        logger.info(f"Sample {index} of the training set: {train_dataset[index]}.")

    if args.pad_to_max_length:
        data_collator = default_data_collator
    else:
        pad_to_multiple_of = {"fp8": 16, "no": None}.get(accelerator.mixed_precision, 8)
        data_collator = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=pad_to_multiple_of)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, collate_fn=data_collator, batch_size=args.per_device_train_batch_size
    )
    eval_dataloader = DataLoader(eval_dataset, collate_fn=data_collator, batch_size=args.per_device_eval_batch_size)

    no_decay = ["bias", "LayerNorm.weight"]
    optimizer_grouped_parameters = [
        {
            "params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],
            "weight_decay": args.weight_decay,
        },
        {
            "params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)],
            "weight_decay": 0.0,
        },
    ]
    optimizer = torch.optim.AdamW(optimizer_grouped_parameters, lr=args.learning_rate)
    if args.max_train_steps is None:
        args.max_train_steps = args.num_train_epochs * len(train_dataloader)
    lr_scheduler = get_scheduler(
        name=args.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=args.num_warmup_steps,
        num_training_steps=args.max_train_steps,
    )
    device = accelerator.device
    model.to(device)
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler
    )
    args.num_train_epochs = math.ceil(args.max_train_steps / len(train_dataloader))

    def get_labels(predictions, references):
        y_pred, y_true = predictions.detach().cpu().numpy(), references.detach().cpu().numpy()
        return y_true[y_true != -100].tolist(), y_pred[y_true != -100].tolist()

    progress_bar = tqdm(range(args.max_train_steps), disable=not accelerator.is_local_main_process)
    completed_steps = 0
    for epoch in range(args.num_train_epochs):
        model.train()
        losses = []
        for batch in train_dataloader:
            outputs = model(**batch)
            loss = outputs.loss
            accelerator.backward(loss)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            progress_bar.update(1)
            completed_steps += 1
            if completed_steps >= args.max_train_steps:
                break

        model.eval()
        true, guessed, samples_seen = [], [], 0
        for step, batch in enumerate(eval_dataloader):
            with torch.no_grad():
                outputs = model(**batch)
            predictions, labels = outputs.logits.argmax(dim=-1), batch["labels"]
            if not args.pad_to_max_length:
                predictions = accelerator.pad_across_processes(predictions, dim=1, pad_index=-100)
                labels = accelerator.pad_across_processes(labels, dim=1, pad_index=-100)
            predictions_gathered, labels_gathered = accelerator.gather((predictions, labels))
            if accelerator.num_processes > 1 and step == len(eval_dataloader) - 1:
                predictions_gathered = predictions_gathered[: len(eval_dataset) - samples_seen]
                labels_gathered = labels_gathered[: len(eval_dataset) - samples_seen]
            else:
                samples_seen += labels_gathered.shape[0]
            refs, preds = get_labels(predictions_gathered, labels_gathered)
            true += refs
            guessed += preds
        figures = precision_recall_fscore_support(true, guessed, average="macro", zero_division=0)[:3]
        eval_metric = dict(zip(("precision", "recall", "f1"), map(float, figures), strict=True))
        accelerator.print(f"epoch {epoch}:", eval_metric, [f"{loss:.4f}" for loss in losses])

    if args.output_dir is not None:
        accelerator.wait_for_everyone()
        unwrapped_model = accelerator.unwrap_model(model)
        unwrapped_model.save_pretrained(
            args.output_dir, is_main_process=accelerator.is_main_process, save_function=accelerator.save
        )
        if accelerator.is_main_process:
            tokenizer.save_pretrained(args.output_dir)
            all_results = {f"eval_{k}": v for k, v in eval_metric.items()}
            with open(os.path.join(args.output_dir, "all_results.json"), "w") as f:
                json.dump(all_results, f)
    accelerator.end_training()


if __name__ == "__main__":
    main()
