"""The app in the terminal: reads prompts or messages, prints texts as they come, and obeys slash commands."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from minitransformers.app.examples import EXAMPLES
from minitransformers.app.session import Session
from minitransformers.app.settings import FIELDS, STRATEGIES, Field, Settings, as_command
from minitransformers.app.tokens import Token, apply, displayed
from minitransformers.errors import InputError, MinitransformersError, UnknownNameError, nearest
from minitransformers.tokenization.chat.prompt_templates import Message, chat_stops

Command = Callable[[str], None]


@runtime_checkable
class Output(Protocol):
    """A file that `print` can write to, perhaps a terminal."""

    def write(self, text: str, /) -> Any:
        """Write text."""

    def flush(self) -> None:
        """Send buffered text on."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


@dataclass
class Terminal(ABC):
    """Reads lines, obeys those that begin with "/", and answers the others; the base of `Writing` and `Chatting`.

    Attributes:
        session: the model.
        settings: the current settings.
        read: returns the next line, like `input`; raises EOFError after the last.
        out: the file for texts.
        notes: the file for everything else: confirmations, errors, times.
        ids, tokens: the prompt of the latest text, and its continuation.
        errors: how many lines could not be answered.
    """

    prompt: ClassVar[str] = "> "
    greeting: ClassVar[str]

    session: Session
    settings: Settings
    read: Callable[[str], str] = input
    out: Output = field(default_factory=lambda: sys.stdout)
    notes: Output = field(default_factory=lambda: sys.stderr)
    ids: list[int] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    errors: int = 0
    _at_end: bool = False

    # ---- reading -----------------------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Greet, and run until the input ends."""
        self.note(f"Model: {self.session.name}\n{self.greeting} /help lists the commands; Ctrl-C stops a text.\n")
        self.run()

    def run(self) -> None:
        """Obey or answer every line. Errors are printed in the terms of commands, and the next line is read."""
        self.settings = replace(self.settings, spell=as_command)
        while not self._at_end:
            try:
                line = self._line()
                if line.startswith("/"):
                    self.obey(line)
                elif line.strip():
                    self.answer(line)
            except EOFError:
                self._at_end = True
            except KeyboardInterrupt:
                self.note("\n(/quit or Ctrl-D leaves)")
            except (MinitransformersError, ImportError) as error:
                self.errors += 1
                self.note(f"error: {error}")

    def _line(self) -> str:
        """The next line, joined with the following one where it ends with a backslash."""
        line = self.read(self.prompt)
        while line.endswith("\\"):
            line = line[:-1] + "\n" + self.read("… ")
        return line

    def note(self, text: str) -> None:
        """Print something that is not a text of the model."""
        print(text, file=self.notes, flush=True)

    # ---- obeying -----------------------------------------------------------------------------------------------------

    @property
    def commands(self) -> dict[str, tuple[str, Command]]:
        """By name: the help text, and the function that gets the rest of the line."""
        return {
            "strategy": (f"NAME: {', '.join(STRATEGIES)}; /strategy beam 8 sets the beams too", self._set_strategy),
            **{item.alias: (f"VALUE  {item.help}", self._setter(item)) for item in FIELDS},
            "show": ("show all settings", lambda _: self._show_settings()),
            "alternatives": (
                "the tokens of the latest text, and the likeliest others at each place",
                self._show_alternatives,
            ),
            "help": ("show this", lambda _: self._show_help()),
            "quit": ("leave", self._quit),
        }

    def obey(self, line: str) -> None:
        """Carry out a command.

        Raises:
            UnknownNameError: there is no such command.
            MinitransformersError: its argument is wrong.
        """
        name, _, rest = line[1:].strip().partition(" ")
        name = name.lower().replace("-", "_")
        aliases = {item.name: item.alias for item in FIELDS} | {"exit": "quit"}
        commands = self.commands
        if aliases.get(name, name) not in commands:
            raise UnknownNameError(
                f"There is no command /{name}.{nearest(name, [*commands, *aliases])} /help lists all."
            )
        commands[aliases.get(name, name)][1](rest.strip())

    def _setter(self, item: Field) -> Command:
        def set_it(value: str) -> None:
            self._try(self.settings.set(item.name, value))
            value_now = self.settings.values[item.name]
            idle = "" if self.settings.applies(item) else f" (not used by {self.settings.strategy})"
            self.note(f"{item.alias} = {'another each time' if value_now is None else value_now}{idle}")

        return set_it

    def _set_strategy(self, rest: str) -> None:
        name, _, beams = rest.partition(" ")
        settings = self.settings.set("strategy", name)
        if beams and name != "beam":
            raise InputError(f"Only the strategy beam takes a number, got {rest!r}.")
        self._try(settings.set("num_beams", beams) if beams else settings)
        self.note(f"strategy = {name}: {STRATEGIES[name]}")

    def _try(self, settings: Settings) -> None:
        """Use these settings if texts can be generated with them, now or after a change of strategy."""
        self.session.check(settings)
        for other in ("sample", "beam"):
            self.session.check(replace(settings, strategy=other))
        self.settings = settings

    def _show_settings(self) -> None:
        self.note(f"  {'model':<14}{self.session.name}\n  {'strategy':<14}{self.settings.strategy}")
        for item in FIELDS:
            value = self.settings.values[item.name]
            idle = "" if self.settings.applies(item) else f"   (not used by {self.settings.strategy})"
            self.note(f"  {item.alias:<14}{'another each time' if value is None else value}{idle}")

    def _show_alternatives(self, _: str) -> None:
        if not self.tokens:
            self.note("There is no text yet.")
        for token in self.tokens:
            others = ", ".join(
                f"{other.label!r} {other.probability:.3f}" for other in token.alternatives if other.id != token.id
            )
            self.note(f"  {token.probability:6.3f}  {token.label!r:<16} {others}")

    def _show_help(self) -> None:
        for name, (text, _) in self.commands.items():
            wrapped = textwrap.wrap(text, 90, subsequent_indent=" " * 16)
            self.note(f"  /{name:<13}" + "\n".join(wrapped))
        self.note("  All other lines go to the model; a line that ends with \\ continues in the next.")

    def _quit(self, _: str) -> None:
        self._at_end = True

    # ---- answering ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def answer(self, line: str) -> None:
        """Let the model continue a line."""

    def stream(self, ids: Sequence[int], stops: Sequence[str] = (), before: str = "") -> str:
        """Print `before` and the continuation as it is generated, and return the continuation. Ctrl-C ends it early.

        Raises:
            MinitransformersError: the settings do not fit the prompt.
        """
        search, seed = self.session.start(ids, self.settings, stops)
        self.ids, self.tokens = list(ids), []
        started = time.perf_counter()
        stopped = False
        # The best beam may change, and a terminal cannot erase text: it is printed when it is complete.
        at_once = self.settings.strategy != "beam"
        if at_once:
            self._print(before)
        printed = 0
        try:
            for change in displayed(search, self.session.tokenizer, stops=stops):
                self.tokens = apply(self.tokens, change)
                if at_once:
                    text = "".join(token.text for token in self.tokens)
                    self._print(text[printed:])
                    printed = len(text)
                elif self.notes.isatty():
                    print(f"\rtokens: {len(self.tokens)}", end="", file=self.notes, flush=True)
        except KeyboardInterrupt:
            stopped = True
        text = "".join(token.text for token in self.tokens)
        if not at_once and self.notes.isatty():
            print("\r" + " " * 20 + "\r", end="", file=self.notes, flush=True)
        self._print(("" if at_once else before) + text[printed:] + "\n")
        self.note(self._summary(len(self.tokens), time.perf_counter() - started, seed, stopped))
        return text

    def _summary(self, count: int, seconds: float, seed: int | None, stopped: bool) -> str:
        parts = ["stopped"] if stopped else []
        parts += [f"{count} tokens, {1000 * seconds / max(count, 1):.0f} ms each", self.settings.strategy]
        parts += [f"seed {seed}"] if seed is not None else []
        parts += ["RANDOM weights"] if self.session.is_random else []
        return self.dim(f"[{', '.join(parts)}]")

    def _print(self, text: str) -> None:
        print(text, end="", file=self.out, flush=True)

    def dim(self, text: str) -> str:
        """The text in grey, if the output is a terminal with colours."""
        coloured = self.out.isatty() and "NO_COLOR" not in os.environ
        return f"\x1b[2m{text}\x1b[0m" if coloured else text


