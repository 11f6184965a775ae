"""Prompts: the texts of templates, and the part of a chat that is kept."""

from __future__ import annotations

import doctest
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, strategies as st
from tokenizers import pre_tokenizers

from minitransformers import GPT2Tokenizer, InputError
from minitransformers.tokenization.chat import prompt_templates as prompts
from minitransformers.tokenization.chat.prompt_templates import (
    Message,
    chain_of_thought,
    chat_stops,
    encode_chat,
    few_shot,
    fit_chat,
    plain_chat,
    role,
    zero_shot,
)

# ---- templates -------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_docstrings() -> None:
    results = doctest.testmod(prompts, verbose=False)
    assert results.attempted >= 4
    assert results.failed == 0


def test_few_shot() -> None:
    prompt = few_shot("hot", [("big", "small"), (" old ", "new\n")], "Give the opposite.")
    assert prompt == "Give the opposite.\n\nQ: big\nA: small\n\nQ: old\nA: new\n\nQ: hot\nA:"


def test_zero_shot_is_few_shot_without_examples() -> None:
    assert zero_shot("hot", "Give the opposite.") == few_shot("hot", (), "Give the opposite.")
    assert zero_shot("hot") == "Q: hot\nA:"


def test_chain_of_thought_shows_the_steps() -> None:
    prompt = chain_of_thought("3 * 4 + 1?", [("2 * 3 + 1?", "2 * 3 is 6. 6 + 1 is 7.", "7")])
    assert prompt == "Q: 2 * 3 + 1?\nA: 2 * 3 is 6. 6 + 1 is 7. The answer is 7.\n\nQ: 3 * 4 + 1?\nA:"


def test_chain_of_thought_without_examples_begins_the_steps() -> None:
    assert chain_of_thought("3 * 4 + 1?") == "Q: 3 * 4 + 1?\nA: Let's think step by step."


def test_role() -> None:
    assert role("a pirate.", "Where is the gold?") == "You are a pirate.\n\nUser: Where is the gold?\nAssistant:"


@given(query=st.text(min_size=1), instruction=st.text(), answer=st.text(min_size=1))
def test_no_prompt_ends_in_a_space(query: str, instruction: str, answer: str) -> None:
    assume(query.strip() and answer.strip())
    for prompt in (
        zero_shot(query, instruction),
        few_shot(query, [(query, answer)], instruction),
        chain_of_thought(query, [(query, answer, answer)]),
        chain_of_thought(query),
        role(answer, query),
    ):
        assert prompt == prompt.strip()
        assert query.strip() in prompt


@pytest.mark.parametrize(
    "make", [zero_shot, chain_of_thought, lambda query: few_shot(query, []), lambda q: role("x", q)]
)
@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_query_is_an_error(make: object, query: str) -> None:
    with pytest.raises(InputError, match="query must not be empty"):
        make(query)  # type: ignore[operator]


def test_an_empty_label_or_role_is_an_error() -> None:
    with pytest.raises(InputError, match="labels must not be empty"):
        zero_shot("hot", labels=("", "A"))
    with pytest.raises(InputError, match="description must not be empty"):
        role(" ", "hot")


# ---- chats -----------------------------------------------------------------------------------------------------------

SYSTEM: Message = {"role": "system", "content": "Be brief."}


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def byte_tokenizer(**options: object) -> GPT2Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return GPT2Tokenizer({letter: index for index, letter in enumerate(alphabet)}, [], **options)  # type: ignore[arg-type]


def test_plain_chat() -> None:
    chat = [SYSTEM, user("Hi "), assistant(" Hello."), user("Bye")]
    assert plain_chat(chat) == "Be brief.\n\nUser: Hi\nAssistant: Hello.\nUser: Bye\nAssistant:"


def test_a_chat_without_a_template_is_plain_text_and_ends_at_the_user() -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.decode(encode_chat(tokenizer, [user("Hi")])) == "User: Hi\nAssistant:"
    assert chat_stops(tokenizer) == ["\nUser:"]


def test_the_template_of_the_tokenizer_is_preferred() -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<go>{% endif %}"
    )
    tokenizer = byte_tokenizer(chat_template=template)
    assert tokenizer.decode(encode_chat(tokenizer, [SYSTEM, user("Hi")])) == "<system>Be brief.<user>Hi<go>"
    assert chat_stops(tokenizer) == []


def words(messages: Sequence[Message]) -> list[int]:
    """A simple encoding: one token for each word, and one for each message."""
    return [len(word) for message in messages for word in [message["role"], *message["content"].split()]]


def test_the_oldest_turn_is_dropped_first() -> None:
    chat = [SYSTEM, user("one two"), assistant("three"), user("four"), assistant("five six"), user("seven")]
    assert fit_chat(chat, 15, words) == (chat, words(chat))
    for limit, kept in (
        (14, [SYSTEM, *chat[3:]]),
        (10, [SYSTEM, *chat[3:]]),
        (9, [SYSTEM, chat[5]]),
        (5, [SYSTEM, chat[5]]),
    ):
        assert fit_chat(chat, limit, words)[0] == kept
    with pytest.raises(InputError, match=r"last message has 5 tokens.* room for 4.*or the system message"):
        fit_chat(chat, 4, words)


chats = st.lists(
    st.builds(
        lambda role, count: {"role": role, "content": "word " * count},
        st.sampled_from(["user", "assistant"]),
        st.integers(0, 5),
    ),
    max_size=12,
).map(lambda turns: [*turns, user("last")])


@given(chat=chats, system=st.booleans(), limit=st.integers(5, 60))
def test_the_longest_end_that_fits_is_kept(chat: list[Message], system: bool, limit: int) -> None:
    head = [{"role": "system", "content": ""}] if system else []
    kept, ids = fit_chat([*head, *chat], limit, words)
    assert ids == words(kept)
    assert len(ids) <= limit
    assert kept[: len(head)] == head
    turns = kept[len(head) :]
    assert turns == chat[len(chat) - len(turns) :]
    if len(turns) < len(chat):
        assert turns[0]["role"] == "user"
        earlier = [i for i, message in enumerate(chat[: len(chat) - len(turns)]) if message["role"] == "user" or i == 0]
        assert len(words(head + chat[earlier[-1] :])) > limit


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([], "no message of the user"),
        ([SYSTEM], "no message of the user"),
        ([{"role": "pirate", "content": "Ahoy"}], "has the role 'pirate'; roles are system, user and assistant"),
        ([{"role": "user"}], "must be .*'content'"),
        ([{"role": "user", "content": "Hi", "text": "Hi"}], "must be .*'content'"),
    ],
)
def test_invalid_chats_are_errors(chat: list[Message], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_chat(chat, 100, words)
