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

WHAT_FOR = {
    "configs/base.py": "a setting of generation is a checked field, as those of models are",
    "configs/checks.py": "numbers that users pass: the same errors everywhere",
    "configs/fields.py": "the types and ranges of fields",
    "data/collators.py": "from a list of examples to a batch, as torch tensors or numpy arrays",
    "data/language_modeling.py": "which tokens are masked, by what, and the labels",
    "data/seeded.py": "draws that can be repeated, different in each worker of a data loader",
    "generation/config.py": "the settings of one call: its arguments, then the model's, then the defaults",
    "generation/inputs.py": "the prompt is read and checked; the model with its cache, asked for the next token",
    "generation/loop.py": "**the loop: scores, next token, stop**",
    "generation/mixin.py": "`generate`: which search runs, with which settings",
    "generation/processors/warpers.py": "the formulas of temperature, top-k, top-p",
    "generation/rules.py": "from settings to processors and stopping criteria",
    "models/base/checkpointing.py": "blocks may be computed again in the backward pass",
    "models/base/checks.py": "shapes, ids, labels: errors before anything is computed",
    "models/base/inputs.py": "options, positions, mask, cache: resolved once for all blocks",
    "models/base/loss_only.py": "all positions are scored, unless the loss alone is read",
    "models/base/masks.py": "the forms in which users pass a mask",
    "models/base/pretrained.py": "misspelt arguments are refused; `return_dict`",
    "models/bert.py": "**BERT**",
    "models/gpt2.py": "**GPT-2**",
    "nn/attention.py": "**attention, its formula and its fused kernel**",
    "nn/cache.py": "keys and values of earlier tokens",
    "nn/losses.py": "**the loss**",
    "nn/masks.py": "**who may attend to whom**",
    "nn/selection.py": "only the last position needs logits",
    "outputs.py": "fields by name, key and index",
    "tokenization/base/arguments.py": "texts, padding and truncation in every form that users pass",
    "tokenization/base/codec.py": "**text to ids, and back**",
    "tokenization/base/encoding.py": "ids as lists, arrays or tensors",
    "tokenization/base/vocabulary.py": "special tokens and their ids",
}
"""What each file on the way is for: why a reader passes it."""


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
    rows = [
        f"| [`{name}`](minitransformers/{name}) | {WHAT_FOR[name]} | {', '.join(f'`{f}`' for f in files[name])} |"
        for name in files
    ]
    return "\n".join(["| file | what for | functions, in the order of their first call |", "|---|---|---|", *rows])


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
