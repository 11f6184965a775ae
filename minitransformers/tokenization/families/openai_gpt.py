"""The first GPT's tokenizer: lower-cased words, then byte pair encoding inside each (Radford et al., 2018, §4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

from minitransformers.errors import InputError
from minitransformers.tokenization.base.backend import byte_pair_encoding, byte_pair_files
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token


class OpenAIGPTTokenizer(PreTrainedTokenizer):
    """Text to BPE ids of lower-cased words. No special tokens are added, and there is no token for padding.

    Words are split as by BERT, and accents are removed. The last piece of a word ends in "</w>", from which decoding
    restores spaces. A character outside the vocabulary becomes `unk_token`.

    Args:
        vocab: the path of a vocab.json, or a dictionary token -> id; by default only `unk_token`. (`vocab_file` is its
            old name.)
        merges: the path of a merges.txt, or a list of pairs. (`merges_file` is its old name.)
        unk_token: the token of unknown characters.
        options: the arguments of PreTrainedTokenizer.
    """

    vocab_files_names: Mapping[str, str] = {
        "vocab_file": "vocab.json",
        "merges_file": "merges.txt",
        "tokenizer_file": TOKENIZER_FILE,
    }
    do_lower_case = True

    def __init__(
        self,
        vocab: str | PathLike[str] | Mapping[str, int] | None = None,
        merges: str | PathLike[str] | Sequence[Any] | None = None,
        unk_token: Token | None = "<unk>",
        *,
        vocab_file: str | PathLike[str] | None = None,
        merges_file: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if (vocab is not None and vocab_file is not None) or (merges is not None and merges_file is not None):
            raise InputError("vocab and vocab_file, merges and merges_file mean the same: pass only one of each.")
        vocab = (vocab_file or {str(unk_token): 0}) if vocab is None else vocab
        merges = (merges_file or []) if merges is None else merges
        backend = Tokenizer(byte_pair_encoding(vocab, merges, end_of_word="</w>", unk_token=str(unk_token)))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.BPEDecoder(suffix="</w>")
        self._tokenizer = backend
        super().__init__(unk_token=unk_token, **options)

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        return byte_pair_files(files, cls.__name__)


OpenAIGPTTokenizerFast = OpenAIGPTTokenizer
