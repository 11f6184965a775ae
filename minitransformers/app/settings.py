"""The settings of the app as data: the terminal's commands, the command line's options and the page's fields.

Errors name a setting as the reader sees it: `--temperature` on the command line, `/temperature` in the terminal,
`temperature` in the page. The ranges are those of `generate`, narrowed where extreme values lead to NaN or use up the
memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minitransformers.errors import InputError, UnknownNameError, nearest

STRATEGIES = {
    "greedy": "the likeliest token each time",
    "sample": "a token drawn by its probability, after the filters",
    "beam": "several texts at once, of which the likeliest wins",
    "lookup": "greedy, faster where the text repeats itself (prompt lookup)",
    "assisted": "greedy, faster with a smaller model that guesses ahead (--draft)",
}


@dataclass(frozen=True)
class Range:
    """The values that a setting may have: in words, and as a test."""

    words: str
    test: Callable[[Any], bool]


FROM_0 = Range("a whole number of at least 0, and less than 2**31", lambda value: 0 <= value < 2**31)
FROM_1 = Range("a whole number of at least 1, and less than 2**31", lambda value: 1 <= value < 2**31)
BEAMS = Range("a whole number from 1 to 256", lambda value: 1 <= value <= 256)
SEEDS = Range("a whole number from 0 to 2**63 − 1", lambda value: 0 <= value < 2**63)
FACTOR = Range("a number from 0.01 to 100", lambda value: 0.01 <= value <= 100)
MASS = Range("a number above 0 and at most 1", lambda value: 0 < value <= 1)
FRACTION = Range("a number from 0 to 1", lambda value: 0 <= value <= 1)


@dataclass(frozen=True)
class Field:
    """One value that can be set.

    Attributes:
        name: its name in `generate`.
        alias: its name in the terminal.
        help: what it does, in a few words.
        default: its type is the value's; None is a whole number that is left open.
        range: the possible values.
        step: by how much the page's arrow keys change it.
        strategies: those it has an effect on.
        remedy: advice for values out of range; `{greedy}` is replaced by how the reader sets that strategy.
    """

    name: str
    alias: str
    help: str
    default: float | int | None
    range: Range
    step: float | int = 1
    strategies: tuple[str, ...] = tuple(STRATEGIES)
    remedy: str = ""


_SAMPLE = ("sample",)
_GREEDY = "For the likeliest token at each step, use {greedy}."
FIELDS = (
    Field("max_new_tokens", "length", "how many new tokens at most", 60, FROM_1, 10),
    Field(
        "temperature",
        "temperature",
        "below 1 more predictable, above 1 more varied",
        0.8,
        FACTOR,
        0.1,
        _SAMPLE,
        _GREEDY,
    ),
    Field("top_k", "top_k", "draw from the k likeliest tokens; 0: from all", 50, FROM_0, 5, _SAMPLE),
    Field("top_p", "top_p", "draw from the likeliest tokens that reach this probability", 0.95, MASS, 0.05, _SAMPLE),
    Field("min_p", "min_p", "no token less likely than this fraction of the likeliest", 0.0, FRACTION, 0.05, _SAMPLE),
    Field("typical_p", "typical", "draw from typical tokens that reach this probability", 1.0, MASS, 0.05, _SAMPLE),
    Field("num_beams", "beams", "how many texts at once", 4, BEAMS, 1, ("beam",)),
    Field("repetition_penalty", "penalty", "above 1, tokens that occurred become less likely", 1.0, FACTOR, 0.1),
    Field("no_repeat_ngram_size", "no_repeat", "never repeat so many tokens in a row; 0: allowed", 0, FROM_0),
    Field("seed", "seed", "the same seed draws the same text; empty: a new seed each time", None, SEEDS, 1, _SAMPLE),
)
_BY_NAME = {key: entry for entry in FIELDS for key in (entry.name, entry.alias)}

# ---- how a reader sets something -------------------------------------------------------------------------------------

Spelling = Callable[..., str]
"""(name, value = "") -> what the reader types or looks for."""


def as_flag(name: str, value: object = "") -> str:
    """The option of the command line: `--length 60`."""
    return f"--{_alias(name).replace('_', '-')} {value}".strip()


def as_command(name: str, value: object = "") -> str:
    """The command of the terminal: `/length 60`."""
    return f"/{_alias(name)} {value}".strip()


def as_label(name: str, value: object = "") -> str:
    """The field of the page: `max_new_tokens 60`."""
    return f"{name} {value}".strip()


def _alias(name: str) -> str:
    return _BY_NAME[name].alias if name in _BY_NAME else name


# ---- settings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """A strategy, and a value for every field.

    Attributes:
        spell: how errors name a setting.
    """

    strategy: str = "sample"
    values: Mapping[str, float | int | None] = field(default_factory=lambda: {f.name: f.default for f in FIELDS})
    spell: Spelling = field(default=as_label, compare=False)

    def set(self, name: str, value: Any) -> Settings:
        """The same with one value changed. A text is read as a number; an empty one is the default.

        Raises:
            UnknownNameError: there is no such field or strategy; the message has the nearest name.
            InputError: the text is no number, or the number is out of range.
        """
        key = name.strip().replace("-", "_").lower()
        if key == "strategy":
            if not isinstance(value, str) or value not in STRATEGIES:
                hint = nearest(str(value), STRATEGIES)
                raise UnknownNameError(f"There is no strategy {value!r}; there are {', '.join(STRATEGIES)}.{hint}")
            return replace(self, strategy=value)
        if key not in _BY_NAME:
            raise UnknownNameError(f"There is no setting {name!r}.{nearest(key, ['strategy', *_BY_NAME])}")
        changed = _BY_NAME[key]
        return replace(self, values={**self.values, changed.name: self._read(changed, value)})

    def applies(self, item: Field) -> bool:
        """Whether the field has an effect on the strategy."""
        return self.strategy in item.strategies

    def arguments(self) -> dict[str, Any]:
        """The keywords for `generate`; the seed and a draft model are not among them."""
        chosen: dict[str, Any] = {
            item.name: self.values[item.name] for item in FIELDS if self.applies(item) and item.name != "seed"
        }
        chosen["do_sample"] = self.strategy == "sample"
        if self.strategy != "beam":
            chosen["num_beams"] = 1
        if self.strategy == "lookup":
            chosen["prompt_lookup_num_tokens"] = 10
        return chosen

    def _read(self, item: Field, value: Any) -> float | int | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return item.default
        kind: type[int] | type[float] = float if isinstance(item.default, float) else int
        number = value
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                number = kind(value)
        is_number = isinstance(number, (int, kind)) and not isinstance(number, bool)
        if not (is_number and item.range.test(number)):
            remedy = item.remedy.format(greedy=self.spell("strategy", "greedy"))
            raise InputError(f"{self.spell(item.name)} must be {item.range.words}, got {value!s:.40}. {remedy}".strip())
        return kind(number)
