"""Learning a vocabulary from texts: `train_new_from_iterator` of a tokenizer that has none yet.

tokenizer = train_wordpiece(TextFiles("corpus.txt"), vocab_size=30_522)       # as BERT's
tokenizer = train_byte_level_bpe(texts, vocab_size=50_257)                    # as GPT-2's
tokenizer.save_pretrained("my-tokenizer")                                     # transformers loads it too
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from minitransformers.configs.checks import check_count
from minitransformers.data.alphabet import first_pieces
from minitransformers.data.texts import documents_of, is_read_once
from minitransformers.errors import CorpusError, InputError
from minitransformers.tokenization import BertTokenizer, GPT2Tokenizer
from minitransformers.tokenization.base.retraining import retrain


def train_wordpiece(
    source: Any,
    vocab_size: Any = 30_522,
    *,
    min_frequency: Any = 2,
    limit_alphabet: Any = 1000,
    text_column: str = "text",
    show_progress: bool = False,
    **options: Any,
) -> BertTokenizer:
    """BERT's tokenizer with a WordPiece vocabulary learnt from texts.

    The special tokens have the first ids, then come characters, then the pieces that were joined, the most frequent
    pairs first. (So does the trainer of the `tokenizers` library, as byte pair encoding; Devlin et al., 2018, do not
    say how they learnt theirs.) The same texts give the same vocabulary, which that trainer alone does not promise; for
    this their characters are counted before they are cut into words, and the texts of an iterator are kept in memory.

    Args:
        source: TextFiles(…); a pathlib.Path or a list of them; or texts: a list, an iterator, a data set of texts or of
            rows.
        vocab_size: how many tokens, special ones included; fewer where the texts have no more.
        min_frequency: how often a pair must occur to be joined.
        limit_alphabet: how many characters at most, the most frequent ones; others become [UNK].
        text_column: which column of a row holds the text.
        show_progress: whether to show bars.
        options: arguments of BertTokenizer (`do_lower_case`, `strip_accents`, special tokens …).

    Raises:
        InputError: a vocabulary that has no room for the special tokens and the characters of the texts.
        CorpusError: no text at all, or a file that is no UTF-8 text.
    """
    untrained, limits = BertTokenizer(**options), _limits(vocab_size, min_frequency=min_frequency)
    limits |= {"limit_alphabet": check_count("limit_alphabet", limit_alphabet, least=1), "show_progress": show_progress}
    source = list(source) if is_read_once(source) else source
    # The trainer numbers the characters inside words ("##a") by chance, and the numbers decide which of two equally
    # frequent pairs is joined first. So it is told their order.
    pieces = first_pieces(_texts(source, text_column), untrained.backend_tokenizer, limits["limit_alphabet"])
    _check_room(vocab_size, len({*pieces, *untrained.all_special_tokens}))
    texts = _texts(source, text_column)
    backend = retrain(untrained.backend_tokenizer, texts, vocab_size, limits, first_tokens=pieces)
    return BertTokenizer(tokenizer_object=backend, **options)


def train_byte_level_bpe(
    source: Any,
    vocab_size: Any = 50_257,
    *,
    min_frequency: Any = 2,
    text_column: str = "text",
    show_progress: bool = False,
    **options: Any,
) -> GPT2Tokenizer:
    """GPT-2's tokenizer with byte-level byte pair encoding learnt from texts (Radford et al., 2019, §2.2).

    `<|endoftext|>` has the id 0, then come the 256 bytes, then the pairs that were joined, the most frequent first.

    Args:
        source: TextFiles(…); a pathlib.Path or a list of them; or texts: a list, an iterator, a data set of texts or of
            rows.
        vocab_size: how many tokens, special ones included; fewer where the texts have no more.
        min_frequency: how often a pair must occur to be joined.
        text_column: which column of a row holds the text.
        show_progress: whether to show bars.
        options: arguments of GPT2Tokenizer (`add_prefix_space`, special tokens …).

    Raises:
        InputError: a vocabulary that has no room for the special tokens and the 256 bytes.
        CorpusError: no text at all, or a file that is no UTF-8 text.
    """
    untrained, limits = GPT2Tokenizer(**options), _limits(vocab_size, min_frequency=min_frequency)
    trained = untrained.train_new_from_iterator(
        _texts(source, text_column), vocab_size, show_progress=show_progress, **limits
    )
    _check_room(vocab_size, len(trained))
    return trained


def _limits(vocab_size: Any, **limits: Any) -> dict[str, Any]:
    """The limits that are counts, checked."""
    check_count("vocab_size", vocab_size, least=1)
    return {name: check_count(name, limit, least=0) for name, limit in limits.items()}


def _texts(source: Any, text_column: str) -> Iterator[str]:
    """The texts of a source, which must have one."""
    texts = documents_of(source, text_column)
    first = next(texts, None)
    if first is None:
        raise CorpusError(f"There is nothing to learn a vocabulary from: {source!r} gave not one document.")
    return itertools.chain([first], texts)


def _check_room(vocab_size: int, smallest: int) -> None:
    if smallest > vocab_size:
        raise InputError(
            f"vocab_size={vocab_size} is too small: the special tokens and single characters alone are "
            f"{smallest}. Pass more than that, since only the rest is learnt."
        )
