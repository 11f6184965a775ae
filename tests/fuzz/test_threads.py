"""Threads that share a tokenizer and models, in a short run; threads.py makes any."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from threads import Call, model_calls, tokenizer_calls, wrong_results


@pytest.mark.parametrize(("calls", "number"), [(tokenizer_calls, 100), (model_calls, 25)])
def test_shared_by_threads(calls: Callable[[], list[Call]], number: int, annotations_are_not_checked: None) -> None:
    assert not wrong_results(calls(), threads=4, number=number)


def test_a_result_of_another_call_is_noticed() -> None:
    """State that calls share, as a tokenizer's padding would be if it were written into the tokenizer."""
    count = iter(range(1000))
    assert wrong_results([lambda: next(count)], threads=2, number=5) == 10
