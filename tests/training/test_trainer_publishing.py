"""A Trainer that pushes its model to a hub, compared with transformers': the same commits at the same steps."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import transformers
from fake_hub import FakeHub, replace_the_hub
from huggingface_hub import ModelCard
from trainers import BOTH, accuracy, trainer

import minitransformers
from minitransformers import HubError, InputError, TrainerCallback, TrainingArguments

NAME = "BertForSequenceClassification"
PUSHING = {"push_to_hub": True, "hub_always_push": True, "save_steps": 2, "max_steps": 5, "save_strategy": "steps"}
MODEL = {"config.json", "model.safetensors"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return replace_the_hub(monkeypatch)


def tokenizer(library: Any, directory: Path) -> Any:
    directory.mkdir(exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
    return library.BertTokenizer(str(directory / "vocab.txt"))


def commits_of(hub: FakeHub, name: str) -> list[tuple[str, set[str]]]:
    """The message of each commit, and the files of the model and the tokenizer, with their folders."""
    kept = {*MODEL, "tokenizer.json", "tokenizer_config.json", "README.md"}
    return [
        (commit.message, {path for path in commit.files if Path(path).name in kept})
        for commit in hub.repositories[name].commits
    ]


@pytest.mark.parametrize(
    ("strategy", "save_strategy"),
    [("end", "steps"), ("every_save", "epoch"), ("checkpoint", "steps"), ("all_checkpoints", "epoch")],
)
def test_commits_of_each_strategy(
    strategy: str, save_strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {**PUSHING, "hub_strategy": strategy, "save_strategy": save_strategy, "hub_revision": "dev"}
    hubs = []
    for library in BOTH:
        with monkeypatch.context() as patched:
            hub = replace_the_hub(patched)
            directory = tmp_path / library.__name__ / "my-run"
            words = tokenizer(library, tmp_path / "words")
            made = trainer(library, NAME, directory, hub_private_repo=True, **arguments)
            made.processing_class = words
            assert list(hub.repositories) == ["me/my-run"], "before anything is trained"
            made.train()
            made.save_model()
            made.push_to_hub(language="en", dataset="some texts", tags=["a"])
        hubs.append(hub)
    theirs, ours = (hub.repositories["me/my-run"] for hub in hubs)
    own, their = (commits_of(hub, "me/my-run") for hub in reversed(hubs))
    assert own == their
    assert (
        len(own) == {"end": 2}.get(strategy, 2 + 3 * (1 if strategy == "every_save" else 2)) or save_strategy == "epoch"
    )
    assert ours.options == theirs.options
    assert (ours.branches, theirs.branches) == (["dev"], [])  # in transformers, the branch must exist
    assert [commit.branch for commit in ours.commits] == [commit.branch for commit in theirs.commits]
    assert not list((tmp_path / "minitransformers" / "my-run").glob(".push-*"))


def test_a_pushed_checkpoint_is_complete(hub: FakeHub, tmp_path: Path) -> None:
    """A run can resume from it; and the files of the model do not contain the training state."""
    made = trainer(minitransformers, NAME, tmp_path / "one", hub_strategy="checkpoint", **PUSHING)
    made.train()
    files = hub.repositories["me/one"].files
    assert {name for name in files if "/" not in name} == {*MODEL, "training_args.json"}
    for name, content in files.items():
        if name.startswith("last-checkpoint/"):
            path = tmp_path / "other" / "checkpoint-5" / name.removeprefix("last-checkpoint/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    longer = trainer(minitransformers, NAME, tmp_path / "other", **{**PUSHING, "push_to_hub": False, "max_steps": 7})
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 7
    records = [record for record in longer.state.log_history if record["step"] <= 5 and "loss" in record]
    assert records == [record for record in made.state.log_history if "loss" in record]


class Slow:
    """A hub that answers after `release`."""

    def __init__(self, hub: FakeHub) -> None:
        self.go_on, self.reached = threading.Event(), threading.Event()
        hub.before_commit = self.wait

    def wait(self) -> None:
        self.reached.set()
        assert self.go_on.wait(30)


@pytest.mark.parametrize("always", [True, False])
def test_a_slow_hub(always: bool, hub: FakeHub, tmp_path: Path) -> None:
    """Training continues during an upload, which stays complete although its checkpoint is removed."""
    slow, steps = Slow(hub), []

    class Watch(TrainerCallback):
        def on_push_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                assert slow.reached.wait(30)
                slow.go_on.set()

    arguments = {**PUSHING, "hub_always_push": always, "save_total_limit": 1, "save_steps": 1}
    made = trainer(minitransformers, NAME, tmp_path / "slow", callbacks=[Watch()], **arguments)
    made.train()
    assert slow.go_on.is_set()
    messages = [commit.message for commit in hub.repositories["me/slow"].commits]
    pushed = [int(message.split()[-1]) for message in messages]
    assert pushed == steps
    assert steps[0] == 1
    assert 5 in steps or not always
    assert not always or steps == [1, 2, 3, 4, 5]
    assert always or not set(steps) & {2, 3, 4}
    assert all(set(commit.files) >= MODEL for commit in hub.repositories["me/slow"].commits)
    assert [path.name for path in (tmp_path / "slow").glob("checkpoint-*")] == ["checkpoint-5"]


def test_a_failed_push_gives_a_warning(hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = trainer(minitransformers, NAME, tmp_path / "run", **PUSHING)
    hub.failing["create_commit"] = ConnectionError("no route")
    with caplog.at_level(logging.WARNING):
        made.train()
    assert made.state.global_step == 5
    said = [record.getMessage() for record in caplog.records if "not pushed" in record.getMessage()]
    assert len(said) == 3
    assert said[0].startswith("A checkpoint was not pushed. Cannot upload to the repository 'me/run': ConnectionError:")
    with pytest.raises(HubError, match="no route"):
        made.push_to_hub()
    assert made.push_to_hub(blocking=False).exception() is not None
    hub.failing.clear()
    made.push_to_hub()
    assert set(hub.repositories["me/run"].files) == {*MODEL, "README.md", "training_args.json"}


def test_an_unreachable_hub_is_an_error_before_training(hub: FakeHub, tmp_path: Path) -> None:
    hub.failing["create_repo"] = ConnectionError("no route")
    with pytest.raises(HubError, match=r"Cannot make the repository 'run': ConnectionError: no route. Try again"):
        trainer(minitransformers, NAME, tmp_path / "run", **PUSHING)
    with pytest.raises(InputError, match=r"repo_id='a/b/c' is no name of a repository"):
        trainer(minitransformers, NAME, tmp_path / "run", hub_model_id="a/b/c", **PUSHING)
    with pytest.raises(InputError, match=r"hub_strategy='each_save' must be one of .* Did you mean 'every_save'"):
        TrainingArguments(hub_strategy="each_save")
    assert not (tmp_path / "run").exists()


def test_push_to_hub_without_the_argument(hub: FakeHub, tmp_path: Path) -> None:
    """`push_to_hub()` creates the repository, with its own token."""
    made = trainer(minitransformers, NAME, tmp_path / "run", hub_model_id="you/there", hub_token="hf_secret")
    made.save_model()
    assert hub.repositories == {}
    future = made.push_to_hub("said", blocking=False, token="hf_other", private=True)
    assert future.result().commit_message == "said"
    repository = hub.repositories["you/there"]
    assert (repository.options["token"], repository.options["private"]) == ("hf_other", True)
    assert repository.commits[0].token == "hf_other"
    assert ModelCard(repository.files["README.md"].decode()).data.model_name == "there"


def test_tokens_are_never_written(hub: FakeHub, tmp_path: Path) -> None:
    made = trainer(minitransformers, NAME, tmp_path / "run", hub_token="hf_secret", **PUSHING)
    made.train()
    made.push_to_hub()
    assert hub.repositories["me/run"].commits[0].token == "hf_secret"
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    contents += [content for commit in hub.repositories["me/run"].commits for content in commit.files.values()]
    assert len(contents) > 10
    assert not any(b"hf_secret" in content for content in contents)
    assert json.loads((tmp_path / "run" / "training_args.json").read_text())["hub_token"] == "<HUB_TOKEN>"
    assert "hf_secret" not in repr(made.args) + str(made.args)
    theirs = transformers.TrainingArguments(str(tmp_path), hub_token="hf_secret", use_cpu=True)
    assert theirs.to_dict()["hub_token"] == made.args.to_dict()["hub_token"]


def test_card(tmp_path: Path) -> None:
    """The data, settings and metrics of the run; no hub is called."""
    arguments = {"eval_strategy": "epoch", "num_train_epochs": 2, "logging_steps": 1, "compute_metrics": accuracy}
    made = trainer(minitransformers, NAME, tmp_path / "run", learning_rate=1e-3, **arguments)
    made.create_model_card()
    plain = (tmp_path / "run" / "README.md").read_text()
    assert "## Evaluation" not in plain
    assert "trained from scratch on unnamed data" in plain
    made.train()
    made.model.config.name_or_path = "google/some-bert"
    made.create_model_card(
        language="en",
        license="mit",
        tags="mine",
        model_name="A name",
        tasks="text-classification",
        dataset_tags="glue",
        dataset=["GLUE"],
        dataset_args="mrpc",
    )
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.to_dict() == {
        "language": ["en"],
        "license": "mit",
        "library_name": "transformers",
        "tags": ["generated_from_trainer", "mine"],
        "base_model": "google/some-bert",
        "datasets": ["glue"],
        "pipeline_tag": "text-classification",
        "model_name": "A name",
    }
    text = card.text
    assert "# A name\n" in text
    assert (
        "[google/some-bert](https://huggingface.co/google/some-bert), trained further on the data GLUE (mrpc)" in text
    )
    assert "- learning_rate: 0.001\n" in text
    assert "- num_train_epochs: 2\n" in text
    evaluations = [record for record in made.state.log_history if "eval_loss" in record]
    last = evaluations[-1]
    assert f"## Evaluation\n\n- loss: {last['eval_loss']:.4g}\n- accuracy: {last['eval_accuracy']:.4g}\n" in text
    assert "runtime" not in text
    rows = re.findall(r"^\| (\d.*) \|$", text, re.MULTILINE)
    assert len(rows) == len(evaluations) == 2
    losses = {record["step"]: record["loss"] for record in made.state.log_history if "loss" in record}
    assert rows[-1].split(" | ") == [
        f"{last['epoch']:.4g}",
        str(last["step"]),
        *(f"{value:.4g}" for value in (losses[last["step"]], last["eval_loss"], last["eval_accuracy"])),
    ]
    made.create_model_card(tags=["another"])  # existing tags are kept
    assert ModelCard.load(tmp_path / "run" / "README.md").data.tags == ["generated_from_trainer", "another", "mine"]


def test_the_card_has_the_metadata_of_transformers(tmp_path: Path) -> None:
    """The metadata that a hub searches."""
    cards = []
    for library in BOTH:
        directory = tmp_path / library.__name__
        made = trainer(library, NAME, directory, eval_strategy="epoch", num_train_epochs=1)
        made.train()
        made.create_model_card(language="en", license="mit", tags=["x"], model_name="name", finetuned_from="a/b")
        cards.append(ModelCard.load(directory / "README.md").data.to_dict())
    theirs, ours = cards
    for key in ("language", "license", "library_name", "base_model"):
        assert ours[key] == theirs[key]
    assert set(ours["tags"]) == set(theirs["tags"]) == {"generated_from_trainer", "x"}
