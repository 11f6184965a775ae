"""Filters of texts: what they drop, why, and what the report says."""

from __future__ import annotations

import random

import numpy as np
import pytest
from corpora import make
from hypothesis import given, strategies as st

from minitransformers import InputError, UnknownNameError
from minitransformers.data import (
    C4Rules,
    ExactDuplicates,
    FilteredTexts,
    GopherRules,
    LanguageGuesser,
    NearDuplicates,
    OnlyLanguages,
    RepetitionRules,
    c4_lines,
    normalized_text,
)

# ---- reading ---------------------------------------------------------------------------------------------------------


def no_digits(text):
    return "digits" if any(map(str.isdigit, text)) else None


@given(st.lists(st.text("aAbB1 .", max_size=4), max_size=12))
def test_texts_that_pass_come_out_in_order_and_all_are_counted(texts):
    filtered = FilteredTexts(texts, no_digits, ExactDuplicates())
    without = [text for text in texts if no_digits(text) is None]
    keys = [normalized_text(text) or text for text in without]
    expected = [text for place, text in enumerate(without) if keys[place] not in keys[:place]]
    assert list(filtered) == list(filtered) == expected  # the second reading has forgotten the first
    report = filtered.report
    assert (report.kept, report.kept_characters) == (len(expected), sum(map(len, expected)))
    assert report.dropped["digits"] == len(texts) - len(without)
    assert report.dropped["exact duplicate"] == len(without) - len(expected)
    assert report.kept_characters + report.dropped_characters.total() == sum(map(len, texts))


def test_a_report_says_what_was_dropped(tmp_path):
    rows = [{"page": text} for text in ("the cat", "room 101", "The  CAT!", "the dog", "the\ncat", "7")]
    filtered = FilteredTexts(rows, no_digits, ExactDuplicates(), text_column="page")
    corpus = make(filtered, tmp_path / "corpus")
    assert len(corpus.documents) == 2
    assert str(filtered.report).splitlines() == [
        "kept                      2 texts              14 characters",
        "digits                    2 texts               9 characters",
        "exact duplicate           2 texts              16 characters",
    ]
    assert filtered.report.examples == {"digits": "room 101", "exact duplicate": "The  CAT!"}


# ---- duplicates ------------------------------------------------------------------------------------------------------


def test_normalized_text():
    assert normalized_text("  ﬁne — Straße,\n'100'\t") == "fine strasse 100"


WORDS = [f"w{number}" for number in range(1000)]


