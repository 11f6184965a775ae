"""run: a recipe from its first row to the saved model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minitransformers.adapters import (
    IA3Config,
    LoraConfig,
    merge_adapter,
    remove_adapter,
    save_adapter,
    trainable_parameters,
)
from minitransformers.adapters.attaching import attached
from minitransformers.files.atomic import write_text
from minitransformers.recipes.methods import METHODS, choose_parameters
from minitransformers.recipes.recipe import Recipe
from minitransformers.recipes.rows import Row, read_rows, split_rows
from minitransformers.recipes.tasks import TASK_CLASSES
from minitransformers.recipes.tuning import tune


def run(recipe: Recipe, report: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Train as the recipe says, save the model, and return its figures.

    The output directory gets the model with its tokenizer, and figures.json. Adapters that can be merged are, and the
    adapter alone is in `adapter/`; of others there is the adapter alone, with the config of its model beside it, which
    the commands for tasks load.

    Args:
        recipe: what is learnt from what.
        report: gets lines of text on the way.

    Returns:
        `rows`, `trained` and `total` parameters, `seconds`, the scores of the epochs, `validation` and `test` figures.

    Raises:
        MinitransformersError: data that lacks columns or labels, settings that do not fit the model.
    """
    say = report or (lambda line: None)
    rows = _limited(read_rows(recipe.data), recipe)
    if recipe.validation is None:
        rows, validation = split_rows(rows, 0.1, recipe.seed)
    else:
        validation = _limited(read_rows(recipe.validation, "validation"), recipe)
    test = None if recipe.test is None else _limited(read_rows(recipe.test, "test"), recipe)
    torch.manual_seed(recipe.seed)  # of a new head, and of an adapter
    task = TASK_CLASSES[recipe.task](recipe, rows)
    examples = task.encode(rows)
    for part in (validation, test):
        if part is not None:
            task.encode(part)  # errors in data come before the training
    model = choose_parameters(task.load(), recipe.method, recipe.size)
    trained, total = trainable_parameters(model)
    say(f"{len(rows):,} rows to learn from and {len(validation):,} for validation; {trained:,} of {total:,} parameters "
        f"are trained ({trained / total:.2%}).")  # fmt: skip
    rate = recipe.learning_rate
    figures = tune(
        model,
        examples,
        task.collate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=METHODS[recipe.method].learning_rate if rate is None else rate,
        seed=recipe.seed,
        score=lambda tuned: next(iter(task.measure(tuned, validation).values())),
        report=say,
        show_progress=recipe.progress,
    )
    figures |= {"rows": len(rows), "trained": trained, "total": total}
    figures["validation"] = task.measure(model, validation)
    if test is not None:
        figures["test"] = task.measure(model, test)
    _save(model, task.tokenizer, Path(recipe.output))
    write_text(Path(recipe.output) / "figures.json", json.dumps(figures, indent=1) + "\n")
    return figures


def _limited(rows: list[Row], recipe: Recipe) -> list[Row]:
    if recipe.limit is None or len(rows) <= recipe.limit:
        return rows
    return random.Random(recipe.seed).sample(rows, recipe.limit)


def _save(model: Any, tokenizer: Any, output: Path) -> None:
    if not hasattr(model, "_attached_adapter"):
        model.save_pretrained(output)
    elif isinstance(attached(model).config, LoraConfig | IA3Config):  # those that change weights
        save_adapter(model, output / "adapter")
        remove_adapter(merge_adapter(model)).save_pretrained(output)
    else:
        save_adapter(model, output)
        model.config.save_pretrained(output)
    tokenizer.save_pretrained(output)
