"""The command `convert`: a checkpoint of old files, written again in today's form."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import minitransformers
from minitransformers import auto
from minitransformers.auto import CONFIG_MAPPING, AutoConfig
from minitransformers.errors import CheckpointError, InputError, MinitransformersError, nearest
from minitransformers.files.hub import Source
from minitransformers.files.reading import open_checkpoint
from minitransformers.tokenization import AutoTokenizer

# Where config.json does not name the class, the first of these that takes every tensor of the file is the one.
CANDIDATES = (
    auto.AutoModelForPreTraining,
    auto.AutoModelForMaskedLM,
    auto.AutoModelForCausalLM,
    auto.AutoModelForSeq2SeqLM,
    auto.AutoModelForSequenceClassification,
    auto.AutoModelForTokenClassification,
    auto.AutoModelForQuestionAnswering,
    auto.AutoModel,
)


def convert(options: argparse.Namespace) -> int:
    """Write the checkpoint with safetensors, today's names and a full config.json; print what has changed."""
    about = convert_checkpoint(options.model, options.output, options.family, options.dtype, options.max_shard_size)
    if options.json:
        print(json.dumps(about, ensure_ascii=False))
        return 0
    print(f"{about['architecture']}: {about['tensors']} tensors in {options.output}")
    for name, side in (("old_names", "only in the old file"), ("new_names", "only in the new file")):
        if about[name]:
            print(f"{side}: {len(about[name])} names, such as {about[name][0]}")
    print("tokenizer: " + (about["tokenizer"] or "none was found; copy its files by hand"))
    return 0


def convert_checkpoint(
    model: str,
    output: str,
    family: str | None = None,
    dtype: str | None = None,
    max_shard_size: int | str = "50GB",
) -> dict[str, Any]:
    """Load a checkpoint with pickles, old names or a config without its class, and save it in today's form.

    Args:
        model: a directory, or a name on a hub.
        output: a directory that does not exist, or is empty.
        family: such as "bert", where config.json has no model_type.
        dtype: "float32", "float16" or "bfloat16"; by default that of the file.
        max_shard_size: of one file of weights.

    Returns:
        `architecture`, the class; the number of `tensors`; `old_names`, which only the old file has (names of before,
        tensors that no model uses, and heads that are tied); `new_names`, which only the new file has; and the class of
        the `tokenizer`, or None.

    Raises:
        InputError: the output directory has files.
        CheckpointError: no class takes the tensors.
        MissingFileError: there is no checkpoint.
    """
    directory = Path(output)
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise InputError(f"{output} exists and is not empty: name a new directory.")
    loaded = _load(model, family, getattr(torch, dtype) if dtype else "auto")
    before = set(open_checkpoint(Source(model), None))
    loaded.save_pretrained(directory, max_shard_size=max_shard_size)
    after = set(open_checkpoint(Source(output), None))
    try:
        tokenizers: Any = AutoTokenizer
        tokenizer = tokenizers.from_pretrained(model)
        tokenizer.save_pretrained(directory)
    except MinitransformersError:
        tokenizer = None
    return {
        "architecture": type(loaded).__name__,
        "tensors": len(after),
        "old_names": sorted(before - after),
        "new_names": sorted(after - before),
        "tokenizer": None if tokenizer is None else type(tokenizer).__name__,
    }


def _load(model: str, family: str | None, dtype: torch.dtype | str) -> Any:
    """The checkpoint in the class that takes all of its tensors."""
    if family is not None and family not in CONFIG_MAPPING:
        raise InputError(
            f"--family {family} is not one of {', '.join(CONFIG_MAPPING)}.{nearest(family, CONFIG_MAPPING)}"
        )
    configs: Any = AutoConfig if family is None else CONFIG_MAPPING[family]
    config = configs.from_pretrained(model)
    named = [getattr(minitransformers, name, None) for name in config.architectures or ()]
    missing: list[str] = []
    for loader in [*filter(None, named), *CANDIDATES]:
        table = getattr(loader, "models", None)
        if table is not None and config.model_type not in table:
            continue
        loaded, info = loader.from_pretrained(model, config=config, dtype=dtype, output_loading_info=True)
        if not info["missing_keys"] and (loader in named or not info["unexpected_keys"]):
            return loaded
        missing = missing or sorted(info["missing_keys"])
    raise CheckpointError(
        f"No class of the family {config.model_type!r} takes the tensors of {model!r} as they are"
        + (f": {missing[0]!r} is missing." if missing else ".")
    )
