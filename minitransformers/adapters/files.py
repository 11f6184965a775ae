"""Adapters in files: adapter_config.json and adapter_model.safetensors, as peft writes and reads them.

save_adapter(model, "adapter")
model = load_adapter(AutoModelForCausalLM.from_pretrained("gpt2"), "adapter")
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from minitransformers.adapters.attaching import add_adapter, attached, head_names, remove_adapter, set_trainable
from minitransformers.adapters.bottleneck import BottleneckConfig
from minitransformers.adapters.config import AdapterConfig
from minitransformers.adapters.ia3 import IA3Config
from minitransformers.adapters.lora import LoraConfig
from minitransformers.adapters.prefix_tuning import PrefixTuningConfig
from minitransformers.adapters.prompt_tuning import PromptTuningConfig
from minitransformers.errors import CheckpointError, InputError
from minitransformers.files.atomic import replacing, write_text
from minitransformers.files.hub import Source
from minitransformers.files.json_text import parse_json
from minitransformers.files.reading import open_checkpoint
from minitransformers.models.base.pretrained import PreTrainedModel

ModelType = TypeVar("ModelType", bound=PreTrainedModel)
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILES = ("adapter_model.safetensors", "adapter_model.bin")  # the second of former versions of peft

METHODS: dict[str, type[AdapterConfig]] = {
    config.method: config
    for config in (LoraConfig, IA3Config, BottleneckConfig, PrefixTuningConfig, PromptTuningConfig)
}

# Fields of peft's files that change nothing here, whatever their value. All others must ask for nothing.
_WITHOUT_EFFECT = {
    *("auto_mapping", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "peft_type", "peft_version"),
    *("revision", "task_type", "num_layers", "num_attention_heads", "num_transformer_submodules", "token_dim"),
    *("init_ia3_weights", "init_weights", "megatron_core", "qalora_group_size", "tokenizer_kwargs", "layers_pattern"),
}

# Ends of the names of classes -> peft's name of the task, which decides how it passes inputs
_TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "DoubleHeadsModel": "CAUSAL_LM",
    "Model": "FEATURE_EXTRACTION",
}


def save_adapter(model: PreTrainedModel, save_directory: str | PathLike[str]) -> None:
    """Write the adapter of `model`, and the modules that were trained whole with it, and nothing else of the model.

    Args:
        save_directory: made where it is missing.

    Raises:
        InputError: the model has no adapter.
    """
    adapter, directory = attached(model), Path(save_directory)
    if directory.is_file():
        raise InputError(f"save_directory={str(directory)!r} is a file; pass a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    fields = {
        **adapter.config.file_fields(model),
        "peft_type": adapter.config.method,
        "task_type": task_type(model),
        "base_model_name_or_path": model.name_or_path or None,
        "inference_mode": True,
    }
    with replacing(directory / WEIGHTS_FILES[0]) as temporary:
        temporary.write_bytes(save(_tensors(model), {"format": "pt"}))
    write_text(directory / CONFIG_FILE, json.dumps(fields, indent=2, sort_keys=True) + "\n")


def load_adapter(
    model: ModelType,
    pretrained_model_name_or_path: str | PathLike[str],
    *,
    is_trainable: bool = False,
    **source: Any,
) -> ModelType:
    """Give `model` the adapter that `save_adapter` here, or peft, has written.

    Args:
        model: the model that the adapter was trained with, without one; changed in place.
        pretrained_model_name_or_path: a directory, or the name of a hub's repository.
        is_trainable: go on training the adapter; otherwise everything is frozen.
        source: `revision`, `subfolder`, `token`, `cache_dir` …: see `Source`.

    Returns:
        The same model.

    Raises:
        MissingFileError: there is no adapter.
        CheckpointError: a damaged file, a method or an option that is not covered, or an adapter of another model.
        InputError: the model has an adapter.
    """
    files = Source(pretrained_model_name_or_path, **source)
    config = _read_config(files.file(CONFIG_FILE))
    tensors = dict(open_checkpoint(files, names=WEIGHTS_FILES))
    _check_sizes(config, tensors, str(files))
    if isinstance(config, PrefixTuningConfig):
        config.prefix_projection = False  # files have the prefix itself
    elif isinstance(config, PromptTuningConfig):
        config.prompt_tuning_init = "RANDOM"  # the file has the vectors, and the tokenizer may be elsewhere
    if config.modules_to_save is not None:  # peft adds names of heads that the model may not have
        config.modules_to_save = sorted({*config.modules_to_save, *head_names(model)})
    with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
        add_adapter(model, config, is_strict=False)
    try:
        _copy(tensors, model, str(files))
    except CheckpointError:
        remove_adapter(model)
        raise
    set_trainable(model, is_trainable)
    return model


def task_type(model: Any) -> str | None:
    """What peft calls the model's task, such as "SEQ_CLS"; None for a model without a head that it names."""
    return next((task for end, task in _TASKS.items() if type(model).__name__.endswith(end)), None)


def _tensors(model: Any) -> dict[str, Tensor]:
    """What the file of the model's adapter holds, in the reference's layout of matrices."""
    adapter = attached(model)
    names = adapter.config.tensors(model, adapter.all_names)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in names.items()}


def _copy(tensors: dict[str, Tensor], model: Any, origin: str) -> None:
    """Copy a file's tensors into the model's adapter."""
    adapter = attached(model)
    places = adapter.config.tensors(model, adapter.all_names)
    for name, tensor in places.items():
        if name not in tensors:
            raise CheckpointError(f"{origin} has no {name!r}: is the adapter of another model?")
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{name!r} has shape {tuple(tensors[name].shape)} in {origin}, and {type(model).__name__} needs "
                f"{tuple(tensor.shape)}: is the adapter of another model?"
            )
    if surplus := sorted(tensors.keys() - places.keys()):
        raise CheckpointError(
            f"{origin} has {len(surplus)} tensors that {type(model).__name__} has no place for, such as "
            f"{surplus[0]!r}: is the adapter of another model?"
        )
    with torch.no_grad():
        for name, tensor in places.items():
            tensor.copy_(tensors[name])


def _check_sizes(config: AdapterConfig, tensors: dict[str, Tensor], origin: str) -> None:
    """Refuse sizes that no tensor of the file has, before modules of these sizes are made."""
    largest = max((side for tensor in tensors.values() for side in tensor.shape), default=0)
    sizes = {name: getattr(config, name, None) for name in ("r", "bottleneck_size", "num_virtual_tokens")}
    for name, size in {**sizes, **(getattr(config, "rank_pattern", None) or {})}.items():
        if isinstance(size, int) and size > largest:
            raise CheckpointError(
                f"{CONFIG_FILE} of {origin} has {name}={size}, and no tensor there is that large: are both from the "
                f"same adapter?"
            )


def _read_config(path: Path) -> AdapterConfig:
    try:
        fields: dict[str, Any] = parse_json(path.read_bytes())
        method = fields["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no configuration of an adapter: {error!r}.") from error
    if not isinstance(method, str) or method not in METHODS:
        raise CheckpointError(
            f"{path} is of the method {method!r}; those that are covered are {', '.join(METHODS)}. Use peft for others."
        )
    config = METHODS[method]
    for name, value in fields.items():
        if name not in config._fields and name not in _WITHOUT_EFFECT and value not in (None, False, [], {}, "none"):
            raise CheckpointError(f"{path} has {name}={value!r}, which is not covered: load the adapter with peft.")
    return config(**{name: value for name, value in fields.items() if name in config._fields})
