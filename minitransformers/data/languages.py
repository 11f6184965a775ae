"""A guess of a text's language by its most frequent sequences of letters (Cavnar & Trenkle, 1994).

    guesser = LanguageGuesser({"en": english_texts, "de": german_texts})
    guesser.guess("Wie spät ist es?")                          # "de"
    FilteredTexts(source, OnlyLanguages(guesser, ["en"]))

A few pages a language are enough to tell well-known languages apart. Texts of a few words are often guessed wrongly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError, UnknownNameError, nearest


class LanguageGuesser:
    """Compares the ranking of a text's n-grams with that of each language.

    A word is letters with a space on both sides. All its n-grams of 1 to 5 characters are counted; the most frequent
    ones in order are a profile (§3.1). The distance between two profiles is the sum over the text's n-grams of how far
    their ranks differ; one that a language does not have counts as the length of its profile (§3.2, figure 3).

    Args:
        samples: for each language, texts.
        profile_size: how many n-grams a profile has.

    Raises:
        InputError: fewer than two languages, or one without letters.
    """

    def __init__(self, samples: Mapping[str, Iterable[str]], *, profile_size: Any = 300) -> None:
        self.profile_size = check_count("profile_size", profile_size, least=1)
        if len(samples) < 2:
            raise InputError(f"samples has {len(samples)} languages; a guess needs at least two to choose from.")
        self.profiles: dict[str, dict[str, int]] = {}
        for language, texts in samples.items():
            if isinstance(texts, str):
                raise InputError(f"samples[{language!r}] is one text; pass a list of texts.")
            profile = self.profile(texts)
            if not profile:
                raise InputError(f"samples[{language!r}] has no letters: pass texts of that language.")
            self.profiles[language] = profile

    def profile(self, texts: Iterable[str]) -> dict[str, int]:
        """The rank, from 0, of the most frequent n-grams of some texts."""
        counts: Counter[str] = Counter()
        for text in texts:
            for word, times in Counter(re.findall(r"[^\W\d_]+", text.lower())).items():
                spaced = f" {word} "
                for n in range(1, 6):
                    for start in range(len(spaced) - n + 1):
                        counts[spaced[start : start + n]] += times
        del counts[" "]  # around every word
        # Ties in the order of the alphabet, so that the ranking does not depend on the order of texts.
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: self.profile_size]
        return {ngram: rank for rank, (ngram, _) in enumerate(ranked)}

    def distances(self, text: str) -> dict[str, int]:
        """How far the text is from each language, the nearest first; a text without letters is at 0 from all."""
        own = self.profile([text])
        found = {
            language: sum(
                abs(profile[ngram] - rank) if ngram in profile else len(profile) for ngram, rank in own.items()
            )
            for language, profile in self.profiles.items()
        }
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def guess(self, text: str) -> str | None:
        """The nearest language; None for a text without letters."""
        distances = self.distances(text)
        language = next(iter(distances))
        return language if distances[language] or self.profile([text]) else None


class OnlyLanguages:
    """A filter that drops texts which `guesser` takes for another language than `languages`.

    Raises:
        UnknownNameError: a language that the guesser was not given.
    """

    def __init__(self, guesser: LanguageGuesser, languages: Iterable[str]) -> None:
        self.guesser = guesser
        self.languages = frozenset([languages] if isinstance(languages, str) else languages)
        for language in sorted(self.languages):
            if language not in guesser.profiles:
                known = list(guesser.profiles)
                raise UnknownNameError(
                    f"The guesser does not know the language {language!r}, only {', '.join(known)}."
                    f"{nearest(language, known)}"
                )

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        language = self.guesser.guess(text)
        if language in self.languages:
            return None
        return "no letters" if language is None else f"language {language}"
