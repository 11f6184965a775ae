"""Where files come from: directories, a prepared cache, a hub on 127.0.0.1, and no hub at all."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer

from minitransformers.errors import InputError, MissingFileError
from minitransformers.files.hub import Source

# ---------------------------------------------------------------------------------------------------- directories


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "onnx" / "model.onnx").write_text("x")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


def test_directory_gives_what_it_has(directory: Path) -> None:
    source = Source(str(directory))
    assert source.find("config.json") == source.file("config.json") == directory / "config.json"
    assert source.find("onnx/model.onnx") == directory / "onnx" / "model.onnx"
    assert source.find("absent.json") is None
    assert source.find("onnx") is None, "a folder is no file"
    assert Source(str(directory), subfolder="onnx").file("model.onnx") == directory / "onnx" / "model.onnx"
    assert Source(str(directory), subfolder="absent").find("model.onnx") is None


def test_path_objects_are_taken(directory: Path) -> None:
    source = Source(directory)
    assert source.name == source.name_or_path == str(directory)
    assert source.file("config.json") == directory / "config.json"
    assert source == Source(str(directory))
    assert hash(source) == hash(Source(str(directory)))


def test_missing_file_names_source_file_and_what_is_there(directory: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        Source(str(directory)).file("vocab.txt")
    for part in ("vocab.txt", str(directory), "config.json", "onnx/"):
        assert part in str(caught.value)
    with pytest.raises(MissingFileError, match=r"subfolder 'onx'.*no such subfolder.*onnx/"):
        Source(str(directory), subfolder="onx").file("vocab.txt")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)


def test_long_listings_are_cut(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}").touch()
    with pytest.raises(MissingFileError, match=r"19, … \(50 in all\)"):
        Source(str(tmp_path)).file("config.json")


def test_existing_directory_wins_over_a_hub_name(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory.parent)
    assert Source("model").file("config.json") == Path("model/config.json")


def test_home_is_expanded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(directory.parent))
    monkeypatch.setenv("USERPROFILE", str(directory.parent))
    assert Source("~/model").file("config.json") == directory / "config.json"
    assert Source("~/model") == Source(directory)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./absent", "There is no directory './absent'"),
        ("../absent", "There is no directory '../absent'"),
        ("/absent/model", "There is no directory '/absent/model'"),
        ("~/absent-model", "There is no directory '.+/absent-model'"),
        ("~nobody-of-this-name/model", "There is no directory"),
        ("a/b/c", "There is no directory 'a/b/c'"),
        ("owner/name/", "There is no directory 'owner/name/'"),
        ("https://hub.example/owner/name", "is an address"),
        ("two words", "cannot be the name of a repository"),
        ("owner/name--x", "cannot be the name of a repository"),
        ("nul\0byte", "cannot be the name of a repository"),
        ("x" * 5000, "cannot be the name of a repository"),
        ("/" + "x/" * 3000, "There is no directory"),
    ],
)
def test_names_that_are_no_repository_are_not_looked_up(name: str, message: str) -> None:
    for method in ("find", "file"):
        with pytest.raises(MissingFileError, match=message):
            getattr(Source(name, local_files_only=True), method)("config.json")
    str(Source(name))  # describing it is no error


def test_near_miss_of_a_directory_is_suggested(directory: Path) -> None:
    with pytest.raises(MissingFileError, match="Did you mean 'model'"):
        Source(str(directory.parent / "modle")).find("config.json")


def test_file_in_place_of_a_directory(directory: Path) -> None:
    with pytest.raises(MissingFileError, match=r"config\.json' is a file; pass the directory that holds it, .*model'"):
        Source(str(directory / "config.json")).find("config.json")


CLIMBING = ["../secret.txt", "onnx/../../secret.txt", "..", ".", "", "/etc/passwd", "con\0fig"]
CLIMBING += ["..\\secret.txt", "C:\\x", "C:x", "\\x", "//host/x", "\\\\host\\x"]


@pytest.mark.parametrize("name", CLIMBING)
def test_no_name_climbs_out(directory: Path, name: str) -> None:
    for source in (Source(str(directory)), Source("owner/name", local_files_only=True)):
        with pytest.raises(InputError, match="filename must be a path below"):
            source.find(name)
        with pytest.raises(InputError, match="filename must be a path below"):
            source.file(name)
    if name:
        with pytest.raises(InputError, match="subfolder must be a path below"):
            Source(str(directory), subfolder=name)
    with pytest.raises(InputError, match="revision must be a path below"):
        Source(str(directory), revision=name)


def test_contradicting_arguments() -> None:
    with pytest.raises(InputError, match="contradict"):
        Source("owner/name", local_files_only=True, force_download=True)


def test_copies_are_equal_and_learn_on_their_own(directory: Path) -> None:
    source = Source(str(directory))
    assert pickle.loads(pickle.dumps(source)) == source
    assert dataclasses.replace(source, subfolder="onnx").file("model.onnx").is_file()


def test_no_description_shows_the_token() -> None:
    source = Source("owner/name", token="sesame")
    assert "sesame" not in f"{source!r} {source}"


# --------------------------------------------------------------------------------------------- a prepared cache

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """What huggingface_hub leaves behind: blobs, snapshots of links to them, refs, records of absent files."""
    repository = tmp_path / "cache" / "models--owner--name"
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}/sub", f"snapshots/{OTHER}", f".no_exist/{COMMIT}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for commit, file, blob in [(COMMIT, "config.json", "1"), (OTHER, "config.json", "2"), (COMMIT, "sub/x", "3")]:
        (repository / "blobs" / blob).write_text(f"content {blob}")
        link = repository / "snapshots" / commit / file
        link.symlink_to(os.path.relpath(repository / "blobs" / blob, link.parent))
    (repository / ".no_exist" / COMMIT / "absent.json").touch()
    return tmp_path / "cache"


def test_prepared_cache_is_read_without_a_hub(cache: Path) -> None:
    source = Source("owner/name", cache_dir=cache, local_files_only=True)
    assert source.file("config.json").read_text() == "content 1"
    assert source.find("vocab.txt") is None
    assert source.file("sub/x").read_text() == "content 3"
    assert Source("owner/name", cache_dir=str(cache), local_files_only=True, subfolder="sub").file("x").is_file()
    with pytest.raises(MissingFileError, match=r"no 'vocab\.txt' in the repository 'owner/name' at.*local_files_only"):
        source.file("vocab.txt")


def test_prepared_cache_by_commit(cache: Path) -> None:
    other = Source("owner/name", cache_dir=cache, revision=OTHER, local_files_only=True)
    assert other.file("config.json").read_text() == "content 2"
    # A commit never changes, so that neither what is cached nor what is known to be absent is asked for again; this
    # would need a hub otherwise.
    known = Source("owner/name", cache_dir=cache, revision=COMMIT)
    assert known.file("config.json").read_text() == "content 1"
    assert known.find("absent.json") is None


def test_cache_moving_on_during_a_load_changes_nothing(cache: Path) -> None:
    source = Source("owner/name", cache_dir=cache, local_files_only=True)
    assert source.file("config.json").read_text() == "content 1"
    (cache / "models--owner--name" / "refs" / "main").write_text(OTHER)
    assert source.find("sub/x") is not None
    assert Source("owner/name", cache_dir=cache, local_files_only=True).file("config.json").read_text() == "content 2"


@pytest.mark.parametrize(("name", "revision"), [("owner/absent", None), ("owner/name", "v9"), ("owner/name", "c" * 40)])
def test_nothing_cached_says_what_to_do(cache: Path, name: str, revision: str | None) -> None:
    with pytest.raises(MissingFileError) as caught:
        Source(name, cache_dir=cache, revision=revision, local_files_only=True).find("config.json")
    for part in (name, revision or "main", "config.json", str(cache), "local_files_only=True", "pass the directory"):
        assert part in str(caught.value)


# ------------------------------------------------------------------------------------ hubs, seen by child processes

# huggingface_hub reads its environment when it is imported, so that each environment needs a process of its own. It
# answers one line of JSON (the arguments of a source, the calls on it) with another (what each call gave).
CHILD = """
import json, sys
from minitransformers.errors import MinitransformersError
from minitransformers.files.hub import Source

