"""Recipes: every task and method learns what can be learnt; what is saved is what was measured; errors in words."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import minitransformers as mt
from minitransformers import pipeline
from minitransformers.errors import (
    ConfigError,
    CorpusError,
    InputError,
    MissingFileError,
    UnknownArgumentError,
    UnknownNameError,
)
from minitransformers.pipelines.adapted import load_adapted
from minitransformers.recipes import METHODS, Recipe, choose_parameters, exact_match, run, tune
from minitransformers.recipes.recipe import read_recipe
from minitransformers.recipes.rows import read_rows, split_rows
from minitransformers.recipes.tasks import TASK_CLASSES

NAMES, PLACES = ["anna", "ben", "clara", "david", "emma", "felix"], ["oslo", "paris", "rome", "berlin", "madrid"]


def recipe(task: str, data: Path, output: Path, **settings: Any) -> Recipe:
    return Recipe(task=task, data=str(data), output=str(output), **{"batch_size": 8, **settings})


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_is_saved(method: str, bert: str, reviews: Path, tmp_path: Path) -> None:
    """The saved model, or the adapter in its base model, gives the labels that were measured."""
    learns_well = method in ("full", "lora")  # beside frozen random weights, the others learn little
    rate = 5e-2 if method in ("head", "ia3", "prompt", "prefix") else 1e-2
    settings: dict[str, Any] = {"method": method, "size": 4, "learning_rate": rate, "epochs": 4 if learns_well else 1}
    figures = run(recipe("classify", reviews, tmp_path / "out", model=bert, test=str(reviews), **settings))
    if learns_well:
        assert figures["losses"][-1] < figures["losses"][0]
        assert figures["test"]["accuracy"] > 0.8
    assert (figures["trained"] == figures["total"]) == (method == "full")
    assert figures["scores"][figures["best_epoch"] - 1] == max(figures["scores"])
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == figures
    is_adapter = not (tmp_path / "out" / "model.safetensors").exists()
    assert is_adapter == (method in ("bottleneck", "prefix", "prompt"))
    model: Any = load_adapted("text-classification", tmp_path / "out") if is_adapter else str(tmp_path / "out")
    classify = pipeline("text-classification", model, tokenizer=str(tmp_path / "out"))
    rows = read_rows(str(reviews))
    right = [
        found["label"] == row["label"] for found, row in zip(classify([r["text"] for r in rows]), rows, strict=True)
    ]
    assert sum(right) / len(right) == figures["test"]["accuracy"]


def test_pairs(bert: str, tmp_path: Path) -> None:
    rows = [{"a": f"{a} is good", "b": f"{b} is good", "same": a == b} for a in NAMES for b in NAMES[:3]]
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    made = recipe("classify", data, tmp_path / "out", model=bert, epochs=1, text="a", pair="b", label="same")
    run(made)
    config = mt.AutoConfig.from_pretrained(tmp_path / "out")
    assert set(config.id2label.values()) == {"False", "True"}
    (example,) = TASK_CLASSES["classify"](made, rows).encode(rows[:1])
    assert set(example["token_type_ids"]) == {0, 1}


def test_tags_of_words(bert: str, tmp_path: Path) -> None:
    draw, sentences = random.Random(0), []
    for _ in range(60):
        words = f"{draw.choice(NAMES)} lives in {draw.choice(PLACES)} .".split()
        sentences.append("\n".join(map(" ".join, zip(words, ["B-PER", "O", "O", "B-LOC", "O"], strict=True))))
    (tmp_path / "tags.conll").write_text("\n\n".join(sentences) + "\n", "utf-8")
    data = tmp_path / "tags.conll"
    figures = run(recipe("tag", data, tmp_path / "out", model=bert, epochs=3, learning_rate=1e-2))
    assert figures["validation"] == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "accuracy": 1.0}
    found = pipeline("token-classification", str(tmp_path / "out"), aggregation_strategy="simple")(
        "emma lives in rome ."
    )
    assert [(each["entity_group"], each["word"]) for each in found] == [("PER", "emma"), ("LOC", "rome")]


def test_only_the_first_token_of_a_word_has_a_label(bert: str, tmp_path: Path) -> None:
    rows = [{"tokens": ["anna", "x.y"], "tags": ["B-PER", "O"]}, {"tokens": ["rome"], "tags": ["B-LOC"]}]
    task = TASK_CLASSES["tag"](Recipe(task="tag", data="", output="", model=bert), rows)
    labels = [task.labels.index(tag) for tag in ("B-PER", "O")]
    assert task.encode(rows)[0]["labels"] == [-100, *labels, -100, -100, -100]


def questions(count: int) -> list[dict[str, Any]]:
    draw, rows = random.Random(0), []
    for _ in range(count):
        (a, b), (p, q) = draw.sample(NAMES, 2), draw.sample(PLACES, 2)
        context = f"{a} lives in {p} . {b} lives in {q} ."
        who, where = draw.choice([(a, p), (b, q)])
        answers = {"text": [where], "answer_start": [context.index(where)]}
        rows.append({"question": f"where does {who} live ?", "context": context, "answers": answers})
    return rows


def test_answers(bert: str, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "answers.jsonl", questions(160))
    made = recipe("answer", data, tmp_path / "out", model=bert, epochs=4, learning_rate=5e-3, max_length=32)
    figures = run(made)
    assert figures["losses"][-1] < 0.7 * figures["losses"][0]
    rows = read_rows(str(data))
    answer = pipeline("question-answering", str(tmp_path / "out"))
    found = answer([{"question": row["question"], "context": row["context"]} for row in rows])
    right = [exact_match(each["answer"], row["answers"]["text"]) for each, row in zip(found, rows, strict=True)]
    task = TASK_CLASSES["answer"](made, rows)
    figures = task.measure(mt.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out"), rows)
    assert figures["exact_match"] == sum(right) / len(right) > 0.2
    assert figures["f1"] >= figures["exact_match"]


def test_windows_of_long_contexts(bert: str) -> None:
    """The labels of each window point at the answer, where it is whole there, and at [CLS] elsewhere."""
    context = "the film is good . " * 8 + "anna lives in oslo . " + "the film is bad . " * 8
    answer = {"text": ["oslo"], "answer_start": [context.index("oslo")]}
    rows = [{"question": "where does anna live ?", "context": context, "answers": answer}]
    task = TASK_CLASSES["answer"](Recipe(task="answer", data="", output="", model=bert, max_length=32), rows)
    windows = task.encode(rows)
    found = [task.tokenizer.decode(w["input_ids"][w["start_positions"] : w["end_positions"] + 1]) for w in windows]
    assert len(windows) > 3
    assert set(found) == {"[CLS]", "oslo"}
    assert found.count("oslo") == sum("oslo" in task.tokenizer.decode(w["input_ids"]) for w in windows)


def test_texts_and_conversations(gpt: str, tmp_path: Path) -> None:
    """ "generate" learns texts, or the answers to prompts; "chat" the assistant's turns."""
    (tmp_path / "texts.txt").write_text("good film\nbad song\n" * 10, "utf-8")
    figures = run(recipe("generate", tmp_path / "texts.txt", tmp_path / "one", model=gpt, epochs=3, learning_rate=1e-2))
    assert figures["losses"][-1] < figures["losses"][0] - 1
    assert figures["validation"]["perplexity"] == pytest.approx(math.exp(-figures["scores"][figures["best_epoch"] - 1]))
    turns = [{"role": "user", "content": "good ?"}, {"role": "assistant", "content": "bad"}]
    data = write_rows(tmp_path / "chats.jsonl", [{"messages": turns}] * 20)
    run(recipe("chat", data, tmp_path / "two", model=gpt, epochs=6, learning_rate=1e-2))
    write = pipeline("text-generation", str(tmp_path / "two"))
    assert write("User: good ?\nAssistant:", max_new_tokens=5, do_sample=False, return_full_text=False)[0][
        "generated_text"
    ].strip() == "bad"  # fmt: skip


