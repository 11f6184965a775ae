"""RoBERTa's tokenizer: GPT-2's byte-level byte pair encoding, with special tokens around texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tokenizers import processors

from minitransformers.tokenization.base.tokenizer_files import TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token
from minitransformers.tokenization.families.gpt2 import GPT2Tokenizer


class RobertaTokenizer(GPT2Tokenizer):
    """Text to byte-level BPE ids, as `<s> text </s>` or `<s> text </s></s> text_pair </s>`.

    A space belongs to the word after it, so a word has different ids at the start of a text and inside it. The
    vocabulary, the merges and the added tokens are loaded from a tokenizer.json; tokenizer_config.json has the other
    arguments.

    Args:
        vocab, merges, errors: see GPT2Tokenizer. (`vocab_file`, `merges_file` are their old names.)
        bos_token, eos_token, sep_token, cls_token, unk_token, pad_token, mask_token: special tokens.
        add_prefix_space: whether to encode the first word of a text like a word inside it.
        trim_offsets: whether the offsets of a token exclude its space.
        options: the arguments of PreTrainedTokenizer.
    """

    def __init__(
        self,
        vocab: str | PathLike[str] | Mapping[str, int] | None = None,
        merges: str | PathLike[str] | Sequence[Any] | None = None,
        errors: str = "replace",
        bos_token: Token | None = "<s>",
        eos_token: Token | None = "</s>",
        sep_token: Token | None = "</s>",
        cls_token: Token | None = "<s>",
        unk_token: Token | None = "<unk>",
        pad_token: Token | None = "<pad>",
        mask_token: Token | None = "<mask>",
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if vocab is None and options.get("vocab_file") is None:
            smallest = (pad_token, unk_token, cls_token, sep_token, mask_token)
            vocab = {str(token): index for index, token in enumerate(smallest)}
        super().__init__(
            vocab,
            merges,
            errors,
            unk_token=unk_token,
            bos_token=bos_token,
            eos_token=eos_token,
            pad_token=pad_token,
            add_prefix_space=add_prefix_space,
            sep_token=sep_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **options,
        )
        self.trim_offsets = trim_offsets
        self.init_kwargs |= {"trim_offsets": trim_offsets}
        after, before = (
            (str(token), self.convert_tokens_to_ids(str(token))) for token in (self.sep_token, self.cls_token)
        )
        self._tokenizer.post_processor = processors.RobertaProcessing(after, before, trim_offsets, add_prefix_space)

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._from_files(files, options)
        found.pop("post_processor", None)  # the constructor builds it
        return found


RobertaTokenizerFast = RobertaTokenizer
BartTokenizer = BartTokenizerFast = RobertaTokenizer
