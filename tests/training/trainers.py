"""Both libraries' Trainers over the same tiny data and weights."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

import minitransformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

BOTH = (transformers, minitransformers)
VOCABULARY, CLASSES = 32, 3

BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,  # the random numbers of dropout differ between the libraries
    "attention_probs_dropout_prob": 0.0,
}
GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 16,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


@functools.cache
def weights(name: str) -> dict[str, Tensor]:
    torch.manual_seed(3)
    state: dict[str, Tensor] = reference(name).state_dict()
    return {key: tensor.clone() for key, tensor in state.items()}


def reference(name: str) -> Any:
    return getattr(transformers, name)(config_of(transformers, name))


def config_of(library: Any, name: str) -> Any:
    fields, kind = (BERT, library.BertConfig) if name.startswith("Bert") else (GPT2, library.GPT2Config)
    return kind(**fields, num_labels=2 if "QuestionAnswering" in name else CLASSES)


def model(library: Any, name: str) -> Any:
    """The same weights in both."""
    state = {key: tensor.clone() for key, tensor in weights(name).items()}
    if library.__name__ == "transformers":
        theirs = reference(name)
        theirs.load_state_dict(state)
        return theirs
    ours = getattr(minitransformers, name)(config_of(minitransformers, name))
    ours.load_hf_state_dict(state)
    return ours


def examples(name: str, size: int, seed: int = 0, length: int = 6) -> list[dict[str, Any]]:
    """Examples, with a column that no model takes."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (size, length), generator=generator)
    if "SequenceClassification" in name:
        labels = torch.randint(CLASSES, (size,), generator=generator)
    elif "QuestionAnswering" in name:
        spans = torch.randint(length, (size, 2), generator=generator)
        return [
            {"input_ids": row, "start_positions": int(start), "end_positions": int(end), "text": "…"}
            for row, (start, end) in zip(ids, spans, strict=True)
        ]
    else:
        classes = VOCABULARY if "LM" in name else CLASSES
        labels = torch.randint(classes, (size, length), generator=generator)
        labels[torch.rand(size, length, generator=generator) < 0.3] = -100
        labels[:, -1] = 1  # at least one label
        if name == "GPT2LMHeadModel":
            labels[:, 0] = -100  # never predicted, but counted by transformers: see test_mean_over_predicted_tokens
    return [{"input_ids": row, "labels": label, "text": "…"} for row, label in zip(ids, labels, strict=True)]


def accuracy(prediction: Any) -> dict[str, float]:
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": right[prediction.label_ids != -100].mean()}


def trainer(library: Any, name: str, directory: Path, size: int = 10, **arguments: Any) -> Any:
    """A Trainer that neither prints nor shows bars; keyword arguments are those of TrainingArguments or of Trainer."""
    own = ("callbacks", "compute_metrics", "compute_loss_func", "optimizers", "model_init", "data_collator")
    others = {key: arguments.pop(key) for key in own if key in arguments}
    kind = arguments.pop("kind", library.Trainer)
    options = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **arguments,
    }
    made = kind(
        None if "model_init" in others else model(library, name),
        library.TrainingArguments(str(directory), **options),
        train_dataset=examples(name, size),
        eval_dataset=examples(name, 7, seed=1),
        **others,
    )
    made.remove_callback(library.PrinterCallback)
    return made


def is_timing(key: str) -> bool:
    return key.endswith(("_runtime", "_per_second"))


def without_timings(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if not is_timing(key)} for record in history]


def assert_same_history(ours: Any, theirs: Any, *, atol: float = 1e-5) -> None:
    """Same records, same keys in the same order, same numbers; learning rates, epochs and steps to the last bit."""
    assert len(ours) == len(theirs)
    for own, their in zip(ours, theirs, strict=True):
        assert list(own) == list(their)
        for key, value in their.items():
            if key in ("epoch", "step", "learning_rate", "total_flos"):
                assert own[key] == value, key
            elif not is_timing(key):
                assert math.isclose(own[key], value, rel_tol=1e-4, abs_tol=atol), (key, own, their)


def assert_same_arrays(ours: Any, theirs: Any, *, atol: float = 1e-5) -> None:
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        assert len(ours) == len(theirs)
        for own, their in zip(ours, theirs, strict=True):
            assert_same_arrays(own, their, atol=atol)
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


def recorder(library: Any) -> Any:
    """A callback that records each event, with the requests of the control and the step."""

    def note(event: str) -> Any:
        def method(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            asked = [name for name in ("log", "evaluate", "save") if getattr(control, f"should_{name}")]
            self.events.append(f"{event} {state.global_step} {round(state.epoch, 6)} {' '.join(asked)}")

        return method

    events = [name for name in vars(library.TrainerCallback) if name.startswith("on_") and name != "on_push_begin"]
    kind = type("Recording", (library.TrainerCallback,), {event: note(event) for event in events})
    callback = kind()
    callback.events = []
    return callback