def test_prompts_are_read_and_not_learnt(gpt: str) -> None:
    rows = [{"prompt": "good film", "answer": "bad"}]
    task = TASK_CLASSES["generate"](Recipe(task="generate", data="", output="", model=gpt), rows)
    (example,) = task.encode(rows)
    learnt = [id for id, label in zip(example["input_ids"], example["labels"], strict=True) if label != -100]
    assert task.tokenizer.decode(learnt) == " bad<|endoftext|>"


def test_the_same_seed_gives_the_same_model(bert: str, reviews: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(recipe("classify", reviews, tmp_path / name, model=bert, epochs=1, limit=24, seed=5))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_tune_keeps_the_best_epoch(bert: str) -> None:
    """With scores that fall, the weights after the first epoch are those that remain."""
    model = mt.AutoModelForSequenceClassification.from_pretrained(bert)
    rows = [{"input_ids": [2, 5 + n, 3], "labels": n % 2} for n in range(8)]
    collate = mt.DataCollatorWithPadding(mt.AutoTokenizer.from_pretrained(bert))
    seen: list[torch.Tensor] = []

    def score(model: Any) -> float:
        seen.append(model.classifier.weight.detach().clone())
        return -float(len(seen))

    figures = tune(model, rows, collate, epochs=3, batch_size=4, score=score)
    assert (figures["best_epoch"], figures["scores"], len(figures["losses"])) == (1, [-1.0, -2.0, -3.0], 3)
    assert torch.equal(model.classifier.weight, seen[0])
    assert not torch.equal(seen[2], seen[0])
    with pytest.raises(InputError, match="no rows"):
        tune(model, [], collate)
    with pytest.raises(InputError, match="nothing to train"):
        tune(model.requires_grad_(False), rows, collate)


def test_rows_of_files(tmp_path: Path) -> None:
    contents = {
        "a.csv": 'text,label\n"one, two",x\n',
        "b.tsv": "text\tlabel\none, two\tx\n",
        "c.jsonl": '{"text": "one, two", "label": "x"}\n\n',
        "d.json": '[{"text": "one, two", "label": "x"}]',
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, "utf-8")
        assert read_rows(str(tmp_path / name)) == [{"text": "one, two", "label": "x"}]
    squad = {"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": []}]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad), "utf-8")
    assert read_rows(str(tmp_path / "squad.json")) == [{"question": "q", "context": "c", "answers": []}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "text,label\na,b,c\n", "line 2 has another number of columns"),
        ("a.jsonl", "[1]\n", "line 1 is no object"),
        ("a.jsonl", "{\n", "cannot be read as .jsonl"),
        ("a.json", '{"a": 1}', "no list of objects"),
        ("a.conll", "word\n", "line 1 has a word and no tag"),
        ("a.txt", "\n\n", "is empty"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(CorpusError, match=message):
        read_rows(str(tmp_path / name))


def test_errors_in_data_and_settings(bert: str, gpt: str, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"no 'lable'.*Did you mean 'label'"):
        run(recipe("classify", reviews, out, model=bert, label="lable"))
    (tmp_path / "one.tsv").write_text("text\tlabel\na\tx\nb\tx\nc\tx\n", "utf-8")
    with pytest.raises(CorpusError, match="All rows have the label 'x'"):
        run(recipe("classify", tmp_path / "one.tsv", out, model=bert))
    with pytest.raises(CorpusError, match="'x' does not occur in the training data"):
        run(recipe("classify", reviews, out, model=bert, test=str(tmp_path / "one.tsv")))
    with pytest.raises(MissingFileError, match=r"There is no file .*none.csv"):
        run(recipe("classify", tmp_path / "none.csv", out, model=bert))
    wrong = [{"question": "q", "context": "good film", "answers": {"text": ["bad"], "answer_start": [0]}}] * 3
    with pytest.raises(CorpusError, match="no 'bad' at character 0"):
        run(recipe("answer", write_rows(tmp_path / "wrong.jsonl", wrong), out, model=bert))
    with pytest.raises(InputError, match="has no head of its own"):
        choose_parameters(mt.AutoModelForCausalLM.from_pretrained(gpt), "head")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'lora'"):
        choose_parameters(mt.AutoModelForCausalLM.from_pretrained(gpt), "lore")
    with pytest.raises(ConfigError, match="needs model="):
        Recipe(task="chat", data="x.jsonl", output="out")
    with pytest.raises(UnknownArgumentError, match=r"no setting 'epoch'.*Did you mean 'epochs'"):
        Recipe.from_values({"task": "tag", "data": "x", "output": "y", "epoch": 3})
    with pytest.raises(ConfigError, match="has no 'data'"):
        Recipe.from_values({"task": "tag"})
    with pytest.raises(InputError, match="two or more"):
        split_rows([{"text": "a"}], 0.1, 0)
    assert not out.exists()


def test_recipe_files(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("task: tag\nbatch-size: 4\n", "utf-8")
    assert read_recipe(str(tmp_path / "r.yaml")) == {"task": "tag", "batch_size": 4}
    (tmp_path / "r.yaml").write_text("- a\n", "utf-8")
    with pytest.raises(ConfigError, match="no settings"):
        read_recipe(str(tmp_path / "r.yaml"))
    with pytest.raises(MissingFileError, match="There is no recipe"):
        read_recipe(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: tag\nepochs: " + "9" * 5000, "no YAML"),
        ("task: tag\nseed: 2024-13-45", "no YAML"),
        ("task: tag\nlimit: !!float x", "no YAML"),
        ("[" * 5000, "no YAML"),
        ("task: tag\nbatch-size: 4\nbatch_size: 8", "'batch_size' twice"),
        ("task: tag\ntask: tag", "'task' twice"),
    ],
)
def test_recipe_files_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=words):
        read_recipe(str(tmp_path / "r.yaml"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("data", 5), ("output", ["out"]), ("validation", True), ("model", {}), ("label", 1), ("pair", 2)],
)
def test_settings_that_must_be_texts(name: str, value: Any, annotations_are_not_checked: None) -> None:
    values = {"task": "classify", "data": "x.csv", "output": "out", name: value}
    with pytest.raises(ConfigError, match=rf"^{name}=.* must be a text; in YAML, write it in quotes"):
        Recipe.from_values(values)
