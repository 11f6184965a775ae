"""`push_to_hub` beside transformers': the same files in the same commits, of everything that can be pushed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from fake_hub import FakeHub, answer, replace_the_hub
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

import minitransformers
from minitransformers import HubError, InputError, UnknownArgumentError

BOTH = (transformers, minitransformers)
SIZES = {"vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return replace_the_hub(monkeypatch)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    return path


def thing(library: Any, kind: str, vocabulary: Path) -> Any:
    if kind == "model":
        torch.manual_seed(0)
        return library.GPT2LMHeadModel(library.GPT2Config(**SIZES, bos_token_id=1, eos_token_id=1))
    if kind == "config":
        return library.GPT2Config(**SIZES)
    if kind == "generation config":
        return library.GenerationConfig(max_new_tokens=3)
    if kind == "processor":
        return library.ViTImageProcessor(size={"height": 4, "width": 4})
    return library.BertTokenizer(str(vocabulary))


KINDS = ["model", "config", "generation config", "tokenizer", "processor"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"commit_message": "mine", "commit_description": "why", "private": True, "token": "hf_x", "revision": "dev"},
    {"create_pr": True, "tags": ["a", "b"], "revision": "refs/pr/1", "max_shard_size": "1KB"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "named", "request"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed(kind: str, options: dict[str, Any], vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice: the second time the repository is there."""
    hubs = []
    for library in BOTH:
        with monkeypatch.context() as patched:
            hub = replace_the_hub(patched)
            commit = [thing(library, kind, vocabulary).push_to_hub("some-name", **options) for _ in range(2)][-1]
            assert commit.commit_url == f"https://huggingface.co/me/some-name/commit/{2:040d}"
        hubs.append(hub)
    theirs, ours = (hub.repositories for hub in hubs)
    assert list(ours) == list(theirs) == ["me/some-name"]
    their, own = (repositories["me/some-name"] for repositories in (theirs, ours))
    assert own.options == their.options
    assert own.branches == their.branches
    for mine, other in zip(own.commits, their.commits, strict=True):
        assert (mine.message, mine.description, mine.branch) == (other.message, other.description, other.branch)
        assert (mine.token, mine.create_pr) == (other.token, other.create_pr)
    assert without_numbers(own.files) == without_numbers(their.files)
    assert ("-of-" in "".join(own.files)) == (kind == "model" and "max_shard_size" in options)
    assert json_of(own.files).keys() == json_of(their.files).keys()
    for readme in (own.files["README.md"].decode(), their.files["README.md"].decode()):
        assert all(f"\n- {tag}\n" in readme for tag in options.get("tags", ()))
    assert own.files["README.md"].startswith(b"---\nlibrary_name: transformers\n")
    assert b"Saved by minitransformers" in own.files["README.md"]


def without_numbers(files: dict[str, bytes]) -> set[str]:
    """Shards are cut in different places."""
    return {re.sub(r"-\d+-of-\d+", "", name) for name in files}


def json_of(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}


def test_what_is_pushed_loads(hub: FakeHub, vocabulary: Path, tmp_path: Path) -> None:
    """A repository's files, as a directory, in both libraries; in shards too."""
    model = thing(minitransformers, "model", vocabulary)
    model.push_to_hub("me/there", max_shard_size="2KB")
    thing(minitransformers, "tokenizer", vocabulary).push_to_hub("me/there")
    files = hub.repositories["me/there"].files
    assert "model.safetensors.index.json" in files
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for library in BOTH:
        loaded = library.GPT2LMHeadModel.from_pretrained(tmp_path)
        logits, expected = (each.eval()(torch.arange(5)[None]).logits.detach() for each in (loaded, model))
        np.testing.assert_allclose(logits, expected, atol=1e-6)
        assert library.AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="bert").vocab_size == 7


@pytest.mark.parametrize("library", BOTH, ids=["theirs", "ours"])
def test_tags_of_the_model_are_pushed(library: Any, vocabulary: Path, hub: FakeHub) -> None:
    model = thing(library, "model", vocabulary)
    model.add_model_tags(["one", "two"])
    model.push_to_hub("mine", tags=["three"])
    readme = hub.repositories["me/mine"].files["README.md"].decode()
    assert all(f"\n- {tag}\n" in readme for tag in ("one", "two", "three"))


def test_tags_are_added_to_the_card_that_is_there(hub: FakeHub) -> None:
    config = minitransformers.GPT2Config(**SIZES)
    config.push_to_hub("mine", tags=["one", "two"])
    card = hub.repositories["me/mine"].commits[0].files["README.md"]
    own = card.replace(b"Saved by", b"Written by hand, then saved by")
    hub.repositories["me/mine"].commits[0].files["README.md"] = own
    config.push_to_hub("mine", tags="three")
    assert hub.repositories["me/mine"].files["README.md"] == own.replace(b"- two\n", b"- two\n- three\n")
    config.push_to_hub("mine", tags=["three", "one"])
    config.push_to_hub("mine")
    assert ["README.md" in commit.files for commit in hub.repositories["me/mine"].commits] == [True, True, False, False]


