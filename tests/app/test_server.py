"""The page's server, over HTTP: what it streams are the model's numbers, and what is wrong is said in words."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_session import tiny_model

from minitransformers import cli
from minitransformers.app import events, listening, server as servers
from minitransformers.app.examples import EXAMPLES
from minitransformers.app.hosts import Hosts
from minitransformers.app.server import AppServer, Limits
from minitransformers.app.session import Session
from minitransformers.app.settings import FIELDS
from minitransformers.app.tokens import Change

GREEDY = {"strategy": "greedy", "max_new_tokens": "8"}


@pytest.fixture
def server(session: Session) -> Iterator[AppServer]:
    with AppServer(session) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: AppServer, path: str) -> tuple[Any, bytes]:
    with urllib.request.urlopen(server.url + path) as response:
        return response.headers, response.read()


def post(server: AppServer, body: Any, kind: str = "application/json", path: str = "generate") -> list[dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, content, {"Content-Type": kind})
    with urllib.request.urlopen(request) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        return [json.loads(event.removeprefix("data: ")) for event in response.read().decode().split("\n\n")[:-1]]


def refused(server: AppServer, *arguments: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(server, *arguments, **named)
    with caught.value as response:
        return response.code, json.load(response)["error"]


def tokens_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the page shows in the end."""
    shown: list[dict[str, Any]] = []
    for event in events:
        if "keep" in event:
            shown = shown[: event["keep"]] + event["tokens"]
    return shown


# ---- the page and what it offers -------------------------------------------------------------------------------------


def test_the_page_loads_nothing_from_elsewhere(server: AppServer) -> None:
    headers, page = get(server, "")
    text = page.decode()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"//.*", "", text)) == []
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:)", text) == []


def test_every_field_of_the_page_has_a_label(server: AppServer) -> None:
    text = get(server, "")[1].decode()
    fields = re.findall(r"<(?:textarea|select)[^>]*id=\"([\w-]+)\"", text)
    assert set(fields) == {"models", "template", "system", "prompt"}
    assert set(re.findall(r"<label for=\"([\w-]+)\"", text)) >= set(fields)


def test_info(server: AppServer) -> None:
    info = json.loads(get(server, "info")[1])
    assert (info["model"], info["random"], info["positions"], info["strategy"]) == ("tiny", False, 256, "sample")
    assert list(info["strategies"]) == ["greedy", "sample", "beam", "lookup"]  # there is no draft model
    assert [field["name"] for field in info["fields"]] == [field.name for field in FIELDS]
    assert info["examples"] == EXAMPLES


def test_elsewhere_is_nothing(server: AppServer) -> None:
    for path in ("page.html", "../server.py", "%2e%2e/server.py"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(server, path)
    with pytest.raises(urllib.error.HTTPError, match="405"):
        get(server, "generate")
    assert refused(server, {}, path="info") == (405, "/info takes no POST.")


# ---- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"strategy": "greedy"}, {"strategy": "beam", "num_beams": "3"}])
def test_the_numbers_of_the_page_are_the_models(server: AppServer, session: Session, settings: dict[str, str]) -> None:
    events = post(server, {"prompt": "To be", "settings": {**settings, "max_new_tokens": "8"}})
    prompt = session.encode("To be")
    beams = {"num_beams": int(settings["num_beams"])} if "num_beams" in settings else {}
    (ids,) = session.model.generate(torch.tensor([prompt]), max_new_tokens=8, **beams).tolist()
    with torch.no_grad():
        probabilities = session.model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].softmax(-1)
    shown = tokens_of(events)
    assert [token["id"] for token in shown] == ids[len(prompt) :]
    assert "".join(token["text"] for token in shown) == session.tokenizer.decode(ids[len(prompt) :])
    for token, row in zip(shown, probabilities, strict=True):
        assert token["probability"] == pytest.approx(row[token["id"]].item(), rel=1e-3)
        best = row.topk(6)
        assert [other["id"] for other in token["alternatives"]] == best.indices.tolist()
        found = [other["probability"] for other in token["alternatives"]]
        assert found == pytest.approx(best.values.tolist(), rel=1e-3)
    assert events[0] == {"forgotten": 0}
    assert events[-1]["done"]["tokens"] == 8
    assert events[-1]["done"]["seed"] is None


