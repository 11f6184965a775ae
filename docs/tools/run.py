"""Run the code of the pages, draw their pictures, and compare their outputs with those printed there.

    python docs/tools/run.py                          # all pages; about two minutes
    python docs/tools/run.py docs/concepts/masks.md   # some
    python docs/tools/run.py --write                  # also put the outputs into the pages

A number may differ from the printed one by two units of its last digit: processors round differently.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import re
import sys
import time
import traceback
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from pages import DOCS, ROOT, cells, pages

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


class PageError(Exception):
    """A block failed, or printed something else than the page says."""


def run(path: Path, *, write: bool = False) -> int:
    """Run the blocks of a page in order, in one namespace; return how many there are.

    Raises:
        PageError: a block fails, or its output is not that of the page; with `write` the page is changed instead.
    """
    import torch

    page = path.read_text("utf-8")
    found = cells(page)
    torch.manual_seed(0)
    torch.set_grad_enabled(True)  # a page may switch it off
    namespace = {"__name__": "page"}
    outputs = []
    for cell in found:
        line = page.count("\n", 0, cell.code.start) + 1
        printed = io.StringIO()
        try:
            # Empty lines before the code, so that tracebacks name the lines of the page.
            code = compile("\n" * line + cell.code.text, str(path), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, namespace)
        except Exception as error:
            raise PageError(f"{path}, the block at line {line}:\n{traceback.format_exc()}") from error
        output = printed.getvalue()
        outputs.append(output)
        expected = "" if cell.output is None else cell.output.text
        if not write and not alike(output, expected):
            raise PageError(f"{path}, the block at line {line} prints\n{output}\nand the page says\n{expected}")
    if write:
        for cell, output in reversed(list(zip(found, outputs, strict=True))):
            shown = f"\n```text\n{output.rstrip()}\n```" if output.strip() else ""
            end = cell.code.end if cell.output is None else cell.output.end
            page = page[: cell.code.end] + shown + page[end:]
        path.write_text(page, "utf-8")
    return len(found)


def alike(output: str, expected: str) -> bool:
    """Whether two outputs have the same words, and numbers that differ by rounding only."""
    output, expected = (re.sub(r"[ \t]+", " ", text).strip() for text in (output, expected))
    if _NUMBER.sub("#", output) != _NUMBER.sub("#", expected):
        return False
    pairs = zip(_NUMBER.findall(output), _NUMBER.findall(expected), strict=True)
    return all(abs(float(a) - float(b)) <= 2.001 * _last_digit(b) for a, b in pairs)


def _last_digit(number: str) -> float:
    digits, _, exponent = number.partition("e")
    places = len(digits.partition(".")[2])
    return (10.0**-places if places or exponent else 0.0) * 10.0 ** int(exponent or 0)


def main() -> int:
    """Run the pages of the command line; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="default: all")
    parser.add_argument("--write", action="store_true", help="put the outputs into the pages")
    options = parser.parse_args()
    chosen = [path.resolve() for path in options.pages] or pages()
    os.chdir(ROOT)
    (DOCS / "pictures").mkdir(exist_ok=True)

    import minitransformers  # noqa: F401

    failures, count = 0, 0
    for path in chosen:
        start = time.perf_counter()
        try:
            # In a process of its own: a class that one page registers is not there in the next.
            with multiprocessing.get_context("fork").Pool(1) as process:
                number = process.apply(run, (path,), {"write": options.write})
        except PageError as error:
            failures += 1
            print(error, file=sys.stderr)
            continue
        count += number
        print(f"{path.relative_to(ROOT)}: {number} blocks, {time.perf_counter() - start:.1f} s", flush=True)
    print(f"{count} blocks of {len(chosen)} pages ran; {failures} pages failed.")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
