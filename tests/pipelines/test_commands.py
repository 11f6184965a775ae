"""The commands for tasks: their inputs, what they print, and their errors."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny

from minitransformers import pipeline
from minitransformers.cli import main

Saved = Callable[..., str]
CONTEXT = "Ada Lovelace wrote it in London."
ENTAILMENT = {"id2label": {0: "no", 1: "entailment"}, "label2id": {"no": 0, "entailment": 1}}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command with `stdin`: its status, and what it prints to both streams."""

    def call(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", Terminal() if stdin is None else io.StringIO(stdin))
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def records(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]


def test_texts_come_from_arguments_files_and_the_standard_input(run: Any, saved: Saved, tmp_path: Path) -> None:
    model = saved("BertForSequenceClassification")
    texts = ["a film", "rain, rain! 😀", "the a of"]
    expected = [{"text": text, "labels": pipeline(model=model)(text, top_k=1)} for text in texts]
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    files[0].write_text("\ufeff" + texts[0] + "\n\n" + texts[1], encoding="utf-8")
    files[1].write_text(texts[2] + "\n", encoding="utf-8")
    by_file = [argument for file in files for argument in ("--file", str(file))]
    for arguments, stdin in ((texts, None), (by_file, None), ([], "\n".join(texts)), ([texts[0], *by_file[2:]], None)):
        status, out, err = run("classify", "--model", model, "--json", *arguments, stdin=stdin)
        assert (status, err) == (0, "")
        wanted = [expected[0], expected[2]] if len(arguments) == 3 and arguments != texts else expected
        tiny.assert_same(records(out), wanted)


def test_classify(run: Any, saved: Saved) -> None:
    model = saved("BertForSequenceClassification", **ENTAILMENT)
    _, out, _ = run("classify", "a film", "--model", model, "--top-k", "all")
    assert {line.split()[1] for line in out.splitlines()} == {"no", "entailment"}
    _, out, _ = run("classify", "a film\tthe rain", "--pairs", "--model", model, "--json")
    pair = pipeline(model=model)({"text": "a film", "text_pair": "the rain"}, top_k=1)
    tiny.assert_same(records(out)[0]["labels"], pair)
    _, out, _ = run("classify", "a film", "--labels", "rain, Paris", "--multi-label", "--model", model, "--json")
    expected = pipeline("zero-shot-classification", model)("a film", "rain, Paris", multi_label=True)
    tiny.assert_same([each["score"] for each in records(out)[0]["labels"]], expected["scores"])
    status, out, err = run("classify", "a\tb", "film " * 90, "--model", model)
    assert status == 1
    assert "pass --truncate" in err
    assert run("classify", "film " * 90, "--truncate", "--model", model)[0] == 0


def test_fill_mask(run: Any, saved: Saved) -> None:
    model = saved("RobertaForMaskedLM")
    expected = pipeline(model=model)("a <mask> film", top_k=2)
    status, out, _ = run("fill-mask", "a [MASK] film", "--top-k", "2", "--model", model)
    assert status == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == [row["sequence"] for row in expected]
    _, out, _ = run("fill-mask", "[MASK] and [MASK]", "--targets", "a,b", "--model", model, "--json")
    assert [{row["token_str"] for row in mask} for mask in records(out)[0]["answers"]] == [{"a", "b"}] * 2
    status, _, err = run("fill-mask", "a film", "--model", model)
    assert (status, "No mask_token" in err) == (1, True)


def test_tag(run: Any, saved: Saved) -> None:
    names = {"id2label": {0: "O", 1: "B-PER"}, "label2id": {"O": 0, "B-PER": 1}}
    model = saved("BertForTokenClassification", **names)
    text = " ".join([CONTEXT] * 9)
    expected = pipeline(model=model, aggregation_strategy="max", stride=5)(text)
    _, out, _ = run("tag", text, "--strategy", "max", "--stride", "5", "--model", model, "--json")
    tiny.assert_same(records(out)[0]["entities"], expected)
    _, out, _ = run("tag", text, "--model", model)
    assert out.splitlines()[0].split("\t")[0] == "PER"
    status, _, err = run("tag", text, "--stride", "70", "--model", model)
    assert (status, "--stride 70 must be smaller" in err) == (1, True)


def test_answer(run: Any, saved: Saved, tmp_path: Path) -> None:
    model = saved("BertForQuestionAnswering")
    file = tmp_path / "context.txt"
    file.write_text(CONTEXT, encoding="utf-8")
    ask = pipeline(model=model, check_plausibility=True, top_k=2)
    expected = [{"question": q, "answers": ask(question=q, context=CONTEXT)} for q in ("Who?", "Where?")]
    for place, stdin in ((["--context", CONTEXT], None), (["--file", str(file)], None), ([], CONTEXT)):
        arguments = ("answer", "Who?", "Where?", "--top-k", "2", "--model", model)
        _, out, _ = run(*arguments, *place, "--json", stdin=stdin)
        tiny.assert_same([{**each} for each in records(out)], _plain(expected))
    _, out, _ = run("answer", "Who?", "--context", CONTEXT, "--no-answer", "--top-k", "3000", "--model", model)
    assert "(no answer in the text)" in out
    for wrong in (["--context", " "], ["--context", "a", "--file", str(file)], []):
        status, _, err = run("answer", "Who?", "--model", model, *wrong)
        assert (status, err.startswith("error: ")) == (1, True)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_embed_and_search(run: Any, saved: Saved, tmp_path: Path) -> None:
    model = saved("BertModel")
    _, out, _ = run("embed", "a film", "rain", "--pooling", "cls", "--model", model, "--json")
    embed = pipeline("sentence-embedding", model, pooling="cls")
    tiny.assert_same(records(out), [{"text": text, "vector": embed(text)} for text in ("a film", "rain")])
    _, out, _ = run("embed", "a film", "--model", model)
    assert len(out.split()) == 16
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(tiny.WORDS[:30]), encoding="utf-8")
    _, out, _ = run("search", "Ada", "film", "--file", str(file), "--top-k", "1", "--model", model, "--json")
    assert [each["found"][0]["text"] for each in records(out)] == ["Ada", "film"]
    _, out, _ = run("search", "Ada", "--model", model, stdin="rain\nAda\n")
    assert out.split()[1] == "Ada"


