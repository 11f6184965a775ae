"""`minitransformers.logging` beside `transformers.logging`: after any calls, both print the same."""

from __future__ import annotations

import contextlib
import io
import logging as standard
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import huggingface_hub.utils
import pytest
from hypothesis import given, strategies as st
from transformers.utils import logging as theirs

import minitransformers
from minitransformers import (
    InputError,
    ProgressCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    logging as ours,
)
from minitransformers.data import tokenizing
from minitransformers.training.loop import progress_bar

NAMES = {theirs: "transformers", ours: "minitransformers"}
LEVELS = ("debug", "info", "warning", "error", "critical")

CALLS = st.sampled_from(
    [
        *((f"set_verbosity_{level}",) for level in LEVELS[:-1]),
        *(("set_verbosity", level) for level in (ours.DEBUG, ours.WARN, ours.FATAL)),
        ("enable_default_handler",),
        ("disable_default_handler",),
        ("enable_propagation",),
        ("disable_propagation",),
        ("enable_explicit_format",),
        ("reset_format",),
        ("captureWarnings", True),
        ("captureWarnings", False),
        *(("say", level) for level in LEVELS),
        ("say_once", "warning_once"),
        ("say_once", "info_once"),
        ("say", "warning_advice"),
        ("add",),
        ("remove",),
    ]
)


@contextlib.contextmanager
def put_back(library: Any) -> Iterator[None]:
    """The loggers as they were, whatever is done to them."""
    kept = []
    for name in (NAMES[library], "py.warnings", None):
        logger = standard.getLogger(name)
        kept.append((logger, logger.level, logger.propagate, list(logger.handlers)))
    state = dict(ours._state)
    formatters = [(handler, handler.formatter) for handler in (ours._own_handler, theirs._default_handler)]
    try:
        yield
    finally:
        standard.captureWarnings(False)
        for logger, level, propagate, handlers in kept:
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers
        for handler, formatter in formatters:
            handler.setFormatter(formatter)
        ours._state.update(state)


def printed(library: Any, calls: list[tuple[Any, ...]], number: int) -> list[tuple[str, ...]]:
    """What the library, a handler that was added and the application's print, and the level after each call."""
    name = NAMES[library]
    with put_back(library), contextlib.redirect_stderr(io.StringIO()) as on_stderr:
        stream = theirs._default_handler.setStream(on_stderr)
        theirs._default_handler.setFormatter(standard.Formatter("[transformers] %(message)s"))
        library.set_verbosity_warning()
        library.disable_propagation()
        added, application = io.StringIO(), io.StringIO()
        handler = standard.StreamHandler(added)
        standard.getLogger().handlers = [standard.StreamHandler(application)]
        own = ours._own_handler if library is ours else theirs._default_handler
        standard.getLogger(name).handlers = [own]  # without those by which pytest listens
        logger = library.get_logger(f"{name}.some.file")
        levels = []
        for at, (call, *arguments) in enumerate(calls):
            if call == "say":
                getattr(logger, arguments[0])("%s: message %d", arguments[0], at)
            elif call == "say_once":
                getattr(logger, arguments[0])(f"{arguments[0]} of example {number}")
            elif call == "add":
                library.add_handler(handler)
            elif call == "remove":
                with contextlib.suppress(AssertionError, InputError):
                    library.remove_handler(handler)
            else:
                getattr(library, call)(*arguments)
            levels.append(str(library.get_verbosity()))
        theirs._default_handler.setStream(stream)
    texts = [each.getvalue() for each in (on_stderr, added, application)]
    # What is said once comes from the caller's line here, and from the wrapper's there.
    varying = re.compile(r"(?<=\|)[\w.]+:\d+\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")
    return [tuple(levels), *(varying.sub("LINE] NOW", text.replace("mini", "")).splitlines() for text in texts)]


NUMBERS = iter(range(10**9))  # what is said once is said once in a process


