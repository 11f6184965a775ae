"""Seq2SeqTrainer compared with transformers': same losses, same generated texts, same metrics."""

from __future__ import annotations

import dataclasses
import inspect
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from seq2seq_trainers import BART, T5, examples, model, trainer
from trainers import BOTH, assert_same_arrays, assert_same_history

import minitransformers
from minitransformers import (
    BertConfig,
    BertForMaskedLM,
    InputError,
    MinitransformersError,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    UnknownArgumentError,
)

START = {T5: 0, BART: 1}


def in_both(name: str, **arguments: Any) -> tuple[Any, Any]:
    """Both Seq2SeqTrainers, trained: ours, theirs."""
    made = []
    for library in BOTH:
        options = dict(arguments)
        if "generation_config" in options:
            options["generation_config"] = library.GenerationConfig(**options["generation_config"])
        with tempfile.TemporaryDirectory() as directory:
            each = trainer(library, name, Path(directory), **options)
            each.train()
            made.append(each)
    theirs, ours = made
    return ours, theirs


def assert_same_output(ours: Any, theirs: Any) -> None:
    assert_same_arrays(ours.predictions, theirs.predictions)
    assert_same_arrays(ours.label_ids, theirs.label_ids)
    assert_same_metrics(ours.metrics, theirs.metrics)


