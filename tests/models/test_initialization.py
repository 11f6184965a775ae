"""Initialization as people extend it: by an override of `_init_weights`, by modules of their own, after loading.

What a user's modules get is compared with transformers; that new heads get its draws, tests/parity/test_seeds.py tests.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import minitransformers as mt
from minitransformers.testing.comparing import assert_close

TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
}
NEW = "ignore:.*newly initialized"


class Parts(nn.Module):
    """What people put beside a backbone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.5))
        self.rnn = nn.LSTM(width, width, bidirectional=True)
        self.activation = nn.PReLU()
        self.convolution = nn.Conv1d(width, 4, 3)
        self.linear = nn.Linear(width, 3)
        self.norm = nn.LayerNorm(width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.table = nn.Embedding(5, width, padding_idx=0)


def tagger(library: Any) -> Any:
    """A class of a user's own, on a model of either library."""

    class Tagger(library.BertPreTrainedModel):  # type: ignore[name-defined, misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.bert = library.BertModel(config, add_pooling_layer=False)
            self.parts = Parts(config.hidden_size)
            self.bare = nn.Parameter(torch.linspace(0, 1, 7))
            self.post_init()

    return Tagger


def parts_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("bert.")}


def test_a_users_own_modules_get_what_they_get_in_the_reference() -> None:
    made = []
    for library in (mt, transformers):
        torch.manual_seed(0)
        made.append(tagger(library)(library.BertConfig(**TINY)))
    assert_close(made[0].state_dict(), made[1].state_dict(), tolerance=0.0)
    assert torch.equal(made[0].bare, torch.linspace(0, 1, 7))
    assert (made[0].parts.scale == 0.5).all()


@pytest.mark.filterwarnings(NEW)
def test_so_do_those_that_a_checkpoint_lacks(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**TINY)).save_pretrained(tmp_path)
    loaded = []
    for library in (mt, transformers):
        torch.manual_seed(0)
        loaded.append(tagger(library).from_pretrained(tmp_path))
    drawn = ("parts.rnn.", "parts.convolution.", "parts.linear.", "parts.norm.", "parts.batch_norm.", "parts.table.")
    ours, theirs = ({k: t for k, t in parts_of(model).items() if k.startswith(drawn)} for model in loaded)
    assert_close(ours, theirs, tolerance=0.0)
    # The reference leaves memory as it is where no rule fills it.
    assert torch.equal(loaded[0].bare, torch.linspace(0, 1, 7))
    assert (loaded[0].parts.scale == 0.5).all()
    assert loaded[0].parts.activation.weight.item() == 0.25


class Sevens(mt.BertForSequenceClassification):
    """Its own rule for linear layers, and a record of the modules that the rule was asked for."""

    asked: list[nn.Module]

    def _init_weights(self, module: nn.Module) -> None:
        self.__dict__.setdefault("asked", []).append(module)
        mt.BertPreTrainedModel._init_weights(self, module)
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 7.0)


class SevensInside(mt.BertModel):
    """The same for a backbone."""

    asked: list[nn.Module]
    _init_weights = Sevens._init_weights


def test_an_override_decides_for_every_module_of_a_new_model() -> None:
    """But for those of a backbone inside, which has rules of its own, as in the reference."""
    backbone = SevensInside(mt.BertConfig(**TINY))
    assert set(backbone.asked) == set(backbone.modules())
    assert backbone.pooler.dense.weight.eq(7).all()
    model = Sevens(mt.BertConfig(**TINY))
    assert set(model.asked) == set(model.modules()) - set(model.bert.modules())
    assert model.classifier.weight.eq(7).all()
    assert not model.bert.pooler.dense.weight.eq(7).any()


@pytest.mark.filterwarnings(NEW)
def test_an_override_decides_for_what_is_not_loaded_alone(tmp_path: Path) -> None:
    backbone = mt.BertModel(mt.BertConfig(**TINY))
    backbone.save_pretrained(tmp_path)
    model = Sevens.from_pretrained(tmp_path)
    assert model.classifier.weight.eq(7).all()
    assert_close(model.bert.state_dict(), backbone.state_dict(), tolerance=0.0)
    assert model.classifier in model.asked
    assert not set(model.asked) & set(model.bert.modules())


@pytest.mark.parametrize("again", ["post_init", "init_weights"])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_a_second_initialization_leaves_weights_alone(name: str, again: str, tmp_path: Path) -> None:
    model_class = getattr(mt, name)
    fields = {key: value for key, value in TINY.items() if key in model_class.config_class._known_names()}
    model_class(model_class.config_class(**fields)).save_pretrained(tmp_path)
    for model in (model_class.from_pretrained(tmp_path), model_class(model_class.config_class(**fields))):
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        getattr(model, again)()
        assert_close(model.state_dict(), before, tolerance=0.0)


def test_a_module_that_is_added_later_is_initialized_by_a_second_call() -> None:
    model = mt.BertModel(mt.BertConfig(**TINY))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.extra = nn.Linear(16, 16)
    model.init_weights()
    assert not model.extra.bias.any()
    assert_close({key: model.state_dict()[key] for key in before}, before, tolerance=0.0)


@pytest.mark.parametrize("mean_resizing", [True, False])
def test_resizing_keeps_the_rows_of_an_untied_head(mean_resizing: bool) -> None:
    model = mt.LlamaForCausalLM(mt.LlamaConfig(**TINY, tie_word_embeddings=False))
    head, table = model.lm_head.weight.clone(), model.model.embed_tokens.weight.clone()
    assert not torch.equal(head, table)
    model.resize_token_embeddings(35, mean_resizing=mean_resizing)
    assert torch.equal(model.lm_head.weight[:30], head)
    assert torch.equal(model.model.embed_tokens.weight[:30], table)
    model.resize_token_embeddings(20)
    assert torch.equal(model.lm_head.weight, head[:20])


def test_loading_imports_no_compiler(tmp_path: Path) -> None:
    """Random draws on the meta device would import torch._dynamo, which takes as long as the loading."""
    mt.BertModel(mt.BertConfig(**TINY)).save_pretrained(tmp_path)
    script = (
        "import sys, minitransformers as mt\n"
        f"for name in ('BertModel', 'BertForSequenceClassification'):\n"
        f"    getattr(mt, name).from_pretrained({str(tmp_path)!r})\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
