"""Pre-training by a recipe: every objective learns and resumes, the command, and masks of whole words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import minitransformers as mt
from minitransformers.cli import main
from minitransformers.data import DataCollatorForLanguageModeling, tokenize_corpus
from minitransformers.errors import ConfigError, InputError
from minitransformers.recipes import PretrainingRecipe, pretrain
from minitransformers.recipes.blocks import TextBlocks


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 documents, of four sentences that recur."""
    draw, directory = random.Random(0), tmp_path_factory.mktemp("texts")
    pairs = ["the film is good", "the book is bad", "this song was very sad", "a play is not nice"]
    for number in range(30):
        (directory / f"{number:02}.txt").write_text(" ".join(draw.choice(pairs) for _ in range(12)) + "\n", "utf-8")
    return directory


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BART without weights of its own: its configuration and a tokenizer that has the sentinels of T5, too."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    directory = tmp_path_factory.mktemp("bart")
    words = [
        "the",
        "film",
        "is",
        "good",
        "book",
        "bad",
        "this",
        "song",
        "was",
        "very",
        "sad",
        "a",
        "play",
        "not",
        "nice",
        ".",
    ]
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *words, *(f"<extra_id_{number}>" for number in range(20))]
    backend = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    mt.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        mask_token="<mask>", additional_special_tokens=names[-20:],
    ).save_pretrained(directory)  # fmt: skip
    mt.BartConfig(
        vocab_size=len(names), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, init_std=0.1,
    ).save_pretrained(directory)  # fmt: skip
    return str(directory)


@pytest.mark.parametrize("task", ["mlm", "clm", "spans", "infilling"])
def test_every_objective_learns(task: str, texts: Path, bert: str, gpt: str, bart: str, tmp_path: Path) -> None:
    sources = {"mlm": {"model": bert}, "clm": {"model": gpt}}
    options: dict[str, Any] = sources.get(task, {"config": bart, "tokenizer": bart})
    said: list[str] = []
    recipe = PretrainingRecipe(
        task=task, data=str(texts), output=str(tmp_path / "out"), validation=0.1, max_length=24, steps=40,
        learning_rate=5e-3, whole_words=task == "mlm", **options,
    )  # fmt: skip
    figures = pretrain(recipe, said.append)
    assert figures["documents"] == 30
    assert figures["after"]["loss"] < 0.9 * figures["before"]["loss"]
    assert figures == json.loads((tmp_path / "out" / "figures.json").read_text("utf-8"))
    assert f"{figures['tokens']:,} tokens seen" in said[-2]
    assert "0.0 minutes left" in said[-2]
    assert "tokens/s" in said[-2]
    kind = {"mlm": mt.BertForMaskedLM, "clm": mt.GPT2LMHeadModel}.get(task, mt.BartForConditionalGeneration)
    again = kind.from_pretrained(tmp_path / "out")
    again_figures = pretrain(recipe)  # which is over
    assert again_figures["after"] == figures["after"]
    assert again_figures["tokens"] == figures["tokens"]
    assert again.num_parameters() == figures["parameters"]


def test_whole_words_are_masked_from_ids_alone(bert: str, tmp_path: Path) -> None:
    """Words of several pieces have all of them masked, or none."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##want", "##ed", "dog"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    tokenizer = mt.BertTokenizer(str(tmp_path / "vocab.txt"))
    corpus = tokenize_corpus(
        ["unwanted dog " * 50], tokenizer, tmp_path / "c", add_special_tokens=False, show_progress=False
    )
    rows = TextBlocks(corpus, tokenizer, 18, "mlm")
    collate = DataCollatorForLanguageModeling(
        tokenizer, whole_word_mask=True, mlm_probability=0.5, mask_replace_prob=1.0, random_replace_prob=0.0, seed=0
    )
    (batch,) = DataLoader(rows, batch_size=len(rows), collate_fn=collate)
    assert (batch["input_ids"][:, 0] == 2).all()
    assert (batch["input_ids"][:, -1] == 3).all()
    selected = batch["labels"][:, 1:-1].reshape(-1, 4, 4) != -100  # un ##want ##ed dog, four times a block
    assert (selected[..., 0] == selected[..., 1]).all()
    assert (selected[..., 1] == selected[..., 2]).all()
    assert 0 < selected[..., 0].float().mean() < 1
    assert (selected[..., 2] != selected[..., 3]).any()


def test_the_command(texts: Path, bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: mlm\ndata: {texts}\nmodel: {bert}\nsteps: 900\nvalidation: 0.2\n", "utf-8")
    options = ("--steps", "4", "--max-length", "16", "--output", str(tmp_path / "out"), "--whole-words")
    assert main(["train", str(recipe), *options]) == 0
    said = capsys.readouterr().out
    assert "before: loss" in said
    assert "step 4: loss" in said
    assert said.endswith(f"Saved to {tmp_path / 'out'}.\n")
    assert torch.isfinite(
        mt.BertForMaskedLM.from_pretrained(tmp_path / "out").bert.embeddings.word_embeddings.weight
    ).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of model"),
        ({"model": "a", "config": "b"}, "one of model"),
        ({"config": "b"}, "needs tokenizer"),
        ({"model": "a", "task": "clm", "whole_words": True}, "whole_words"),
        ({"model": "a", "validation": "rows.csv"}, "must be a share"),
        ({"model": "a", "task": "mlmm"}, "task"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        PretrainingRecipe(**{"task": "mlm", "data": "x", "output": "y", **options})
