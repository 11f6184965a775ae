"""BERT against GPT on the same documents: quality, training time, latency and memory, at the same size.

    pip install -e '.[examples]' && python examples/11_bert_and_gpt.py

What it does and prints:
  1. takes the BERT (2.4 million parameters) and the GPT (2.9 million) of examples/checkpoints. Both were trained by
     this library on the same 35 plays by Shakespeare, so that they differ in kind, not in what they have read;
  2. fine-tunes both to tell positive from negative film reviews: the same texts, order, steps and rates, 3 seeds; the
     same from random weights, once; and a logistic regression on words beside them;
  3. prints accuracy, macro F1, training time, median latency of one text, texts a second in batches of 32, and how much
     the memory of the process grew; draws a picture.

What to expect: BERT's [CLS] sees the whole text from the first layer on. GPT classifies by its last token, the only one
that has seen all others. Both are small and have read plays, not reviews.

No full run's figures stand here yet; --tiny shows the form of the tables in seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from reviews import read_reviews, split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from minitransformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)
from minitransformers.recipes import tune

CHECKPOINTS = Path(__file__).parent / "checkpoints"
MODELS = {"BERT": ("bert", True), "GPT": ("gpt", True), "BERT, random weights": ("bert", False),
          "GPT, random weights": ("gpt", False)}  # fmt: skip
LENGTH = 64
COLUMNS = ("accuracy", "f1", "seconds", "latency_ms", "texts_per_second", "memory_mb")


def main() -> None:
    options = parse()
    reviews = read_reviews(None)
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        parts = split(reviews, options.sizes, seed)
        results.setdefault("bag of words", []).append(bag_of_words(parts))
        for name, (folder, is_pretrained) in MODELS.items():
            if seed and not is_pretrained:
                continue  # random weights are trained once
            work = (folder, is_pretrained, parts, seed, options.epochs)
            if options.tiny:
                figures = measure(*work)
            else:  # in a process of its own, whose peak of memory is the model's
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    figures = pool.apply(measure, work)
            results.setdefault(name, []).append(figures)
            print(f"seed {seed}, {name}: accuracy {figures['accuracy']:.3f}, {figures['seconds']:.0f} s", flush=True)
    report(results)
    draw(results, options.output / "bert_and_gpt.png")
    (options.output / "figures.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def bag_of_words(parts: list[Any]) -> dict[str, float]:
    training, _, test = parts
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(vectorizer.fit_transform(training[0]), training[1])
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    found = model.predict(vectorizer.transform(test[0]))
    rate = len(found) / (time.perf_counter() - start)
    return {
        "accuracy": accuracy_score(test[1], found),
        "f1": f1_score(test[1], found, average="macro"),
        "seconds": seconds,
        "texts_per_second": rate,
    }


def measure(folder: str, is_pretrained: bool, parts: list[Any], seed: int, epochs: int) -> dict[str, float]:
    """Fine-tune one model, all of it, and measure it; both kinds get the same texts, order, steps and rates."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    training, validation, test = parts
    before = peak_memory()
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINTS / folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = AutoConfig.from_pretrained(CHECKPOINTS / folder, num_labels=2, pad_token_id=tokenizer.pad_token_id)
    model = AutoModelForSequenceClassification.from_config(config)
    if is_pretrained:
        model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINTS / folder, config=config)

    @torch.no_grad()
    def predict(texts: list[str]) -> list[int]:
        batch = tokenizer(texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        return model(**batch).logits.argmax(-1).tolist()

    def in_batches(texts: list[str]) -> list[int]:
        return [label for start in range(0, len(texts), 32) for label in predict(texts[start : start + 32])]

    ids = tokenizer(training[0], truncation=True, max_length=LENGTH)["input_ids"]
    figures = tune(
        model,
        [{"input_ids": row, "labels": label} for row, label in zip(ids, training[1], strict=True)],
        DataCollatorWithPadding(tokenizer),
        epochs=epochs,
        learning_rate=5e-4,
        seed=seed,
        score=lambda _: accuracy_score(validation[1], in_batches(validation[0])),
    )
    start = time.perf_counter()
    found = in_batches(test[0])
    rate = len(found) / (time.perf_counter() - start)
    return {
        "accuracy": accuracy_score(test[1], found),
        "f1": f1_score(test[1], found, average="macro"),
        "seconds": figures["seconds"],
        "latency_ms": statistics.median(time_of(lambda text=text: predict([text])) for text in test[0][:50]) * 1000,
        "texts_per_second": rate,
        "memory_mb": peak_memory() - before,
        "parameters": model.num_parameters(),
        "tokens_per_text": sum(map(len, ids)) / len(ids),
    }


def time_of(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def report(results: dict[str, list[dict[str, float]]]) -> None:
    titles = ("accuracy", "F1", "training s", "latency ms", "texts/s", "memory MB")
    print(f"\n{'':<22}" + "".join(f"{title:>16}" if title == "accuracy" else f"{title:>12}" for title in titles))
    for name, runs in results.items():
        cells = []
        for column in COLUMNS:
            values = [run[column] for run in runs if column in run]
            digits = 3 if column in ("accuracy", "f1") else 1 if column == "latency_ms" else 0
            text = f"{statistics.mean(values):.{digits}f}" if values else "-"
            if column == "accuracy" and len(values) > 1:
                text += f" ± {statistics.stdev(values):.3f}"
            cells.append(f"{text:>16}" if column == "accuracy" else f"{text:>12}")
        print(f"{name:<22}" + "".join(cells))
    bert, gpt = results["BERT"][0], results["GPT"][0]
    print(f"\nBERT has {bert['parameters']:,} parameters and reads {bert['tokens_per_text']:.0f} tokens a text, "
          f"GPT {gpt['parameters']:,} and {gpt['tokens_per_text']:.0f}.")  # fmt: skip


def draw(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, column in zip(figure.subplots(1, 3), ("accuracy", "latency_ms", "memory_mb"), strict=True):
        for name, runs in results.items():
            values = [run[column] for run in runs if column in run]
            if values:
                axes.bar(name.replace(", ", ",\n"), statistics.mean(values))
        axes.set_title(column)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how often the models are trained (3)")
    parser.add_argument("--sizes", type=int, nargs=3, default=[2000, 200, 1000], metavar="N",
                        help="reviews to learn from, to choose the epoch, and to measure (2000 200 1000)")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3, help="passes over the reviews (3)")
    parser.add_argument("--output", type=Path, default=Path("out/bert_and_gpt"), help="where all goes")
    parser.add_argument("--tiny", action="store_true", help="a few reviews and one epoch, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.sizes, options.epochs, options.seeds = [16, 8, 8], 1, 1
    options.output.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
