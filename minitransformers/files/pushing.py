"""Giving files to a model hub: `push_to_hub` of models, configurations, tokenizers and image processors.

    model.push_to_hub("my-model")
    tokenizer.save_pretrained("directory", push_to_hub=True, repo_id="my-model")

The repository is made, if there is none, before anything is written, so that a missing token is told at once; then all
files become one commit. `huggingface_hub` is imported when something is pushed; it knows the token that `hf auth login`
stored, and honours HF_ENDPOINT and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from minitransformers.errors import HubError, InputError, UnknownArgumentError, nearest, warn
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import one_line


@dataclass(frozen=True)
class Destination:
    """A repository of a hub, as one to write to.

    Args:
        repo_id: "name", which is yours, or "owner/name".
        private: whether nobody else sees it, where it is made now; None is what its owner has set.
        token: one with write access; True or None: the one that `hf auth login` stored.
        revision: the branch, `main` unless given; made if there is none.
        create_pr: propose the commit to the repository's owner, who merges it.
    """

    repo_id: str
    private: bool | None = None
    token: str | bool | None = field(default=None, repr=False)
    revision: str | None = None
    create_pr: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.repo_id, str) or not self.repo_id:
            raise InputError(f"repo_id must be 'name' or 'owner/name', not {self.repo_id!r}.")

    def make(self) -> Destination:
        """The repository by its full name, which it has from now on.

        Raises:
            InputError: no repository can have this name.
            HubError: the hub does not answer, or does not allow it.
        """
        from huggingface_hub import HfApi

        with self._told("make the repository"):
            made = HfApi().create_repo(self.repo_id, private=self.private, token=self.token, exist_ok=True).repo_id
            if self.revision is not None and not self.revision.startswith("refs/pr"):
                HfApi().create_branch(made, branch=self.revision, token=self.token, exist_ok=True)
        return Destination(made, self.private, self.token, self.revision, self.create_pr)

    def upload(
        self,
        directory: Path,
        commit_message: str,
        *,
        files: Iterable[str],
        into: str = "",
        commit_description: str | None = None,
    ) -> Any:
        """Make one commit of a directory's files: all of them arrive, or none.

        Args:
            files: their paths below the directory, and in the repository.
            into: a folder of the repository for them.

        Returns:
            The commit, as `huggingface_hub` describes it.

        Raises:
            HubError: the hub does not answer, or does not allow it.
        """
        from huggingface_hub import CommitOperationAdd, HfApi

        with self._told("upload to the repository"):
            added = [CommitOperationAdd(str(PurePosixPath(into, name)), directory / name) for name in files]
            return HfApi().create_commit(
                self.repo_id,
                added,
                commit_message=commit_message,
                commit_description=commit_description,
                token=self.token,
                revision=self.revision,
                create_pr=self.create_pr,
            )

    def card(self, tags: Sequence[str]) -> str | None:
        """README.md with these tags: what it is to be, or None where it is so already."""
        from huggingface_hub import ModelCard, ModelCardData
        from huggingface_hub.errors import EntryNotFoundError

        with self._told("read README.md of the repository"):
            try:
                card: Any = ModelCard.load(self.repo_id, token=self.token)  # type: ignore[arg-type]  # it takes True
            except EntryNotFoundError:
                about: Any = ModelCardData(library_name="transformers", tags=list(tags) or None)
                name = self.repo_id.rpartition("/")[2]
                return f"---\n{about.to_yaml()}\n---\n\n# {name}\n\nSaved by minitransformers.\n"
        present = card.data.tags or []
        card.data.tags = [*present, *(tag for tag in tags if tag not in present)]
        return str(card) if card.data.tags != present else None

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """An error of the hub, or on the way there, becomes one that says what to do."""
        from huggingface_hub.errors import HFValidationError

        try:
            yield
        except HFValidationError as error:
            raise InputError(f"repo_id={self.repo_id!r} is no name of a repository: {one_line(error)}") from error
        except Exception as error:  # whatever the network has in store
            raise HubError(f"Cannot {what} {self.repo_id!r}: {_cause(error)}") from error


class PushToHub:
    """What can be given to a hub: a class that has `save_pretrained`, with `_pushing` around its writing."""

    _pushed_as: ClassVar[str] = "model"

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = "50GB",
        tags: str | list[str] | None = None,
        **unknown: Any,
    ) -> Any:
        """Save it in a repository of a hub, from where `from_pretrained(repo_id)` loads it.

        Args:
            repo_id: "name", which is yours, or "owner/name"; the repository is made if there is none.
            commit_message, commit_description: what the repository's history says of it.
            private: whether nobody else sees the repository, where it is made now.
            token: one with write access; True or None: the one that `hf auth login` stored.
            revision: the branch, `main` unless given; made if there is none.
            create_pr: propose the commit to the repository's owner, who merges it.
            max_shard_size: of a model: larger checkpoints are split.
            tags: are added to those that the repository's README.md has, and so are those of `model.add_model_tags`.

        Returns:
            The commit, as `huggingface_hub` describes it.

        Raises:
            InputError: no repository can have this name.
            HubError: the hub does not answer, or does not allow it.
        """
        for name in unknown:
            known = inspect.signature(PushToHub.push_to_hub).parameters
            raise UnknownArgumentError(f"push_to_hub() has no argument {name!r}.{nearest(name, known)}")
        save: Any = self.save_pretrained  # type: ignore[attr-defined]  # which each class has
        shards = {"max_shard_size": max_shard_size} if "max_shard_size" in inspect.signature(save).parameters else {}
        destination = Destination(repo_id, private, token, revision, create_pr).make()
        given = [tags] if isinstance(tags, str) else tags or ()
        card = destination.card([*given, *(getattr(self, "model_tags", None) or ())])
        with tempfile.TemporaryDirectory() as directory:
            save(directory, **shards)
            if card is not None:
                write_text(Path(directory, "README.md"), card)
            message = commit_message or f"Upload {self._pushed_as}"
            files = files_below(Path(directory))
            return destination.upload(Path(directory), message, files=files, commit_description=commit_description)

    @contextmanager
    def _pushing(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool, options: dict[str, Any]
    ) -> Iterator[None]:
        """Within it, `save_pretrained` writes its files; at its end they are pushed, and no others of the directory.

        Args:
            options: of `push_to_hub`, without `tags`; `repo_id` is by default the directory's name.
        """
        for name in options:
            if name not in OPTIONS:
                own = inspect.signature(self.save_pretrained).parameters  # type: ignore[attr-defined]
                near = nearest(name, [*own, *OPTIONS])
                raise UnknownArgumentError(f"{type(self).__name__}.save_pretrained() has no argument {name!r}.{near}")
        if not push_to_hub:
            idle = [name for name, value in options.items() if value]
            if idle:
                warn(f"{', '.join(idle)} has no effect without push_to_hub=True.")
            yield
            return
        directory, options = Path(save_directory), dict(options)
        message = options.pop("commit_message", None) or f"Upload {self._pushed_as}"
        description, repo_id = options.pop("commit_description", None), options.pop("repo_id", None)
        destination = Destination(repo_id or directory.absolute().name, **options).make()
        before = files_below(directory)
        yield
        written = [name for name, state in files_below(directory).items() if before.get(name) != state]
        destination.upload(directory, message, files=written, commit_description=description)


OPTIONS = ("repo_id", "commit_message", "commit_description", "private", "token", "revision", "create_pr")


def files_below(directory: Path) -> dict[str, tuple[int, int]]:
    """The files of a directory and its folders, each with what changes when it is written anew."""
    states = {path: path.stat() for path in sorted(directory.rglob("*")) if path.is_file()}
    return {path.relative_to(directory).as_posix(): (at.st_ino, at.st_mtime_ns) for path, at in states.items()}


def _cause(error: Exception) -> str:
    """What went wrong, and what to do."""
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE=1 forbids it; unset that variable."
    if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        return "it needs to know who you are. Run `hf auth login`, or pass token= with a token that has write access."
    if status == 403:
        return (
            f"the token does not allow it ({one_line(error)}). Pass token= with write access there, or the name of a "
            f"repository of your own; create_pr=True proposes a change to somebody else's."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision."
    return (
        f"{type(error).__name__}: {one_line(error).rstrip('.')}. Try again; or save it to a directory, which "
        f"`hf upload` gives to the hub later."
    )
