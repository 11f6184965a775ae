"""The small tools that scripts import from `utils`, `modeling_utils` and `integrations`: the same in both libraries."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

import minitransformers as mt
from minitransformers.errors import InputError, MissingFileError

LIBRARIES = pytest.mark.parametrize("library", ["minitransformers", "transformers"])


def tools(library: str) -> Any:
    """The names of several modules in one object."""
    found: dict[str, Any] = {}
    for path in ("utils.generic", "utils.import_utils", "utils.hub", "integrations.deepspeed"):
        module = importlib.import_module(f"{library}.{path}")
        for name in NAMES:
            if name not in found and hasattr(module, name):
                found[name] = getattr(module, name)
    return SimpleNamespace(**found)


NAMES = [
    "ContextManagers",
    "ExplicitEnum",
    "cached_file",
    "can_return_loss",
    "find_labels",
    "flatten_dict",
    "get_torch_version",
    "has_file",
    "is_deepspeed_zero3_enabled",
    "is_env_variable_true",
    "is_in_notebook",
    "is_numpy_array",
    "is_tensor",
    "is_torch_device",
    "is_torch_dtype",
    "is_torch_bf16_available_on_device",
    "is_torch_fp16_available_on_device",
    "is_torch_greater_or_equal",
    "is_torch_less_or_equal",
    "is_torch_tensor",
    "is_torchdynamo_compiling",
    "requires_backends",
    "strtobool",
    "to_numpy",
    "to_py_obj",
]


@LIBRARIES
def test_kinds_of_values(library: str) -> None:
    tool = tools(library)
    values = [torch.ones(2), np.ones(2), [1], 3, torch.device("cpu"), torch.float32, "float32", "cpu", None]
    assert [tool.is_torch_tensor(value) for value in values] == [True] + [False] * 8
    assert [tool.is_numpy_array(value) for value in values] == [False, True] + [False] * 7
    assert [tool.is_tensor(value) for value in values] == [True, True] + [False] * 7
    assert [tool.is_torch_device(value) for value in values] == [index == 4 for index in range(9)]
    assert [tool.is_torch_dtype(value) for value in values] == [index in (5, 6) for index in range(9)]


@LIBRARIES
def test_values_of_other_kinds(library: str) -> None:
    tool = tools(library)
    batch = {"a": torch.tensor([[1, 2]]), "b": [np.int64(3), np.array([4.5])]}
    assert tool.to_py_obj(batch) == {"a": [[1, 2]], "b": [3, [4.5]]}
    arrays = tool.to_numpy({"a": torch.tensor([1, 2]), "b": [3]})
    assert [type(array) for array in arrays.values()] == [np.ndarray] * 2
    assert arrays["a"].tolist() == [1, 2]
    assert tool.flatten_dict({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert [tool.strtobool(word) for word in ("Yes", "on", "0", "FALSE")] == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="perhaps"):
        tool.strtobool("perhaps")


@LIBRARIES
def test_names_with_values(library: str) -> None:
    class Fruit(tools(library).ExplicitEnum):
        APPLE = "apple"

    assert Fruit("apple") is Fruit.APPLE == "apple"
    assert str(Fruit.APPLE) == "Fruit.APPLE"
    with pytest.raises(ValueError, match="apple"):
        Fruit("aple")


@LIBRARIES
def test_several_contexts(library: str) -> None:
    with tools(library).ContextManagers([torch.no_grad(), torch.device("meta")]):
        assert not torch.is_grad_enabled()
        assert torch.ones(2).is_meta
    assert torch.is_grad_enabled()


@LIBRARIES
def test_what_a_model_takes(library: str) -> None:
    models, tool = importlib.import_module(library), tools(library)
    assert tool.find_labels(models.BertForPreTraining) == ["labels", "next_sentence_label"]
    assert tool.find_labels(models.BertForQuestionAnswering) == ["start_positions", "end_positions"]
    assert tool.find_labels(models.BertModel) == []
    assert not tool.can_return_loss(models.BertModel)


@LIBRARIES
def test_the_surroundings(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tools(library)
    assert tool.get_torch_version() == torch.__version__
    assert tool.is_torch_greater_or_equal("2.0")
    assert not tool.is_torch_greater_or_equal("99.0")
    assert tool.is_torch_less_or_equal("99.0")
    assert tool.is_torch_bf16_available_on_device("cpu")
    assert tool.is_torch_fp16_available_on_device("cpu")
    assert not tool.is_torchdynamo_compiling()
    assert not tool.is_in_notebook()
    assert not tool.is_deepspeed_zero3_enabled()
    monkeypatch.setenv("AN_OPTION", "yes")
    assert tool.is_env_variable_true("AN_OPTION")
    assert not tool.is_env_variable_true("ANOTHER_OPTION")
    tool.requires_backends(object(), ["torch"])
    with pytest.raises(ImportError, match="detectron2"):
        tool.requires_backends(object(), ["torch", "detectron2"])


@LIBRARIES
def test_files_by_name(library: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    tool = tools(library)
    assert tool.cached_file(tmp_path, "config.json") == str(tmp_path / "config.json")
    assert tool.cached_file(tmp_path, "none.json", _raise_exceptions_for_missing_entries=False) is None
    with pytest.raises(OSError, match=r"none\.json"):
        tool.cached_file(tmp_path, "none.json")
    assert tool.has_file(tmp_path, "config.json")
    assert not tool.has_file(tmp_path, "none.json")


@LIBRARIES
def test_weights_by_hand(library: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"{library}.modeling_utils")
    weights = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    torch.save(weights, tmp_path / "pytorch_model.bin")
    for name in ("model.safetensors", "pytorch_model.bin"):
        read = module.load_state_dict(tmp_path / name)
        assert all(torch.equal(read[each], weights[each]) for each in weights)
    inner = nn.Linear(3, 2)
    assert module.unwrap_model(nn.DataParallel(inner)) is inner
    assert module.unwrap_model(inner) is inner


def test_a_directory_into_a_module(tmp_path: Path) -> None:
    weights = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    save_file(weights, tmp_path / "model.safetensors")
    module = nn.Linear(3, 2)
    loaded = importlib.import_module("minitransformers.trainer_utils").load_sharded_checkpoint(module, tmp_path)
    assert torch.equal(module.weight, weights["weight"])
    assert not any(loaded)


@pytest.mark.parametrize("name", [name for name in dir(mt.auto) if name.endswith("_MAPPING_NAMES")])
def test_tables_of_names_are_the_references(name: str) -> None:
    """Each entry of ours is one of the reference's; models with several classes for a task have the first there."""
    ours = getattr(importlib.import_module("minitransformers.models.auto.modeling_auto"), name)
    path = "configuration_auto" if name == "CONFIG_MAPPING_NAMES" else "modeling_auto"
    theirs = getattr(importlib.import_module(f"transformers.models.auto.{path}"), name)
    assert len(ours) >= 1
    for model_type, class_name in ours.items():
        expected = theirs[model_type]
        assert class_name == (expected if isinstance(expected, str) else expected[0])


