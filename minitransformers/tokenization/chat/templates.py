"""Chat templates: conversations written as text in the format that a model was trained on.

A template is a Jinja program from a checkpoint. It runs in a sandbox (sandbox.py) and gets only plain data.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minitransformers.errors import InputError, shown, warn
from minitransformers.tokenization.chat.limits import limited
from minitransformers.tokenization.chat.sandbox import (
    ASSISTANT_END,
    ASSISTANT_START,
    compile_template,
    template_errors,
)
from minitransformers.tokenization.chat.tool_schemas import tool_schema

Templates = str | dict[str, str] | None
Message = dict[str, Any]

_OPEN_END = "<OPEN-END-OF-THE-FINAL-MESSAGE> "
_REASONING = ("reasoning_content", "thinking", "reasoning")


# ---- choosing a template ---------------------------------------------------------------------------------------------


def read_templates(value: Any) -> Templates:
    """The attribute `chat_template`: one template, or several by name (in files, a list of names and templates)."""
    if isinstance(value, (list, tuple)):
        try:
            value = {entry["name"]: entry["template"] for entry in value}
        except (TypeError, KeyError, IndexError):
            raise InputError(
                f"chat_template must be a str, or a list of {{'name': …, 'template': …}}; got {shown(value)}."
            ) from None
    texts = value.values() if isinstance(value, dict) else [value]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise InputError(f"chat_template must be a str, or a dictionary of them by name; got {shown(value)}.")
    templates: Templates = value
    return templates


def templates_in_config(templates: Templates) -> Any:
    """The inverse of `read_templates`, for tokenizer_config.json."""
    if isinstance(templates, dict):
        return [{"name": name, "template": template} for name, template in templates.items()]
    return templates


def choose_template(templates: Templates, wanted: str | None, tools: Sequence[Any] | None) -> str:
    """The template to use; see `get_chat_template` of a tokenizer."""
    if not isinstance(templates, dict):
        templates = {} if templates is None else {"default": templates}
    elif wanted in templates:
        return templates[wanted]
    if wanted is not None:
        return wanted
    for name in ("tool_use", "default") if tools is not None and len(templates) > 1 else ("default",):
        if name in templates:
            return templates[name]
    if templates:
        raise InputError(f"There are several chat templates, pass chat_template=… with one of {sorted(templates)}.")
    raise InputError(
        "This tokenizer has no chat template: its model was not trained on chats. Set tokenizer.chat_template, or pass "
        "chat_template=…."
    )


# ---- inputs of a template --------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Inputs:
    """The inputs of a template as plain data, without objects whose methods a template could call."""

    conversations: list[list[Message]]
    tools: list[Any] | None
    documents: Any
    variables: dict[str, Any]

    def map_text(self, change: Callable[[str], str]) -> Inputs:
        """A copy with every string changed, except for the keys of dictionaries."""
        parts = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Inputs(*(_map_text(part, change) for part in parts))


def read_inputs(
    conversation: Any, tools: Sequence[Any] | None, documents: Sequence[Any] | None, variables: Mapping[str, Any]
) -> tuple[Inputs, bool]:
    """The inputs, with a single conversation as a batch of one, and whether they are a batch."""
    given: Any = getattr(conversation, "messages", conversation)
    if not isinstance(given, (list, tuple)):
        raise InputError(
            f"conversation must be a list of messages {{'role': …, 'content': …}}, or a list of such lists; got "
            f"{given!r}."
        )
    if not given:
        raise InputError("The conversation is empty: there must be at least one message.")
    batched = isinstance(given[0], (list, tuple)) or hasattr(given[0], "messages")
    conversations: list[Any] = [getattr(item, "messages", item) for item in given] if batched else [given]
    for document in documents or ():
        if not isinstance(document, Mapping):
            raise InputError(f"documents must be dictionaries with 'title' and 'text', got {document!r}.")
    inputs = Inputs(
        [[_plain_message(message) for message in messages] for messages in conversations],
        None if tools is None else [_plain(_schema(tool)) for tool in tools],
        _plain(documents),
        _plain(variables),
    )
    return inputs, batched


def _plain_message(message: Any) -> Message:
    message = _plain(message)
    if not isinstance(message, dict):
        raise InputError(f"A message must be a dictionary {{'role': …, 'content': …}}, got {message!r}.")
    # APIs write None for a missing field; templates expect a missing key.
    message = {name: value for name, value in message.items() if value is not None}
    # Reasoning has several names, and templates read the first two.
    reasoning = next((message[name] for name in _REASONING if name in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _schema(tool: Any) -> Any:
    if isinstance(tool, Mapping):
        return tool
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        return tool_schema(tool)
    raise InputError(f"A tool must be a function with type hints and a docstring, or a JSON schema; got {tool!r}.")


def _plain(value: Any) -> Any:
    """`value` as str, int, float, bool, None, lists, tuples and dictionaries; other objects become '<TheirType>'."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    for base in (str, int, float):
        if isinstance(value, base):
            return getattr(base, f"__{base.__name__}__")(value)
    if isinstance(value, Mapping):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(_plain(item) for item in value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):  # pydantic
        return _plain(value.model_dump())
    return f"<{type(value).__name__}>"


