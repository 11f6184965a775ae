"""Control tokens that a user wrote: `apply_chat_template(sanitize_control_tokens=True)` encodes them as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from minitransformers.errors import InputError
from minitransformers.tokenization.chat.sandbox import sandbox
from minitransformers.tokenization.chat.templates import Inputs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from minitransformers.tokenization.base.codec import Codec

# Private characters, which no text has for itself, around a control token in what a user wrote.
_START, _END = "\U000f0000", "\U000f0001"


def steering_tokens(codec: Codec, template: str, chosen: Sequence[str] | None) -> list[str]:
    """The added tokens that steer the model: special ones, and those `chosen` or, unless given, in the template."""
    import jinja2

    tree = sandbox(False).parse(template)
    literals = [node.data for node in tree.find_all(jinja2.nodes.TemplateData)]
    literals += [node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)]

    def steers(token: str) -> bool:
        # White space may be a token (Gemma's "\n"), but a template has it as text.
        return (
            token in chosen if chosen is not None else not token.isspace() and any(token in text for text in literals)
        )

    return [token.content for token in codec.added_tokens_decoder.values() if token.special or steers(token.content)]


def mark_control_tokens(inputs: Inputs, tokens: Iterable[str]) -> Inputs:
    """`inputs` with marks around the control tokens in them, so that `encode_marked` can tell them from the template's.

    Only whole tokens are found: what a template joins from pieces of the input must be checked by the caller.
    """
    pattern = _any_of(tokens)

    def mark(text: str) -> str:
        text = text.replace(_START, "").replace(_END, "")  # a mark in the input would be a forgery
        return re.sub(pattern, lambda match: f"{_START}{match[0]}{_END}", text)

    return inputs.map_text(mark)


def encode_marked(codec: Codec, text: str) -> list[int]:
    """The ids of a rendered conversation, with marked control tokens as ordinary text."""
    marked = f"{_START}({_any_of(codec.added_tokens_encoder)}){_END}|[{_START}{_END}]"
    # Text and marked tokens in turn; None stands for a mark that the template tore from its token.
    pieces = re.split(marked, text)
    ids: list[int] = codec.encode(pieces[0], add_special_tokens=False)
    for index, piece in enumerate(pieces[1:], start=1):
        if piece:
            ids += _encode_inside(codec, piece, as_text=index % 2 == 1)
    return ids


def _encode_inside(codec: Codec, piece: str, *, as_text: bool) -> list[int]:
    """The ids of a piece that is not the start of a text (where some tokenizers add a space)."""

    def encode(text: str) -> list[int]:
        if as_text:
            return _encode_plainly(codec._tokenizer, text)
        ids: list[int] = codec.encode(text, add_special_tokens=False)
        return ids

    newline, ids = codec.encode("\n", add_special_tokens=False), encode("\n" + piece)
    ids = ids[len(newline) :] if ids[: len(newline)] == newline else encode(piece)
    if as_text and codec.convert_tokens_to_ids(piece) in ids:
        raise InputError(f"sanitize_control_tokens=True: the vocabulary makes {piece!r} one token even as plain text.")
    return ids


def _encode_plainly(backend: Tokenizer, text: str) -> list[int]:
    """The ids of a text in which no added token is looked for."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for word in words for token in backend.model.tokenize(word)]


def _any_of(tokens: Iterable[str]) -> str:
    """A pattern for any of the tokens, the longest first; one that never matches where there are none."""
    return "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)"
