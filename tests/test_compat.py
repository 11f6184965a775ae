"""The reference's module paths and names, and its keywords without effect: the same in both libraries, or explained."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt
from minitransformers.compat import helpers, layers
from minitransformers.compat.device_map import device_of
from minitransformers.compat.keywords import LOADING, remove_no_ops
from minitransformers.compat.modules import COLLECTIONS, SAME_MODULES
from minitransformers.errors import InputError
from minitransformers.training.trainer.predictions import speed_metrics

LIBRARIES = pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"])
# Paths of transformers 4, which version 5 does not have
FORMER = {path for path in COLLECTIONS if path.endswith("_fast")} | {"models.openai.tokenization_openai_fast"}


@pytest.mark.parametrize("path", [*SAME_MODULES, *COLLECTIONS])
def test_names_are_where_the_reference_has_them(path: str) -> None:
    """Every public name that the reference defines in a module can be imported from that path here."""
    ours = importlib.import_module(f"minitransformers.{path}")
    try:
        theirs = importlib.import_module(f"transformers.{path}")
    except ImportError:
        assert path in FORMER or "tokenization_" in path
        return
    for name in mt.__all__:
        if getattr(getattr(theirs, name, None), "__module__", None) == theirs.__name__:
            assert getattr(ours, name) is getattr(mt, name), name


@pytest.mark.parametrize("path", SAME_MODULES)
def test_a_module_under_another_path_is_the_same_module(path: str) -> None:
    """So that a class which a script replaces in it is replaced."""
    assert importlib.import_module(f"minitransformers.{path}") is importlib.import_module(
        f"minitransformers.{SAME_MODULES[path]}"
    )


IMPORTS = """
from LIBRARY.models.bert.modeling_bert import BertModel, BertLayer, BertSelfAttention
from LIBRARY.models.bert.configuration_bert import BertConfig
from LIBRARY.models.bert.tokenization_bert import BertTokenizer
from LIBRARY.models.gpt2.modeling_gpt2 import GPT2LMHeadModel
from LIBRARY.models.openai.modeling_openai import OpenAIGPTModel
from LIBRARY.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM
from LIBRARY.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig
from LIBRARY.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, SequenceClassifierOutput
from LIBRARY.modeling_utils import PreTrainedModel
from LIBRARY.configuration_utils import PretrainedConfig, PreTrainedConfig
from LIBRARY.tokenization_utils_base import BatchEncoding, PaddingStrategy, PreTrainedTokenizerBase, TruncationStrategy
from LIBRARY.tokenization_utils import PreTrainedTokenizer
from LIBRARY.data.data_collator import DataCollatorMixin, DataCollatorWithPadding, default_data_collator
from LIBRARY.trainer_utils import EvalLoopOutput, EvalPrediction, get_last_checkpoint, speed_metrics, set_seed
from LIBRARY.trainer_utils import IntervalStrategy, PREFIX_CHECKPOINT_DIR, SchedulerType, enable_full_determinism
from LIBRARY.trainer_pt_utils import get_parameter_names, torch_distributed_zero_first
from LIBRARY.modeling_layers import GradientCheckpointingLayer
from LIBRARY.trainer_callback import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState
from LIBRARY.trainer import Trainer
from LIBRARY.training_args import TrainingArguments
from LIBRARY.optimization import Adafactor, get_linear_schedule_with_warmup, get_scheduler
from LIBRARY.cache_utils import Cache, DynamicCache
from LIBRARY.generation.logits_process import LogitsProcessor, LogitsProcessorList
from LIBRARY.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from LIBRARY.generation.utils import GenerationMixin
from LIBRARY.generation.streamers import TextStreamer
from LIBRARY.generation import GenerationConfig
from LIBRARY.activations import ACT2FN, get_activation
from LIBRARY.pytorch_utils import Conv1D, apply_chunking_to_forward
from LIBRARY.utils import ModelOutput, PaddingStrategy, TensorType, check_min_version, is_torch_available, logging
from LIBRARY.utils import CONFIG_NAME, WEIGHTS_NAME, SAFE_WEIGHTS_NAME, is_datasets_available
from LIBRARY.utils.versions import require_version
from LIBRARY.utils.import_utils import is_torch_available
from LIBRARY.file_utils import ModelOutput, PaddingStrategy, is_torch_available
from LIBRARY.integrations import is_wandb_available, is_tensorboard_available
from LIBRARY.testing_utils import CaptureLogger
from LIBRARY.hf_argparser import HfArgumentParser
from LIBRARY.image_processing_utils import BatchFeature
"""


@pytest.mark.parametrize("statement", IMPORTS.strip().splitlines())
@pytest.mark.parametrize("library", ["minitransformers", "transformers"])
def test_imports_of_scripts(library: str, statement: str) -> None:
    exec(statement.replace("LIBRARY", library), {})


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from minitransformers.trainer_utils import get_last_checkpoints", "Did you mean 'get_last_checkpoint'"),
        (
            "from minitransformers.models.bert import BretModel",
            "models.bert' has no .*BertModel",
        ),
        ("from minitransformers.utils import ModelOutputs", "Did you mean 'ModelOutput'"),
        ("from minitransformers.models.bert.modeling_brt import x", "modeling_brt"),
        ("import minitransformers.modeling_output", "modeling_output"),
    ],
)
def test_a_missing_name_is_explained(statement: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        exec(statement, {})


def test_availability_of_packages_is_the_references() -> None:
    names = [name for name in dir(transformers.utils) if name.startswith("is_") and name.endswith("_available")]
    different = []
    for name in names:
        theirs = getattr(transformers.utils, name)
        try:
            if getattr(mt.utils, name)() != theirs():
                different.append(name)
        except TypeError:  # takes arguments
            continue
    # Theirs runs the program `ninja`, needs no package for `sinq`, and asks a CUDA device for grouped products.
    assert set(different) <= {"is_ninja_available", "is_sinq_available", "is_grouped_mm_available"}


# ---- keywords without effect -----------------------------------------------------------------------------------------

HARMLESS: list[dict[str, Any]] = [
    {"proxies": None},
    {"trust_remote_code": True},
    {"trust_remote_code": False},
    {"use_auth_token": None},
    {"resume_download": True},
    {"_from_auto": True},
    {"low_cpu_mem_usage": True},
    {"from_tf": False},
    {"quantization_config": None},
    {"gguf_file": None},
]


@LIBRARIES
@pytest.mark.parametrize("keywords", HARMLESS, ids=str)
def test_keywords_that_ask_for_nothing(library: Any, keywords: dict[str, Any], tmp_path: Path) -> None:
    library.BertConfig(hidden_size=24, num_attention_heads=2).save_pretrained(tmp_path)
    for loader in (library.BertConfig, library.AutoConfig):
        config = loader.from_pretrained(tmp_path, **keywords)
        assert config.hidden_size == 24
        assert not keywords.keys() & {"proxies", "from_tf", "gguf_file", "low_cpu_mem_usage"} & config.to_dict().keys()


@pytest.mark.parametrize("name", [name for name, accepted in LOADING.items() if accepted.otherwise])
def test_keywords_that_ask_for_more_say_what_to_do(name: str) -> None:
    assert remove_no_ops("f", {name: None, "other": 1}) == {"other": 1}
    for value in LOADING[name].values:
        assert remove_no_ops("f", {name: value}) == {}
    with pytest.raises(InputError, match=f"f: {name}='much' is not covered: {LOADING[name].otherwise}"):
        remove_no_ops("f", {name: "much"})


# ---- device_map ------------------------------------------------------------------------------------------------------


@LIBRARIES
@pytest.mark.parametrize("device_map", [None, "auto", "cpu", {"": "cpu"}, torch.device("cpu")], ids=str)
def test_models_are_loaded_to_a_device(library: Any, device_map: Any, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}
    library.BertModel(library.BertConfig(**sizes)).save_pretrained(tmp_path)
    for loader in (library.BertModel, library.AutoModel):
        model = loader.from_pretrained(tmp_path, device_map=device_map, use_safetensors=True, variant=None)
        expected = "cpu" if device_map != "auto" else (torch.accelerator.current_accelerator() or torch.device("cpu"))
        assert model.device.type == torch.device(expected).type


@pytest.mark.usefixtures("annotations_are_not_checked")
@pytest.mark.parametrize("device_map", ["gpu", {"bert": "cpu", "classifier": "meta"}, 1.5, {}], ids=str)
def test_a_device_that_is_none(device_map: Any) -> None:
    with pytest.raises(InputError, match="device_map="):
        device_of(device_map)


def test_devices_by_name() -> None:
    assert device_of("cuda:1") == device_of({"": "cuda:1"}) == torch.device("cuda", 1)


# ---- helpers ---------------------------------------------------------------------------------------------------------


def test_conv1d_is_the_references() -> None:
    torch.manual_seed(0)
    ours = layers.Conv1D(3, 5)
    torch.manual_seed(0)
    theirs = transformers.Conv1D(3, 5)
    x = torch.randn(2, 4, 5)
    assert ours.weight.shape == (5, 3)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("name", layers.ACT2FN)
def test_activations_are_the_references(name: str) -> None:
    x = torch.linspace(-12, 12, 101, dtype=torch.float64)
    module = layers.ACT2FN[name]
    assert isinstance(module, torch.nn.Module)
    assert module is not layers.ACT2FN[name]
    theirs = transformers.activations.ACT2FN[name]
    assert torch.allclose(module(x), theirs(x), atol=1e-9)
    assert torch.allclose(layers.get_activation(name)(x), theirs(x), atol=1e-9)


@pytest.mark.parametrize("chunk", [0, 1, 2, 6])
def test_chunking_changes_no_number(chunk: int) -> None:
    x, y = torch.randn(2, 6, 3), torch.randn(2, 6, 3)

    def forward(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b + 1

    ours = layers.apply_chunking_to_forward(forward, chunk, 1, x, y)
    assert torch.equal(ours, transformers.apply_chunking_to_forward(forward, chunk, 1, x, y))


def test_chunks_must_divide_the_length() -> None:
    with pytest.raises(InputError, match="chunk_size=4 must divide the length of dimension 1"):
        layers.apply_chunking_to_forward(torch.relu, 4, 1, torch.ones(2, 6))


def test_speed_metrics_have_the_references_names() -> None:
    start = time.time() - 2
    ours = speed_metrics("eval", start, num_samples=10, num_steps=5, num_tokens=100)
    theirs = transformers.trainer_utils.speed_metrics("eval", start, num_samples=10, num_steps=5, num_tokens=100)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=0.05)


@pytest.mark.parametrize("patterns", [None, ["bias", "layernorm"], [r"^weight", r"dense\.bias"]], ids=str)
def test_parameter_names_for_weight_decay(patterns: list[str] | None) -> None:
    model = mt.BertForSequenceClassification(mt.BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
    for types in ([], [torch.nn.LayerNorm], [torch.nn.LayerNorm, torch.nn.Embedding]):
        theirs = transformers.trainer_pt_utils.get_parameter_names(model, types, patterns)
        assert sorted(helpers.get_parameter_names(model, types, patterns)) == sorted(theirs)


@LIBRARIES
def test_full_determinism(library: Any) -> None:
    try:
        library.enable_full_determinism(3)
        first = torch.rand(2)
        library.enable_full_determinism(3, warn_only=True)
        assert torch.equal(torch.rand(2), first)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


@LIBRARIES
def test_messages_can_be_captured(library: Any) -> None:
    utils = importlib.import_module(f"{library.__name__}.testing_utils")
    logger = library.utils.logging.get_logger(f"{library.__name__}.test_compat")
    logger.setLevel("WARNING")  # whatever level other tests have set
    with utils.CaptureLogger(logger) as captured:
        logger.warning("seen")
    logger.warning("not seen")
    assert captured.out == "seen\n"


@pytest.mark.parametrize("module", [helpers, transformers.data.data_collator], ids=["ours", "theirs"])
def test_a_collator_of_ones_own(module: Any) -> None:
    class Sums(module.DataCollatorMixin):
        return_tensors = "pt"

        def torch_call(self, features: list[Any]) -> torch.Tensor:
            return torch.tensor(features).sum()

        def numpy_call(self, features: list[Any]) -> Any:
            return torch.tensor(features).sum().numpy()

    assert Sums()([1, 2]).item() == 3
    assert isinstance(Sums()([1, 2]), torch.Tensor)
    assert Sums()([1, 2], return_tensors="np") == 3
