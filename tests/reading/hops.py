"""The way through the package that two calls take, as README shows it: which functions of which files, in order.

    python tests/reading/hops.py

prints both tables, and with --write puts them into README; the test beside this file holds README to them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import minitransformers as mt

PACKAGE = Path(mt.__file__).parent
CHECKPOINTS = PACKAGE.parent / "examples" / "checkpoints"


def text_to_loss() -> Callable[[], Any]:
    """Two texts to ids, masked, to BERT's loss; with everything loaded before."""
    tokenizer = mt.AutoTokenizer.from_pretrained(CHECKPOINTS / "bert")
    model = mt.AutoModelForMaskedLM.from_pretrained(CHECKPOINTS / "bert")

    def call() -> Any:
        examples = [tokenizer("My lord, I will go with thee."), tokenizer("What is thy name?")]
        batch = mt.DataCollatorForLanguageModeling(tokenizer, seed=0)(examples)
        return model(**batch).loss

    return call


def prompt_to_text() -> Callable[[], Any]:
    """A prompt to ids, continued by sampling with GPT-2, to text."""
    tokenizer = mt.AutoTokenizer.from_pretrained(CHECKPOINTS / "gpt")
    model = mt.AutoModelForCausalLM.from_pretrained(CHECKPOINTS / "gpt")

    def call() -> Any:
        inputs = tokenizer("To be, or", return_tensors="pt")
        return tokenizer.decode(model.generate(**inputs, max_new_tokens=3, do_sample=True, top_k=5)[0])

    return call


WALKS = {"text to loss": text_to_loss, "prompt to text": prompt_to_text}


def hops(call: Callable[[], Any]) -> dict[str, list[str]]:
    """The files of the package that `call` passes, each with its functions, both in the order of their first call."""
    passed: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)) and not code.co_name.startswith("<"):
            passed.setdefault(code)

    call()  # imports and caches first
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    files: dict[str, list[str]] = {}
    for code in passed:
        name = code.co_qualname.replace(".<locals>", "")
        files.setdefault(Path(code.co_filename).relative_to(PACKAGE).as_posix(), []).append(name)
    return files


def table(files: dict[str, list[str]]) -> str:
    """The hops as a table in Markdown."""
    rows = [f"| [`{name}`](minitransformers/{name}) | {', '.join(f'`{f}`' for f in files[name])} |" for name in files]
    return "\n".join(["| file | functions, in the order of their first call |", "|---|---|", *rows])


def section(title: str, files: dict[str, list[str]]) -> str:
    """The heading and the table of a walk, as README has them."""
    counts = f"{len(files)} files, {sum(map(len, files.values()))} functions"
    return f"**{title.capitalize()}: {counts}.**\n\n{table(files)}\n"


if __name__ == "__main__":
    readme = PACKAGE.parent / "README.md"
    for title, walk in WALKS.items():
        text = section(title, hops(walk()))
        print(text)
        if "--write" in sys.argv:
            old = rf"\*\*{title.capitalize()}: [^\n]*\n\n(?:\|[^\n]*\n|WALK\d\n)*"
            readme.write_text(re.sub(old, lambda _, text=text: text, readme.read_text("utf-8")), "utf-8")
