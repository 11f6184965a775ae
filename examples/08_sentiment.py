"""Sentiment of film reviews: fine-tuning all of a BERT, an adapter, or the head alone, beside a bag of words.

    pip install -e '.[examples]' && python examples/08_sentiment.py

What it does and prints:
  1. reads 9,171 sentences of film reviews that 20 people have rated, each text once, positive or negative by a mean of
     at least 1 (of 4). Neutral ones are left out, so that the figures are better than on all sentences;
  2. splits them by a seed: 800 to learn from, 150 to choose the epoch, 600 to measure once;
  3. fine-tunes MiniLM, a BERT of 6 layers, with each method: all parameters, LoRA (0.33 % of them), the head alone;
     with `--methods full lora dora ia3 bottleneck prefix prompt head` all adapters;
  4. prints accuracy, macro F1, how many parameters are trained and the memory that this takes, beside a logistic
     regression on words and pairs of words;
  5. saves the models of the first seed, figures.json and a picture.

One run with the seed 0, on one core that other programs used, too:

                   accuracy      F1   trained
    bag of words      0.702   0.702             (0.688 and 0.715 with the seeds 1 and 2)
    full              0.847   0.846   100.00%
    lora              0.827   0.827     0.33%
    head              0.637   0.637     0.00%

About 2.5 minutes of one core's time for the three methods. LoRA is 2 points behind full tuning with 1/300 of its
parameters; a head on frozen vectors needs more steps than these.

With `--dataset rotten_tomatoes` the texts come from a hub.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from reviews import Texts, read_reviews, split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from minitransformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding
from minitransformers.adapters import save_adapter, trainable_parameters
from minitransformers.assets import fetch
from minitransformers.recipes import METHODS, choose_parameters, tune

LABELS = ["negative", "positive"]
SEEDED = ("full", "lora", "head")  # these run with every seed, the others with the first


def main() -> None:
    options = parse()
    reviews = read_reviews(options.dataset)
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        training, validation, test = split(reviews, options.sizes, seed)
        print(
            f"\nSeed {seed}: {len(training[0]):,} of {len(reviews):,} reviews to learn from, {len(validation[0])} to "
            f"choose the epoch, {len(test[0])} to measure ({sum(test[1]) / len(test[1]):.0%} positive).",
            flush=True,
        )
        results.setdefault("bag of words", []).append(bag_of_words(training, test))
        for method in options.methods:
            if seed == options.seeds[0] or method in SEEDED:
                results.setdefault(method, []).append(fine_tune(method, training, validation, test, seed, options))
    report(results)
    draw(results, options.output / "sentiment.png")
    (options.output / "figures.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if "full" in options.methods:
        print(f"\nTry it:  python -m minitransformers classify --model {options.output / 'full'} 'A lovely film.'")


def bag_of_words(training: Texts, test: Texts) -> dict[str, Any]:
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(vectorizer.fit_transform(training[0]), training[1])
    found = model.predict(vectorizer.transform(test[0])).tolist()
    figures = {"accuracy": accuracy_score(test[1], found), "f1": f1_score(test[1], found, average="macro")}
    return figures | {"trained": model.coef_.size, "seconds": time.perf_counter() - start}


def fine_tune(
    method: str, training: Texts, validation: Texts, test: Texts, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    torch.manual_seed(seed)  # of the new head
    source = fetch("minilm")
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(
        source, id2label=dict(enumerate(LABELS)), label2id={label: index for index, label in enumerate(LABELS)}
    )
    choose_parameters(model, method)
    trained, total = trainable_parameters(model)
    rows = tokenizer(training[0], truncation=True, max_length=48)["input_ids"]
    epochs = options.epochs
    print(f"{method}: {trained:,} of {total:,} parameters ({trained / total:.2%}), {epochs} epochs", flush=True)
    figures = tune(
        model,
        [{"input_ids": ids, "labels": label} for ids, label in zip(rows, training[1], strict=True)],
        DataCollatorWithPadding(tokenizer),
        epochs=epochs,
        learning_rate=METHODS[method].learning_rate,
        seed=seed,
        score=lambda model: accuracy_score(validation[1], predict(model, tokenizer, validation[0])),
        report=lambda line: print(f"  {line}", flush=True),
        show_progress=options.progress,
    )
    found = predict(model, tokenizer, test[0])
    figures |= {"accuracy": accuracy_score(test[1], found), "f1": f1_score(test[1], found, average="macro")}
    # What training keeps for each trained parameter: its gradient and AdamW's two means, 4 bytes each.
    figures |= {"trained": trained, "share": trained / total, "megabytes": 12 * trained / 1e6}
    print(f"  test: accuracy {figures['accuracy']:.3f}, F1 {figures['f1']:.3f}", flush=True)
    if seed == options.seeds[0]:
        directory = options.output / method
        save_adapter(model, directory) if METHODS[method].adapter else model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    return figures


@torch.no_grad()
def predict(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    found = []
    for start in range(0, len(texts), 32):
        batch = tokenizer(texts[start : start + 32], truncation=True, max_length=48, padding=True, return_tensors="pt")
        found += model(**batch).logits.argmax(-1).tolist()
    return found


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    print(f"\n{'':<14} {'accuracy':>16} {'F1':>7} {'trained':>12} {'share':>8} {'MB more':>8} {'seconds':>8}")
    for name, runs in results.items():
        values = [run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        mean = {key: statistics.mean(run[key] for run in runs) for key in ("f1", "trained", "seconds")}
        share = f"{runs[0]['share']:>8.2%} {runs[0]['megabytes']:>8.1f}" if "share" in runs[0] else " " * 17
        print(f"{name:<14} {f'{statistics.mean(values):.3f}{spread}':>16} {mean['f1']:>7.3f} {mean['trained']:>12,.0f} "
              f"{share} {mean['seconds']:>8.0f}")  # fmt: skip


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, runs in results.items():
        axes.scatter([run["trained"] for run in runs], [run["accuracy"] for run in runs])
        axes.annotate(name, (runs[0]["trained"], runs[0]["accuracy"]), xytext=(6, 3), textcoords="offset points")
    axes.set(xscale="log", xlabel="trained parameters", ylabel="accuracy on held-out reviews")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    adapters = [name for name, method in METHODS.items() if method.adapter]
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["full", "lora", "head"], metavar="METHOD",
                        help=f"full, head, {', '.join(adapters)} (full lora head)")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of splits and new weights (0 1 2)")
    parser.add_argument("--sizes", type=int, nargs=3, default=[800, 150, 600], metavar="N",
                        help="reviews to learn from, to choose the epoch, and to measure (800 150 600)")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=2, help="passes over the reviews (2)")
    parser.add_argument(
        "--dataset", help="a data set of a hub with the columns text and label, such as rotten_tomatoes"
    )
    parser.add_argument("--output", type=Path, default=Path("out/sentiment"), help="where all goes (out/sentiment)")
    parser.add_argument("--progress", action="store_true", help="show a bar")
    parser.add_argument("--tiny", action="store_true", help="a few reviews and one epoch, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.sizes, options.epochs, options.seeds = [8, 8, 8], 1, [0]
    options.output.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
