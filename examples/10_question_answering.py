"""A question-answering system: fine-tune a BERT on generated texts, then ask several questions about one text.

    pip install -e '.[examples]' && python examples/10_question_answering.py

What it does and prints:
  1. generates 5,000 pairs of a question and a text: people with a home, a job, an employer and a hobby. They are
     synthetic. The held-out pairs have names, forms of statements and forms of questions that training has not; one
     question in ten is about somebody else, and has no answer in the text;
  2. fine-tunes MiniLM, a BERT of 6 layers, on 2,400 of them, by the recipe of `minitransformers train`;
  3. measures exact match and F1 as SQuAD does, on the 2,400 held-out pairs, beside a trivial way: the longest run of
     other words in the sentence that shares most words with the question;
  4. shows that doubt is worth something: how often answers are right with and without a reason to doubt them, and, in
     confidence.png, how often those that the model is 90 % sure of;
  5. asks several questions about one text.

One run, with one epoch: 2.5 minutes of training on one core of two that did other things, too.

    held-out pairs   exact match      F1
    trivial                0.251   0.268
    fine-tuned             0.526   0.534        (0.761 F1 on validation, whose forms training has)
    1,619 plausible answers: 57.6 % right; 781 doubtful ones: 42.3 %

New forms are hard: the model has learnt forms more than what is asked, and is too sure of a name where the text has no
answer. `--dataset squad` fine-tunes on real questions where a hub answers.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from minitransformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline
from minitransformers.recipes import Recipe, exact_match, run, token_f1

PEOPLE = (
    ("Anna Ben Clara David Emma Felix Grace Hugo Ida Jack Kate Leo Maria Nora Oscar Paul Rosa Samuel Tina Victor", 15),
    ("Adams Baker Carter Dalton Evans Fischer Garcia Hansen Ivanov Jensen Keller Lopez Moreau Novak Olsen Peters", 12),
)
CITIES = "Lisbon Oslo Vienna Prague Dublin Athens Madrid Berlin Warsaw Geneva Porto Lyon Milan Hamburg Bergen Seville"
JOBS = "nurse teacher engineer lawyer baker pilot painter chemist farmer singer carpenter librarian surgeon gardener"
FIRMS = "Alder Birch Cobalt Delta Ember Falcon Granite Harbor Indigo Juniper Kestrel Lagoon Meridian Nimbus Onyx Pine"
KINDS = "Bank Motors Foods Software Airlines Books Energy Textiles"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
HOBBIES = "chess tennis pottery sailing photography gardening climbing cooking hiking painting fencing swimming"

# What is said of a person, and how it is asked. The last question of each kind, and the last statement, are held out:
# no text to learn from has them.
FACTS: dict[str, tuple[list[str], list[str]]] = {
    "city": (
        ["{name} was born in {city}.", "{name} comes from {city}.", "{city} is where {name} grew up.",
         "The home town of {name} is {city}."],
        ["Where was {name} born?", "Where does {name} come from?", "In which city did {name} grow up?",
         "What is the home town of {name}?"],
    ),
    "job": (
        ["{name} works as a {job}.", "{name} is a {job} by profession.", "As a {job}, {name} is well known.",
         "{name} earns a living as a {job}."],
        ["What does {name} do for a living?", "What is the profession of {name}?", "What is the job of {name}?",
         "As what does {name} work?"],
    ),
    "firm": (
        ["{name} joined {firm} in {year}.", "{firm} hired {name} in {year}.", "{name} moved to {firm} in {year}.",
         "In {year}, {name} became an employee of {firm}."],
        ["Which company did {name} join?", "Who hired {name}?", "For which firm does {name} work?",
         "Who is the employer of {name}?"],
    ),
    "year": (
        ["{name} joined {firm} in {year}.", "{firm} hired {name} in {year}.", "{name} moved to {firm} in {year}.",
         "In {year}, {name} became an employee of {firm}."],
        ["When did {name} join {firm}?", "In which year did {firm} hire {name}?", "When was {name} hired?",
         "Since when does {name} work for {firm}?"],
    ),
    "hobby": (
        ["On {day}s, {name} enjoys {hobby}.", "{name} loves {hobby} and does it every {day}.",
         "{name} spends each {day} on {hobby}.", "Every {day} is for {hobby}, says {name}."],
        ["What does {name} enjoy?", "What is the hobby of {name}?", "What does {name} like to do?",
         "How does {name} spend free time?"],
    ),
}  # fmt: skip

Pair = dict[str, Any]


def main() -> None:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.dataset:
        recipe = Recipe(task="answer", data=options.dataset, output=str(options.output), max_length=256, limit=20_000)
        print(run(recipe, report=print)["validation"])
        return
    training, validation, test = (
        make_pairs(count, seed, is_held_out=seed == 2) for seed, count in enumerate(options.sizes)
    )
    print(f"{len(training):,} pairs of question and text to learn from, {len(validation)} to choose the epoch and "
          f"{len(test):,} to measure, whose names, statements and questions have other forms.")  # fmt: skip
    files = {}
    for name, pairs in (("training", training), ("validation", validation), ("test", test)):
        files[name] = options.output / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps(pair) + "\n" for pair in pairs), "utf-8")
    recipe = Recipe(
        task="answer", data=str(files["training"]), validation=str(files["validation"]), output=str(options.output),
        epochs=1, batch_size=16, learning_rate=2e-4, max_length=160, progress=options.progress,
    )  # fmt: skip
    figures = run(recipe, report=lambda line: print(line, flush=True))

    model = AutoModelForQuestionAnswering.from_pretrained(options.output)
    answer = pipeline(
        "question-answering", model, tokenizer=AutoTokenizer.from_pretrained(options.output), progress=False
    )
    inputs = [{"question": pair["question"], "context": pair["context"]} for pair in test]
    with torch.no_grad():
        found = answer(inputs, batch_size=32, handle_impossible_answer=True, check_plausibility=True)
    report(figures, test, found, options.output)
    show(answer)
    print(f"\nTry it:  python -m minitransformers answer --model {options.output} --context '…' 'Who …?'")


def make_pairs(count: int, seed: int, *, is_held_out: bool) -> list[Pair]:
    """Texts of four or five statements, and four questions about each; one in ten has no answer in the text."""
    draw, pairs = random.Random(seed), []
    first, last = (words.split()[cut:] if is_held_out else words.split()[:cut] for words, cut in PEOPLE)
    while len(pairs) < count:
        people = draw.sample([f"{a} {b}" for a in first for b in last], 3)
        facts = []
        for kind in draw.sample(["city", "job", "year", "hobby", "firm", "city", "job"], 5):
            name = draw.choice(people[:2])
            said = {("firm" if k == "year" else k, n) for k, n, *_ in facts}  # one sentence says when, and by whom
            if ("firm" if kind == "year" else kind, name) not in said:
                facts.append((kind, name, *statement(kind, name, draw, is_held_out)))
        context = " ".join(text for _, _, text, _ in facts)
        for kind, name, text, values in draw.sample(facts, min(4, len(facts))):
            questions = FACTS[kind][1]
            is_impossible = draw.random() < 0.1
            who = people[2] if is_impossible else name
            question = (questions[3] if is_held_out else draw.choice(questions[:3])).format(**{**values, "name": who})
            value = values[kind]
            start = context.index(text) + text.index(value)
            answers = {"text": [] if is_impossible else [value], "answer_start": [] if is_impossible else [start]}
            pairs.append({"question": question, "context": context, "answers": answers})
    return pairs[:count]


def statement(kind: str, name: str, draw: random.Random, is_held_out: bool) -> tuple[str, dict[str, str]]:
    """A sentence, and the words in it."""
    values = {
        "name": name,
        "city": draw.choice(CITIES.split()),
        "job": draw.choice(JOBS.split()),
        "firm": f"{draw.choice(FIRMS.split())} {draw.choice(KINDS.split())}",
        "year": str(draw.randint(1950, 2024)),
        "day": draw.choice(DAYS.split()),
        "hobby": draw.choice(HOBBIES.split()),
    }
    forms = FACTS[kind][0]
    return (forms[3] if is_held_out else draw.choice(forms[:3])).format(**values), values


def guess(pair: Pair) -> str:
    """The trivial way: in the sentence that shares the most words with the question, the longest run of other words."""
    asked = set(re.findall(r"\w+", pair["question"].lower()))
    sentences = re.split(r"(?<=\.) ", pair["context"])
    best = max(sentences, key=lambda text: len(asked & set(re.findall(r"\w+", text.lower()))))
    runs = re.split("|".join(rf"\b{re.escape(word)}\b" for word in asked), best.rstrip("."), flags=re.IGNORECASE)
    return max(runs, key=len).strip(" ,")


def report(figures: dict[str, Any], test: Sequence[Pair], found: Sequence[Any], output: Path) -> None:
    right = [pair["answers"]["text"] or [""] for pair in test]
    matches = [exact_match(each["answer"], texts) for each, texts in zip(found, right, strict=True)]
    rows = {
        "trivial": [guess(pair) for pair in test],
        "fine-tuned": [each["answer"] for each in found],
    }
    print(f"\n{'held-out pairs':<16} {'exact match':>11} {'F1':>7}")
    for name, texts in rows.items():
        exact = sum(map(exact_match, texts, right)) / len(right)
        f1 = sum(map(token_f1, texts, right)) / len(right)
        figures[name] = {"exact_match": exact, "f1": f1}
        print(f"{name:<16} {exact:>11.3f} {f1:>7.3f}")
    for name, wanted in (("plausible", False), ("doubtful", True)):
        chosen = [match for match, each in zip(matches, found, strict=True) if bool(each["reasons"]) == wanted]
        figures[name] = {"count": len(chosen), "exact_match": sum(chosen) / len(chosen) if chosen else None}
        print(f"{name:<10} {len(chosen):>6} answers, " + (f"{sum(chosen) / len(chosen):.1%} right" if chosen else ""))
    (output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    draw(matches, [each["score"] for each in found], output / "confidence.png")


def draw(matches: Sequence[float], scores: Sequence[float], path: Path) -> None:
    """How often the answers are right that the model is about so sure of."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for fifth in range(5):
        chosen = [right for right, score in zip(matches, scores, strict=True) if min(int(5 * score), 4) == fifth]
        if chosen:
            axes.bar(fifth / 5 + 0.1, sum(chosen) / len(chosen), width=0.18, color="tab:blue")
            axes.annotate(f"{len(chosen)}", (fifth / 5 + 0.1, 0.02), ha="center", color="white")
    axes.plot([0, 1], [0, 1], color="gray")
    axes.set(xlabel="probability of the answer", ylabel="share that is right")
    figure.savefig(path)


