"""BERT's tokenizer: cleaning and lower-casing, splitting at white space and punctuation, then WordPiece.

Devlin et al., 2018, §3; WordPiece: Wu et al., 2016, §4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

from minitransformers.errors import InputError
from minitransformers.tokenization.base.backend import model_of, special_tokens_around, wordpiece
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token


class BertTokenizer(PreTrainedTokenizer):
    """Text to WordPiece ids, as `[CLS] text [SEP]` or `[CLS] text [SEP] text_pair [SEP]`.

    Only the vocabulary and the added tokens are loaded from a tokenizer.json; tokenizer_config.json has the other
    arguments.

    Args:
        vocab: the path of a vocab.txt, or a dictionary token -> id; by default only the special tokens.
            (`vocab_file` is its old name.)
        do_lower_case: whether to lower-case texts.
        unk_token, sep_token, pad_token, cls_token, mask_token: special tokens.
        tokenize_chinese_chars: whether every Chinese character is a word.
        strip_accents: whether to remove accents; by default the value of `do_lower_case`.
        options: the arguments of PreTrainedTokenizer.
    """

    vocab_files_names: Mapping[str, str] = {"vocab_file": "vocab.txt", "tokenizer_file": TOKENIZER_FILE}
    model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(
        self,
        vocab: str | PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = True,
        unk_token: Token | None = "[UNK]",
        sep_token: Token | None = "[SEP]",
        pad_token: Token | None = "[PAD]",
        cls_token: Token | None = "[CLS]",
        mask_token: Token | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab_file: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if vocab is not None and vocab_file is not None:
            raise InputError("vocab and vocab_file mean the same: pass only one of them.")
        vocab = vocab_file if vocab is None else vocab
        if vocab is None:
            smallest = (pad_token, unk_token, cls_token, sep_token, mask_token)
            vocab = {str(token): index for index, token in enumerate(smallest)}
        backend = Tokenizer(wordpiece(vocab, str(unk_token)))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        self._tokenizer = backend
        super().__init__(
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **options,
        )
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.init_kwargs |= {
            "do_lower_case": do_lower_case,
            "tokenize_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
        }
        before, after = self.cls_token, self.sep_token
        single = [*_piece(before, 0), "$A:0", *_piece(after, 0)]
        self._tokenizer.post_processor = special_tokens_around(
            single=single,
            pair=[*single, "$B:1", *_piece(after, 1)],
            special_tokens=[(token, self.convert_tokens_to_ids(token)) for token in (before, after) if token],
        )

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        if files.tokenizer is not None:
            return {"vocab": model_of(files.tokenizer, "WordPiece", cls.__name__)["vocab"]}
        return {"vocab": files.source.file("vocab.txt")}


def _piece(token: str | None, segment: int) -> list[str]:
    return [] if token is None else [f"{token}:{segment}"]


class DistilBertTokenizer(BertTokenizer):
    """BERT's tokenizer for a model without segments: a call returns no `token_type_ids`."""

    model_input_names = ("input_ids", "attention_mask")


BertTokenizerFast = ElectraTokenizer = ElectraTokenizerFast = BertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