for line in sys.stdin:
    arguments, calls = json.loads(line)
    source, answers = None, []
    for method, filename in calls:
        try:
            source = source or Source(**arguments)
            path = getattr(source, method)(filename)
            answers.append(None if path is None else {"path": str(path), "hex": path.read_bytes().hex()})
        except MinitransformersError as error:
            answers.append({"error": str(error), "kind": type(error).__name__})
    print(json.dumps(answers), flush=True)
"""


class Child:
    """A process with its own environment that asks sources for files."""

    def __init__(self, home: Path, **environment: str) -> None:
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        keep = {key: value for key, value in keep.items() if not key.lower().endswith("_proxy")}
        root = str(Path(__file__).parents[1])
        quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env={**keep, **quiet, "HF_HOME": str(home), "PYTHONPATH": root, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, calls: list[tuple[str, str]], **arguments: Any) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([arguments, calls]) + "\n")
        self.process.stdin.flush()
        answers: list[Any] = json.loads(self.process.stdout.readline())
        for answer in answers:
            if isinstance(answer, dict) and "hex" in answer:
                answer["bytes"] = bytes.fromhex(answer.pop("hex"))
        return answers

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server
        assert len(server.requests) < 120, "a retry loop hides in a passing test"


def _child(tmp_path_factory: pytest.TempPathFactory, **environment: str) -> Iterator[Child]:
    child = Child(tmp_path_factory.mktemp("home"), **environment)
    yield child
    child.close()


@pytest.fixture(scope="module")
def online(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    yield from _child(tmp_path_factory, HF_ENDPOINT=hub.url)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Nothing listens where this one's hub should be: the port is taken, and never listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield from _child(tmp_path_factory, HF_ENDPOINT=f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """This one's hub accepts connections, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield from _child(tmp_path_factory, HF_ENDPOINT=endpoint, HF_HUB_ETAG_TIMEOUT="1")