def test_tokens_come_one_by_one(server: AppServer) -> None:
    events = post(server, {"prompt": "To be", "settings": GREEDY})
    assert [len(event["tokens"]) for event in events if "keep" in event][:8] == [1] * 8


def test_the_seed_is_told_and_draws_the_same_again(server: AppServer) -> None:
    settings = {"strategy": "sample", "max_new_tokens": "10", "seed": ""}
    first = post(server, {"prompt": "To be", "settings": settings})
    again = post(server, {"prompt": "To be", "settings": {**settings, "seed": str(first[-1]["done"]["seed"])}})
    assert tokens_of(again) == tokens_of(first)


def test_a_text_can_go_on_from_any_token(server: AppServer) -> None:
    whole = tokens_of(post(server, {"prompt": "To be", "settings": GREEDY}))
    ids = [token["id"] for token in whole]
    rest = post(server, {"prompt": "To be", "ids": ids[:3], "settings": {**GREEDY, "max_new_tokens": "5"}})
    assert [token["id"] for token in tokens_of(rest)] == ids[3:]


def test_a_chat(server: AppServer, session: Session) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    events = post(server, {"messages": messages, "settings": GREEDY})
    prompt = session.encode("Be brief.\n\nUser: Hi\nAssistant:")
    (ids,) = session.model.generate(torch.tensor([prompt]), max_new_tokens=8).tolist()
    assert [token["id"] for token in tokens_of(events)] == ids[len(prompt) :]


def test_a_long_chat_loses_its_oldest_turns(server: AppServer) -> None:
    turn = [{"role": "user", "content": "x" * 80}, {"role": "assistant", "content": "y" * 20}]
    events = post(server, {"messages": [*turn, *turn, turn[0]], "settings": GREEDY})
    assert events[0] == {"forgotten": 2}
    assert events[-1]["done"]["tokens"] == 8


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[]", "must be a JSON object"),
        ({"prompt": 5}, "prompt must be a string, got 5"),
        ({"prompt": "x" * 300}, "The prompt has 300 tokens"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"messages": "Hi"}, "messages must be an array, got 'Hi'"),
        ({"messages": ["Hi"]}, "A message must be an object of strings, got 'Hi'"),
        ({"messages": [{"role": "user", "content": 3}]}, "A message must be an object of strings"),
        ({"messages": [{"role": "user"}]}, "A message must be {'role'"),
        ({"messages": [{"role": "pirate", "content": "Ahoy"}]}, "the role 'pirate'"),
        ({"messages": []}, "no message of the user"),
        ({"prompt": "Hi", "ids": [257]}, "ids must be whole numbers from 0 to 256"),
        ({"prompt": "Hi", "ids": ["a"]}, "ids must be whole numbers"),
        ({"prompt": "Hi", "ids": 3}, "ids must be an array"),
        ({"prompt": "Hi", "settings": []}, "settings must be an object"),
        ({"prompt": "Hi", "settings": {"temperature": "0"}}, "at each step, use strategy greedy."),
        ({"prompt": "Hi", "settings": {"temperature": "1e999"}}, "temperature must be a number from 0.01 to 100"),
        ({"prompt": "Hi", "settings": {"temperature": "nan"}}, "temperature must be a number"),
        ({"prompt": "Hi", "settings": {"temperature": [1]}}, "temperature must be a number"),
        ({"prompt": "Hi", "settings": {"top_p": "1.5"}}, "top_p must be"),
        ({"prompt": "Hi", "settings": {"max_new_tokens": "500"}}, "Use max_new_tokens 255 or a shorter prompt."),
        (
            {"prompt": "Hi", "settings": {"temprature": 1}},
            "no setting 'temprature'. Did you mean 'temperature'?",
        ),
        ({"prompt": "Hi", "settings": {"strategy": "best"}}, "There is no strategy 'best'"),
        ({"prompt": "Hi", "settings": {"strategy": ["beam"]}}, "There is no strategy ['beam']"),
        ({"prompt": "Hi", "settings": {"seed": "123456789012345678901234567890"}}, "seed must be a whole number"),
        ({"prompt": "Hi", "settings": {"strategy": "beam", "num_beams": 10**9}}, "num_beams must be"),
    ],
)
def test_what_is_wrong_is_said(server: AppServer, body: Any, words: str) -> None:
    status, message = refused(server, body)
    assert status == 400
    assert words in message
    assert len(post(server, {"prompt": "To be", "settings": GREEDY})) > 8  # and it goes on


