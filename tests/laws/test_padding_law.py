"""Law 2: padding changes nothing — on the right of anything, on the left where positions count real tokens only."""

import warnings

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.models.bert import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from minitransformers.models.gpt2 import (
    GPT2Config,
    GPT2ForQuestionAnswering,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    GPT2Model,
)
from minitransformers.nn.positions import positions_from_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.weights import draw_weights

ALL = [*strategies.BERT_CLASSES, *strategies.GPT2_CLASSES]
# Not BERT's heads over the first token, which on the left is padding.
ON_THE_LEFT = [
    BertModel,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForTokenClassification,
    GPT2Model,
    GPT2LMHeadModel,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2ForQuestionAnswering,
]
WITH_LOSS = [c for c in ALL if c not in (BertModel, GPT2Model, BertForQuestionAnswering, GPT2ForQuestionAnswering)]


def without_spans(batch):
    """Arguments without answer positions: their loss is a choice among all positions, padding included."""
    return {name: tensor for name, tensor in batch.items() if name not in ("start_positions", "end_positions")}


@pytest.mark.parametrize("model_class", ALL, ids=lambda c: c.__name__)
@given(st.data())
def test_right_padding_by_any_amount_changes_nothing(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    batch = without_spans(data.draw(strategies.labelled_batches(model, padding="right")))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    model.config.output_hidden_states = data.draw(st.booleans())
    model.config.output_attentions = data.draw(st.booleans())
    model.train(data.draw(st.booleans()))
    laws.assert_padding_invariant(model, batch, amount)


@pytest.mark.parametrize("model_class", ON_THE_LEFT, ids=lambda c: c.__name__)
@given(st.data())
def test_left_padding_by_any_amount_changes_nothing(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    if isinstance(model, BertModel):
        model.pooler = None
    batch = without_spans(data.draw(strategies.labelled_batches(model, padding="left")))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    model.config.output_hidden_states = data.draw(st.booleans())
    model.config.output_attentions = data.draw(st.booleans())
    model.train(data.draw(st.booleans()))
    laws.assert_padding_invariant(model, batch, amount, side="left")


@pytest.mark.parametrize("model_class", WITH_LOSS, ids=lambda c: c.__name__)
@given(st.data())
def test_padding_changes_no_gradient(model_class, data):
    side = data.draw(st.sampled_from(["right", "left"] if model_class in ON_THE_LEFT else ["right"]))
    model = data.draw(strategies.tiny_models(model_class)).train()
    batch = data.draw(strategies.labelled_batches(model, padding=side))
    padded = laws.pad_batch(batch, data.draw(st.integers(1, 5)), side=side)
    gradients = []
    for arguments in (batch, padded):
        if side == "left":
            arguments["position_ids"] = positions_from_mask(arguments["attention_mask"])
        model.zero_grad()
        model(**arguments).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert_gradients_close(gradients[1], gradients[0])


@pytest.mark.parametrize("model_class", [BertModel, *ON_THE_LEFT], ids=lambda c: c.__name__)
@given(st.data())
def test_a_padded_batch_gives_each_text_what_it_gets_alone(model_class, data):
    side = data.draw(st.sampled_from(["right", "left"]))
    model = data.draw(strategies.tiny_models(model_class))
    batch = data.draw(strategies.token_batches(padding=side))
    together = model(**batch, position_ids=positions_from_mask(batch["attention_mask"]))
    for row, mask in enumerate(batch["attention_mask"].bool()):
        text = batch["input_ids"][row][mask][None]
        alone = model(input_ids=text)
        # A head over the sequence has one result, others have one for each token.
        name = next(name for name in alone.keys() if name != "past_key_values")  # noqa: SIM118
        one_each = alone[name].shape[:2] == text.shape and not isinstance(model, GPT2ForSequenceClassification)
        assert_close(together[name][row][mask] if one_each else together[name][row], alone[name][0])


@given(st.data())
def test_what_the_padding_token_is_does_not_matter(data):
    model = data.draw(strategies.tiny_models(*[c for c in ALL if c is not GPT2ForSequenceClassification]))
    batch = without_spans(data.draw(strategies.labelled_batches(model)))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    other = torch.randint(0, strategies.VOCAB_SIZE, batch["input_ids"].shape, generator=generator)
    mask = batch["attention_mask"].bool()
    changed = {**batch, "input_ids": torch.where(mask, batch["input_ids"], other)}
    before = dict(laws.named_tensors(model(**batch)))
    for name, tensor in laws.named_tensors(model(**changed)):
        if tensor.shape[: mask.ndim] == mask.shape and tensor.ndim < 4:
            assert_close(tensor[mask], before[name][mask], name=name)
        elif tensor.ndim < 3:
            assert_close(tensor, before[name], name=name)


def test_a_span_of_an_answer_is_scored_the_same_with_padding_but_chosen_among_more_positions():
    """Why the law leaves the loss of question answering out."""
    config = GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1)
    model = draw_weights(GPT2ForQuestionAnswering(config).double().eval(), 0)
    batch = {"input_ids": torch.tensor([[1, 2, 3]]), "start_positions": torch.tensor([1])}
    batch["end_positions"] = torch.tensor([2])
    padded = {**laws.pad_batch(batch, 2), "attention_mask": torch.tensor([[1, 1, 1, 0, 0]])}
    plain, more = model(**batch), model(**padded)
    assert_close(more.start_logits[:, :3], plain.start_logits)
    assert more.loss > plain.loss


def test_plain_forward_counts_left_padding_as_the_reference_does_and_says_so():
    config = GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1)
    model = draw_weights(GPT2LMHeadModel(config).double().eval(), 0)
    padded, mask = torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1]])
    with pytest.warns(UserWarning, match="padded on the left"):
        counted = model(padded, attention_mask=mask)
    shifted = model(torch.tensor([[1, 2]]), position_ids=torch.tensor([[2, 3]]))
    assert_close(counted.logits[:, 2:], shifted.logits)
    with pytest.raises(AssertionError):
        assert_close(counted.logits[:, 2:], model(torch.tensor([[1, 2]])).logits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = model(padded, attention_mask=mask, position_ids=positions_from_mask(mask))
    assert_close(right.logits[:, 2:], model(torch.tensor([[1, 2]])).logits)
