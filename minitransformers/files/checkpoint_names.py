"""Where names in checkpoint files differ from the modules' own names: one short table a family.

Modules are named as in transformers 5.23, so that most names need no rule. What is left:

    CheckpointNames(
        former("{module...}.gamma", "{module...}.weight"),  # read under the old name, never written
        stored("encoder.layer.{n}.norm", "layers.{n}.norm"),  # files have the first name, modules the second
        drop("h.{layer}.attn.bias"),  # in old files, of no use
        transpose("h.{layer}.attn.c_attn.weight"),  # (in, out) in files, (out, in) in nn.Linear
    )

`{layer}` stands for one part between dots and `{module...}` for one part or more. Every pattern may be preceded by the
attribute under which models with a head keep their backbone ("bert.", "transformer.").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """One line of a table; made by the functions below."""

    kind: Literal["former", "stored", "drop", "transpose"]
    in_file: str
    name: str


def former(old: str, name: str) -> Rule:
    """An old name of a tensor: read, never written."""
    return Rule("former", old, name)


def stored(in_file: str, name: str) -> Rule:
    """The name in files of a tensor whose module has another name: read and written."""
    return Rule("stored", in_file, name)


def drop(name: str) -> Rule:
    """A tensor of old files that is not used, such as a causal mask kept as a buffer."""
    return Rule("drop", name, "")


def transpose(name: str) -> Rule:
    """A matrix that files hold as (in, out) and `nn.Linear` as (out, in)."""
    return Rule("transpose", name, name)


class CheckpointNames:
    """The rules of one family, applied to names in the order of the table.

    Args:
        rules: see the functions above.
        base: the attribute under which models with a head have their backbone.
    """

    def __init__(self, *rules: Rule, base: str) -> None:
        self.base = base
        self._to_modules = [(self._regex(r.in_file), r.name) for r in rules if r.kind in ("former", "stored")]
        self._to_files = [(self._regex(r.name), r.in_file) for r in rules if r.kind == "stored"]
        self._dropped = [self._regex(r.in_file) for r in rules if r.kind == "drop"]
        self._transposed = [self._regex(r.name) for r in rules if r.kind == "transpose"]

    def module_name(self, in_file: str) -> str | None:
        """The module's name of a tensor in a file; None where it is dropped."""
        name = _unwrapped(in_file)
        for regex, template in self._to_modules:
            name = _renamed(regex, name, template)
        return None if any(regex.fullmatch(name) for regex in self._dropped) else name

    def file_name(self, name: str) -> str:
        """The name in files of a module's tensor."""
        name = _unwrapped(name)
        for regex, template in self._to_files:
            name = _renamed(regex, name, template)
        return name

    def is_transposed(self, name: str) -> bool:
        """Whether files hold the module's tensor `name` transposed."""
        return any(regex.fullmatch(_unwrapped(name)) for regex in self._transposed)

    def transposed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` with the matrices that files hold transposed turned the other way; a view, no copy."""
        return {name: tensor.t() if self.is_transposed(name) else tensor for name, tensor in state.items()}

    def _regex(self, pattern: str) -> re.Pattern[str]:
        regex = re.escape(pattern)
        regex = re.sub(r"\\{(\w+)\\.\\.\\.\\}", r"(?P<\1>.+)", regex)
        regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", regex)
        return re.compile(rf"(?P<base_>{re.escape(self.base)}\.)?{regex}")


def _unwrapped(name: str) -> str:
    """The name without what torch.compile and data parallelism add to it."""
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _renamed(regex: re.Pattern[str], name: str, template: str) -> str:
    """`template` with the placeholders that `regex` finds in `name`; `name` itself where it does not match."""
    match = regex.fullmatch(name)
    if match is None:
        return name
    parts = match.groupdict(default="")
    return parts.pop("base_") + template.replace("...}", "}").format(**parts)