# ---- save_pretrained(…, push_to_hub=True) ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_pushing(kind: str, hub: FakeHub, vocabulary: Path, tmp_path: Path) -> None:
    """The directory has what a plain save writes; what is written is pushed, and what else is there is not."""
    made, directory = thing(minitransformers, kind, vocabulary), tmp_path / "some" / "my-name"
    made.save_pretrained(directory, push_to_hub=True)
    (directory / "notes.txt").write_text("mine")
    made.save_pretrained(directory, push_to_hub=True, repo_id="you/other", commit_message="said", token="hf_y")
    made.save_pretrained(tmp_path / "plain")
    plain = {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    first, second = hub.repositories["me/my-name"], hub.repositories["you/other"]
    assert first.files == second.files == plain
    assert {path.name for path in directory.iterdir()} == {*plain, "notes.txt"}
    (commit,) = second.commits
    assert (commit.message, commit.token) == ("said", "hf_y")
    assert first.commits[0].message == f"Upload {kind.replace('generation ', '')}"


def test_files_that_did_not_change_are_pushed_too(hub: FakeHub, tmp_path: Path) -> None:
    """A repository gets all that was saved, though the directory had the same before."""
    config = minitransformers.GPT2Config(**SIZES)
    for _ in range(2):
        config.save_pretrained(tmp_path, push_to_hub=True, repo_id="mine")
    assert [list(commit.files) for commit in hub.repositories["me/mine"].commits] == [["config.json"]] * 2


def test_options_without_push_to_hub(hub: FakeHub, tmp_path: Path) -> None:
    config = minitransformers.GPT2Config(**SIZES)
    with pytest.warns(UserWarning, match="repo_id, token has no effect without push_to_hub=True"):
        config.save_pretrained(tmp_path, repo_id="mine", token="hf_x", private=None)
    assert hub.calls == []
    with pytest.raises(
        UnknownArgumentError, match=r"GPT2Config.save_pretrained\(\) .* 'repo_nam'. Did you mean 'repo_id'"
    ):
        config.save_pretrained(tmp_path, repo_nam="mine")
    with pytest.raises(UnknownArgumentError, match=r"push_to_hub\(\) .* 'comit_message'. Did you mean 'commit_m"):
        config.push_to_hub("mine", comit_message="x")
    assert hub.calls == []


# ---- errors ----------------------------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Exception, str]] = {
    "no token": (LocalTokenNotFoundError("Token is required"), "Run `hf auth login`, or pass token="),
    "bad token": (HfHubHTTPError("401 Client Error", response=answer(401)), "Run `hf auth login`, or pass token="),
    "of another": (HfHubHTTPError("403 Forbidden", response=answer(403)), "Pass token= with write access there, or"),
    "offline": (OfflineModeIsEnabled("…"), "HF_HUB_OFFLINE=1 forbids it; unset that variable"),
    "no network": (
        ConnectionError("Name or service\nnot known"),
        "ConnectionError: Name or service not known. Try again",
    ),
    "busy": (
        HfHubHTTPError("503 Service Unavailable", response=answer(503)),
        "503 Service Unavailable. Try again; or save",
    ),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("method", ["create_repo", "create_branch", "download", "create_commit"])
def test_errors_say_what_to_do(method: str, error: str, hub: FakeHub, tmp_path: Path, vocabulary: Path) -> None:
    """The directory is as it was, unless only the last step fails: then it has what was to be saved."""
    raised, advice = ERRORS[error]
    hub.failing[method] = raised
    model = thing(minitransformers, "model", vocabulary)
    what = {"download": "read README.md of", "create_commit": "upload to"}.get(method, "make")
    with pytest.raises(HubError) as caught:
        model.push_to_hub("you/mine", revision="dev")
    assert str(caught.value).startswith(f"Cannot {what} the repository 'you/mine': ")
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert not hub.repositories.get("you/mine") or not hub.repositories["you/mine"].commits
    if method != "download":
        with pytest.raises(HubError):
            model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="you/mine", revision="dev")
        assert (tmp_path / "saved").exists() == (method == "create_commit")


@pytest.mark.parametrize("name", ["", "a/b/c", "no spaces", "-x", "x..y"])
def test_names_that_no_repository_has(name: Any, hub: FakeHub, tmp_path: Path) -> None:
    config = minitransformers.GPT2Config(**SIZES)
    with pytest.raises(InputError, match=r"repo_id"):
        config.push_to_hub(name)
    assert hub.repositories == {}


def test_a_save_that_fails_pushes_nothing(hub: FakeHub, vocabulary: Path, tmp_path: Path) -> None:
    model = thing(minitransformers, "model", vocabulary)
    with pytest.raises(InputError, match="max_shard_size"):
        model.push_to_hub("mine", max_shard_size="large")
    with pytest.raises(InputError, match="max_shard_size"):
        model.save_pretrained(tmp_path / "x", push_to_hub=True, max_shard_size="large")
    assert "create_commit" not in hub.calls


def test_without_a_network(vocabulary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is replaced here: the real client, and no hub at that address."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    config = minitransformers.GPT2Config(**SIZES)
    with pytest.raises(HubError, match=r"^Cannot make the repository 'mine': \w+: .*Try again; or save it"):
        config.push_to_hub("mine", token="hf_x")
    with pytest.raises(HubError):
        config.save_pretrained(tmp_path / "new", push_to_hub=True, token="hf_x")
    assert not (tmp_path / "new").exists()
