"""Tiny random models that the reference saves and both libraries read, and texts of every kind."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

_WORDS = (
    "the a of in Paris London Ada Lovelace wrote lives wonderful terrible film I love hate it Where who is "
    "Unbelievably rain, rain! (yes) 3.14 don't café naïve ÜBER straße 東京 東京都 日本語 مرحبا שלום привет नमस्ते "
    "😀 👩‍👩‍👧 🇫🇷 e\u0301 \u200b \t \n — … $5 a-b x_y http://a.b/c "
)
WORDS = _WORDS.split(" ")[:-1]
POSITIONS = 48


def texts(seed: int, count: int = 200, longest: int = 14) -> list[str]:
    """Texts with accents, scripts, emoji and odd white space; some are empty, and some too long for the models."""
    draw = random.Random(seed)
    drawn = [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(count)]
    for number in range(0, count, 25):
        drawn[number] = draw.choice(["", " ", "\u200b", "😀"])
        drawn[number + 1] = " ".join(draw.choices(WORDS, k=90))
        drawn[number + 2] = "".join(chr(draw.randint(33, 0x2FFF)) for _ in range(12))
    return drawn


def wordpiece() -> Any:
    """A BERT tokenizer, trained on such texts."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    corpus = texts(0)[::2]  # characters of the other half may be unknown
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=180, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True)
    named = {f"{name}_token": token for name, token in names}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **named,
    )


def byte_level(pair_ends: bool = False) -> Any:
    """A byte-level BPE tokenizer: GPT-2's, or with `pair_ends` RoBERTa's and BART's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts(0), trainer)
    tokenizer.post_processor = (
        processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
        if pair_ends
        else processors.ByteLevel(trim_offsets=False)
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        **({"mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"} if pair_ends else {}),
    )


SMALL = {
    "Bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48},
    "GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": POSITIONS},
    "Bart": {
        "d_model": 16,
        **{
            f"{side}_{name}": size
            for side in ("encoder", "decoder")
            for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 48))
        },
    },
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2},
}
SMALL["Roberta"] = SMALL["Bert"]


def save(directory: Path, architecture: str, **fields: Any) -> str:
    """A random model of the architecture, with the tokenizer of its family, as the reference saves it."""
    family = next(name for name in SMALL if architecture.startswith(name))
    tokenizer = wordpiece() if family == "Bert" else byte_level(pair_ends=family != "GPT2")
    positions = {"max_position_embeddings": POSITIONS + 2} if family in ("Roberta", "Bart") else {}
    positions = {"max_position_embeddings": POSITIONS} if family == "Bert" else positions
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id or 0}
    ids |= {"eos_token_id": tokenizer.eos_token_id or 2}
    if family in ("Bart", "T5"):
        ids |= {"decoder_start_token_id": 2, "forced_eos_token_id": None, "forced_bos_token_id": None}
    scale = {"initializer_factor": 2.0} if family == "T5" else {}
    scale = {"init_std": 0.3} if family == "Bart" else scale or {"initializer_range": 0.3}
    config_class = getattr(transformers, f"{family}Config")
    config = config_class(vocab_size=len(tokenizer), **{**SMALL[family], **positions, **ids, **scale, **fields})
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config).eval()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def assert_same(ours: Any, theirs: Any, place: str = "") -> None:
    """Equal in structure, keys and values, numbers to 1e-5."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), place
        for key, value in theirs.items():
            assert_same(ours[key], value, f"{place}.{key}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), (place, ours, theirs)
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{place}[{number}]")
    elif isinstance(theirs, str) or theirs is None:
        assert ours == theirs, place
    else:
        assert abs(float(ours) - float(theirs)) < 1e-5, (place, ours, theirs)
