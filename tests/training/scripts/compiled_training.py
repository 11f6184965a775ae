"""Training with torch.compile, compared with training without it: `compiled_training.py DIRECTORY`."""

import sys
from pathlib import Path

import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import bert, go, gpt2, texts


def no_dropout(make):
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob") if make is bert else ("resid_pdrop", "embd_pdrop")
    return make(**dict.fromkeys(rates, 0.0), **({} if make is bert else {"attn_pdrop": 0.0}))


def main():
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    rows = torch.stack(list(texts(4)))
    batches = [{"input_ids": rows, "labels": rows.masked_fill(rows % 3 == 0, -100)}] * 4
    for make in (bert, gpt2):
        model = no_dropout(make)
        name = type(model).__name__
        plain = go(directory / f"{name}-plain", 4, model=no_dropout(make), batches=batches)
        compiled = go(directory / name, 2, model=model, batches=batches, compile="aot_eager")
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
        with safe_open(directory / name / "checkpoint-2/model.safetensors", "pt") as file:
            assert not any("_orig_mod" in key for key in file.keys())  # noqa: SIM118
        rest = go(directory / name, 4, model=no_dropout(make), batches=batches)
        for ours, theirs in zip(compiled.history + rest.history, plain.history, strict=True):
            for key, value in theirs.items():
                assert abs(ours[key] - value) <= 1e-4 * abs(value), (key, ours, theirs)
        print(name)


main()
