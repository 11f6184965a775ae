"""What scripts see of a Trainer besides the training: its directory, printed metrics, batches without labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from trainers import BOTH, examples, trainer

import minitransformers as mt


@pytest.mark.parametrize("library", BOTH, ids=lambda library: library.__name__)
def test_the_output_directory_is_there_from_the_start(library: Any, tmp_path: Path) -> None:
    """Scripts write their own files into it in the first evaluation."""
    made = trainer(library, "BertForSequenceClassification", tmp_path / "new")
    assert Path(made.args.output_dir).is_dir()


def test_metrics_are_printed_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {
        "train_runtime": 4000.1274,
        "eval_runtime": 0.5,
        "total_flos": 5.5 * 2**30,
        "train_loss": 0.123456,
        "train_samples": 12,
        "name": "x",
    }
    printed = []
    for library in BOTH:
        trainer(library, "BertForSequenceClassification", tmp_path / library.__name__).log_metrics("train", metrics)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert re.search(r"total_flos += +5GF\n", printed[0])
    assert re.search(r"train_runtime += 1:06:40.12\n", printed[0])


def test_batches_without_labels_are_left_out_of_an_evaluations_loss(tmp_path: Path) -> None:
    """As where a collator masks none of a short text: the mean over no label is no number."""
    rows = examples("BertForTokenClassification", 6)
    for row in rows[:2]:
        row["labels"] = [-100] * len(row["labels"])
    losses = []
    for library in BOTH:
        options = {"per_device_eval_batch_size": 2, "logging_nan_inf_filter": True}
        made = trainer(library, "BertForTokenClassification", tmp_path / library.__name__, **options)
        losses.append(made.evaluate(rows)["eval_loss"])
        with_labels = made.evaluate(rows[2:])["eval_loss"]
        assert losses[-1] == pytest.approx(with_labels)
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("name", ["MBartTokenizer", "MBartTokenizerFast", "MBart50Tokenizer", "M2M100Tokenizer"])
def test_tokenizers_that_scripts_ask_for_can_be_imported(name: str) -> None:
    """`isinstance` is False for every tokenizer, and loading says what is covered."""
    kind = getattr(mt, name)
    assert not isinstance(object(), kind)
    for make in (kind, kind.from_pretrained):
        with pytest.raises(mt.InputError, match=r"are not covered.*XLMRobertaTokenizer"):
            make("facebook/some-model")
