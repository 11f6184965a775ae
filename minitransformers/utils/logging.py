"""The library's log messages: levels, handlers and progress bars, as functions of `transformers.utils.logging`.

    from minitransformers import logging

    logging.set_verbosity_info()
    logger = logging.get_logger(__name__)
    logger.warning_once("…")

All of the library's loggers are below one, "minitransformers". It has no handler until a function that changes
something is called: Python prints its warnings to the standard error stream, or the application's handlers receive
them. The first such call adds a handler and stops propagation to the application's handlers, which would print every
message twice; `enable_propagation` restores it. The environment variable MINITRANSFORMERS_VERBOSITY sets the level when
the library is imported: "debug", "info", "warning", "error", "critical", or "detail", which is "debug" with file and
line of each message.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from logging import (
    CRITICAL as CRITICAL,
    DEBUG as DEBUG,
    ERROR as ERROR,
    FATAL as FATAL,
    INFO as INFO,
    NOTSET as NOTSET,
    WARN as WARN,
    WARNING as WARNING,
)
from typing import Any

from tqdm import auto

from minitransformers.errors import InputError

log_levels = {
    "detail": DEBUG,
    "debug": DEBUG,
    "info": INFO,
    "warning": WARNING,
    "error": ERROR,
    "critical": CRITICAL,
}

_VARIABLE = "MINITRANSFORMERS_VERBOSITY"
_library = logging.getLogger("minitransformers")


class _ToStandardError(logging.StreamHandler[Any]):
    """Prints to the `sys.stderr` of the moment, which tests and notebooks replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


_own_handler = _ToStandardError()
_own_handler.setFormatter(logging.Formatter("[minitransformers] %(message)s"))
_state = {"configured": False, "bars": True}


def _configured() -> logging.Logger:
    """The library's logger, with its own handler."""
    if not _state["configured"]:
        _state["configured"] = True
        _library.addHandler(_own_handler)
        _library.propagate = False
    return _library


# ---- loggers ---------------------------------------------------------------------------------------------------------


def get_logger(name: str | None = None) -> Any:
    """The logger of that name, by default the library's, as returned by `logging.getLogger`.

    It has further methods: `warning_once` and `info_once` log each message only once, and `warning_advice` is
    `warning`.
    """
    logger: Any = logging.getLogger(name or _library.name)
    if not hasattr(logger, "warning_once"):
        logger.warning_once = functools.cache(logger.warning)
        logger.info_once = functools.cache(logger.info)
        logger.warning_advice = logger.warning
    return logger


def captureWarnings(capture: bool) -> None:  # noqa: N802  # logging's name
    """Log the warnings of the `warnings` module by the logger "py.warnings", with the library's handler."""
    logger = logging.getLogger("py.warnings")
    if not logger.handlers:
        logger.addHandler(_own_handler)
    logger.setLevel(get_verbosity())
    logging.captureWarnings(capture)


# ---- levels ----------------------------------------------------------------------------------------------------------


def get_log_levels_dict() -> dict[str, int]:
    """The names of the levels, and their numbers."""
    return log_levels


def get_verbosity() -> int:
    """The lowest level of messages that are shown: 30, `WARNING`, by default."""
    return _library.getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Show the library's messages of this level and above."""
    _configured().setLevel(verbosity)


def set_verbosity_debug() -> None:
    """Show everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Show information, warnings and errors."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Show warnings and errors."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Show errors only."""
    set_verbosity(ERROR)


# ---- handlers and formats --------------------------------------------------------------------------------------------


def enable_default_handler() -> None:
    """Print the library's messages to the standard error stream."""
    _configured().addHandler(_own_handler)


def disable_default_handler() -> None:
    """Do not print the library's messages; other handlers still receive them."""
    _configured().removeHandler(_own_handler)


def add_handler(handler: logging.Handler) -> None:
    """Add a handler of the library's messages."""
    _configured().addHandler(handler)


def remove_handler(handler: logging.Handler) -> None:
    """Remove a handler of the library's messages.

    Raises:
        InputError: it is not among the library's handlers.
    """
    if handler not in _configured().handlers:
        raise InputError(f"handler={handler!r} is not one of the library's handlers, {_library.handlers}.")
    _library.removeHandler(handler)


def enable_propagation() -> None:
    """Pass the library's messages to the application's handlers, too."""
    _configured().propagate = True


def disable_propagation() -> None:
    """Pass the library's messages to the library's own handlers only."""
    _configured().propagate = False


def enable_explicit_format() -> None:
    """Print level, file, line and time before each message."""
    _set_format("[%(levelname)s|%(filename)s:%(lineno)s] %(asctime)s >> %(message)s")


def reset_format() -> None:
    """Print messages without level, place and time."""
    _set_format("%(message)s")


def _set_format(text: str) -> None:
    for handler in _configured().handlers:
        handler.setFormatter(logging.Formatter(text))


# ---- progress bars ---------------------------------------------------------------------------------------------------


class tqdm(auto.tqdm):  # type: ignore[misc]  # noqa: N801  # tqdm's name
    """tqdm's progress bar, hidden while progress bars are disabled; the library uses no other."""

    def __init__(self, *args: Any, disable: bool | None = False, **kwargs: Any) -> None:
        super().__init__(*args, disable=disable if _state["bars"] else True, **kwargs)


def is_progress_bar_enabled() -> bool:
    """Whether the library shows progress bars."""
    return _state["bars"]


def enable_progress_bar() -> None:
    """Show progress bars, also those of downloads."""
    from huggingface_hub.utils import enable_progress_bars

    _state["bars"] = True
    enable_progress_bars()


def disable_progress_bar() -> None:
    """Hide progress bars, also those of downloads."""
    from huggingface_hub.utils import disable_progress_bars

    _state["bars"] = False
    disable_progress_bars()


# ---- the environment -------------------------------------------------------------------------------------------------


def _read_environment() -> None:
    level = os.environ.get(_VARIABLE, "")
    if level in log_levels:
        set_verbosity(log_levels[level])
        if level == "detail":
            _set_format("%(levelname)s [%(name)s:%(lineno)s] %(asctime)s %(message)s")
    elif level:
        _library.warning("%s=%s has no effect: it must be one of %s.", _VARIABLE, level, ", ".join(log_levels))


_read_environment()
