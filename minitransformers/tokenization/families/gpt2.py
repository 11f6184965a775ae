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
    """Text to byte-level BPE ids, for any text. No special tokens are added, and there is no token for padding.

    A space belongs to the word after it, so a word has different ids at the start of a text and inside it. The
    vocabulary, the merges, the added tokens and the post-processor are loaded from a tokenizer.json;
    tokenizer_config.json has the other arguments.

    Args:
        vocab: the path of a vocab.json, or a dictionary token -> id. (`vocab_file` is its old name.)
        merges: the path of a merges.txt, or a list of pairs. (`merges_file` is its old name.)
        errors: has no effect; it is saved. Invalid UTF-8 always decodes to U+FFFD ("replace").
        unk_token, bos_token, eos_token, pad_token: special tokens.
        add_prefix_space: whether to encode the first word of a text like a word inside it.
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
