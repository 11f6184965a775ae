"""Which linear layers an adapter changes: the names of projections in each family, and how names are matched."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from torch import nn

from minitransformers.errors import InputError, nearest
from minitransformers.inference.linear import FastLinear, Int8Linear


class Projections(NamedTuple):
    """Ends of the names of a family's linear layers, by what they compute.

    Where one layer computes queries, keys and values together, all three have its name.
    """

    query: str
    key: str
    value: str
    attention_outputs: tuple[str, ...]
    feed_forward_output: str
    not_feed_forward: str = ""  # a layer whose name ends alike


_BERT = Projections("query", "key", "value", ("attention.output.dense",), "output.dense", "attention.output.dense")
_LLAMA = Projections("q_proj", "k_proj", "v_proj", ("o_proj",), "down_proj")
_GPT = Projections("c_attn", "c_attn", "c_attn", ("attn.c_proj",), "mlp.c_proj")
_VIT = Projections("q_proj", "k_proj", "v_proj", ("o_proj",), "fc2")

PROJECTIONS: dict[str, Projections] = {
    "albert": Projections("query", "key", "value", ("attention.dense",), "ffn_output"),
    "bart": Projections("q_proj", "k_proj", "v_proj", ("out_proj",), "fc2"),
    "dinov2": _VIT,
    "distilbert": Projections("q_lin", "k_lin", "v_lin", ("out_lin",), "lin2"),
    "gpt2": _GPT,
    "gpt_neo": Projections("q_proj", "k_proj", "v_proj", ("out_proj",), "c_proj"),
    "gpt_neox": Projections(
        "query_key_value", "query_key_value", "query_key_value", ("attention.dense",), "dense_4h_to_h"
    ),
    "modernbert": Projections("Wqkv", "Wqkv", "Wqkv", ("attn.Wo",), "mlp.Wo"),
    "openai-gpt": _GPT,
    "t5": Projections("q", "k", "v", ("o",), "wo"),
    "transformer": Projections(
        "query", "key", "value", ("self_attention.output", "cross_attention.output"), "feed_forward.output"
    ),
    "vit": _VIT,
    **dict.fromkeys(["bert", "electra", "roberta", "xlm-roberta"], _BERT),
    **dict.fromkeys(["llama", "mistral", "qwen2"], _LLAMA),
}
"""By `config.model_type`."""


# What may get an adapter: nn.Linear itself, also in a model that is optimized; subclasses have rules of their own.
PLAIN_LINEAR = (nn.Linear, FastLinear, Int8Linear)


def projections_of(model: Any) -> Projections:
    """The names of the model's family.

    Raises:
        InputError: a family that is not in the table, such as a user's own.
    """
    found = PROJECTIONS.get(model.config.model_type)
    if found is None:
        raise InputError(
            f"There are no default target_modules for the family {model.config.model_type!r}: pass the ends of the "
            f"names of linear layers, such as target_modules=['query', 'value'], or 'all-linear'."
        )
    return found


def matches(name: str, patterns: Collection[str] | str | None) -> bool:
    """Whether the module `name` is meant: by one of a list of ends, at a dot, or by a regular expression for it all."""
    if patterns is None:
        return False
    if isinstance(patterns, str):
        return re.fullmatch(patterns, name) is not None
    return any(name == end or name.endswith(f".{end}") for end in patterns)


def find_linear_layers(
    model: Any,
    target_modules: list[str] | str,
    exclude_modules: list[str] | str | None,
    *,
    besides: Collection[str] = (),
    is_strict: bool = True,
) -> dict[str, nn.Linear]:
    """The linear layers that `target_modules` means, by name.

    Args:
        target_modules: ends of names, a regular expression for whole names, or "all-linear" for every linear layer but
            those that score the vocabulary.
        exclude_modules: ends of names, or a regular expression, of layers to leave out.
        besides: names of modules that are trained whole; layers in them are left out.
        is_strict: every entry of `target_modules` must match.

    Raises:
        InputError: a name that matches nothing, or something other than a linear layer.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    inside = tuple(f"{name}." for name in besides)
    allowed = {
        name: module
        for name, module in modules.items()
        if name not in besides and not name.startswith(inside or "/") and not matches(name, exclude_modules)
    }
    linear = {name: module for name, module in allowed.items() if type(module) in PLAIN_LINEAR}
    if target_modules == "all-linear":
        head = model.get_output_embeddings()
        return {name: module for name, module in linear.items() if module is not head}
    found = {name: module for name, module in allowed.items() if matches(name, target_modules)}
    patterns = [target_modules] if isinstance(target_modules, str) else target_modules
    for pattern in patterns if is_strict or not found else ():
        meant = target_modules if isinstance(target_modules, str) else [pattern]
        if not any(matches(name, meant) for name in found):
            raise InputError(
                f"target_modules: {pattern!r} matches no layer of {type(model).__name__}."
                f"{nearest(pattern, ends(linear))} Its linear layers end with "
                f"{', '.join(sorted({name.split('.')[-1] for name in linear}))}."
            )
    for name, module in found.items():
        if name not in linear:
            raise InputError(
                f"target_modules: {name!r} is of the class {type(module).__name__}; only layers of the class nn.Linear "
                f"can be adapted. Name those inside it, or train it whole with modules_to_save."
            )
    return {name: linear[name] for name in found}


def ends(names: Iterable[str]) -> set[str]:
    """The last one and two parts of each name."""
    return {".".join(name.split(".")[-count:]) for name in names for count in (1, 2)}
