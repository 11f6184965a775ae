"""Parameters with weight decay, and optimizers, compared with transformers' Trainer."""

from __future__ import annotations

import functools
import tempfile
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from torch import nn

import minitransformers
from minitransformers import InputError
from minitransformers.training.loop.optimizers import OPTIONS, OptimizerNames, create_optimizer, parameter_groups

TINY: dict[str, dict[str, int]] = {
    "Bert": {
        "vocab_size": 40,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
    },
    "GPT2": {"vocab_size": 40, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
}


def build(library: Any, name: str, **fields: Any) -> Any:
    family = "Bert" if name.startswith("Bert") else "GPT2"
    return getattr(library, name)(getattr(library, f"{family}Config")(**TINY[family], **fields))


def their_optimizer(model: Any, **arguments: Any) -> torch.optim.Optimizer:
    args = transformers.TrainingArguments(tempfile.gettempdir(), use_cpu=True, report_to="none", **arguments)
    trainer = transformers.Trainer.__new__(transformers.Trainer)  # only the attributes that create_optimizer reads
    trainer.args, trainer.model, trainer.optimizer, trainer.optimizer_cls_and_kwargs = args, model, None, None
    return trainer.create_optimizer()


def named_groups(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[Any]:
    """Each group's options, with the names of its parameters, in any order."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        options = {key: value for key, value in group.items() if key != "params"}
        groups.append((options, sorted(name_of[id(parameter)] for parameter in group["params"])))
    return groups


@functools.cache
def pair(name: str, tied: bool) -> tuple[Any, Any]:
    ours, theirs = (build(library, name, tie_word_embeddings=tied) for library in (minitransformers, transformers))
    return ours, theirs


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForSequenceClassification", "GPT2DoubleHeadsModel"])
@given(
    optim=st.sampled_from([kind.value for kind in OptimizerNames]),
    learning_rate=st.floats(1e-6, 1),
    weight_decay=st.floats(0, 0.5),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    eps=st.floats(1e-12, 1e-3),
    frozen=st.sets(st.integers(0, 40), max_size=5),
)
def test_same_groups_and_options(
    name: str,
    tied: bool,
    optim: str,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
    frozen: set[int],
) -> None:
    ours, theirs = pair(name, tied)
    their_parameters = dict(theirs.named_parameters())
    assert list(dict(ours.named_parameters())) == list(their_parameters), "tied ones are counted once in both"
    for at, (own, parameter) in enumerate(ours.named_parameters()):
        parameter.requires_grad_(at not in frozen)
        their_parameters[own].requires_grad_(at not in frozen)
    groups = parameter_groups(ours, weight_decay)
    created = create_optimizer(groups, optim, learning_rate=learning_rate, betas=betas, eps=eps)
    expected = their_optimizer(
        theirs,
        optim=optim,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        adam_beta1=betas[0],
        adam_beta2=betas[1],
        adam_epsilon=eps,
    )
    assert type(created).__name__ == type(expected).__name__
    assert named_groups(created, ours) == named_groups(expected, theirs)


def test_norms_and_biases_of_user_modules() -> None:
    class OwnNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)
            self.relative_attention_bias = nn.Embedding(8, 2)
            self.layer = nn.Linear(4, 4)
            self.norm = OwnNorm()
            self.final_norm = OwnNorm()
            self.normalizer = nn.Linear(4, 4, bias=False)  # not a norm: only the name begins like one
            self.standardize = nn.LayerNorm(4)
            self.shared = self.layer

    model = Model()
    decayed, plain = parameter_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    expected = [model.table.weight, model.layer.weight, model.normalizer.weight]
    assert [id(parameter) for parameter in decayed["params"]] == [id(parameter) for parameter in expected]
    assert len(plain["params"]) == 6
    theirs = their_optimizer(model, weight_decay=0.1).param_groups
    assert [[id(parameter) for parameter in group["params"]] for group in theirs] == [
        [id(parameter) for parameter in group["params"]] for group in (decayed, plain)
    ]


def test_decay_changes_only_matrices() -> None:
    model = build(minitransformers, "BertForSequenceClassification")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(parameter_groups(model, 0.5), "adamw_torch", learning_rate=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1.0 if "bias" in name or "norm" in name.lower() else 0.95
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
        assert factor == 1.0 or not torch.equal(parameter, before[name])


def test_unknown_optimizers() -> None:
    with pytest.raises(InputError, match=r"no optimizer 'adamw_torhc': choose one of .*Did you mean 'adamw_torch'"):
        create_optimizer(parameter_groups(nn.Linear(1, 1), 0.0), "adamw_torhc")


@pytest.mark.parametrize("name", [kind.value for kind in transformers.training_args.OptimizerNames])
def test_all_optimizers_of_pytorch(name: str) -> None:
    """The names are those of transformers that need only PyTorch."""
    try:
        made = their_optimizer(nn.Linear(2, 2), optim=name)
    except (ImportError, ValueError):  # "please install …"
        assert name not in [kind.value for kind in OptimizerNames]
    else:
        assert type(made).__module__.startswith(("torch.", "transformers."))
        assert name in [kind.value for kind in OptimizerNames]


@given(
    options=st.one_of(
        *(
            st.tuples(
                st.just(name.value),
                st.fixed_dictionaries(
                    {},
                    optional={
                        key: st.booleans() if kind is bool else st.floats(0.01, 0.9) for key, kind in known.items()
                    },
                ),
            )
            for name, known in OPTIONS.items()
        )
    )
)
def test_optim_args(options: tuple[str, dict[str, Any]]) -> None:
    name, values = options
    if values.get("nesterov"):
        values |= {"momentum": 0.5, "dampening": 0.0}
    text = ", ".join(f"{key}={value}" for key, value in values.items())
    model = nn.Linear(2, 2)
    made = create_optimizer(parameter_groups(model, 0.1), name, learning_rate=0.1, optim_args=text)
    expected = their_optimizer(model, optim=name, learning_rate=0.1, weight_decay=0.1, optim_args=text)
    assert made.defaults == expected.defaults
    assert {key: made.param_groups[0][key] for key in values} == values


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "sgd",
            "momentun=0.9",
            r"sgd has no option 'momentun'; it takes .*Did you mean 'momentum'",
        ),
        ("sgd", "momentum=high", r"momentum must be a number, not 'high'"),
        ("sgd", "nesterov=maybe", r"nesterov must be True or False, not 'maybe'"),
        ("sgd", "momentum", r"momentum must be a number, not ''"),
        ("rmsprop", "weight_decay=0.1", r"pass weight_decay=0.1 as a separate argument"),
        ("adamw_torch", "betas=1", r"adamw_torch has no option 'betas'; it takes no options: leave optim_args out"),
    ],
)
def test_invalid_optim_args(name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_optimizer(parameter_groups(nn.Linear(1, 1), 0.0), name, optim_args=text)
    with pytest.raises(InputError, match=message):
        minitransformers.TrainingArguments("run", optim=name, optim_args=text)
