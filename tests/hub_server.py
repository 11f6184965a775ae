"""A model hub on 127.0.0.1: the end points that downloading files from a hub uses, and ways for them to fail.

`HEAD` and `GET /{owner}/{name}/resolve/{revision}/{file}`, with ETag, X-Repo-Commit and, for the files that a real hub
keeps in large-file storage, X-Linked-ETag, X-Linked-Size and a redirect; ranges; the hub's error codes.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """What the hub knows of one repository; the fields after `gated` are what happens to it, or goes wrong with it."""

    commits: dict[str, dict[str, bytes]]  # commit -> file name -> bytes
    branches: dict[str, str]  # branch or tag -> commit
    large: set[str] = field(default_factory=set)  # served through a redirect, as from large-file storage
    token: str | None = None  # the one that reads it, where it is not public
    gated: bool = False  # the token is known, and its owner has not been let in
    failures: int = 0  # so many requests are answered with `failing_status`
    failing_status: int = 503
    before_serving: dict[str, Callable[[], object]] = field(default_factory=dict)  # file -> called when it is fetched
    close_after: dict[str, int] = field(default_factory=dict)  # file -> bytes sent before the connection closes, once
    serve_only: dict[str, int] = field(default_factory=dict)  # file -> bytes that a GET has, though HEAD promises all


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    token: str | None


class HubServer:
    """Serves `repositories` while its `with` block lasts; `requests` lists what was asked."""

    LIMIT = 500

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        outer = self

        class Handler(_Handler):
            hub = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name: str, files: dict[str, bytes], **options: object) -> Repository:
        """A repository whose branch `main` has one commit with `files`."""
        commit = self.commit_id(name, 0)
        repository = Repository({commit: files}, {"main": commit}, **options)  # type: ignore[arg-type]
        self.repositories[name] = repository
        return repository

    def push(self, name: str, files: dict[str, bytes]) -> str:
        """A further commit, which `main` then is."""
        repository = self.repositories[name]
        commit = self.commit_id(name, len(repository.commits))
        repository.commits[commit] = files
        repository.branches["main"] = commit
        return commit

    @staticmethod
    def commit_id(name: str, number: int) -> str:
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def asked_for(self, name: str) -> Counter[tuple[str, str]]:
        """How often each (method, file) of a repository was asked for, the ends of redirects included."""
        pattern = re.compile(rf"/(?:store/)?{re.escape(name)}/(?:resolve/)?[^/]+/(.*)")
        return Counter((r.method, m[1]) for r in self.requests if (m := pattern.fullmatch(r.path)))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range"), token))
        if len(self.hub.requests) > HubServer.LIMIT:
            return self._refuse(500, None, "more requests than any test should need")
        if match := re.fullmatch(r"/store/([^/]+/[^/]+)/([^/]+)/(.*)", path):
            repository = self.hub.repositories[match[1]]
            return self._send(repository, match[2], match[3])
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path)
        repository = self.hub.repositories.get(match[1]) if match else None
        if match is None or repository is None:
            return self._refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if repository.failures > 0:
            repository.failures -= 1
            return self._refuse(repository.failing_status, None, "the hub is not well")
        if repository.token is not None and token != repository.token:
            if token is not None:
                return self._refuse(401, None, "Invalid credentials in Authorization header")
            if not repository.gated:
                return self._refuse(401, "RepoNotFound", "Repository not found")
        if repository.gated:
            return self._refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
        _, name, revision, file = match[0], match[1], match[2], match[3]
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if file not in repository.commits[commit]:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        if file in repository.large:
            body = repository.commits[commit][file]
            headers = {
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(body)),
                "X-Linked-ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                "ETag": '"of-the-pointer-and-not-of-the-file"',
                "Location": f"{self.hub.url}/store/{name}/{commit}/{file}",
                "Content-Length": "0",
            }
            return self._head(302, headers)
        return self._send(repository, commit, file)

    def _send(self, repository: Repository, commit: str, file: str) -> None:
        body = repository.commits[commit][file]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(body).hexdigest()}"', "Accept-Ranges": "bytes"}
        if self.command == "GET" and file in repository.serve_only:
            body = body[: repository.serve_only[file]]
        status = 200
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(asked[1])
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command == "HEAD":
            return
        if file in repository.before_serving:
            repository.before_serving.pop(file)()
        if file in repository.close_after:
            self.wfile.write(body[: repository.close_after.pop(file)])
            self.close_connection = True
            return
        self.wfile.write(body)

    def _refuse(self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None) -> None:
        named = {"X-Error-Code": code} if code else {}
        self._head(status, {**(headers or {}), **named, "X-Error-Message": message, "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
