"""The library's errors, each also the built-in error that a caller would catch; and how to warn.

Every message names the argument, its value and the remedy.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable


class MinitransformersError(Exception):
    """The base of every error that this library raises on purpose."""


class ConfigError(MinitransformersError, ValueError):
    """A configuration value that no model can be built from."""


class InputError(MinitransformersError, ValueError):
    """An argument of the right name whose value, shape, type or range is wrong."""


class UnknownArgumentError(MinitransformersError, TypeError, ValueError):
    """An argument that the called function or class does not have."""


class UnknownNameError(MinitransformersError, KeyError):
    """A name (of an activation, an output field, a token …) that is not in its table."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; a sentence should read as a sentence.
        return str(self.args[0]) if self.args else ""


class CheckpointError(MinitransformersError, ValueError):
    """A checkpoint that does not fit the model, or whose files are damaged."""


class ShapeError(CheckpointError, RuntimeError):
    """Weights in a checkpoint that have another shape than the model's."""


class MissingFileError(CheckpointError, OSError):
    """A required file that a checkpoint does not have, or that cannot be reached."""


class HubError(MinitransformersError, OSError):
    """Files that cannot be pushed: the hub cannot be reached, or does not know the user."""


class TrainingError(MinitransformersError, RuntimeError):
    """A training run that cannot continue: its loss is NaN, or a checkpoint cannot be written."""


class TokenizationError(MinitransformersError, ValueError):
    """Text or ids that the tokenizer does not accept, or tokenizer files that it cannot be built from."""


class CorpusError(MinitransformersError, ValueError):
    """A corpus, of texts or of tokens, that is damaged, empty, or cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'hidden_size'?"` where a known name is near, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """`value` for a message: its representation, of which a long one is cut in the middle."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} … {text[-50:]}"


def warn(message: str) -> None:
    """Issue a warning that points to the user's code: the innermost frame outside of this library and PyTorch.

    The number of frames in between varies, because modules are called through hooks, and methods through decorators.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


_NOT_THE_USERS = ("minitransformers", "torch", "contextlib", "jaxtyping", "beartype")
