"""The sandbox of chat templates, with the functions that they use. The first template imports jinja2."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from minitransformers.errors import InputError, MinitransformersError
from minitransformers.tokenization.chat import limits

MOST_TEMPLATE = 1_000_000  # characters

# Private characters, which ordinary texts don't have, around the assistant's words. `templates.render` removes them.
ASSISTANT_START, ASSISTANT_END = "\U000f0002", "\U000f0003"


@functools.lru_cache(maxsize=64)
def compile_template(template: str, track_assistant: bool) -> Any:
    """A compiled template. With `track_assistant` it writes marks around the assistant's words.

    Raises:
        InputError: it is no template; also a `jinja2.exceptions.TemplateError`.
    """
    environment = sandbox(track_assistant)
    if len(template) > MOST_TEMPLATE:
        raise InputError(f"The chat template has {len(template):,} characters; the most are {MOST_TEMPLATE:,}.")
    with template_errors("can't be read"):
        return environment.from_string(template)


@contextmanager
def template_errors(what: str) -> Iterator[None]:
    """Turn whatever a template raises into an InputError that is also Jinja's `TemplateError`."""
    from jinja2.exceptions import TemplateError

    class ChatTemplateError(InputError, TemplateError):
        """A chat template that is no template, or that fails."""

    try:
        yield
    except MinitransformersError:
        raise
    except (Exception, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if hasattr(error, "lineno") else ""
        kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
        raise ChatTemplateError(f"The chat template {what}{line}: {kind}{str(error)[:500]}") from error


def sandbox(track_assistant: bool) -> Any:
    """A Jinja environment in which a template can only call and change the objects that are meant for it."""
    try:
        import jinja2
        import jinja2.ext
        import jinja2.sandbox
    except ImportError:
        raise ImportError("Chat templates need jinja2: pip install 'minitransformers[demo]'.") from None
    if tuple(map(int, re.findall(r"\d+", jinja2.__version__)[:3])) < (3, 1, 6):
        # Templates come with checkpoints, and older sandboxes have known vulnerabilities.
        raise ImportError(
            f"Chat templates need jinja2 3.1.6 or newer, not {jinja2.__version__}: pip install -U jinja2."
        )

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`: the assistant's words, between marks."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        def _mark(self, caller: Callable[[], str]) -> str:
            return f"{ASSISTANT_START}{caller()}{ASSISTANT_END}" if track_assistant else caller()

    class Namespace(jinja2.utils.Namespace):
        """`namespace()` without names that start with an underscore, which give access to the interpreter."""

        def __init__(*args: Any, **values: Any) -> None:  # a template may have a value called `self`
            self, *given = args
            attributes = dict(*given, **values)
            for name in attributes:
                _refuse_underscore(name)
            jinja2.utils.Namespace.__init__(self, attributes)

        def __repr__(self) -> str:  # Jinja's shows the values, which may contain each other
            return "<Namespace>"

        def __setitem__(self, name: str, value: Any) -> None:
            _refuse_underscore(name)
            super().__setitem__(name, value)

    def _refuse_underscore(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"A chat template may not set {name!r} on a namespace.")

    class Dictionary:
        """Only `dict()` and `dict.fromkeys()`, without the rest of the class."""

        def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
            return dict(*args, **values)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        # Jinja's own filter writes HTML: it escapes <, > and &.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    class Limited(jinja2.sandbox.ImmutableSandboxedEnvironment):
        """The sandbox, with limits of time and memory (limits.py)."""

        intercepted_binops = frozenset(["+", "*", "**", "%"])
        concat = staticmethod(limits.joined)
        charge = staticmethod(limits.charge)
        measured = staticmethod(limits.measured)

        def _parse(self, *source: Any) -> Any:
            return limits.add_charges(super()._parse(*source))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            compute = functools.partial(super().call_binop, context, operator, left, right)
            return limits.checked_operator(operator, left, right, compute)

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as in jinja2)
            if __obj is limits.charge or __obj is limits.measured:
                return __obj(*args)
            method = getattr(__obj, "__wrapped__", __obj)
            if isinstance(text := getattr(method, "__self__", None), str):
                limits.check_growth(method.__name__, text, [*args, *kwargs.values()])
            return limits.measured(super().call(__context, __obj, *args, **kwargs))

    # Without optimization, because it computes constants when a template is read, such as "a" * 10**12.
    environment = Limited(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols], optimized=False
    )
    environment.globals.pop("lipsum")
    environment.filters["tojson"] = tojson
    environment.filters = {name: limits.checked_filter(name, run) for name, run in environment.filters.items()}
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": Dictionary(),
        "namespace": Namespace,
    }
    return environment
