"""Both libraries' Seq2SeqTrainers over the same tiny texts and weights, as in tutorials on translation."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

T5, BART = "T5ForConditionalGeneration", "BartForConditionalGeneration"
SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2, "<s>": 3}
WORDS = [f"w{index}" for index in range(12)]
VOCABULARY = SPECIAL | {word: index for index, word in enumerate(WORDS, len(SPECIAL))}

FIELDS: dict[str, dict[str, Any]] = {
    T5: {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 1,
        "num_heads": 2,
        "relative_attention_num_buckets": 8,
        "dropout_rate": 0.0,  # the random numbers of dropout differ between the libraries
        "decoder_start_token_id": 0,
    },
    BART: {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "max_position_embeddings": 32,
        "dropout": 0.0,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": 1,
        "bos_token_id": 3,
    },
}


def config_of(library: Any, name: str) -> Any:
    kind = library.T5Config if name == T5 else library.BartConfig
    return kind(vocab_size=len(VOCABULARY), pad_token_id=0, eos_token_id=1, **FIELDS[name])


@functools.cache
def weights(name: str) -> dict[str, Tensor]:
    """Weights after a little training, with which texts end at different lengths."""
    torch.manual_seed(3)
    made = getattr(transformers, name)(config_of(transformers, name)).double()
    collate = transformers.DataCollatorForSeq2Seq(tokenizer(transformers), model=made)
    rows = [{key: row[key] for key in ("input_ids", "labels")} for row in examples(transformers, 16, seed=5)]
    optimizer = torch.optim.Adam(made.parameters(), lr=0.03)
    for _ in range(30):
        made(**collate(rows)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {key: tensor.detach().clone() for key, tensor in made.state_dict().items()}


def model(library: Any, name: str) -> Any:
    """The same weights in both, in float64, because rounding errors can decide between two words."""
    state = {key: tensor.clone() for key, tensor in weights(name).items()}
    made = getattr(library, name)(config_of(library, name)).double()
    # By name: transformers replaces its module while it is imported, so two test files may hold different objects.
    if library.__name__ == "transformers":
        made.load_state_dict(state)
    else:
        made.load_hf_state_dict(state)
    return made


def tokenizer(library: Any) -> Any:
    """The vocabulary: words and the end of a text."""
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return library.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )


def examples(library: Any, size: int, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of one to seven words, and the same words in alphabetical order; with a column that no model takes."""
    draw = random.Random(seed)
    texts = [draw.choices(WORDS, k=draw.randint(1, 7)) for _ in range(size)]
    sources, targets = ([" ".join(words) for words in each] for each in (texts, map(sorted, texts)))
    encoded = tokenizer(library)(sources, text_target=targets, truncation=True, max_length=8)
    columns = {**encoded, "source": sources}
    return [{name: column[row] for name, column in columns.items()} for row in range(size)]


def decoded_metrics(words: Any) -> Any:
    """The metrics of tutorials: the share of equal texts, and the number of common words, after decoding."""

    def compute(prediction: Any) -> dict[str, float]:
        ids, labels = prediction
        ids = ids[0].argmax(-1) if isinstance(ids, tuple) else ids  # logits, if nothing was generated
        ids, labels = (np.where(each != -100, each, words.pad_token_id) for each in (ids, labels))
        texts, wanted = (words.batch_decode(each, skip_special_tokens=True) for each in (ids, labels))
        common = [len(set(text.split()) & set(each.split())) for text, each in zip(texts, wanted, strict=True)]
        return {
            "exact": np.mean([text == each for text, each in zip(texts, wanted, strict=True)]),
            "common": np.mean(common),
            "gen_len": np.mean([np.count_nonzero(each != words.pad_token_id) for each in ids]),
        }

    return compute


def trainer(library: Any, name: str, directory: Path, **arguments: Any) -> Any:
    """Keyword arguments are those of Seq2SeqTrainingArguments or of Seq2SeqTrainer."""
    words, made = tokenizer(library), model(library, name)
    options = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 3,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **arguments,
    }
    own = ("compute_metrics", "processing_class", "compute_loss_func", "preprocess_logits_for_metrics", "callbacks")
    others = {key: options.pop(key) for key in own if key in options}
    result = library.Seq2SeqTrainer(
        made,
        library.Seq2SeqTrainingArguments(str(directory), **options),
        data_collator=library.DataCollatorForSeq2Seq(words, model=made),
        train_dataset=examples(library, 16),
        eval_dataset=examples(library, 7, seed=1),
        **{"processing_class": words, "compute_metrics": decoded_metrics(words), **others},
    )
    result.remove_callback(library.PrinterCallback)
    return result
