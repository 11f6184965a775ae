"""GET /attention: the page has the model's weights, and a wrong request is refused in words."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
import torch
from tiny_session import byte_tokenizer, tiny_model

from minitransformers.app import attention
from minitransformers.app.server import AppServer
from minitransformers.app.session import Session


@pytest.fixture(scope="module")
def server() -> Iterator[AppServer]:
    with AppServer(Session(tiny_model(), byte_tokenizer(), "tiny")) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: AppServer, **query: str) -> str:
    with urllib.request.urlopen(f"{server.url}attention?{urllib.parse.urlencode(query)}") as response:
        assert response.headers["Content-Type"].startswith("text/html")
        return str(response.read().decode())


def data_of(page: str) -> dict:
    found = re.search(r"<script[^>]*type=.application/json.[^>]*>(.*?)</script>", page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_weights_are_the_model_s(server: AppServer) -> None:
    (session,) = server.sessions.values()
    data = data_of(ask(server, prompt="To be", ids="65,66"))
    ids = [*session.encode("To be"), 65, 66]
    (group,) = data["groups"]
    assert group["queries"] == [session.tokenizer.decode([each]) for each in ids]
    expected = session.model(torch.tensor([ids]), output_attentions=True).attentions
    for layer, weights in zip(group["layers"], expected, strict=True):
        assert torch.allclose(torch.tensor(layer["weights"]), weights[0].float(), atol=1e-5)


def test_a_long_text_is_shown_from_its_end(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_NUMBERS", 2_000)
    page = ask(server, prompt="a long text " * 5)
    (group,) = data_of(page)["groups"]
    assert 1 <= len(group["queries"]) < 40
    assert f"the last {len(group['queries'])} of 60 tokens" in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"prompt": "a", "ids": "x"}, "ids must be numbers below"),
        ({"ids": "99999999999999999999"}, "ids must be numbers below"),
        ({"prompt": "a", "model": "other"}, "There is no model 'other'"),
        ({"promt": "a"}, "Did you mean 'prompt'"),
    ],
)
def test_wrong_requests(server: AppServer, query: dict[str, str], words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(server, **query)
    with caught.value as response:
        assert response.code == 400
        assert words in json.load(response)["error"]
