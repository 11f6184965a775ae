"""Probes, neighbours and scores of heads; and a head with a role in the GPT that the repository ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minitransformers import AutoModelForCausalLM, AutoTokenizer
from minitransformers.errors import InputError
from minitransformers.interpret import (
    attention_page,
    induction_scores,
    nearest_tokens,
    patch,
    previous_token_scores,
    probe_layers,
    token_scores,
    trace,
)
from minitransformers.interpret.tracing import HeadActivations
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.testing.examples import tiny_model

GPT = Path(__file__).parents[2] / "examples" / "checkpoints" / "gpt"
PUNCTUATION = set(",.;:!?")
TEXT = (
    "HAMLET.\nTo be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer, or to take arms."
)


def test_a_probe_finds_what_a_layer_has_and_not_what_it_lacks():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    noise = torch.randn(300, 6, generator=generator)
    informed = noise.clone()
    informed[torch.arange(300), labels] += 6  # linear
    ignorant, knowing = probe_layers([noise, informed * 100 + 7], labels)
    assert knowing.accuracy > 0.95
    assert abs(ignorant.accuracy - ignorant.majority) < 0.2
    assert knowing.control < 0.6
    assert_close(knowing(informed[:40] * 100 + 7).argmax(-1), labels[:40])
    again = probe_layers([noise, informed * 100 + 7], labels)[1]
    assert torch.equal(again.classifier.weight, knowing.classifier.weight)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (torch.zeros(4).long(), {}, "fewer than two classes"),
        (torch.tensor([0, 1, 0]), {}, "3 labels"),
        (torch.tensor([0, 1, 0, 1]), {"train_share": 1.0}, "none to judge by"),
    ],
)
@pytest.mark.usefixtures("annotations_are_not_checked")
def test_what_cannot_be_probed_is_refused(labels, options, message):
    with pytest.raises(InputError, match=message):
        probe_layers([torch.ones(4, 2)], labels, **options)


def test_neighbors_are_those_of_the_largest_cosine():
    model = tiny_model(GPT2LMHeadModel)
    table = model.transformer.wte.weight
    unit = table / table.norm(dim=1, keepdim=True)
    cosines = (unit @ unit[4]).tolist()
    by_hand = sorted((i for i in range(13) if i != 4), key=lambda i: -cosines[i])[:5]
    found = nearest_tokens(model, 4, count=5)
    assert [each.id for each in found] == by_hand
    assert_close(torch.tensor([each.cosine for each in found]).double(), unit[by_hand] @ unit[4], check_dtype=False)
    assert nearest_tokens(model, 3 * table[4].detach(), count=1)[0].id == 4
    assert len(nearest_tokens(model, 4, count=99)) == 12
    with pytest.raises(InputError, match="There is no token 13"):
        nearest_tokens(model, 13)
    with pytest.raises(InputError, match="shape"):
        nearest_tokens(model, torch.ones(3))


def test_scores_of_heads_by_hand():
    weights = torch.tensor([[[[1.0, 0, 0], [0.7, 0.3, 0], [0.1, 0.5, 0.4]], [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]]])
    vectors = torch.zeros(1, 2, 3, 4)
    calls = [HeadActivations("attention", "self", vectors, vectors, vectors, weights, vectors)]
    assert_close(previous_token_scores(calls), torch.tensor([[0.6, 0.0]]))
    keys = torch.tensor([[False, True, False]])
    # The first query does not see the key; in the second head only the second query does.
    assert_close(token_scores(calls, keys), torch.tensor([[0.4, 1.0]]))


def test_induction_scores_read_the_token_after_the_first_occurrence():
    """A patched head attends from i in the repetition to i − length + 1, as a perfect induction head does."""
    model = tiny_model(GPT2LMHeadModel)

    def induce(weights):
        weights = torch.zeros_like(weights)
        for query in range(weights.shape[-1]):
            weights[..., query, max(query - 5 + 1, 0)] = 1
        return weights

    with patch(model, {("transformer.h.1.attn", "weights"): induce}):
        scores = induction_scores(model, vocab_size=13, length=5, batch=2)
    assert_close(scores[1], torch.ones(3).double())
    assert (scores[0] < 0.9).all()
    with pytest.raises(InputError, match="too short"):
        induction_scores(model, vocab_size=13, length=1)


@pytest.fixture(scope="module")
def gpt():
    return AutoModelForCausalLM.from_pretrained(GPT), AutoTokenizer.from_pretrained(GPT)


# Passages from the two plays that the model was not trained on, and one from a play that it was.
@pytest.mark.parametrize(
    "text",
    [
        "BENEDICK.\nI do love nothing in the world so well as you: is not that strange?\n\nBEATRICE.\nAs strange as "
        "the thing I know not. It were as possible for me to say, I loved nothing so well as you; but believe me not.",
        "LEONTES.\nToo hot, too hot! To mingle friendship far, is mingling bloods. I have tremor cordis on me; my "
        "heart dances, but not for joy, not joy.",
        TEXT,
    ],
    ids=["much_ado", "winters_tale", "hamlet"],
)
def test_head_0_of_block_2_attends_to_the_latest_punctuation_mark(gpt, text):
    """The marks' share of its weight is the largest of all 30 heads, and far more than that of an even distribution."""
    model, tokenizer = gpt
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with trace(model) as activations, torch.no_grad():
        model(ids)
    tokens = tokenizer.convert_ids_to_tokens(ids[0])
    marks = torch.tensor([[token in PUNCTUATION for token in tokens]])
    scores = token_scores(activations.attentions, marks)
    head = activations.attentions[2]
    assert divmod(scores.argmax().item(), scores.shape[1]) == (2, 0)
    assert scores[2, 0] > 0.55

    even = torch.ones(len(tokens), len(tokens)).tril()
    even = (even / even.sum(-1, keepdim=True)).expand_as(head.weights)
    assert scores[2, 0] > 3 * token_scores([replace(head, weights=even)], marks).max()

    # Of the weight on marks, most is on the latest one; an even distribution gives it 1 / (number of marks so far).
    places = marks[0].nonzero().flatten()
    latest = [int(places[places <= query][-1]) for query in range(int(places[0]), len(tokens))]
    queries = range(int(places[0]), len(tokens))
    share = torch.stack([head.weights[0, 0, query, key] for query, key in zip(queries, latest, strict=True)])
    number = torch.tensor([float((places <= query).sum()) for query in queries])
    on_marks = torch.stack([head.weights[0, 0, query, marks[0]].sum() for query in queries])
    assert share.mean() > 0.35
    assert (share / on_marks).mean() > 1.5 * (1 / number).mean()


def test_the_heads_page_has_its_weights(gpt):
    model, tokenizer = gpt
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with trace(model) as activations, torch.no_grad():
        model(ids)
    page = attention_page(activations, tokenizer.convert_ids_to_tokens(ids[0]), layers=[2])
    (layer,) = page.data["groups"][0]["layers"]
    assert layer["number"] == 2
    assert torch.equal(torch.tensor(layer["weights"][0]), activations.attentions[2].weights[0, 0])
