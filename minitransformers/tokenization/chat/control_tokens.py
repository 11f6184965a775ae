"""Control tokens inside messages: `apply_chat_template(sanitize_control_tokens=True)` encodes them as ordinary text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer

from minitransformers.tokenization.chat.sandbox import sandbox
from minitransformers.tokenization.chat.templates import Inputs

# Private characters, which ordinary texts don't have. They stand around a control token in a message.
_START, _END = "\U000f0000", "\U000f0001"


class Piece(NamedTuple):
    """A part of a rendered conversation; `is_marked` if it is a control token from a message."""

    text: str
    is_marked: bool


def mark_control_tokens(
    inputs: Inputs, template: str, added_tokens: Iterable[AddedToken], chosen: Collection[str] | None
) -> Inputs:
    """`inputs` with marks around the control tokens in them, to tell them from those of the template.

    Control tokens are the special ones among `added_tokens`, and those that are `chosen` or, by default, in the
    template. Only whole tokens are found: a template that joins pieces of its input can still make one.
    """
    literals = _literals(template) if chosen is None else []

    def is_control_token(token: str) -> bool:
        if chosen is not None:
            return token in chosen
        # White space may be a token (Gemma's "\n"), but templates use it as text.
        return not token.isspace() and any(token in text for text in literals)

    tokens = [token.content for token in added_tokens if token.special or is_control_token(token.content)]
    pattern = _any_of(tokens)

    def mark(text: str) -> str:
        text = text.replace(_START, "").replace(_END, "")  # a message must not have marks of its own
        return re.sub(pattern, lambda match: f"{_START}{match[0]}{_END}", text)

    return inputs.map_text(mark)


def split_at_marks(text: str, added_tokens: Collection[str]) -> list[Piece]:
    """The pieces of a rendered conversation; only the first may be empty."""
    marked = f"{_START}({_any_of(added_tokens)}){_END}|[{_START}{_END}]"
    # Pieces of text and marked tokens alternate. None stands for a mark that the template separated from its token.
    first, *others = re.split(marked, text)
    return [Piece(first, False), *(Piece(piece, index % 2 == 0) for index, piece in enumerate(others) if piece)]


def encode_as_text(backend: Tokenizer, text: str) -> list[int]:
    """The ids of a text, without matching added tokens."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for word in words for token in backend.model.tokenize(word)]


def _literals(template: str) -> list[str]:
    """The texts and string constants of a template."""
    import jinja2

    tree = sandbox(False).parse(template)
    texts = [node.data for node in tree.find_all(jinja2.nodes.TemplateData)]
    return texts + [node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)]


def _any_of(tokens: Iterable[str]) -> str:
    """A pattern for any of the tokens, the longest first. It never matches if there are none."""
    return "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)"
