"""The same run on one process or several: the same global batches, divided among the processes."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import minitransformers as mt
from minitransformers.training import Settings, parallelize, train
from minitransformers.training.loop.distributed import rank, unwrap, world_size
from minitransformers.training.loop.logs import JsonLines

STEPS, HALF, VOCAB_SIZE = 6, 3, 30


def build(family, kind=None):
    """A tiny model for `kind` of parallel training."""
    torch.manual_seed(0)
    if family == "gpt2":
        config = mt.GPT2Config(
            vocab_size=VOCAB_SIZE, n_embd=16, n_layer=2, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
        model = as_loaded(mt.GPT2LMHeadModel(config))
    else:
        config = mt.BertConfig(
            vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        model = mt.BertForPreTraining(config)
    return model if kind is None else parallelize(model, kind, device="cpu")


def as_loaded(model):
    """The model, loaded from a file, in which GPT-2's matrices are transposed: they are not contiguous."""
    with TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        loaded = type(model).from_pretrained(directory)
    assert not all(weight.is_contiguous() for weight in loaded.parameters())
    return loaded


def global_batches(family):
    """Five batches of up to four rows; the number of labels differs, and some rows have none."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for rows in (4, 4, 4, 4, 3):
        ids = torch.randint(VOCAB_SIZE, (rows, 8), generator=generator)
        labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.6, -100)
        labels[0] = -100
        batch = {"input_ids": ids, "labels": labels}
        if family == "bert":
            batch["next_sentence_label"] = torch.randint(2, (rows,), generator=generator)
        batches.append(batch)
    # The last three rows are those of rank 0 alone: rank 1 has one batch fewer.
    last = batches.pop()
    return batches, last


def own_batches(family):
    batches, last = global_batches(family)
    if world_size() == 1:
        return [*batches, last]
    own = [{key: value[rank() :: world_size()] for key, value in batch.items()} for batch in batches]
    return [*own, last] if rank() == 0 else own


def go(model, directory, steps):
    """Train up to `steps`, resuming from `directory`; return the history."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    settings = Settings(steps=steps, accumulation=2, output_dir=directory, save_every=HALF, evaluate_every=HALF)
    family = "gpt2" if type(unwrap(model)).__name__.endswith("GPT2LMHeadModel") else "bert"
    batches = own_batches(family)
    train(
        model, optimizer, schedule, batches, settings, validation=batches, loggers=[JsonLines(directory / "log.jsonl")]
    )


def is_tied(model):
    plain = unwrap(model)
    return plain.get_input_embeddings().weight is plain.get_output_embeddings().weight


def log_of(directory):
    return [json.loads(line) for line in (Path(directory) / "log.jsonl").read_text().splitlines()]
