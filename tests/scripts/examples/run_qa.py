"""Fine-tunes a model that marks the answer to a question in a text."""

import logging
import os
import sys
from dataclasses import dataclass, field

import datasets
import transformers
from datasets import load_dataset
from trainer_qa import QuestionAnsweringTrainer
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version
from transformers.utils.versions import require_version
from utils_qa import exact_match_and_f1, postprocess_qa_predictions

check_min_version("5.0.0")
require_version("datasets>=1.8.0", "To fix: pip install -r requirements.txt")

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """The model that is fine-tuned, with its config and tokenizer."""

    model_name_or_path: str = field(metadata={"help": "A directory or a name on the hub."})
    config_name: str | None = field(default=None, metadata={"help": "If it is elsewhere."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "If it is elsewhere."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads are kept."})
    model_revision: str = field(default="main", metadata={"help": "A branch, tag or commit."})
    token: str | None = field(default=None, metadata={"help": "The hub's token."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})


@dataclass
class DataTrainingArguments:
    """Which texts are read, and how they are prepared."""

    train_file: str | None = field(default=None, metadata={"help": "A csv or json file."})
    validation_file: str | None = field(default=None, metadata={"help": "A csv or json file."})
    test_file: str | None = field(default=None, metadata={"help": "A csv or json file."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the texts again."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes."})
    max_seq_length: int = field(default=384, metadata={"help": "Longer texts are cut into windows."})
    pad_to_max_length: bool = field(default=True, metadata={"help": "Pad to `max_seq_length`."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first ones."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first ones."})
    version_2_with_negative: bool = field(default=False, metadata={"help": "Some questions have no answer."})
    null_score_diff_threshold: float = field(default=0.0, metadata={"help": "Above it, there is no answer."})
    doc_stride: int = field(default=128, metadata={"help": "What two windows share."})
    n_best_size: int = field(default=20, metadata={"help": "Starts and ends that are tried."})
    max_answer_length: int = field(default=30, metadata={"help": "In tokens."})


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

    files = {"train": data_args.train_file, "validation": data_args.validation_file, "test": data_args.test_file}
    raw_datasets = load_dataset(
        "json",
        data_files={key: path for key, path in files.items() if path is not None},
        field="data",
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )

    config = AutoConfig.from_pretrained(
        model_args.config_name if model_args.config_name else model_args.model_name_or_path,
        cache_dir=model_args.cache_dir,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        model_args.tokenizer_name if model_args.tokenizer_name else model_args.model_name_or_path,
        cache_dir=model_args.cache_dir,
        use_fast=True,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
    )
    model = AutoModelForQuestionAnswering.from_pretrained(
        model_args.model_name_or_path,
        from_tf=bool(".ckpt" in model_args.model_name_or_path),
        config=config,
        cache_dir=model_args.cache_dir,
        revision=model_args.model_revision,
        token=model_args.token,
        trust_remote_code=model_args.trust_remote_code,
    )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError("This script needs a tokenizer that knows where a token is in the text.")

    column_names = raw_datasets["train" if training_args.do_train else "validation"].column_names
    question_column_name = "question" if "question" in column_names else column_names[0]
    context_column_name = "context" if "context" in column_names else column_names[1]
    answer_column_name = "answers" if "answers" in column_names else column_names[2]
    pad_on_right = tokenizer.padding_side == "right"
    if data_args.max_seq_length > tokenizer.model_max_length:
        logger.warning(f"max_seq_length {data_args.max_seq_length} is cut to {tokenizer.model_max_length}.")
    max_seq_length = min(data_args.max_seq_length, tokenizer.model_max_length)

    def tokenize(examples):
        examples[question_column_name] = [question.lstrip() for question in examples[question_column_name]]
        return tokenizer(
            examples[question_column_name if pad_on_right else context_column_name],
            examples[context_column_name if pad_on_right else question_column_name],
            truncation="only_second" if pad_on_right else "only_first",
            max_length=max_seq_length,
            stride=data_args.doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if data_args.pad_to_max_length else False,
        )

    def prepare_train_features(examples):
        tokenized_examples = tokenize(examples)
        sample_mapping = tokenized_examples.pop("overflow_to_sample_mapping")
        offset_mapping = tokenized_examples.pop("offset_mapping")
        tokenized_examples["start_positions"], tokenized_examples["end_positions"] = [], []
        for index, offsets in enumerate(offset_mapping):
            input_ids = tokenized_examples["input_ids"][index]
            if tokenizer.cls_token_id in input_ids:
                nowhere = input_ids.index(tokenizer.cls_token_id)
            elif tokenizer.bos_token_id in input_ids:
                nowhere = input_ids.index(tokenizer.bos_token_id)
            else:
                nowhere = 0
            sequence_ids = tokenized_examples.sequence_ids(index)
            inside = [at for at, sequence in enumerate(sequence_ids) if sequence == (1 if pad_on_right else 0)]
            answers = examples[answer_column_name][sample_mapping[index]]
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
        tokenized_examples["example_id"] = []
        for index in range(len(tokenized_examples["input_ids"])):
            context = 1 if pad_on_right else 0
            tokenized_examples["example_id"].append(examples["id"][sample_mapping[index]])
            tokenized_examples["offset_mapping"][index] = [
                offset if sequence == context else None
                for offset, sequence in zip(
                    tokenized_examples["offset_mapping"][index], tokenized_examples.sequence_ids(index), strict=True
                )
            ]
        return tokenized_examples

    def prepared(dataset, function, desc):
        with training_args.main_process_first(desc=f"{desc} map pre-processing"):
            return dataset.map(
                function,
                batched=True,
                num_proc=data_args.preprocessing_num_workers,
                remove_columns=column_names,
                load_from_cache_file=not data_args.overwrite_cache,
                desc=f"Running tokenizer on {desc}",
            )

    if training_args.do_train:
        train_dataset = raw_datasets["train"]
        if data_args.max_train_samples is not None:
            train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
        train_dataset = prepared(train_dataset, prepare_train_features, "train dataset")
        if data_args.max_train_samples is not None:
            train_dataset = train_dataset.select(range(min(len(train_dataset), data_args.max_train_samples)))
    if training_args.do_eval:
        eval_examples = raw_datasets["validation"]
        if data_args.max_eval_samples is not None:
            eval_examples = eval_examples.select(range(min(len(eval_examples), data_args.max_eval_samples)))
        eval_dataset = prepared(eval_examples, prepare_validation_features, "validation dataset")
    if training_args.do_predict:
        predict_examples = raw_datasets["test"]
        predict_dataset = prepared(predict_examples, prepare_validation_features, "prediction dataset")

    data_collator = (
        default_data_collator
        if data_args.pad_to_max_length
        else DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if training_args.fp16 else None)
    )

    def post_processing_function(examples, features, predictions, stage="eval"):
        predictions = postprocess_qa_predictions(
            examples=examples,
            features=features,
            predictions=predictions,
            version_2_with_negative=data_args.version_2_with_negative,
            n_best_size=data_args.n_best_size,
            max_answer_length=data_args.max_answer_length,
            null_score_diff_threshold=data_args.null_score_diff_threshold,
            output_dir=training_args.output_dir,
            log_level=log_level,
            prefix=stage,
        )
        formatted = [{"id": str(k), "prediction_text": v} for k, v in predictions.items()]
        references = [{"id": str(ex["id"]), "answers": ex[answer_column_name]} for ex in examples]
        return EvalPrediction(predictions=formatted, label_ids=references)

    def compute_metrics(p: EvalPrediction):
        return exact_match_and_f1(predictions=p.predictions, references=p.label_ids)

    trainer = QuestionAnsweringTrainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset if training_args.do_train else None,
        eval_dataset=eval_dataset if training_args.do_eval else None,
        eval_examples=eval_examples if training_args.do_eval else None,
        processing_class=tokenizer,
        data_collator=data_collator,
        post_process_function=post_processing_function,
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

    if training_args.do_predict:
        logger.info("*** Predict ***")
        results = trainer.predict(predict_dataset, predict_examples)
        metrics = results.metrics
        metrics["predict_samples"] = len(predict_dataset)
        trainer.log_metrics("predict", metrics)
        trainer.save_metrics("predict", metrics)

    kwargs = {"finetuned_from": model_args.model_name_or_path, "tasks": "question-answering"}
    if training_args.push_to_hub:
        trainer.push_to_hub(**kwargs)
    else:
        trainer.create_model_card(**kwargs)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()
