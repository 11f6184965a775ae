"""Change good files at random, and see what reading them does: load, or end in an error of this library.

    python tests/fuzz/mutate_files.py --count 1000                      # of each kind of file
    python tests/fuzz/mutate_files.py --kinds "vocab.txt" --start 812 --count 1 --show

Prints how often files were loaded and refused, and every other end by its place, with the number of the first case.
A case is given by its number: `--start N --count 1` repeats it. 1,000 of each kind take about 10 minutes on one core.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import torch
from file_kinds import KINDS
from file_mutations import mutated
from limited import Result, run_limited


def case(kind: str, number: int, content: bytes) -> bytes:
    """The changed file of that number."""
    return mutated(content, Random(f"{kind} {number}"))


def results(kind: str, numbers: Iterable[int], root: Path) -> Iterator[Result]:
    """What becomes of each case of a kind of file; `root` is an empty directory to work in."""
    good, out = root / "good", root / "out"
    good.mkdir(parents=True)
    KINDS[kind].make(good)
    path = good / KINDS[kind].file
    content = path.read_bytes()

    def read(number: int) -> None:
        path.write_bytes(case(kind, number, content))
        (out / str(number)).mkdir(parents=True)
        KINDS[kind].use(good, out / str(number))

    (out / "good").mkdir(parents=True)
    KINDS[kind].use(good, out / "good")  # the good file, which must load
    return run_limited(read, numbers, allowed=[root])


def main() -> int:
    """Run the cases that the command line asks for; 1 if any of them had a bad end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="names or parts of names; all by default")
    parser.add_argument("--start", type=int, default=0, help="the number of the first case (0)")
    parser.add_argument("--count", type=int, default=100, help="cases of each kind (100)")
    parser.add_argument("--show", action="store_true", help="print every result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad_ends = 0
    for kind in [name for name in KINDS if any(part in name for part in options.kinds)]:
        counts: Counter[str] = Counter()
        bad: dict[str, list[Result]] = {}
        with tempfile.TemporaryDirectory() as directory:
            for result in results(kind, range(options.start, options.start + options.count), Path(directory)):
                counts[result.kind] += 1
                if options.show:
                    print(result.item, result.kind, result.detail)
                if result.is_bad:
                    place = re.sub(r"0x[0-9a-f]+|/tmp\S+", "…", result.detail)[:60]
                    bad.setdefault(f"{result.kind} {place}", []).append(result)
        print(f"{kind}: {', '.join(f'{number} {name}' for name, number in counts.items())}", flush=True)
        for group in bad.values():
            first = group[0]
            print(f"    {len(group)} × {first.kind}: {first.detail} (the first is case {first.item})", flush=True)
        bad_ends += sum(map(len, bad.values()))
    return bool(bad_ends)


if __name__ == "__main__":
    sys.exit(main())
