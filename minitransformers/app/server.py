"""The app as a web page: one HTML file, and a server that streams tokens to it.

    GET  /          the page
    GET  /info      the models, the settings and the example prompts
    GET  /attention a page of what each token attends to: see attention.py
    GET  /health    {"status": "ok", "running": texts that are generated now, "waiting": texts in the queue, …}
    POST /generate  {"prompt": text} or {"messages": [{"role": …, "content": …}, …]}, and optionally "model", "ids", the
                    first tokens of the continuation, and "settings": {name: value}. Answers with server-sent events,
                    each a JSON object: first {"forgotten": number of messages left out}, then for every step
                    {"keep": number, "tokens": […]} (see `Change`), and at the end {"done": {…}} or {"error": message}.

What is wrong is answered with {"error": message}: 400 for a wrong request, 408 and 413 for one that comes too slowly or
is too long, 503 with `Retry-After` when too many texts are waiting (work.py). A text ends when its reader disconnects.

Only requests to a name of this machine are answered (hosts.py), so that other sites cannot use the page's browser to
reach the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message as Event, Receive, Scope, Send

from minitransformers.app.attention import answer as attend
from minitransformers.app.events import events, of_type
from minitransformers.app.examples import EXAMPLES
from minitransformers.app.hosts import Hosts
from minitransformers.app.listening import REQUEST_SECONDS, ImpatientProtocol, bound_socket
from minitransformers.app.session import Session
from minitransformers.app.settings import FIELDS, STRATEGIES, Settings, as_label
from minitransformers.app.work import IsFullError, Work
from minitransformers.errors import InputError, MinitransformersError, UnknownNameError, nearest

# The page loads nothing from other servers.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one server does for all its readers together.

    Attributes:
        running: texts that are generated at the same time.
        waiting: texts that wait for their turn; a request beyond that is answered with 503.
        seconds: the longest time from a request to the end of its text, waiting included.
        request_bytes: the length of a request.
        messages: in a chat.
        connections: at the same time.
    """

    running: int = 2
    waiting: int = 100
    seconds: float = 300.0
    request_bytes: int = 1_000_000
    messages: int = 2_000
    connections: int = 1_000


class AppServer:
    """Serves the page for one or several models; `serve_forever` runs until `shutdown`.

    Args:
        sessions: a model, or several by the names that the page shows.
        settings: those that the page begins with.
        host, port: the address; port 0 is any free one.
        limits: see `Limits`.

    Raises:
        OSError, OverflowError: the address cannot be used.
    """

    def __init__(
        self,
        sessions: Session | Mapping[str, Session],
        settings: Settings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
    ) -> None:
        self.sessions = {sessions.name: sessions} if isinstance(sessions, Session) else dict(sessions)
        self.settings = replace(settings or Settings(), spell=as_label)
        self.hosts = Hosts(host)
        self.limits = limits or Limits()
        self.work = Work(self.limits.running, self.limits.waiting)
        self.socket = bound_socket(host, port)
        config = uvicorn.Config(
            application(self),
            http=ImpatientProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=self.limits.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)

    @property
    def server_address(self) -> Any:
        """The host and the port at which it listens."""
        return self.socket.getsockname()

    @property
    def url(self) -> str:
        """The address of the page, for a browser on this machine."""
        return self.hosts.url(self.server_address[1])

    def serve_forever(self) -> None:
        """Answer requests, until Ctrl-C or `shutdown`."""
        self._server.run(sockets=[self.socket])

    def shutdown(self) -> None:
        """Let `serve_forever`, which runs in another thread, return."""
        self._server.should_exit = True

    def __enter__(self) -> AppServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.work.close()
        self.socket.close()


