"""Notebooks of the main pages: written from the pages, and run.

    python docs/tools/notebooks.py            # write docs/notebooks; the suite tests that they are up to date
    python docs/tools/notebooks.py --run      # run each from top to bottom, with nbclient

A notebook has the page's text and code. `inspect` shows the package's code; pictures are shown after they are drawn.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from pages import DOCS, ROOT, blocks

NOTEBOOKS = DOCS / "notebooks"
MAIN = [
    "tour/bert.md",
    "tour/gpt.md",
    "concepts/attention.md",
    "concepts/masks.md",
    "concepts/positions.md",
    "concepts/mlm_and_nsp.md",
    "concepts/sampling.md",
    "concepts/cache.md",
    "guides/tokenization.md",
    "guides/looking_inside.md",
]
_FIRST = """\
import os
from pathlib import Path

while not Path("mkdocs.yml").is_file() and Path.cwd() != Path.cwd().parent:
    os.chdir("..")  # to the root of the checkout, where the pages' code runs
Path("docs/pictures").mkdir(exist_ok=True)"""
_PICTURE = re.compile(r"^!\[([^\]]*)\]\((?:\.\./)*(pictures/[\w.]+)\)$", re.MULTILINE)
_FRAME = re.compile(r'^<iframe src="(?:\.\./)*(pictures/[\w.]+)"[^>]*></iframe>$', re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([\w./#-]+\)")


def notebook(page: str) -> dict[str, Any]:
    """The notebook of a page, as it is stored; without outputs, so that it changes only where the page does."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, text: str) -> None:
        if text.strip():
            extra = {"execution_count": None, "outputs": []} if kind == "code" else {}
            cells.append(
                {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, "source": text.strip("\n"), **extra}
            )

    def add_text(text: str) -> None:
        for part in re.split(r"(^!\[.*\)$|^<iframe.*</iframe>$)", text, flags=re.MULTILINE):
            if picture := _PICTURE.match(part):
                add("code", f'from IPython.display import SVG\n\nSVG("docs/{picture[2]}")  # {picture[1]}')
            elif frame := _FRAME.match(part):
                add("code", f'from IPython.display import IFrame\n\nIFrame("docs/{frame[1]}", "100%", 680)')
            else:
                add("markdown", _LINK.sub(r"\1", part))

    add("code", _FIRST)
    end = 0
    for block in blocks(page):
        before, end = page[end : block.start], block.end
        add_text(before)
        if block.language == "python":
            add("code", block.text)
        elif block.language == "source":
            names = [line.split(": ") for line in block.text.strip().splitlines()]
            shown = [f"{file.removesuffix('.py').replace('/', '.')}:{name}" for file, name in names]
            add("code", _show(shown))
        elif block.language != "text":  # outputs come from running
            add("markdown", f"```{block.language}\n{block.text}```")
    add_text(page[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _show(names: list[str]) -> str:
    lines = ["import inspect", "from operator import attrgetter", "from importlib import import_module", ""]
    for each in names:
        module, name = each.split(":")
        lines.append(f'print(inspect.getsource(attrgetter("{name}")(import_module("{module}"))))')
    return "\n".join(lines)


def expected() -> dict[str, str]:
    """The text of every notebook, by its file's name."""
    return {
        f"{path.removesuffix('.md').replace('/', '_')}.ipynb": json.dumps(
            notebook((DOCS / path).read_text("utf-8")), indent=1, ensure_ascii=False
        )
        + "\n"
        for path in MAIN
    }


def run(path: Path) -> int:
    """Run a notebook in a kernel of its own; return how many cells of code it has.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    loaded = nbformat.read(path, as_version=4)
    NotebookClient(loaded, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    return sum(cell.cell_type == "code" for cell in loaded.cells)


def main() -> int:
    """Write the notebooks, or run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the notebooks")
    options = parser.parse_args()
    NOTEBOOKS.mkdir(exist_ok=True)
    if not options.run:
        for name, text in expected().items():
            (NOTEBOOKS / name).write_text(text, "utf-8")
        print(f"{len(MAIN)} notebooks written.")
        return 0
    total = 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        start = time.perf_counter()
        number = run(path)
        total += number
        print(f"{path.name}: {number} cells of code, {time.perf_counter() - start:.1f} s", flush=True)
    print(f"{total} cells of code ran.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