def _map_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map_text(item, change) for name, item in value.items()}
    return [_map_text(item, change) for item in value] if isinstance(value, (list, tuple)) else value


# ---- rendering -------------------------------------------------------------------------------------------------------


def render(
    template: str,
    inputs: Inputs,
    *,
    special_tokens: Mapping[str, str],
    add_generation_prompt: bool = False,
    continue_final_message: bool | str = False,
    track_assistant: bool = False,
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """The text of every conversation, and with `track_assistant` the spans of the assistant's words in it."""
    if track_assistant and not re.search(r"\{%-?\s*generation\s*-?%\}", template):
        warn(
            "return_assistant_tokens_mask=True gives zeros only: this chat template does not mark the assistant's "
            "words by {% generation %} … {% endgeneration %}."
        )
    compiled = compile_template(template, track_assistant)
    if track_assistant:
        inputs = inputs.map_text(lambda text: text.replace(ASSISTANT_START, "").replace(ASSISTANT_END, ""))
    texts, spans = [], []
    for messages in inputs.conversations:
        final = _open_final_message(messages, continue_final_message, template) if continue_final_message else None
        with template_errors("fails"), limited():
            text = compiled.render(
                messages=messages,
                tools=inputs.tools,
                documents=inputs.documents,
                add_generation_prompt=add_generation_prompt,
                **{**special_tokens, **inputs.variables},
            )
        if final is not None:
            text = _cut_at_open_end(text, final)
        text, marked = _take_marks(text) if track_assistant else (text, [])
        texts.append(text)
        spans.append(marked)
    return texts, spans


def _open_final_message(messages: list[Message], field: bool | str, template: str) -> str:
    """Add a mark to the text of the last message, and return the text without it."""
    field = field if isinstance(field, str) else "content"
    if not messages or messages[-1].get(field) is None:
        raise InputError(f"continue_final_message is set, but the final message has no {field!r} to continue.")
    message = messages[-1]
    final = message[field]
    copies = [name for name in _REASONING if message.get(name) == final] if field in _REASONING else [field]
    if not any(name in template for name in copies):
        raise InputError(f"continue_final_message={field!r}: the chat template never reads this field of a message.")
    if isinstance(final, (list, tuple)):
        block = next((block for block in reversed(final) if "text" in block), None)
        if block is None:
            raise InputError("continue_final_message is set, but the final message has no text to continue.")
        final, block["text"] = block["text"], block["text"] + _OPEN_END
    else:
        for name in copies:
            message[name] = final + _OPEN_END
    return str(final)


def _cut_at_open_end(text: str, final: str) -> str:
    mark = _OPEN_END.strip()
    if final.strip() not in text or mark not in text:
        raise InputError(
            "continue_final_message is set, but the chat template changes the final message: "
            f"{final.strip()!r} is not in {text!r}."
        )
    before, after = text[: text.rindex(mark)], text[text.rindex(mark) :]
    # The mark ends in a space. A template that trims it trims the message as well.
    before = before if after.startswith(_OPEN_END) else before.rstrip()
    return before.replace(_OPEN_END, "").replace(mark, "")  # a template may have written the message twice


def _take_marks(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the marks around the assistant's words, and the spans of these words."""
    plain, spans, start = "", [], 0
    for piece in re.split(f"([{ASSISTANT_START}{ASSISTANT_END}])", text):
        if piece == ASSISTANT_START:
            start = len(plain)
        elif piece == ASSISTANT_END:
            spans.append((start, len(plain)))
        else:
            plain += piece
    return plain, spans
