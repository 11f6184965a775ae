"""Weight names as data: one table a family, which loading applies and saving inverts.

Worked example, from GPT-2's table (`base="transformer"`, the backbone's attribute in models with a head):

    transpose("h.{layer}.attn.c_attn.weight", "blocks.{layer}.self_attention.query_key_value.weight")

reads `transformer.h.3.attn.c_attn.weight` of a file, transposed, into
`transformer.blocks.3.self_attention.query_key_value.weight` of our model, and writes it back under the first name. The
prefix `transformer.` may be there or not and stays as it is. `{layer}` stands for one part between dots, whatever it
is, and `{name...}` for one part or more. Where several rules match, the first one counts. Names that agree in both
need no rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """One line of a table; made by the functions below."""

    kind: Literal["rename", "transpose", "tie", "drop", "alias", "double", "stored"]
    theirs: str
    ours: str


def rename(theirs: str, ours: str) -> Rule:
    """The same tensor under another name."""
    return Rule("rename", theirs, ours)


def transpose(theirs: str, ours: str) -> Rule:
    """A matrix that the file has transposed, under another name."""
    return Rule("transpose", theirs, ours)


def tie(name: str, to: str) -> Rule:
    """Our parameter `name` is our parameter `to` where the config ties word embeddings; the file need not have it."""
    return Rule("tie", name, to)


def drop(theirs: str) -> Rule:
    """A tensor of old files that means nothing here, such as a causal mask kept as a buffer."""
    return Rule("drop", theirs, "")


def alias(theirs: str, of: str) -> Rule:
    """A former name, in their naming, of a tensor of theirs: read, never written."""
    return Rule("alias", theirs, of)


def double(theirs: str, of: str) -> Rule:
    """A second name, in their naming, under which they have the same tensor; written where embeddings are not tied."""
    return Rule("double", theirs, of)


def stored(theirs: str, of: str) -> Rule:
    """The name that their files have, as in former years, for what their modules call otherwise today."""
    return Rule("stored", theirs, of)


@dataclass(frozen=True)
class Renamed:
    """Where a tensor belongs: its name on the other side, and whether it must be transposed on the way."""

    name: str
    transposed: bool = False


class WeightTable:
    """The rules of one family, applied to names.

    Args:
        rules: in order; the first that matches counts.
        base: the attribute under which models with a head have their backbone.
    """

    def __init__(self, *rules: Rule, base: str) -> None:
        self.rules = rules
        self.base = base
        moves = [rule for rule in rules if rule.kind in ("rename", "transpose")]
        self._reading = [(_Pattern(rule.theirs, base), rule.ours, rule.kind == "transpose") for rule in moves]
        self._writing = [(_Pattern(rule.ours, base), rule.theirs, rule.kind == "transpose") for rule in moves]
        self._dropped = [_Pattern(rule.theirs, base) for rule in rules if rule.kind == "drop"]
        aliases = [rule for rule in rules if rule.kind in ("alias", "double", "stored")]
        self._aliases = [(_Pattern(rule.theirs, base), rule.ours) for rule in aliases]
        self._stored = [(_Pattern(rule.ours, base), rule.theirs) for rule in rules if rule.kind == "stored"]
        self.ties = {rule.theirs: rule.ours for rule in rules if rule.kind == "tie"}
        self.doubles = {rule.theirs: rule.ours for rule in rules if rule.kind == "double"}

    def to_ours(self, theirs: str) -> Renamed | None:
        """Where a tensor of a file belongs in our model; None where it is to be dropped."""
        theirs = _plain(theirs)
        for pattern, canonical in self._aliases:
            theirs = pattern.replace(theirs, canonical) or theirs
        if any(pattern.matches(theirs) for pattern in self._dropped):
            return None
        return _first(self._reading, theirs)

    def to_theirs(self, ours: str) -> Renamed:
        """Under which name a tensor of our model stands in theirs."""
        return _first(self._writing, _plain(ours))

    def in_files(self, theirs: str) -> str:
        """The name that a file has for what their modules call `theirs`."""
        names = (pattern.replace(theirs, template) for pattern, template in self._stored)
        return next((name for name in names if name is not None), theirs)

    def module_name(self, f):
        r = self.to_ours(f)
        return None if r is None else r.name

    def file_name(self, n):
        return self.in_files(self.to_theirs(n).name)

    def is_transposed(self, n):
        return self.to_theirs(n).transposed

    def transposed(self, state):
        return {self.to_theirs(n).name: t.t() if self.is_transposed(n) else t for n, t in state.items()}


class _Pattern:
    """A name with placeholders, behind an optional prefix."""

    def __init__(self, pattern: str, base: str) -> None:
        regex = re.escape(pattern)
        regex = re.sub(r"\\{(\w+)\\.\\.\\.\\}", r"(?P<\1>.+)", regex)
        regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", regex)
        self._regex = re.compile(rf"(?P<base_>{re.escape(base)}\.)?{regex}")

    def matches(self, name: str) -> bool:
        return self._regex.fullmatch(name) is not None

    def replace(self, name: str, template: str) -> str | None:
        """`template` with this pattern's placeholders filled in from `name`; None where `name` does not match."""
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        parts = match.groupdict(default="")
        return parts.pop("base_") + template.replace("...}", "}").format(**parts)


def _first(moves: list[tuple[_Pattern, str, bool]], name: str) -> Renamed:
    for pattern, template, transposed in moves:
        renamed = pattern.replace(name, template)
        if renamed is not None:
            return Renamed(renamed, transposed)
    return Renamed(name)


def _plain(name: str) -> str:
    """The name without what wrappers put into it: torch.compile `_orig_mod.`, data parallelism `module.` in front."""
    return name.replace("_orig_mod.", "").removeprefix("module.")
