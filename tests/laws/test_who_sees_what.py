"""Laws 1, 5 and 6: causality, independent rows, and permutation-equivariance without positions."""

from functools import partial

import pytest
import torch
from families_of_laws import CAUSAL_FAMILIES, each, named, takes, target_sides, with_cross_attention
from hypothesis import given, strategies as st

from minitransformers.models.bert import BertConfig, BertModel
from minitransformers.models.gpt2 import GPT2DoubleHeadsModel
from minitransformers.models.openai_gpt import OpenAIGPTDoubleHeadsModel
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.masks import causal_mask, document_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.families import CLASSES, DECODERS, ENCODERS, WITH_CHOICES, WITH_TARGET
from minitransformers.testing.weights import draw_weights

# A classifier of a text has no entry for each token.
CAUSAL = [
    model
    for model in CLASSES
    if model in DECODERS
    or (model.config_class in CAUSAL_FAMILIES and model not in (*WITH_CHOICES, *named("ForSequenceClassification")))
]
WITHOUT_CACHE = {GPT2DoubleHeadsModel: {"use_cache": False}}  # whose cache has a row for each choice
CAN_BE_DECODERS = [
    model
    for model in named("Model", "ForTokenClassification", "ForMaskedLM")
    if "add_cross_attention" in model.config_class._fields
    and model.config_class not in CAUSAL_FAMILIES
    and model not in DECODERS
]
WITH_CONTEXT = [model for model in DECODERS if takes(model, "encoder_hidden_states")]


def one_choice(model):
    """A model of (batch, choices, length) as one of (batch, length)."""

    def run(input_ids, **arguments):
        output = model(input_ids=input_ids[:, None], **{name: value[:, None] for name, value in arguments.items()})
        return output.logits[:, 0]

    return run


# ---- 1. causality ----------------------------------------------------------------------------------------------------


@each(CAUSAL)
@given(st.data())
def test_decoders_do_not_see_what_comes_after(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    side = data.draw(st.sampled_from(["right", "left"]))
    batch = data.draw(strategies.token_batches(padding=side, min_length=2))
    position = data.draw(st.integers(0, batch["input_ids"].shape[1] - 2))
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    position_ids = {"position_ids": torch.arange(batch["input_ids"].shape[1])[None]}
    laws.assert_causal(
        model,
        batch["input_ids"],
        position,
        attention_mask=mask,
        output_hidden_states=data.draw(st.booleans()),
        **(position_ids if takes(model, "position_ids") else {}),
    )


@each(WITH_TARGET)
@given(st.data())
def test_decoders_of_a_target_do_not_see_what_comes_after(classes, data):
    model, batch = data.draw(target_sides(*classes))
    ids = batch["input_ids"]
    position = data.draw(st.integers(0, ids.shape[1] - 2))
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    laws.assert_causal(model, ids, position, attention_mask=mask, output_hidden_states=data.draw(st.booleans()))


@each(CAN_BE_DECODERS)
@given(st.data())
def test_encoders_built_as_decoders_do_not_see_what_comes_after(classes, data):
    model = data.draw(strategies.tiny_models(*classes, is_decoder=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    laws.assert_causal(model, ids, data.draw(st.integers(0, ids.shape[1] - 2)))


@pytest.mark.parametrize("model_class", [GPT2DoubleHeadsModel, OpenAIGPTDoubleHeadsModel], ids=lambda c: c.__name__)
@given(st.data())
def test_double_heads_do_not_see_what_comes_after(model_class, data):
    model = data.draw(strategies.tiny_models(model_class))
    ids = data.draw(strategies.token_ids(min_length=2))
    position = data.draw(st.integers(0, ids.shape[1] - 2))
    laws.assert_causal(one_choice(model), ids, position, vocab_size=model.config.vocab_size)


@each(DECODERS)
@given(st.data())
def test_no_gradient_comes_from_after(classes, data):
    """The output at a position depends on no input vector behind it: the gradient is exactly zero, not nearly."""
    model = data.draw(strategies.tiny_models(*classes))
    rows, length = data.draw(st.integers(1, 2)), data.draw(st.integers(2, 6))
    position = data.draw(st.integers(0, length - 2))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    width = model.get_input_embeddings().embedding_dim
    embeds = torch.randn(rows, length, width, generator=generator, dtype=torch.float64)
    embeds.requires_grad_()
    model(inputs_embeds=embeds).logits[:, : position + 1].square().sum().backward()
    assert not embeds.grad[:, position + 1 :].any()
    assert embeds.grad[:, : position + 1].any()


@given(st.data())
def test_causality_with_attention_to_a_context(data):
    """The context, unlike the text, is seen as a whole."""
    model = data.draw(with_cross_attention(*WITH_CONTEXT))
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
    """Two texts in one row, kept apart by a block-diagonal mask: each gets what it gets alone.

    A mask of four dimensions says everything: in Mistral, Qwen2 and ModernBERT it also stands in the place of windows,
    as in the reference, so that alone they would see less.
    """
    causal = data.draw(st.booleans())
    classes = [
        model
        for model in (DECODERS if causal else ENCODERS)
        if takes(model, "position_ids")
        and not {"sliding_window", "local_attention"} & model.config_class._fields.keys()
    ]
    model = data.draw(strategies.tiny_models(*classes))
    first, second = (data.draw(strategies.token_ids(batch=1)) for _ in range(2))
    lengths = first.shape[1], second.shape[1]
    mask = document_mask(torch.tensor([[0] * lengths[0] + [1] * lengths[1]]))
    mask = mask & causal_mask(sum(lengths)) if causal else mask
    positions = [torch.arange(1, length + 1)[None] for length in lengths]
    packed = model(torch.cat([first, second], dim=1), attention_mask=mask, position_ids=torch.cat(positions, dim=1))
    alone = [model(text, position_ids=own)[0] for text, own in zip((first, second), positions, strict=True)]
    assert_close(packed[0], torch.cat(alone, dim=1))


# ---- 5. rows ---------------------------------------------------------------------------------------------------------


@each(CLASSES)
@given(st.data())
def test_rows_of_a_batch_are_independent_and_can_be_permuted(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.labelled_batches(model, padding="right"))
    given = (
        "input_ids",
        "attention_mask",
        "mc_token_ids",
        "decoder_input_ids",
        "decoder_attention_mask",
        "pixel_values",
    )
    arguments = {name: batch[name] for name in batch if name in given}
    order = data.draw(strategies.orders(len(next(iter(batch.values())))))
    with torch.no_grad():
        laws.assert_rows_independent(partial(model, **WITHOUT_CACHE.get(type(model), {})), arguments, order)


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


@each(m for m in ENCODERS if "local_attention" not in m.config_class._fields and takes(m, "position_ids"))
@given(st.data())
def test_encoders_with_every_token_at_one_position_are_permutation_equivariant(classes, data):
    """Not T5's, to which nothing says where tokens are, and not ModernBERT's, whose windows are of neighbours."""
    model = data.draw(strategies.tiny_models(*classes))
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
    block.self_attention.causal = False
    laws.assert_permutation_equivariant(lambda x: block(x).hidden_states, hidden, [3, 2, 1, 0])
