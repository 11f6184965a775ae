"""Labels and losses of answers: what is learnt is the assistant's words, packed or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.adapters import LoraConfig, add_adapter
from minitransformers.alignment import (
    PairCollator,
    answer_log_probabilities,
    answer_loss,
    encode_answer,
    encode_conversation,
    fine_tune,
)
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import tiny_model

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}b{% generation %}{{ m.content }}c{% endgeneration %}"
    "{% else %}a{{ m.content }}{% endif %}{% endfor %}"
)
CHAT = [
    {"role": "user", "content": "de"},
    {"role": "assistant", "content": "fg"},
    {"role": "user", "content": "h"},
    {"role": "assistant", "content": "d"},
]
DECODERS = [mt.GPT2LMHeadModel, mt.LlamaForCausalLM, mt.OpenAIGPTLMHeadModel]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A token for each letter, of which `c` ends texts."""
    letters = {letter: index for index, letter in enumerate("_abcdefghijk")}
    found = mt.GPT2Tokenizer(vocab=letters, merges=[], unk_token="_", eos_token="c", bos_token="c", pad_token="_")
    found.chat_template = TEMPLATE
    return found


def examples(tokenizer: Any) -> list[dict[str, list[int]]]:
    return [encode_conversation(tokenizer, messages) for messages in (CHAT, CHAT[:2], CHAT[2:])]


def log_probability(model: Any, ids: list[int], position: int) -> Tensor:
    """log p of the token at `position`, by hand: from a pass over what stands before it."""
    logits = model(input_ids=torch.tensor([ids[:position]])).logits[0, -1]
    return logits[ids[position]] - logits.logsumexp(dim=-1)


def test_labels_are_the_assistants_words(tokenizer: Any) -> None:
    encoded = encode_conversation(tokenizer, CHAT)
    assert tokenizer.decode(encoded["input_ids"]) == "adebfgcahbdc"
    learnt = ["_" if label == -100 else tokenizer.decode([label]) for label in encoded["labels"]]
    assert "".join(learnt) == "____fgc___dc"
    assert encode_conversation(tokenizer, CHAT, max_length=6) == {key: row[:6] for key, row in encoded.items()}
    answer = encode_answer(tokenizer, "de", "fg")
    assert tokenizer.decode(answer["input_ids"]) == "defgc"
    assert answer["labels"] == [-100, -100, *answer["input_ids"][2:]]


@pytest.mark.parametrize("model_class", DECODERS)
def test_the_loss_is_the_mean_over_the_answers_by_hand(model_class: Any, tokenizer: Any) -> None:
    model, rows = tiny_model(model_class), examples(tokenizer)
    batch = mt.DataCollatorForSeq2Seq(tokenizer, padding=True)([dict(row) for row in rows])
    terms = [
        -log_probability(model, row["input_ids"], position)
        for row in rows
        for position, label in enumerate(row["labels"])
        if label != -100
    ]
    assert_close(answer_loss(model, batch), torch.stack(terms).mean())
    assert_close(model(**batch).loss, torch.stack(terms).mean())  # so that Trainer learns the same


@pytest.mark.parametrize("model_class", [mt.GPT2LMHeadModel, mt.LlamaForCausalLM])
def test_packed_is_unpacked(model_class: Any, tokenizer: Any) -> None:
    """The loss and its gradients: no conversation sees another."""
    rows, gradients = examples(tokenizer), []
    for collator in (mt.DataCollatorForSeq2Seq(tokenizer, padding=True), mt.DataCollatorWithFlattening()):
        model = tiny_model(model_class)
        loss = answer_loss(model, collator([dict(row) for row in rows]))
        loss.backward()
        gradients.append({"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}})
    assert_close(gradients[1], gradients[0])


def test_answers_by_their_tokens(tokenizer: Any) -> None:
    model = tiny_model(mt.GPT2LMHeadModel)
    rows = examples(tokenizer)
    batch = PairCollator()([{"chosen": rows[0], "rejected": rows[1]}, {"chosen": rows[1], "rejected": rows[2]}])
    assert batch["input_ids"].shape == (4, 12)
    expected = [
        sum(log_probability(model, row["input_ids"], t) for t, label in enumerate(row["labels"]) if label != -100)
        for row in (rows[0], rows[1], rows[1], rows[2])
    ]
    assert_close(answer_log_probabilities(model, batch), torch.stack(expected))  # type: ignore[arg-type]


def test_fine_tuning_learns_answers(tokenizer: Any) -> None:
    """A model with LoRA and a head of its own, of which nothing else changes, answers with the next letter."""
    torch.manual_seed(0)
    model = tiny_model(mt.GPT2LMHeadModel, dtype=torch.float32, tie_word_embeddings=False)
    add_adapter(model, LoraConfig(r=4, modules_to_save=["lm_head"]))
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    rows = [encode_answer(tokenizer, "a" + letter, following) for letter, following in zip("defg", "efgh", strict=True)]
    batch = mt.DataCollatorForSeq2Seq(tokenizer, padding=True)(rows)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    steps = list(fine_tune(model, [batch] * 60, optimizer))
    assert steps[-1]["loss"] < 0.1 < steps[0]["loss"]
    assert steps[0]["tokens"] == 8
    answers = model.eval().generate(batch["input_ids"][:, :2], max_new_tokens=2, do_sample=False)
    assert tokenizer.batch_decode(answers) == ["adec", "aefc", "afgc", "aghc"]
    assert all(torch.equal(model.get_parameter(name), value) for name, value in frozen.items())


def test_nothing_to_learn(tokenizer: Any) -> None:
    with pytest.raises(mt.InputError, match="no words of the assistant"):
        encode_conversation(tokenizer, CHAT[:1])
    with pytest.raises(mt.InputError, match="no words of the assistant"):
        encode_conversation(tokenizer, CHAT, max_length=3)
    with pytest.raises(mt.InputError, match="max_length=2 leaves no answer"):
        encode_answer(tokenizer, "de", "fg", max_length=2)
    without = mt.GPT2Tokenizer(vocab={"a": 0}, merges=[])
    without.eos_token = None
    with pytest.raises(mt.InputError, match="no eos_token"):
        encode_answer(without, "a", "a")
