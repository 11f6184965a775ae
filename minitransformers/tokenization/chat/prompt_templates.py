"""Templates for prompts, and chats that are shortened to the context window of a model.

A language model continues texts. A template writes a task as the beginning of a text whose most likely continuation is
the answer. Prompts end without a space: in most vocabularies a space belongs to the word after it, so models continue
a prompt with a final space badly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from minitransformers.errors import InputError

Message = dict[str, str]
"""`{"role": "user", "content": "…"}`; roles are "system", "user" and "assistant"."""

LABELS = ("Q", "A")
STEP_BY_STEP = "Let's think step by step."  # the best of the phrases that Kojima et al. (2022, table 4) tried

# ---- templates -------------------------------------------------------------------------------------------------------


def zero_shot(query: str, instruction: str = "", *, labels: tuple[str, str] = LABELS) -> str:
    """A task without any example (Radford et al., 2019, §3; Brown et al., 2020, figure 2.1).

    >>> print(zero_shot("cheese", "Translate English to French.", labels=("English", "French")))
    Translate English to French.
    <BLANKLINE>
    English: cheese
    French:

    Args:
        query: the question, or the input of the task.
        instruction: the task.
        labels: the texts before the query and before the answer.

    Raises:
        InputError: an empty query or label.
    """
    return few_shot(query, (), instruction, labels=labels)


def few_shot(
    query: str,
    examples: Sequence[tuple[str, str]],
    instruction: str = "",
    *,
    labels: tuple[str, str] = LABELS,
) -> str:
    """A task with solved examples, from which the model learns in context (Brown et al., 2020, figure 2.1).

    >>> print(few_shot("cheese", [("sea otter", "loutre de mer")], labels=("English", "French")))
    English: sea otter
    French: loutre de mer
    <BLANKLINE>
    English: cheese
    French:

    Args:
        query: the question, or the input of the task.
        examples: pairs of query and answer.
        instruction: the task.
        labels: the texts before each query and before each answer.

    Raises:
        InputError: an empty query or label.
    """
    ask, answer = (_filled("labels", label) for label in labels)
    parts = [instruction.strip()] if instruction.strip() else []
    parts += [f"{ask}: {question.strip()}\n{answer}: {solution.strip()}" for question, solution in examples]
    return "\n\n".join([*parts, f"{ask}: {_filled('query', query)}\n{answer}:"])


def chain_of_thought(
    query: str,
    examples: Sequence[tuple[str, str, str]] = (),
    instruction: str = "",
    *,
    labels: tuple[str, str] = LABELS,
) -> str:
    """A task that the model solves in written steps.

    Examples show the steps (Wei et al., 2022, figure 1). Without examples, the answer begins with "Let's think step by
    step." (Kojima et al., 2022, figure 1 d).

    Args:
        query: the question, or the input of the task.
        examples: triples of query, reasoning and answer.
        instruction, labels: see `few_shot`.

    Raises:
        InputError: an empty query or label.
    """
    solved = [
        (question, f"{reasoning.strip()} The answer is {answer.strip()}.") for question, reasoning, answer in examples
    ]
    prompt = few_shot(query, solved, instruction, labels=labels)
    return prompt if examples else f"{prompt} {STEP_BY_STEP}"


def role(description: str, query: str, *, labels: tuple[str, str] = ("User", "Assistant")) -> str:
    """A task with a role: a model in the role of an expert gives better answers (Kong et al., 2023).

    >>> print(role("a gardener with much patience", "Why do my tomatoes crack?"))
    You are a gardener with much patience.
    <BLANKLINE>
    User: Why do my tomatoes crack?
    Assistant:

    In a chat, the same sentence is the system message.

    Raises:
        InputError: an empty description, query or label.
    """
    return few_shot(query, (), f"You are {_filled('description', description).removesuffix('.')}.", labels=labels)


def _filled(name: str, text: str) -> str:
    if not text.strip():
        raise InputError(f"{name} must not be empty.")
    return text.strip()


# ---- chats -----------------------------------------------------------------------------------------------------------

_SPEAKERS = {"user": "User", "assistant": "Assistant"}


def plain_chat(messages: Sequence[Message]) -> str:
    """A chat as plain text that ends where the assistant answers, for models that were not trained on a template.

    >>> print(plain_chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]))
    Be brief.
    <BLANKLINE>
    User: Who are you?
    Assistant:

    Raises:
        InputError: a message of another form, or with another role.
    """
    _check(messages)
    system = [f"{message['content'].strip()}\n\n" for message in messages if message["role"] == "system"]
    turns = [
        f"{_SPEAKERS[message['role']]}: {message['content'].strip()}\n"
        for message in messages
        if message["role"] != "system"
    ]
    return "".join([*system, *turns, f"{_SPEAKERS['assistant']}:"])


def encode_chat(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The ids of a chat up to the assistant's next answer, by the tokenizer's chat template or by `plain_chat`.

    Raises:
        InputError: a message of another form, or with another role.
        ImportError: the tokenizer has a template, and jinja2 is not installed.
    """
    _check(messages)
    if tokenizer.chat_template is None:
        ids: list[int] = tokenizer(plain_chat(messages), verbose=False)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)
    return ids


def chat_stops(tokenizer: Any) -> list[str]:
    """The texts that end an answer, besides the end of text: the beginning of the user's next message.

    A chat template has tokens for it. Plain text has only "User:" at the start of a line.
    """
    return [f"\n{_SPEAKERS['user']}:"] if tokenizer.chat_template is None else []


def fit_chat(
    messages: Sequence[Message], limit: int, encode: Callable[[Sequence[Message]], list[int]]
) -> tuple[list[Message], list[int]]:
    """The newest part of a chat that fits into `limit` tokens, and its ids.

    A turn is a message of the user and the answers to it. While the chat has more than `limit` tokens, its oldest turn
    is dropped. System messages are kept.

    Args:
        messages: the whole chat, oldest first.
        limit: the largest number of tokens: the model's context window less the length of the answer.
        encode: returns the ids of messages, such as `lambda chat: encode_chat(tokenizer, chat)`.

    Raises:
        InputError: the last turn alone is too long, or there is no message of the user.
    """
    _check(messages)
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if not starts:
        raise InputError("The chat has no message of the user.")
    system = [message for message in messages if message["role"] == "system"]

    def fitted(start: int) -> tuple[list[Message], list[int]]:
        kept = system + [message for message in messages[start:] if message["role"] != "system"]
        return kept, encode(kept)

    kept, ids = fitted(0)
    if len(ids) <= limit:
        return kept, ids
    # The later it starts, the shorter the chat: the first start that fits is found by halving, not by trying each.
    first = bisect_left(starts, True, hi=len(starts) - 1, key=lambda start: len(fitted(start)[1]) <= limit)
    kept, ids = fitted(starts[first])
    if len(ids) <= limit:
        return kept, ids
    raise InputError(
        f"The last message has {len(ids)} tokens with the text around it, and there is room for {limit}: shorten "
        f"it{', or the system message' if system else ''}, or ask for a shorter answer."
    )


def _check(messages: Sequence[Message]) -> None:
    for message in messages:
        if message.keys() != {"role", "content"}:
            raise InputError(f"A message must be {{'role': …, 'content': …}}, got {message!r}.")
        if message["role"] not in ("system", *_SPEAKERS):
            raise InputError(f"A message has the role {message['role']!r}; roles are system, user and assistant.")
