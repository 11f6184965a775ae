"""BERT's relatives, every class: the laws, copies, gradient checkpointing, resizing and bad input, once each.

What BERT has been shown in detail is shown here to hold for those that inherit from it, and for those that do not.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.testing import laws
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights

VOCAB_SIZE, LENGTH, CHOICES = 13, 6, 3
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 0,
}
FIELDS = {
    "Roberta": SIZES,
    "XLMRoberta": SIZES,
    "Albert": {**SIZES, "embedding_size": 5, "num_hidden_groups": 2, "inner_group_num": 2},
    "DistilBert": {
        "vocab_size": VOCAB_SIZE,
        "dim": 12,
        "n_layers": 2,
        "n_heads": 3,
        "hidden_dim": 20,
        "max_position_embeddings": 24,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "pad_token_id": 0,
    },
    "Electra": {**SIZES, "embedding_size": 5, "summary_last_dropout": 0.0},
}
CLASSES = [
    name
    for name in mt.__all__
    if name.startswith(tuple(FIELDS)) and name.endswith("Model") and not name.endswith("PreTrainedModel")
] + [name for name in mt.__all__ if name.startswith(tuple(FIELDS)) and "For" in name]
DECODERS = [name for name in CLASSES if name.endswith("ForCausalLM")]
SCORING_TOKENS = [name for name in CLASSES if hasattr(getattr(mt, name), "set_output_embeddings")]
each_class = pytest.mark.parametrize("name", CLASSES)


def model(name: str, **fields: Any) -> Any:
    family = max((prefix for prefix in FIELDS if name.startswith(prefix)), key=len)
    decoder = {"is_decoder": True} if name in DECODERS else {}
    config = getattr(mt, f"{family}Config")(**{**FIELDS[family], **decoder, **fields})
    return draw_weights(getattr(mt, name)(config).double().eval(), 0)


def batch(name: str, padding: int = 2) -> dict[str, Tensor]:
    """Ids and a mask; of the last text, `padding` tokens are padding."""
    shape = (2, CHOICES, LENGTH) if name.endswith("MultipleChoice") else (2, LENGTH)
    mask = torch.ones(shape, dtype=torch.long)
    if padding:
        mask[-1, ..., -padding:] = 0
    ids = torch.randint(1, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_every_class_is_here() -> None:
    assert len(CLASSES) == 7 + 7 + 7 + 6 + 8  # RoBERTa, XLM-RoBERTa, ALBERT, DistilBERT, ELECTRA


@each_class
def test_laws(name: str) -> None:
    made, inputs = model(name), batch(name)
    laws.assert_padding_invariant(made, inputs, 3)
    laws.assert_implementations_agree(made, inputs)
    if not name.endswith("MultipleChoice"):
        laws.assert_rows_independent(made, inputs)


@pytest.mark.parametrize("name", DECODERS)
def test_laws_of_decoders(name: str) -> None:
    made, ids = model(name), batch(name, padding=0)["input_ids"]
    laws.assert_causal(made, ids, 2)
    laws.assert_cache_consistent(made, ids, [1, 4])
    vectors = made.get_input_embeddings()(ids)
    whole = made(inputs_embeds=vectors).logits
    first = made(inputs_embeds=vectors[:, :2], use_cache=True)
    rest = made(inputs_embeds=vectors[:, 2:], past_key_values=first.past_key_values).logits
    assert_close(torch.cat([first.logits, rest], dim=1), whole)


@each_class
def test_saved_loaded_and_copied(name: str, tmp_path: Path) -> None:
    made, inputs = model(name), batch(name)
    laws.assert_saved_and_loaded_equal(made, tmp_path, inputs)
    twin = copy.deepcopy(made)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(1)
    assert_close(twin(**inputs).to_tuple()[0], getattr(mt, name).from_pretrained(tmp_path)(**inputs).to_tuple()[0])


@each_class
def test_gradient_checkpointing_changes_nothing(name: str) -> None:
    made, inputs = model(name).train(), batch(name)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    gradients = []
    for enabled in (False, True):
        if enabled:
            made.gradient_checkpointing_enable()
        made.zero_grad()
        made(**inputs).to_tuple()[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in made.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("name", SCORING_TOKENS)
def test_resizing_keeps_what_was_tied(name: str) -> None:
    made, inputs = model(name), batch(name)
    before = made(**inputs).to_tuple()[0]
    made.resize_token_embeddings(VOCAB_SIZE + 4)
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight
    after = made(**inputs).to_tuple()[0]
    assert after.shape[-1] == VOCAB_SIZE + 4
    assert_close(after[..., :VOCAB_SIZE], before)


@each_class
def test_bad_input_is_refused(name: str) -> None:
    made, inputs = model(name), batch(name)
    ids = inputs["input_ids"]
    with pytest.raises(InputError, match=f"outside 0 … {VOCAB_SIZE - 1}"):
        made(ids + VOCAB_SIZE)
    with pytest.raises(InputError, match="either input_ids or inputs_embeds"):
        made()
    with pytest.raises(InputError, match="positions: truncate it"):
        made(torch.ones(*ids.shape[:-1], 25, dtype=torch.long))
    with pytest.raises(InputError, match="attention_mask has shape"):
        made(ids, attention_mask=inputs["attention_mask"][..., 1:])
    with pytest.raises(UnknownArgumentError, match="attention_masks"):
        made(ids, attention_masks=inputs["attention_mask"])
    if name.startswith("DistilBert"):
        with pytest.raises(UnknownArgumentError, match=r"has no segments.*DistilBertTokenizer"):
            made(ids, token_type_ids=torch.zeros_like(ids))


def test_labels_of_the_discriminator() -> None:
    made, inputs = model("ElectraForPreTraining"), batch("ElectraForPreTraining")
    with pytest.raises(InputError, match="labels holds -100; expected classes 0 … 1"):
        made(**inputs, labels=torch.full((2, LENGTH), -100))
    labels = torch.ones(2, LENGTH, dtype=torch.long)
    counted = labels * inputs["attention_mask"]
    assert_close(made(**inputs, labels=labels).loss, made(**inputs, labels=counted).loss)  # padding is not counted


def test_positions_of_roberta() -> None:
    """Padding stands at its own id, and texts start behind it; 24 positions are enough for 23 tokens, and no more."""
    made = model("RobertaModel")
    ids = torch.tensor([[0, 0, 5, 6, 7], [5, 6, 0, 7, 8]])
    given = made(ids, position_ids=torch.tensor([[0, 0, 1, 2, 3], [1, 2, 0, 3, 4]])).last_hidden_state
    assert_close(made(ids).last_hidden_state, given)
    made(torch.ones(1, 23, dtype=torch.long))
    made(torch.cat([torch.zeros(1, 9), torch.ones(1, 23)], dim=1).long())
    for padding in (None, 24):
        with pytest.raises(mt.ConfigError, match="pad_token_id"):
            mt.RobertaConfig(**{**SIZES, "pad_token_id": padding, "vocab_size": 50})


def test_sinusoidal_first_values_of_distilbert() -> None:
    import transformers

    fields = {**FIELDS["DistilBert"], "sinusoidal_pos_embds": True}
    ours = mt.DistilBertModel(mt.DistilBertConfig(**fields)).embeddings.position_embedding.weight
    theirs = transformers.DistilBertModel(transformers.DistilBertConfig(**fields)).embeddings.position_embeddings.weight
    assert_close(ours, theirs)
    assert ours.requires_grad == theirs.requires_grad
