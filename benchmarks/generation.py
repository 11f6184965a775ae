"""How fast generate is beside transformers', in one process, call by call in turn.

What it does: gives GPT-2 small (124 million parameters, random weights: there is no network here to get trained ones
from, and the time does not depend on them) the same prompts in both libraries, checks that both continue them with the
same tokens, then times calls alternately, so that whatever else the machine does hits both alike. Prints medians,
quartiles and the ratio of medians (above 1: this library is faster), and how many tokens differ.

    python benchmarks/generation.py                      # about ten minutes on 2 cores
    python benchmarks/generation.py --only greedy --repetitions 15
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from against_transformers import Case, measure, pair, report
from torch import Tensor

STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampling": {"do_sample": True, "top_p": 0.9, "temperature": 0.8},
    "beams (4)": {"num_beams": 4},
}
END = 50256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__} (sdpa)"
    print(f"GPT-2 small, random weights, float32; {versions}, {arguments.threads} threads, CPU\n")
    print(f"{'':28}{'minitransformers':>24}{'transformers':>24}{'ratio':>8}{'tokens':>10}")
    shown = "median (quartiles) ms"
    print(f"{'batch × (prompt + new)':28}{shown:>24}{shown:>24}{'':>8}{'differ':>10}")
    for case in cases(arguments.repetitions, arguments.new_tokens, arguments.only):
        report(case, *measure(case))


def cases(repetitions: int, new: int, only: str) -> Iterator[Case]:
    torch.manual_seed(0)
    ours, theirs = pair("GPT2LMHeadModel", {}, "GPT2Config")
    for name, options in STRATEGIES.items():
        for batch, length in ((1, 16), (8, 16), (1, 256)):
            title = f"{name} {batch}×({length}+{new})"
            if only.lower() in title.lower():
                ids = torch.randint(1000, 30000, (batch, length))
                yield case(title, ours, theirs, ids, {**options, "max_new_tokens": new}, repetitions)


def case(title: str, ours: Any, theirs: Any, ids: Tensor, options: dict[str, Any], repetitions: int) -> Case:
    def run(model: Any) -> Tensor:
        torch.manual_seed(1)  # the same draws in both
        mask = torch.ones_like(ids)
        # No end of text, so that every call computes the same number of tokens.
        return model.generate(ids, attention_mask=mask, eos_token_id=None, pad_token_id=END, **options)

    difference = float((run(ours) != run(theirs)).sum())
    return Case(title, lambda: run(ours), lambda: run(theirs), repetitions, difference)


if __name__ == "__main__":
    main()