# ---- names that are not here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from minitransformers import BertModl", "Did you mean 'BertModel'"),
        ("from minitransformers import GemmaForCausalLM", "README.md lists the families that are covered"),
        ("from minitransformers import BitsAndBytesConfig", "quantize the loaded model with torchao"),
        ("from minitransformers.utils.quantization_config import QuantizationMethod", "quantize the loaded model"),
        ("from minitransformers.modeling_outputs import MaskedLMOutputs", "Did you mean 'MaskedLMOutput'"),
        ("from minitransformers.modeling_utils import ALL_ATTENTION_FUNCTIONS", "nn.attention.attend"),
        ("from minitransformers.models.llama.modeling_llama import rotate_half", "models.base.rotary"),
        ("from minitransformers.integrations import HfDeepSpeedConfig", "training.parallelize"),
        ("from minitransformers.trainer import Trainr", "Did you mean 'Trainer'"),
        ("import minitransformers.quantizers", "quantize the loaded model"),
    ],
)
def test_a_name_that_is_not_here_says_what_to_use(statement: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        exec(statement, {})


@pytest.mark.parametrize("read", [lambda o: o.logit, lambda o: o["logit"]], ids=["attribute", "key"])
def test_a_misspelt_field_of_an_output(read: Any) -> None:
    output = mt.models.bert.MaskedLMOutput(logits=torch.ones(1))
    with pytest.raises((AttributeError, KeyError), match="Did you mean 'logits'"):
        read(output)


def test_public_names_come_from_every_path() -> None:
    """`from transformers.trainer import TrainingArguments` works there, because that module imports the name."""
    from minitransformers.modeling_utils import PreTrainedConfig
    from minitransformers.trainer import TrainingArguments

    assert TrainingArguments is mt.TrainingArguments
    assert PreTrainedConfig is mt.PreTrainedConfig


def test_wrong_values() -> None:
    tool = tools("minitransformers")
    with pytest.raises(InputError, match="'perhaps' must be one of y, yes"):
        tool.strtobool("perhaps")
    with pytest.raises(MissingFileError, match=r"no 'none\.json'"):
        tool.cached_file(Path(__file__).parent, "none.json")
    assert transformers.utils.strtobool("y") == tool.strtobool("y")
