"""Adapters of peft inside a model, without a wrapper around it: the same in both libraries, and exchangeable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import nn

import minitransformers as mt
from minitransformers.errors import CheckpointError, InputError, MissingFileError, UnknownArgumentError
from minitransformers.testing.comparing import assert_close

pytestmark = [
    pytest.mark.usefixtures("annotations_are_not_checked"),
    pytest.mark.filterwarnings("ignore"),  # of peft, about GPT-2's matrices and several adapters in one model
]
LIBRARIES = pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"])
OTHER = {mt: transformers, transformers: mt}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 20}
FIELDS = {"Bert": SIZES, "GPT2": {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20}, "Llama": SIZES}
NAMES = {"Bert": "BertForSequenceClassification", "GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}
TARGETS = {"Bert": ["query", "value"], "GPT2": ["c_attn"], "Llama": ["q_proj", "down_proj"]}
FAMILIES = pytest.mark.parametrize("family", NAMES)
IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each family."""
    directory = tmp_path_factory.mktemp("models")
    for family, name in NAMES.items():
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(**FIELDS[family], initializer_range=0.5)
        getattr(transformers, name)(config).save_pretrained(directory / family)
    return directory


def load(library: Any, family: str, directory: Path) -> Any:
    return getattr(library, NAMES[family]).from_pretrained(directory)


def lora(family: str, **options: Any) -> Any:
    saved = {"modules_to_save": ["classifier"]} if family == "Bert" else {}
    return peft.LoraConfig(r=2, target_modules=TARGETS[family], **saved, **options)


