"""Which texts go into a corpus: filters, and a report of what they dropped and why (`FilteredTexts`).

    texts = FilteredTexts(TextFiles("pages"), ExactDuplicates(), GopherRules(), NearDuplicates())
    corpus = tokenize_corpus(texts, tokenizer, "corpus")
    print(texts.report)

A filter is a function of a text: the reason to drop it, or None to keep it. Those here are in deduplication.py,
quality.py and languages.py; any function of this form will do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minitransformers.data.texts import documents_of
from minitransformers.errors import InputError

TextFilter = Callable[[str], str | None]
"""The reason to drop a text, or None."""


@dataclass
class FilterReport:
    """How many texts a reading has kept and dropped.

    Attributes:
        kept, kept_characters: of the texts that passed all filters.
        dropped, dropped_characters: for each reason.
        examples: for each reason, the beginning of the first text that it dropped.
    """

    kept: int = 0
    kept_characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_characters: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, reason: str | None) -> None:
        """Count a text."""
        if reason is None:
            self.kept += 1
            self.kept_characters += len(text)
            return
        self.dropped[reason] += 1
        self.dropped_characters[reason] += len(text)
        self.examples.setdefault(reason, text[:80])

    def __str__(self) -> str:
        """A table: a line for the texts that were kept, and one for each reason, the most frequent first."""
        rows = [("kept", self.kept, self.kept_characters)]
        rows += [(reason, count, self.dropped_characters[reason]) for reason, count in self.dropped.most_common()]
        width = max(len(name) for name, _, _ in rows)
        return "\n".join(f"{name:<{width}} {texts:>11,} texts {size:>15,} characters" for name, texts, size in rows)


class FilteredTexts:
    """The texts of a source that pass all filters, in order. Every iteration reads and filters the source again.

    Args:
        source: what `documents_of` reads: TextFiles, paths, a list of texts, a data set of rows.
        filters: are asked one after the other, up to the first that drops the text: the cheapest first. Filters with
            a memory, such as `ExactDuplicates`, forget it when an iteration begins.
        text_column: which column of a row holds the text.

    Attributes:
        report: of the last iteration, up to where it is.

    Raises:
        InputError: a filter that cannot be called; those of `documents_of` when it is read.
    """

    def __init__(self, source: Any, *filters: TextFilter, text_column: str = "text") -> None:
        for number, each in enumerate(filters):
            if not callable(each) or isinstance(each, type):
                raise InputError(
                    f"Filter {number} is {each!r}; it must be a function of a text, or an object such as GopherRules()."
                )
        self.source, self.filters, self.text_column = source, filters, text_column
        self.report = FilterReport()

    def __iter__(self) -> Iterator[str]:
        self.report = report = FilterReport()
        for each in self.filters:
            if forget := getattr(each, "forget", None):
                forget()
        for text in documents_of(self.source, self.text_column):
            reason = next((found for each in self.filters if (found := each(text)) is not None), None)
            report.add(text, reason)
            if reason is None:
                yield text