def serve(
    sessions: Session | Mapping[str, Session], settings: Settings, host: str = "127.0.0.1", port: int = 8000
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: the address cannot be used.
    """
    try:
        server = AppServer(sessions, settings, host, port)
    except (OSError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"No page can be served at --host {host} --port {port}: {reason}; try --port 0.") from error
    with server:
        names = ", ".join(server.sessions)
        print(f"Model: {names}\nOpen {server.url} in a browser; Ctrl-C ends.", flush=True)
        if others := server.hosts.url_for_others(server.server_address[1]):
            print(f"Other machines of the network can open {others}; anyone who reaches it can use it.", flush=True)
        server.serve_forever()


# ---- what is answered ------------------------------------------------------------------------------------------------


def application(server: AppServer) -> ASGIApp:
    """The pages of a server, behind the check of hosts."""

    async def page(_: Request) -> Response:
        return HTMLResponse(files("minitransformers.app").joinpath("page.html").read_bytes(), headers=HEADERS)

    async def about(_: Request) -> Response:
        return JSONResponse(info(server.sessions, server.settings), headers=HEADERS)

    async def health(_: Request) -> Response:
        work = {"running": server.work.running, "waiting": server.work.waiting}
        content = {"status": "ok", **work, "models": list(server.sessions), "limits": asdict(server.limits)}
        return JSONResponse(content, headers=HEADERS)

    async def attention(request: Request) -> Response:
        seconds = server.limits.seconds
        try:
            html = await attend(server.work, server.sessions, request.query_params, seconds)
        except IsFullError as full:
            words = f"Too many texts are waiting already; try again in about {full.seconds} s."
            return _error(503, words, **{"Retry-After": str(full.seconds)})
        except MinitransformersError as error:
            return _error(400, str(error))
        except TimeoutError:
            return _error(503, f"The page was not finished within {seconds:g} s: ask for a shorter text.")
        return HTMLResponse(html, headers=HEADERS)

    async def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {404: f"There is nothing at {request.url.path}.", 405: f"{request.url.path} takes no {request.method}."}
        return _error(status, words.get(status, f"{type(error).__name__}: {error}"))

    routes = [
        Route("/", page),
        Route("/info", about),
        Route("/attention", attention),
        Route("/health", health),
        Route("/generate", _Generate(server), methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: failed, Exception: failed})
    return _Guard(app, server.hosts)


def info(sessions: Session | Mapping[str, Session], settings: Settings) -> dict[str, Any]:
    """The content of /info; what it says of a model is that of the first, and of each in "models"."""
    sessions = {sessions.name: sessions} if isinstance(sessions, Session) else sessions
    models = [
        {
            "model": name,
            "random": session.is_random,
            "positions": session.positions,
            "strategies": {
                strategy: text
                for strategy, text in STRATEGIES.items()
                if strategy != "assisted" or session.draft is not None
            },
        }
        for name, session in sessions.items()
    ]
    return {
        **models[0],
        "models": models,
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


class _Guard:
    """Refuses requests under a foreign name or from the page of another site, and logs all: a line of JSON for each."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        entry = {"method": scope["method"], "path": scope["path"], "client": (scope.get("client") or [None])[0]}

        async def noting(event: Event) -> None:
            if event["type"] == "http.response.start":
                entry["status"] = event["status"]
            await send(event)

        headers = Request(scope).headers
        refusal = self.hosts.refusal(headers.get("host"), headers.get("origin"))
        scope["state"] = {"entry": entry}
        try:
            await (self.app if refusal is None else _error(*refusal))(scope, receive, noting)
        finally:
            log.info("%s", json.dumps({**entry, "seconds": round(time.perf_counter() - started, 3)}))


def _error(status: int, words: str, **headers: str) -> Response:
    return JSONResponse({"error": words}, status, {**HEADERS, **headers})


# ---- texts -----------------------------------------------------------------------------------------------------------


class _Generate:
    """POST /generate: takes the request, puts its text into the queue, and sends the events as they come."""

    def __init__(self, server: AppServer) -> None:
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            content = await self._content(request)
        except HTTPException as error:
            await _error(error.status_code, error.detail)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def deliver(item: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(items.put_nowait, item)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            items.put_nowait(_Left())

        try:
            job = self.server.work.submit(lambda: self._events(content), deliver)
        except IsFullError as full:
            words = f"Too many texts are waiting already; try again in about {full.seconds} s."
            await _error(503, words, **{"Retry-After": str(full.seconds)})(scope, receive, send)
            return
        watching = asyncio.create_task(watch())
        answer = _Answer(send)
        try:
            async with asyncio.timeout(self.server.limits.seconds):
                while (item := await items.get()) is not None and not isinstance(item, _Left):
                    await answer.add(item, scope, receive)
                    if isinstance(item, BaseException):
                        break
        except TimeoutError:
            words = f"The text was not finished within {self.server.limits.seconds:g} s: ask for a shorter one."
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):  # a reader that takes nothing does not get that either
                    await answer.add(TimeoutError(words), scope, receive)
        finally:
            self.server.work.leave(job)
            watching.cancel()
        scope["state"]["entry"]["events"] = answer.count
        await answer.end()

    async def _content(self, request: Request) -> dict[str, Any]:
        """The JSON of a request.

        Raises:
            HTTPException: it is something else, too long, or does not come.
        """
        # A page of another site can send this type only after a preflight request, which is not answered here.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(400, "The request must have the type application/json.")
        most = self.server.limits.request_bytes
        too_long = HTTPException(413, f"The request is too long: it may have {most:,} bytes.")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > most):
            raise too_long
        body = b""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise too_long
        except TimeoutError:
            raise HTTPException(408, f"No whole request came within {REQUEST_SECONDS:g} s.") from None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"The request is not JSON: {error}.") from error
        if not isinstance(content, dict):
            raise HTTPException(400, "The request must be a JSON object.")
        return content

    def _events(self, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
        server = self.server
        name = content.get("model", next(iter(server.sessions)))
        if not isinstance(name, str) or name not in server.sessions:
            raise UnknownNameError(
                f"There is no model {name!r:.100}; there are {', '.join(server.sessions)}."
                f"{nearest(str(name), server.sessions)}"
            )
        if len(of_type(list, content, "messages", [])) > server.limits.messages:
            raise InputError(f"A chat may have {server.limits.messages:,} messages: leave out the oldest.")
        return events(server.sessions[name], server.settings, content)


class _Left:
    """Stands in the queue of events for a reader that has left."""


class _Answer:
    """The response of one text, which begins with the first event: only then its status is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.count = 0
        self._is_open = False

    async def add(self, item: dict[str, Any] | BaseException, scope: Scope, receive: Receive) -> None:
        """Send an event, or the error that ends the text."""
        if isinstance(item, BaseException):
            is_known = isinstance(item, (MinitransformersError, ImportError, TimeoutError))
            words = str(item) if is_known else f"{type(item).__name__}: {item}"
            if not is_known:
                log.error("a text has failed", exc_info=item)
            if not self._is_open:
                status = 503 if isinstance(item, TimeoutError) else 400 if is_known else 500
                await _error(status, words)(scope, receive, self._send)
                return
            item = {"error": words}
        if not self._is_open:
            kinds = {"Content-Type": "text/event-stream", **HEADERS}
            headers = [(name.lower().encode(), value.encode()) for name, value in kinds.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            self._is_open = True
        self.count += 1
        body = f"data: {json.dumps(item)}\n\n".encode()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """Send the end, where there was a beginning."""
        if self._is_open:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
