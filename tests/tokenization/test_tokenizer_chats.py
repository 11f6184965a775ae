"""Chats: chat templates, their sandbox, and the schemas of tools."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest

from minitransformers.errors import InputError
from minitransformers.tokenization import BertTokenizer
from minitransformers.tokenization.chat.sandbox import sandbox
from minitransformers.tokenization.chat.tool_schemas import tool_schema

CHAT = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "b"}]
PLAIN = "{% for message in messages %}[CLS] {{ message.content }} {% endfor %}"
VOCAB = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"])}


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer(VOCAB, chat_template=PLAIN)


def test_the_text_is_written_by_the_template(tokenizer: BertTokenizer) -> None:
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == "[CLS] a b [CLS] b "
    encoded = tokenizer.apply_chat_template([CHAT, CHAT[:1]], padding=True, return_tensors="pt")
    assert encoded.input_ids.tolist() == [[2, 5, 6, 2, 6], [2, 5, 6, 0, 0]]
    assert tokenizer.apply_chat_template(CHAT, return_dict=False) == [2, 5, 6, 2, 6]


def test_control_tokens_in_messages_are_text(tokenizer: BertTokenizer) -> None:
    """Only the control tokens of the template are control tokens, for any message."""
    chat = [{"role": "user", "content": "a [CLS] \U000f0000[SEP]\U000f0001 b"}]
    assert tokenizer.apply_chat_template(chat, return_dict=False) == [
        2,
        5,
        2,
        3,
        6,
    ]  # the private characters are dropped
    ids = tokenizer.apply_chat_template(chat, return_dict=False, sanitize_control_tokens=True)
    assert ids[0] == tokenizer.cls_token_id
    assert not {tokenizer.cls_token_id, tokenizer.sep_token_id} & set(ids[1:])


def test_the_assistants_words(tokenizer: BertTokenizer) -> None:
    """Marked words are found inside macros and filters too, and the marks are removed."""
    template = (
        "{% macro say(text) %}{% generation %}{{ text }}{% endgeneration %}{% endmacro %}"
        "{% for message in messages %}{{ message.role | length }} {{ say(message.content) | upper }} {% endfor %}"
    )
    encoded = tokenizer.apply_chat_template(CHAT, chat_template=template, return_assistant_tokens_mask=True)
    assert encoded.tokens() == ["[UNK]", "a", "b", "[UNK]", "b"]
    assert encoded["assistant_masks"] == [0, 1, 1, 0, 1]
    assert "\U000f0002" not in tokenizer.apply_chat_template(CHAT, chat_template=template, tokenize=False)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no template": ({"chat_template": None}, "This tokenizer has no chat template"),
    "nothing said": ({"conversation": []}, "The conversation is empty"),
    "text": ({"conversation": "hello"}, "conversation must be a list of messages"),
    "text as message": ({"conversation": ["hello"]}, "A message must be a dictionary"),
    "tool": ({"tools": [5]}, "A tool must be a function"),
    "document": ({"documents": ["text"]}, "documents must be dictionaries"),
    "mask of text": ({"return_assistant_tokens_mask": True, "tokenize": False}, "needs tokenize=True"),
    "two ends": ({"continue_final_message": True, "add_generation_prompt": True}, "Pass only one"),
    "nothing to continue": ({"continue_final_message": "thinking"}, "the final message has no 'thinking'"),
    "never read": ({"continue_final_message": "role"}, "never reads this field"),
    "not written": ({"continue_final_message": True, "chat_template": "content"}, "changes the final message"),
    "sanitize and more": ({"sanitize_control_tokens": True, "tokenizer_kwargs": {"verbose": 1}}, "tokenizer_kwargs"),
    "sanitize text": ({"sanitize_control_tokens": True, "tokenize": False}, "sanitize_control_tokens=True needs"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_errors(tokenizer: BertTokenizer, case: str) -> None:
    call, message = REFUSALS[case]
    if case == "no template":
        tokenizer.chat_template = None
    with pytest.raises(InputError, match=message):
        tokenizer.apply_chat_template(**{"conversation": CHAT, **call})


def test_a_template_without_marks_gives_a_warning(tokenizer: BertTokenizer) -> None:
    with pytest.warns(UserWarning, match="does not mark the assistant's words"):
        encoded = tokenizer.apply_chat_template(CHAT, return_assistant_tokens_mask=True)
    assert encoded["assistant_masks"] == [0] * 5


def test_messages_that_are_objects(tokenizer: BertTokenizer) -> None:
    """Dataclasses, pydantic models and conversations are read and sanitized like dictionaries."""

    @dataclasses.dataclass
    class Message:
        role: str
        content: str

    class Model:
        def model_dump(self) -> dict[str, str]:
            return {"role": "user", "content": "a [SEP]"}

    class Conversation:
        def __init__(self, *messages: Any) -> None:
            self.messages = list(messages)

    plain = [{"role": "user", "content": "a [SEP]"}]
    for options in ({}, {"sanitize_control_tokens": True}):
        expected = tokenizer.apply_chat_template(plain, return_dict=False, **options)
        assert (tokenizer.sep_token_id in expected) == (not options)
        for message in (Message("user", "a [SEP]"), Model()):
            assert tokenizer.apply_chat_template([message], return_dict=False, **options) == expected
            assert tokenizer.apply_chat_template(Conversation(message), return_dict=False, **options) == expected
            batch = tokenizer.apply_chat_template([Conversation(message)], return_dict=False, **options)
            assert batch == [expected]


def test_choosing_among_templates(tokenizer: BertTokenizer) -> None:
    tokenizer.chat_template = {"one": "1", "two": "2"}
    with pytest.raises(InputError, match=r"several chat templates.*\['one', 'two'\]"):
        tokenizer.get_chat_template()
    assert tokenizer.get_chat_template("two") == "2"
    assert tokenizer.get_chat_template("{{ written here }}") == "{{ written here }}"
    with pytest.raises(InputError, match="chat_template must be a str"):
        BertTokenizer(VOCAB, chat_template=5)
    listed = BertTokenizer(VOCAB, chat_template=[{"name": "default", "template": "d"}])
    assert listed.get_chat_template(tools=[]) == "d"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.mro() }}",
        "{{ messages.clear() }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(__init__=1) }}",
        "{{ dict.mro() }}",
        "{{ dict.__class__ }}{{ dict.__class__.__base__ }}",
        "{{ thing.write() }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_templates_cannot_leave_the_sandbox(tokenizer: BertTokenizer, template: str) -> None:
    import jinja2

    class Thing:
        def write(self) -> str:
            raise AssertionError("a template called a method of the caller's object")

    with pytest.raises(jinja2.exceptions.TemplateError):
        tokenizer.apply_chat_template(CHAT, chat_template=template, tokenize=False, thing=Thing())
    assert tokenizer.apply_chat_template(CHAT, chat_template="{{ thing }}", tokenize=False, thing=Thing()) == "<Thing>"


def test_a_template_cannot_change_the_conversation(tokenizer: BertTokenizer) -> None:
    chat = [{"role": "assistant", "content": [{"type": "text", "text": "a"}], "reasoning": "b"}]
    template = "{% for block in messages[-1].content %}{{ block.text }}{% endfor %}"
    text = tokenizer.apply_chat_template(chat, chat_template=template, continue_final_message=True, tokenize=False)
    assert text == "a"
    assert chat == [{"role": "assistant", "content": [{"type": "text", "text": "a"}], "reasoning": "b"}]


def test_without_jinja2(tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'minitransformers\[demo\]'"):
        tokenizer.apply_chat_template(CHAT, chat_template="{# not compiled before #}")


def test_with_an_unsafe_jinja2(monkeypatch: pytest.MonkeyPatch) -> None:
    import jinja2

    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(ImportError, match=r"need jinja2 3.1.6 or newer, not 3.1.5"):
        sandbox(False)


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_tool_schema() -> None:
    def add(x: int, y: float = 0.0, how: Literal["fast", "slow"] = "fast") -> float:
        """Add two numbers.

        Args:
            x: the first
            y: the second,
                or nothing
            how: with care (choices: ["fast", "slow"])

        Returns:
            the sum
        """
        return x + y

    assert tool_schema(add) == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "x": {"type": "integer", "description": "the first"},
                    "y": {"type": "number", "description": "the second, or nothing"},
                    "how": {"type": "string", "enum": ["fast", "slow"], "description": "with care"},
                },
                "required": ["x"],
            },
            "return": {"type": "number", "description": "the sum"},
        },
    }


def no_docstring(x: int) -> None:
    return None


def no_hint(x) -> None:  # type: ignore[no-untyped-def]
    """Do something.

    Args:
        x: what
    """


def no_description(x: int) -> None:
    """Do something."""


def strange_hint(x: InputError) -> None:
    """Do something.

    Args:
        x: what
    """


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_docstring, "has no docstring"),
        (no_hint, "'x' of the tool 'no_hint' needs a type hint"),
        (no_description, "has no line for 'x' under 'Args:'"),
        (strange_hint, "has no JSON schema"),
    ],
)
def test_tools_without_a_description(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tool_schema(function)