@dataclass
class Writing(Terminal):
    """`generate`: every line is the beginning of a text."""

    greeting: ClassVar[str] = "Type the beginning of a text."

    @property
    def commands(self) -> dict[str, tuple[str, Command]]:
        """Those of every terminal, and those for texts."""
        return {
            "more": ("continue the latest text", self._more),
            "template": (f"NAME  begin with a prompt of this kind: {', '.join(EXAMPLES)}", self._template),
            **super().commands,
        }

    def answer(self, line: str) -> None:
        """Print the line and its continuation as one text."""
        self.stream(self.session.encode(line), before=self.dim(line))

    def _more(self, _: str) -> None:
        if not self.tokens:
            raise InputError("There is no text yet to continue: type the beginning of one.")
        self.stream([*self.ids, *(token.id for token in self.tokens)])

    def _template(self, name: str) -> None:
        if name not in EXAMPLES:
            raise UnknownNameError(
                f"There is no template {name!r}; there are {', '.join(EXAMPLES)}.{nearest(name, EXAMPLES)}"
            )
        self.answer(EXAMPLES[name])


@dataclass
class Chatting(Terminal):
    """`chat`: every line is a message; the model reads as much of the chat as fits its context window.

    Attributes:
        system: the instruction for the model.
        turns: the messages so far.
    """

    prompt: ClassVar[str] = "you: "
    greeting: ClassVar[str] = "Say something."
    system: str = ""
    turns: list[Message] = field(default_factory=list)

    @property
    def commands(self) -> dict[str, tuple[str, Command]]:
        """Those of every terminal, and those for chats."""
        return {
            "system": ("TEXT  say how to answer, such as: You are a pirate.", self._set_system),
            "reset": ("forget the chat", self._reset),
            **super().commands,
        }

    def answer(self, line: str) -> None:
        """Answer a message. A message that cannot be answered is not kept."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        self.session.check(self.settings)
        turns: list[Message] = [*self.turns, {"role": "user", "content": line}]
        kept, ids = self.session.fit([*system, *turns], self.settings)
        forgotten = len(system) + len(turns) - len(kept)
        if forgotten:
            self.note(f"(the chat is too long for the model: its {forgotten} oldest messages are left out)")
        reply = self.stream(ids, chat_stops(self.session.tokenizer)).strip()
        self.turns = [*turns, {"role": "assistant", "content": reply}][forgotten:]

    def _set_system(self, text: str) -> None:
        self.system = text
        self.note(f"system = {text!r}" if text else "There is no system message now.")

    def _reset(self, _: str) -> None:
        self.turns = []
        self.note("The chat is forgotten; the system message stays." if self.system else "The chat is forgotten.")


def lines_of(stream: Iterable[str]) -> Callable[[str], str]:
    """A function like `input` that reads from a file and shows no prompt."""
    lines = iter(stream)

    def read(_: str) -> str:
        line = next(lines, None)
        if line is None:
            raise EOFError
        return line.rstrip("\n")

    return read
