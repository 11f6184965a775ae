"""Tokenizers of later models, whose whole pipeline stands in tokenizer.json: a class each for what it does not say.

All are byte pair encodings (Sennrich et al., 2016, §3.2): Llama's of pieces of text in which "▁" is a space, with bytes
for what is in no piece (Kudo & Richardson, 2018); those of GPT-NeoX and Qwen2 of bytes, as GPT-2's.
"""

from __future__ import annotations

from typing import Any

from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.vocabulary import Token


class LlamaTokenizer(PreTrainedTokenizer):
    """Llama's: a beginning before every text, no token to pad with; prompts are padded on the left.

    Args:
        unk_token, bos_token, eos_token: special tokens, where the files name no others.
        options: the arguments of PreTrainedTokenizer.
    """

    padding_side = "left"

    def __init__(
        self,
        *,
        unk_token: Token | None = "<unk>",
        bos_token: Token | None = "<s>",
        eos_token: Token | None = "</s>",
        **options: Any,
    ) -> None:
        super().__init__(unk_token=unk_token, bos_token=bos_token, eos_token=eos_token, **options)


class Qwen2Tokenizer(PreTrainedTokenizer):
    """Qwen2's: nothing around a text.

    Args:
        unk_token, eos_token, pad_token: special tokens, where the files name no others.
        options: the arguments of PreTrainedTokenizer.
    """

    def __init__(
        self,
        *,
        unk_token: Token | None = "<|endoftext|>",
        eos_token: Token | None = "<|endoftext|>",
        pad_token: Token | None = "<|endoftext|>",
        **options: Any,
    ) -> None:
        super().__init__(unk_token=unk_token, eos_token=eos_token, pad_token=pad_token, **options)


class GPTNeoXTokenizer(PreTrainedTokenizer):
    """That of GPT-NeoX and Pythia: nothing around a text.

    Args:
        unk_token, bos_token, eos_token, pad_token: special tokens, where the files name no others.
        options: the arguments of PreTrainedTokenizer.
    """

    def __init__(
        self,
        *,
        unk_token: Token | None = "<|endoftext|>",
        bos_token: Token | None = "<|endoftext|>",
        eos_token: Token | None = "<|endoftext|>",
        pad_token: Token | None = "<|padding|>",
        **options: Any,
    ) -> None:
        super().__init__(unk_token=unk_token, bos_token=bos_token, eos_token=eos_token, pad_token=pad_token, **options)


LlamaTokenizerFast = LlamaTokenizer
Qwen2TokenizerFast = Qwen2Tokenizer
GPTNeoXTokenizerFast = GPTNeoXTokenizer
