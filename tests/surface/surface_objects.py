"""Objects of both libraries whose attributes are compared: only they have what a constructor sets."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

import transformers
from families import FAMILIES, family_of

import minitransformers as mt

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
CONFIGS = {family.config_class: family for family in FAMILIES}
MODELS = {case.name for family in FAMILIES for case in family.cases}


@cache
def objects_of(name: str) -> tuple[Any, Any]:
    """An object of the class of that name of the reference, and one of ours; None where a class alone is compared."""
    return _made(transformers, name), _made(mt, name)


def _made(library: Any, name: str) -> Any:
    if name in MODELS:
        family = family_of(name)
        return getattr(library, name)(getattr(library, family.config_class)(**family.smallest_config(name)))
    if name in CONFIGS:
        return getattr(library, name)(**CONFIGS[name].smallest)
    if name in MAKERS:
        return MAKERS[name](library)
    return None


def tokenizer(library: Any, name: str = "BertTokenizer") -> Any:
    """A tokenizer with a vocabulary of a few words."""
    return getattr(library, name)(vocab={word: at for at, word in enumerate(WORDS)})


def trainer(library: Any, name: str = "Trainer") -> Any:
    """A Trainer of a tiny model."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = getattr(
            library, name.replace("Trainer", "TrainingArguments") if "Seq" in name else "TrainingArguments"
        )
        return getattr(library, name)(
            model=objects_of("BertForMaskedLM")[library is mt],
            args=arguments(output_dir=directory, report_to="none", use_cpu=True),
            train_dataset=[{"input_ids": [1], "labels": [1]}],
        )


def encoding(library: Any) -> Any:
    """A batch as a tokenizer makes it."""
    return tokenizer(library)(["a b", "b"], padding=True)


MAKERS: dict[str, Any] = {
    "PreTrainedConfig": lambda library: library.PreTrainedConfig(),
    "GenerationConfig": lambda library: library.GenerationConfig(),
    "BertTokenizer": tokenizer,
    "PreTrainedTokenizerBase": tokenizer,
    "PreTrainedTokenizerFast": tokenizer,
    "BatchEncoding": encoding,
    "BatchFeature": lambda library: library.BatchFeature({"pixel_values": [1]}),
    "ViTImageProcessor": lambda library: library.ViTImageProcessor(),
    "Trainer": trainer,
    "Seq2SeqTrainer": lambda library: trainer(library, "Seq2SeqTrainer"),
    "TrainingArguments": lambda library: library.TrainingArguments(output_dir="unused", use_cpu=True),
    "Seq2SeqTrainingArguments": lambda library: library.Seq2SeqTrainingArguments(output_dir="unused", use_cpu=True),
    "TrainerState": lambda library: library.TrainerState(),
    "TrainerControl": lambda library: library.TrainerControl(),
    "DynamicCache": lambda library: library.DynamicCache(),
    "EncoderDecoderCache": lambda library: library.EncoderDecoderCache(library.DynamicCache(), library.DynamicCache()),
    "HfArgumentParser": lambda library: library.HfArgumentParser([]),
    "DataCollatorWithPadding": lambda library: library.DataCollatorWithPadding(tokenizer(library)),
    "DataCollatorForLanguageModeling": lambda library: library.DataCollatorForLanguageModeling(tokenizer(library)),
}
