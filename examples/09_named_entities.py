"""Named entities in Japanese, character by character, with a small ALBERT that knows parts of speech.

    pip install -e '.[examples]' && python examples/09_named_entities.py

What it does and prints:
  1. reads 500 Japanese sentences with dates, places, organizations, people, products, times and sums of money;
  2. splits them by a seed: 350 to learn from, 50 to choose the epoch, 100 to measure;
  3. fine-tunes an ALBERT of 4 shared layers of 116, which was trained to split words and to name their part of speech,
     and the same from random weights; tokens are characters;
  4. prints precision, recall and F1 of whole entities, beside the trivial way: names known from the training sentences.
     Tags are taken for each character by itself, or as the best path through the sentence, which knows how tags follow
     each other; the path is also joined with the known names.

A run with 3 seeds, 4 minutes of one core's time:

    whole entities                        precision  recall              F1
    names known from training                 0.665   0.457   0.541 ± 0.050
    random weights, each character            0.000   0.000   0.000 ± 0.000
    random weights, best path                 0.000   0.000   0.000 ± 0.000
    pretrained, each character                0.283   0.482   0.357 ± 0.030
    pretrained, best path                     0.588   0.515   0.549 ± 0.034
    pretrained, path and known names          0.588   0.621   0.604 ± 0.054

What the model knows of words carries over: from random weights it learns nothing. Labelled one by one, the characters
of a name get different tags, and names fall into pieces. The path mends this, and is then as good as the list of known
names. Both joined are better than either: the path finds names that were not in the training sentences. (That the two
are joined, and how, was chosen on the validation sentences of the seed 0.)
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from minitransformers import (
    AlbertConfig,
    AlbertForTokenClassification,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)
from minitransformers.assets import fetch
from minitransformers.recipes import entities_of, entity_scores, tune

Sentence = tuple[str, list[str]]  # the characters, and a tag for each
LENGTH = 256  # positions of the model
EXAMPLES = ("田中さんは2005年に東京大学を卒業した。", "ノルウェーの首都はオスロである。")


def main() -> None:
    options = parse()
    sentences = read_sentences()
    labels = sorted({tag for _, tags in sentences for tag in tags})
    sizes = (32, 4, 24) if options.tiny else (350, 50, len(sentences))
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        shuffled = random.Random(seed).sample(sentences, len(sentences))
        training, rest = shuffled[: sizes[0]], shuffled[sizes[0] :]
        validation, test = rest[: sizes[1]], rest[sizes[1] : sizes[1] + sizes[2]]
        entities = sum(tag[0] == "B" for _, tags in test for tag in tags)
        print(
            f"\nSeed {seed}: {len(training)} sentences to learn from, {len(validation)} to choose the epoch, "
            f"{len(test)} to measure ({entities} entities)."
        )
        true = [tags for _, tags in test]
        results.setdefault("names known from training", []).append(entity_scores(known_names(training, test), true))
        for name in ("random weights", "pretrained"):
            print(name, flush=True)
            model, tokenizer = build(labels, is_pretrained=name == "pretrained", seed=seed)
            train(model, tokenizer, labels, training, validation, seed, options)
            scores = log_probabilities(model, tokenizer, test)
            paths = best_paths(scores, labels, training)
            found = {
                f"{name}, each character": best_tags(scores, labels),
                f"{name}, best path": paths,
                f"{name}, path and known names": join(known_names(training, test), paths),
            }
            for way, tags in found.items():
                results.setdefault(way, []).append(entity_scores(tags, true))
                print(f"  {way}: F1 {results[way][-1]['f1']:.3f}", flush=True)
    report(results)
    draw(results, options.output / "entities.png")
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    (options.output / "figures.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    tag = pipeline("token-classification", model, tokenizer=tokenizer, aggregation_strategy="simple")
    for text in EXAMPLES:
        print(
            f"\n{text}", *(f"  {each['entity_group']} {each['word'].replace(' ', '')}" for each in tag(text)), sep="\n"
        )
    print(f"\nTry it:  python -m minitransformers tag --model {options.output} '{EXAMPLES[0]}'")


def read_sentences() -> list[Sentence]:
    """Tags of words become tags of characters; PSN and PER, which both stand for people, become PER."""
    sentences: list[Sentence] = []
    for block in (fetch("hironsan-entities") / "iob_sents.txt").read_text("utf-8").split("\n\n"):
        characters, tags = "", []
        for line in block.strip().splitlines():
            word, tag = line.split("\t")[0], line.split("\t")[-1].replace("PSN", "PER")
            inside = tag if tag == "O" else f"I-{tag[2:]}"
            characters, tags = characters + word, [*tags, tag, *[inside] * (len(word) - 1)]
        if characters:
            sentences.append((characters[:LENGTH], tags[:LENGTH]))
    return sentences


def known_names(training: list[Sentence], test: list[Sentence]) -> list[list[str]]:
    """The trivial way: every name that the training sentences have is that kind of entity, the longest first."""
    names: dict[str, str] = {}
    for text, tags in training:
        for start, tag in enumerate(tags):
            if tag[0] == "B":
                end = start + 1
                while end < len(tags) and tags[end][0] == "I":
                    end += 1
                names[text[start:end]] = tag[2:]
    found = []
    for text, _ in test:
        tags, place = ["O"] * len(text), 0
        while place < len(text):
            name = max((n for n in names if text.startswith(n, place)), key=len, default="")
            if name:
                tags[place : place + len(name)] = [f"B-{names[name]}"] + [f"I-{names[name]}"] * (len(name) - 1)
            place += len(name) or 1
        found.append(tags)
    return found


def build(labels: list[str], *, is_pretrained: bool, seed: int) -> tuple[Any, PreTrainedTokenizerFast]:
    """The model with a new head, and a tokenizer whose tokens are the characters that its config lists."""
    source = fetch("unidic-imitator")
    config = AlbertConfig.from_pretrained(
        source, id2label=dict(enumerate(labels)), label2id={label: index for index, label in enumerate(labels)}
    )
    characters = {character: index + 3 for index, character in enumerate(config.chars)}
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, **characters}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r".|\s"), "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=LENGTH
    )
    torch.manual_seed(seed)
    if is_pretrained:
        return AlbertForTokenClassification.from_pretrained(source, config=config), tokenizer
    return AlbertForTokenClassification(config), tokenizer


def train(
    model: Any, tokenizer: Any, labels: list[str], training: list[Sentence], validation: list[Sentence], seed: int,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    tune(
        model,
        [
            {"input_ids": tokenizer(text)["input_ids"], "labels": [labels.index(tag) for tag in tags]}
            for text, tags in training
        ],
        DataCollatorForTokenClassification(tokenizer),
        epochs=options.epochs,
        batch_size=8,
        learning_rate=2e-3,
        seed=seed,
        score=lambda m: entity_scores(
            best_paths(log_probabilities(m, tokenizer, validation), labels, training), [t for _, t in validation]
        )["f1"],
        report=lambda line: print(f"  {line}", flush=True),
    )


@torch.no_grad()
def log_probabilities(model: Any, tokenizer: Any, sentences: Sequence[Sentence]) -> list[torch.Tensor]:
    """log p(tag | text) of every character: one matrix, characters by tags, for each sentence."""
    found = []
    for start in range(0, len(sentences), 32):
        texts = [text for text, _ in sentences[start : start + 32]]
        rows = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.log_softmax(-1)
        found += [row[: len(text)] for row, text in zip(rows, texts, strict=True)]
    return found


def best_tags(scores: list[torch.Tensor], labels: list[str]) -> list[list[str]]:
    """The most probable tag of each character by itself."""
    return [[labels[index] for index in row.argmax(-1).tolist()] for row in scores]


def best_paths(scores: list[torch.Tensor], labels: list[str], training: list[Sentence]) -> list[list[str]]:
    """The tags of a sentence with the largest sum of log p(tag | text) + log p(tag | tag before) (Viterbi, 1967).

    The second is counted in the training sentences. An entity that has not begun cannot go on.
    """
    counts = torch.full((len(labels) + 1, len(labels)), 0.1)  # the last row: the first tag of a sentence
    for _, tags in training:
        for before, tag in zip(["first", *tags], tags, strict=False):
            counts[labels.index(before) if before in labels else -1, labels.index(tag)] += 1
    moves = (counts / counts.sum(1, keepdim=True)).log()
    for column, tag in enumerate(labels):
        for row, before in enumerate([*labels, "first"]):
            if tag[0] == "I" and before[1:] != tag[1:]:
                moves[row, column] = -torch.inf
    found = []
    for matrix in scores:
        total, steps = matrix[0] + moves[-1], []
        for row in matrix[1:]:
            best, before = (total[:, None] + moves[:-1]).max(0)
            total = best + row
            steps.append(before)
        path = [int(total.argmax())]
        for before in reversed(steps):
            path.append(int(before[path[-1]]))
        found.append([labels[index] for index in reversed(path)])
    return found


def join(first: list[list[str]], second: list[list[str]]) -> list[list[str]]:
    """The entities of the first, and those of the second that share no character with them."""
    found = []
    for tags, others in zip(first, second, strict=True):
        joined = list(tags)
        for kind, start, end in entities_of(others):
            if all(tag == "O" for tag in tags[start:end]):
                joined[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
        found.append(joined)
    return found


def report(results: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{'whole entities':<37} {'precision':>9} {'recall':>7} {'F1':>15}")
    for name, runs in results.items():
        mean = {key: statistics.mean(run[key] for run in runs) for key in ("precision", "recall", "f1")}
        spread = f" ± {statistics.stdev(run['f1'] for run in runs):.3f}" if len(runs) > 1 else ""
        f1 = f"{mean['f1']:.3f}{spread}"
        print(f"{name:<37} {mean['precision']:>9.3f} {mean['recall']:>7.3f} {f1:>15}")


def draw(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for index, measure in enumerate(("precision", "recall", "f1")):
        heights = [statistics.mean(run[measure] for run in runs) for runs in results.values()]
        axes.bar([place + 0.25 * index for place in range(len(results))], heights, width=0.22, label=measure)
    axes.set_xticks([place + 0.25 for place in range(len(results))], [name.replace(", ", ",\n") for name in results])
    axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is trained (3)")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the sentences (8)")
    parser.add_argument("--output", type=Path, default=Path("out/entities"), help="where all goes (out/entities)")
    parser.add_argument("--tiny", action="store_true", help="a few sentences and one epoch, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.epochs, options.seeds = 1, 1
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
