"""Train and generate for a long time, and see that memory, file descriptors and threads stay flat.

    python benchmarks/soak.py --minutes 120

A tiny GPT-2 is trained over and over, with evaluation and checkpoints, of which two are kept; after each run it
generates. Every minute prints the resident memory in MiB, the open file descriptors, the threads, and the steps and
tokens so far. Ends with 1 if one of the three has grown after the first fifth of the time: memory by more than 10 % or
32 MiB, whichever is larger, the others by more than 2. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import minitransformers as mt
from minitransformers.training import Settings, train

VOCAB_SIZE, LENGTH, STEPS, NEW_TOKENS = 64, 16, 20, 48


@dataclass(frozen=True)
class Sample:
    """What the process holds.

    Attributes:
        memory: resident, in MiB.
        files: open file descriptors.
        threads: of the process, native ones included.
    """

    memory: float
    files: int
    threads: int

    @classmethod
    def now(cls) -> Sample:
        """Of this process."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        files = len(list(Path("/proc/self/fd").iterdir()))
        return cls(int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]))


def growth(samples: list[Sample]) -> list[str]:
    """What has grown from the first fifth of the samples, which are at least 5, to the last; empty if nothing has."""
    before, after = samples[: len(samples) // 5], samples[-1]
    found = []
    memory = max(sample.memory for sample in before)
    if after.memory - memory > max(32.0, 0.1 * memory):
        found.append(f"memory: {memory:.0f} → {after.memory:.0f} MiB")
    for name in ("files", "threads"):
        most = max(getattr(sample, name) for sample in before)
        if getattr(after, name) - most > 2:
            found.append(f"{name}: {most} → {getattr(after, name)}")
    return found


def one_round(directory: Path, seed: int) -> Any:
    """One run from new weights, with checkpoints, and the text that its model writes."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 2 * NEW_TOKENS}
    model = mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=VOCAB_SIZE, bos_token_id=0, eos_token_id=1, **sizes))
    ids = torch.randint(2, VOCAB_SIZE, (64, LENGTH))
    batches: Any = DataLoader([{"input_ids": row, "labels": row} for row in ids], batch_size=8, shuffle=True)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    settings = Settings(
        steps=STEPS,
        output_dir=directory,
        save_every=STEPS // 2,
        keep=2,
        evaluate_every=STEPS // 2,
        resume=False,
        async_save=seed % 2 == 1,
    )
    train(model, optimizer, schedule, batches, settings, validation=batches)
    model.eval()
    return model.generate(
        ids[:4, :4], max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=True, pad_token_id=0
    )


def main() -> int:
    """Run for as long as the command line asks; 1 if something has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--every", type=float, default=60, help="seconds between samples (60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples: list[Sample] = []
    rounds = tokens = 0
    started = last = time.monotonic()
    while time.monotonic() - started < 60 * options.minutes:
        with tempfile.TemporaryDirectory() as directory:
            tokens += one_round(Path(directory) / "run", rounds)[:, 4:].numel()
        rounds += 1
        if time.monotonic() - last >= options.every or rounds == 1:
            last = time.monotonic()
            samples.append(Sample.now())
            now = samples[-1]
            print(
                f"{(last - started) / 60:6.1f} min {now.memory:8.1f} MiB {now.files:4d} files  {now.threads:4d} threads"
                f"  {rounds * STEPS:9,} steps  {tokens:11,} tokens",
                flush=True,
            )
    if len(samples) < 5:
        print(f"{len(samples)} samples are too few to tell: run for longer, or pass a smaller --every.")
        return 1
    grown = growth(samples)
    print("; ".join(grown) if grown else f"Flat, in {len(samples)} samples.")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