@given(calls=st.lists(CALLS, max_size=15))
def test_any_calls_have_the_same_effect(calls: list[tuple[Any, ...]]) -> None:
    number = next(NUMBERS)
    assert printed(ours, calls, number) == printed(theirs, calls, number)


def test_the_comparison_sees_something() -> None:
    calls = [("set_verbosity_info",), ("enable_propagation",), ("add",), ("say", "info"), ("say", "debug")]
    levels, *texts = printed(ours, calls, -1)
    assert levels == ("20",) * 5
    assert texts == [["[transformers] info: message 3"], ["info: message 3"], ["info: message 3"]]


def test_same_names_and_levels() -> None:
    for name in ("CRITICAL", "DEBUG", "ERROR", "FATAL", "INFO", "NOTSET", "WARN", "WARNING"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.get_log_levels_dict() == theirs.get_log_levels_dict()
    assert minitransformers.utils.logging is minitransformers.logging is ours
    with put_back(ours), pytest.raises(InputError, match=r"handler=.* is not one of the library's handlers"):
        ours.remove_handler(standard.NullHandler())


SAYS = "logging.getLogger('minitransformers.file').{}('{}'); "
IN_CHILD = {
    # What nobody asked for is as Python has it: warnings are seen, the application's handlers are used.
    SAYS.format("warning", "seen") + SAYS.format("info", "not seen"): ("", "seen\n"),
    "logging.basicConfig(level='INFO', format='app: %(message)s'); import minitransformers; "
    + SAYS.format("info", "seen"): ("", "app: seen\n"),
    "logging.basicConfig(format='app: %(message)s'); minitransformers.logging.set_verbosity_info(); "
    + SAYS.format("info", "seen once"): ("", r"\[minitransformers\] seen once\n"),
    "minitransformers.utils.logging.set_verbosity_error(); " + SAYS.format("warning", "not seen"): ("", ""),
    SAYS.format("info", "in the environment"): ("info", r"\[minitransformers\] in the environment\n"),
    SAYS.format("debug", "m"): ("detail", r"DEBUG \[minitransformers\.file:1\] \d+-\d+-\d+ [:,\d]+ m\n"),
    SAYS.format("error", "not seen"): ("critical", ""),
    "": ("loud", "MINITRANSFORMERS_VERBOSITY=loud has no effect: it must be one of detail, debug, info.*\n"),
}


def test_what_is_printed_from_the_start() -> None:
    """Each in a process of its own, which knows of no call before."""
    children = []
    for code, (level, expected) in IN_CHILD.items():
        arguments = [sys.executable, "-c", f"import logging, minitransformers; {code}"]
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "MINITRANSFORMERS_VERBOSITY": level}
        child = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
        children.append((code, child, expected))
    for code, child, expected in children:
        _, said = child.communicate()
        assert re.fullmatch(expected, said), code


def test_bars_can_be_turned_off(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """Those of training, of corpora and of downloads; what is logged above a bar is still printed."""

    def shown() -> str:
        callback, told = ProgressCallback(), (TrainingArguments(str(tmp_path)), TrainerState(max_steps=3))
        callback.on_train_begin(*told, TrainerControl())
        callback.on_step_end(*told, TrainerControl())
        callback.on_log(*told, TrainerControl(), logs={"loss": 1.0})
        callback.on_train_end(*told, TrainerControl())
        assert list(ours.tqdm(range(2))) == [0, 1]
        printed = capsys.readouterr()
        assert printed.out == "{'loss': '1'}\n"
        return printed.err

    with put_back(ours):
        try:
            ours.disable_progress_bar()
            assert not ours.is_progress_bar_enabled()
            assert huggingface_hub.utils.are_progress_bars_disabled()
            assert shown() == ""
        finally:
            ours.enable_progress_bar()
        assert ours.is_progress_bar_enabled()
        assert not huggingface_hub.utils.are_progress_bars_disabled()
        assert "0/3" in shown()
    assert tokenizing.tqdm is progress_bar.tqdm is ours.tqdm
