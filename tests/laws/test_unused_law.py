"""Law 16: parameters that nothing refers to change nothing and are not trained."""

import pytest
import torch
from hypothesis import assume, given, strategies as st

from minitransformers.models.bert import BertForPreTraining, BertModel
from minitransformers.models.gpt2 import GPT2ForSequenceClassification, GPT2Model
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close

ALL = [*strategies.BERT_CLASSES, *strategies.GPT2_CLASSES]
OVER_VOCABULARY = [c for c in ALL if hasattr(c, "set_output_embeddings")]
# Those whose embedding is used for nothing but to look tokens up.
WITHOUT_OUTPUT = [c for c in ALL if c not in OVER_VOCABULARY]


def name_of(model, weight):
    return next(name for name, parameter in model.named_parameters() if parameter is weight)


def embedding_name(model):
    return name_of(model, model.get_input_embeddings().weight)


def without_spans(batch):
    return {name: tensor for name, tensor in batch.items() if name not in ("start_positions", "end_positions")}


@pytest.mark.parametrize("model_class", WITHOUT_OUTPUT, ids=lambda c: c.__name__)
@given(st.data())
def test_embeddings_of_tokens_that_do_not_occur(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    batch = data.draw(strategies.labelled_batches(model))
    absent = sorted(set(range(strategies.VOCAB_SIZE)) - set(batch["input_ids"].unique().tolist()))
    laws.assert_unused_parameters_do_not_matter(model, batch, embedding_name(model), absent)


@pytest.mark.parametrize("model_class", OVER_VOCABULARY, ids=lambda c: c.__name__)
@given(st.data())
def test_embeddings_of_tokens_that_do_not_occur_where_the_head_has_weights_of_its_own(model_class, data):
    model = data.draw(strategies.tiny_models(model_class, tie_word_embeddings=False))
    batch = data.draw(strategies.labelled_batches(model))
    absent = sorted(set(range(strategies.VOCAB_SIZE)) - set(batch["input_ids"].unique().tolist()))
    laws.assert_unused_parameters_do_not_matter(model, batch, embedding_name(model), absent)


@pytest.mark.parametrize("model_class", OVER_VOCABULARY, ids=lambda c: c.__name__)
@given(st.data())
def test_where_the_head_is_tied_every_token_matters(model_class, data):
    """The law is not obeyed by accident: a tied embedding also scores tokens that do not occur."""
    model = data.draw(strategies.tiny_models(model_class, tie_word_embeddings=True))
    batch = data.draw(strategies.labelled_batches(model))
    absent = sorted(set(range(strategies.VOCAB_SIZE)) - set(batch["input_ids"].unique().tolist()))
    assume(absent)
    with pytest.raises(AssertionError):
        laws.assert_unused_parameters_do_not_matter(model, batch, embedding_name(model), absent)


@pytest.mark.parametrize("model_class", ALL, ids=lambda c: c.__name__)
@given(st.data())
def test_the_embedding_of_the_padding(model_class, data):
    model = data.draw(strategies.tiny_models(model_class, tie_word_embeddings=False))
    batch = without_spans(data.draw(strategies.labelled_batches(model)))
    laws.assert_unused_parameters_do_not_matter(model, batch, embedding_name(model), strategies.PADDING)


@pytest.mark.parametrize("model_class", ALL, ids=lambda c: c.__name__)
@given(st.data())
def test_positions_beyond_the_text(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    batch = without_spans(data.draw(strategies.labelled_batches(model)))
    base = model.base_model
    positions = (base.embeddings if hasattr(base, "embeddings") else base).position_embedding.weight
    longest = int(batch["attention_mask"].sum(-1).max())
    laws.assert_unused_parameters_do_not_matter(model, batch, name_of(model, positions), slice(longest, None))


@given(st.data())
def test_segments_that_do_not_occur(data):
    model = data.draw(strategies.tiny_models(*strategies.BERT_CLASSES, type_vocab_size=3))
    batch = data.draw(strategies.labelled_batches(model))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    batch["token_type_ids"] = torch.randint(0, 2, batch["input_ids"].shape, generator=generator)
    segments = model.base_model.embeddings.token_type_embedding.weight
    laws.assert_unused_parameters_do_not_matter(model, batch, name_of(model, segments), 2)


@given(st.data())
def test_cross_attention_without_a_context(data):
    bert = strategies.tiny_models(BertModel, is_decoder=True, add_cross_attention=True)
    model = data.draw(bert | strategies.tiny_models(GPT2Model, add_cross_attention=True))
    batch = data.draw(strategies.token_batches())
    names = [name for name, _ in model.named_parameters() if "cross_attention" in name]
    assert names
    for name in names:
        laws.assert_unused_parameters_do_not_matter(model, batch, name, slice(None))


@given(st.data())
def test_the_pooler_of_a_model_whose_pooled_vector_is_not_used(data):
    model = data.draw(strategies.tiny_models(BertForPreTraining))
    batch = data.draw(strategies.labelled_batches(model))
    before = model(**batch).prediction_logits
    (gradient,) = torch.autograd.grad(before.sum(), [model.bert.pooler.dense.weight], allow_unused=True)
    assert gradient is None
    with torch.no_grad():
        model.bert.pooler.dense.weight.add_(1)
    assert_close(model(**batch).prediction_logits, before)


@given(st.data())
def test_a_classifier_of_the_last_token_does_not_see_what_the_padding_is_embedded_as(data):
    """GPT-2 finds the last token by its id, so even an untrained padding vector must not leak into the result."""
    model = data.draw(strategies.tiny_models(GPT2ForSequenceClassification))
    batch = data.draw(strategies.token_batches(padding="right"))
    laws.assert_unused_parameters_do_not_matter(
        model, batch, embedding_name(model), strategies.PADDING, amount=data.draw(st.sampled_from([1.0, 1e3, -1e6]))
    )


@given(st.data())
def test_the_padding_vector_of_bert_is_not_trained(data):
    model = data.draw(strategies.tiny_models(*strategies.BERT_CLASSES, tie_word_embeddings=False)).train()
    batch = data.draw(strategies.labelled_batches(model))
    output = model(**batch)
    next(tensor for _, tensor in laws.named_tensors(output)).sum().backward()
    assert not model.get_input_embeddings().weight.grad[strategies.PADDING].any()
