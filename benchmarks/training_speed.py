"""How fast `Trainer` trains, and with how much memory, beside the Trainer of transformers.

What it does: gives both Trainers the same model with the same random weights (BERT-base and GPT-2 small), the same
batches and the same arguments, which are the defaults of both: float32, fused AdamW, clipping. They take turns of a few
steps in one process. Prints the median time of a step, from its beginning to its end, the ratio to transformers (above
1: faster), and the difference of the losses. Then each trains alone in a process of its own, for the largest memory
that the process had. Writes TRAINING.md.

    python benchmarks/training_speed.py                    # about 25 minutes on one core
    python benchmarks/training_speed.py MLM --turns 3
    python benchmarks/training_speed.py --tiny             # small models: to see that everything runs
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OURS, THEIRS = "minitransformers", "transformers"
# name: (kind, texts in a batch, length, further settings of the model, of the arguments)
ROWS: dict[str, tuple[str, int, int, dict[str, Any], dict[str, Any]]] = {
    "MLM step 8×128, mixed lengths": ("mlm", 8, 128, {"dropout": 0.0}, {}),
    "MLM step 8×128, mixed lengths, dropout 0.1": ("mlm", 8, 128, {"dropout": 0.1}, {}),
    "MLM step 8×128, no padding": ("mlm full", 8, 128, {"dropout": 0.0}, {}),
    "CLM step 4×128": ("clm", 4, 128, {"dropout": 0.0}, {}),
    "CLM step 1×1024": ("clm", 1, 1024, {"dropout": 0.0}, {}),
    "CLM step 1×1024, gradient checkpointing": ("clm", 1, 1024, {"dropout": 0.0}, {"gradient_checkpointing": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="run the rows whose name contains one of these")
    parser.add_argument("--turns", type=int, default=5, help="of each Trainer; the first one is not counted")
    parser.add_argument("--steps", type=int, default=3, help="in a turn; the first one is not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "TRAINING.md")
    parser.add_argument("--alone", choices=[OURS, THEIRS], help=argparse.SUPPRESS)  # of a child process
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    if arguments.alone:
        print(json.dumps(memory_of(arguments, arguments.rows[0])))
        return
    results = []
    for name in ROWS:
        if any(part in name for part in arguments.rows or [""]):
            results.append({"row": name, **compare(arguments, name), "memory": memories(arguments, name)})
            print(table(results[-1:]), flush=True)
            arguments.output.write_text(page(results), encoding="utf-8")


# ---- measuring -------------------------------------------------------------------------------------------------------


def compare(arguments: argparse.Namespace, row: str) -> dict[str, Any]:
    """The times of a step of both Trainers, in turns, and how far their losses are apart."""
    times: dict[str, list[float]] = {OURS: [], THEIRS: []}
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        runs = {name: prepare(name, row, arguments, directory) for name in times}
        for turn in range(arguments.turns):
            for name in times if turn % 2 else reversed(times):
                seconds, losses[name] = runs[name](arguments.steps)
                if turn:
                    times[name] += seconds[1:]  # in the first step, the optimizer makes its state
    return {
        "seconds": {name: statistics.quantiles(values, n=4, method="inclusive") for name, values in times.items()},
        "ratio": statistics.median(times[THEIRS]) / statistics.median(times[OURS]),
        "difference": max(abs(a - b) for a, b in zip(losses[OURS], losses[THEIRS], strict=True)),
    }


def memories(arguments: argparse.Namespace, row: str) -> dict[str, dict[str, float]]:
    """The largest memory of each Trainer alone."""
    options = ["--threads", str(arguments.threads), *(["--tiny"] if arguments.tiny else [])]
    found = {}
    for name in (OURS, THEIRS):
        command = [sys.executable, __file__, row, "--alone", name, *options]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = json.loads(child.stdout.strip().splitlines()[-1])
    return found


def memory_of(arguments: argparse.Namespace, row: str) -> dict[str, float]:
    """Bytes: of the process before training, with the model in it, and the most during some steps."""
    with tempfile.TemporaryDirectory() as directory:
        run = prepare(arguments.alone, row, arguments, directory)
        before = resident()
        run(3)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))  # ru_maxrss would be the parent's, too
    return {"before": before, "peak": 1024.0 * int(peak)}


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return float(pages * resource.getpagesize())


def prepare(
    name: str, row: str, arguments: argparse.Namespace, directory: str
) -> Callable[[int], tuple[list[float], list[float]]]:
    """A function that trains for some steps, and returns the seconds and the loss of each."""
    import importlib

    import torch

    torch.set_num_threads(arguments.threads)
    library = importlib.import_module(name)
    library.logging.set_verbosity_error() if name == THEIRS else None
    kind, texts, length, sizes, further = ROWS[row]
    model = build(library, kind, sizes["dropout"], arguments.tiny)
    fill(model)
    data = examples(kind, texts * 4, length, arguments.tiny)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter

    class Watch(library.TrainerCallback):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = clock()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(clock() - self.start)

    def run(steps: int) -> tuple[list[float], list[float]]:
        settings = library.TrainingArguments(
            directory,
            max_steps=steps,
            per_device_train_batch_size=texts,
            learning_rate=1e-6,  # the same work in every turn
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
            **further,
        )
        watch = Watch()
        collator = library.default_data_collator
        trainer = library.Trainer(model, settings, train_dataset=data, data_collator=collator, callbacks=[watch])
        trainer.remove_callback(library.PrinterCallback)
        trainer.train()
        return watch.seconds, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    return run


def build(library: Any, kind: str, dropout: float, tiny: bool) -> Any:
    if kind.startswith("mlm"):
        names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        sizes = dict.fromkeys(names, dropout)
        if tiny:
            sizes |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        return library.BertForMaskedLM(library.BertConfig(**sizes))
    sizes = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    if tiny:
        sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 2}
    return library.GPT2LMHeadModel(library.GPT2Config(**sizes))


def fill(model: Any) -> None:
    """The same weights in both libraries, whose parameters have the same names."""
    import torch

    for name, parameter in sorted(model.named_parameters()):
        draw = torch.Generator().manual_seed(sum(map(ord, name)))
        with torch.no_grad():
            if parameter.ndim == 1:
                parameter.fill_(float(name.endswith("weight")))  # norms and biases
            else:
                shape = sorted(parameter.shape)  # GPT-2's matrices are transposed there
                values = torch.randn(shape, generator=draw) * 0.02
                is_conv1d = type(model.get_submodule(name.rpartition(".")[0])).__name__ == "Conv1D"
                rows, columns = reversed(parameter.shape) if is_conv1d else parameter.shape
                values = values if (rows, columns) == tuple(shape) else values.T
                parameter.copy_(values.T if is_conv1d else values)


def examples(kind: str, number: int, length: int, tiny: bool) -> list[dict[str, Any]]:
    """Texts of random tokens; mixed lengths go from an eighth of the length to all of it."""
    import torch

    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (number, length), generator=draw)
    if kind == "clm":
        return [{"input_ids": row, "labels": row} for row in ids]
    least = length if kind == "mlm full" else length // 8
    real = torch.linspace(least, length, number).long()[torch.randperm(number, generator=draw), None]
    mask = (torch.arange(length) < real).long()
    is_chosen = (torch.rand(ids.shape, generator=draw) < 0.15) & (mask == 1)
    labels = ids.masked_fill(~is_chosen, -100)
    columns = {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}
    return [{name: values[row] for name, values in columns.items()} for row in range(number)]


# ---- writing ---------------------------------------------------------------------------------------------------------


def table(results: list[dict[str, Any]]) -> str:
    lines = []
    for result in results:
        for name in (THEIRS, OURS):
            low, median, high = result["seconds"][name]
            ratio = result["ratio"] if name == OURS else 1.0
            memory, theirs = result["memory"][name], result["memory"][THEIRS]
            lines.append(
                f"| {result['row']} | {name} | {median:.2f} ({low:.2f}–{high:.2f}) | {ratio:.2f} | "
                f"{memory['peak'] / 1e9:.2f} | {memory['peak'] / theirs['peak']:.2f} | "
                f"{used(memory) / 1e9:.2f} | {used(memory) / used(theirs):.2f} | "
                f"{format(result['difference'], '.0e') if name == OURS else ''} |"
            )
    return "\n".join(lines)


def used(memory: dict[str, float]) -> float:
    return memory["peak"] - memory["before"]


def page(results: list[dict[str, Any]]) -> str:
    import torch
    import transformers

    head = (HERE / "training_head.md").read_text(encoding="utf-8")
    machine = f"torch {torch.__version__}, transformers {transformers.__version__}, one process."
    columns = (
        "row",
        "Trainer of",
        "a step: median (quartiles), s",
        "ratio",
        "peak, GB",
        "share",
        "above the model, GB",
        "share",
        "difference of the losses",
    )
    return f"{head}\n{machine}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n{table(results)}\n"


if __name__ == "__main__":
    main()
