"""The Trainer's methods about a hub: its repository, the model's card, and pushing."""

from __future__ import annotations

from typing import Any

from minitransformers.training.loop.distributed import rank
from minitransformers.training.trainer.model_card import write_model_card
from minitransformers.training.trainer.parts import Parts


class TrainerHub(Parts):
    """Uploads of the model and its card; the work is that of `publisher`."""

    @property
    def hub_model_id(self) -> str | None:
        """The full name of the repository; None before it is created."""
        return self.publisher.repo_id

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository of `hub_model_id`, if it does not exist."""
        self.publisher.create_repository(token, private)

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
            tags: for searching on the hub; the tags in an existing README.md are kept.
            model_name: the title; by default the name of the repository or the directory.
            finetuned_from: the model with the initial weights; by default the one on the hub that was loaded.
            tasks: the task, as the hub names it: "text-classification".
            dataset_tags: the data, as the hub names them.
            dataset, dataset_args: the data as people name them, and the part that was used.
        """
        if rank() == 0:
            write_model_card(
                self.model,
                self.args,
                self.state.log_history,
                name=model_name or self.publisher.name.rpartition("/")[2],
                language=language,
                license=license,
                tags=tags,
                finetuned_from=finetuned_from,
                tasks=tasks,
                dataset_tags=dataset_tags,
                dataset=dataset,
                dataset_args=dataset_args,
            )

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model, write its card, and upload `output_dir` without its checkpoints to the hub.

        Args:
            commit_message: the message in the repository's history.
            blocking: wait until it is done; otherwise return a `Future` of the commit.
            token, revision, private: take precedence over the arguments.
            kwargs: of `create_model_card`.

        Returns:
            The commit; None on other processes than the first.

        Raises:
            HubError: the hub does not answer, or refuses.
        """
        self.control = self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if rank() != 0:
            return None
        self.create_model_card(**kwargs)
        push = self.publisher.push_output_dir(commit_message or "End of training", token, revision)
        return push.result() if blocking else push
