"""The commands `generate`, `chat` and `app`: from the options of the command line to a session that runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
from pathlib import Path

from minitransformers.app import session as sessions
from minitransformers.app.settings import FIELDS, Settings, as_flag
from minitransformers.app.terminal import Chatting, Terminal, Writing, lines_of
from minitransformers.errors import InputError


def generate(options: argparse.Namespace) -> int:
    """Continue the prompt, a file, each line of a terminal, or the whole of a piped input."""
    if options.prompt is not None and options.file is not None:
        raise InputError("--prompt and --file contradict each other: pass only one of them.")
    prompt: str | None = options.prompt if options.file is None else _text_of(Path(options.file))
    terminal = Writing(*_prepare(options))
    if prompt is None and sys.stdin.isatty() and not options.json:
        return _interact(terminal)
    prompt = sys.stdin.read().removesuffix("\n") if prompt is None else prompt
    if not options.json:
        terminal.answer(prompt)
        return 0
    terminal.out = written = io.StringIO()
    terminal.answer(prompt)
    print(json.dumps({"prompt": prompt, "text": written.getvalue().removesuffix("\n")}, ensure_ascii=False))
    return 0


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}.") from error


def chat(options: argparse.Namespace) -> int:
    """Answer one message, or each line of a terminal or a piped input; 1 if a line could not be answered."""
    terminal = Chatting(*_prepare(options, for_chat=True), system=options.system)
    if options.json:
        messages = [options.prompt] if options.prompt is not None else map(str.rstrip, sys.stdin)
        for message in filter(None, messages):
            terminal.out = io.StringIO()
            terminal.answer(message)
            record = {"message": message, "answer": terminal.turns[-1]["content"]}
            print(json.dumps(record, ensure_ascii=False), flush=True)
        return 0
    if options.prompt is not None:
        terminal.answer(options.prompt)
        return 0
    if sys.stdin.isatty():
        return _interact(terminal)
    terminal.read = lines_of(sys.stdin)
    terminal.run()
    return 1 if terminal.errors else 0


def app(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    try:
        from minitransformers.app.server import serve
    except ImportError as error:
        raise ImportError(f"The page needs uvicorn and starlette ({error}): {_INSTALL}.") from None
    session, settings = _prepare(options)
    served = {session.name: session}
    for name in options.more_models:
        further = sessions.load(name)
        served[further.name] = further
    if options.log is not None:
        _log_requests(options.log)
    serve(served, settings, host=options.host, port=options.port)
    return 0


_INSTALL = "pip install 'minitransformers[demo]'"


def _log_requests(file: str) -> None:
    """Append a line of JSON for each request to `file`; "-" is the terminal."""
    handler = logging.StreamHandler(sys.stderr) if file == "-" else logging.FileHandler(file, encoding="utf-8")
    logger = logging.getLogger("minitransformers.app.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _prepare(options: argparse.Namespace, *, for_chat: bool = False) -> tuple[sessions.Session, Settings]:
    settings = Settings(spell=as_flag)
    for name in ("strategy", *(item.name for item in FIELDS)):
        if getattr(options, name) is not None:
            settings = settings.set(name, getattr(options, name))
    for item in FIELDS:
        if getattr(options, item.name) is not None and not settings.applies(item):
            remedy = f": add {as_flag('strategy', item.strategies[0])}" if options.strategy is None else ""
            flags = f"{as_flag(item.name)} has no effect with {as_flag('strategy', settings.strategy)}"
            print(f"note: {flags}{remedy}.", file=sys.stderr)
    session = sessions.load(options.model, random_weights=options.random, draft=options.draft, for_chat=for_chat)
    session.check(settings)
    return session, settings


def _interact(terminal: Terminal) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # adds line editing and history to `input`
    terminal.interact()
    return 0
