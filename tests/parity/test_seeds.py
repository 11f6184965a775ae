"""The same seed gives the same fine-tuning run as in the reference: a new head's weights, and dropout.

Draws happen in one order only if modules are initialized, and dropout is drawn, in the reference's order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from cases import Case, rounding_nothing
from families import CLASSES, FAMILIES
from torch import Tensor

import minitransformers as mt
from minitransformers.testing.comparing import assert_close

pytestmark = pytest.mark.filterwarnings("ignore")  # about new weights
STEPS = 20


# ---- twenty steps of fine-tuning -----------------------------------------------------------------------------------

COMMON = {"vocab_size": 40, "pad_token_id": 0, "eos_token_id": 1}
FIELDS: dict[str, dict[str, Any]] = {
    "Bert": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 16,
    },
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
}
RUNS = {
    "BertForSequenceClassification": "BertModel",
    "GPT2LMHeadModel": "GPT2Model",
    "GPT2ForSequenceClassification": "GPT2Model",
    "T5ForConditionalGeneration": "T5ForConditionalGeneration",
}


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("name", RUNS)
def test_the_same_losses(name: str, kernel: str) -> None:
    """From a checkpoint without the head, in training mode; dropout is that of the config's defaults."""
    family = next(family for family in FIELDS if name.startswith(family))
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**COMMON, **FIELDS[family])
    checkpoint = getattr(transformers, RUNS[name])(config)
    with tempfile.TemporaryDirectory() as directory, rounding_nothing():
        checkpoint.save_pretrained(directory)
        ours, theirs = (fine_tune(getattr(library, name), directory, kernel) for library in (mt, transformers))
    assert theirs[-1] < theirs[0]
    assert_close(ours, theirs, tolerance=1e-9, scale=1.0)


def fine_tune(model_class: Any, directory: str, kernel: str) -> Tensor:
    """The losses of some steps."""
    torch.manual_seed(1)
    model = model_class.from_pretrained(directory, num_labels=3, attn_implementation=kernel, dtype=torch.float64)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for arguments in batches(model_class.__name__):
        loss = model(**arguments).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


def batches(name: str) -> Iterator[dict[str, Tensor]]:
    random = torch.Generator().manual_seed(2)
    for _ in range(STEPS):
        ids = torch.randint(2, 40, (4, 9), generator=random)
        ids[1, 6:] = 0
        arguments = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        if name.endswith("Classification"):
            arguments["labels"] = ids[:, 0] % 3
        elif name.startswith("T5"):
            arguments["labels"] = ids[:, :4].flip(1)
        else:
            arguments["labels"] = ids.masked_fill(ids == 0, -100)
        yield arguments


# ---- new heads -----------------------------------------------------------------------------------------------------


# The reference draws the tied output layer first, and drops it; and it draws a new token embedding, since it does
# not look for that of the decoder under the name that it has in files of the whole model.
OTHERWISE_IN_THE_REFERENCE = ("OpenAIGPTDoubleHeadsModel", "BartForCausalLM")


@pytest.mark.parametrize(
    "case", [case for case in CLASSES if case.name not in OTHERWISE_IN_THE_REFERENCE], ids=lambda case: case.name
)
def test_a_new_head_is_drawn_as_in_the_reference(case: Case) -> None:
    """`from_pretrained` from a backbone's checkpoint: the same weights and the same state of the generator."""
    family = next(family for family in FAMILIES if case in family.cases)
    fields = {**family.smallest, **family.smallest_of.get(case.name, {}), "num_labels": 2}
    config = case.reference.config_class(**fields)
    torch.manual_seed(0)
    backbone = family.cases[0].reference(config)
    with tempfile.TemporaryDirectory() as directory:
        backbone.save_pretrained(directory)
        loaded = []
        for model_class in (case.ours, case.reference):
            torch.manual_seed(1)
            model = model_class.from_pretrained(directory, **head_fields(family, case))
            loaded.append((model.hf_state_dict() if model_class is case.ours else model.state_dict(), torch.rand(1)))
    (ours, next_of_ours), (theirs, next_of_theirs) = loaded
    assert_close(ours, theirs, tolerance=0.0)
    assert torch.equal(next_of_ours, next_of_theirs)


def head_fields(family: Any, case: Case) -> dict[str, Any]:
    return {"num_labels": 2, **family.smallest_of.get(case.name, {})}
