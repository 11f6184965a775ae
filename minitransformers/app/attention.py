"""GET /attention: what each token of a text attends to, as one page (interpret/page.py).

    /attention?prompt=To be&ids=12,7&model=NAME

`ids` are the tokens of the continuation, as for /generate. The end of a long text is shown: a page has all weights,
queries and keys, so that its size grows with the square of the tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from minitransformers.app.session import Session
from minitransformers.app.work import Work
from minitransformers.errors import InputError, UnknownNameError, nearest
from minitransformers.interpret import attention_page, trace

MOST_NUMBERS = 1_000_000  # in a page: about 10 MB


async def answer(work: Work, sessions: Mapping[str, Session], query: Mapping[str, str], seconds: float) -> str:
    """The page's HTML, computed in the queue that texts wait in.

    Raises:
        IsFullError: too many texts wait.
        TimeoutError: it did not come within `seconds`.
        MinitransformersError: a wrong request.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def settle(item: Any) -> None:
        if found.done():
            return
        if isinstance(item, BaseException):
            found.set_exception(item)
        elif item is not None:
            found.set_result(item["html"])

    def deliver(item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(settle, item)

    def start() -> Iterator[dict[str, Any]]:
        yield {"html": page_of(sessions, query)}

    job = work.submit(start, deliver)
    try:
        async with asyncio.timeout(seconds):
            return await found
    finally:
        work.leave(job)


def page_of(sessions: Mapping[str, Session], query: Mapping[str, str]) -> str:
    """The page of the text that a request asks for.

    Raises:
        MinitransformersError: an unknown model or argument, ids that are none, or a text without tokens.
    """
    for name in query.keys() - {"prompt", "ids", "model"}:
        raise InputError(f"/attention takes no {name!r}.{nearest(name, ['prompt', 'ids', 'model'])}")
    name = query.get("model", next(iter(sessions)))
    if name not in sessions:
        raise UnknownNameError(f"There is no model {name!r:.100}; there are {', '.join(sessions)}.")
    session = sessions[name]
    model, size = session.model, session.model.get_input_embeddings().weight.shape[0]
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(f"{name} reads and writes in two parts; /attention shows models that are one.")
    ids = session.encode(query.get("prompt", "")) + _ids(query.get("ids", ""), size)
    if not ids:
        raise InputError("There is no text: pass a prompt.")
    shown = ids[-_most_tokens(model.config, session.positions) :]
    with torch.no_grad(), trace(model) as activations:
        model(torch.tensor([shown], device=model.device), use_cache=False)
    title = "Attention" if len(shown) == len(ids) else f"Attention in the last {len(shown)} of {len(ids)} tokens"
    return attention_page(activations, [session.tokenizer.decode([each]) for each in shown], title=title).html


def _ids(text: str, vocabulary: int) -> list[int]:
    numbers = [part.strip() for part in text.split(",")] if text.strip() else []
    for part in numbers:
        if not (part.isascii() and part.isdecimal() and len(part) < 10 and int(part) < vocabulary):
            raise InputError(f"ids must be numbers below {vocabulary}, with commas between them, not {part!r:.40}.")
    return [int(part) for part in numbers]


def _most_tokens(config: Any, positions: int | None) -> int:
    """The n with n · (n + 2 · width of a head) numbers in each head of each layer, in all at most `MOST_NUMBERS`."""
    of_a_head = MOST_NUMBERS / (config.num_hidden_layers * config.num_attention_heads)
    width = config.hidden_size // config.num_attention_heads
    most = max(1, int(math.sqrt(width**2 + of_a_head) - width))
    return most if positions is None else min(most, positions)
