"""Laws 1, 5 and 6: causality, independent rows, and permutation-equivariance without positions."""

from functools import partial

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.models.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from minitransformers.models.gpt2 import (
    GPT2DoubleHeadsModel,
    GPT2ForQuestionAnswering,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    GPT2Model,
)
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.masks import AttentionMask, causal_mask, document_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.weights import draw_weights

DECODERS = [GPT2Model, GPT2LMHeadModel, GPT2ForTokenClassification, GPT2ForQuestionAnswering, BertLMHeadModel]
WITHOUT_CACHE = {GPT2DoubleHeadsModel: {"use_cache": False}}  # whose cache has a row for each choice
CAUSAL_BERTS = [BertModel, BertForTokenClassification, BertForMaskedLM]


def one_choice(model):
    """A model of (batch, choices, length) as one of (batch, length)."""

    def run(input_ids, **arguments):
        output = model(input_ids=input_ids[:, None], **{name: value[:, None] for name, value in arguments.items()})
        return output.logits[:, 0]

    return run


# ---- 1. causality ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", DECODERS, ids=lambda c: c.__name__)
@given(st.data())
def test_decoders_do_not_see_what_comes_after(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    batch = data.draw(strategies.token_batches(padding=data.draw(st.sampled_from(["right", "left"])), min_length=2))
    position = data.draw(st.integers(0, batch["input_ids"].shape[1] - 2))
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    position_ids = torch.arange(batch["input_ids"].shape[1])[None]
    laws.assert_causal(
        model,
        batch["input_ids"],
        position,
        attention_mask=mask,
        position_ids=position_ids,
        output_hidden_states=data.draw(st.booleans()),
    )


@pytest.mark.parametrize("model_class", CAUSAL_BERTS, ids=lambda c: c.__name__)
@given(st.data())
def test_berts_built_as_decoders_do_not_see_what_comes_after(model_class, data):
    model = data.draw(strategies.tiny_models(model_class, is_decoder=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    laws.assert_causal(model, ids, data.draw(st.integers(0, ids.shape[1] - 2)))


@given(st.data())
def test_double_heads_do_not_see_what_comes_after(data):
    model = data.draw(strategies.tiny_models(GPT2DoubleHeadsModel))
    ids = data.draw(strategies.token_ids(min_length=2))
    position = data.draw(st.integers(0, ids.shape[1] - 2))
    laws.assert_causal(one_choice(model), ids, position, vocab_size=model.config.vocab_size)


@given(st.data())
def test_no_gradient_comes_from_after(data):
    """The output at a position depends on no input vector behind it: the gradient is exactly zero, not nearly."""
    model = data.draw(strategies.tiny_decoders())
    rows, length = data.draw(st.integers(1, 2)), data.draw(st.integers(2, 6))
    position = data.draw(st.integers(0, length - 2))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    embeds = torch.randn(rows, length, model.config.hidden_size, generator=generator, dtype=torch.float64)
    embeds.requires_grad_()
    model(inputs_embeds=embeds).logits[:, : position + 1].square().sum().backward()
    assert not embeds.grad[:, position + 1 :].any()
    assert embeds.grad[:, : position + 1].any()


@given(st.data())
def test_causality_with_attention_to_a_context(data):
    """The context, unlike the text, is seen as a whole."""
    model = data.draw(strategies.tiny_decoders(add_cross_attention=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    context = torch.randn(len(ids), 3, model.config.hidden_size, generator=generator, dtype=torch.float64)
    position = data.draw(st.integers(0, ids.shape[1] - 2))
    laws.assert_causal(model, ids, position, encoder_hidden_states=context)


def test_what_is_not_causal_is_seen_as_a_whole():
    """The law is no accident: every position of an encoder depends on the last token, and so it does of a context."""
    sizes = {"vocab_size": 9, "hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2}
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(1, 4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    encoder = draw_weights(BertModel(BertConfig(**sizes)).double().eval(), 0)
    encoder(inputs_embeds=vectors).last_hidden_state[:, 0, 0].backward()
    assert (vectors.grad != 0).all()

    vectors.grad = None
    decoder = BertModel(BertConfig(**sizes, is_decoder=True, add_cross_attention=True), add_pooling_layer=False)
    draw_weights(decoder.double().eval(), 0)
    decoder(torch.tensor([[1, 2]]), encoder_hidden_states=vectors).last_hidden_state[:, 0, 0].backward()
    assert (vectors.grad != 0).all()


@given(st.data())
def test_packed_documents_do_not_see_each_other(data):
    """Two texts in one row, kept apart by a block-diagonal mask: each gets what it gets alone."""
    causal = data.draw(st.booleans())
    model = data.draw(strategies.tiny_decoders() if causal else strategies.tiny_encoders())
    first, second = (data.draw(strategies.token_ids(batch=1)) for _ in range(2))
    lengths = first.shape[1], second.shape[1]
    mask = document_mask(torch.tensor([[0] * lengths[0] + [1] * lengths[1]]))
    mask = mask & causal_mask(sum(lengths)) if causal else mask
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    packed = model(torch.cat([first, second], dim=1), attention_mask=mask, position_ids=positions)
    alone = torch.cat([model(text)[0] for text in (first, second)], dim=1)
    laws.assert_close(packed[0], alone)


# ---- 5. rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", [*strategies.BERT_CLASSES, *strategies.GPT2_CLASSES], ids=lambda c: c.__name__)
@given(st.data())
def test_rows_of_a_batch_are_independent_and_can_be_permuted(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    batch = data.draw(strategies.labelled_batches(model, padding="right"))
    arguments = {name: batch[name] for name in batch if name in ("input_ids", "attention_mask", "mc_token_ids")}
    order = data.draw(strategies.orders(len(batch["input_ids"])))
    with torch.no_grad():
        laws.assert_rows_independent(partial(model, **WITHOUT_CACHE.get(model_class, {})), arguments, order)


# ---- 6. permutations -------------------------------------------------------------------------------------------------


@given(st.data())
def test_without_positions_bidirectional_attention_is_permutation_equivariant(data):
    heads = data.draw(st.integers(1, 3))
    width = heads * data.draw(st.integers(1, 4))
    block = EncoderBlock(width, heads, 7, pre_norm=data.draw(st.booleans())).double()
    draw_weights(block, data.draw(strategies.seeds()), scale=0.5)
    length = data.draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    hidden = torch.randn(2, length, width, dtype=torch.float64, generator=generator)
    kernel = data.draw(st.sampled_from(["eager", "sdpa"]))
    order = data.draw(strategies.orders(length))
    laws.assert_permutation_equivariant(lambda x: block(x, kernel=kernel).hidden_states, hidden, order)


@given(st.data())
def test_bert_with_every_token_at_one_position_is_permutation_equivariant(data):
    model = data.draw(strategies.tiny_encoders())
    batch = data.draw(strategies.token_batches())
    order = data.draw(strategies.orders(batch["input_ids"].shape[1]))
    embeds = model.get_input_embeddings()(batch["input_ids"]).detach()
    at_zero = torch.zeros_like(batch["input_ids"])

    def encode(vectors):
        mask = batch["attention_mask"] if vectors is embeds else batch["attention_mask"][:, order]
        return model(inputs_embeds=vectors, attention_mask=mask, position_ids=at_zero).last_hidden_state

    laws.assert_permutation_equivariant(encode, embeds, order)


def test_positions_and_causality_break_the_symmetry():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 4, 6, dtype=torch.float64, generator=generator)
    block = draw_weights(DecoderBlock(6, 2, 7).double(), 0)
    with pytest.raises(AssertionError):
        laws.assert_permutation_equivariant(lambda x: block(x).hidden_states, hidden, [3, 2, 1, 0])
    everybody = AttentionMask()  # the whole rule: causality is not added to it
    laws.assert_permutation_equivariant(lambda x: block(x, everybody).hidden_states, hidden, [3, 2, 1, 0])
