"""The transformers API that you know, in PyTorch code that you can read end to end.

    from minitransformers import AutoModel, AutoTokenizer

README.md gives the order in which to read the source. `__init__.pyi` beside this file lists what can be imported; each
name is fetched from its module when it is first asked for, so that nobody waits for what they do not use.
"""

import ast
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# Names that text books use and that transformers 5 no longer has: what to use in their place.
REMOVED_NAMES = {
    "AdamW": "torch.optim.AdamW",
    "AutoModelWithLMHead": "AutoModelForCausalLM or AutoModelForMaskedLM",
    "DataCollatorForSOP": "minitransformers.data.SentencePairDataset with DataCollatorForLanguageModeling",
    "DataCollatorForWholeWordMask": "DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True)",
    "TextDataset": "minitransformers.data.PackedDataset",
    "LineByLineTextDataset": "a tokenizer over the file's lines, and a torch Dataset",
    "TextDatasetForNextSentencePrediction": "minitransformers.data.SentencePairDataset",
    "TFBertModel": "BertModel: everything here is PyTorch",
    "TFGPT2LMHeadModel": "GPT2LMHeadModel: everything here is PyTorch",
    "TFAutoModel": "AutoModel: everything here is PyTorch",
}


def _public_names() -> dict[str, tuple[str, str]]:
    """Each public name with the module that has it, and its name there, as the stub file says."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [statement for statement in stub.body if isinstance(statement, ast.ImportFrom)]
    return {str(name.asname): (str(one.module), name.name) for one in imports for name in one.names}


_NAMES = _public_names()
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in REMOVED_NAMES:
        raise ImportError(f"{name} was removed from transformers 5 and is not here either: use {REMOVED_NAMES[name]}.")
    if name not in _NAMES:
        if find_spec(f"{__name__}.{name}"):  # a module, as in `minitransformers.nn.MultiHeadAttention`
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, name_there = _NAMES[name]
    value = globals()[name] = getattr(import_module(module), name_there)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})


if os.environ.get("MINITRANSFORMERS_VERBOSITY"):
    import_module("minitransformers.utils.logging")  # which reads it
