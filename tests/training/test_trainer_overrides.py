"""Each method that scripts override is called and its result used, in both libraries: same losses, same weights."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, WeightedRandomSampler
from trainers import BOTH, accuracy, assert_same_history, examples, model, trainer, without_timings

import minitransformers
from minitransformers import CheckpointError

BERT, GPT2 = "BertForSequenceClassification", "GPT2LMHeadModel"


def adversarial(library: Any) -> Any:
    """A second backward pass with changed embeddings in each step."""

    class Adversarial(library.Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            loss = super().training_step(model, inputs, num_items_in_batch)
            table = self.model.get_input_embeddings().weight
            change = 0.5 * table.grad / table.grad.norm()
            table.data += change
            with self.compute_loss_context_manager():
                again = self.compute_loss(model, self._prepare_inputs(inputs), num_items_in_batch=num_items_in_batch)
            self.accelerator.backward(again)
            table.data -= change
            return (loss + again.detach()) / 2

    return Adversarial


def own_step(library: Any) -> Any:
    """The whole step in the user's hands, with the mean of its own batch."""

    class OwnStep(library.Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            model.train()
            inputs = self._prepare_inputs(inputs)
            with self.autocast_smart_context_manager():
                outputs = model(**inputs)
            loss = outputs.loss / self.current_gradient_accumulation_steps
            self.accelerator.backward(loss)
            return loss.detach()

    return OwnStep


def masked_inputs(library: Any) -> Any:
    class MaskedInputs(library.Trainer):
        def _prepare_inputs(self, inputs: Any) -> Any:
            inputs = super()._prepare_inputs(inputs)
            return {**inputs, "attention_mask": (inputs["input_ids"] < 20).long().index_fill(1, torch.tensor([0]), 1)}

    return MaskedInputs


def sampled(library: Any) -> Any:
    class Sampled(library.Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            generator = torch.Generator().manual_seed(3)
            return WeightedRandomSampler([1.0, *[0.1] * (len(self.train_dataset) - 1)], 10, generator=generator)

        def _get_eval_sampler(self, eval_dataset: Any) -> Any:
            return torch.utils.data.SubsetRandomSampler([0, 1, 4], generator=torch.Generator().manual_seed(1))

    return Sampled


def own_loader(library: Any) -> Any:
    """A shuffled loader, prepared by the accelerator as in the examples of the field."""

    class OwnLoader(library.Trainer):
        def get_train_dataloader(self) -> Any:
            collator = self._get_collator_with_removed_columns(self.data_collator, description="training")
            loader = DataLoader(self.train_dataset, batch_size=3, shuffle=True, collate_fn=collator)
            return self.accelerator.prepare(loader)

    return OwnLoader


def fewer_labels(library: Any) -> Any:
    """Batches and divisor of a step from `get_batch_samples`."""

    class FewerLabels(library.Trainer):
        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            taken = [next(epoch_iterator) for _ in range(num_batches)]  # fails if asked for more than there are
            return taken[::-1], torch.tensor(7.0, device=device)

    return FewerLabels


def own_evaluation(library: Any) -> Any:
    class OwnEvaluation(library.Trainer):
        def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: Any, ignore_keys: Any = None) -> Any:
            loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys=ignore_keys)
            return loss * 2, None if logits is None else -logits, labels

        def evaluation_loop(self, dataloader: Any, description: str, *args: Any, **kwargs: Any) -> Any:
            output = super().evaluation_loop(dataloader, description, *args, **kwargs)
            output.metrics["eval_batches"] = len(dataloader)
            return output

    return OwnEvaluation


def own_optimizer(library: Any) -> Any:
    class OwnOptimizer(library.Trainer):
        def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.3)
            self.lr_scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)

    return OwnOptimizer


def own_create_optimizer(library: Any) -> Any:
    class OwnCreateOptimizer(library.Trainer):
        def create_optimizer(self, *args: Any) -> Any:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            decay = self.get_decay_parameter_names(self.model)
            groups = [
                {"params": [p for name, p in self.model.named_parameters() if (name in decay) is which], "lr": lr}
                for which, lr in ((True, 0.01), (False, 0.1))
            ]
            self.optimizer = kind(groups, **options)
            return self.optimizer

    return OwnCreateOptimizer


def own_log(library: Any) -> Any:
    class OwnLog(library.Trainer):
        def _maybe_log_save_evaluate(self, tr_loss: Any, grad_norm: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step % 2 == 0:
                self.control.should_evaluate = True
            return super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, *args, **kwargs)

        def log(self, logs: Any, *args: Any, **kwargs: Any) -> None:
            super().log({**logs, "trainable": self.get_num_trainable_parameters()}, *args, **kwargs)

        def floating_point_ops(self, inputs: Any) -> int:
            return 7

    return OwnLog