def two_texts(changed, seed):
    """Two texts of 200 different words, the second with some of them changed."""
    words = random.Random(seed).sample(WORDS, 400)
    other = words[:200]
    for place in range(changed):
        other[place * 200 // max(changed, 1)] = words[200 + place]
    return " ".join(words[:200]), " ".join(other)


def test_signatures_estimate_the_similarity():
    """The estimate has the mean s and the deviation sqrt(s(1 - s) / 128); here the mean of 20 is within four of it."""
    for changed in (2, 10, 30):
        errors = []
        for seed in range(20):
            filter_ = NearDuplicates(seed=seed)
            one, other = two_texts(changed, seed)
            a, b = filter_.shingles(one), filter_.shingles(other)
            similarity = len(a & b) / len(a | b)
            errors.append(float(np.mean(filter_.signature(one) == filter_.signature(other))) - similarity)
        assert abs(np.mean(errors)) < 4 * (similarity * (1 - similarity) / 128 / 20) ** 0.5
        assert np.std(errors) < 2 * (similarity * (1 - similarity) / 128) ** 0.5


def test_near_duplicates_are_dropped_and_others_kept():
    texts = []
    for seed in range(10):
        one, near = two_texts(2, seed)  # similarity 0.9
        far = two_texts(30, seed)[1]  # 0.2
        texts += [one, near, far, one.upper()]
    filtered = FilteredTexts(texts, NearDuplicates(0.75))
    kept = list(filtered)
    assert [texts.index(text) % 4 for text in kept] == [0, 2] * 10
    assert filtered.report.dropped == {"near duplicate": 20}
    assert len(list(FilteredTexts(["", "?!", "", "a b", "a c", "A b"], NearDuplicates()))) == 5


# ---- quality ---------------------------------------------------------------------------------------------------------

FOX = "the quick brown fox jumps over a lazy dog and runs to that forest with other foxes of its pack"


def test_gopher_rules():
    rules = GopherRules(words=(10, 30))
    assert rules(FOX) is None
    assert GopherRules()(FOX) == "words not from 50 to 100000"
    assert rules(FOX * 2) == "words not from 10 to 30"
    assert rules("") == "words not from 10 to 30"
    assert rules("to be of it " * 4) == "mean word length not from 3.0 to 10.0"
    assert rules(FOX + " #a #b #c") == "more than 0.1 symbols a word"
    assert rules(FOX + " so ... and … then...") == "more than 0.1 symbols a word"
    assert rules("\n".join("•" + word for word in FOX.split()[:14])) == "more than 90% bullet points"
    assert rules(FOX + "\nand so...") == "more than 30% lines end with an ellipsis"
    assert rules(FOX + " 12345 678 90123 4567 8901 2345 678") == "fewer than 80% words with a letter"
    assert rules("walk " * 9 + "the end") == "fewer than 2 stop words"


def test_repetition_rules():
    none = {1: 1.0}
    rules = RepetitionRules(top_ngrams={}, repeated_ngrams={})
    assert rules("") is None
    assert rules("a\nb\nc\nd") is None
    assert rules("a\nbb\na\ncc\na") == "more than 30% repeated lines"
    assert rules("a long line\nb\nc\nd\na long line") == "more than 20% characters in repeated lines"
    once = RepetitionRules(lines=1, line_characters=1, top_ngrams={}, repeated_ngrams={})
    assert once("a\n\nb\n \nb") == "more than 30% repeated paragraphs"
    assert once("some text\n\nb\n\nc\n\nd\n\nsome text") == "more than 20% characters in repeated paragraphs"
    # "a b" is 2 · 2 of 10 characters; "x y z" is twice 3 of them.
    assert RepetitionRules(top_ngrams={2: 0.39}, repeated_ngrams=none)("a b c d a b e f g h") == (
        "more than 39% characters in one sequence of 2 words"
    )
    assert RepetitionRules(top_ngrams={2: 0.41}, repeated_ngrams=none)("a b c d a b e f g h") is None
    assert RepetitionRules(top_ngrams={}, repeated_ngrams={3: 0.59})("x y z a b x y z c d") == (
        "more than 59% characters in repeated sequences of 3 words"
    )
    assert RepetitionRules(top_ngrams={}, repeated_ngrams={3: 0.61})("x y z a b x y z c d") is None
    # Overlapping sequences: each character counts once, so it is never more than all.
    assert RepetitionRules(top_ngrams={}, repeated_ngrams={2: 1.0})("a a a a") is None


def test_c4_rules():
    page = "Home | News\nThis is a line of text.\nToo short a line.\nPlease turn on your Javascript now."
    assert c4_lines(page + "\nHe said no to all!") == "This is a line of text.\nHe said no to all!"
    assert C4Rules()("One. Two? “Three!” And") is None
    assert C4Rules()("One. Two of 3.5 and www.a.org") == "fewer than 3 sentences"
    assert C4Rules()("A. B. C. Lorem Ipsum.") == "lorem ipsum"
    assert C4Rules()("A. B. C. if (a) { b }") == "curly bracket"


# ---- languages -------------------------------------------------------------------------------------------------------

SAMPLES = {
    "en": [
        "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
        "and should act towards one another in a spirit of brotherhood. Everyone has the right to life, liberty and "
        "the security of person. No one shall be held in slavery or servitude."
    ],
    "de": [
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
        "und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat das Recht auf Leben, Freiheit und "
        "Sicherheit der Person. Niemand darf in Sklaverei oder Leibeigenschaft gehalten werden."
    ],
    "fr": [
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
        "conscience et doivent agir les uns envers les autres dans un esprit de fraternité. Tout individu a droit à la "
        "vie, à la liberté et à la sûreté de sa personne. Nul ne sera tenu en esclavage ni en servitude."
    ],
}


def test_languages_are_told_apart():
    guesser = LanguageGuesser(SAMPLES)
    texts = {
        "Everyone has the right to a nationality, and to change it": "en",
        "Jeder hat das Recht auf eine Staatsangehörigkeit und darf sie wechseln": "de",
        "Tout individu a droit à une nationalité et peut en changer": "fr",
        "123 ...": None,
    }
    assert {text: guesser.guess(text) for text in texts} == texts
    filtered = FilteredTexts(list(texts), OnlyLanguages(guesser, ["en", "fr"]))
    assert len(list(filtered)) == 2
    assert filtered.report.dropped == {"language de": 1, "no letters": 1}


def test_distances_by_hand():
    guesser = LanguageGuesser({"a": ["ab"], "b": ["ba"]}, profile_size=4)
    # n-grams of " ab ", each once, in the order of the alphabet: " a", " ab", " ab ", "a"; of " ba ": " b", " ba", …
    assert list(guesser.profiles["a"].items()) == [(" a", 0), (" ab", 1), (" ab ", 2), ("a", 3)]
    assert guesser.distances("ab") == {"a": 0, "b": 12}  # they share "a"
    # " a ": " a", " a ", "a", "a " at 0 to 3; of these language a has " a" at 0 and "a" at 3: 0 + 4 + 1 + 4.
    assert guesser.distances("a") == {"a": 9, "b": 13}


BAD = {
    "a class": (lambda: FilteredTexts([], ExactDuplicates), InputError, "Filter 0 is .*such as GopherRules"),
    "one text": (lambda: list(FilteredTexts("a")), InputError, "A corpus is many texts"),
    "no threshold": (lambda: NearDuplicates(0), InputError, "threshold=0 drops every text but the first"),
    "one language": (lambda: LanguageGuesser({"a": ["b"]}), InputError, "samples has 1 languages"),
    "no letters": (lambda: LanguageGuesser({"a": ["b"], "c": ["1"]}), InputError, r"samples\['c'\] has no letters"),
    "a text": (lambda: LanguageGuesser({"a": "b", "c": "d"}), InputError, r"samples\['a'\] is one text; pass a list"),
    "unknown": (
        lambda: OnlyLanguages(LanguageGuesser(SAMPLES), "eng"),
        UnknownNameError,
        "does not know the language 'eng', only en, de, fr",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_filters(case):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call()
