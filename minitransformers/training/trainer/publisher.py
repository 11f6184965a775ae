"""Publisher: the part of the `Trainer` that gives a model to a hub, with what is known of how it was trained.

TrainingArguments("my-model", push_to_hub=True, …)   # and each checkpoint is pushed, in the background
trainer.push_to_hub(dataset="imdb")                  # the model as it is now, with a card
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minitransformers.errors import HubError
from minitransformers.files.atomic import write_text
from minitransformers.files.pushing import Destination, files_below
from minitransformers.training.loop.checkpoint_directories import TRAINING
from minitransformers.training.loop.distributed import rank
from minitransformers.training.trainer.arguments import HubStrategy, SaveStrategy
from minitransformers.training.trainer.evaluator import Evaluator
from minitransformers.training.trainer.model_card import model_card

logger = logging.getLogger(__name__)

CARD = "README.md"


class Publisher(Evaluator):
    """Gives models and checkpoints to a hub. See `Trainer`, which is made of it."""

    hub_model_id: str | None = None  # the repository's full name, once it is made
    _destination: Destination
    _pushes: tuple[Future[None], ...] = ()
    _executor: ThreadPoolExecutor | None = None

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository of `hub_model_id`, if there is none."""
        args = self.args
        if rank() == 0:
            self._destination = Destination(
                args.hub_model_id or self._output_dir.absolute().name,
                args.hub_private_repo if private is None else private,
                args.hub_token if token is None else token,
                args.hub_revision,
            ).make()
            self.hub_model_id = self._destination.repo_id

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write README.md in `output_dir`: data, settings and metrics of the run so far.

        Args:
            language, license: of the model, as the hub writes them: "en", "mit".
            tags: what the hub finds it by; those that README.md has are kept.
            model_name: its title; by default the repository's or the directory's name.
            finetuned_from: the model it began with; by default what its weights were loaded from, if that was a hub.
            tasks: what it does, as the hub names it: "text-classification".
            dataset_tags: the data as the hub names them.
            dataset, dataset_args: the data as people name them, and which part.
        """
        if rank() != 0:
            return
        path = self._output_dir / CARD
        origin = getattr(getattr(self.model, "config", None), "name_or_path", "")
        data = " and ".join(_as_list(dataset or dataset_tags))
        if dataset_args:
            data += f" ({', '.join(_as_list(dataset_args))})"
        model_card_tags = _as_list(tags)
        if path.exists():
            from huggingface_hub import ModelCard

            present = ModelCard.load(path).data.tags or []
            model_card_tags += [tag for tag in present if tag not in model_card_tags]
        text = model_card(
            self,
            name=model_name or (self.args.hub_model_id or self._output_dir.absolute().name).rpartition("/")[2],
            tags=model_card_tags,
            finetuned_from=finetuned_from or (None if not origin or Path(origin).is_dir() else origin),
            data=data,
            language=_as_list(language) or None,
            license=license,
            pipeline_tag=next(iter(_as_list(tasks)), None),
            datasets=_as_list(dataset_tags) or None,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model, write its card, and give `output_dir` without its checkpoints to the hub.

        Args:
            commit_message: what the repository's history says of it.
            blocking: wait until it is done; otherwise go on, and give the commit as a `Future`.
            token, revision, private: in place of what the arguments say.
            kwargs: of `create_model_card`.

        Returns:
            The commit; on other processes than the first nothing.

        Raises:
            HubError: the hub does not answer, or does not allow it.
        """
        self.tell("on_push_begin")
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)  # type: ignore[attr-defined]  # the Trainer's
        if rank() != 0:
            return None
        self.create_model_card(**kwargs)
        self.finish_pushes()
        place = self._destination
        place = Destination(
            place.repo_id, place.private, place.token if token is None else token, revision or place.revision
        )
        message = commit_message or "End of training"
        files = [name for name in files_below(self._output_dir) if not name.startswith(("_", ".", "checkpoint-"))]
        push = self._in_background(lambda: place.upload(self._output_dir, message, files=files))
        return push.result() if blocking else push

    def push_checkpoint(self, directory: Path) -> None:
        """Give a checkpoint that was written to the hub, in the background, as `hub_strategy` says."""
        args, strategy = self.args, self.args.hub_strategy
        if not args.push_to_hub or rank() != 0 or strategy == HubStrategy.END:
            return
        if not args.hub_always_push and not all(push.done() for push in self._pushes):
            return
        self.tell("on_push_begin")
        when = f"step {self.state.global_step}"
        if args.save_strategy != SaveStrategy.STEPS:
            when = f"epoch {int(self.state.epoch)}"
        message, place = f"Training in progress, {when}", self._destination
        # Older checkpoints are removed while this one is on its way: it is pushed from links of its own.
        links = self._output_dir / f".push-{directory.name}"
        shutil.rmtree(links, ignore_errors=True)  # of a run that was killed
        shutil.copytree(directory, links, copy_function=_link)
        files = list(files_below(links))
        of_the_model = [name for name in files if not name.startswith((f"{TRAINING}/", "trainer_state"))]

        def push() -> None:
            try:
                place.upload(links, message, files=of_the_model)
                if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
                    into = "last-checkpoint" if strategy == HubStrategy.CHECKPOINT else directory.name
                    place.upload(links, f"{message}, checkpoint", files=files, into=into)
            finally:
                shutil.rmtree(links)

        self._pushes = (*self._pushes, self._in_background(push))

    def finish_pushes(self) -> None:
        """Wait for checkpoints that are on their way; of one that did not arrive there is a warning."""
        pushes, self._pushes = self._pushes, ()
        for push in pushes:
            try:
                push.result()
            except HubError as error:
                logger.warning("A checkpoint was not pushed. %s", error)

    @property
    def _output_dir(self) -> Path:
        return Path(self.args.output_dir or "")

    def _in_background(self, work: Any) -> Future[Any]:
        """One after the other: each commit is made on top of the last one."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="push")
        return self._executor.submit(work)


def _as_list(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _link(source: str, target: str) -> None:
    """Files of a checkpoint are replaced, never written over: a link keeps what they are."""
    try:
        os.link(source, target)
    except OSError:  # no links on this file system
        shutil.copy2(source, target)
