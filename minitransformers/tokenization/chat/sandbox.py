"""The sandbox of chat templates, with the functions that they use. The first template imports jinja2."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

# Private characters, which ordinary texts don't have, around the assistant's words. `templates.render` removes them.
ASSISTANT_START, ASSISTANT_END = "\U000f0002", "\U000f0003"


@functools.lru_cache(maxsize=64)
def compile_template(template: str, track_assistant: bool) -> Any:
    """A compiled template. With `track_assistant` it writes marks around the assistant's words."""
    return sandbox(track_assistant).from_string(template)


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

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": Dictionary(),
        "namespace": Namespace,
    }
    return environment