KINDS = [
    (adversarial, GPT2, {"gradient_accumulation_steps": 2}),
    (adversarial, BERT, {"fp16": True}),
    (own_step, BERT, {"gradient_accumulation_steps": 2}),
    (own_step, GPT2, {"bf16": True}),
    (masked_inputs, BERT, {}),
    (sampled, BERT, {}),
    (own_loader, BERT, {}),
    (fewer_labels, GPT2, {"gradient_accumulation_steps": 2}),
    (own_evaluation, BERT, {}),
    (own_create_optimizer, GPT2, {"weight_decay": 0.1, "optim": "sgd"}),
    (own_log, BERT, {}),
]


@pytest.mark.parametrize(("kind", "name", "arguments"), KINDS, ids=lambda each: getattr(each, "__name__", None))
def test_overrides_change_the_run_as_in_transformers(kind: Any, name: str, arguments: Any, tmp_path: Path) -> None:
    made, plain = [], trainer(minitransformers, name, tmp_path, num_train_epochs=2, eval_strategy="epoch", **arguments)
    for library in BOTH:
        each = trainer(
            library,
            name,
            tmp_path / library.__name__,
            kind=kind(library),
            num_train_epochs=2,
            eval_strategy="epoch",
            compute_metrics=None if kind is own_evaluation else accuracy,
            **arguments,
        )
        each.train()
        made.append(each)
    plain.train()
    theirs, ours = made
    half = "bf16" in arguments or "fp16" in arguments
    if half:
        for own, their in zip(ours.state.log_history, theirs.state.log_history, strict=True):
            for key in own.keys() & {"loss", "eval_loss"}:
                assert own[key] == pytest.approx(their[key], rel=1e-2)
    else:
        assert_same_history(ours.state.log_history, theirs.state.log_history)
        assert_same_weights(ours, theirs)
    if kind is not own_step:  # whose losses are those of an ordinary step
        assert without_timings(ours.state.log_history) != without_timings(plain.state.log_history)


def test_an_optimizer_and_a_schedule_of_ones_own(tmp_path: Path) -> None:
    made = []
    for library in BOTH:
        each = trainer(library, BERT, tmp_path, kind=own_optimizer(library), max_steps=5)
        if library is minitransformers:
            each.train()
        else:  # which no longer calls the method by itself
            each.create_optimizer_and_scheduler(5)
            each.train()
        made.append(each)
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert [record["learning_rate"] for record in ours.state.log_history[:-1]] == [0.3, 0.3, 0.15, 0.15, 0.075]


def test_a_whole_loop_of_ones_own(tmp_path: Path) -> None:
    for library in BOTH:
        seen: list[Any] = []

        class Loop(library.Trainer):  # type: ignore[name-defined,misc]
            def _inner_training_loop(self, batch_size: Any = None, args: Any = None, **kwargs: Any) -> Any:
                seen.append((batch_size, args is self.args, self.is_in_train, sorted(kwargs)))  # noqa: B023
                return importlib.import_module(f"{library.__name__}.trainer_utils").TrainOutput(7, 0.5, {})  # noqa: B023

        made = trainer(library, BERT, tmp_path, kind=Loop)
        assert made.train() == (7, 0.5, {})
        assert seen == [(4, True, True, ["ignore_keys_for_eval", "resume_from_checkpoint", "trial"])]


def assert_same_losses(ours: Any, theirs: Any) -> None:
    """Of resumed runs: the summary of transformers' is of the last part only, and its older records have no order."""
    own, their = (
        [(record["step"], record["epoch"], record["loss"]) for record in each.state.log_history if "loss" in record]
        for each in (ours, theirs)
    )
    assert own == [(step, epoch, pytest.approx(loss, rel=1e-4)) for step, epoch, loss in their]


def assert_same_weights(ours: Any, theirs: Any) -> None:
    """But for the biases of keys: they change no attention, and what moves them is rounding."""
    for (name, own), their in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        their = their.T if own.shape != their.shape or "c_proj.weight" in name else their  # GPT-2's are transposed
        if name.endswith("c_attn.bias"):
            (query, _, value), (their_query, _, their_value) = own.chunk(3), their.chunk(3)
            own, their = torch.cat([query, value]), torch.cat([their_query, their_value])
        torch.testing.assert_close(own, their, rtol=1e-3, atol=1e-5)


# ---- files -----------------------------------------------------------------------------------------------------------


def saving(library: Any) -> Any:
    class Saving(library.Trainer):
        def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            (Path(output_dir) / "extra.txt").write_text("own")

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            directory = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
            (directory / "after.json").write_text(json.dumps(self.state.global_step))

        def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            assert (Path(resume_from_checkpoint) / "extra.txt").read_text() == "own"
            with torch.no_grad():
                self.model.classifier.bias += 1

    return Saving


