"""The command `train`: from the options of the command line (task_commands.py) to a recipe that runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields

from minitransformers.recipes.pretraining import pretrain
from minitransformers.recipes.pretraining_recipe import OBJECTIVES, PretrainingRecipe
from minitransformers.recipes.recipe import Recipe, read_recipe
from minitransformers.recipes.running import run


def train(options: argparse.Namespace) -> int:
    """Run the recipe of a file, of options, or of both: options count more."""
    values = read_recipe(options.recipe) if options.recipe is not None else {}
    names = {field.name for kind in (Recipe, PretrainingRecipe) for field in fields(kind)}
    given = {name: getattr(options, name) for name in names}
    values |= {name: value for name, value in given.items() if value is not None}
    report = None if options.json else lambda line: print(line, flush=True)
    recipe: Recipe | PretrainingRecipe
    if values.get("task") in OBJECTIVES:
        recipe = PretrainingRecipe.from_values(values)
        figures = pretrain(recipe, report)
    else:
        recipe = Recipe.from_values(values)
        figures = run(recipe, report)
    if options.json:
        print(json.dumps({"output": recipe.output, **figures}))
        return 0
    for part in ("validation", "test"):
        if part in figures:
            print(f"{part}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures[part].items()))
    print(f"Saved to {recipe.output}.")
    return 0
