"""Laws 3 and 17: a text given in pieces is the text, and gradients flow back through the pieces."""

import pytest
import torch
from families_of_laws import decoders, each, takes, target_sides, with_cross_attention
from hypothesis import given, strategies as st

from minitransformers.errors import InputError
from minitransformers.models.bert import BertForTokenClassification
from minitransformers.nn.cache import DynamicCache
from minitransformers.nn.masks import causal_mask
from minitransformers.nn.positions import positions_from_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.families import BACKBONES, DECODERS, WITH_CACHE, WITH_TARGET

# All but GPT-1, which has no cache, as in the reference.
CACHING = [m for m in (*BACKBONES, *DECODERS) if m in WITH_CACHE and m not in WITH_TARGET]
CACHING_LM = [m for m in DECODERS if m in WITH_CACHE]
WITH_CONTEXT = [m for m in DECODERS if takes(m, "encoder_hidden_states")]


def without_pooler(model):
    """Whose vector is of the first token that it is given, and so it is of each piece's."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@each(CACHING)
@given(st.data())
def test_any_way_of_cutting_a_text_gives_the_same(classes, grad, data):
    model = without_pooler(data.draw(decoders(*classes)))
    side = data.draw(st.sampled_from(["right", "left", "none"] if takes(model, "position_ids") else ["right", "none"]))
    batch = data.draw(strategies.token_batches(padding=side))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    capacity = data.draw(st.sampled_from([None, 0, 3, strategies.MAX_LENGTH, 20]))
    with torch.set_grad_enabled(grad):
        laws.assert_cache_consistent(
            model,
            ids,
            data.draw(strategies.cut_points(ids.shape[1])),
            attention_mask=data.draw(st.sampled_from([None, mask])),
            position_ids=positions_from_mask(mask) if side == "left" else None,
            cache=None if capacity is None else DynamicCache(capacity=capacity),
            output_hidden_states=data.draw(st.booleans()),
        )


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@each(WITH_TARGET)
@given(st.data())
def test_any_way_of_cutting_a_target_gives_the_same(classes, grad, data):
    model, batch = data.draw(target_sides(*classes, min_length=1))
    ids = batch["input_ids"]
    with torch.set_grad_enabled(grad):
        laws.assert_cache_consistent(
            model,
            ids,
            data.draw(strategies.cut_points(ids.shape[1])),
            attention_mask=data.draw(st.sampled_from([None, batch["attention_mask"]])),
            output_hidden_states=data.draw(st.booleans()),
        )


@each(CACHING_LM)
@given(st.data())
def test_one_token_at_a_time_in_inference_mode(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    ids = data.draw(strategies.token_ids(min_length=2))
    with torch.inference_mode():
        laws.assert_cache_consistent(model, ids, range(1, ids.shape[1]))


@given(st.data())
def test_pieces_may_be_given_in_different_grad_modes(data):
    """Filled in inference mode or without gradients, gone on with gradients, and the other way round."""
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(min_length=3))
    cuts = data.draw(strategies.cut_points(ids.shape[1]))
    modes = [torch.enable_grad, torch.no_grad, torch.inference_mode]
    cache = DynamicCache(capacity=data.draw(st.sampled_from([0, 20])))
    logits, start = [], 0
    for end in (*cuts, ids.shape[1]):
        with data.draw(st.sampled_from(modes))():
            output = model(ids[:, start:end], past_key_values=cache, use_cache=True)
        assert output.past_key_values is cache
        logits.append(output.logits.detach().clone())
        start = end
    assert_close(torch.cat(logits, dim=1), model(ids).logits.detach())


@given(st.data())
def test_attention_weights_of_pieces_are_rows_of_the_whole(data):
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    cuts = data.draw(strategies.cut_points(ids.shape[1]))
    whole = model(ids, output_attentions=True).attentions
    start = 0
    for end, piece in zip(
        (*cuts, ids.shape[1]), laws.run_in_chunks(model, ids, cuts, output_attentions=True), strict=True
    ):
        expected = [weights[:, :, start:end, :end] for weights in whole]
        assert_close(list(piece.attentions), expected)
        start = end


@given(st.data())
def test_a_complete_mask_is_cut_with_the_text(data):
    """With four dimensions, bool or added to the scores, a mask has rows for the new tokens and columns for all."""
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    rows, length = ids.shape
    cut = data.draw(st.integers(1, length - 1))
    mask = data.draw(strategies.attention_masks(batch=rows, heads=1, query=length, key=length)) & causal_mask(length)
    if data.draw(st.booleans()):
        mask = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)
    whole = model(ids, attention_mask=mask).logits
    first = model(ids[:, :cut], attention_mask=mask[:, :, :cut, :cut], use_cache=True)
    second = model(ids[:, cut:], attention_mask=mask[:, :, cut:], past_key_values=first.past_key_values)
    assert_close(torch.cat([first.logits, second.logits], dim=1), whole)


@each(WITH_CONTEXT)
@given(st.data())
def test_a_context_is_projected_once_and_may_then_be_left_to_the_cache(classes, data):
    model = data.draw(with_cross_attention(*classes))
    ids = data.draw(strategies.token_ids(min_length=2))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    context = torch.randn(len(ids), 3, model.config.hidden_size, generator=generator, dtype=torch.float64)
    context_mask = torch.ones(len(ids), 3, dtype=torch.long)
    context_mask[:, data.draw(st.integers(1, 3)) :] = 0
    laws.assert_cache_consistent(
        model,
        ids,
        data.draw(strategies.cut_points(ids.shape[1])),
        encoder_hidden_states=context,
        encoder_attention_mask=context_mask,
    )


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@each(CACHING_LM)
@given(st.data())
def test_a_cropped_cache_goes_on_from_there(classes, grad, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.token_batches(min_length=2))
    length = data.draw(st.integers(1, batch["input_ids"].shape[1] - 1))
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    with torch.set_grad_enabled(grad):
        laws.assert_cache_crops(model, batch["input_ids"], length, attention_mask=mask)


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@each(CACHING_LM)
@given(st.data())
def test_a_reordered_cache_goes_on_as_the_rows_that_it_took(classes, grad, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.token_batches(min_length=2))
    rows, length = batch["input_ids"].shape
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=4))
    cut = data.draw(st.integers(1, length - 1))
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    with torch.set_grad_enabled(grad):
        laws.assert_cache_reorders(model, batch["input_ids"], chosen, cut, attention_mask=mask)


@given(st.data())
def test_a_context_in_the_cache_is_reordered_with_it(data):
    model = data.draw(with_cross_attention(*WITH_CONTEXT))
    ids = data.draw(strategies.token_ids(batch=3, min_length=2))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    context = torch.randn(3, 2, model.config.hidden_size, generator=generator, dtype=torch.float64)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4)))
    cut = data.draw(st.integers(1, ids.shape[1] - 1))
    cache = model(ids[:, :cut], encoder_hidden_states=context, use_cache=True).past_key_values
    cache.reorder_cache(rows)
    went_on = model(ids[rows][:, cut:], encoder_hidden_states=context[rows], past_key_values=cache).logits
    assert_close(went_on, model(ids[rows], encoder_hidden_states=context[rows]).logits[:, cut:])


@each(WITH_TARGET)
@given(st.data())
def test_the_cache_of_a_target_is_cropped_and_reordered(classes, data):
    """Cropped to what a beam keeps, for a source of which nothing is cropped; reordered with what is kept of it."""
    side, batch = data.draw(target_sides(*classes))
    ids = batch["input_ids"]
    cut = data.draw(st.integers(1, ids.shape[1] - 1))
    laws.assert_cache_crops(side, ids, cut, attention_mask=data.draw(st.sampled_from([None, batch["attention_mask"]])))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1, max_size=4)))
    source = {name: tensor[rows] for name, tensor in side.source.items()}
    cache = side(ids[:, :cut], use_cache=True).past_key_values
    cache.reorder_cache(rows)
    went_on = side.model(**source, decoder_input_ids=ids[rows][:, cut:], past_key_values=cache, use_cache=True)[0]
    assert_close(went_on, side.model(**source, decoder_input_ids=ids[rows])[0][:, cut:])


# ---- 17. gradients through the cache ---------------------------------------------------------------------------------


@each(CACHING)
@given(st.data())
def test_cached_pieces_can_be_differentiated_through(classes, data):
    model = without_pooler(data.draw(decoders(*classes))).train(data.draw(st.booleans()))
    batch = data.draw(strategies.token_batches(min_length=2))
    ids = batch["input_ids"]
    mask = data.draw(st.sampled_from([None, batch["attention_mask"]]))
    cuts = data.draw(strategies.cut_points(ids.shape[1]))
    laws.assert_cache_differentiable(model, ids, cuts, attention_mask=mask)


@each(WITH_TARGET)
@given(st.data())
def test_cached_pieces_of_a_target_can_be_differentiated_through(classes, data):
    model, batch = data.draw(target_sides(*classes))
    ids = batch["input_ids"]
    laws.assert_cache_differentiable(model.train(), ids, data.draw(strategies.cut_points(ids.shape[1])))


@given(st.data())
def test_the_gradient_reaches_the_vectors_of_earlier_pieces(data):
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(min_length=2))
    cut = data.draw(st.integers(1, ids.shape[1] - 1))
    vectors = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=vectors).logits[:, cut:].square().sum().backward()
    expected, vectors.grad = vectors.grad, None
    first = model(inputs_embeds=vectors[:, :cut], use_cache=True)
    second = model(inputs_embeds=vectors[:, cut:], past_key_values=first.past_key_values)
    second.logits.square().sum().backward()
    assert_gradients_close({"vectors": vectors.grad}, {"vectors": expected})


# ---- what is refused -------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_mask_that_leaves_out_the_cached_tokens_is_refused(data):
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(min_length=3))
    cache = model(ids[:, :2], use_cache=True).past_key_values
    with pytest.raises(InputError, match=rf"expected \({len(ids)}, {ids.shape[1]}\) \(2 cached and"):
        model(ids[:, 2:], past_key_values=cache, attention_mask=torch.ones_like(ids[:, 2:]))
    assert cache.get_seq_length() == 2  # refused before any work


@given(st.data())
def test_a_cache_of_another_batch_is_refused(data):
    model = data.draw(strategies.tiny_decoders(with_cache=True))
    ids = data.draw(strategies.token_ids(batch=2))
    cache = model(ids, use_cache=True).past_key_values
    with pytest.raises(InputError, match="2 sequences and the input 1"):
        model(ids[:1], past_key_values=cache)


def test_a_classifier_built_as_a_decoder_takes_no_cache_argument_but_computes_with_none():
    assert "past_key_values" not in BertForTokenClassification.forward.__code__.co_varnames
