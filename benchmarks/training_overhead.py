"""What `train` and `Trainer` cost beside a bare loop, and beside the Trainer of transformers.

What it does: trains the same small BERT (masked language model, random data, float32, AdamW, clipping, a schedule) for
some steps with a bare loop, with `train`, with `Trainer`, and with the Trainer of transformers on its own model. The
four take turns, so that whatever else the machine does hits all alike. Prints the median time of a step of each,
and its ratio to the bare loop. A step is short here (--hidden 64: some ms), so that the cost of the loops shows.

    python benchmarks/training_overhead.py                     # about two minutes on 2 cores
    torchrun --standalone --nproc-per-node 2 benchmarks/training_overhead.py      # beside bare DistributedDataParallel
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch.utils.data import DataLoader, DistributedSampler

import minitransformers as mt
from minitransformers.training import Settings, parallelize, train
from minitransformers.training.loop.distributed import rank, world_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="in one turn")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--accumulation", type=int, default=1, help="batches in a step")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    runs = competitors(arguments)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(arguments.turns + 1):
        for name, run in runs.items():
            seconds = run()
            if turn:  # the first one warms up
                times[name].append(1000 * seconds / arguments.steps)
    bare = statistics.median(times["bare loop"])
    if rank() == 0:
        print(f"torch {torch.__version__}, transformers {transformers.__version__}, {world_size()} process(es)")
        for name, each in times.items():
            median = statistics.median(each)
            print(f"{name:28}{median:8.2f} ms a step{median / bare:8.2f} × the bare loop")


def competitors(arguments: argparse.Namespace) -> dict[str, Callable[[], float]]:
    sizes = {
        "vocab_size": 1000,
        "hidden_size": arguments.hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 4 * arguments.hidden,
    }
    data = examples(arguments.steps * arguments.accumulation * 8 * 2)
    ours = [parallelize(mt.BertForMaskedLM(mt.BertConfig(**sizes)), device="cpu") for _ in range(2)]
    plain = mt.BertForMaskedLM(mt.BertConfig(**sizes))
    runs = {
        "bare loop": lambda: bare_loop(ours[0], data, arguments),
        "train": lambda: our_loop(ours[1], data, arguments),
        "Trainer": lambda: trainer_of(mt, plain, data, arguments),
    }
    if world_size() == 1:
        theirs = transformers.BertForMaskedLM(transformers.BertConfig(**sizes))
        runs["Trainer of transformers"] = lambda: trainer_of(transformers, theirs, data, arguments)
    return runs


def examples(number: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, (number, 32), generator=generator)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) > 0.15, -100)
    mask = torch.ones_like(ids)
    columns = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return [{name: values[row] for name, values in columns.items()} for row in range(number)]


def loader(data: Any) -> DataLoader[Any]:
    sampler = DistributedSampler(data) if world_size() > 1 else None
    return DataLoader(data, 8, shuffle=sampler is None, sampler=sampler, collate_fn=mt.default_data_collator)


def parts(model: Any) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def bare_loop(model: Any, data: Any, arguments: argparse.Namespace) -> float:
    optimizer, schedule = parts(model)
    begin, micro_batches = time.perf_counter(), iter(loader(data))
    model.train()
    for _ in range(arguments.steps):
        for _ in range(arguments.accumulation):
            loss = model(**next(micro_batches)).loss / arguments.accumulation
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.perf_counter() - begin


def our_loop(model: Any, data: Any, arguments: argparse.Namespace) -> float:
    optimizer, schedule = parts(model)
    begin = time.perf_counter()
    settings = Settings(steps=arguments.steps, accumulation=arguments.accumulation, log_every=50)
    train(model, optimizer, schedule, loader(data), settings)
    return time.perf_counter() - begin


def trainer_of(library: Any, model: Any, data: Any, arguments: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory() as directory:
        settings = library.TrainingArguments(
            directory,
            max_steps=arguments.steps,
            gradient_accumulation_steps=arguments.accumulation,
            per_device_train_batch_size=8,
            logging_steps=50,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            lr_scheduler_type="constant",
        )
        made = library.Trainer(
            model, settings, train_dataset=data, data_collator=mt.default_data_collator, callbacks=[]
        )
        made.remove_callback(library.PrinterCallback)
        begin = time.perf_counter()
        made.train()
        return time.perf_counter() - begin


if __name__ == "__main__":
    main()
