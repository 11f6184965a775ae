"""Where files come from: a directory, or a repository of a model hub.

Nothing here knows what is in a file. `huggingface_hub` is imported only when a hub is asked; it keeps what it downloads
in a cache and honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE.
"""

# ruff: noqa: PTH111, PTH112, PTH113 (os.path's functions, unlike Path's methods, never raise, whatever the name)

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from os.path import expanduser, isdir, isfile
from pathlib import Path, PureWindowsPath

from minitransformers.errors import InputError, MissingFileError, nearest

_ELSEWHERE = "Or download the files on a machine that reaches the hub, and pass the directory that holds them."


@dataclass
class _Learned:
    """What a source finds out while it is used, so that it asks for each thing once."""

    files: dict[str, Path | None] = field(default_factory=dict)
    commit: str | None = None  # once the first file has named it, every file of this source is from this commit
    asked: bool = False
    unreachable: str | None = None  # why, where no hub answered


@dataclass(frozen=True)
class Source:
    """A directory, or a repository of a hub, from which files are taken by name.

    Args:
        name_or_path: a directory (a string or any path object), or a hub's `name` or `owner/name`. An existing
            directory wins; what is written as a path (`./x`, `/x`, `~/x`, `a/b/c`) is never looked up in a hub.
        cache_dir: where downloads are kept; huggingface_hub's own place unless given.
        revision: a branch, tag or commit of the repository, `main` unless given.
        subfolder: a folder inside the directory or repository.
        local_files_only: use only what is in the cache already.
        token: for private and gated repositories; True or None: the one that `hf auth login` stored.
        force_download: fetch again what is cached already.

    Raises:
        InputError: an argument that cannot be meant, or a name that climbs out of the directory (`../x`).
        MissingFileError: no such directory, repository or revision, or no way to reach it.
    """

    name_or_path: str | os.PathLike[str]
    cache_dir: str | os.PathLike[str] | None = None
    revision: str | None = None
    subfolder: str = ""
    local_files_only: bool = False
    token: str | bool | None = field(default=None, repr=False)
    force_download: bool = False
    _learned: _Learned = field(default_factory=_Learned, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name: object = self.name_or_path
        name = os.fspath(name) if isinstance(name, os.PathLike) else name
        if not isinstance(name, str) or not name:
            raise InputError(f"name_or_path must be a directory or the name of a hub's repository, got {name!r}.")
        if self.local_files_only and self.force_download:
            raise InputError("local_files_only=True and force_download=True contradict each other; pass only one.")
        object.__setattr__(self, "name_or_path", expanduser(name))
        if self.subfolder:
            _relative("subfolder", self.subfolder)
        if self.revision is not None:
            _relative("revision", self.revision)  # it names a file of the cache
            if re.fullmatch("[0-9a-f]{40}", self.revision):
                self._learned.commit = self.revision

    @property
    def name(self) -> str:
        """`name_or_path` as text, a leading ~ replaced by the home directory."""
        return os.fspath(self.name_or_path)

    def find(self, filename: str) -> Path | None:
        """The path of a file, downloaded where necessary; None where the directory or repository has no such file."""
        name = _relative("filename", f"{self.subfolder}/{filename}" if self.subfolder else filename)
        directory = self._directory()
        if directory is not None:
            return directory / name if isfile(directory / name) else None
        self._check_repository_name()
        if name not in self._learned.files:
            self._learned.files[name] = self._from_hub(name)
        return self._learned.files[name]

    def file(self, filename: str) -> Path:
        """The path of a file, downloaded where necessary; MissingFileError where there is no such file."""
        path = self.find(filename)
        if path is None:
            raise MissingFileError(f"There is no {filename!r} in {self}. {self.contents()}")
        return path

    def contents(self) -> str:
        """The end of an error message about a missing file: what is there instead, or where to look."""
        directory = self._directory()
        if directory is None:
            if self.local_files_only or self._learned.unreachable is not None:
                return f"Load it once with a connection to the hub. {_ELSEWHERE}"
            return f"Its files are listed at {self._page()}/tree/{self.revision or 'main'}."
        directory = directory / self.subfolder
        if not isdir(directory):
            return f"There is no such subfolder; it has {_listing(self._directory() or directory)}."
        return f"It has {_listing(directory)}."

    def __str__(self) -> str:
        inside = f", subfolder {self.subfolder!r}" if self.subfolder else ""
        if self._directory() is not None:
            return f"the directory {self.name!r}{inside}"
        state = ""
        if self.local_files_only:
            state = " (only its cached files: local_files_only=True)"
        elif self._learned.unreachable is not None:
            state = f" (only its cached files: the hub does not answer, {self._learned.unreachable})"
        return f"the repository {self.name!r}{inside} at revision {self.revision or 'main'!r}{state}"

    def _directory(self) -> Path | None:
        """The directory, or None where there is none of that name."""
        return Path(self.name) if isdir(self.name) else None

    def _check_repository_name(self) -> None:
        """MissingFileError where `name_or_path`, which is no directory, cannot be the name of a repository either."""
        from huggingface_hub.utils import HFValidationError, validate_repo_id

        name, path = self.name, Path(self.name)
        if isfile(path):
            raise MissingFileError(f"{name!r} is a file; pass the directory that holds it, {str(path.parent)!r}.")
        if "://" in name:
            raise MissingFileError(f"{name!r} is an address; pass the name of the repository alone, 'owner/name'.")
        if name.startswith((".", "/", "~")) or name.count("/") > 1 or (os.sep == "\\" and "\\" in name):
            siblings = [entry.name for entry in path.parent.iterdir()] if isdir(path.parent) else []
            raise MissingFileError(f"There is no directory {name!r}.{nearest(path.name, siblings)}")
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise MissingFileError(
                f"There is no directory {name!r}, and it cannot be the name of a repository: {one_line(error)}"
            ) from error

    def _from_hub(self, name: str) -> Path | None:
        if self._learned.commit is not None and not self.force_download:
            # A commit never changes: what the cache knows of it is final.
            snapshot, absent = self._cached(self._learned.commit)
            if isfile(snapshot / name):
                return snapshot / name
            if isfile(absent / name):
                return None
        if self.local_files_only or not self._hub_answers(name):
            return self._from_cache(name)
        return self._download(name)

    def _cached(self, revision: str) -> tuple[Path, Path]:
        """Where the cache keeps the files of a revision, and its records of files that the revision has not."""
        from huggingface_hub.constants import HF_HUB_CACHE

        cache = Path(self.cache_dir if self.cache_dir is not None else HF_HUB_CACHE).expanduser()
        repository = cache / f"models--{self.name.replace('/', '--')}"
        reference = repository / "refs" / revision
        commit = reference.read_text(encoding="utf-8").strip() if isfile(reference) else revision
        return repository / "snapshots" / commit, repository / ".no_exist" / commit

    def _hub_answers(self, name: str) -> bool:
        """Whether the hub can be asked: found out once, by one request.

        A download repeats a request that fails, for half a minute and more, and would for every file. That is right
        when a connection breaks, and wrong when there is none.
        """
        from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

        learned, revision = self._learned, self._learned.commit or self.revision or "main"
        if not learned.asked:
            learned.asked = True
            try:
                get_hf_file_metadata(hf_hub_url(self.name, name, revision=revision), token=self.token)
            except (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
                pass  # These are answers: the download hears them again, and there it is told what they mean.
            except Exception as error:  # names that do not resolve, no route, proxies, certificates, time-outs …
                # A hub that answers, but is busy or does not know the token, is worth asking again for want of a cache.
                again = isinstance(error, (errors.HfHubHTTPError, errors.LocalTokenNotFoundError))
                if not again or isdir(self._cached(revision)[0]):
                    learned.unreachable = f"{type(error).__name__}: {one_line(error)}"
        return learned.unreachable is None

    def _from_cache(self, name: str) -> Path | None:
        snapshot, _ = self._cached(self._learned.commit or self.revision or "main")
        if self.force_download:
            raise MissingFileError(f"Cannot fetch {name!r} again from {self}. Leave out force_download=True.")
        if not isdir(snapshot):
            raise MissingFileError(
                f"Cannot get {name!r} from {self}: nothing of it is cached in {str(snapshot.parents[2])!r}. "
                f"{self.contents()}"
            )
        self._learned.commit = snapshot.name
        return snapshot / name if isfile(snapshot / name) else None

    def _download(self, name: str) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RemoteEntryNotFoundError

        try:
            path = hf_hub_download(
                self.name,
                name,
                revision=self._learned.commit or self.revision,
                cache_dir=None if self.cache_dir is None else Path(self.cache_dir),
                token=self.token,
                force_download=self.force_download,
            )
        except RemoteEntryNotFoundError as error:
            self._learned.commit = self._learned.commit or error.response.headers.get("X-Repo-Commit")
            return None
        except Exception as error:
            raise MissingFileError(f"Cannot get {name!r} from {self}: {self._cause(error)}") from error
        # …/snapshots/<commit>/<name>, where the name may have folders of its own
        self._learned.commit = Path(path).parents[name.count("/")].name
        return Path(path)

    def _cause(self, error: Exception) -> str:
        """What went wrong with a download, and what to do."""
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            return f"it is gated. Ask for access at {self._page()}, then run `hf auth login` or pass token=."
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there is no {self._page()}, or none that you may read, and no directory of that name here. "
                "Check the spelling; for a private repository run `hf auth login` or pass token=."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"there is no such revision; {self._page()}/commits lists them."
        if isinstance(error, errors.LocalTokenNotFoundError) or (
            isinstance(error, errors.HfHubHTTPError) and error.response.status_code == 401
        ):
            return f"{one_line(error)} Run `hf auth login` or pass a valid token=."
        # huggingface_hub wraps what happened in "cannot find the requested files" and "force download failed".
        wrapped = error.__cause__ if isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) else None
        return f"{type(wrapped or error).__name__}: {one_line(wrapped or error).rstrip('.')}. Try again. {_ELSEWHERE}"

    def _page(self) -> str:
        from huggingface_hub.constants import ENDPOINT

        return f"{ENDPOINT}/{self.name}"


def _relative(argument: str, name: str) -> str:
    """`name` as a relative path with forward slashes; InputError where it would leave the directory.

    Windows' rules refuse what POSIX' rules refuse and more (backslashes, drives), and saved files travel.
    """
    path = PureWindowsPath(name)
    if path.anchor or not path.parts or ".." in path.parts or "\0" in name:
        raise InputError(f"{argument} must be a path below the directory or repository, without '..', got {name!r}.")
    return path.as_posix()


def _listing(directory: Path) -> str:
    """The first twenty names in a directory."""
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in directory.iterdir())
    return ", ".join(names[:20] + ([f"… ({len(names)} in all)"] if len(names) > 20 else [])) or "no files"


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file of that name; False also for names that no file can have, which `Path.is_file` raises."""
    return isfile(path)


def one_line(error: BaseException) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
