"""Arguments about parallel runs: `accelerator_config`, `fsdp` and `fsdp_config`, read and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from minitransformers.configs.checks import refuse_unknown
from minitransformers.errors import InputError


@dataclass
class AcceleratorConfig:
    """The fields of `accelerator_config`, for the defaults of which batches are distributed here.

    Attributes:
        split_batches: False: `per_device_train_batch_size` is the batch of one process.
        dispatch_batches: None or False: each process reads its own batches.
        even_batches: whether all processes get equally many batches; either value gives the same metrics here.
        use_seedable_sampler: True: the order of the data depends on the seed and the epoch alone.
        non_blocking: batches in pinned memory always move to the device in parallel.
        gradient_accumulation_kwargs: None: gradients are averaged over the processes once a step.
        use_configured_state: False: nothing is taken from an `accelerate.PartialState`.
    """

    split_batches: bool = False
    dispatch_batches: bool | None = None
    even_batches: bool = True
    use_seedable_sampler: bool = True
    non_blocking: bool = False
    gradient_accumulation_kwargs: dict[str, Any] | None = None
    use_configured_state: bool = False

    def __post_init__(self) -> None:
        for name in ("split_batches", "dispatch_batches", "gradient_accumulation_kwargs", "use_configured_state"):
            if getattr(self, name):
                raise InputError(
                    f"accelerator_config: {name}={getattr(self, name)!r} is not covered: leave it out, or write the "
                    f"loop with accelerate."
                )
        if not self.use_seedable_sampler:
            raise InputError(
                "accelerator_config: use_seedable_sampler=False is not covered: override _get_train_sampler for "
                "another order."
            )

    @classmethod
    def read(cls, value: Any) -> AcceleratorConfig:
        """The config of a dictionary, a JSON file, or another config with these fields; None means the defaults."""
        if isinstance(value, cls):
            return value
        value = read_dict("accelerator_config", value)
        refuse_unknown("accelerator_config", value, [each.name for each in fields(cls)])
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


# Fields of `fsdp_config` whose values change nothing in how the weights are sharded here, or that are defaults of
# `torch.distributed.fsdp.fully_shard`: any value, or one of those listed.
FSDP_FIELDS: dict[str, tuple[Any, ...] | None] = {
    "version": (2, "2"),
    "auto_wrap_policy": ("TRANSFORMER_BASED_WRAP",),
    "transformer_layer_cls_to_wrap": None,  # each block of a ModuleList is sharded
    "min_num_params": (0,),
    "reshard_after_forward": (True, False, "true", "false"),
    "activation_checkpointing": (True, False, "true", "false"),
    "cpu_offload": (False, "false"),
    "cpu_ram_efficient_loading": None,  # weights are memory-mapped
    "state_dict_type": ("FULL_STATE_DICT",),
    "xla": (False,),
    "xla_fsdp_v2": (False,),
    "xla_fsdp_grad_ckpt": (False,),
    "forward_prefetch": None,  # of FSDP 1
    "backward_prefetch": None,
    "use_orig_params": None,
    "sync_module_states": None,
    "limit_all_gathers": None,
}
SHARDED = {"full_shard", "auto_wrap", "true"}  # texts of `fsdp` that ask for what `parallelize(model, "fsdp")` does


def read_fsdp(value: Any, config: Any) -> dict[str, Any]:
    """The fields of `fsdp_config`, for a `fsdp` that is true, or in the words of older scripts "full_shard auto_wrap".

    Raises:
        InputError: another kind of sharding, or a field that is not covered.
    """
    words = value.split() if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    for word in words:
        if str(getattr(word, "value", word)).lower() not in SHARDED:
            raise InputError(f"fsdp={value!r}: {word!r} is not covered: pass fsdp=True, which shards all weights.")
    fields_of_config = {name.removeprefix("fsdp_"): each for name, each in read_dict("fsdp_config", config).items()}
    refuse_unknown("fsdp_config", fields_of_config, FSDP_FIELDS)
    for name, each in fields_of_config.items():
        accepted = FSDP_FIELDS[name]
        plain = each.lower() if isinstance(each, str) and each.lower() in ("true", "false") else each
        if accepted is not None and plain not in accepted:
            raise InputError(f"fsdp_config: {name}={each!r} is not covered: use one of {accepted}.")
    return fields_of_config


def read_dict(name: str, value: Any) -> dict[str, Any]:
    """The dictionary that an argument gives as such, as JSON text, or as the path of a JSON file; None is empty.

    Raises:
        InputError: none of these.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "to_dict"):  # accelerate's AcceleratorConfig
        return dict(value.to_dict())
    if isinstance(value, str | os.PathLike):
        try:
            text = str(value)
            read = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{name}={str(value)!r} is neither JSON nor a file of JSON: {error}.") from error
        if isinstance(read, dict):
            return {key: _plain(each) for key, each in read.items()}
    raise InputError(f"{name} must be a dictionary, or JSON text of one, not {type(value).__name__} ({value!r:.60}).")


def _plain(value: Any) -> Any:
    """Numbers and truth values that JSON has as text, as a shell writes them."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
