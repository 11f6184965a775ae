"""Pre-training: from a corpus of texts and a checkpoint (or a fresh configuration) to a model and its held-out loss.

    pretrain(PretrainingRecipe(task="mlm", data="texts/", output="out/adapted", model="bert-base-uncased", steps=2000))

To continue the pre-training of a model on the texts of a domain, before it is fine-tuned for a task, often helps that
task (Gururangan et al., 2020, section 3). The tokens go to files, so a corpus need not fit in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from minitransformers import auto
from minitransformers.data import (
    DataCollatorForLanguageModeling,
    DataCollatorForSpanCorruption,
    DataCollatorForTextInfilling,
    ShuffledBatchSampler,
    TextFiles,
    tokenize_corpus,
)
from minitransformers.errors import InputError, MissingFileError
from minitransformers.files.atomic import write_text
from minitransformers.recipes.blocks import TextBlocks
from minitransformers.recipes.pretraining_recipe import PretrainingRecipe
from minitransformers.tokenization import AutoTokenizer
from minitransformers.training import Hooks, Run, Settings, evaluate, train
from minitransformers.training.loop.optimizers import parameter_groups
from minitransformers.training.loop.schedules import get_linear_schedule_with_warmup

LOADERS: dict[str, Any] = {
    "mlm": auto.AutoModelForMaskedLM,
    "clm": auto.AutoModelForCausalLM,
    "spans": auto.AutoModelForSeq2SeqLM,
    "infilling": auto.AutoModelForSeq2SeqLM,
}


def pretrain(recipe: PretrainingRecipe, report: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Train as the recipe says, save the model with its tokenizer, and return the figures.

    The output directory gets the model, the tokenizer, figures.json, the tokens (`tokens/`) and checkpoints (`run/`). A
    run that was stopped goes on from its last checkpoint when it is started again.

    Args:
        recipe: the objective, the texts, the model.
        report: gets lines of text: the size of the corpus, tokens per second, tokens seen, the time left, losses.

    Returns:
        `before` and `after`: the figures of `evaluate` on the held-out documents, the loss in nats among them; `tokens`
        read in training, `tokens_per_second`, `documents`, `blocks`, and the number of `parameters`.

    Raises:
        MinitransformersError: texts that can't be read, a model that lacks the objective, impossible settings.
    """
    say = report or (lambda line: None)
    output = Path(recipe.output)
    tokenizer = _tokenizer(recipe)
    corpus = tokenize_corpus(
        _Ended(_texts(recipe), recipe, tokenizer.eos_token or tokenizer.sep_token or ""),
        tokenizer,
        output / "tokens",
        add_special_tokens=False,
        num_workers=recipe.workers,
        show_progress=recipe.progress,
    )
    parts = corpus.split(recipe.validation, seed=recipe.seed)
    torch.manual_seed(recipe.seed)  # of new weights
    model = _model(recipe, tokenizer)
    rows, held_out = (TextBlocks(part, tokenizer, recipe.max_length, recipe.task) for part in parts)
    say(
        f"{len(corpus.documents):,} documents, {len(corpus):,} tokens: {len(rows):,} blocks of {recipe.max_length} to "
        f"learn from, {len(held_out):,} for validation. {model.num_parameters():,} parameters."
    )
    collate = _collator(recipe, tokenizer, model)
    same = _collator(recipe, tokenizer, model)  # makes the same gaps in each evaluation
    validation = list(DataLoader(held_out, batch_size=recipe.batch_size, collate_fn=same))
    settings = Settings(
        steps=recipe.steps,
        accumulation=recipe.accumulation,
        precision=recipe.precision,
        log_every=max(1, recipe.steps // 20),
        save_every=max(1, recipe.steps // 5),
        output_dir=output / "run",
        show_progress=recipe.progress,
    )
    before = evaluate(model, validation, settings)
    say(f"before: {described(before)}")
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01), lr=recipe.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, recipe.steps // 16, recipe.steps)
    sampler = ShuffledBatchSampler(
        len(rows), recipe.batch_size, seed=recipe.seed, drop_last=len(rows) >= recipe.batch_size
    )
    batches = DataLoader(rows, batch_sampler=sampler, collate_fn=collate)
    speed = Speed(say)
    run = train(model, optimizer, schedule, batches, settings, hooks=[speed])
    after = evaluate(model, validation, settings)
    say(f"after:  {described(after)}")
    figures: dict[str, Any] = {
        "before": before,
        "after": after,
        "tokens": run.progress.tokens,
        "tokens_per_second": speed.rate,
        "documents": len(corpus.documents),
        "blocks": len(rows),
        "parameters": model.num_parameters(),
    }
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    write_text(output / "figures.json", json.dumps(figures, indent=1) + "\n")
    return figures


class Speed(Hooks):
    """Reports the loss, the tokens seen, tokens per second and the time left, at each record of the loop.

    Attributes:
        rate: tokens per second since the run began or was resumed.
    """

    rate = 0.0

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def on_train_begin(self, run: Run) -> None:
        """Start the clock."""
        self._since, self._tokens, self._step = time.perf_counter(), run.progress.tokens, run.progress.step

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """Report."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        self.rate = (run.progress.tokens - self._tokens) / seconds
        steps, left = run.progress.step - self._step, (run.num_steps or 0) - run.progress.step
        remaining = seconds / max(1, steps) * left
        self.say(
            f"step {run.progress.step:,}: loss {record['loss']:.3f}, {run.progress.tokens:,} tokens seen, "
            f"{self.rate:,.0f} tokens/s, {remaining / 60:.1f} minutes left"
        )


def described(metrics: dict[str, float]) -> str:
    """The figures of an evaluation in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())


