"""From the JSON of a request to the events of its text: what it asks for is checked, and then generated step by step.

server.py lists the fields of a request and of the events, and sends them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from minitransformers.app.session import Session
from minitransformers.app.settings import Settings
from minitransformers.app.tokens import displayed
from minitransformers.errors import InputError
from minitransformers.tokenization.chat.prompt_templates import Message, chat_stops


def events(session: Session, settings: Settings, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Check a request, and return the events of its text; the text is generated while they are iterated over.

    Raises:
        MinitransformersError: the request cannot be answered.
    """
    for name, value in of_type(dict, request, "settings", {}).items():
        settings = settings.set(name, value)
    forgotten, stops = 0, []
    if "messages" in request:
        session.check(settings)
        messages = [_message(message) for message in of_type(list, request, "messages", [])]
        kept, ids = session.fit(messages, settings)
        forgotten, stops = len(messages) - len(kept), chat_stops(session.tokenizer)
    else:
        ids = session.encode(of_type(str, request, "prompt", ""))
    begun = of_type(list, request, "ids", [])
    vocabulary = session.model.config.vocab_size
    if not all(type(token_id) is int and 0 <= token_id < vocabulary for token_id in begun):
        raise InputError(f"ids must be whole numbers from 0 to {vocabulary - 1}.")
    search, seed = session.start(ids + begun, settings, stops)

    def run() -> Iterator[dict[str, Any]]:
        yield {"forgotten": forgotten}
        started, count = time.perf_counter(), 0
        for change in displayed(search, session.tokenizer, stops=stops):
            count = change.keep + len(change.tokens)
            yield asdict(change)
        yield {"done": {"tokens": count, "seconds": time.perf_counter() - started, "seed": seed}}

    return run()


def _message(content: Any) -> Message:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"A message must be an object of strings, got {content!r:.200}.")
    return content


_KINDS: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}


def of_type(kind: type, request: dict[str, Any], name: str, default: Any) -> Any:
    """A field of a request, or the default where it has none.

    Raises:
        InputError: it is of another JSON type.
    """
    value = request.get(name, default)
    if not isinstance(value, kind):
        raise InputError(f"{name} must be {_KINDS[kind]}, got {value!r:.200}.")
    return value
