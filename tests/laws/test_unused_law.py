"""Law 16: parameters that nothing refers to change nothing and are not trained."""

import pytest
import torch
from families_of_laws import CAUSAL_FAMILIES, TEXT_CLASSES, each, named, with_cross_attention
from hypothesis import assume, given, strategies as st

from minitransformers.models.bart import BartForCausalLM
from minitransformers.models.bert import BertConfig, BertForPreTraining
from minitransformers.models.t5 import T5Config
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, named_tensors
from minitransformers.testing.families import BACKBONES, WITH_VOCABULARY_HEAD, classes_of

# Those whose embedding is used for nothing but to look tokens up.
WITHOUT_OUTPUT = [m for m in TEXT_CLASSES if m not in WITH_VOCABULARY_HEAD]
# In a T5 no field says whether anything is tied.
CAN_BE_UNTIED = [m for m in TEXT_CLASSES if m.config_class is not T5Config or m in WITHOUT_OUTPUT]
# Of others positions are computed, or distances. RoBERTa's begin behind the padding's.
# Those that learn a vector for each position; others compute what they need, or know distances only.
WITH_POSITIONS = [
    m
    for m in TEXT_CLASSES
    if {"max_position_embeddings", "n_positions"} & m.config_class._fields.keys()
    and "rope_parameters" not in m.config_class._fields
]
# Rows of the table in front of the first token's: of the padding in RoBERTa, and two that BART has left.
FIRST_ROW = {"roberta": 1, "xlm-roberta": 1, "bart": 2}
WITH_CONTEXT = [*(m for m in BACKBONES if "add_cross_attention" in m.config_class._fields), BartForCausalLM]
POSITION_TABLES = ("position_embeddings", "positions_embed", "embed_positions", "wpe")
START = 1  # which the decoder of an encoder–decoder reads first, whatever the source


def absent_tokens(batch):
    """The ids that the model does not read."""
    ids = torch.cat([batch[name].flatten() for name in ("input_ids", "decoder_input_ids") if name in batch])
    return sorted(set(range(strategies.VOCAB_SIZE)) - {*ids.tolist(), START})


def name_of(model, weight):
    return next(name for name, parameter in model.named_parameters() if parameter is weight)


def embedding_names(model):
    """The tables in which tokens are looked up: in an encoder–decoder that ties nothing, two."""
    tables = [table.weight for table in model._token_embeddings()]
    return [name for name, parameter in model.named_parameters() if any(parameter is table for table in tables)]


def assert_entries_do_not_matter(model, batch, entries, **options):
    names = embedding_names(model)
    assert names
    for name in names:
        laws.assert_unused_parameters_do_not_matter(model, batch, name, entries, **options)


def without_spans(batch):
    return {name: tensor for name, tensor in batch.items() if name not in ("start_positions", "end_positions")}


@each(WITHOUT_OUTPUT)
@given(st.data())
def test_embeddings_of_tokens_that_do_not_occur(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.labelled_batches(model))
    absent = absent_tokens(batch)
    assert_entries_do_not_matter(model, batch, absent)


@each(m for m in WITH_VOCABULARY_HEAD if m in CAN_BE_UNTIED)
@given(st.data())
def test_embeddings_of_tokens_that_do_not_occur_where_the_head_has_weights_of_its_own(classes, data):
    model = data.draw(strategies.tiny_models(*classes, tie_word_embeddings=False))
    batch = data.draw(strategies.labelled_batches(model))
    absent = absent_tokens(batch)
    assert_entries_do_not_matter(model, batch, absent)


@each(WITH_VOCABULARY_HEAD)
@given(st.data())
def test_where_the_head_is_tied_every_token_matters(classes, data):
    """The law is not obeyed by accident: a tied embedding also scores tokens that do not occur."""
    model = data.draw(strategies.tiny_models(*classes, tie_word_embeddings=True))
    batch = data.draw(strategies.labelled_batches(model))
    absent = absent_tokens(batch)
    assume(absent)
    with pytest.raises(AssertionError):
        assert_entries_do_not_matter(model, batch, absent)


@each(CAN_BE_UNTIED)
@given(st.data())
def test_the_embedding_of_the_padding(classes, data):
    model = data.draw(strategies.tiny_models(*classes, tie_word_embeddings=False))
    batch = without_spans(data.draw(strategies.labelled_batches(model)))
    assert_entries_do_not_matter(model, batch, strategies.PADDING)


@each(WITH_POSITIONS)
@given(st.data())
def test_positions_beyond_the_text(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = without_spans(data.draw(strategies.labelled_batches(model)))
    names = [name for name, _ in model.named_parameters() if any(table in name for table in POSITION_TABLES)]
    assert names
    for name in names:
        mask = batch.get("decoder_attention_mask" if "decoder" in name else "attention_mask", batch["attention_mask"])
        beyond = int(mask.sum(-1).max()) + FIRST_ROW.get(model.config.model_type, 0)
        laws.assert_unused_parameters_do_not_matter(model, batch, name, slice(beyond, None))


@given(st.data())
def test_segments_that_do_not_occur(data):
    classes = [m for m in TEXT_CLASSES if "type_vocab_size" in m.config_class._fields]
    model = data.draw(strategies.tiny_models(*classes, type_vocab_size=3))
    batch = data.draw(strategies.labelled_batches(model))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    batch["token_type_ids"] = torch.randint(0, 2, batch["input_ids"].shape, generator=generator)
    segments = model.base_model.embeddings.token_type_embeddings.weight
    laws.assert_unused_parameters_do_not_matter(model, batch, name_of(model, segments), 2)


@given(st.data())
def test_cross_attention_without_a_context(data):
    model = data.draw(with_cross_attention(*WITH_CONTEXT))
    batch = data.draw(strategies.token_batches())
    names = [name for name, _ in model.named_parameters() if "crossattention" in name or "encoder_attn" in name]
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


@each(m for m in named("ForSequenceClassification") if m.config_class in CAUSAL_FAMILIES)
@given(st.data())
def test_a_classifier_of_the_last_token_does_not_see_what_the_padding_is_embedded_as(classes, data):
    """They find the last token by its id, so even an untrained padding vector must not leak into the result."""
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.token_batches(padding="right"))
    amount = data.draw(st.sampled_from([1.0, 1e3, -1e6]))
    assert_entries_do_not_matter(model, batch, strategies.PADDING, amount=amount)


@given(st.data())
def test_the_padding_vector_of_bert_is_not_trained(data):
    model = data.draw(strategies.tiny_models(*classes_of(BertConfig), tie_word_embeddings=False)).train()
    batch = data.draw(strategies.labelled_batches(model))
    output = model(**batch)
    next(tensor for _, tensor in named_tensors(output)).sum().backward()
    assert not model.get_input_embeddings().weight.grad[strategies.PADDING].any()
