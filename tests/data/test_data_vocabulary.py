"""Vocabularies learnt from texts: one call, files that transformers loads, the same ids."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import transformers
from hypothesis import given, strategies as st
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer

from minitransformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer
from minitransformers.data import TextFiles, tokenize_corpus, train_byte_level_bpe, train_wordpiece
from minitransformers.data.alphabet import first_pieces
from minitransformers.errors import CorpusError, InputError, MissingFileError, UnknownArgumentError

SENTENCES = [
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.",
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "Naïve café, déjà vu; 東京タワー 🙂",
] * 3
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(SENTENCES)

TRAINED = {
    "WordPiece": train_wordpiece(SENTENCES, 120),
    "WordPiece, cased": train_wordpiece(SENTENCES, 120, do_lower_case=False),
    "byte-level BPE": train_byte_level_bpe(SENTENCES, 300),
    "byte-level BPE, with a space in front": train_byte_level_bpe(SENTENCES, 300, add_prefix_space=True),
}
REFERENCES = {"WordPiece": transformers.BertTokenizer, "byte-level BPE": transformers.GPT2Tokenizer}


@pytest.fixture(scope="module", params=sorted(TRAINED))
def trained(request, tmp_path_factory):
    """A tokenizer, and what transformers loads from its files: by AutoTokenizer, and as the class."""
    tokenizer, directory = TRAINED[request.param], tmp_path_factory.mktemp("trained")
    tokenizer.save_pretrained(directory)
    assert (directory / "tokenizer.json").is_file()
    reference = REFERENCES[request.param.split(",")[0]].from_pretrained(directory)
    return tokenizer, [transformers.AutoTokenizer.from_pretrained(directory), reference], directory


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_transformers_gives_the_same_ids(trained, texts):
    tokenizer, references, directory = trained
    own = AutoTokenizer.from_pretrained(directory)
    assert type(own) is type(tokenizer)
    expected = tokenizer(texts)
    assert own(texts) == expected
    for reference in references:
        assert reference.get_vocab() == tokenizer.get_vocab()
        assert reference.special_tokens_map == tokenizer.special_tokens_map
        assert dict(reference(texts)) == dict(expected)
        assert reference.batch_decode(expected["input_ids"]) == tokenizer.batch_decode(expected["input_ids"])


@given(TEXTS)
def test_bytes_give_any_text_back(text):
    tokenizer = TRAINED["byte-level BPE"]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("min_frequency", [1, 2, 5])
def test_the_vocabulary_is_that_of_the_tokenizers_library(min_frequency):
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        SENTENCES, 300, min_frequency=min_frequency, special_tokens=["<|endoftext|>"], show_progress=False
    )
    assert train_byte_level_bpe(SENTENCES, 300, min_frequency=min_frequency).get_vocab() == bpe.get_vocab()
    for lowercase in (True, False):
        # Where vocab_size cuts between equally frequent pairs, it is chance there which ones are in; so nothing is cut.
        wordpiece = BertWordPieceTokenizer(lowercase=lowercase)
        wordpiece.train_from_iterator(SENTENCES, 5000, min_frequency=1, show_progress=False)
        ours = train_wordpiece(SENTENCES, 5000, min_frequency=1, do_lower_case=lowercase)
        words = {token for token in wordpiece.get_vocab() if token in " ".join(SENTENCES).lower().split()}
        assert words <= set(ours.get_vocab())
        characters = {token for token in wordpiece.get_vocab() if len(token.removeprefix("##")) == 1}
        assert characters == {token for token in ours.get_vocab() if len(token.removeprefix("##")) == 1}


def test_the_same_texts_give_the_same_vocabulary():
    """Also in another process, whose hash tables have another order."""
    code = (
        "import json, sys; from minitransformers.data import train_byte_level_bpe, train_wordpiece; "
        "texts = json.loads(sys.argv[1]); "
        "print(json.dumps([train_wordpiece(texts, 120).get_vocab(), train_byte_level_bpe(texts, 300).get_vocab()]))"
    )
    command = [sys.executable, "-c", code, json.dumps(SENTENCES)]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) == [TRAINED["WordPiece"].get_vocab(), TRAINED["byte-level BPE"].get_vocab()]
    for _ in range(5):
        assert train_wordpiece(SENTENCES, 120).get_vocab() == train_wordpiece(iter(SENTENCES), 120).get_vocab()


def test_what_was_learnt():
    bpe, wordpiece = TRAINED["byte-level BPE"], TRAINED["WordPiece"]
    assert type(bpe) is GPT2Tokenizer
    assert type(wordpiece) is BertTokenizer
    assert (len(bpe), len(wordpiece)) == (300, 120)
    assert bpe.convert_ids_to_tokens([0, 1]) == ["<|endoftext|>", "!"]
    assert wordpiece.convert_ids_to_tokens(list(range(5))) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert "summer" in train_wordpiece(SENTENCES, 140).tokenize("summer's")
    assert len(bpe.tokenize(SENTENCES[0])) < len(SENTENCES[0]) < 2 * len(bpe.tokenize(SENTENCES[0])) + 20
    assert wordpiece.do_lower_case
    assert not TRAINED["WordPiece, cased"].do_lower_case
    assert len(train_byte_level_bpe(["abab"], 5000)) < 300  # no more pairs are there to be joined
    named = train_wordpiece(SENTENCES, 120, unk_token="<unk>", pad_token="<pad>")
    assert named.convert_ids_to_tokens(list(range(5))) == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    few = train_wordpiece(SENTENCES, 120, limit_alphabet=10)
    assert sum(len(token) == 1 for token in few.get_vocab()) <= 10


def test_files_give_the_same_as_their_texts(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(SENTENCES), "utf-8")
    for source in (path, TextFiles(path, documents="line"), iter(SENTENCES), [{"text": text} for text in SENTENCES]):
        assert train_wordpiece(source, 150).get_vocab() == train_wordpiece(SENTENCES, 150).get_vocab()
    lines = TextFiles(path, documents="line")
    tokenizer = train_byte_level_bpe(lines, 280)
    assert tokenizer.get_vocab() == train_byte_level_bpe(SENTENCES, 280).get_vocab()
    corpus = tokenize_corpus(lines, tokenizer, tmp_path / "corpus", append_eos=True, show_progress=False)
    assert tokenizer.decode(corpus[:]) == "".join(text + "<|endoftext|>" for text in SENTENCES)


@pytest.mark.parametrize("vocab_size", [1, 5, 6, 40])
def test_too_small_a_vocabulary(vocab_size):
    with pytest.raises(InputError, match=f"vocab_size={vocab_size} is too small: the special tokens and single"):
        train_wordpiece(SENTENCES, vocab_size)
    with pytest.raises(InputError, match=r"single characters alone are 257"):
        train_byte_level_bpe(SENTENCES, 256)
    assert len(train_byte_level_bpe(SENTENCES, 257)) == 257


def test_bad_input(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b" \n")
    (tmp_path / "binary.txt").write_bytes(b"fine\xff\xfe")
    for train in (train_wordpiece, train_byte_level_bpe):
        for source in ([], iter(()), tmp_path / "empty.txt"):
            with pytest.raises(CorpusError, match="There is nothing to learn a vocabulary from"):
                train(source, 300)
        with pytest.raises(CorpusError, match=r"binary.txt' is no UTF-8 text: byte 0xff at 4"):
            train(tmp_path / "binary.txt", 300)
        with pytest.raises(CorpusError, match="binary"):  # also when it is not the first
            train(TextFiles([__file__, tmp_path / "binary.txt"]), 300)
        with pytest.raises(CorpusError, match=r"binary.txt' is no UTF-8 text"):
            train(tmp_path, 300)
        with pytest.raises(MissingFileError, match="There is no file"):
            train(tmp_path / "none.txt", 300)
        with pytest.raises(InputError, match="A corpus is many texts, got the one str"):
            train("a.txt", 300)
        with pytest.raises(InputError, match="Document 1 of the corpus must be a str"):
            train(["a", 2], 300)
        with pytest.raises(InputError, match="vocab_size='300' must be a whole number of at least 1"):
            train(SENTENCES, "300")
        with pytest.raises(InputError, match=r"min_frequency=0\.5 must be a whole number"):
            train(SENTENCES, 300, min_frequency=0.5)
        with pytest.raises(UnknownArgumentError, match="vocabulary_size"):
            train(SENTENCES, vocabulary_size=300)


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False}, {"strip_accents": False, "do_lower_case": True}])
@given(
    texts=st.lists(
        st.text(st.sampled_from("aAbéÉß e\u0301!?-中国\u200b\x00\t\x1c\x85\u00a0İŁłЖж0١\U0001f600\ufffd")), min_size=1
    ),
    limit=st.sampled_from([3, 1000]),
)
def test_characters_are_those_that_the_trainer_finds(options, texts, limit):
    """At the beginning of words and inside words, whatever normalization makes of them."""
    tokenizer = BertTokenizer(**options)
    smallest = tokenizer.train_new_from_iterator(texts, 1, min_frequency=0, limit_alphabet=1000)
    expected = set(smallest.get_vocab()) - set(smallest.all_special_tokens)
    pieces = first_pieces(texts, tokenizer.backend_tokenizer, limit)
    assert len(set(pieces)) == len(pieces)
    if limit == 1000:
        assert set(pieces) == expected
    else:
        assert set(pieces) <= expected
        assert len({piece.removeprefix("##") for piece in pieces if piece != "##"}) <= limit
