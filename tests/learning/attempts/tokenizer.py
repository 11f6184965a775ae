"""Tokenizers, and their two algorithms for one word, as learners write them."""

import unicodedata
from itertools import pairwise


def _apply(pieces, pair, everywhere=True):
    out, i = [], 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            out.append(pieces[i] + pieces[i + 1])
            i += 2
            if not everywhere:
                return out + pieces[i:]
        else:
            out.append(pieces[i])
            i += 1
    return out


def right_bpe(word, merges):
    ranks, pieces = {pair: i for i, pair in enumerate(merges)}, list(word)
    while len(pieces) > 1:
        pair = min(pairwise(pieces), key=lambda p: ranks.get(p, 10**9))
        if pair not in ranks:
            break
        pieces = _apply(pieces, pair)
    return pieces


def left_to_right(word, merges):
    pieces = list(word)
    changed = True
    while changed:
        changed = False
        for i in range(len(pieces) - 1):
            if (pieces[i], pieces[i + 1]) in merges:
                pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
                changed = True
                break
    return pieces


def last_learnt_first(word, merges):
    pieces = list(word)
    while True:
        pairs = [p for p in pairwise(pieces) if p in merges]
        if not pairs:
            return pieces
        pieces = _apply(pieces, max(pairs, key=merges.index))


def one_merge(word, merges):
    pieces = list(word)
    pairs = [p for p in pairwise(pieces) if p in merges]
    return _apply(pieces, min(pairs, key=merges.index)) if pairs else pieces


def in_one_pass(word, merges):
    pieces = list(word)
    for pair in merges:
        pieces = _apply(pieces, pair)
    return pieces


def first_place_only(text, merges):
    pieces, tried = list(text), set()
    while True:
        pairs = [p for p in pairwise(pieces) if p in merges and p not in tried]
        if not pairs:
            return pieces
        pair = min(pairs, key=merges.index)
        tried.add(pair)
        pieces = _apply(pieces, pair, everywhere=False)


def longest_known_piece(word, merges):
    known, out, i = {a + b for a, b in merges}, [], 0
    while i < len(word):
        j = len(word)
        while j > i + 1 and word[i:j] not in known:
            j -= 1
        out.append(word[i:j])
        i = j
    return out


def forgets_last_merge(word, merges):
    return right_bpe(word, merges[:-1])


def letters(word, merges):
    return list(word)


def merges_from_the_right(word, merges):
    pieces = list(word)
    while True:
        pairs = [p for p in pairwise(pieces) if p in merges]
        if not pairs:
            return pieces
        a, b = min(pairs, key=merges.index)
        i = len(pieces) - 2
        while i >= 0:
            if pieces[i] == a and pieces[i + 1] == b:
                pieces[i : i + 2] = [a + b]
                i -= 1
            i -= 1


def right_wordpiece(word, vocab):
    out, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                out.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return out


def _wordpiece(word, vocab, ends=lambda s, n: range(n, s, -1), prefix="##", shown="##", unknown=lambda out: ["[UNK]"]):
    out, start = [], 0
    while start < len(word):
        for end in ends(start, len(word)):
            if (prefix if start else "") + word[start:end] in vocab:
                out.append((shown if start else "") + word[start:end])
                start = end
                break
        else:
            result = unknown(out)
            if result is not None:
                return result
            start += 1
    return out


def shortest(word, vocab):
    return _wordpiece(word, vocab, ends=lambda s, n: range(s + 1, n + 1))


def without_prefix(word, vocab):
    return _wordpiece(word, vocab, prefix="", shown="")


def looked_up_without_prefix(word, vocab):
    return _wordpiece(word, vocab, prefix="")


def unknown_rest(word, vocab):
    return _wordpiece(word, vocab, unknown=lambda out: [*out, "[UNK]"])


def unknown_letters(word, vocab):
    return _wordpiece(word, vocab, unknown=lambda out: out.append("[UNK]"))


