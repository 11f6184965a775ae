"""The socket of the app's server, and uvicorn's part of it: connections, and how long they may take."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from minitransformers.app.hosts import address_family

REQUEST_SECONDS = 10.0  # for the head of a request, and again for its body


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which no request arrives: uvicorn itself waits for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request, the first of which start the clock, and the last of whose head stop it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            words = f'{{"error": "No whole request came within {REQUEST_SECONDS:g} s."}}'
            head = f"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: {len(words)}\r\n\r\n"
            self.transport.write((head + words).encode())
            self.transport.close()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at that address, 0 being any free port.

    Raises:
        OSError, OverflowError: the address is taken, or does not exist.
    """
    family = address_family(host)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)  # at once, so that readers who come before the loop runs wait, too
    except BaseException:
        bound.close()
        raise
    return bound
