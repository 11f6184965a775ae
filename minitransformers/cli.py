"""The command line: `minitransformers generate`, `chat`, `app` and `shapes`, or `python -m minitransformers …`."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import minitransformers
from minitransformers import course_command, task_commands
from minitransformers.app.settings import FIELDS, STRATEGIES, Settings
from minitransformers.errors import MinitransformersError, nearest

DESCRIPTION = """\
Generate text with a language model, and run tasks on texts: fill masks, classify, tag, answer, embed, search.

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

    generate = add("generate", "continue a text, in the terminal", _later("generate"))
    generate.add_argument("--prompt", metavar="TEXT", help="the beginning of the text; prints the whole text and ends")
    generate.add_argument("--file", metavar="FILE", help="a file with the beginning of the text")
    generate.add_argument("--json", action="store_true", help='print {"prompt": …, "text": …}')
    chat = add("chat", "talk to the model, in the terminal", _later("chat"))
    chat.add_argument("--prompt", metavar="TEXT", help="a single message; prints the answer and ends")
    chat.add_argument("--json", action="store_true", help='print {"message": …, "answer": …} for each message')
    chat.add_argument(
        "--system", metavar="TEXT", default="", help="an instruction for the model, such as 'You are a pirate.'"
    )
    app = add("app", "generate and chat in a web page, with the probability of each token", _later("app"))
    app.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 is open to other machines (127.0.0.1)")
    app.add_argument("--port", type=int, default=8000, help="0 chooses a free one (8000)")
    app.add_argument(
        "--more-models", nargs="+", default=[], metavar="NAME", help="which the page offers beside --model"
    )
    app.add_argument("--log", metavar="FILE", help="append a line of JSON for each request; - is the terminal")
    shapes = add("shapes", "the published sizes of GPT, GPT-2 and GPT-3, and their numbers of parameters", _shapes)
    shapes.add_argument("--json", action="store_true", help="print one line of JSON for each size")
    task_commands.add_commands(add)
    course_command.add_command(add)
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


def _later(command: str) -> Callable[[argparse.Namespace], int]:
    """A function of `app/commands.py`, which is imported when it is called: `--help` need not wait for PyTorch."""

    def run(options: argparse.Namespace) -> int:
        status: int = getattr(import_module("minitransformers.app.commands"), command)(options)
        return status

    return run


def _shapes(options: argparse.Namespace) -> int:
    from minitransformers.models.shapes import SHAPES, print_table

    if options.json:
        for name, shape in SHAPES.items():
            sizes = {
                "layers": shape.layers,
                "width": shape.hidden_size,
                "heads": shape.heads,
                "tokens": shape.positions,
            }
            print(json.dumps({"name": name, **sizes, "parameters": shape.count, "paper": shape.printed}))
        return 0
    print_table()
    return 0
