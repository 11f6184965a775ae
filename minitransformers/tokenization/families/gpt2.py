"""GPT-2's tokenizer: byte-level byte pair encoding.

Radford et al., 2019, §2.2; byte pair encoding: Sennrich et al., 2016, §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers

from minitransformers.errors import InputError, warn
from minitransformers.tokenization.base.backend import byte_pair_encoding, byte_pair_files
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token


class GPT2Tokenizer(PreTrainedTokenizer):
    """Text to byte-level BPE ids. No text is unknown; nothing is added around it, and there is no token to pad with.

    A space belongs to the word behind it, so a word has other ids at the start of a text than inside. From a directory
    with a tokenizer.json the vocabulary, the merges, the added tokens and what is put around texts are taken; the rest
    of the pipeline follows the arguments here, which tokenizer_config.json sets.

    Args:
        vocab: the path of a vocab.json, or a dictionary token -> id. (`vocab_file` is its old name.)
        merges: the path of a merges.txt, or a list of pairs. (`merges_file` is its old name.)
        errors: kept for the file; bytes that are no UTF-8 always decode to U+FFFD ("replace").
        unk_token, bos_token, eos_token, pad_token: special tokens.
        add_prefix_space: whether a text starts like a word inside a text.
        options: the arguments of PreTrainedTokenizer.
    """

    vocab_files_names: Mapping[str, str] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}

    def __init__(
        self,
        vocab: str | PathLike[str] | Mapping[str, int] | None = None,
        merges: str | PathLike[str] | Sequence[Any] | None = None,
        errors: str = "replace",
        unk_token: Token | None = "<|endoftext|>",
        bos_token: Token | None = "<|endoftext|>",
        eos_token: Token | None = "<|endoftext|>",
        pad_token: Token | None = None,
        add_prefix_space: bool = False,
        *,
        vocab_file: str | PathLike[str] | None = None,
        merges_file: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if (vocab is not None and vocab_file is not None) or (merges is not None and merges_file is not None):
            raise InputError("vocab and vocab_file, merges and merges_file mean the same: pass only one of each.")
        if errors != "replace":
            warn(f"errors={errors!r} has no effect: undecodable bytes become U+FFFD.")
        vocab = (vocab_file or {}) if vocab is None else vocab
        merges = (merges_file or []) if merges is None else merges
        backend = Tokenizer(byte_pair_encoding(vocab, merges))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        backend.decoder = decoders.ByteLevel()
        self._tokenizer = backend
        super().__init__(unk_token=unk_token, bos_token=bos_token, eos_token=eos_token, pad_token=pad_token, **options)
        self.add_prefix_space = add_prefix_space
        self.init_kwargs |= {"errors": errors, "add_prefix_space": add_prefix_space}

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        return byte_pair_files(files, cls.__name__)


GPT2TokenizerFast = GPT2Tokenizer
