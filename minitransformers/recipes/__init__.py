"""Recipes: fine-tuning for a task, from rows of data to a saved model with its figures.

    figures = run(Recipe(task="classify", data="reviews.csv", output="out/reviews", method="lora"))

`minitransformers train` runs them from a command line or a YAML file. Read tuning.py first, the training itself;
tasks.py has what each task makes of a row, methods.py which parameters are trained, metrics.py the figures.
"""

from minitransformers.recipes.methods import METHODS, choose_parameters
from minitransformers.recipes.metrics import accuracy, entity_scores, exact_match, macro_f1, token_f1
from minitransformers.recipes.recipe import Recipe
from minitransformers.recipes.running import run
from minitransformers.recipes.tuning import tune

__all__ = [
    "METHODS",
    "Recipe",
    "accuracy",
    "choose_parameters",
    "entity_scores",
    "exact_match",
    "macro_f1",
    "run",
    "token_f1",
    "tune",
]