def unknown_dropped(word, vocab):
    return _wordpiece(word, vocab, unknown=lambda out: None)


def only_letters(word, vocab):
    return _wordpiece(word, vocab, ends=lambda s, n: range(s + 1, s + 2))


def never_to_the_end(word, vocab):
    return _wordpiece(word, vocab, ends=lambda s, n: range(n - 1 if n - s > 1 else n, s, -1))


def from_the_end(word, vocab):
    out, end = [], len(word)
    while end > 0:
        for start in range(end):
            piece = ("##" if start > 0 else "") + word[start:end]
            if piece in vocab:
                out.append(piece)
                end = start
                break
        else:
            return ["[UNK]"]
    return out[::-1]


class Bytes:
    """A right tokenizer of bytes, of which the wrong ones change the text or the bytes."""

    def before(self, text):
        return text

    def encode(self, text):
        return list(self.before(text).encode("utf-8"))

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Lower(Bytes):
    def before(self, text):
        return text.lower()


class Strips(Bytes):
    def before(self, text):
        return text.strip()


class SplitsOnSpaces(Bytes):
    def before(self, text):
        return " ".join(text.split())


class LosesSpaces(Bytes):
    def before(self, text):
        return "".join(text.split())


class AddsASpace(Bytes):
    def before(self, text):
        return " " + text if text else text


class Ascii(Bytes):
    def encode(self, text):
        return list(text.encode("ascii", errors="ignore"))


class AsciiQuestionMarks(Bytes):
    def encode(self, text):
        return list(text.encode("ascii", errors="replace"))


class ByteByByte(Bytes):
    def decode(self, ids):
        return "".join(chr(i) for i in ids)


class JoinsWithSpaces:
    def encode(self, text):
        return [ord(c) for c in text]

    def decode(self, ids):
        return " ".join(chr(i) for i in ids)


class Normalizes(Bytes):
    def before(self, text):
        return unicodedata.normalize("NFKC", text)


class Decomposes(Bytes):
    def before(self, text):
        return unicodedata.normalize("NFD", text)


class LosesTheLast:
    def encode(self, text):
        return [ord(c) for c in text[:-1]]

    def decode(self, ids):
        return "".join(map(chr, ids))


class LowerAndStrip(Bytes):
    def before(self, text):
        return text.lower().strip()


WRONG = [
    (left_to_right, "from left to right"),
    (last_learnt_first, "learnt last is applied first"),
    (one_merge, "only one merge is applied"),
    (first_place_only, "only the first place of a pair"),
    (longest_known_piece, "the longest known piece"),
    (forgets_last_merge, "the last merge of the list"),
    (letters, "nothing is merged"),
    (merges_from_the_right, "from the right"),
    (shortest, "the shortest match"),
    (without_prefix, 'later pieces lack "##"'),
    (looked_up_without_prefix, 'looked up without "##"'),
    (unknown_rest, "only the rest that is unknown"),
    (unknown_letters, "each unknown letter"),
    (unknown_dropped, "what is unknown is dropped"),
    (only_letters, "cut into letters"),
    (never_to_the_end, "never reaches the end"),
    (from_the_end, "from the end of the word"),
    (Lower(), "lower-cased"),
    (Strips(), "spaces at the ends are lost"),
    (SplitsOnSpaces(), "runs of white space become one space"),
    (LosesSpaces(), "spaces are lost"),
    (AddsASpace(), "a space is added in front"),
    (Ascii(), "outside ASCII are dropped"),
    (AsciiQuestionMarks(), "outside ASCII become '?'"),
    (ByteByByte(), "one by one, not as UTF-8"),
    (JoinsWithSpaces(), "joined with spaces"),
    (Normalizes(), "NFKC"),
    (Decomposes(), "NFD"),
    (LosesTheLast(), "the last character is lost"),
    (LowerAndStrip(), "lower-cased; and spaces at the ends are lost"),
]
RIGHT = [right_bpe, in_one_pass, right_wordpiece, Bytes()]