def test_other_types_and_lengths_are_refused(server: AppServer) -> None:
    assert refused(server, {"prompt": "Hi"}, kind="text/plain") == (
        400,
        "The request must have the type application/json.",
    )
    for length, status in (("-1", b"400"), ("x", b"400"), ("99999999999", b"413"), ("9" * 30, b"400"), ("", b"400")):
        with socket.create_connection(server.server_address[:2]) as connection:
            head = "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
            assert status in connection.makefile("rb").readline()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:9000"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 421),
        ({"Host": "localhost.rebound.example"}, 421),
        ({"Host": "192.168.1.2"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "localhost", "Origin": "http://other.example"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:9000"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused(
    server: AppServer, method: str, headers: dict[str, str], status: int
) -> None:
    """A site that points its own name at this machine (DNS rebinding) gets nothing."""
    connection = http.client.HTTPConnection(*server.server_address[:2])
    body = json.dumps({"prompt": "To be", "settings": GREEDY}) if method == "POST" else None
    path = {"GET": "/info", "POST": "/generate"}[method]
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    assert answer.status == status
    assert ("tiny" in content or '"done"' in content) == (status == 200)
    if status != 200:
        words = {421: "does not answer to the name", 403: "The page of another site"}[status]
        assert words in json.loads(content)["error"]


def test_the_names_that_host_opens() -> None:
    machine = socket.gethostname()
    given = Hosts("my-box")
    assert [given.allows(name) for name in ("my-box", "localhost", "192.168.1.2", "other")] == [
        True,
        True,
        False,
        False,
    ]
    assert given.url(80) == "http://my-box:80/"
    for host in ("0.0.0.0", "::", ""):
        opened = Hosts(host)
        names = ("192.168.1.2", "fe80::1", machine, f"{machine}.local", "localhost", "rebound.example")
        assert [opened.allows(name) for name in names] == [True] * 5 + [False]
        assert opened.url_for_others(80) == f"http://{machine.lower()}:80/"
    assert Hosts("0.0.0.0").url(80) == "http://127.0.0.1:80/"
    assert Hosts("::1").url(80) == "http://[::1]:80/"
    assert Hosts("127.0.0.1").url_for_others(80) is None


def test_an_ipv6_address(session: Session) -> None:
    with AppServer(session, host="::1") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert json.loads(get(server, "info")[1])["model"] == "tiny"
        finally:
            server.shutdown()
            thread.join()


def test_a_failure_in_the_middle_reaches_the_page(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Iterator[Change]:
        yield Change(0, ())
        raise RuntimeError("out of memory")

    monkeypatch.setattr(events, "displayed", fails)
    assert post(server, {"prompt": "Hi"})[-1] == {"error": "RuntimeError: out of memory"}


def test_a_reader_that_leaves_ends_its_text(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def endless(*_: Any, **__: Any) -> Iterator[Change]:
        try:
            while True:
                yield Change(0, ())
        finally:
            ended.set()

    monkeypatch.setattr(events, "displayed", endless)
    body = json.dumps({"prompt": "Hi"}).encode()
    request = urllib.request.Request(server.url + "generate", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert response.readline().startswith(b"data: ")
        assert not ended.is_set()
    assert ended.wait(timeout=30)


def test_several_readers_at_once(server: AppServer) -> None:
    """Each gets its own text."""
    prompts = ["To be", "Or not", "That is"]
    alone = [tokens_of(post(server, {"prompt": prompt, "settings": GREEDY})) for prompt in prompts]
    together: list[Any] = [None] * len(prompts)

    def ask(index: int) -> None:
        together[index] = tokens_of(post(server, {"prompt": prompts[index], "settings": GREEDY}))

    threads = [threading.Thread(target=ask, args=[index]) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


# ---- limits ----------------------------------------------------------------------------------------------------------


@contextmanager
def serving(session: Session | dict[str, Session], **limits: Any) -> Iterator[AppServer]:
    with AppServer(session, limits=Limits(**limits)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def patient(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Texts begin, and go on when the event is set."""
    go_on = threading.Event()

    def waits(*_: Any, **__: Any) -> Iterator[Change]:
        while not go_on.wait(0.01):
            yield Change(0, ())

    monkeypatch.setattr(events, "displayed", waits)
    return go_on


def in_background(server: AppServer, number: int) -> tuple[list[threading.Thread], list[Any]]:
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(post(server, {"prompt": "Hi"})[-1])
        except urllib.error.HTTPError as error:
            with error:
                answers.append((error.code, error.headers["Retry-After"], json.load(error)["error"]))

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, answers


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_is_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = patient(monkeypatch)
    with serving(session, running=1, waiting=2) as server:
        threads, answers = in_background(server, 3)
        until(lambda: (server.work.running, server.work.waiting) == (1, 2))
        health = json.loads(get(server, "health")[1])
        assert {name: health[name] for name in ("status", "running", "waiting", "models")} == {
            "status": "ok",
            "running": 1,
            "waiting": 2,
            "models": ["tiny"],
        }
        refused_threads, refusals = in_background(server, 1)
        refused_threads[0].join()
        ((status, retry, words),) = refusals
        assert (status, words) == (503, f"Too many texts are waiting already; try again in about {retry} s.")
        assert 1 <= int(retry) <= 120
        go_on.set()
        for thread in threads:
            thread.join()
        assert ["done" in answer for answer in answers] == [True] * 3  # those that waited have theirs
        assert (server.work.running, server.work.waiting) == (0, 0)


def test_a_reader_that_leaves_the_queue_makes_room(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = patient(monkeypatch)
    with serving(session, running=1, waiting=1) as server:
        threads, answers = in_background(server, 1)
        until(lambda: server.work.running == 1)
        leaving = http.client.HTTPConnection(*server.server_address[:2])
        leaving.request("POST", "/generate", b'{"prompt": "Hi"}', {"Content-Type": "application/json"})
        until(lambda: server.work.waiting == 1)
        leaving.close()
        until(lambda: server.work.waiting == 0)
        more_threads, more_answers = in_background(server, 1)
        until(lambda: server.work.waiting == 1)
        go_on.set()
        for thread in (*threads, *more_threads):
            thread.join()
        assert "done" in answers[0]
        assert "done" in more_answers[0]


def test_a_text_that_takes_too_long_is_ended(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch)
    with serving(session, seconds=0.3) as server:
        assert post(server, {"prompt": "Hi"})[-1]["error"] == (
            "The text was not finished within 0.3 s: ask for a shorter one."
        )
        until(lambda: server.work.running == 0)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: localh", b"POST /generate HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_requests_that_do_not_come_are_given_up(session: Session, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(listening, "REQUEST_SECONDS", 0.2)
    with serving(session) as server, socket.create_connection(server.server_address[:2]) as slow:
        slow.sendall(sent)
        assert b"408" in slow.makefile("rb").readline()


def test_a_body_that_does_not_come_is_given_up(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REQUEST_SECONDS", 0.2)
    head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with serving(session) as server, socket.create_connection(server.server_address[:2]) as slow:
        slow.sendall(head + b'{"prompt"')
        assert b"408" in slow.makefile("rb").readline()


def test_long_requests_and_chats_are_refused(session: Session) -> None:
    turn = {"role": "user", "content": "x"}
    with serving(session, request_bytes=1000, messages=5) as server:
        assert refused(server, {"prompt": "x" * 2000}) == (413, "The request is too long: it may have 1,000 bytes.")
        chunked = http.client.HTTPConnection(*server.server_address[:2])
        chunked.request("POST", "/generate", iter([b"x" * 700] * 3), {"Content-Type": "application/json"})
        assert chunked.getresponse().status == 413
        chunked.close()
        assert refused(server, {"messages": [turn] * 6}) == (400, "A chat may have 5 messages: leave out the oldest.")


def test_several_models(session: Session) -> None:
    other = Session(tiny_model(seed=2), session.tokenizer, "other", is_random=True)
    with serving({"tiny": session, "other": other}) as server:
        info = json.loads(get(server, "info")[1])
        assert [(model["model"], model["random"]) for model in info["models"]] == [("tiny", False), ("other", True)]
        texts = {
            name: tokens_of(post(server, {"prompt": "To be", "settings": GREEDY, **({"model": name} if name else {})}))
            for name in ("", "tiny", "other")
        }
        assert texts[""] == texts["tiny"] != texts["other"]
        status, words = refused(server, {"prompt": "Hi", "model": "othr"})
        assert (status, words) == (400, "There is no model 'othr'; there are tiny, other. Did you mean 'other'?")


def test_a_template_that_fails_is_said(session: Session) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    for template, words in (("{{ raise_exception('no such role') }}", "no such role"), ("{% if %}", "can't be read")):
        session.tokenizer.chat_template = template
        with serving(session) as server:
            status, message = refused(server, chat)
            assert status == 400
            assert words in message


def test_requests_are_logged_as_json(server: AppServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="minitransformers.app.server")
    post(server, {"prompt": "Hi", "settings": GREEDY})
    until(lambda: bool(caplog.records))
    entry = json.loads(caplog.records[-1].getMessage())
    assert entry.pop("seconds") > 0
    assert entry.pop("events") >= 10  # of 8 tokens, the beginning and the end
    assert entry == {"method": "POST", "path": "/generate", "client": "127.0.0.1", "status": 200}


def test_a_crowd_is_answered(session: Session) -> None:
    """40 readers at once, of whom some vanish and some send nothing: all others get their text."""
    with serving(session, waiting=60) as server:
        idle = [socket.create_connection(server.server_address[:2]) for _ in range(4)]
        vanishing = [http.client.HTTPConnection(*server.server_address[:2]) for _ in range(4)]
        body = json.dumps({"prompt": "Hi", "settings": {**GREEDY, "max_new_tokens": "2"}}).encode()
        for connection in vanishing:
            connection.request("POST", "/generate", body, {"Content-Type": "application/json"})
            connection.close()
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(server, json.loads(body))[-1])) for _ in range(32)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer["done"]["tokens"] for answer in answers] == [2] * 32
        for connection in idle:
            connection.close()
        until(lambda: (server.work.running, server.work.waiting) == (0, 0))


def test_a_draft_model_is_offered(session: Session) -> None:
    session.draft = tiny_model(1)
    assert "assisted" in servers.info(session, servers.Settings())["strategies"]


def test_a_port_that_is_taken_is_said(directory: Any, server: AppServer, capsys: Any) -> None:
    port = str(server.server_address[1])
    assert cli.main(["app", "--model", str(directory), "--port", port]) == 1
    assert f"can be served at --host 127.0.0.1 --port {port}" in capsys.readouterr().err
    assert cli.main(["app", "--model", str(directory), "--port", "99999"]) == 1
    assert "--port 99999" in capsys.readouterr().err
