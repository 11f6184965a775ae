"""Law 2: padding changes nothing — on the right of anything, on the left where positions count real tokens only."""

import warnings

import pytest
import torch
from families_of_laws import CAUSAL_FAMILIES, TEXT_CLASSES, each, named, takes
from hypothesis import given, strategies as st

from minitransformers.models.electra import ElectraForPreTraining
from minitransformers.models.gpt2 import GPT2Config, GPT2ForQuestionAnswering, GPT2LMHeadModel
from minitransformers.models.roberta import RobertaConfig
from minitransformers.models.xlm_roberta import XLMRobertaConfig
from minitransformers.nn.positions import positions_from_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, assert_gradients_close, named_tensors
from minitransformers.testing.families import LABELS, WITH_ENDS, WITH_TARGET
from minitransformers.testing.weights import draw_weights

# Of models of one text, without a head over the first token, which on the left is padding; and without those that count
# positions and cannot be told them, as the reference cannot: BART and the original transformer. T5's are distances.
COUNTS_PADDING = named("BartForCausalLM")
OVER_ALL_TOKENS = named(
    "Model", "LMHeadModel", "ForCausalLM", "ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering"
)
ON_THE_LEFT = tuple(
    model
    for model in TEXT_CLASSES
    if (model in OVER_ALL_TOKENS or model.config_class in CAUSAL_FAMILIES)
    and not takes(model, "decoder_input_ids")
    and model not in (*named("DoubleHeadsModel"), *COUNTS_PADDING)
)
WITH_LOSS = tuple(m for m in TEXT_CLASSES if LABELS[m] and m not in named("ForQuestionAnswering"))
# The last token is found by what it is, and so are positions and the end of a text: padding must be the padding token.
READS_PADDING = (
    *(m for m in named("ForSequenceClassification") if m.config_class in CAUSAL_FAMILIES),
    *(m for m in TEXT_CLASSES if m.config_class in (RobertaConfig, XLMRobertaConfig)),
    *WITH_ENDS,
)


def paddable(model, batch):
    """Arguments without labels that padding has a part in.

    The loss of an answer's positions is a choice among all positions, padding included. ELECTRA's discriminator has no
    label for what is not to be learnt: it leaves out what the mask does.
    """
    left_out = {"start_positions", "end_positions"} | (
        {"labels"} if isinstance(model, ElectraForPreTraining) else set()
    )
    return {name: tensor for name, tensor in batch.items() if name not in left_out}


