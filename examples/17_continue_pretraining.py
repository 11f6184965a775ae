"""Continue the pre-training of a BERT on the texts of a domain, and see whether a task of that domain gains by it.

    pip install -e '.[examples]' && python examples/17_continue_pretraining.py

What it does and prints:
  1. reads sentences of film reviews, and keeps for each seed 200 with their labels to learn the task from, 150 to
     choose the epoch, and 600 to measure;
  2. gives MiniLM, a BERT of 6 layers, a head for masked language modelling, and goes on with its pre-training on the
     sentences that are neither chosen from nor measured on, without their labels. It prints tokens per second, tokens
     seen, the time left, and the loss on held-out sentences before and after. The head is new (MiniLM comes without
     one), so the loss before is that of a head that knows nothing; a first stage trains only the head, and the second
     stage's loss before is the one to compare with;
  3. fine-tunes for sentiment from MiniLM as it was and from the adapted one, with the same new head and the same order;
  4. prints accuracy and F1 of both over the seeds, and saves figures.json and the adapted model of the first seed.

This is task-adaptive pre-training (Gururangan et al., 2020, section 4). It helps most where labels are few and the
domain is far from the texts that the model has read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from reviews import Texts, read_reviews, split

from minitransformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)
from minitransformers.assets import fetch
from minitransformers.recipes import PretrainingRecipe, accuracy, macro_f1, pretrain, tune

MAX_LENGTH = 48  # tokens of a sentence in the task


def main() -> None:
    options = parse()
    reviews = read_reviews(options.dataset)
    results: dict[str, list[dict[str, float]]] = {"MiniLM": [], "adapted": []}
    losses = []
    for seed in options.seeds:
        training, validation, test = split(reviews, options.sizes, seed)
        held = {*validation[0], *test[0]}
        texts = [text for text, _ in reviews if text not in held][: options.texts]
        print(f"\nSeed {seed}: {len(texts):,} sentences for pre-training; {len(training[0])} labels.", flush=True)
        adapted, figures = adapt(texts, seed, options)
        losses.append({"before": figures["before"]["loss"], "after": figures["after"]["loss"]})
        for name, source in (("MiniLM", None), ("adapted", adapted)):
            results[name].append(fine_tune(source, training, validation, test, seed, options.epochs))
            print(f"{name}: " + described(results[name][-1]), flush=True)
    print(f"\n{'':<10} {'accuracy':>16} {'F1':>16}")
    for name, runs in results.items():
        print(f"{name:<10} {spread(runs, 'accuracy'):>16} {spread(runs, 'f1'):>16}")
    print(f"held-out loss of masked words: {spread(losses, 'before')} before, {spread(losses, 'after')} after")
    figures = {"losses": losses, **results}
    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(f"\nThe adapted model is in {options.output / f'adapted-{options.seeds[0]}'}.")


def adapt(texts: list[str], seed: int, options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Train the new head alone, then the whole model; the directory of the model, and the figures of the second."""
    file, head, output = (options.output / f"{name}-{seed}" for name in ("texts", "head", "adapted"))
    file.write_text("\n".join(text.replace("\n", " ") for text in texts) + "\n", "utf-8")
    say = lambda line: print(f"  {line}", flush=True)  # noqa: E731
    common: dict[str, Any] = {
        "task": "mlm", "data": str(file), "documents": "line", "max_length": options.length, "whole_words": True,
        "batch_size": options.batch, "seed": seed, "progress": options.progress,
    }  # fmt: skip
    first = PretrainingRecipe(
        output=str(head), model=str(fetch("minilm")), steps=options.head_steps, learning_rate=1e-3, train="head",
        **common,
    )  # fmt: skip
    pretrain(first, say)
    second = PretrainingRecipe(
        output=str(output), model=str(head), steps=options.steps, learning_rate=options.learning_rate, **common
    )
    return output, pretrain(second, say)


def fine_tune(
    adapted: Path | None, training: Texts, validation: Texts, test: Texts, seed: int, epochs: int
) -> dict[str, float]:
    """Accuracy and F1 on the test sentences. The pooler is MiniLM's in both cases: masked models have none."""
    torch.manual_seed(seed)  # of the new head
    source = fetch("minilm")
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
    if adapted is not None:
        weights = AutoModelForMaskedLM.from_pretrained(adapted).bert.state_dict()
        model.bert.load_state_dict(weights, strict=False)
    rows = tokenizer(training[0], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    tune(
        model,
        [{"input_ids": ids, "labels": label} for ids, label in zip(rows, training[1], strict=True)],
        DataCollatorWithPadding(tokenizer),
        epochs=epochs,
        learning_rate=1e-4,
        seed=seed,
        score=lambda model: accuracy(predict(model, tokenizer, validation[0]), validation[1]),
    )
    found = predict(model, tokenizer, test[0])
    return {"accuracy": accuracy(found, test[1]), "f1": macro_f1(found, test[1])}


@torch.no_grad()
def predict(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    model.eval()
    found: list[int] = []
    for start in range(0, len(texts), 32):
        part = texts[start : start + 32]
        batch = tokenizer(part, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
        found += model(**batch).logits.argmax(-1).tolist()
    return found


def described(figures: dict[str, float]) -> str:
    return f"accuracy {figures['accuracy']:.3f}, F1 {figures['f1']:.3f}"


def spread(runs: list[dict[str, float]], key: str) -> str:
    values = [run[key] for run in runs]
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of splits, heads and gaps (0 1 2)")
    about = "sentences to learn the task from, to choose the epoch, and to measure (200 150 600)"
    parser.add_argument("--sizes", type=int, nargs=3, default=[200, 150, 600], metavar="N", help=about)
    parser.add_argument("--texts", type=int, help="sentences for pre-training (all that are left)")
    parser.add_argument("--steps", type=int, default=300, help="of pre-training (300)")
    parser.add_argument("--head-steps", type=int, default=100, help="of the new head alone, before (100)")
    parser.add_argument("--batch", type=int, default=16, help="blocks in a batch (16)")
    parser.add_argument("--length", type=int, default=64, help="tokens of a block (64)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of pre-training, at its highest (1e-4)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the labelled sentences (4)")
    parser.add_argument("--dataset", help="a data set of a hub with the columns text and label")
    parser.add_argument("--output", type=Path, default=Path("out/adapted"), help="where all goes (out/adapted)")
    parser.add_argument("--progress", action="store_true", help="show a bar")
    parser.add_argument("--tiny", action="store_true", help="a few sentences and one step, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.sizes, options.epochs, options.seeds, options.texts = [8, 8, 8], 1, [0], 60
        options.steps, options.head_steps, options.batch, options.length = 1, 1, 2, 16
    options.output.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start continues the pre-training from its last checkpoint, and repeats the rest.")
        sys.exit(130)
