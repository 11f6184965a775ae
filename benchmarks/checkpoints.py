"""Bytes and seconds of a checkpoint, beside the Trainer of transformers.

What it does: trains the same BERT (random weights) for one step at a time with `Trainer` and with the Trainer of
transformers, each of which writes a checkpoint after each step, in turn. Prints the size of a checkpoint, the median
time of writing it, and that of `train`. (Ours is flushed to the disk, has checksums, and survives SIGKILL.)

    python benchmarks/checkpoints.py                   # BERT-small (29 million parameters), about two minutes
    python benchmarks/checkpoints.py --hidden 768 --layers 12
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers

import minitransformers as mt
from minitransformers.training import Hooks, Settings, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    sizes = {
        "hidden_size": arguments.hidden,
        "num_hidden_layers": arguments.layers,
        "num_attention_heads": arguments.hidden // 64,
        "intermediate_size": 4 * arguments.hidden,
    }
    ours = mt.BertForMaskedLM(mt.BertConfig(**sizes))
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(**sizes))
    ids = torch.arange(16)
    data = [{"input_ids": ids, "labels": ids}] * 8
    measured: dict[str, list[float]] = {}
    for turn in range(arguments.turns + 1):
        for name, run in {
            "train": lambda: loop(ours, data),
            "Trainer": lambda: trainer_of(mt, ours, data),
            "Trainer of transformers": lambda: trainer_of(transformers, theirs, data),
        }.items():
            with_size, seconds = run()
            measured.setdefault(name, []).extend([seconds] if turn else [])
            size = with_size
            if turn == arguments.turns:
                median = statistics.median(measured[name])
                print(f"{name:28}{size / 1e6:10.1f} MB{median:8.2f} s a checkpoint")


def loop(model: Any, data: list[Any]) -> tuple[int, float]:
    with tempfile.TemporaryDirectory() as directory:
        times = Times()
        optimizer = torch.optim.AdamW(model.parameters())
        batches = [{name: values[None] for name, values in data[0].items()}]
        train(model, optimizer, None, batches, Settings(steps=1, output_dir=directory, log_every=None), hooks=[times])
        return size_of(Path(directory)), times.seconds


class Times(Hooks):
    """The time between the end of the step and the end of the saving."""

    def on_step_end(self, run: Any) -> None:  # noqa: D102
        self.begin = time.perf_counter()

    def on_save(self, run: Any, directory: Path) -> None:  # noqa: D102
        self.seconds = time.perf_counter() - self.begin


def trainer_of(library: Any, model: Any, data: list[Any]) -> tuple[int, float]:
    class Timed(library.Trainer):  # type: ignore[misc, name-defined]
        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            begin = time.perf_counter()
            super()._save_checkpoint(*args, **kwargs)
            self.seconds = time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as directory:
        options = {"max_steps": 1, "save_steps": 1, "report_to": "none", "disable_tqdm": True, "use_cpu": True}
        made = Timed(model, library.TrainingArguments(directory, **options), train_dataset=data)
        made.remove_callback(library.PrinterCallback)
        made.train()
        return size_of(Path(directory)), made.seconds


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
