"""T5's tokenizer: a unigram model of SentencePiece, and sentinel tokens for spans of text.

Raffel et al., 2019, §2.2 (the vocabulary), §3.1.4 (sentinels); unigram models: Kudo, 2018, §3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from minitransformers.errors import InputError
from minitransformers.tokenization.base.backend import precompiled, special_tokens_around, unigram
from minitransformers.tokenization.base.sentencepiece import unigram_files
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token
from minitransformers.tokenization.families.xlm_roberta import set_word_marks

MODEL_FILE = "spiece.model"
MOST_SENTINELS = 10_000


class T5Tokenizer(PreTrainedTokenizer):
    """Text to unigram ids, as `text </s>` or `text </s> text_pair </s>`.

    A space becomes "▁" in front of the word, and the first word of a text has a "▁" too. The sentinels <extra_id_0>,
    <extra_id_1>, … have the last ids of the vocabulary, in falling order. The vocabulary, the normalization and the
    added tokens are loaded from tokenizer.json or spiece.model.

    Args:
        vocab: (token, log-probability) in the order of the ids, with the sentinels; the unknown token has the id 2.
        eos_token, unk_token, pad_token: special tokens.
        _spm_precompiled_charsmap: SentencePiece's compiled table for the normalization of characters.
        extra_ids: the number of sentinels.
        additional_special_tokens: special tokens without a name. The sentinels follow them, unless they are among
            them. `extra_special_tokens` replaces both.
        legacy: has no effect, as in transformers 5; it is saved.
        options: the arguments of PreTrainedTokenizer.

    Raises:
        InputError: a negative `extra_ids`, or another number of sentinels in `additional_special_tokens`; no eos_token.
    """

    vocab_files_names: Mapping[str, str] = {"vocab_file": MODEL_FILE, "tokenizer_file": TOKENIZER_FILE}

    def __init__(
        self,
        vocab: Iterable[Any] | None = None,
        eos_token: Token | None = "</s>",
        unk_token: Token | None = "<unk>",
        pad_token: Token | None = "<pad>",
        _spm_precompiled_charsmap: bytes | None = None,
        extra_ids: int = 100,
        additional_special_tokens: Sequence[Token] | None = None,
        *,
        legacy: bool | None = None,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if eos_token is None:
            raise InputError("eos_token must be a token, because it ends every text; got None.")
        sentinels = _sentinels(extra_ids)
        special = list(additional_special_tokens or ())
        listed = sum("<extra_id_" in str(token) for token in special)
        if listed and extra_ids not in (0, listed):
            raise InputError(
                f"additional_special_tokens has {listed} sentinels <extra_id_…>, but extra_ids={extra_ids}: list all "
                "of them or none."
            )
        if vocab is None:
            smallest = [(str(token), 0.0) for token in (pad_token, eos_token, unk_token)]
            vocab = [*smallest, ("▁", -2.0), *((token, 0.0) for token in reversed(sentinels))]
        backend = Tokenizer(unigram(vocab, unk_id=2))
        if _spm_precompiled_charsmap is not None:
            backend.normalizer = precompiled(_spm_precompiled_charsmap)
        set_word_marks(backend, add_prefix_space=True)
        self._tokenizer = backend
        super().__init__(
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            additional_special_tokens=special if listed else [*special, *sentinels],
            **options,
        )
        self.init_kwargs |= {"extra_ids": extra_ids} | ({} if legacy is None else {"legacy": legacy})
        end = str(self.eos_token)
        self._tokenizer.post_processor = special_tokens_around(
            single=["$A", end],
            pair=["$A", end, "$B", end],
            special_tokens=[(end, self.convert_tokens_to_ids(end))],
        )

    def get_sentinel_tokens(self) -> list[str]:
        """The sentinels among the special tokens, in the order of their numbers."""
        found = (re.fullmatch(r"<extra_id_(\d+)>", token) for token in self.extra_special_tokens)
        return [match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1]))]

    def get_sentinel_token_ids(self) -> list[int]:
        """The ids of the sentinels, in the order of their numbers."""
        return [self.convert_tokens_to_ids(token) for token in self.get_sentinel_tokens()]

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        found = unigram_files(files, MODEL_FILE, unk_id=2, wanted_by=cls.__name__)
        if files.tokenizer is None:
            # A model file has no sentinels.
            sentinels = reversed(_sentinels(options.get("extra_ids", 100)))
            found["vocab"] = [*found["vocab"], *((token, 0.0) for token in sentinels)]
        return found


def _sentinels(extra_ids: int) -> list[str]:
    if type(extra_ids) is not int or not 0 <= extra_ids <= MOST_SENTINELS:
        raise InputError(f"extra_ids must be the number of sentinels, from 0 to {MOST_SENTINELS:,}; got {extra_ids!r}.")
    return [f"<extra_id_{number}>" for number in range(extra_ids)]


T5TokenizerFast = T5Tokenizer
