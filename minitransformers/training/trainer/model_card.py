"""README.md of a trained model: what is known of how it came about, for those who find it on a hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tokenizers
import torch

from minitransformers import __version__
from minitransformers.training.trainer.arguments import TrainingArguments

if TYPE_CHECKING:
    from minitransformers.training.trainer.publisher import Publisher

# In records of evaluations, what says nothing about the model.
ASIDE = ("epoch", "step", "runtime", "samples_per_second", "steps_per_second")


def model_card(
    trainer: Publisher,
    *,
    name: str,
    tags: Sequence[str],
    finetuned_from: str | None,
    data: str,
    **metadata: Any,
) -> str:
    """The text of the card; it claims nothing that the run does not show.

    Args:
        finetuned_from: the model whose weights it began with.
        data: the names of the data.
        metadata: further entries of the hub's metadata, such as `language` and `license`.
    """
    from huggingface_hub import ModelCardData

    about: Any = ModelCardData(
        library_name="transformers",
        model_name=name,
        base_model=finetuned_from,
        tags=["generated_from_trainer", *(tag for tag in tags if tag != "generated_from_trainer")],
        **metadata,
    )
    origin = "trained from its first weights"
    if finetuned_from is not None:
        origin = f"[{finetuned_from}](https://huggingface.co/{finetuned_from}), trained further"
    on = f"the data {data}" if data else "data that were not named"
    evaluations = [record for record in trainer.state.log_history if "eval_loss" in record]
    parts = [
        f"---\n{about.to_yaml()}\n---\n\n# {name}\n",
        f"This is {type(trainer.model).__name__}, {origin} on {on}. This text was written by a program: nobody has "
        "said yet what the model is meant for, and what its limits are.\n",
        *(["## Evaluation\n", _items(_metrics(evaluations[-1]).items())] if evaluations else []),
        "## Training\n",
        _items(_settings(trainer.args)),
        *([_table(trainer.state.log_history)] if evaluations else []),
        "## Versions\n",
        _items(
            [("minitransformers", __version__), ("torch", torch.__version__), ("tokenizers", tokenizers.__version__)]
        ),
    ]
    return "\n".join(parts)


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
    return {name: value for name, value in plain.items() if not name.endswith(ASIDE)}


def _table(history: Sequence[Mapping[str, Any]]) -> str:
    """A line for each evaluation, with the training loss logged last before it."""
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


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
