"""resize_token_embeddings, and getting and setting the layers at both ends of a model."""

import logging

import pytest
import torch
from small_models import BACKBONES, SCORING_TOKENS, VOCAB_SIZE, small_batch, small_model
from torch import nn

import minitransformers as mt
from minitransformers.testing.comparing import assert_close


def scores(output):
    return output.prediction_logits if "prediction_logits" in output else output.logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [VOCAB_SIZE + 4, VOCAB_SIZE - 3])
@pytest.mark.parametrize("name", SCORING_TOKENS)
def test_resized_models_compute_the_same_for_old_tokens_and_train_on(name, size, tied, tmp_path):
    model, batch = small_model(name, tie_word_embeddings=tied), small_batch(name)
    batch["input_ids"] = batch["input_ids"].clamp(max=size - 1)
    batch["labels"] = batch["labels"].clamp(max=size - 1)
    before, rows = scores(model(**batch)), model.get_input_embeddings().weight.clone()

    returned = model.resize_token_embeddings(size)
    assert returned is model.get_input_embeddings()
    kept = min(size, VOCAB_SIZE)
    head = model.get_output_embeddings()
    assert returned.weight.shape == head.weight.shape == (size, 12)
    assert returned.num_embeddings == head.out_features == size
    assert head.bias is None or head.bias.shape == (size,)
    assert model.config.vocab_size == size
    assert (head.weight is returned.weight) == tied
    assert torch.equal(returned.weight[:kept], rows[:kept])
    assert scores(model(**batch)).shape[-1] == size
    assert_close(scores(model(**batch))[..., :kept], before[..., :kept])

    newest = torch.full_like(batch["input_ids"], size - 1)
    model.train()(**{**batch, "input_ids": newest, "labels": newest}).loss.backward()
    assert model.get_input_embeddings().weight.grad[size - 1].any()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval().save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert loaded.config.vocab_size == size
    assert_close(scores(loaded(newest)), scores(model(newest)), tolerance=0.0)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_alone_is_resized(name):
    model, batch = small_model(name), small_batch(name, labels=False)
    before = model(**batch).last_hidden_state
    model.resize_token_embeddings(VOCAB_SIZE + 2)
    assert_close(model(**batch).last_hidden_state, before, tolerance=0.0)
    assert model(torch.tensor([[VOCAB_SIZE + 1]])).last_hidden_state.isfinite().all()
    with pytest.raises(mt.errors.InputError, match=f"vocab_size={VOCAB_SIZE + 2}"):
        model(torch.tensor([[VOCAB_SIZE + 2]]))


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_sizes(name):
    model = small_model(name)
    embeddings = model.get_input_embeddings()
    weight = embeddings.weight
    assert model.resize_token_embeddings() is embeddings
    assert model.resize_token_embeddings(VOCAB_SIZE) is embeddings
    assert embeddings.weight is weight  # nothing to do: an optimizer's parameter stays
    assert model.resize_token_embeddings(VOCAB_SIZE + 1, pad_to_multiple_of=8).num_embeddings == 24
    assert model.resize_token_embeddings(25, pad_to_multiple_of=8).num_embeddings == 32
    assert model.resize_token_embeddings(pad_to_multiple_of=10).num_embeddings == 40
    assert model.config.vocab_size == 40
    for size in (0, -1):
        with pytest.raises(mt.errors.InputError, match=f"new_num_tokens={size} must be at least 1"):
            model.resize_token_embeddings(size)
    assert model.config.vocab_size == 40


def test_the_padding_token_is_kept():
    model = small_model("BertForMaskedLM", pad_token_id=20)
    embeddings = model.resize_token_embeddings(VOCAB_SIZE + 5)
    assert embeddings.padding_idx == 20
    assert not embeddings.weight[20].any()
    model(torch.tensor([[20, 3]]), labels=torch.tensor([[3, 3]])).loss.backward()
    assert model.config.pad_token_id == 20
    with pytest.raises(mt.errors.InputError, match="would drop the padding token 20"):
        model.resize_token_embeddings(20)
    assert model.get_input_embeddings().num_embeddings == VOCAB_SIZE + 5


def test_frozen_embeddings_stay_frozen():
    model = small_model("GPT2LMHeadModel").bfloat16().requires_grad_(False)
    weight = model.resize_token_embeddings(40).weight
    assert not weight.requires_grad
    assert weight.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_mean_resizing_starts_new_tokens_at_the_mean(name):
    model = small_model(name, tie_word_embeddings=False).double()
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight.normal_(3.0, 2.0)
        if model.get_output_embeddings().bias is not None:
            model.get_output_embeddings().bias.normal_(3.0, 2.0)
    parts = [(model.get_input_embeddings(), "weight"), (model.get_output_embeddings(), "weight")]
    parts += [(model.get_output_embeddings(), "bias")] if name == "BertForMaskedLM" else []
    old = [getattr(layer, part).detach().clone() for layer, part in parts]
    model.resize_token_embeddings(2000)
    for (layer, part), before in zip(parts, old, strict=True):
        new = getattr(layer, part).detach()[VOCAB_SIZE:]
        assert (new - before.mean(dim=0)).abs().max() < 1e-3
        spread = new.std(dim=0) / before.std(dim=0) * (1 if part == "weight" else 10**4.5)
        assert ((spread > 1e-5) & (spread < 1e-4)).all()  # √1e-9 of the old ones' (biases: 1e-9); no two are the same


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_without_mean_resizing_new_tokens_are_as_in_a_new_model(name):
    model = small_model(name, initializer_range=0.5)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(7.0)
    new = model.resize_token_embeddings(2000, mean_resizing=False).weight[VOCAB_SIZE:]
    assert abs(new.mean()) < 0.02
    assert abs(new.std() - 0.5) < 0.02
    bias = model.get_output_embeddings().bias
    assert bias is None or not bias[VOCAB_SIZE:].any()


@pytest.mark.parametrize("name", SCORING_TOKENS)
def test_layers_at_both_ends_are_got_and_set(name):
    model, batch = small_model(name), small_batch(name, labels=False)
    before = scores(model(**batch))
    embeddings, head = nn.Embedding(VOCAB_SIZE, 12), nn.Linear(12, VOCAB_SIZE)
    model.set_input_embeddings(embeddings)
    assert model.get_input_embeddings() is embeddings
    assert model.base_model.get_input_embeddings() is embeddings
    changed = scores(model(**batch))
    assert not torch.allclose(changed, before)
    model.set_output_embeddings(head)
    assert model.get_output_embeddings() is head
    assert not torch.allclose(scores(model(**batch)), changed)


@pytest.mark.parametrize("name", [*BACKBONES, "BertForSequenceClassification", "GPT2ForTokenClassification"])
def test_what_scores_no_tokens_has_no_output_embeddings(name, caplog):
    model = small_model(name)
    with caplog.at_level(logging.WARNING):
        assert model.get_output_embeddings() is None
        assert model.resize_token_embeddings(30).num_embeddings == 30
    assert not caplog.records
