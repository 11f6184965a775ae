"""Streamers receive every token as it is generated, and turn tokens into text that can be shown."""

from __future__ import annotations

import asyncio
from queue import Queue
from typing import Any

from torch import Tensor

from minitransformers.errors import InputError


class BaseStreamer:
    """The base of streamers: `generate` calls `put` with the prompts and with the tokens of every step, then `end`."""

    def put(self, value: Tensor) -> None:
        """Take ids: (rows, length) the prompts, (rows,) the new tokens."""

    def end(self) -> None:
        """The texts are complete, or generating has failed."""


class TextStreamer(BaseStreamer):
    """Prints a text while it is generated, word by word.

    Only text that later tokens cannot change is shown: up to the last space, and Chinese characters at once. The
    pieces that are shown, joined, are the decoded text.

    Args:
        tokenizer: decodes the ids.
        skip_prompt: show the continuation only.
        decode_kwargs: arguments of `tokenizer.decode`, such as `skip_special_tokens=True`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self._start()

    def _start(self) -> None:
        self._ids: list[int] = []
        self._shown = ""
        self._at_prompt = True

    def put(self, value: Tensor) -> None:
        """Take ids of one text, and show the text that has become final.

        Raises:
            InputError: ids of several texts.
        """
        rows = value.shape[0] if value.ndim > 1 or not self._at_prompt else 1
        if rows > 1:
            raise InputError(f"{type(self).__name__} shows one text; it got {rows}.")
        at_prompt, self._at_prompt = self._at_prompt, False
        if at_prompt and self.skip_prompt:
            return
        self._ids += value.flatten().tolist()
        text = self._text()
        self._show(text if text.endswith("\n") or _is_chinese(text[-1:]) else text[: _last_space(text)])

    def end(self) -> None:
        """Show the rest."""
        self._show(self._text(), stream_end=True)
        self._start()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Show a piece of text; subclasses do something else with it."""
        print(text, flush=True, end="\n" if stream_end else "")

    def _text(self) -> str:
        return str(self.tokenizer.decode(self._ids, **self.decode_kwargs)) if self._ids else ""

    def _show(self, final: str, stream_end: bool = False) -> None:
        piece = final[len(self._shown) :]
        self._shown += piece
        self.on_finalized_text(piece, stream_end=stream_end)


class TextIteratorStreamer(TextStreamer):
    """An iterator over the pieces of the text, for another thread than the one that `generate` runs in.

    Args:
        tokenizer, skip_prompt, decode_kwargs: see `TextStreamer`.
        timeout: seconds to wait for the next piece before `queue.Empty` is raised; None waits without limit.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | int | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: Queue[str | None] = Queue()
        self.stop_signal = None
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Pass a piece on."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def __iter__(self) -> TextIteratorStreamer:
        return self

    def __next__(self) -> str:
        piece = self.text_queue.get(timeout=self.timeout)
        if piece is None:
            raise StopIteration
        return piece


class AsyncTextIteratorStreamer(TextStreamer):
    """An asynchronous iterator over the pieces of the text, while `generate` runs in a thread.

        async for piece in streamer: ...

    It is made in the coroutine that reads it.

    Args:
        tokenizer, skip_prompt, decode_kwargs: see `TextStreamer`.
        timeout: seconds to wait for the next piece before `TimeoutError` is raised; None waits without limit.

    Raises:
        RuntimeError: no event loop is running.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | int | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.stop_signal = None
        self.timeout = timeout
        self.loop = asyncio.get_running_loop()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Pass a piece on to the event loop."""
        for piece in (text, self.stop_signal) if stream_end else (text,):
            self.loop.call_soon_threadsafe(self.text_queue.put_nowait, piece)

    def __aiter__(self) -> AsyncTextIteratorStreamer:
        return self

    async def __anext__(self) -> str:
        async with asyncio.timeout(self.timeout):
            piece = await self.text_queue.get()
        if piece is None:
            raise StopAsyncIteration
        return piece


def _last_space(text: str) -> int:
    """The position of the last space, which is not final: clean-up may remove it, as in "word ." -> "word."."""
    return max(text.rfind(" "), 0)


_CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def _is_chinese(character: str) -> bool:
    """Whether `character` is written without spaces around it, and can be shown at once."""
    return bool(character) and any(low <= ord(character) <= high for low, high in _CHINESE)
