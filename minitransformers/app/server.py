"""The app as a web page: one HTML file, and a server of the standard library that streams tokens to it.

    GET  /          the page
    GET  /info      the model, the settings and the example prompts
    POST /generate  {"prompt": text} or {"messages": [{"role": …, "content": …}, …]}, and optionally "ids", the first
                    tokens of the continuation, and "settings": {name: value}. Answers with server-sent events, each a
                    JSON object: first {"forgotten": number of messages left out}, then for every step {"keep": number,
                    "tokens": […]} (see `Change`), and at the end {"done": {…}} or {"error": message}.

A wrong request is answered with the status 400 and {"error": message}. A text ends when its reader disconnects.

Only requests to a name of this machine are answered (`hosts.py`), so that other sites cannot use the page's browser to
reach the server.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from minitransformers.app.examples import EXAMPLES
from minitransformers.app.hosts import Hosts, address_family
from minitransformers.app.session import Session
from minitransformers.app.settings import FIELDS, STRATEGIES, Settings, as_label
from minitransformers.app.tokens import displayed
from minitransformers.errors import InputError, MinitransformersError
from minitransformers.tokenization.chat.prompt_templates import Message, chat_stops

MAX_REQUEST_BYTES = 1_000_000

# The page loads nothing from other servers.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


class AppServer(ThreadingHTTPServer):
    """Serves the page for one model; every text is generated in a thread of its own."""

    daemon_threads = True
    hosts: Hosts

    def __init__(
        self, session: Session, settings: Settings | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.session = session
        self.settings = replace(settings or Settings(), spell=as_label)
        self.hosts = Hosts(host)
        self.address_family = address_family(host)
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page, for a browser on this machine."""
        return self.hosts.url(self.server_port)


def serve(session: Session, settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: the address cannot be used.
    """
    try:
        server = AppServer(session, settings, host, port)
    except (OSError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"No page can be served at --host {host} --port {port}: {reason}; try --port 0.") from error
    with server:
        print(f"Model: {session.name}\nOpen {server.url} in a browser; Ctrl-C ends.", flush=True)
        if others := server.hosts.url_for_others(server.server_port):
            print(f"Other machines of the network can open {others}; anyone who reaches it can use it.", flush=True)
        server.serve_forever()


def info(session: Session, settings: Settings) -> dict[str, Any]:
    """The content of /info."""
    strategies = {name: text for name, text in STRATEGIES.items() if name != "assisted" or session.draft is not None}
    return {
        "model": session.name,
        "random": session.is_random,
        "positions": session.positions,
        "strategies": strategies,
        "fields": [
            {
                "name": f.name,
                "help": f.help,
                "step": f.step,
                "strategies": f.strategies,
                "value": settings.values[f.name],
            }
            for f in FIELDS
        ],
        "strategy": settings.strategy,
        "examples": EXAMPLES,
    }


def events(session: Session, settings: Settings, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Check a request, and return the events of its text; the text is generated while they are iterated over.

    Raises:
        MinitransformersError: the request cannot be answered.
    """
    for name, value in _of_type(dict, request, "settings", {}).items():
        settings = settings.set(name, value)
    forgotten, stops = 0, []
    if "messages" in request:
        session.check(settings)
        messages = [_message(message) for message in _of_type(list, request, "messages", [])]
        kept, ids = session.fit(messages, settings)
        forgotten, stops = len(messages) - len(kept), chat_stops(session.tokenizer)
    else:
        ids = session.encode(_of_type(str, request, "prompt", ""))
    begun = _of_type(list, request, "ids", [])
    vocabulary = session.model.config.vocab_size
    if not all(type(token_id) is int and 0 <= token_id < vocabulary for token_id in begun):
        raise InputError(f"ids must be whole numbers from 0 to {vocabulary - 1}.")
    search, seed = session.start(ids + begun, settings, stops)

    def run() -> Iterator[dict[str, Any]]:
        yield {"forgotten": forgotten}
        started, count = time.perf_counter(), 0
        for change in displayed(search, session.tokenizer, stops=stops):
            count = change.keep + len(change.tokens)
            yield asdict(change)
        yield {"done": {"tokens": count, "seconds": time.perf_counter() - started, "seed": seed}}

    return run()


def _message(content: Any) -> Message:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"A message must be an object of strings, got {content!r}.")
    return content


_KINDS: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}


def _of_type(kind: type, request: dict[str, Any], name: str, default: Any) -> Any:
    value = request.get(name, default)
    if not isinstance(value, kind):
        raise InputError(f"{name} must be {_KINDS[kind]}, got {value!r}.")
    return value


class _Handler(BaseHTTPRequestHandler):
    server: AppServer

    def parse_request(self) -> bool:
        """Refuse requests under a foreign name or from the page of another site, whatever they ask for."""
        if not super().parse_request():
            return False
        refusal = self.server.hosts.refusal(self.headers.get("Host"), self.headers.get("Origin"))
        if refusal is not None:
            with contextlib.suppress(InputError):
                self._body()  # a connection that is closed before its body is read may lose the answer
            status, words = refusal
            self._json(status, {"error": words})
        return refusal is None

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/":
            page = files("minitransformers.app").joinpath("page.html").read_bytes()
            self._answer(200, "text/html; charset=utf-8", page)
        elif self.path == "/info":
            self._json(200, info(self.server.session, self.server.settings))
        else:
            self._json(404, {"error": f"There is nothing at {self.path}."})

    def do_POST(self) -> None:
        if self.path != "/generate":
            self._json(404, {"error": f"There is nothing at {self.path}."})
            return
        try:
            stream = events(self.server.session, self.server.settings, self._request())
        except (MinitransformersError, ImportError) as error:
            self._json(400, {"error": str(error)})
            return
        self.send_response(200)
        self._headers("text/event-stream")
        try:
            for event in stream:
                self._send(event)
        except ConnectionError:
            return  # the reader has disconnected
        except Exception as error:
            # The page shows any error, and does not wait for more tokens.
            self._send({"error": f"{type(error).__name__}: {error}"})
            raise

    def _request(self) -> dict[str, Any]:
        # A page of another site can send this type only after a preflight request, which is not answered here.
        if self.headers.get_content_type() != "application/json":
            raise InputError("The request must have the type application/json.")
        try:
            request = json.loads(self._body())
        except (ValueError, RecursionError) as error:
            raise InputError(f"The request is not JSON: {error}.") from error
        if not isinstance(request, dict):
            raise InputError("The request must be a JSON object.")
        return request

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            raise InputError(f"The request needs a Content-Length of at most {MAX_REQUEST_BYTES:,} bytes.")
        return self.rfile.read(int(length))

    def _send(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(content).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self._headers(kind)
        self.wfile.write(body)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing: errors are shown in the page."""
