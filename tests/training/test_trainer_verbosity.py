"""`log_level` and `log_level_replica`: the messages of each process of a Trainer, compared with transformers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from trainers import BOTH, trainer

import minitransformers
from minitransformers import InputError, TrainingArguments
from minitransformers.training.trainer import argument_processes

LEVELS = ("debug", "info", "warning", "error", "critical", "detail", "passive")
NAMES = ("transformers", "minitransformers")
NAME = "BertForSequenceClassification"


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    kept = [(each, each.level, each.propagate, list(each.handlers)) for each in map(logging.getLogger, NAMES)]
    state = dict(minitransformers.logging._state)
    yield
    for each, level, propagate, handlers in kept:
        each.setLevel(level)
        each.propagate, each.handlers = propagate, handlers
    minitransformers.logging._state.update(state)


@pytest.mark.parametrize(("node", "index"), [(0, 0), (0, 1), (1, 2), (1, 3)])
def test_levels_of_processes(node: int, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with two processes each; all levels, as arguments and as set before."""
    local = index - 2 * node
    monkeypatch.setattr(argument_processes, "rank", lambda: index)
    monkeypatch.setattr(argument_processes, "local_rank", lambda: local)
    theirs = type("Theirs", (transformers.TrainingArguments,), {"process_index": index, "local_process_index": local})
    seen = set()
    for level, replica, each_node in itertools.product(LEVELS, LEVELS, (True, False)):
        fields = {"log_level": level, "log_level_replica": replica, "log_on_each_node": each_node}
        both = [kind(str(tmp_path), use_cpu=True, **fields) for kind in (theirs, TrainingArguments)]
        for verbosity in (10, 30, 40):
            for library in BOTH:
                library.logging.set_verbosity(verbosity)
            expected, own = (each.get_process_log_level() for each in both)
            assert own == expected
            assert both[1].should_log == both[0].should_log
            seen.add(own)
    assert seen == {10, 20, 30, 40, 50}


@pytest.mark.parametrize("fields", [{}, {"log_level": "info"}, {"log_level": "error"}, {"log_level": "passive"}])
def test_the_trainer_sets_the_level(fields: dict[str, Any], tmp_path: Path) -> None:
    for library in BOTH:
        library.logging.set_verbosity_warning()
        trainer(library, NAME, tmp_path, **fields)
    expected, own = (library.logging.get_verbosity() for library in BOTH)
    assert own == expected


def test_a_passive_trainer_does_not_change_the_loggers(tmp_path: Path) -> None:
    """An application's settings for the library's messages are kept."""
    library = logging.getLogger("minitransformers")
    before = library.level, library.propagate, list(library.handlers), dict(minitransformers.logging._state)
    trainer(minitransformers, NAME, tmp_path)
    assert before == (library.level, library.propagate, library.handlers, minitransformers.logging._state)


@pytest.mark.parametrize("verbosity", [10, 30, 40, 50])
def test_showing_only_errors_disables_bars(verbosity: int, tmp_path: Path) -> None:
    for library in BOTH:
        library.logging.set_verbosity(verbosity)
    expected, own = (library.TrainingArguments(str(tmp_path), use_cpu=True).disable_tqdm for library in BOTH)
    assert own == expected == (verbosity > 30)
    assert TrainingArguments(disable_tqdm=False).disable_tqdm is False


@pytest.mark.parametrize("name", ["log_level", "log_level_replica"])
def test_unknown_levels(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}='wraning' must be one of .* Did you mean 'warning'\?"):
        TrainingArguments(**{name: "wraning"})
