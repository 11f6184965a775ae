"""XLM-RoBERTa's tokenizer: a unigram model of SentencePiece, for any language.

Conneau et al., 2019, §3.1; unigram models: Kudo, 2018, §3.2; SentencePiece: Kudo & Richardson, 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers

from minitransformers.tokenization.base.backend import precompiled, special_tokens_around, unigram
from minitransformers.tokenization.base.sentencepiece import unigram_files
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles
from minitransformers.tokenization.base.vocabulary import Token

MODEL_FILE = "sentencepiece.bpe.model"  # a unigram model, despite its name


class XLMRobertaTokenizer(PreTrainedTokenizer):
    """Text to unigram ids, as `<s> text </s>` or `<s> text </s></s> text_pair </s>`.

    A space becomes "▁" in front of the word. The vocabulary, the normalization and the added tokens are loaded from
    tokenizer.json or sentencepiece.bpe.model; tokenizer_config.json has the other arguments.

    Args:
        vocab: (token, log-probability) in the order of the ids; the unknown token has the id 3.
        add_prefix_space: whether the first word of a text has a "▁" too.
        bos_token, eos_token, sep_token, cls_token, unk_token, pad_token, mask_token: special tokens.
        _spm_precompiled_charsmap: SentencePiece's compiled table for the normalization of characters.
        options: the arguments of PreTrainedTokenizer.
    """

    vocab_files_names: Mapping[str, str] = {"vocab_file": MODEL_FILE, "tokenizer_file": TOKENIZER_FILE}

    def __init__(
        self,
        vocab: Iterable[Any] | None = None,
        add_prefix_space: bool = True,
        bos_token: Token | None = "<s>",
        eos_token: Token | None = "</s>",
        sep_token: Token | None = "</s>",
        cls_token: Token | None = "<s>",
        unk_token: Token | None = "<unk>",
        pad_token: Token | None = "<pad>",
        mask_token: Token | None = "<mask>",
        _spm_precompiled_charsmap: bytes | None = None,
        **options: Any,
    ) -> None:
        self._refuse_unknown(options)
        if vocab is None:
            vocab = [(str(token), 0.0) for token in (bos_token, pad_token, eos_token, unk_token, mask_token)]
        backend = Tokenizer(unigram(vocab, unk_id=3))
        if _spm_precompiled_charsmap is not None:
            backend.normalizer = precompiled(_spm_precompiled_charsmap)
        set_word_marks(backend, add_prefix_space)
        self._tokenizer = backend
        super().__init__(
            bos_token=bos_token,
            eos_token=eos_token,
            sep_token=sep_token,
            cls_token=cls_token,
            unk_token=unk_token,
            pad_token=pad_token,
            mask_token=mask_token,
            **options,
        )
        self.add_prefix_space = add_prefix_space
        self.init_kwargs |= {"add_prefix_space": add_prefix_space}
        before, after = str(self.bos_token), str(self.eos_token)
        self._tokenizer.post_processor = special_tokens_around(
            single=[before, "$A", after],
            pair=[before, "$A", after, after, "$B", after],
            special_tokens=[(token, self.convert_tokens_to_ids(token)) for token in {before: 0, after: 0}],
        )

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        found = unigram_files(files, MODEL_FILE, unk_id=0, wanted_by=cls.__name__)
        if files.tokenizer is None:
            # A model file starts with <unk>, <s>, </s>. XLM-RoBERTa comes from fairseq, which has four tokens there.
            names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
            start = [(str(options.get(name, default)), 0.0) for name, default in names.items()]
            found["vocab"] = [*start, *found["vocab"][3:], (str(options.get("mask_token", "<mask>")), 0.0)]
        return found


def set_word_marks(backend: Tokenizer, add_prefix_space: bool) -> None:
    """Split at white space, which becomes "▁" in front of a word, as in SentencePiece."""
    scheme = "always" if add_prefix_space else "never"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)


XLMRobertaTokenizerFast = XLMRobertaTokenizer