def without_pooler(model):
    """Whose vector is of the first token."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def with_any_outputs(model, data):
    model.config.output_hidden_states = data.draw(st.booleans())
    model.config.output_attentions = data.draw(st.booleans())
    return model.train(data.draw(st.booleans()))


def positions_of(model, mask):
    return {"position_ids": positions_from_mask(mask)} if takes(model, "position_ids") else {}


@each(TEXT_CLASSES)
@given(st.data())
def test_right_padding_by_any_amount_changes_nothing(classes, data):
    """Of an encoder–decoder, that of the source."""
    model = data.draw(strategies.tiny_models(*classes))
    batch = paddable(model, data.draw(strategies.labelled_batches(model, padding="right")))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    laws.assert_padding_invariant(with_any_outputs(model, data), batch, amount)


@each(WITH_TARGET)
@given(st.data())
def test_padding_of_the_target_changes_nothing(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.labelled_batches(model))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    laws.assert_padding_invariant(with_any_outputs(model, data), batch, amount, prefix="decoder_")


@each(ON_THE_LEFT)
@given(st.data())
def test_left_padding_by_any_amount_changes_nothing(classes, data):
    model = without_pooler(data.draw(strategies.tiny_models(*classes)))
    batch = paddable(model, data.draw(strategies.labelled_batches(model, padding="left")))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    with_positions = takes(model, "position_ids")
    laws.assert_padding_invariant(
        with_any_outputs(model, data), batch, amount, side="left", with_positions=with_positions
    )


@each(named("T5Model", "T5ForConditionalGeneration"))
@given(st.data())
def test_where_positions_are_distances_a_source_may_be_padded_on_the_left(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = data.draw(strategies.labelled_batches(model, padding="left"))
    amount = data.draw(st.integers(1, strategies.MAX_LENGTH))
    laws.assert_padding_invariant(with_any_outputs(model, data), batch, amount, side="left", with_positions=False)


@each(WITH_LOSS)
@given(st.data())
def test_padding_changes_no_gradient(classes, data):
    model = data.draw(strategies.tiny_models(*classes)).train()
    side = data.draw(st.sampled_from(["right", "left"] if type(model) in ON_THE_LEFT else ["right"]))
    batch = data.draw(strategies.labelled_batches(model, padding=side))
    padded = laws.pad_batch(batch, data.draw(st.integers(1, 5)), side=side)
    if isinstance(model, ElectraForPreTraining):
        padded["labels"] = padded["labels"].clamp(min=0)
    gradients = []
    for arguments in (batch, padded):
        if side == "left":
            arguments |= positions_of(model, arguments["attention_mask"])
        model.zero_grad()
        model(**arguments).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert_gradients_close(gradients[1], gradients[0])


@each(ON_THE_LEFT)
@given(st.data())
def test_a_padded_batch_gives_each_text_what_it_gets_alone(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    side = data.draw(st.sampled_from(["right", "left"]))
    batch = data.draw(strategies.token_batches(padding=side))
    together = model(**batch, **positions_of(model, batch["attention_mask"]))
    for row, mask in enumerate(batch["attention_mask"].bool()):
        text = batch["input_ids"][row][mask][None]
        alone = model(input_ids=text, **positions_of(model, torch.ones_like(text)))
        # A head over the sequence has one result, others have one for each token.
        name = next(name for name in alone.keys() if name != "past_key_values")  # noqa: SIM118
        one_each = type(model) not in named("ForSequenceClassification")
        assert_close(together[name][row][mask] if one_each else together[name][row], alone[name][0])


@each(m for m in TEXT_CLASSES if m not in READS_PADDING)
@given(st.data())
def test_what_the_padding_token_is_does_not_matter(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    batch = paddable(model, data.draw(strategies.labelled_batches(model)))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    other = torch.randint(0, strategies.VOCAB_SIZE, batch["input_ids"].shape, generator=generator)
    mask = batch["attention_mask"].bool()
    changed = {**batch, "input_ids": torch.where(mask, batch["input_ids"], other)}
    before = dict(named_tensors(model(**batch)))
    for name, tensor in named_tensors(model(**changed)):
        if tensor.ndim < 4:  # caches hold keys of the padding
            of_tokens = tensor.shape[: mask.ndim] == mask.shape
            assert_close(tensor[mask] if of_tokens else tensor, before[name][mask] if of_tokens else before[name])


@given(st.data())
def test_what_a_patch_shows_that_nobody_may_look_at_does_not_matter(data):
    """An image's padding: patches that the mask leaves out."""
    model = data.draw(strategies.tiny_image_models())
    batch = data.draw(strategies.labelled_batches(model))
    pixels = batch["pixel_values"]
    rows, columns = model.config.grid
    size = model.config.patch_size
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    seen = torch.rand(len(pixels), rows, columns, generator=generator) < 0.5
    pixels_seen = seen.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, None]
    changed = torch.where(pixels_seen, pixels, torch.randn(pixels.shape, generator=generator).to(pixels))
    mask = torch.cat([torch.ones(len(pixels), 1, dtype=torch.bool), seen.flatten(1)], dim=1)
    before, after = (model(each, attention_mask=mask.long()) for each in (pixels, changed))
    assert_close(after.last_hidden_state[mask], before.last_hidden_state[mask])
    assert_close(after.pooler_output, before.pooler_output)


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
