"""Tokenizers whose whole pipeline is in tokenizer.json. The classes only set special tokens and the padding side.

All are byte pair encodings (Sennrich et al., 2016, §3.2). Llama's encodes characters, with "▁" for a space, and bytes
for characters outside the vocabulary (Kudo & Richardson, 2018). Those of GPT-NeoX and Qwen2 encode bytes, like GPT-2's.
"""

from __future__ import annotations

from typing import Any

from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.vocabulary import Token


class LlamaTokenizer(PreTrainedTokenizer):
    """Llama's tokenizer: `<s>` before every text, no token for padding, padding on the left.

    Args:
        unk_token, bos_token, eos_token: special tokens, unless the files set them.
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
    """Qwen2's tokenizer, which adds no special tokens to texts.

    Args:
        unk_token, eos_token, pad_token: special tokens, unless the files set them.
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
    """The tokenizer of GPT-NeoX and Pythia, which adds no special tokens to texts.

    Args:
        unk_token, bos_token, eos_token, pad_token: special tokens, unless the files set them.
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