def test_generate(run: Any, saved: Saved, tmp_path: Path) -> None:
    model, file = saved("GPT2LMHeadModel"), tmp_path / "prompt.txt"
    file.write_text("Ada wrote\n", encoding="utf-8")
    settings = ("generate", "--model", model, "--strategy", "greedy", "--length", "4")
    expected = run(*settings, "--prompt", "Ada wrote")[1].removesuffix("\n")
    assert len(expected) > len("Ada wrote")
    for place, stdin in ((["--prompt", "Ada wrote"], None), (["--file", str(file)], None), ([], "Ada wrote\n")):
        _, out, _ = run(*settings, "--json", *place, stdin=stdin)
        assert records(out) == [{"prompt": "Ada wrote", "text": expected}]
    status, _, err = run(*settings, "--prompt", "a", "--file", str(file))
    assert (status, "contradict" in err) == (1, True)


def test_info(run: Any, saved: Saved) -> None:
    model = saved("BertForSequenceClassification", **ENTAILMENT)
    _, out, _ = run("info", model, "--json")
    about = records(out)[0]
    assert about["tasks"] == ["text-classification", "zero-shot-classification"]
    assert about["labels"] == ["no", "entailment"]
    assert about["numbers"] == pipeline(model=model).model.num_parameters()
    _, out, _ = run("info", saved("GPT2LMHeadModel"))
    assert "text-generation" in out


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["classify"], None, "There is no text: pass it as an argument, with --file, or through a pipe."),
        (["classify"], "\n \n", "The standard input is empty"),
        (["classify", "--file", "no such file"], None, "no such file"),
        (["classify", "a", "--top-k", "0"], None, "--top-k 0 must be a whole number of at least 1"),
        (["classify", "a", "--batch-size", "0"], None, "--batch-size 0 must be a whole number of at least 1"),
        (["classify", "a", "--pairs"], None, "has no tab between"),
        (["fill-mask", "[MASK]"], None, "no head for fill-mask: its weights lack cls."),
        (["classify", "a", "--model", "no/such/place"], None, "no/such/place"),
    ],
)
def test_errors(run: Any, saved: Saved, arguments: list[str], stdin: str | None, message: str) -> None:
    model = [] if "--model" in arguments else ["--model", saved("BertForSequenceClassification")]
    status, out, err = run(*arguments, *model, stdin=stdin)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err


def test_a_file_that_is_no_text(run: Any, saved: Saved, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\xff")
    status, _, err = run("classify", "--file", str(file), "--model", saved("BertForSequenceClassification"))
    assert (status, "is no text in UTF-8" in err) == (1, True)
