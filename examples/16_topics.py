"""Topics of questions in English, Japanese and Chinese: one small BERT of characters, and what it carries over.

    pip install -e '.[examples]' && python examples/16_topics.py

What it does and prints: it sorts questions and replies of the chatterbot corpus into ten topics. A small BERT of
characters learns from random weights, from all three languages together and from each alone, and is measured on each:
so one sees what carries over. Beside it are the most frequent topic and a logistic regression on character n-grams.
A fifth of the texts is held out; no text is in both parts. There is little data: 530 to 720 texts a language to learn
from.

A run with the seed 0, 3.5 minutes of one core's time:

    accuracy / macro F1 on                          english     japanese      chinese
    most frequent topic, learnt from all three  0.31 / 0.04  0.29 / 0.04  0.12 / 0.02
    character n-grams, learnt from all three    0.72 / 0.67  0.67 / 0.63  0.72 / 0.60
                       only english             0.73 / 0.70  0.33 / 0.14  0.18 / 0.10
                       only japanese            0.13 / 0.10  0.66 / 0.59  0.33 / 0.27
                       only chinese             0.08 / 0.05  0.33 / 0.25  0.67 / 0.55
    BERT of characters, learnt from all three   0.38 / 0.22  0.53 / 0.35  0.52 / 0.42
                        only english            0.32 / 0.13  0.16 / 0.03  0.14 / 0.03
                        only japanese           0.13 / 0.05  0.41 / 0.25  0.21 / 0.16
                        only chinese            0.11 / 0.06  0.22 / 0.14  0.53 / 0.42

A BERT from random weights is far behind the n-grams: so few texts do not teach it words. In English, where characters
say least, it is hardly better than the most frequent topic. Learning from all three helps it in English and Japanese,
and not in Chinese (0.53 from Chinese alone). Little carries over to a language that it has not read; from Japanese to
Chinese, which share characters, the n-grams reach 0.33, where the most frequent topic of the Chinese texts has 0.23.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from minitransformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
)
from minitransformers.assets import fetch
from minitransformers.recipes import tune

LANGUAGES = ("english", "japanese", "chinese")
TOPICS = (
    "ai",
    "emotion",
    "food",
    "gossip",
    "humor",
    "literature",
    "money",
    "movies",
    "psychology",
    "science",
    "sports",
)
LENGTH = 64
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former is ten times as fast, where PyYAML has it
Example = tuple[str, int]


def main() -> None:
    options = parse()
    data = {language: read(language, options.seed) for language in LANGUAGES}
    if options.tiny:
        data = {language: (training[:30], test[:15]) for language, (training, test) in data.items()}
    figures: dict[str, Any] = {}
    for language, (training, test) in data.items():
        print(f"{language}: {len(training)} questions and replies to learn from, {len(test)} to measure")
    sources = {"all three": LANGUAGES, **{f"only {language}": (language,) for language in LANGUAGES}}
    for name, languages in sources.items():
        training = [example for language in languages for example in data[language][0]]
        majority = Counter(label for _, label in training).most_common(1)[0][0]
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
        regression = LogisticRegression(C=10, max_iter=500)
        regression.fit(vectorizer.fit_transform([text for text, _ in training]), [label for _, label in training])
        model, tokenizer = train(training, options)
        for language, (_, test) in data.items():
            texts, labels = [text for text, _ in test], [label for _, label in test]
            found = {
                "majority": [majority] * len(labels),
                "character n-grams": regression.predict(vectorizer.transform(texts)).tolist(),
                "BERT of characters": predict(model, tokenizer, texts),
            }
            for method, predicted in found.items():
                figures.setdefault(method, {}).setdefault(f"learnt from {name}", {})[language] = {
                    "accuracy": accuracy_score(labels, predicted),
                    "f1": f1_score(labels, predicted, average="macro"),
                }
    report(figures)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    draw(figures, options.output / "topics.png")


def read(language: str, seed: int) -> tuple[list[Example], list[Example]]:
    """Texts with their topic: four fifths to learn from, and one fifth whose texts are all others."""
    found: dict[str, int] = {}
    for label, topic in enumerate(TOPICS):
        path = fetch("chatterbot") / f"{language}-{topic}.yml"
        if path.exists():
            for turns in yaml.load(path.read_text("utf-8"), Loader)["conversations"]:
                found |= {" ".join(str(turn).split()): label for turn in turns}
    examples = random.Random(seed).sample(sorted(found.items()), len(found))
    return examples[len(examples) // 5 :], examples[: len(examples) // 5]


def train(training: list[Example], options: argparse.Namespace) -> tuple[Any, Any]:
    """A BERT from random weights; its tokens are the characters of the texts."""
    characters = sorted({character for text, _ in training for character in text.lower()})
    names = ["[PAD]", "[UNK]", "[CLS]", *characters]
    backend = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r".|\s"), "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", model_max_length=LENGTH
    )
    torch.manual_seed(options.seed)
    width, layers = (16, 1) if options.tiny else (96, 3)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(names), hidden_size=width, num_hidden_layers=layers, num_attention_heads=4,
            intermediate_size=4 * width, max_position_embeddings=LENGTH, num_labels=len(TOPICS),
        )
    )  # fmt: skip
    rows = encode(tokenizer, [text for text, _ in training])
    tune(
        model,
        [{"input_ids": ids, "labels": label} for ids, (_, label) in zip(rows, training, strict=True)],
        DataCollatorWithPadding(tokenizer),
        epochs=options.epochs,
        batch_size=16,
        learning_rate=1e-3,
        seed=options.seed,
    )
    return model, tokenizer


def encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    ids = tokenizer(texts, truncation=True, max_length=LENGTH - 1)["input_ids"]
    return [[tokenizer.cls_token_id, *row] for row in ids]


@torch.no_grad()
def predict(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    found = []
    for start in range(0, len(texts), 64):
        rows = encode(tokenizer, texts[start : start + 64])
        found += model(**tokenizer.pad({"input_ids": rows}, return_tensors="pt")).logits.argmax(-1).tolist()
    return found


def report(figures: dict[str, Any]) -> None:
    print(f"\n{'accuracy / macro F1 on':<46} " + " ".join(f"{language:>15}" for language in LANGUAGES))
    for method, by_source in figures.items():
        for source, row in by_source.items():
            cells = [f"{scores['accuracy']:.2f} / {scores['f1']:.2f}" for scores in row.values()]
            print(f"{f'{method}, {source}':<46} " + " ".join(f"{cell:>15}" for cell in cells))


def draw(figures: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (method, by_source) in zip(figure.subplots(1, len(figures)), figures.items(), strict=True):
        table = [[x["accuracy"] for x in row.values()] for row in by_source.values()]
        axes.imshow(table, vmin=0, vmax=1)
        axes.set_title(method)
        axes.set_xticks(range(len(LANGUAGES)), LANGUAGES, rotation=30)
        axes.set_yticks(range(len(by_source)), [source.removeprefix("learnt from ") for source in by_source])
        for row, values in enumerate(table):
            for place, value in enumerate(values):
                axes.annotate(f"{value:.2f}", (place, row), ha="center", va="center", color="white")
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="passes over the texts (12)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the order (0)")
    parser.add_argument("--output", type=Path, default=Path("out/topics"), help="where all goes (out/topics)")
    parser.add_argument("--tiny", action="store_true", help="a smaller model and few texts, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.epochs = 1
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
