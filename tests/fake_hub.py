"""A model hub in memory, in place of the methods of `huggingface_hub` that write to one or read a README.md.

Calls are bound to the signatures of the real methods, so that one that they would not take fails here too.
"""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, RepoUrl
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects, validate_repo_id

REAL = {name: inspect.signature(getattr(HfApi, name)) for name in ("create_repo", "create_branch", "create_commit")}


@dataclass
class Commit:
    message: str
    files: dict[str, bytes]
    branch: str | None
    description: str | None
    token: Any
    create_pr: Any


@dataclass
class Repository:
    options: dict[str, Any]
    commits: list[Commit] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        """What it has after all commits."""
        return {name: content for commit in self.commits for name, content in commit.files.items()}


@dataclass
class FakeHub:
    """Where "name" belongs to "me"; `failing` maps a method's name to what it raises."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    failing: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    before_commit: Callable[[], object] = lambda: None

    def called(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        bound = REAL[name].bind(*arguments, **options).arguments
        self.calls.append(name)
        validate_repo_id(bound["repo_id"])
        if name in self.failing:
            raise self.failing[name]
        return {key: value for key, value in bound.items() if key != "self"}

    def create_repo(self, *arguments: Any, **options: Any) -> RepoUrl:
        values = self.called("create_repo", arguments, options)
        name = values.pop("repo_id")
        assert values.pop("exist_ok") is True
        full = name if "/" in name else f"me/{name}"
        self.repositories.setdefault(full, Repository(values))
        return RepoUrl(f"https://huggingface.co/{full}")

    def create_branch(self, *arguments: Any, **options: Any) -> None:
        values = self.called("create_branch", arguments, options)
        assert values["exist_ok"] is True
        self.repositories[values["repo_id"]].branches.append(values["branch"])

    def create_commit(self, *arguments: Any, **options: Any) -> CommitInfo:
        self.before_commit()
        values = self.called("create_commit", arguments, options)
        repository = self.repositories[values["repo_id"]]
        files = {}
        for operation in values["operations"]:
            assert isinstance(operation, CommitOperationAdd)
            with operation.as_file() as opened:
                files[operation.path_in_repo] = opened.read()
        told = [values.get(name) for name in ("revision", "commit_description", "token", "create_pr")]
        repository.commits.append(Commit(values["commit_message"], files, *told))
        url = f"https://huggingface.co/{values['repo_id']}/commit/{len(repository.commits):040d}"
        return CommitInfo(commit_url=url, commit_message=values["commit_message"], commit_description="", oid="")

    def upload_folder(self, **options: Any) -> Any:
        """What transformers' Trainer calls, which is `create_commit` of the files that the patterns let through."""
        folder = Path(options.pop("folder_path"))
        paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        kept = filter_repo_objects(paths, ignore_patterns=options.pop("ignore_patterns", None))
        into = options.pop("path_in_repo", None)
        is_background = options.pop("run_as_future")
        added = [CommitOperationAdd(f"{into}/{name}" if into else name, folder / name) for name in kept]
        commit = self.create_commit(None, operations=added, **options)
        if not is_background:
            return commit
        future: Future[CommitInfo] = Future()
        future.set_result(commit)
        return future

    def download(self, name: str, filename: str, **options: Any) -> str:
        """README.md, for `ModelCard.load`."""
        self.calls.append("download")
        if "download" in self.failing:
            raise self.failing["download"]
        files = self.repositories[name].files
        if filename not in files:
            raise RemoteEntryNotFoundError("no such file", response=answer(404))
        path = Path(tempfile.mkdtemp()) / "README.md"
        path.write_bytes(files[filename])
        return str(path)


def answer(status: int) -> Any:
    """A response of the hub, as its errors carry it."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


def replace_the_hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub()
    for name in (*REAL, "upload_folder"):
        method = getattr(hub, name)
        monkeypatch.setattr(HfApi, name, functools.partialmethod(_without_own_self, method, name))
    monkeypatch.setattr(huggingface_hub.repocard, "hf_hub_download", hub.download)
    return hub


def _without_own_self(api: HfApi, method: Any, name: str, *arguments: Any, **options: Any) -> Any:
    return method(**options) if name == "upload_folder" else method(api, *arguments, **options)
