"""Runs that take a fraction of a second."""

import numpy as np
import torch
from torch.utils.data import DataLoader

import minitransformers as mt
from minitransformers.training import Settings, train

VOCAB_SIZE, LENGTH = 30, 8


def bert(**fields):
    """With dropout, so random numbers have an effect."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    config = mt.BertConfig(max_position_embeddings=LENGTH, **{"vocab_size": VOCAB_SIZE, **sizes, **fields})
    return mt.BertForMaskedLM(config)


def gpt2(**fields):
    torch.manual_seed(0)
    sizes = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": LENGTH, "bos_token_id": 0, "eos_token_id": 0}
    return mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=VOCAB_SIZE, **{**sizes, **fields}))


def texts(count=14):
    return torch.randint(2, VOCAB_SIZE, (count, LENGTH), generator=torch.Generator().manual_seed(5)).unbind()


def masked(rows):
    """Masks with PyTorch's and NumPy's random numbers. (Python's are drawn by run-time type checks too.)"""
    ids = torch.stack(list(rows))
    chosen = torch.rand(ids.shape) < 0.3
    chosen[np.random.randint(len(rows))] = True
    return {"input_ids": ids.masked_fill(chosen, 1), "labels": ids.masked_fill(~chosen, -100)}


def loader(**options):
    return DataLoader(texts(), **{"batch_size": 3, "shuffle": True, "collate_fn": masked, **options})


def go(directory, steps, *, model=None, batches=None, hooks=(), loggers=(), validation=None, loss=None, **settings):
    """Train `model` up to `steps`, with all seeds set; return the run."""
    model = bert() if model is None else model
    torch.manual_seed(1)
    np.random.seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    settings = Settings(**{"steps": steps, "accumulation": 2, "output_dir": directory, **settings})
    options = {} if loss is None else {"loss": loss}
    batches = loader() if batches is None else batches
    return train(
        model, optimizer, schedule, batches, settings, validation=validation, hooks=hooks, loggers=loggers, **options
    )


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one)
