"""Fine-tunes a model that marks answers, in a loop of its own, with accelerate."""

import argparse
import json
import logging
import math
import os

import datasets
import numpy as np
import torch
import transformers
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import set_seed
from datasets import load_dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    CONFIG_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    SchedulerType,
    default_data_collator,
    get_scheduler,
)
from transformers.utils import check_min_version
from transformers.utils.versions import require_version
from utils_qa import exact_match_and_f1, postprocess_qa_predictions

check_min_version("5.0.0")
logger = get_logger(__name__)
require_version("datasets>=1.8.0", "To fix: pip install -r requirements.txt")
MODEL_CONFIG_CLASSES = list(MODEL_MAPPING.keys())
MODEL_TYPES = tuple(conf.model_type for conf in MODEL_CONFIG_CLASSES)


def parse_args():
    parser = argparse.ArgumentParser(description="Fine-tune a transformers model on question answering")
    parser.add_argument("--train_file", type=str, default=None)
    parser.add_argument("--validation_file", type=str, default=None)
    parser.add_argument("--max_seq_length", type=int, default=384)
    parser.add_argument("--pad_to_max_length", action="store_true")
    parser.add_argument("--model_name_or_path", type=str, required=False)
    parser.add_argument("--use_slow_tokenizer", action="store_true")
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
    parser.add_argument("--doc_stride", type=int, default=128)
    parser.add_argument("--n_best_size", type=int, default=20)
    parser.add_argument("--null_score_diff_threshold", type=float, default=0.0)
    parser.add_argument("--version_2_with_negative", action="store_true")
    parser.add_argument("--max_answer_length", type=int, default=30)
    parser.add_argument("--model_type", type=str, default=None, choices=MODEL_TYPES)
    parser.add_argument("--trust_remote_code", action="store_true")
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
    raw_datasets = load_dataset("json", data_files=data_files, field="data")
    if args.model_name_or_path:
        config = AutoConfig.from_pretrained(args.model_name_or_path, trust_remote_code=args.trust_remote_code)
    else:
        config = CONFIG_MAPPING[args.model_type]()
    tokenizer = AutoTokenizer.from_pretrained(
        args.model_name_or_path, use_fast=True, trust_remote_code=args.trust_remote_code
    )
    model = AutoModelForQuestionAnswering.from_pretrained(
        args.model_name_or_path,
        from_tf=bool(".ckpt" in args.model_name_or_path),
        config=config,
        trust_remote_code=args.trust_remote_code,
    )
    column_names = raw_datasets["train"].column_names
    pad_on_right = tokenizer.padding_side == "right"
    max_seq_length = min(args.max_seq_length, tokenizer.model_max_length)

    def tokenize(examples):
        examples["question"] = [question.lstrip() for question in examples["question"]]
        return tokenizer(
            examples["question" if pad_on_right else "context"],
            examples["context" if pad_on_right else "question"],
            truncation="only_second" if pad_on_right else "only_first",
            max_length=max_seq_length,
            stride=args.doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if args.pad_to_max_length else False,
        )

    def prepare_train_features(examples):
        tokenized_examples = tokenize(examples)
        sample_mapping = tokenized_examples.pop("overflow_to_sample_mapping")
        offset_mapping = tokenized_examples.pop("offset_mapping")
        tokenized_examples["start_positions"], tokenized_examples["end_positions"] = [], []
        for index, offsets in enumerate(offset_mapping):
            nowhere = tokenized_examples["input_ids"][index].index(tokenizer.cls_token_id)
            inside = [
                at
                for at, sequence in enumerate(tokenized_examples.sequence_ids(index))
                if sequence == (1 if pad_on_right else 0)
            ]
            answers = examples["answers"][sample_mapping[index]]
            start, end = nowhere, nowhere
            if len(answers["answer_start"]) > 0:
                first = answers["answer_start"][0]
                last = first + len(answers["text"][0])
                if offsets[inside[0]][0] <= first and offsets[inside[-1]][1] >= last:
                    start = max(at for at in inside if offsets[at][0] <= first)
                    end = min(at for at in inside if offsets[at][1] >= last)
            tokenized_examples["start_positions"].append(start)
            tokenized_examples["end_positions"].append(end)
        return tokenized_examples

    def prepare_validation_features(examples):
        tokenized_examples = tokenize(examples)
        sample_mapping = tokenized_examples.pop("overflow_to_sample_mapping")
        tokenized_examples["example_id"] = [examples["id"][at] for at in sample_mapping]
        tokenized_examples["offset_mapping"] = [
            [
                offset if sequence == (1 if pad_on_right else 0) else None
                for offset, sequence in zip(offsets, tokenized_examples.sequence_ids(index), strict=True)
            ]
            for index, offsets in enumerate(tokenized_examples["offset_mapping"])
        ]
        return tokenized_examples

    eval_examples = raw_datasets["validation"]
    with accelerator.main_process_first():
        train_dataset = raw_datasets["train"].map(prepare_train_features, batched=True, remove_columns=column_names)
        eval_dataset = eval_examples.map(prepare_validation_features, batched=True, remove_columns=column_names)
    print(f"{len(train_dataset)} windows of {len(raw_datasets['train'])} texts")

    if args.pad_to_max_length:
        data_collator = default_data_collator
    else:
        pad_to_multiple_of = {"fp8": 16, "no": None}.get(accelerator.mixed_precision, 8)
        data_collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=pad_to_multiple_of)
    train_dataloader = DataLoader(
        train_dataset, shuffle=True, collate_fn=data_collator, batch_size=args.per_device_train_batch_size
    )
    eval_dataset_for_model = eval_dataset.remove_columns(["example_id", "offset_mapping"])
    eval_dataloader = DataLoader(
        eval_dataset_for_model, collate_fn=data_collator, batch_size=args.per_device_eval_batch_size
    )

    def post_processing_function(examples, features, predictions, stage="eval"):
        predictions = postprocess_qa_predictions(
            examples=examples,
            features=features,
            predictions=predictions,
            version_2_with_negative=args.version_2_with_negative,
            n_best_size=args.n_best_size,
            max_answer_length=args.max_answer_length,
            null_score_diff_threshold=args.null_score_diff_threshold,
            output_dir=args.output_dir,
            prefix=stage,
        )
        formatted = [{"id": k, "prediction_text": v} for k, v in predictions.items()]
        references = [{"id": ex["id"], "answers": ex["answers"]} for ex in examples]
        return EvalPrediction(predictions=formatted, label_ids=references)

    def create_and_fill_np_array(start_or_end_logits, dataset, max_len):
        logits_concat = np.full((len(dataset), max_len), -100, dtype=np.float64)
        step = 0
        for output_logit in start_or_end_logits:
            batch_size, columns = output_logit.shape
            rows = min(batch_size, len(dataset) - step)
            logits_concat[step : step + rows, :columns] = output_logit[:rows]
            step += batch_size
        return logits_concat

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
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler
    )
    args.num_train_epochs = math.ceil(args.max_train_steps / len(train_dataloader))

    progress_bar = tqdm(range(args.max_train_steps), disable=not accelerator.is_local_main_process)
    completed_steps = 0
    for epoch in range(args.num_train_epochs):
        model.train()
        losses = []
        for batch in train_dataloader:
            outputs = model(**batch)
            loss = outputs.loss
            losses.append(loss.item())
            accelerator.backward(loss)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            progress_bar.update(1)
            completed_steps += 1
            if completed_steps >= args.max_train_steps:
                break
        print(f"epoch {epoch}:", [f"{loss:.4f}" for loss in losses])

    all_start_logits, all_end_logits = [], []
    model.eval()
    for batch in eval_dataloader:
        with torch.no_grad():
            outputs = model(**batch)
            start_logits, end_logits = outputs.start_logits, outputs.end_logits
            if not args.pad_to_max_length:
                start_logits = accelerator.pad_across_processes(start_logits, dim=1, pad_index=-100)
                end_logits = accelerator.pad_across_processes(end_logits, dim=1, pad_index=-100)
            all_start_logits.append(accelerator.gather_for_metrics(start_logits).cpu().numpy())
            all_end_logits.append(accelerator.gather_for_metrics(end_logits).cpu().numpy())
    max_len = max(x.shape[1] for x in all_start_logits)
    start_logits_concat = create_and_fill_np_array(all_start_logits, eval_dataset, max_len)
    end_logits_concat = create_and_fill_np_array(all_end_logits, eval_dataset, max_len)
    prediction = post_processing_function(eval_examples, eval_dataset, (start_logits_concat, end_logits_concat))
    eval_metric = exact_match_and_f1(predictions=prediction.predictions, references=prediction.label_ids)
    print(f"Evaluation metrics: {eval_metric}")

    if args.output_dir is not None:
        accelerator.wait_for_everyone()
        unwrapped_model = accelerator.unwrap_model(model)
        unwrapped_model.save_pretrained(
            args.output_dir, is_main_process=accelerator.is_main_process, save_function=accelerator.save
        )
        if accelerator.is_main_process:
            tokenizer.save_pretrained(args.output_dir)
            with open(os.path.join(args.output_dir, "all_results.json"), "w") as f:
                json.dump({f"eval_{k}": v for k, v in eval_metric.items()}, f)
    accelerator.end_training()


if __name__ == "__main__":
    main()
