"""One small vocabulary as our tokenizer and as the reference's."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from minitransformers import PreTrainedTokenizerFast

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "dog", "sat", "un", "##believ", "##able", "play", "##ing", "on", "mat", ".", "!", "a", "##s"]
FIRST = len(SPECIAL)
VOCAB_SIZE = 60
SENTINELS = [f"<extra_id_{number}>" for number in range(12)]


def backend() -> Tokenizer:
    tokens = [*SPECIAL, *WORDS]
    tokens += [f"w{number}" for number in range(VOCAB_SIZE - len(tokens))]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


NAMED = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
CALLS = ["input_ids", "token_type_ids", "attention_mask"]


def options(**changes: Any) -> dict[str, Any]:
    named = {name: token for name, token in {**NAMED, **changes}.items() if token is not None}
    return {"model_input_names": CALLS, "model_max_length": 64, **named}


def ours(**changes: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend(), **options(**changes))


def theirs(**changes: Any) -> Any:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend(), **options(**changes))


@cache
def both(side: str = "right") -> tuple[Any, Any]:
    """The same tokenizer twice: ours and the reference's. Don't change them."""
    return ours(padding_side=side), theirs(padding_side=side)


@cache
def with_sentinels() -> PreTrainedTokenizerFast:
    """With an end-of-text token and T5's sentinels."""
    return ours(eos_token="</s>", extra_special_tokens=SENTINELS)


def chi_square_p(observed: Any, expected: Any) -> float:
    """The probability of counts at least as far from the expected ones (Pearson's test)."""
    observed, expected = torch.as_tensor(observed).double(), torch.as_tensor(expected).double()
    assert (expected >= 5).all(), "too few cases for the test"
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(observed) - 1) / 2).double(), statistic / 2))


def two_sample_p(one: Any, other: Any) -> float:
    """The probability that two rows of counts of one distribution differ at least as much."""
    table = torch.stack([torch.as_tensor(one), torch.as_tensor(other)]).double()
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((table.shape[1] - 1) / 2).double(), statistic / 2))
