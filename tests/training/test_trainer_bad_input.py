"""Invalid arguments are refused before any work, by errors that name a remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from trainers import accuracy, examples, model, trainer

import minitransformers
from minitransformers import (
    BertConfig,
    BertModel,
    EarlyStoppingCallback,
    InputError,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    UnknownArgumentError,
)
from minitransformers.compat.trainer import NOT_CALLED
from minitransformers.compat.training_arguments import ALTERNATIVES, REMOVED, NotCovered

NAME = "BertForSequenceClassification"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rat": 1e-3}, r"takes no argument 'learning_rat'. Did you mean 'learning_rate'\?"),
        ({"evaluation_strategy": "epoch"}, r"'evaluation_strategy', as in transformers 5: use eval_strategy"),
        ({"no_cuda": True}, r"'no_cuda', as in transformers 5: use use_cpu"),
        ({"warmup_ratio": 0.1}, r"'warmup_ratio'.*use warmup_steps with a number below 1"),
        ({"deepspeed": "zero3.json"}, r"deepspeed='zero3.json' \(fsdp=True shards .*\): leave it out, or pass None"),
        ({"use_liger_kernel": True}, r"does not cover use_liger_kernel=True \(torch_compile=True fuses kernels\)"),
        ({"skip_memory_metrics": False}, r"skip_memory_metrics=False \(.*max_memory_allocated.*or pass True"),
    ],
)
def test_unknown_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownArgumentError, match=message):
        TrainingArguments("run", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eval_strategy": "epochs"}, r"eval_strategy='epochs' must be one of .*Did you mean 'epoch'\?"),
        ({"save_strategy": "always"}, r"save_strategy='always' must be one of 'no', 'steps', 'epoch', 'best'"),
        ({"lr_scheduler_type": "cosin"}, r"no schedule 'cosin'.*Did you mean 'cosine'\?"),
        ({"optim": "lion_32bit"}, r"no optimizer 'lion_32bit'"),
        ({"report_to": "mlflow"}, r"report_to='mlflow' must be one of .*'wandb'"),
        ({"fsdp": True}, r"fsdp=True shards the weights over several processes: start the script with torchrun"),
        ({"fsdp": "full_shard offload"}, r"'offload' is not covered: pass fsdp=True"),
        ({"fsdp": True, "fsdp_config": {"cpu_offload": True}}, r"fsdp_config: cpu_offload=True is not covered"),
        ({"accelerator_config": {"split_batches": True}}, r"accelerator_config: split_batches=True is not covered"),
        ({"lr_scheduler_kwargs": "{num_cycles: 2}"}, r"lr_scheduler_kwargs='{num_cycles: 2}' is neither JSON"),
        ({"torch_empty_cache_steps": 0}, r"torch_empty_cache_steps=0 must be a whole number of at least 1"),
        ({"bf16_full_eval": True, "fp16_full_eval": True}, r"exclude each other"),
        ({"train_sampling_strategy": "batch_rebalance"}, r"train_sampling_strategy='batch_rebalance'"),
        ({"per_device_train_batch_size": 0}, r"per_device_train_batch_size=0 must be a whole number of at least 1"),
        ({"gradient_accumulation_steps": -1}, r"gradient_accumulation_steps=-1 must be"),
        ({"max_steps": 0}, r"max_steps=0 must be a whole number of at least 1, or −1"),
        ({"learning_rate": -1e-3}, r"learning_rate=-0.001 must be a number of at least 0"),
        ({"num_train_epochs": float("nan")}, r"num_train_epochs=nan must be"),
        ({"adam_beta2": 1.5}, r"adam_beta2=1.5 must be a number from 0 to 1"),
        ({"adam_epsilon": 0.0}, r"adam_epsilon=0.0 must be a number above 0"),
        ({"label_smoothing_factor": 2.0}, r"label_smoothing_factor=2.0"),
        ({"logging_steps": 2.5}, r"logging_steps=2.5 must be a whole number of steps, or, below 1, a fraction"),
        ({"save_steps": 0}, r"save_steps=0 must be"),
        ({"neftune_noise_alpha": -5.0}, r"neftune_noise_alpha=-5.0 must be a number of at least 0"),
        ({"fp16": True, "bf16": True}, r"fp16=True and bf16=True exclude each other"),
        ({"load_best_model_at_end": True}, r"eval_strategy='no' and save_strategy='steps': set both"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "steps"},
            r"evaluated and saved at the same steps",
        ),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 3, "save_steps": 4},
            r"save_steps=4 is not a multiple of eval_steps=3",
        ),
        ({"save_strategy": "best"}, r"save_strategy='best' needs evaluations"),
        ({"save_strategy": "best", "eval_strategy": "epoch"}, r"needs metric_for_best_model"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, r"needs evaluations: set eval_strategy"),
        ({"dataloader_prefetch_factor": 2}, r"needs dataloader_num_workers above 0"),
    ],
)
def test_invalid_values(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingArguments("run", **arguments)


def test_fields_and_defaults_are_those_of_transformers() -> None:
    """All arguments of transformers are known: covered, with the same default, or refused."""
    theirs = {each.name: each for each in dataclasses.fields(transformers.TrainingArguments)}
    ours = {each.name: each for each in dataclasses.fields(TrainingArguments)}
    assert ours.keys() == theirs.keys()
    differing = {name for name, each in ours.items() if each.default != theirs[name].default}
    assert differing == {"restore_callback_states_from_checkpoint"}  # for exact resuming
    assert not REMOVED.keys() & theirs.keys()
    refused = {each.name for each in dataclasses.fields(NotCovered)}
    assert refused == ALTERNATIVES.keys()
    assert TrainingArguments("here").output_dir == "here", "the one that is passed by position"


def test_invalid_trainers(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    bert = model(minitransformers, NAME)
    with pytest.raises(UnknownArgumentError, match="no 'tokenizer', as in transformers 5: use processing_class"):
        Trainer(bert, args, tokenizer=None)
    with pytest.raises(UnknownArgumentError, match=r"no argument 'train_data'. Did you mean 'train_dataset'\?"):
        Trainer(bert, args, train_data=[])
    with pytest.raises(InputError, match="either model=… or model_init=…"):
        Trainer(args=args)
    with pytest.raises(InputError, match="either model=… or model_init=…"):
        Trainer(bert, args, model_init=lambda: bert)
    with pytest.raises(InputError, match="model_init must return a model"):
        Trainer(args=args, model_init=lambda: None)
    with pytest.raises(InputError, match="model must be a torch module, not str"):
        Trainer("bert-base-uncased", args)
    with pytest.raises(InputError, match="BertModel takes no labels and gives no loss: take a class with a head"):
        Trainer(BertModel(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=2)), args)
    with pytest.raises(InputError, match="eval_strategy='epoch' needs eval_dataset"):
        Trainer(bert, TrainingArguments(str(tmp_path), eval_strategy="epoch"))
    with pytest.raises(InputError, match="cannot be a callback"):
        Trainer(bert, args, callbacks=[object()])
    with pytest.raises(InputError, match=r"Own._run_epoch would never be called: override _inner_training_loop"):
        type("Own", (Trainer,), {"_run_epoch": lambda self: None})
    for name in NOT_CALLED:
        assert hasattr(transformers.Trainer, name)
        assert not hasattr(Trainer, name)


def test_invalid_data(tmp_path: Path) -> None:
    made = trainer(minitransformers, NAME, tmp_path, max_steps=1)
    made.train_dataset = None
    with pytest.raises(InputError, match="train needs train_dataset"):
        made.train()
    made.train_dataset = []
    with pytest.raises(InputError, match="the data set is empty"):
        made.train()
    made.eval_dataset = None
    with pytest.raises(InputError, match="evaluate needs eval_dataset"):
        made.evaluate()
    made.train_dataset = [{"input_ids": row["input_ids"]} for row in examples(NAME, 4)]
    with pytest.raises(InputError, match=r"BertForSequenceClassification gave no loss for a batch with .*labels"):
        made.train()
    made.train_dataset = [{"text": "no column of the model's"}] * 4
    with pytest.raises(InputError, match="empty batch"):
        made.train()

    class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(examples(NAME, 9))

    with pytest.raises(InputError, match="train_dataset has no length: set max_steps"):
        Trainer(model(minitransformers, NAME), TrainingArguments(str(tmp_path)), train_dataset=Stream())
    made.train_dataset = Stream()
    made.args.max_steps = 4
    assert made.train().global_step == 4


def test_invalid_metrics(tmp_path: Path) -> None:
    for given, message in [
        (0.9, r"compute_metrics must return a dictionary, such as .* not float \(0.9\)"),
        (None, r"not NoneType"),
        ({1: 0.5}, r"must name its metrics by strings, not 1"),
    ]:
        made = trainer(minitransformers, NAME, tmp_path, compute_metrics=lambda _, given=given: given)
        with pytest.raises(InputError, match=message):
            made.evaluate()
    made = trainer(
        minitransformers,
        NAME,
        tmp_path,
        compute_metrics=accuracy,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="acuracy",
    )
    with pytest.raises(InputError, match=r"no 'eval_acuracy' among the metrics .*Did you mean 'eval_accuracy'\?"):
        made.train()


def test_invalid_losses_and_optimizers(tmp_path: Path) -> None:
    kind = type("Own", (Trainer,), {"compute_loss": lambda self, model, inputs, num_items_in_batch=None: 1.0})
    with pytest.raises(InputError, match=r"compute_loss must return one number, a tensor, not 1.0"):
        trainer(minitransformers, NAME, tmp_path, kind=kind, max_steps=1).train()
    stranger = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(InputError, match="2 parameters that are not the model's"):
        trainer(minitransformers, NAME, tmp_path, optimizers=(stranger, None), max_steps=1).train()
    with pytest.raises(InputError, match="EarlyStoppingCallback needs metric_for_best_model"):
        trainer(minitransformers, NAME, tmp_path, callbacks=[EarlyStoppingCallback()], max_steps=1).train()


def test_a_callback_can_end_an_epoch_and_a_run(tmp_path: Path) -> None:
    class Ends(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_epoch_stop = state.global_step == 1
            control.should_training_stop |= state.global_step == 3

    found = []
    for library in (transformers, minitransformers):
        callback = type("Both", (library.TrainerCallback,), {"on_step_end": Ends.on_step_end})()
        made = trainer(library, NAME, tmp_path, callbacks=[callback], num_train_epochs=3)
        made.train()
        found.append([(record["step"], record["epoch"]) for record in made.state.log_history])
    assert found[0] == found[1]
