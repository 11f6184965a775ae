"""A model for a task from the directory of an adapter: its base model, with the adapter in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minitransformers.adapters.files import load_adapter, task_type
from minitransformers.auto import AutoConfig
from minitransformers.errors import CheckpointError
from minitransformers.files.json_text import parse_json
from minitransformers.pipelines.registry import PIPELINE_REGISTRY


def load_adapted(task: str, directory: Path) -> Any:
    """The model that the adapter was trained in, with the adapter.

    Args:
        task: the name of a task.
        directory: adapter_config.json, which names the base model, the adapter's weights, and a config.json with the
            labels where the head is new, as the command `train` writes it.

    Raises:
        CheckpointError: no base model is named, or it has no class for the task, or the adapter does not fit.
    """
    fields = parse_json((directory / "adapter_config.json").read_bytes())
    base, purpose = fields.get("base_model_name_or_path"), fields.get("task_type")
    if not base:
        raise CheckpointError(
            f"{directory}/adapter_config.json does not name its base model (base_model_name_or_path)."
        )
    config = AutoConfig.from_pretrained(directory if (directory / "config.json").is_file() else base)
    for loader in PIPELINE_REGISTRY.find(task).models:
        table = getattr(loader, "models", None)
        if table is None or config.model_type in table:
            # The head that the base model lacks comes with the adapter, so that no warning is due.
            model, info = loader.from_pretrained(base, config=config, output_loading_info=True)
            if purpose is not None and task_type(model) not in (None, purpose):
                raise CheckpointError(f"{directory} has an adapter for {purpose}, which is no {type(model).__name__}.")
            load_adapter(model, directory)
            trained = tuple(f"{name}." for name in model._attached_adapter.config.modules_to_save or ())
            if new := [name for name in info["missing_keys"] if not name.startswith(trained or "/")]:
                raise CheckpointError(f"{directory} has no head for {task}: it lacks {', '.join(sorted(new)[:3])}.")
            return model.eval()
    raise CheckpointError(f"The adapter's model, of the family {config.model_type!r}, has no class for {task}.")
