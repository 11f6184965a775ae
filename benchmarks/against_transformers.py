"""How fast minitransformers is beside transformers: both in one process, call by call in turn.

What it does: builds the same models with the same random weights in both libraries (sizes of MiniLM, BERT-base and
GPT-2 small), checks that their outputs agree, then times single calls alternately, so that whatever else the machine
does hits both alike. Prints medians, quartiles and the ratio of medians (above 1: this library is faster).

    python benchmarks/against_transformers.py            # about eight minutes on 2 cores
    python benchmarks/against_transformers.py --only encoder --repetitions 50
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor

import minitransformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

BERT_BASE = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
MINILM = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


@dataclass
class Case:
    """One thing to time in both libraries.

    `difference` is the largest difference of their outputs, and None where there is nothing to compare.
    """

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    repetitions: int
    difference: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=31, help="of the short cases; long ones have fewer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__} (sdpa), {arguments.threads} threads, CPU\n"
    )
    print(f"{'':28}{'minitransformers':>24}{'transformers':>24}{'ratio':>8}{'max |Δ|':>10}")
    print(f"{'':28}{'median (quartiles) ms':>24}{'median (quartiles) ms':>24}")
    for case in cases(arguments.repetitions, arguments.only):
        report(case, *measure(case))


def cases(repetitions: int, only: str) -> Iterator[Case]:
    makers = {
        "encoder MiniLM 1×16": lambda name: encoder(name, MINILM, 1, 16, repetitions),
        "encoder BERT-base 1×16": lambda name: encoder(name, BERT_BASE, 1, 16, repetitions),
        "encoder BERT-base 8×128": lambda name: encoder(name, BERT_BASE, 8, 128, max(5, repetitions // 3)),
        "encoder 8×128, padded": lambda name: encoder(name, BERT_BASE, 8, 128, max(5, repetitions // 3), padded=True),
        "training step MiniLM 8×64": lambda name: training_step(name, max(5, repetitions // 2)),
        "greedy GPT-2 1×(16+32)": lambda name: greedy(name, 1, max(5, repetitions // 4)),
        "greedy GPT-2 8×(16+32)": lambda name: greedy(name, 8, max(5, repetitions // 4)),
        "load BERT-base": lambda name: loading(name, repetitions),
        "import": lambda name: importing(name, max(5, repetitions // 4)),
    }
    for name, make in makers.items():
        if only.lower() in name.lower():
            yield make(name)


def pair(kind: str, sizes: dict[str, int], config_name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same model with the same weights, here and in transformers."""
    theirs = getattr(transformers, kind)(getattr(transformers, config_name)(**sizes, attn_implementation="sdpa"))
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        ours = getattr(minitransformers, kind).from_pretrained(directory)
        # Both loaded from the same file, as a user would have them.
        theirs = getattr(transformers, kind).from_pretrained(directory, attn_implementation="sdpa")
    return ours.eval(), theirs.eval()


def encoder(
    name: str, sizes: dict[str, int], batch: int, length: int, repetitions: int, *, padded: bool = False
) -> Case:
    ours, theirs = pair("BertModel", sizes, "BertConfig")
    inputs = {
        "input_ids": torch.randint(1000, 30000, (batch, length)),
        "attention_mask": torch.ones(batch, length).long(),
    }
    if padded:
        for row, real in enumerate(torch.linspace(length // 8, length, batch).long()):
            inputs["attention_mask"][row, real:] = 0
    run = torch.inference_mode()(lambda model: model(**inputs).last_hidden_state)
    real = inputs["attention_mask"].bool()
    return Case(name, lambda: run(ours), lambda: run(theirs), repetitions, gap(run(ours)[real], run(theirs)[real]))


def training_step(name: str, repetitions: int) -> Case:
    ours, theirs = pair(
        "BertForMaskedLM", MINILM | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, "BertConfig"
    )
    ids = torch.randint(1000, 30000, (8, 64))

    def step(model: torch.nn.Module) -> Tensor:
        model.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        return loss.detach()

    ours.train()
    theirs.train()
    return Case(name, lambda: step(ours), lambda: step(theirs), repetitions, gap(step(ours), step(theirs)))


def greedy(name: str, batch: int, repetitions: int) -> Case:
    ours, theirs = pair("GPT2LMHeadModel", {}, "GPT2Config")
    ids = torch.randint(1000, 30000, (batch, 16))

    def run(model: torch.nn.Module) -> Tensor:
        return model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=32,
            do_sample=False,
            eos_token_id=50257 - 1,
            pad_token_id=50257 - 1,
        )

    return Case(name, lambda: run(ours), lambda: run(theirs), repetitions, float((run(ours) != run(theirs)).sum()))


def loading(name: str, repetitions: int) -> Case:
    directory = Path(tempfile.mkdtemp())
    transformers.BertModel(transformers.BertConfig(**BERT_BASE)).save_pretrained(directory)
    ours, theirs = minitransformers.BertModel, transformers.BertModel
    ids = torch.randint(1000, 30000, (1, 16))

    def run(library: type) -> Tensor:
        # A first pass looks at every weight: a mapped file is not loaded before that.
        with torch.inference_mode():
            return library.from_pretrained(directory).eval()(ids).last_hidden_state

    return Case(name, lambda: run(ours), lambda: run(theirs), repetitions, gap(run(ours), run(theirs)))


def importing(name: str, repetitions: int) -> Case:
    def run(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    return Case(
        name,
        lambda: run("from minitransformers import BertModel"),
        lambda: run("from transformers import BertModel"),
        repetitions,
    )


def gap(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def measure(case: Case) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, the two libraries in turn, after one call of each to warm up."""
    case.ours(), case.theirs()
    ours, theirs = [], []
    for repetition in range(case.repetitions):
        order = [(case.ours, ours), (case.theirs, theirs)]
        for call, times in order if repetition % 2 else order[::-1]:
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
    return ours, theirs


def report(case: Case, ours: list[float], theirs: list[float]) -> None:
    def shown(times: list[float]) -> str:
        low, median, high = statistics.quantiles(times, n=4)
        return f"{median:.1f} ({low:.1f}–{high:.1f})"

    ratio = statistics.median(theirs) / statistics.median(ours)
    difference = "" if case.difference is None else f"{case.difference:.1e}"
    print(f"{case.name:28}{shown(ours):>24}{shown(theirs):>24}{ratio:>8.2f}{difference:>10}", flush=True)


if __name__ == "__main__":
    main()
