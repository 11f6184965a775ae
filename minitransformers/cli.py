"""The command line: `minitransformers generate`, `chat`, `app` and `shapes`, or `python -m minitransformers …`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import minitransformers
from minitransformers.app import session as sessions
from minitransformers.app.server import serve
from minitransformers.app.settings import FIELDS, STRATEGIES, Settings, as_flag
from minitransformers.app.terminal import Chatting, Terminal, Writing, lines_of
from minitransformers.errors import MinitransformersError, nearest

DESCRIPTION = """\
Generate text with a language model.

In a terminal and without --prompt, `generate` and `chat` are interactive: commands such as /temperature 0.7 or
/strategy beam 4 change the settings, and /help lists them. With piped input, `generate` continues all of it as one
text, and `chat` answers line by line.
"""
EXAMPLES = """\
examples:
  {0} generate --model openai-community/gpt2
  {0} generate --model out/gpt --prompt "To be, or" --strategy beam --beams 5
  echo "Once upon a time" | {0} generate --temperature 0.7 --seed 1
  {0} chat --system "You are a pirate."
  {0} app --port 8000
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 after an error, 2 for a wrong command line, 130 after Ctrl-C."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        chosen = getattr(options, "parser", parser)
        chosen.error(
            f"unrecognized arguments: {' '.join(unknown)}.{nearest(unknown[0], chosen._option_string_actions)}"
        )
    if "run" not in options:
        parser.print_help(sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the console cannot show is printed as "?"
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
        try:
            return int(options.run(options))
        except (MinitransformersError, ImportError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # the reader has closed the pipe, as in `… | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 0
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130


def _parser() -> argparse.ArgumentParser:
    program = "minitransformers" if Path(sys.argv[0]).stem == "minitransformers" else "python -m minitransformers"
    parser = argparse.ArgumentParser(
        program,
        description=DESCRIPTION,
        epilog=EXAMPLES.format(program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minitransformers {minitransformers.__version__}")
    commands = parser.add_subparsers(title="commands (each has a --help of its own)", metavar="COMMAND")

    def add(name: str, help_text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, usage=f"{program} {name} [options]", help=help_text, description=help_text)
        command.set_defaults(run=run, parser=command)
        return command

    generate = add("generate", "continue a text, in the terminal", _generate)
    generate.add_argument("--prompt", metavar="TEXT", help="the beginning of the text; prints the whole text and ends")
    chat = add("chat", "talk to the model, in the terminal", _chat)
    chat.add_argument("--prompt", metavar="TEXT", help="a single message; prints the answer and ends")
    chat.add_argument(
        "--system", metavar="TEXT", default="", help="an instruction for the model, such as 'You are a pirate.'"
    )
    app = add("app", "generate and chat in a web page, with the probability of each token", _app)
    app.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 is open to other machines (127.0.0.1)")
    app.add_argument("--port", type=int, default=8000, help="0 chooses a free one (8000)")
    add("shapes", "the published sizes of GPT, GPT-2 and GPT-3, and their numbers of parameters", _shapes)
    for command in (generate, chat, app):
        _add_model(command)
        _add_settings(command)
    return parser


def _add_model(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="a directory, or a name on a hub (the small GPT that comes with this library)",
    )
    group.add_argument("--random", action="store_true", help="a small model with random weights, to try things out")
    group.add_argument("--draft", metavar="NAME", help="a smaller model of the same vocabulary, for 'assisted'")


def _add_settings(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("settings")
    about = "; ".join(f"{name}: {text}" for name, text in STRATEGIES.items())
    group.add_argument("--strategy", metavar="NAME", help=f"{about} (default: {Settings().strategy})")
    for item in FIELDS:
        names = dict.fromkeys(f"--{name.replace('_', '-')}" for name in (item.name, item.alias))
        default = "" if item.default is None else f" ({item.default})"
        group.add_argument(*names, dest=item.name, metavar="VALUE", help=item.help.replace("%", "%%") + default)


def _prepare(options: argparse.Namespace) -> tuple[sessions.Session, Settings]:
    settings = Settings(spell=as_flag)
    for name in ("strategy", *(item.name for item in FIELDS)):
        if getattr(options, name) is not None:
            settings = settings.set(name, getattr(options, name))
    for item in FIELDS:
        if getattr(options, item.name) is not None and not settings.applies(item):
            remedy = f": add {as_flag('strategy', item.strategies[0])}" if options.strategy is None else ""
            flags = f"{as_flag(item.name)} has no effect with {as_flag('strategy', settings.strategy)}"
            print(f"note: {flags}{remedy}.", file=sys.stderr)
    session = sessions.load(options.model, random_weights=options.random, draft=options.draft)
    session.check(settings)
    return session, settings


def _generate(options: argparse.Namespace) -> int:
    terminal = Writing(*_prepare(options))
    if options.prompt is None and sys.stdin.isatty():
        return _interact(terminal)
    prompt: str = sys.stdin.read().removesuffix("\n") if options.prompt is None else options.prompt
    terminal.answer(prompt)
    return 0


def _chat(options: argparse.Namespace) -> int:
    terminal = Chatting(*_prepare(options), system=options.system)
    if options.prompt is not None:
        terminal.answer(options.prompt)
        return 0
    if sys.stdin.isatty():
        return _interact(terminal)
    terminal.read = lines_of(sys.stdin)
    terminal.run()
    return 1 if terminal.errors else 0


def _interact(terminal: Terminal) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # adds line editing and history to `input`
    terminal.interact()
    return 0


def _app(options: argparse.Namespace) -> int:
    session, settings = _prepare(options)
    serve(session, settings, host=options.host, port=options.port)
    return 0


def _shapes(options: argparse.Namespace) -> int:
    from minitransformers.models.shapes import print_table

    print_table()
    return 0
