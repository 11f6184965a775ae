"""What the library says while it works, and how much of it: the functions of `transformers.utils.logging`.

    from minitransformers import logging

    logging.set_verbosity_info()
    logger = logging.get_logger(__name__)
    logger.warning_once("…")

All of the library's loggers are below one, "minitransformers". As long as nothing here is called, it has no handler:
Python prints its warnings to the standard error stream, or the application's own handlers take them. The first function
called that changes something gives it a handler of its own and, so that nothing is printed twice, takes it from the
application's: `enable_propagation` gives it back. The environment variable MINITRANSFORMERS_VERBOSITY sets the level
when the library is imported: "debug", "info", "warning", "error", "critical", or "detail", which is "debug" with the
place of each message.
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
    """Prints to what `sys.stderr` is when there is something to print."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


_own_handler = _ToStandardError()
_own_handler.setFormatter(logging.Formatter("[minitransformers] %(message)s"))
_state = {"configured": False, "bars": True}


def _configured() -> logging.Logger:
    """The library's logger, with the handler of its own."""
    if not _state["configured"]:
        _state["configured"] = True
        _library.addHandler(_own_handler)
        _library.propagate = False
    return _library


# ---- loggers ---------------------------------------------------------------------------------------------------------


def get_logger(name: str | None = None) -> Any:
    """The logger of that name, by default the library's, as `logging.getLogger` gives it.

    It has further methods: `warning_once` and `info_once` say the same thing only once, and `warning_advice` is
    `warning`.
    """
    logger: Any = logging.getLogger(name or _library.name)
    if not hasattr(logger, "warning_once"):
        logger.warning_once = functools.cache(logger.warning)
        logger.info_once = functools.cache(logger.info)
        logger.warning_advice = logger.warning
    return logger


def captureWarnings(capture: bool) -> None:  # noqa: N802  # logging's name
    """Let warnings of the `warnings` module be logged, by the logger "py.warnings", which prints as the library's."""
    logger = logging.getLogger("py.warnings")
    if not logger.handlers:
        logger.addHandler(_own_handler)
    logger.setLevel(get_verbosity())
    logging.captureWarnings(capture)


# ---- how much --------------------------------------------------------------------------------------------------------


def get_log_levels_dict() -> dict[str, int]:
    """The names of the levels, and their numbers."""
    return log_levels


def get_verbosity() -> int:
    """The level from which on the library's messages are shown: 30, `WARNING`, if nothing else was said."""
    return _library.getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Show the library's messages from this level on."""
    _configured().setLevel(verbosity)


def set_verbosity_debug() -> None:
    """Show everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Show what is done, warnings and errors."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Show warnings and errors."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Show errors alone."""
    set_verbosity(ERROR)


# ---- where to, and how -----------------------------------------------------------------------------------------------


def enable_default_handler() -> None:
    """Print the library's messages to the standard error stream."""
    _configured().addHandler(_own_handler)


def disable_default_handler() -> None:
    """Do not print them; other handlers go on."""
    _configured().removeHandler(_own_handler)


def add_handler(handler: logging.Handler) -> None:
    """Give the library's messages to that handler too."""
    _configured().addHandler(handler)


def remove_handler(handler: logging.Handler) -> None:
    """Do not give them to it any more.

    Raises:
        InputError: it gets none.
    """
    if handler not in _configured().handlers:
        raise InputError(f"handler={handler!r} is none of the library's: it has {_library.handlers}.")
    _library.removeHandler(handler)


def enable_propagation() -> None:
    """Let the application's handlers have the library's messages, besides the library's own handler."""
    _configured().propagate = True


def disable_propagation() -> None:
    """Let only the library's own handlers have them."""
    _configured().propagate = False


def enable_explicit_format() -> None:
    """Print level, file, line and time before each message."""
    _set_format("[%(levelname)s|%(filename)s:%(lineno)s] %(asctime)s >> %(message)s")


def reset_format() -> None:
    """Print messages alone."""
    _set_format("%(message)s")


def _set_format(text: str) -> None:
    for handler in _configured().handlers:
        handler.setFormatter(logging.Formatter(text))


# ---- progress bars ---------------------------------------------------------------------------------------------------


class tqdm(auto.tqdm):  # type: ignore[misc]  # noqa: N801  # the class that everybody knows by this name
    """tqdm's bar, which shows nothing where progress bars are disabled. All bars of the library are such."""

    def __init__(self, *args: Any, disable: bool | None = False, **kwargs: Any) -> None:
        super().__init__(*args, disable=disable if _state["bars"] else True, **kwargs)


def is_progress_bar_enabled() -> bool:
    """Whether the library shows progress bars."""
    return _state["bars"]


def enable_progress_bar() -> None:
    """Show progress bars, those of downloads too."""
    from huggingface_hub.utils import enable_progress_bars

    _state["bars"] = True
    enable_progress_bars()


def disable_progress_bar() -> None:
    """Show no progress bars from now on, none of downloads either."""
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
