"""A training run that is killed with SIGKILL repeatedly: `killed_training.py DIRECTORY SEED KILLS SAVES`.

Trains once without interruption in DIRECTORY/whole. Then again in DIRECTORY/killed, in processes forked from this one
(without the time of an import), of which KILLS are killed: SAVES of them during a save, the others at a random time.
Prints one JSON object with the numbers of kills and of steps.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch.distributed.checkpoint import hf_storage  # noqa: F401  # imported before the forks
from torch.utils.data import DataLoader

import minitransformers as mt
from minitransformers.training import Hooks, Settings, train
from minitransformers.training.loop import checkpoints
from minitransformers.training.loop.logs import JsonLines
from minitransformers.training.loop.schedules import get_cosine_schedule_with_warmup

torch.set_num_threads(1)
VOCAB_SIZE, MASK, STEPS = 40, 1, 66
STAGES = ["while tensors are written", "before the new name", "after the new name", "while an old one is removed"]


def masked(rows):
    """Masks with all three sources of random numbers."""
    ids = torch.stack(rows)
    chosen = torch.rand(ids.shape) < 0.3
    chosen[:, random.randrange(ids.shape[1])] = True
    chosen[np.random.randint(len(rows))] = True
    return {"input_ids": ids.masked_fill(chosen, MASK), "labels": ids.masked_fill(~chosen, -100)}


class Announce(Hooks):
    """Reports each step to the parent process; after `most` steps, waits to be killed.

    On a busy machine the parent is late: without a limit, a few processes would take all steps.
    """

    def __init__(self, pipe, most):
        self.pipe, self.most = pipe, most

    def on_step_end(self, run):
        os.write(self.pipe, b"s")
        self.most -= 1
        if self.most == 0:
            time.sleep(600)


def run(directory, pipe, most):
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    config = mt.BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    model = mt.BertForMaskedLM(config)
    rows = torch.randint(2, VOCAB_SIZE, (22, 10)).unbind()
    batches = DataLoader(rows, batch_size=3, shuffle=True, collate_fn=masked)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    settings = Settings(
        steps=STEPS,
        accumulation=2,
        output_dir=directory,
        save_every=3,
        evaluate_every=5,
        keep=2,
        keep_best=True,
    )
    validation = DataLoader(rows[:6], batch_size=4, collate_fn=masked)
    train(
        model,
        optimizer,
        get_cosine_schedule_with_warmup(optimizer, 5, STEPS),
        batches,
        settings,
        validation=validation,
        hooks=[Announce(pipe, most)],
        loggers=[JsonLines(directory / "log.jsonl")],
    )


def pause(stage, pipe):
    """At `stage` of the save, report to the parent and wait for the end."""

    def stop():
        os.write(pipe, b"p")
        time.sleep(600)

    write_tensors = checkpoints.write_tensors
    rename, rmtree = Path.rename, shutil.rmtree
    if stage == STAGES[0]:

        def write(tensors, directory):
            half = dict(list(tensors.items())[: len(tensors) // 2])
            write_tensors(half, directory)
            stop()

        checkpoints.write_tensors = write
    elif stage == STAGES[1]:

        def before(self, target):
            if self.name.endswith(".partial"):
                stop()
            return rename(self, target)

        Path.rename = before
    elif stage == STAGES[2]:
        checkpoints.remove_old = lambda *arguments: stop()
    else:

        def removing(path, *arguments, **options):
            if Path(path).name.endswith(".partial"):
                for file in list(Path(path).rglob("*.safetensors"))[:1]:
                    file.unlink()
                    stop()
            return rmtree(path, *arguments, **options)

        shutil.rmtree = removing


def fork(directory, stage=None, most=STEPS + 1):
    """Start a run in a new process; return its id, and the pipe from it."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        try:
            if stage is not None:
                pause(stage, writing)
            run(directory, writing, most)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return process, reading


def finish(process):
    """Wait for the end of a process; return the signal that ended it, or 0."""
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"a run ended with {os.WEXITSTATUS(status)}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def wait_for(reading, letter, count):
    """Read until `letter` has arrived `count` times, or the process has ended."""
    seen = b""
    while seen.count(letter) < count and (news := os.read(reading, 1)):
        seen += news
    return seen


def read_all(reading):
    """Read until the process has ended."""
    with open(reading, "rb") as file:
        return file.read()


def main():
    directory, seed, kills, saves = Path(sys.argv[1]), *map(int, sys.argv[2:])
    for name in ("whole", "killed"):
        (directory / name).mkdir(parents=True)
    begin = time.perf_counter()
    process, reading = fork(directory / "whole")
    read_all(reading)
    finish(process)
    duration = time.perf_counter() - begin

    chance = random.Random(seed)
    plan = [STAGES[index % len(STAGES)] for index in range(saves)] + [None] * (kills - saves)
    chance.shuffle(plan)
    steps, killed = 0, Counter()
    for stage in plan:
        count = 1 if stage else chance.randrange(4)
        process, reading = fork(directory / "killed", stage, **({} if stage else {"most": count + 1}))
        seen = wait_for(reading, b"p" if stage else b"s", count)
        if not stage:
            time.sleep(chance.uniform(0, 2 * duration / STEPS))
        os.kill(process, signal.SIGKILL)
        if finish(process) == signal.SIGKILL:
            killed[stage or "at a random time"] += 1
        steps += (seen + read_all(reading)).count(b"s")
    process, reading = fork(directory / "killed")
    steps += read_all(reading).count(b"s")
    finish(process)
    print(json.dumps({"killed": killed, "steps": steps}))


main()
