"""Publisher: the part of the `Trainer` that uploads models and checkpoints to a hub.

TrainingArguments("my-model", push_to_hub=True, …)   # uploads each checkpoint too, in the background
trainer.push_to_hub(dataset="imdb")                  # uploads the current model, with a model card
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minitransformers.errors import HubError
from minitransformers.files.pushing import Destination, files_below
from minitransformers.training.loop.checkpoint_directories import TRAINING
from minitransformers.training.loop.distributed import rank
from minitransformers.training.trainer.arguments import HubStrategy, TrainingArguments

logger = logging.getLogger(__name__)


class Publisher:
    """Uploads directories to the hub, one after the other, from the main process.

    Attributes:
        repo_id: the full name of the repository; None before it is created.
    """

    def __init__(self, args: TrainingArguments) -> None:
        self.args = args
        self.repo_id: str | None = None
        self._destination: Destination
        self._pushes: tuple[Future[None], ...] = ()
        self._executor: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """The name of the repository: `hub_model_id`, or the name of `output_dir`."""
        return self.args.hub_model_id or self.args.output_path.absolute().name

    def create_repository(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository if it does not exist; arguments take precedence over `args`."""
        if rank() == 0:
            self._destination = Destination(
                self.name,
                self.args.hub_private_repo if private is None else private,
                self.args.hub_token if token is None else token,
                self.args.hub_revision,
            ).make()
            self.repo_id = self._destination.repo_id

    def push_output_dir(self, message: str, token: str | None = None, revision: str | None = None) -> Future[Any]:
        """Upload `output_dir` without its checkpoints, in the background; the result is the commit."""
        self.finish()
        place = self._destination
        place = Destination(
            place.repo_id, place.private, place.token if token is None else token, revision or place.revision
        )
        output_dir = self.args.output_path
        files = [name for name in files_below(output_dir) if not name.startswith(("_", ".", "checkpoint-"))]
        return self._in_background(lambda: place.upload(output_dir, message, files=files))

    def takes_checkpoint(self) -> bool:
        """Whether `hub_strategy` requires an upload of the newest checkpoint, and no earlier upload is in progress."""
        args = self.args
        if not args.push_to_hub or rank() != 0 or args.hub_strategy == HubStrategy.END:
            return False
        return args.hub_always_push or all(push.done() for push in self._pushes)

    def push_checkpoint(self, directory: Path, message: str) -> None:
        """Upload a checkpoint in the background, as `hub_strategy` says."""
        strategy, place = self.args.hub_strategy, self._destination
        # Older checkpoints are removed during the upload, so it reads from hard links.
        links = self.args.output_path / f".push-{directory.name}"
        shutil.rmtree(links, ignore_errors=True)  # left by a run that was killed
        shutil.copytree(directory, links, copy_function=_link)
        files = list(files_below(links))
        files_of_model = [name for name in files if not name.startswith((f"{TRAINING}/", "trainer_state"))]

        def push() -> None:
            try:
                place.upload(links, message, files=files_of_model)
                if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
                    into = "last-checkpoint" if strategy == HubStrategy.CHECKPOINT else directory.name
                    place.upload(links, f"{message}, checkpoint", files=files, into=into)
            finally:
                shutil.rmtree(links)

        self._pushes = (*self._pushes, self._in_background(push))

    def finish(self) -> None:
        """Wait for the uploads of checkpoints; a failed one gives a warning."""
        pushes, self._pushes = self._pushes, ()
        for push in pushes:
            try:
                push.result()
            except HubError as error:
                logger.warning("A checkpoint was not pushed. %s", error)

    def _in_background(self, work: Callable[[], Any]) -> Future[Any]:
        """Start the work after all earlier work, because each commit is based on the previous one."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="push")
        return self._executor.submit(work)


def _link(source: str, target: str) -> None:
    """Link a file of a checkpoint. Such files are replaced, never overwritten, so a link keeps the content."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
