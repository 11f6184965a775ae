"""The model card, README.md, of a trained model: data, settings and metrics of its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch

from minitransformers import __version__
from minitransformers.files.atomic import write_text
from minitransformers.training.trainer.arguments import TrainingArguments

CARD = "README.md"

# Entries in the records of evaluations that are no metrics.
NOT_METRICS = ("epoch", "step", "runtime", "samples_per_second", "steps_per_second")

Texts = str | Sequence[str] | None


def write_model_card(
    model: Any,
    args: TrainingArguments,
    log_history: Sequence[Mapping[str, Any]],
    *,
    name: str,
    language: Texts = None,
    license: str | None = None,
    tags: Texts = None,
    finetuned_from: str | None = None,
    tasks: Texts = None,
    dataset_tags: Texts = None,
    dataset: Texts = None,
    dataset_args: Texts = None,
) -> None:
    """Write README.md in `output_dir`; the tags of an existing one are kept.

    Args:
        model: the trained model.
        args: the settings of its training.
        log_history: the records of its training.
        name: the title.
        language, license, tags, finetuned_from, tasks, dataset_tags, dataset, dataset_args: see
            `Trainer.create_model_card`.
    """
    from huggingface_hub import ModelCard, ModelCardData

    path = args.output_path / CARD
    origin = getattr(getattr(model, "config", None), "name_or_path", "")
    if finetuned_from is None and origin and not Path(origin).is_dir():
        finetuned_from = origin
    names = _as_list(dataset or dataset_tags)
    data = f"the data {' and '.join(names)}" if names else "unnamed data"
    if dataset_args:
        data += f" ({', '.join(_as_list(dataset_args))})"
    all_tags = _as_list(tags)
    if path.exists():
        present = ModelCard.load(path).data.tags or []
        all_tags += [tag for tag in present if tag not in all_tags]
    metadata: Any = ModelCardData(
        library_name="transformers",
        model_name=name,
        base_model=finetuned_from,
        tags=["generated_from_trainer", *(tag for tag in all_tags if tag != "generated_from_trainer")],
        language=_as_list(language) or None,
        license=license,
        pipeline_tag=next(iter(_as_list(tasks)), None),
        datasets=_as_list(dataset_tags) or None,
    )
    training = "trained from scratch"
    if finetuned_from is not None:
        training = f"[{finetuned_from}](https://huggingface.co/{finetuned_from}), trained further"
    evaluations = [record for record in log_history if "eval_loss" in record]
    parts = [
        f"---\n{metadata.to_yaml()}\n---\n\n# {name}\n",
        f"This is {type(model).__name__}, {training} on {data}. This text was written by a program: nobody has "
        "described yet the purpose of the model, and its limits.\n",
        *(["## Evaluation\n", _items(_metrics(evaluations[-1]).items())] if evaluations else []),
        "## Training\n",
        _items(_settings(args)),
        *([_table(log_history)] if evaluations else []),
        "## Versions\n",
        _items(
            [("minitransformers", __version__), ("torch", torch.__version__), ("tokenizers", tokenizers.__version__)]
        ),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(parts))


def _settings(args: TrainingArguments) -> list[tuple[str, Any]]:
    per_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    kept = [
        ("learning_rate", args.learning_rate),
        ("lr_scheduler_type", f"{args.lr_scheduler_type}"),
        ("warmup_steps", args.warmup_steps),
        ("optim", f"{args.optim}, betas ({args.adam_beta1}, {args.adam_beta2}), epsilon {args.adam_epsilon}"),
        ("weight_decay", args.weight_decay),
        ("examples per update", per_update),
        ("max_steps", args.max_steps) if args.max_steps > 0 else ("num_train_epochs", args.num_train_epochs),
        ("label_smoothing_factor", args.label_smoothing_factor),
        ("precision", "fp16" if args.fp16 else "bf16" if args.bf16 else ""),
        ("seed", args.seed),
    ]
    return [(name, value) for name, value in kept if value or name == "seed"]


def _metrics(record: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name.removeprefix("eval_"): value for name, value in record.items()}
    return {name: value for name, value in plain.items() if not name.endswith(NOT_METRICS)}


def _table(history: Sequence[Mapping[str, Any]]) -> str:
    """A line for each evaluation, with the last training loss that was logged before it."""
    lines: list[dict[str, Any]] = []
    loss: Any = "not logged"
    for record in history:
        loss = record.get("loss", loss)
        if "eval_loss" in record:
            line = {"epoch": record.get("epoch"), "step": record.get("step"), "training loss": loss}
            lines.append(line | {f"evaluation {name}": value for name, value in _metrics(record).items()})
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [columns, ["---"] * len(columns), *([line.get(name, "") for name in columns] for line in lines)]
    return "".join(f"| {' | '.join(map(_short, row))} |\n" for row in rows)


def _items(pairs: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"- {name}: {_short(value)}\n" for name, value in pairs)


def _as_list(value: Texts) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