def show(answer: Any) -> None:
    context = (
        "Ruth Lindgren is a pilot by profession. She was born in Bergen, and Falcon Airlines hired her in 1998. "
        "On Sundays, Ruth Lindgren enjoys sailing."
    )
    print(f"\n{context}")
    for question in (
        "Where was Ruth Lindgren born?",
        "What is the job of Ruth Lindgren?",
        "Who hired her?",
        "When was she hired?",
        "What does she enjoy on Sundays?",
        "Who is the king of Sweden?",
    ):
        found = answer(question=question, context=context, handle_impossible_answer=True, check_plausibility=True)
        print(f"  {question:<38} {found['answer'] or '(no answer)':<18} {found['score']:.2f}  "
              + " ".join(reason.split(":")[0] for reason in found["reasons"]))  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=3, default=[2400, 200, 2400], metavar="N",
                        help="pairs to learn from, to choose the epoch, and to measure (2400 200 2400)")  # fmt: skip
    parser.add_argument(
        "--dataset", help="a data set of a hub in SQuAD's form, such as squad, in place of generated pairs"
    )
    parser.add_argument("--output", type=Path, default=Path("out/answers"), help="where all goes (out/answers)")
    parser.add_argument("--progress", action="store_true", help="show a bar")
    parser.add_argument("--tiny", action="store_true", help="a few pairs, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.sizes = [12, 4, 6]
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
