"""What can be set, as data: from it come the terminal's commands, the command line's options and the page's fields."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Field:
    """One value that can be set.

    Attributes:
        name: what `generate` calls it.
        alias: what the terminal calls it.
        help: what it does, in a few words.
        default: its type is the value's; None is a whole number that is left open.
        step: by how much the page's buttons change it.
        strategies: which ones it has an effect on.
    """

    name: str
    alias: str
    help: str
    default: float | int | None
    step: float | int = 1
    strategies: tuple[str, ...] = tuple(STRATEGIES)


FIELDS = (
    Field("max_new_tokens", "length", "how many new tokens at most", 60, 10),
    Field("temperature", "temperature", "below 1 bolder in its favourites, above 1 more daring", 0.8, 0.1, ("sample",)),
    Field("top_k", "top_k", "draw from the k likeliest tokens; 0: from all", 50, 5, ("sample",)),
    Field(
        "top_p", "top_p", "draw from the likeliest tokens that reach this probability together", 0.95, 0.05, ("sample",)
    ),
    Field("min_p", "min_p", "leave out what is less likely than this part of the likeliest", 0.0, 0.05, ("sample",)),
    Field("typical_p", "typical", "draw from tokens of a typical surprise, up to this mass", 1.0, 0.05, ("sample",)),
    Field("num_beams", "beams", "how many texts at once", 4, 1, ("beam",)),
    Field("repetition_penalty", "penalty", "above 1, tokens that occurred become less likely", 1.0, 0.1),
    Field("no_repeat_ngram_size", "no_repeat", "never repeat so many tokens in a row; 0: allowed", 0, 1),
    Field("seed", "seed", "the same seed draws the same text; empty: another each time", None, 1, ("sample",)),
)
_BY_NAME = {key: entry for entry in FIELDS for key in (entry.name, entry.alias)}


@dataclass(frozen=True)
class Settings:
    """A strategy, and a value for every field."""

    strategy: str = "sample"
    values: Mapping[str, float | int | None] = field(default_factory=lambda: {f.name: f.default for f in FIELDS})

    def set(self, name: str, value: Any) -> Settings:
        """The same with one value changed; as a text, it is read first, and an empty one is the default.

        Raises:
            UnknownNameError: there is no such field or strategy; the message has the nearest name.
            InputError: a text that is no number. Numbers out of range are refused by `generate`.
        """
        key = name.strip().replace("-", "_").lower()
        if key == "strategy":
            if not isinstance(value, str) or value not in STRATEGIES:
                hint = nearest(str(value), STRATEGIES)
                raise UnknownNameError(f"There is no strategy {value!r}; there are {', '.join(STRATEGIES)}.{hint}")
            return Settings(value, self.values)
        if key not in _BY_NAME:
            raise UnknownNameError(f"There is no setting {name!r}.{nearest(key, ['strategy', *_BY_NAME])}")
        changed = _BY_NAME[key]
        return Settings(self.strategy, {**self.values, changed.name: _read(changed, value)})

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


def _read(item: Field, value: Any) -> float | int | None:
    whole = not isinstance(item.default, float)
    if value is None or (isinstance(value, str) and not value.strip()):
        return item.default
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = int(value) if whole else float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if whole else float(value)
    if isinstance(value, float) and math.isfinite(value) and not whole:
        return value
    raise InputError(f"{item.name}={value!r} must be a {'whole number' if whole else 'number'}.")
