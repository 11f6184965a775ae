"""ALBERT's tokenizer: BERT's lower-casing, then a unigram model of SentencePiece (Lan et al., 2019, §4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer, normalizers

from minitransformers.tokenization.base.backend import post_processor_of, precompiled, special_tokens_around, unigram
from minitransformers.tokenization.base.sentencepiece import unigram_files
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token
from minitransformers.tokenization.families.xlm_roberta import set_word_marks

MODEL_FILE = "spiece.model"


class AlbertTokenizer(PreTrainedTokenizer):
    """Text to unigram ids, as `[CLS] text [SEP]` or `[CLS] text [SEP] text_pair [SEP]`.

    A space becomes "▁" in front of the word. The vocabulary, the tables of SentencePiece, the post-processor and the
    added tokens are loaded from tokenizer.json or spiece.model; tokenizer_config.json has the other arguments.

    Args:
        vocab: (token, log-probability) in the order of the ids; the unknown token has the id 1.
        do_lower_case: whether to lower-case texts.
        keep_accents: whether to keep accents.
        bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token: special tokens.
        _spm_precompiled_charsmap: SentencePiece's compiled table for the normalization of characters.
        add_prefix_space: whether the first word of a text has a "▁" too.
        trim_offsets: has no effect; it is saved.
        options: the arguments of PreTrainedTokenizer.
    """

    vocab_files_names: Mapping[str, str] = {"vocab_file": MODEL_FILE, "tokenizer_file": TOKENIZER_FILE}

    def __init__(
        self,
        vocab: Iterable[Any] | None = None,
        do_lower_case: bool = True,
        keep_accents: bool = False,
        bos_token: Token | None = "[CLS]",
        eos_token: Token | None = "[SEP]",
        unk_token: Token | None = "<unk>",
        sep_token: Token | None = "[SEP]",
        pad_token: Token | None = "<pad>",
        cls_token: Token | None = "[CLS]",
        mask_token: Token | None = "[MASK]",
        _spm_precompiled_charsmap: bytes | None = None,
        add_prefix_space: bool = True,
        trim_offsets: bool = True,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if vocab is None:
            vocab = [(str(token), 0.0) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        backend = Tokenizer(unigram(vocab, unk_id=1))
        steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not keep_accents:
            steps += [normalizers.NFKD(), normalizers.StripAccents()]
        if do_lower_case:
            steps.append(normalizers.Lowercase())
        if _spm_precompiled_charsmap is not None:
            steps.append(precompiled(_spm_precompiled_charsmap))
        backend.normalizer = normalizers.Sequence(steps)
        set_word_marks(backend, add_prefix_space)
        backend.post_processor = special_tokens_around(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[
                ("[CLS]", backend.token_to_id(str(cls_token))),
                ("[SEP]", backend.token_to_id(str(sep_token))),
            ],
        )
        self._tokenizer = backend
        super().__init__(
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **options,
        )
        self.do_lower_case, self.keep_accents = do_lower_case, keep_accents
        self.add_prefix_space, self.trim_offsets = add_prefix_space, trim_offsets
        self.init_kwargs |= {
            "do_lower_case": do_lower_case,
            "keep_accents": keep_accents,
            "add_prefix_space": add_prefix_space,
            "trim_offsets": trim_offsets,
        }

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        found = unigram_files(files, MODEL_FILE, unk_id=1, wanted_by=cls.__name__)
        if files.tokenizer is not None:
            found["post_processor"] = post_processor_of(files.tokenizer)
        return found


AlbertTokenizerFast = AlbertTokenizer
