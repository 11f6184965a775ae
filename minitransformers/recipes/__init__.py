"""Recipes: fine-tuning for a task, or pre-training, from data to a saved model with its figures.

    figures = run(Recipe(task="classify", data="reviews.csv", output="out/reviews", method="lora"))
    figures = pretrain(PretrainingRecipe(task="mlm", data="texts/", output="out/adapted", model="bert-base-uncased"))

`minitransformers train` runs them from a command line or a YAML file. Read tuning.py first, the training itself;
tasks.py has what each task makes of a row, methods.py which parameters are trained, metrics.py the figures.
pretraining.py is apart.
"""

from minitransformers.recipes.methods import METHODS, choose_parameters
from minitransformers.recipes.metrics import accuracy, entities_of, entity_scores, exact_match, macro_f1, token_f1
from minitransformers.recipes.pretraining import pretrain
from minitransformers.recipes.pretraining_recipe import OBJECTIVES, PretrainingRecipe
from minitransformers.recipes.recipe import Recipe
from minitransformers.recipes.running import run
from minitransformers.recipes.tuning import tune

__all__ = [
    "METHODS",
    "OBJECTIVES",
    "PretrainingRecipe",
    "Recipe",
    "accuracy",
    "choose_parameters",
    "entities_of",
    "entity_scores",
    "exact_match",
    "macro_f1",
    "pretrain",
    "run",
    "token_f1",
    "tune",
]
