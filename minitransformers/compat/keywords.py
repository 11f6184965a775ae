"""Keywords of the reference's loading functions that have no effect here, in one table for every `from_pretrained`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minitransformers.errors import InputError, warn


class Accepted(NamedTuple):
    """The values of a keyword that change nothing, None among them; `otherwise` says what to do for other values.

    Other values are errors or, where `is_ignored` because the reference ignores them too, warnings.
    """

    values: tuple[Any, ...] = ()
    otherwise: str = ""
    is_ignored: bool = False


_ALWAYS = Accepted()  # whatever the value: it asks for what is done anyway, or for what never happens

LOADING: dict[str, Accepted] = {
    # files
    "proxies": Accepted(({},), "set the environment variable HTTPS_PROXY"),
    "resume_download": _ALWAYS,  # downloads are always resumed
    "user_agent": _ALWAYS,
    "trust_remote_code": _ALWAYS,  # a repository's code is never run
    "code_revision": _ALWAYS,
    "_from_auto": _ALWAYS,
    "_from_pipeline": _ALWAYS,
    "_commit_hash": _ALWAYS,
    "finetuning_task": _ALWAYS,  # a field of transformers 4, which had no effect
    "from_tf": Accepted((False,), "convert the checkpoint to safetensors with transformers 4"),
    "from_flax": Accepted((False,), "convert the checkpoint to safetensors with transformers 4"),
    "gguf_file": Accepted((), "load the safetensors checkpoint that the GGUF file was made from"),
    "_is_full_config": _ALWAYS,
    "mirror": Accepted((), "set the environment variable HF_ENDPOINT"),
    # weights
    "use_safetensors": _ALWAYS,  # a checkpoint's safetensors files are read if it has them, otherwise its pickles
    "low_cpu_mem_usage": _ALWAYS,  # models are always built without weights of their own
    "_fast_init": _ALWAYS,
    "weights_only": Accepted((True,), "pickles are only ever read with weights_only=True"),
    "quantization_config": Accepted((), "quantize the loaded model with torch.ao or torchao"),
    "load_in_8bit": Accepted((False,), "quantize the loaded model with torch.ao or torchao"),
    "load_in_4bit": Accepted((False,), "quantize the loaded model with torch.ao or torchao"),
    "max_memory": _ALWAYS,  # a model is on one device
    "offload_folder": _ALWAYS,
    "offload_state_dict": _ALWAYS,
    "offload_buffers": Accepted((False,), "leave it out: nothing is offloaded"),
    "adapter_kwargs": Accepted(({},), "load adapters with peft.PeftModel.from_pretrained"),
    "tp_plan": Accepted((), "shard the loaded model with torch.distributed.tensor.parallel"),
    "tp_size": Accepted((1,), "shard the loaded model with torch.distributed.tensor.parallel"),
    "device_mesh": Accepted((), "shard the loaded model with torch.distributed.tensor.parallel"),
    "distributed_config": Accepted((), "shard the loaded model with torch.distributed.tensor.parallel"),
    "use_kernels": Accepted((False,), "leave it out: attention is F.scaled_dot_product_attention"),
    "experts_implementation": _ALWAYS,  # no model here has experts
    "fusion_config": Accepted(({},), "leave it out: q, k and v are fused where the checkpoint has them so"),
    "disable_mmap": _ALWAYS,  # mapped or not, the weights are the same
    "kernel_config": Accepted((), "leave it out: attention is F.scaled_dot_product_attention"),
    "allow_all_kernels": Accepted((False,), "leave it out: attention is F.scaled_dot_product_attention"),
    # tokenizers and image processors
    "use_fast": _ALWAYS,  # there is one implementation of each
    "from_slow": _ALWAYS,
}

# What models do with their weights; nothing else has any, so that scripts may pass the same keywords to all.
_WEIGHTS = (
    *("variant", "device_map", "state_dict", "key_mapping", "generation_config", "adapter_name"),
    *("ignore_mismatched_sizes", "output_loading_info"),
)
LOADING_WEIGHTS = dict(LOADING)
LOADING |= dict.fromkeys(_WEIGHTS, _ALWAYS)

# Of tokenizers and image processors
LOADING_PROCESSORS: dict[str, Accepted] = {
    **LOADING,
    **dict.fromkeys(("dtype", "torch_dtype", "attn_implementation", "kernel_config"), _ALWAYS),
    "backend": _ALWAYS,  # there is one implementation of each
    "tokenizer_type": Accepted((), "call the from_pretrained of that class"),
    "image_processor_filename": Accepted((), "rename the file to preprocessor_config.json"),
}

LOADING_ADAPTERS = {
    **LOADING,
    "hotswap": Accepted((False, "auto"), "call delete_adapter, and load the other one"),
    "load_config": Accepted((), "pass its entries as arguments of their own"),
}

SAVING_WEIGHTS: dict[str, Accepted] = {
    "save_function": _ALWAYS,  # transformers does not call it either
    "save_original_format": _ALWAYS,  # files always have the names of the original checkpoints
    "save_peft_format": _ALWAYS,
    "distributed_checkpoint": Accepted((False,), "save with torch.distributed.checkpoint"),
}


def remove_no_ops(owner: str, keywords: Mapping[str, Any], table: Mapping[str, Accepted] = LOADING) -> dict[str, Any]:
    """`keywords` without those of `table`, once their values are known to have no effect.

    `use_auth_token`, the former name of `token`, becomes `token`.

    Args:
        owner: the function, as errors name it: "BertModel.from_pretrained".
        keywords: what was passed.
        table: `LOADING`, or another of its kind.

    Raises:
        InputError: a value that asks for something that is not covered, with what to do instead.
    """
    for name in keywords.keys() & table.keys():
        accepted, value = table[name], keywords[name]
        if not accepted.otherwise or value is None or value in accepted.values:
            continue
        if not accepted.is_ignored:
            raise InputError(f"{owner}: {name}={value!r} is not covered: {accepted.otherwise}.")
        warn(f"{owner}: {name}={value!r} has no effect: {accepted.otherwise}.")
    rest = {name: value for name, value in keywords.items() if name not in table}
    former = rest.pop("use_auth_token", None)
    return rest if former is None else {"token": former, **rest}