def fill(model: nn.Module, adapter: str = "default", seed: int = 1) -> Any:
    """Give every parameter of an adapter a value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if f".{adapter}." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@LIBRARIES
@FAMILIES
def test_an_adapter_is_added_saved_and_loaded(library: Any, family: str, checkpoints: Path, tmp_path: Path) -> None:
    model = load(library, family, checkpoints / family)
    plain = model(IDS).logits
    frozen = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.add_adapter(lora(family))
    assert model.active_adapters() == ["default"]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    assert_close(model.eval()(IDS).logits, plain)  # it begins as nothing
    adapted = fill(model)(IDS).logits
    assert (adapted - plain).abs().max() > 1e-2

    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"generation_config.json", "README.md"} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    for reader in (library, OTHER[library]):
        other = load(reader, family, checkpoints / family)
        other.load_adapter(tmp_path, "second")
        assert other.active_adapters() == ["second"]
        assert_close(other(IDS).logits, adapted, tolerance=1e-5)
        assert not any(p.requires_grad for name, p in other.named_parameters() if "lora_" in name)
        through_peft = peft.PeftModel.from_pretrained(load(reader, family, checkpoints / family), tmp_path)
        assert_close(through_peft(IDS).logits, adapted, tolerance=1e-5)
        assert_close(load(reader, family, tmp_path)(IDS).logits, adapted, tolerance=1e-5)  # finds its model
    assert frozen.keys() == {name for name, _ in load(library, family, checkpoints / family).named_parameters()}


@LIBRARIES
def test_the_model_of_an_adapter_is_found_by_auto_classes(library: Any, checkpoints: Path, tmp_path: Path) -> None:
    model = load(library, "GPT2", checkpoints / "GPT2")
    model.add_adapter(lora("GPT2"))
    fill(model).save_pretrained(tmp_path)
    found = library.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(found).__name__ == "GPT2LMHeadModel"
    assert_close(found(IDS).logits, model.eval()(IDS).logits)


# The reference enables adapters again, but not the classifier that is trained with them.
@pytest.mark.parametrize(("library", "family"), [(mt, "Llama"), (transformers, "Llama"), (mt, "Bert")])
def test_adapters_are_chosen_disabled_and_deleted(library: Any, family: str, checkpoints: Path) -> None:
    model = load(library, family, checkpoints / family)
    plain = model(IDS).logits
    model.add_adapter(lora(family), "one")
    one = fill(model, "one", seed=1).eval()(IDS).logits
    model.add_adapter(lora(family), "two")
    two = fill(model, "two", seed=2).eval()(IDS).logits
    assert (one - two).abs().max() > 1e-2
    model.set_adapter("one")
    assert model.active_adapters() == ["one"]
    assert_close(model(IDS).logits, one)
    weights = model.get_adapter_state_dict("two")
    assert sum(name.endswith("lora_A.weight") for name in weights) == 2
    assert len(weights) == (6 if family == "Bert" else 4)
    model.disable_adapters()
    assert_close(model(IDS).logits, plain)
    model.enable_adapters()
    model.set_adapter("one")
    assert_close(model(IDS).logits, one)
    model.delete_adapter("one")
    with pytest.raises(ValueError, match="one"):
        model.set_adapter("one")
    model.set_adapter("two")
    assert_close(model(IDS).logits, two)
    model.delete_adapter(["two"])
    with pytest.raises(ValueError, match="adapter"):
        model.active_adapters()


@LIBRARIES
def test_an_adapter_from_memory_can_be_trained_further(library: Any, checkpoints: Path) -> None:
    model = load(library, "GPT2", checkpoints / "GPT2")
    model.add_adapter(lora("GPT2"))
    weights = {name: tensor.clone() for name, tensor in fill(model).get_adapter_state_dict().items()}
    other = load(library, "GPT2", checkpoints / "GPT2")
    other.load_adapter(peft_config=lora("GPT2"), adapter_state_dict=weights, is_trainable=True)
    assert_close(other(IDS).logits, model.eval()(IDS).logits)
    other.train()
    other(IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None for name, p in other.named_parameters() if "lora_" in name)


@LIBRARIES
def test_what_is_wrong_with_an_adapter(library: Any, checkpoints: Path) -> None:
    model = load(library, "GPT2", checkpoints / "GPT2")
    for method in (model.disable_adapters, model.enable_adapters, model.active_adapters, model.get_adapter_state_dict):
        with pytest.raises(ValueError, match="adapter"):
            method()
    model.add_adapter(lora("GPT2"), "one")
    with pytest.raises(TypeError, match="adapter_config"):
        model.add_adapter({"r": 2}, "two")
    with pytest.raises(ValueError, match="one"):
        model.add_adapter(lora("GPT2"), "one")
    with pytest.raises(ValueError, match="two"):
        model.set_adapter(["one", "two"])
    with pytest.raises(ValueError, match="peft_config"):
        model.load_adapter()


def test_errors_say_what_to_do(checkpoints: Path, tmp_path: Path) -> None:
    model = load(mt, "GPT2", checkpoints / "GPT2")
    model.add_adapter(lora("GPT2"), "one")
    model.add_adapter(lora("GPT2"), "two")
    model.set_adapter(["one", "two"])
    with pytest.raises(InputError, match=r"one adapter is saved at a time: choose it with model\.set_adapter"):
        model.save_pretrained(tmp_path)
    model.set_adapter("one")
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="adapter_name='one' is taken: choose another name, or call delete_adapter"):
        model.load_adapter(tmp_path, "one")
    with pytest.raises(UnknownArgumentError, match=r"'adapter_nam'\. Did you mean 'adapter_name'"):
        model.load_adapter(tmp_path, adapter_nam="three")
    with pytest.raises(InputError, match="hotswap=True is not covered: call delete_adapter"):
        model.load_adapter(tmp_path, "three", hotswap=True)
    llama = load(mt, "Llama", checkpoints / "Llama")
    with pytest.raises((CheckpointError, ValueError), match=r"it is of another model|not found"):
        llama.load_adapter(tmp_path)
    with pytest.raises(MissingFileError, match=r"adapter_config\.json"):
        load(mt, "Llama", checkpoints / "Llama").load_adapter(checkpoints / "Llama")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"does not say of which model.*model\.load_adapter"):
        load(mt, "GPT2", tmp_path)