class _Ended:
    """Texts with an end token behind each; every iteration reads the source again, up to a limit of texts."""

    def __init__(self, source: Any, recipe: PretrainingRecipe, end: str) -> None:
        self.source, self.recipe, self.end = source, recipe, end

    def __iter__(self) -> Iterator[str]:
        for number, text in enumerate(self.source):
            if number == self.recipe.limit:
                return
            yield (text if isinstance(text, str) else str(text[self.recipe.text])) + self.end


def _texts(recipe: PretrainingRecipe) -> Any:
    try:
        return TextFiles(recipe.data, documents=recipe.documents)
    except MissingFileError:
        if Path(recipe.data).suffix or "*" in recipe.data:
            raise
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingFileError(
            f"There is no file or directory {recipe.data!r}, and to take it as a data set of a hub needs the library "
            "datasets: pip install datasets."
        ) from error
    return load_dataset(recipe.data, split="train", streaming=recipe.stream)


def _tokenizer(recipe: PretrainingRecipe) -> Any:
    loader: Any = AutoTokenizer
    tokenizer = loader.from_pretrained(recipe.tokenizer or recipe.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _model(recipe: PretrainingRecipe, tokenizer: Any) -> Any:
    """The model of the checkpoint, or a new one of the configuration."""
    loader = LOADERS[recipe.task]
    if recipe.config is not None:
        model = loader.from_config(auto.AutoConfig.from_pretrained(recipe.config))
    else:
        model = loader.from_pretrained(recipe.model)
    if recipe.train == "head":  # weights that are tied to the embeddings belong to the backbone
        model.base_model.requires_grad_(False)
    ids = max(tokenizer.get_vocab().values()) + 1
    if model.config.vocab_size < ids:
        raise InputError(
            f"The tokenizer has {ids:,} tokens, but the model has a vocabulary of {model.config.vocab_size:,}: set "
            "vocab_size in the configuration, or take the model's own tokenizer."
        )
    return model


def _collator(recipe: PretrainingRecipe, tokenizer: Any, model: Any) -> Any:
    masked: Any = recipe.masked
    if recipe.task == "spans":
        return DataCollatorForSpanCorruption(tokenizer, noise_density=masked, model=model, seed=recipe.seed)
    if recipe.task == "infilling":
        return DataCollatorForTextInfilling(tokenizer, mask_ratio=masked, model=model, seed=recipe.seed)
    if recipe.task == "clm":
        return DataCollatorForLanguageModeling(tokenizer, mlm=False)
    options: dict[str, Any] = {"whole_word_mask": True, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}
    return DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=masked, seed=recipe.seed, **(options if recipe.whole_words else {})
    )
