"""How the files with a model's weights are called: whole or in shards, and with a variant's name.

WeightFiles("model.safetensors", "fp16").whole             # model.fp16.safetensors
WeightFiles("pytorch_model.bin").index                     # pytorch_model.bin.index.json
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count

from minitransformers.errors import InputError

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class WeightFiles:
    """The names of the files of one checkpoint, as transformers has them.

    Args:
        plain: the name of a whole checkpoint without a variant, `SAFETENSORS` or `PICKLE`.
        variant: distinguishes several checkpoints in one directory: "fp16".

    Raises:
        InputError: a variant that cannot be part of a file name.
    """

    plain: str
    variant: str | None = None

    def __post_init__(self) -> None:
        if self.variant is not None and not re.fullmatch(r"[\w.+-]+", str(self.variant)):
            raise InputError(f"variant={self.variant!r} must be a part of a file name, such as 'fp16', or None.")

    @property
    def whole(self) -> str:
        """The file that has all weights."""
        return f"{self._stem}.{self._ending}"

    @property
    def index(self) -> str:
        """The file that says which weight is in which shard."""
        return f"{self.plain}.index.{self.variant}.json" if self.variant else f"{self.plain}.index.json"

    def shards(self, number: int, taken: Collection[str]) -> list[str]:
        """Names for shards of which none is in `taken`: where the usual ones are, the next begin with `model-2`."""
        stems = (self._stem if attempt == 1 else f"{self._stem}-{attempt}" for attempt in count(1))
        names = (
            [f"{stem}-{shard:05}-of-{number:05}.{self._ending}" for shard in range(1, number + 1)] for stem in stems
        )
        return next(free for free in names if not set(free) & set(taken))

    def has(self, name: str) -> bool:
        """Whether `name` is one of these files, an index or a shard of any number of shards included."""
        shard = rf"{re.escape(self._stem)}(-\d+)?-\d{{5}}-of-\d{{5}}\.{self._ending}"
        return name in (self.whole, self.index) or re.fullmatch(shard, name) is not None

    @property
    def _stem(self) -> str:
        stem = self.plain.rpartition(".")[0]
        return f"{stem}.{self.variant}" if self.variant else stem

    @property
    def _ending(self) -> str:
        return self.plain.rpartition(".")[2]