@pytest.fixture(scope="module")
def offline(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    yield from _child(tmp_path_factory, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")


@pytest.mark.parametrize("name", [None, "", 3, ["owner/name"]])
def test_names_of_another_type(offline: Child, name: Any) -> None:
    (answer,) = offline.ask([("find", "config.json")], name_or_path=name)
    assert answer["kind"] == "InputError"
    assert "name_or_path must be" in answer["error"]
    assert repr(name) in answer["error"]


WEIGHTS = bytes(range(256)) * 1000
FILES = {"config.json": b"{}", "weights.bin": WEIGHTS, "sub/x.json": b"[1]"}


def test_hub_files_absences_and_folders(hub: HubServer, online: Child, tmp_path: Path) -> None:
    hub.add("owner/plain", dict(FILES), large={"weights.bin"})
    calls = [("find", "vocab.txt"), ("file", "config.json"), ("file", "weights.bin"), ("file", "sub/x.json")]
    answers = online.ask(calls, name_or_path="owner/plain", cache_dir=str(tmp_path))
    assert answers[0] is None
    assert [answer["bytes"] for answer in answers[1:]] == [b"{}", WEIGHTS, b"[1]"]
    assert all(hub.commit_id("owner/plain", 0) in answer["path"] for answer in answers[1:])
    (answer,) = online.ask([("file", "x.json")], name_or_path="owner/plain", cache_dir=str(tmp_path), subfolder="sub")
    assert answer["bytes"] == b"[1]"


def test_hub_names_what_is_missing(hub: HubServer, online: Child, tmp_path: Path) -> None:
    hub.add("owner/lacking", dict(FILES))
    (answer,) = online.ask([("file", "vocab.txt")], name_or_path="owner/lacking", cache_dir=str(tmp_path))
    for part in ("'vocab.txt'", "'owner/lacking'", "'main'", f"{hub.url}/owner/lacking/tree/main"):
        assert part in answer["error"]


def test_hub_is_asked_once_for_each_file(hub: HubServer, online: Child, tmp_path: Path) -> None:
    hub.add("owner/once", dict(FILES))
    calls = [("find", "config.json"), ("file", "config.json"), ("find", "a"), ("find", "b"), ("find", "a")]
    online.ask(calls, name_or_path="owner/once", cache_dir=str(tmp_path))
    asked = hub.asked_for("owner/once")
    # The first file is asked for twice: once to see whether there is a hub.
    assert asked == {("HEAD", "config.json"): 2, ("GET", "config.json"): 1, ("HEAD", "a"): 1, ("HEAD", "b"): 1}
    online.ask(calls, name_or_path="owner/once", cache_dir=str(tmp_path))
    again = hub.asked_for("owner/once") - asked
    # Two to see where `main` is now; what that commit has, and has not, is cached.
    assert again == {("HEAD", "config.json"): 2}


def test_hub_moving_on_during_a_load_changes_nothing(hub: HubServer, online: Child, tmp_path: Path) -> None:
    old, new = (dict.fromkeys(["config.json", "weights.bin"], content) for content in (b"old", b"new"))
    repository = hub.add("owner/moving", old)
    repository.before_serving["config.json"] = lambda: hub.push("owner/moving", new)
    calls = [("file", "config.json"), ("file", "weights.bin")]
    for content in (b"old", b"new"):
        answers = online.ask(calls, name_or_path="owner/moving", cache_dir=str(tmp_path))
        assert [answer["bytes"] for answer in answers] == [content, content]


def test_hub_revisions(hub: HubServer, online: Child, tmp_path: Path) -> None:
    repository = hub.add("owner/tags", {"config.json": b"first"})
    repository.branches["v1"] = first = hub.commit_id("owner/tags", 0)
    hub.push("owner/tags", {"config.json": b"second"})
    for revision, content in [(None, b"second"), ("main", b"second"), ("v1", b"first"), (first, b"first")]:
        (answer,) = online.ask(
            [("file", "config.json")], name_or_path="owner/tags", cache_dir=str(tmp_path), revision=revision
        )
        assert answer["bytes"] == content
    (answer,) = online.ask([("find", "config.json")], name_or_path="owner/tags", revision="v9")
    for part in ("owner/tags", "'v9'", "config.json", "no such revision"):
        assert part in answer["error"]


def test_hub_without_the_repository(hub: HubServer, online: Child) -> None:
    for token in (None, "sesame"):
        for answer in online.ask([("find", "x.json"), ("file", "x.json")], name_or_path="owner/nowhere", token=token):
            for part in ("owner/nowhere", "x.json", "spelling", "no directory of that name", "hf auth login"):
                assert part in answer["error"]


def test_hub_with_a_private_and_a_gated_repository(hub: HubServer, online: Child, tmp_path: Path) -> None:
    hub.add("owner/private", dict(FILES), token="sesame")
    hub.add("owner/gated", dict(FILES), gated=True)

    def ask(name: str, token: str | bool | None) -> Any:
        return online.ask([("find", "config.json")], name_or_path=name, token=token, cache_dir=str(tmp_path))[0]

    assert "none that you may read" in ask("owner/private", None)["error"]
    assert "Invalid credentials" in ask("owner/private", "wrong")["error"]
    assert "pass a valid token=" in ask("owner/private", "wrong")["error"]
    assert "hf auth login" in ask("owner/private", True)["error"], "no token is stored"
    assert ask("owner/private", "sesame")["bytes"] == b"{}"
    for token in (None, "sesame"):
        assert f"gated. Ask for access at {hub.url}/owner/gated" in ask("owner/gated", token)["error"]


@pytest.mark.parametrize("mebibytes", [1, 12])
def test_hub_that_dies_mid_file_once(hub: HubServer, online: Child, tmp_path: Path, mebibytes: int) -> None:
    name, weights = f"owner/dies{mebibytes}", WEIGHTS[: 1 << 14] * (mebibytes << 6)
    cut = len(weights) * 15 // 16
    repository = hub.add(name, {"weights.bin": weights}, large={"weights.bin"}, close_after={"weights.bin": cut})
    (answer,) = online.ask([("file", "weights.bin")], name_or_path=name, cache_dir=str(tmp_path))
    assert answer["bytes"] == weights
    assert not repository.close_after
    fetched = [request for request in hub.requests if request.method == "GET" and f"/{name}/" in request.path]
    assert len(fetched) == 2
    # huggingface_hub writes in pieces of 10 MiB, and goes on after the last whole one.
    assert (fetched[1].range is not None) == (mebibytes > 10), "a big file was not begun again"


def test_hub_that_sends_half_a_file_leaves_none(hub: HubServer, online: Child, tmp_path: Path) -> None:
    repository = hub.add("owner/half", dict(FILES), serve_only={"weights.bin": 1000})
    calls = [("file", "config.json"), ("find", "weights.bin"), ("find", "weights.bin")]
    answers = online.ask(calls, name_or_path="owner/half", cache_dir=str(tmp_path))
    assert answers[0]["bytes"] == b"{}"
    for answer in answers[1:]:
        assert "'weights.bin' from the repository 'owner/half'" in answer["error"]
        assert f"size {len(WEIGHTS)} but has size 1000" in answer["error"]
    blobs = list((tmp_path / "models--owner--half" / "blobs").iterdir())
    assert [blob.read_bytes() for blob in blobs] == [b"{}"], "nothing half-written stays"
    # Without a hub the half file is not there either; with one that is well again, the whole one comes.
    (answer,) = online.ask(
        [("find", "weights.bin")], name_or_path="owner/half", cache_dir=str(tmp_path), local_files_only=True
    )
    assert answer is None
    repository.serve_only.clear()
    (answer,) = online.ask([("file", "weights.bin")], name_or_path="owner/half", cache_dir=str(tmp_path))
    assert answer["bytes"] == WEIGHTS


def test_force_download_fetches_each_file_once(hub: HubServer, online: Child, tmp_path: Path) -> None:
    hub.add("owner/forced", dict(FILES))
    arguments: dict[str, Any] = {"name_or_path": "owner/forced", "cache_dir": str(tmp_path)}
    calls = [("find", "config.json"), ("file", "config.json")]
    (first, _) = online.ask(calls, **arguments)
    Path(first["path"]).resolve().write_bytes(b"spoilt")
    assert online.ask(calls, **arguments)[0]["bytes"] == b"spoilt"
    assert online.ask(calls, **arguments, force_download=True)[1]["bytes"] == b"{}"
    assert hub.asked_for("owner/forced")["GET", "config.json"] == 2


def test_hub_that_is_ill(hub: HubServer, online: Child, tmp_path: Path) -> None:
    repository = hub.add("owner/ill", dict(FILES))
    calls = [("file", "config.json"), ("find", "optional.json"), ("find", "vocab.txt")]
    # A server error goes away at the next attempt but one, before huggingface_hub waits for the first time.
    repository.failures = 2
    answers = online.ask(calls[:2], name_or_path="owner/ill", cache_dir=str(tmp_path))
    assert answers[0]["bytes"] == b"{}"
    assert answers[1] is None
    # It stays: the cache is used, and the hub is not asked again.
    repository.failures = 100
    before = hub.asked_for("owner/ill")
    answers = online.ask(calls, name_or_path="owner/ill", cache_dir=str(tmp_path))
    assert answers[0]["bytes"] == b"{}"
    assert answers[1:] == [None, None]
    assert (hub.asked_for("owner/ill") - before).total() == 1
    # A hub behind a wall that forbids everything, and nothing cached.
    repository.failures, repository.failing_status = 100, 403
    (answer,) = online.ask([("find", "config.json")], name_or_path="owner/ill", cache_dir=str(tmp_path / "empty"))
    for part in ("owner/ill", "config.json", "403 Forbidden", "pass the directory"):
        assert part in answer["error"]


REASONS = {"refused": "ConnectError", "silent": "ReadTimeout", "offline": "OfflineModeIsEnabled"}


@pytest.mark.parametrize("kind", REASONS)
def test_without_a_hub(
    hub: HubServer, online: Child, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    name = f"owner/{kind}"
    hub.add(name, dict(FILES))
    online.ask([("file", "config.json"), ("file", "weights.bin")], name_or_path=name, cache_dir=str(tmp_path))
    asked = len(hub.requests)
    child: Child = request.getfixturevalue(kind)
    calls = [("find", "optional.json"), ("file", "weights.bin"), ("file", "config.json"), ("file", "vocab.txt")]
    answers = child.ask(calls, name_or_path=name, cache_dir=str(tmp_path))
    assert answers[0] is None
    assert [answer["bytes"] for answer in answers[1:3]] == [WEIGHTS, b"{}"]
    reason = REASONS[kind]
    for part in (name, "vocab.txt", "'main'", reason, "pass the directory"):
        assert part in answers[3]["error"]
    answers = child.ask([("find", "config.json")] * 3, name_or_path=name, cache_dir=str(tmp_path / "empty"))
    for answer in answers:
        for part in (name, "config.json", reason, str(tmp_path / "empty"), "pass the directory"):
            assert part in answer["error"]
    (answer,) = child.ask([("find", "config.json")], name_or_path=name, cache_dir=str(tmp_path), force_download=True)
    for part in (name, "config.json", reason, "Leave out force_download=True"):
        assert part in answer["error"]
    assert len(hub.requests) == asked
