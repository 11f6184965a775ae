"""The names that scripts for `transformers` import from its `utils`: `logging`, `check_min_version`, `ModelOutput` …"""

from typing import Any

from minitransformers.compat.finder import lookup
from minitransformers.compat.modules import UTILS
from minitransformers.utils import logging as logging


def __getattr__(name: str) -> Any:
    return lookup(__name__, name, UTILS)
