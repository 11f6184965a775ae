"""`check_tokenizer`: byte-pair merges, WordPiece's longest match, and texts that survive encoding and decoding."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from minitransformers.errors import InputError
from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    find_cause,
    judge,
    parameters_of,
    table,
    takes,
)

BPE = "bpe(word, merges) -> list of pieces; merges: a list of pairs, the first one learnt first"
WORDPIECE = 'wordpiece(word, vocabulary) -> list of pieces; later pieces begin with "##", an unknown word is ["[UNK]"]'
OBJECT = "a tokenizer with encode(text) -> ids and decode(ids) -> text"
BPE_MISTAKES = {
    "left to right": "pairs are merged from left to right, not in the order of the merges",
    "last first": "the merge that was learnt last is applied first",
    "first only": "only the first place of a pair is merged, and the pair is not tried again",
    "one merge": "only one merge is applied: the loop is missing",
    "longest": "the longest known piece is taken, instead of applying the merges in order",
    "from right": "the places of a pair are merged from the right",
    "last merge missing": "the last merge of the list is left out",
    "overlap": "a symbol is used in two merges of one pair",
    "no merge": "nothing is merged",
}
WORDPIECE_MISTAKES = {
    "shortest": "the shortest match is taken, not the longest",
    "no prefix": 'later pieces lack "##"',
    "prefix not looked up": 'later pieces are looked up without "##"',
    "prefix first": 'the first piece has "##" too',
    "unknown rest": "only the rest that is unknown becomes [UNK], not the whole word",
    "unknown letters": "each unknown letter becomes [UNK], and the word goes on",
    "unknown dropped": "what is unknown is dropped",
    "from right": "the longest match is taken from the end of the word",
    "one letter less": "a match never reaches the end of the word",
    "letters": "the word is cut into letters",
}
TEXTS = [
    "a",
    "Hello",
    "hello world",
    " hello",
    "two  spaces",
    "don't stop.",
    "Café ñandú",
    "Ⅷ ﬁ",
    "日本語",
    "🙂!",
    "line\nbreak\ttab",
    "",
]
TEXT_MISTAKES: dict[str, tuple[str, Callable[[str], str]]] = {
    "lower": ("the text is lower-cased", str.lower),
    "strip": ("spaces at the ends are lost", str.strip),
    "collapse": ("runs of white space become one space", lambda t: " ".join(t.split())),
    "no spaces": ("spaces are lost", lambda t: "".join(t.split())),
    "leading": ("a space is added in front", lambda t: " " + t if t else t),
    "letters apart": ("pieces are joined with spaces", lambda t: " ".join(t)),
    "ascii": ("characters outside ASCII are dropped", lambda t: t.encode("ascii", "ignore").decode()),
    "ascii ?": ("characters outside ASCII become '?'", lambda t: t.encode("ascii", "replace").decode()),
    "latin": ("bytes are decoded one by one, not as UTF-8", lambda t: t.encode().decode("latin-1")),
    "bmp": ("characters above U+FFFF are lost", lambda t: "".join(c for c in t if ord(c) < 65536)),
    "nfkc": ("the text is normalized (NFKC)", lambda t: unicodedata.normalize("NFKC", t)),
    "nfd": ("the text is normalized (NFD)", lambda t: unicodedata.normalize("NFD", t)),
    "accents": (
        "accents are lost",
        lambda t: "".join(c for c in unicodedata.normalize("NFD", t) if not unicodedata.combining(c)),
    ),
    "last": ("the last character is lost", lambda t: t[:-1]),
    "first": ("the first character is lost", lambda t: t[1:]),
    "reversed": ("the text is reversed", lambda t: t[::-1]),
}


def bpe(word: str, merges: Sequence[tuple[str, str]], wrong: frozenset[str] = frozenset()) -> list[str]:
    """Byte-pair encoding in plain steps (Sennrich et al., 2016), with the mistakes that `wrong` names."""
    pieces = list(word)
    if "last merge missing" in wrong:
        merges = merges[:-1]
    ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
    known = {left + right for left, right in merges}
    if "longest" in wrong:
        result, start = [], 0
        while start < len(word):
            end = next((e for e in range(len(word), start + 1, -1) if word[start:e] in known), start + 1)
            result.append(word[start:end])
            start = end
        return result
    done = 0
    tried: set[tuple[str, ...]] = set()
    while "no merge" not in wrong and not ("one merge" in wrong and done):
        pairs = [pair for pair in pairwise(pieces) if pair in ranks and pair not in tried]
        if not pairs:
            break
        if "left to right" in wrong:
            pair: tuple[str, ...] = pairs[0]
        else:
            pair = (max if "last first" in wrong else min)(pairs, key=ranks.__getitem__)
        if "first only" in wrong:
            tried.add(pair)
        pieces = _merge(pieces, pair, wrong)
        done += 1
    return pieces


def _merge(pieces: list[str], pair: tuple[str, ...], wrong: frozenset[str]) -> list[str]:
    joined = "".join(pair)
    if "from right" in wrong:
        flipped = _merge(pieces[::-1], pair[::-1], frozenset())
        return [joined if piece == "".join(pair[::-1]) else piece for piece in flipped[::-1]]
    result: list[str] = []
    index = count = 0
    while index < len(pieces):
        if tuple(pieces[index : index + 2]) == pair and not (count and {"first only", "left to right"} & wrong):
            result.append(joined)
            index += 1 if "overlap" in wrong and tuple(pieces[index + 1 : index + 3]) == pair else 2
            count += 1
        else:
            result.append(pieces[index])
            index += 1
    return result


def wordpiece(word: str, vocabulary: Any, wrong: frozenset[str] = frozenset()) -> list[str]:
    """WordPiece in plain steps (Devlin et al., 2019), with the mistakes that `wrong` names."""
    if "from right" in wrong:
        return _from_right(word, vocabulary)
    pieces: list[str] = []
    start = 0
    while start < len(word):
        stop = len(word) - ("one letter less" in wrong and len(word) - start > 1)
        ends = range(start + 1, stop + 1) if "shortest" in wrong else range(stop, start, -1)
        ends = range(start + 1, start + 2) if "letters" in wrong else ends
        found = None
        for end in ends:
            piece = word[start:end]
            marked = piece if start == 0 and "prefix first" not in wrong else "##" + piece
            looked = piece if "prefix not looked up" in wrong or "no prefix" in wrong else marked
            if looked in vocabulary or ("prefix first" in wrong and start == 0 and piece in vocabulary):
                found, start = (piece if "no prefix" in wrong else marked), end
                break
        if found is not None:
            pieces.append(found)
        elif "unknown rest" in wrong:
            return [*pieces, "[UNK]"]
        elif "unknown letters" in wrong or "unknown dropped" in wrong:
            pieces += ["[UNK]"] if "unknown letters" in wrong else []
            start += 1
        else:
            return ["[UNK]"]
    return pieces


def _from_right(word: str, vocabulary: Any) -> list[str]:
    pieces: list[str] = []
    end = len(word)
    while end:
        start = next((s for s in range(end) if ("##" if s else "") + word[s:end] in vocabulary), None)
        if start is None:
            return ["[UNK]"]
        pieces.insert(0, ("##" if start else "") + word[start:end])
        end = start
    return pieces


def check_tokenizer(tokenizer: Any, texts: Sequence[str] | None = None) -> None:
    """Check a tokenizer, or the function that cuts one word into pieces.

    Args:
        tokenizer: `bpe(word, merges)`, `wordpiece(word, vocabulary)`, or an object with `encode` and `decode` that
            must give every text back, as a byte-level one does.
        texts: what an object must give back; by default short texts with spaces, accents, and other scripts.

    Raises:
        CheckError: a law is broken.
        InputError: it is none of the three.
    """
    if hasattr(tokenizer, "encode") and hasattr(tokenizer, "decode"):
        _check_object(tokenizer, TEXTS if texts is None else texts)
    elif callable(tokenizer) and takes(tokenizer, "merges"):
        _check_pieces(tokenizer, "merges", BPE)
    elif callable(tokenizer) and takes(tokenizer, "vocabulary"):
        _check_pieces(tokenizer, "vocabulary", WORDPIECE)
    else:
        shown = list(parameters_of(tokenizer)) if callable(tokenizer) else type(tokenizer).__name__
        raise InputError(f"tokenizer={shown} is none of: {BPE}; {WORDPIECE}; {OBJECT}.")


def _check_pieces(function: Callable[..., Any], argument: str, expected: str) -> None:
    data: Any
    plain: Callable[..., list[str]]
    if argument == "merges":
        data = [
            ("b", "c"),
            ("a", "b"),
            ("ab", "c"),
            ("a", "a"),
            ("bc", "d"),
            ("d", "a"),
            ("a", "ab"),
            ("bcd", "bcd"),
            ("c", "bc"),
        ]
        words = [
            "x",
            "ab",
            "abc",
            "aaa",
            "abab",
            "bcbc",
            "abcd",
            "aabcd",
            "dabc",
            "abdaa",
            "bcdbcd",
            "cbcd",
            "abcabc",
            "cbcbc",
            "dabcdaaab",
            "aab",
        ]
        law, plain, mistakes = (
            "Of the pairs that can be merged, the one learnt first is merged everywhere, until none is left.",
            bpe,
            BPE_MISTAKES,
        )
    else:
        data = [
            "[UNK]",
            *"abcdun",
            *("##" + c for c in "abcdn"),
            "un",
            "##aff",
            "##able",
            "una",
            "##ff",
            "aff",
            "able",
            "##abl",
            "##e",
            "##fable",
            "qu",
            "##e",
            "##f",
        ]
        words = [
            "a",
            "un",
            "ab",
            "una",
            "unab",
            "unaff",
            "unaffable",
            "unable",
            "able",
            "unz",
            "zun",
            "azb",
            "abcd",
            "affable",
            "nnn",
            "qu",
            "quab",
            "unaf",
        ]
        law, plain, mistakes = (
            "Pieces are the longest that match, from the left; a word that does not fit is [UNK].",
            wordpiece,
            WORDPIECE_MISTAKES,
        )
    words.sort(key=len)
    wants_dict = argument == "vocabulary"

    def run(word: str) -> list[str]:
        given = {piece: i for i, piece in enumerate(data)} if wants_dict else list(data)
        result = call(function, {"word": word, argument: given}, expected)
        if not isinstance(result, (list, tuple)):
            raise CheckError(
                CALLABLE, f"it returns a {type(result).__name__}, not a list of pieces", f"expected: {expected}"
            )
        return list(result)

    def broken() -> str | None:
        for word in words:
            ours, right = run(word), plain(word, data)
            if ours != right:
                return f"{word!r}:\n" + table(
                    ["pieces"], {"yours": [" ".join(map(str, ours))], "expected": [" ".join(right)]}
                )
        return None

    judge(
        [(law, broken)],
        lambda: find_cause([run(w) for w in words], lambda wrong: (plain(w, data, wrong) for w in words), mistakes),
    )


def _check_object(tokenizer: Any, texts: Sequence[str]) -> None:
    def encode(text: str) -> list[int]:
        ids = call(tokenizer.encode, {"word": text}, OBJECT)
        ids = ids.ids if hasattr(ids, "ids") else ids
        return [int(i) for i in ids]

    def decode(text: str) -> str:
        try:
            return str(tokenizer.decode(encode(text)))
        except (KeyError, UnicodeError, IndexError) as error:
            raise CheckError(
                "Every text can be encoded and decoded.", f"{type(error).__name__}: {error}", f"text {text!r}"
            ) from error

    ordered = sorted(texts, key=len)

    def broken() -> str | None:
        for text in ordered:
            back = decode(text)
            if back != text:
                return table(["text"], {"given": [repr(text)], "decoded": [repr(back)], "ids": [str(encode(text))]})
        return None

    def again() -> str | None:
        for text in ordered:
            if encode(text) != encode(text):
                return table(["ids"], {"first": [str(encode(text))], "second": [str(encode(text))]})
        return None

    def reference(wrong: frozenset[str]) -> list[str]:
        found = list(ordered)
        for name in TEXT_MISTAKES:
            if name in wrong:
                found = [TEXT_MISTAKES[name][1](text) for text in found]
        return found

    def cause() -> str:
        return find_cause(
            [decode(t) for t in ordered], reference, {name: pair[0] for name, pair in TEXT_MISTAKES.items()}
        )

    judge([("Decoding gives the text back.", broken)], cause)
    judge([("The same text gets the same ids.", again)], lambda: "encoding changes the tokenizer's state")
