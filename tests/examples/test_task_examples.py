"""The examples of tasks in their --tiny mode: they run to their end, print their tables, and save what they say."""

from __future__ import annotations

import itertools
import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

import minitransformers as mt
from minitransformers.data import train_byte_level_bpe

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run an example in this process with --tiny: what it prints, and its figures."""
    threads = torch.get_num_threads()

    def call(name: str, *options: str) -> tuple[str, dict]:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr(sys, "argv", [name, "--tiny", "--output", str(tmp_path / "out"), *options])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out, json.loads((tmp_path / "out" / "figures.json").read_text("utf-8"))

    yield call
    torch.set_num_threads(threads)
    for name in ("conversations", "functions", "reviews"):
        sys.modules.pop(name, None)


def test_sentiment(run, tmp_path: Path) -> None:
    out, figures = run("08_sentiment.py", "--methods", "full", "bottleneck")
    assert list(figures) == ["bag of words", "full", "bottleneck"]
    assert all(0 <= runs[0]["accuracy"] <= 1 for runs in figures.values())
    assert "Seed 0: 8 of 9,171 reviews" in out
    assert mt.AutoConfig.from_pretrained(tmp_path / "out" / "full").id2label == {0: "negative", 1: "positive"}
    assert (tmp_path / "out" / "bottleneck" / "adapter_config.json").is_file()
    assert (tmp_path / "out" / "sentiment.png").read_bytes().startswith(b"\x89PNG")


def test_named_entities(run, tmp_path: Path) -> None:
    out, figures = run("09_named_entities.py")
    ways = ("each character", "best path", "path and known names")
    models = [f"{model}, {way}" for model in ("random weights", "pretrained") for way in ways]
    assert list(figures) == ["names known from training", *models]
    assert 0 < figures["names known from training"][0]["f1"] < 1  # what the trained models have to beat
    assert "whole entities" in out
    tokenizer = mt.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("東京に")["input_ids"] == tokenizer.convert_tokens_to_ids(["東", "京", "に"])


def test_the_best_path_has_whole_entities() -> None:
    """The path is the best of all sequences of tags that IOB2 allows, found here by trying all of them."""
    example = runpy.run_path(str(EXAMPLES / "09_named_entities.py"))
    labels = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
    training = [("あいう", ["B-LOC", "I-LOC", "O"]), ("あいう", ["B-PER", "O", "B-PER"])]
    counts = {("first", "B-LOC"): 1.1, ("first", "B-PER"): 1.1, ("B-LOC", "I-LOC"): 1.1, ("I-LOC", "O"): 1.1}
    counts |= {("B-PER", "O"): 1.1, ("O", "B-PER"): 1.1}  # 0.1 more than seen
    seen = {"first": 2, "B-LOC": 1, "I-LOC": 1, "B-PER": 1, "O": 1, "I-PER": 0}
    scores = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)

    def score(path: tuple[str, ...]) -> float:
        total = 0.0
        for row, before, tag in zip(scores, ("first", *path), path, strict=False):
            if tag[0] == "I" and before[1:] != tag[1:]:
                return -math.inf
            total += float(row[labels.index(tag)]) + math.log(counts.get((before, tag), 0.1) / (seen[before] + 0.5))
        return total

    best = max(itertools.product(labels, repeat=4), key=score)
    assert example["best_paths"]([scores], labels, training) == [list(best)]
    joined = example["join"]([["O", "B-LOC", "O", "O"]], [["B-PER", "I-PER", "O", "B-PER"]])
    assert joined == [["O", "B-LOC", "O", "B-PER"]]


def test_question_answering(run, tmp_path: Path) -> None:
    out, figures = run("10_question_answering.py")
    assert set(figures["validation"]) == {"f1", "exact_match"}
    assert figures["plausible"]["count"] + figures["doubtful"]["count"] == 6
    assert "Who is the king of Sweden?" in out
    kept = [(tmp_path / "out" / f"{name}.jsonl").read_text("utf-8").splitlines() for name in ("training", "test")]
    learnt, test = ([json.loads(line) for line in lines] for lines in kept)
    assert not {row["context"] for row in learnt} & {row["context"] for row in test}
    for row in learnt + test:
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start:].startswith(text)


def test_bert_and_gpt(run) -> None:
    out, figures = run("11_bert_and_gpt.py")
    assert list(figures) == ["bag of words", "BERT", "GPT", "BERT, random weights", "GPT, random weights"]
    assert figures["BERT"][0]["latency_ms"] > 0
    assert "BERT has 2,419,778 parameters" in out


def test_chat(run, tmp_path: Path) -> None:
    out, figures = run("12_chat.py")
    assert set(figures["samplers"]) == {"greedy", "temperature 0.7", "top-p 0.9", "top-k 20", "beam 4"}
    assert "held out" in out
    model = mt.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size == len(mt.AutoTokenizer.from_pretrained(tmp_path / "out"))


def test_python(run) -> None:
    out, figures = run("13_python.py")
    groups = [f"{kind}, {group}" for group in ("learnt", "held out") for kind in ("values", "combinations")]
    assert list(figures) == [*groups, "library_loss"]
    assert "functions of the standard library" in out


def test_preferences(run, tmp_path: Path) -> None:
    """From a model that was never trained: the stages run, and DPO raises the margin even so."""
    tokenizer = train_byte_level_bpe(["User: What is the capital of France?\nAssistant: Paris"], vocab_size=300)
    tokenizer.save_pretrained(tmp_path / "model")
    config = mt.GPT2Config(vocab_size=len(tokenizer), n_positions=200, n_embd=16, n_layer=1, n_head=2, eos_token_id=0)
    mt.GPT2LMHeadModel(config).save_pretrained(tmp_path / "model")
    out, figures = run("14_preferences.py", "--model", str(tmp_path / "model"))
    assert figures["DPO"]["margin"] > 0
    assert "held-out pairs ranked right" in out


def test_code_is_run_under_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right code passes; wrong code, endless code, files, memory and further processes do not."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from functions import generated_tasks, pass_at_k, passes

    tasks = generated_tasks()
    (task,) = [task for task in tasks if "Return x plus 3." in task.prompt]
    assert passes(task, task.solution)
    assert passes(task, "    return 3 + x\n")
    for body in (
        "    return x + 4\n",
        "    return x +\n",
        "    while True: pass\n",
        "    open('large', 'w').write('a' * 2_000_000); return x + 3\n",
        "    bytearray(2 * 10**9); return x + 3\n",
    ):
        assert not passes(task, body, seconds=1), body
    assert pass_at_k([[True, False], [False, False]], 1) == pytest.approx(0.25)
    assert pass_at_k([[True, False], [False, False]], 2) == pytest.approx(0.5)
    assert 100 < sum(task.is_held_out for task in tasks) < 200
    for index in range(0, len(tasks), 97):
        assert passes(tasks[index], tasks[index].solution)
    sys.modules.pop("functions")


def test_prompts(run) -> None:
    out, figures = run("15_prompts.py")
    assert len(figures) == 8
    assert figures["zero-shot, as in training"]["kinds"] == 1  # the form and a task that the model has learnt
    assert "step by step" in out


def test_topics(run, tmp_path: Path) -> None:
    out, figures = run("16_topics.py")
    assert list(figures) == ["majority", "character n-grams", "BERT of characters"]
    assert set(figures["majority"]["learnt from all three"]) == {"english", "japanese", "chinese"}
    assert "30 questions and replies to learn from, 15 to measure" in out
    assert (tmp_path / "out" / "topics.png").is_file()