def test_files_of_checkpoints(tmp_path: Path) -> None:
    """`_save`, `_save_checkpoint` and `_load_from_checkpoint` are called, with directories that exist."""
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    made = []
    for library in BOTH:
        directory = tmp_path / library.__name__
        trainer(library, BERT, directory, kind=saving(library), **options).train()
        for step in (2, 4):
            checkpoint = directory / f"checkpoint-{step}"
            assert (checkpoint / "extra.txt").read_text() == "own"
            assert (checkpoint / "after.json").read_text() == str(step)
        again = trainer(library, BERT, directory, kind=saving(library), **options)
        again.train(resume_from_checkpoint=str(directory / "checkpoint-2"))
        made.append(again)
    theirs, ours = made
    assert_same_losses(ours, theirs)
    assert_same_weights(ours, theirs)


def test_resuming_from_weights_in_several_files(tmp_path: Path) -> None:
    """A checkpoint whose model.safetensors was replaced by shards and an index; whose values count."""
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    made = []
    for library in BOTH:
        directory = tmp_path / library.__name__
        trainer(library, BERT, directory, **options).train()
        checkpoint = directory / "checkpoint-2"
        loaded = getattr(library, BERT).from_pretrained(checkpoint)
        with torch.no_grad():
            loaded.classifier.bias += 1
        (checkpoint / "model.safetensors").unlink()
        loaded.save_pretrained(checkpoint, max_shard_size="2KB")
        assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
        again = trainer(library, BERT, directory, **options)
        again.train(resume_from_checkpoint=str(checkpoint))
        made.append(again)
    theirs, ours = made
    assert_same_losses(ours, theirs)
    (tmp_path / "minitransformers" / "checkpoint-2" / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing"):
        ours.train(resume_from_checkpoint=str(tmp_path / "minitransformers" / "checkpoint-2"))


def test_an_epochs_data_from_the_beginning(tmp_path: Path) -> None:
    """`ignore_data_skip`: the run goes on with the first batches of the epoch."""
    options = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    made = []
    for library in BOTH:
        directory = tmp_path / library.__name__
        trainer(library, BERT, directory, **options).train()
        again = trainer(library, BERT, directory, ignore_data_skip=True, **options)
        again.train(resume_from_checkpoint=str(directory / "checkpoint-2"))
        made.append(again)
    theirs, ours = made
    assert_same_losses(ours, theirs)
    usual = trainer(minitransformers, BERT, directory, **options)
    usual.train(resume_from_checkpoint=str(directory / "checkpoint-2"))
    assert without_timings(usual.state.log_history) != without_timings(ours.state.log_history)


# ---- streams ---------------------------------------------------------------------------------------------------------


class Stream(IterableDataset[Any]):
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return iter(self.rows)


@pytest.mark.parametrize("bars", [True, False])
def test_a_stream_is_evaluated_under_progress_bars(bars: bool, tmp_path: Path, capsys: Any) -> None:
    found = []
    for library in BOTH:
        made = trainer(library, BERT, tmp_path, disable_tqdm=not bars, compute_metrics=accuracy)
        if bars:
            assert any(type(each).__name__ == "ProgressCallback" for each in made.callback_handler.callbacks)
        stream = Stream(examples(BERT, 7, seed=1))
        metrics, output = made.evaluate(stream), made.predict(stream)
        found.append((metrics["eval_loss"], metrics["eval_accuracy"], output.predictions.tolist()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert found[1][1] == found[0][1]
    torch.testing.assert_close(torch.tensor(found[1][2]), torch.tensor(found[0][2]), rtol=1e-4, atol=1e-5)


def test_the_default_samplers(tmp_path: Path) -> None:
    made = trainer(minitransformers, BERT, tmp_path)
    order = list(made._get_train_sampler(made.train_dataset))
    theirs = trainer(BOTH[0], BERT, tmp_path).get_train_dataloader()
    ours = [batch["input_ids"].tolist() for batch in made.get_train_dataloader()]
    assert ours == [batch["input_ids"].tolist() for batch in theirs]
    assert sorted(order) == list(range(10))
    assert isinstance(made._get_eval_sampler(made.eval_dataset), SequentialSampler)
    assert made._get_eval_sampler(Stream([])) is None
    assert made._get_train_sampler(Stream([])) is None


def test_models_without_a_config_are_saved(tmp_path: Path) -> None:
    """`save_model` of a plain module writes its weights."""
    plain = torch.nn.Module()
    plain.inner = model(minitransformers, BERT)
    plain.forward = lambda **batch: plain.inner(**batch)  # type: ignore[method-assign]
    args = minitransformers.TrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=True)
    made = minitransformers.Trainer(plain, args)
    made.save_model(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "model.safetensors").exists()
