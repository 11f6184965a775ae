"""Duplicates: texts that are equal but for case and white space, and texts that share most of their words' sequences.

Language models trained without duplicates memorize less and reach the same loss in fewer steps (Lee et al., 2022).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from typing import Any

import numpy as np

from minitransformers.configs.checks import check_count, check_probability
from minitransformers.errors import InputError


def normalized_text(text: str) -> str:
    """The text in lower case and Unicode's form NFKC, without punctuation, one space between words."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


class ExactDuplicates:
    """Drops a text whose `normalized_text` is that of an earlier one. It remembers 16 bytes of each text."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def forget(self) -> None:
        """Take the next text for the first."""
        self._seen.clear()

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        # A text of punctuation alone would equal all others of its kind.
        key = hashlib.blake2b((normalized_text(text) or text).encode(), digest_size=16).digest()
        if key in self._seen:
            return "exact duplicate"
        self._seen.add(key)
        return None


class NearDuplicates:
    """Drops a text whose Jaccard similarity to an earlier kept text is, by estimate, at least `threshold`.

    The similarity of two texts is that of their sets of shingles, sequences of `shingle_words` words: |A ∩ B| / |A ∪ B|
    (Broder, 1997). For a random order of all shingles the smallest of A and the smallest of B are equal with just this
    probability, so the share of equal minima among many orders estimates it, with a standard deviation of
    sqrt(s(1 - s) / orders). Minima are compared only of texts that agree in a whole band of them (Leskovec et al.,
    2020, §3.4): with b bands of r minima, texts of similarity s meet with the probability 1 - (1 - s^r)^b. For 16 bands
    of 8 that is 0.95 at s = 0.8 and 0.06 at s = 0.5.

    Args:
        threshold: the similarity from which on a text is dropped.
        shingle_words: words in a shingle; a shorter text is one shingle.
        bands, band_size: how many bands, and how many minima each has. A text that is kept takes 4 · bands · band_size
            bytes (512), and about as much again for its bands.
        seed: of the random orders.

    Raises:
        InputError: a threshold or number that is none.
    """

    def __init__(
        self,
        threshold: Any = 0.8,
        *,
        shingle_words: Any = 5,
        bands: Any = 16,
        band_size: Any = 8,
        seed: Any = 0,
    ) -> None:
        self.threshold = check_probability("threshold", threshold)
        if self.threshold == 0:
            raise InputError("threshold=0 drops every text but the first: pass a share such as 0.8.")
        self.shingle_words = check_count("shingle_words", shingle_words, least=1)
        self.bands = check_count("bands", bands, least=1)
        self.band_size = check_count("band_size", band_size, least=1)
        random = np.random.default_rng(check_count("seed", seed, least=0))
        # An order: by (a·x + b mod 2⁶⁴) / 2³², with a random odd a (Dietzfelbinger, 1996).
        draws = random.integers(0, 2**64, size=(2, self.bands * self.band_size), dtype=np.uint64)
        self._factors, self._terms = draws[0] | np.uint64(1), draws[1]
        self.forget()

    def forget(self) -> None:
        """Take the next text for the first."""
        self._signatures: list[np.ndarray] = []
        self._in_band: list[dict[bytes, list[int]]] = [{} for _ in range(self.bands)]

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        if not normalized_text(text):
            return None  # nothing to compare
        signature = self.signature(text)
        keys = [band.tobytes() for band in signature.reshape(self.bands, self.band_size)]
        met = {number for band, key in zip(self._in_band, keys, strict=True) for number in band.get(key, ())}
        if any(float(np.mean(self._signatures[number] == signature)) >= self.threshold for number in met):
            return "near duplicate"
        for band, key in zip(self._in_band, keys, strict=True):
            band.setdefault(key, []).append(len(self._signatures))
        self._signatures.append(signature)
        return None

    def signature(self, text: str) -> np.ndarray:
        """The smallest shingle in each order, 32-bit numbers: the share of equal ones estimates the similarity."""
        shingles = np.fromiter({zlib.crc32(shingle.encode()) for shingle in self.shingles(text)}, dtype=np.uint64)
        smallest = np.full(len(self._factors), 2**64 - 1, dtype=np.uint64)
        for start in range(0, len(shingles), 1024):  # a long text would take much memory at once
            ordered = shingles[start : start + 1024, None] * self._factors + self._terms
            smallest = np.minimum(smallest, (ordered >> np.uint64(32)).min(axis=0))
        return smallest.astype(np.uint32)

    def shingles(self, text: str) -> set[str]:
        """The shingles of a text, of its normalized words."""
        words = normalized_text(text).split()
        number = max(1, len(words) - self.shingle_words + 1)
        return {" ".join(words[place : place + self.shingle_words]) for place in range(number)}