def assert_same_metrics(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    extra = [name for name in theirs if name.endswith("model_preparation_time")]  # without training before
    assert_same_history([ours], [{name: value for name, value in theirs.items() if name not in extra}])


def predicted(made: Any, library: Any, **gen_kwargs: Any) -> Any:
    return made.predict(examples(library, 8, seed=9), **gen_kwargs)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of the generation in evaluations, always with a maximal length: see `test_default_length`."""
    run: dict[str, Any] = {
        "max_steps": draw(st.integers(1, 4)),
        "eval_strategy": "steps",
        "eval_steps": 2,
        "predict_with_generate": draw(st.booleans()),
        "generation_num_beams": draw(st.sampled_from([None, 1, 2])),
        "generation_max_length": draw(st.sampled_from([4, 9, 24])),
        "per_device_eval_batch_size": draw(st.integers(1, 5)),
        "label_smoothing_factor": draw(st.sampled_from([0.0, 0.2])),
    }
    if draw(st.booleans()):
        run["generation_config"] = {
            "decoder_start_token_id": 3,
            "eos_token_id": 1,
            "pad_token_id": 0,
            **draw(st.sampled_from([{"max_length": 6}, {"max_length": 12, "num_beams": 2}, {"max_new_tokens": 25}])),
        }
    return run


GEN_KWARGS = st.sampled_from(
    [{}, {"max_length": 5}, {"max_new_tokens": 3}, {"num_beams": 2, "max_length": 10}, {"num_beams": None, "top_k": 3}]
)


@given(name=st.sampled_from([T5, BART]), run=runs(), gen_kwargs=GEN_KWARGS)
def test_same_runs(name: str, run: dict[str, Any], gen_kwargs: dict[str, Any]) -> None:
    ours, theirs = in_both(name, **run)
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert_same_output(predicted(ours, minitransformers, **gen_kwargs), predicted(theirs, transformers, **gen_kwargs))


@pytest.mark.parametrize("name", [T5, BART])
@pytest.mark.parametrize("beams", [1, 2])
def test_lengths_that_differ(name: str, beams: int) -> None:
    """Texts of a batch are padded; if batches have different lengths, shorter ones are padded further with −100."""
    outputs = []
    for library in BOTH:
        short = library.GenerationConfig(
            max_length=4, decoder_start_token_id=START[name], eos_token_id=1, pad_token_id=0
        )
        made = trainer(library, name, Path("unused"), predict_with_generate=True, generation_config=short)
        outputs.append(predicted(made, library, max_length=12, num_beams=beams))
    theirs, ours = outputs
    assert_same_output(ours, theirs)
    for ids in (ours.predictions, ours.label_ids):
        assert (ids == -100).any()
    ends = [np.flatnonzero(row[1:] == 1)[:1].tolist() for row in ours.predictions]
    assert len({tuple(end) for end in ends}) > 2


@pytest.mark.parametrize("name", [T5, BART])
@pytest.mark.parametrize("kind", ["object", "file", "directory"])
def test_a_generation_config(name: str, kind: str, tmp_path: Path) -> None:
    options = {"num_beams": 2, "max_length": 7, "decoder_start_token_id": 3, "eos_token_id": 1, "pad_token_id": 0}
    made, outputs = [], []
    for library in BOTH:
        given: Any = library.GenerationConfig(**options)
        if kind != "object":  # the same file for both
            transformers.GenerationConfig(**options).save_pretrained(tmp_path, "own.json" if kind == "file" else None)
            given = str(tmp_path / "own.json") if kind == "file" else tmp_path
        arguments = {"predict_with_generate": True, "generation_config": given}
        made.append(trainer(library, name, tmp_path / library.__name__, **arguments))
        outputs.append(predicted(made[-1], library))
    theirs, ours = outputs
    assert_same_output(ours, theirs)
    assert ours.predictions.shape == (8, 7)
    assert (ours.predictions[:, 0] == 3).all(), "the start token that it says"
    assert made[1].model.generation_config.values == options, "and it is the model's from now on"
    assert "generation_config" in json.loads(made[1].args.to_json_string())


def test_default_length(tmp_path: Path) -> None:
    """20 tokens for all batches; in transformers, 21 for the first batch and 20 for later ones."""
    lengths = []
    for library in BOTH:
        made = trainer(library, T5, tmp_path, predict_with_generate=True, per_device_eval_batch_size=8)
        made.model.generation_config.eos_token_id = None  # no text ends before the limit
        lengths.append([predicted(made, library, min_length=30).predictions.shape[1] for _ in range(2)])
    assert lengths == [[21, 20], [20, 20]]


def test_unlabelled_data_and_given_decoder_inputs(tmp_path: Path) -> None:
    for begun in (False, True):
        made = []
        for library in BOTH:
            rows = [{"input_ids": row["input_ids"]} for row in examples(library, 5)]
            each = trainer(library, BART, tmp_path, predict_with_generate=True, generation_max_length=9)
            each.data_collator = collate = library.DataCollatorWithPadding(each.processing_class)
            if begun:
                each.data_collator = lambda rows, collate=collate: {
                    **collate(rows),
                    "decoder_input_ids": torch.tensor([[1, 9]] * len(rows)),
                }
            made.append(each.predict(rows))
        theirs, ours = made
        assert_same_arrays(ours.predictions, theirs.predictions)
        assert (ours.predictions[:, 1] == 9).all() == begun
        assert ours.label_ids is None
        assert theirs.label_ids is None
        assert "test_loss" not in ours.metrics


def test_several_evaluation_sets_and_preprocessed_predictions(tmp_path: Path) -> None:
    """`preprocess_logits_for_metrics` receives generated ids. Arguments of `evaluate` apply to all sets."""
    made = []
    for library in BOTH:
        each = trainer(
            library,
            T5,
            tmp_path,
            predict_with_generate=True,
            generation_max_length=6,
            processing_class=None,
            preprocess_logits_for_metrics=lambda ids, labels: ids[:, : labels.shape[1] - 1],
        )
        each.eval_dataset = {"near": examples(library, 5, seed=2), "far": examples(library, 4, seed=3)}
        made.append(each)
    theirs, ours = made
    assert_same_metrics(ours.evaluate(), theirs.evaluate())
    found = ours.evaluate(max_length=3, num_beams=2)
    expected = [theirs.evaluate(each, max_length=3, num_beams=2) for each in theirs.eval_dataset.values()]
    names = ("loss", "exact", "common", "gen_len")
    assert [found[f"eval_{key}_{name}"] for key in ("near", "far") for name in names] == [
        pytest.approx(metrics[f"eval_{name}"]) for metrics in expected for name in names
    ]


def test_only_losses(tmp_path: Path) -> None:
    """Without metrics, and with `prediction_loss_only`, nothing is generated; a user's loss function is used."""
    for options in (
        {"compute_metrics": None},
        {"prediction_loss_only": True},
        {"compute_metrics": None, "compute_loss_func": lambda outputs, labels, num_items_in_batch: outputs[0].sum()},
    ):
        theirs, ours = (
            trainer(library, T5, tmp_path, predict_with_generate=True, **options).evaluate() for library in BOTH
        )
        assert_same_metrics(ours, theirs)
        assert "eval_loss" in ours
        assert "eval_gen_len" not in ours


def test_half_precision_and_model_init(tmp_path: Path) -> None:
    """A model of `model_init` also gets the generation config."""
    given = minitransformers.GenerationConfig(max_length=5, decoder_start_token_id=3, eos_token_id=1, pad_token_id=0)
    made = trainer(
        minitransformers, T5, tmp_path, predict_with_generate=True, generation_config=given, bf16=True, max_steps=1
    )
    made = minitransformers.Seq2SeqTrainer(
        args=made.args,
        model_init=lambda: model(minitransformers, T5).float(),
        data_collator=made.data_collator,
        train_dataset=made.train_dataset,
        processing_class=made.processing_class,
    )
    for _ in range(2):
        assert predicted(made, minitransformers).predictions.shape == (8, 5)
        made.train()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"generation_max_length": 0}, InputError, r"generation_max_length=0 must be a whole number of at least 1"),
        ({"generation_num_beams": -1}, InputError, r"generation_num_beams=-1 must be a whole number of at least 1"),
        ({"generation_config": {"num_beams": 2}}, InputError, r"must be a GenerationConfig .*, not builtins.dict"),
        (
            {"generation_config": transformers.GenerationConfig()},
            InputError,
            r"a GenerationConfig of this library, .*not transformers.generation",
        ),
        ({"sortish_sampler": True}, UnknownArgumentError, r"use train_sampling_strategy='group_by_length'"),
        ({"predict_with_generat": True}, UnknownArgumentError, r"Did you mean 'predict_with_generate'\?"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Seq2SeqTrainingArguments("run", **arguments)


def test_models_that_cannot_generate(tmp_path: Path) -> None:
    args = Seq2SeqTrainingArguments(str(tmp_path), predict_with_generate=True, use_cpu=True)
    with pytest.raises(InputError, match=r"BertForMaskedLM cannot generate. Use a class that can"):
        Seq2SeqTrainer(BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=4, num_attention_heads=2)), args)
    with pytest.raises(InputError, match="must be Seq2SeqTrainingArguments, not TrainingArguments"):
        Seq2SeqTrainer(model(minitransformers, T5), minitransformers.TrainingArguments(str(tmp_path), use_cpu=True))
    with pytest.raises(MinitransformersError, match=r"own\.json"):
        trainer(minitransformers, T5, tmp_path, generation_config=tmp_path / "own.json")
    made = trainer(minitransformers, T5, tmp_path, predict_with_generate=True)
    calls: list[Any] = []
    made.data_collator = calls.append
    with pytest.raises(UnknownArgumentError, match=r"no argument 'max_lenght'. Did you mean 'max_length'\?"):
        made.evaluate(max_lenght=3)
    assert not calls, "before anything is done"
    made = trainer(minitransformers, T5, tmp_path, predict_with_generate=True, generation_max_length=2)
    made.processing_class = SimpleNamespace(pad_token_id=None, eos_token_id=None)
    with pytest.raises(InputError, match="Set pad_token_id of the tokenizer: it pads the generated ids"):
        made.evaluate()


def test_fields_and_defaults_are_those_of_transformers() -> None:
    ours, theirs = (
        {each.name: each for each in dataclasses.fields(library.Seq2SeqTrainingArguments)}
        for library in (minitransformers, transformers)
    )
    own = ours.keys() - {each.name for each in dataclasses.fields(minitransformers.TrainingArguments)}
    assert own == theirs.keys() - {each.name for each in dataclasses.fields(transformers.TrainingArguments)}
    assert {name: ours[name].default for name in own} == {name: theirs[name].default for name in own}
    signatures = [list(inspect.signature(library.Seq2SeqTrainer.__init__).parameters) for library in BOTH]
    assert signatures[1][:-1] == signatures[0]
