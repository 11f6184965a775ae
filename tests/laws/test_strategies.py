"""The strategies draw what they say: a law tried on nothing but easy cases would prove little."""

import pytest
import torch
from families_of_laws import each
from hypothesis import Phase, find, given, settings, strategies as st

import minitransformers
from minitransformers.auto import CONFIG_MAPPING
from minitransformers.models.bert import BertLMHeadModel
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.testing import strategies
from minitransformers.testing.comparing import named_tensors
from minitransformers.testing.families import (
    CLASSES,
    DECODERS,
    ENCODERS,
    FAMILIES,
    LABELS,
    OF_IMAGES,
    WITH_CACHE,
    WITH_TARGET,
    classes_of,
)

# Looked for among up to this many examples; the first that is found ends the search, and is not made smaller.
SEARCH = settings(max_examples=2000, derandomize=True, deadline=None, database=None, phases=[Phase.generate])


def test_no_class_is_left_out():
    """What the package offers is what is drawn."""
    offered = {
        name
        for name in minitransformers.__all__
        if name.endswith("Model") or ("For" in name and not name.startswith("Auto"))
        if isinstance(getattr(minitransformers, name), type)
        and issubclass(getattr(minitransformers, name), minitransformers.PreTrainedModel)
    }
    left_out = {name for name in offered if name.endswith("PreTrainedModel")}
    assert {model.__name__ for model in CLASSES} == offered - left_out
    assert {*CONFIG_MAPPING.values()} < {*FAMILIES}
    assert all(classes_of(family) for family in FAMILIES)


@each(CLASSES)
@given(st.data())
def test_models_take_their_batches(classes, data):
    model = data.draw(strategies.tiny_models(*classes))
    assert type(model) in classes
    assert not model.training
    assert model.dtype == torch.float64
    assert all((weight != 0).all() for weight in model.parameters())
    batch = data.draw(strategies.labelled_batches(model))
    output = dict(named_tensors(model(**batch)))
    assert all(tensor.isfinite().all() for tensor in output.values())
    assert ("output.loss" in output) == bool(LABELS[type(model)])


@pytest.mark.parametrize(
    ("strategy", "classes"),
    [
        (strategies.tiny_encoders(), ENCODERS),
        (strategies.tiny_decoders(), DECODERS),
        (strategies.tiny_decoders(with_cache=True), [m for m in DECODERS if m in WITH_CACHE]),
        (strategies.tiny_encoder_decoders(), [m for m in WITH_TARGET if LABELS[m]]),
        (strategies.tiny_image_models(), OF_IMAGES[:1]),
    ],
    ids=["encoders", "decoders", "decoders with a cache", "encoder-decoders", "image models"],
)
def test_every_family_is_drawn(strategy, classes):
    missing = set(classes)

    class AllDrawnError(Exception): ...

    @settings(max_examples=40 * len(classes), derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def draw(model):
        missing.discard(type(model))
        if not missing:
            raise AllDrawnError

    with pytest.raises(AllDrawnError):
        draw()


@pytest.mark.parametrize(
    "condition",
    [
        lambda model: isinstance(model, GPT2LMHeadModel),
        lambda model: isinstance(model, BertLMHeadModel) and model.config.is_decoder,
        lambda model: model.config.tie_word_embeddings,
        lambda model: not model.config.tie_word_embeddings,
        lambda model: model.config.attn_implementation == "eager",
        lambda model: model.config.num_hidden_layers == 3,
        lambda model: model.config.num_attention_heads == 3,
        lambda model: isinstance(model, GPT2LMHeadModel) and model.config.reorder_and_upcast_attn,
    ],
)
def test_all_kinds_of_decoders_are_drawn(condition):
    assert condition(find(strategies.tiny_decoders(), condition, settings=SEARCH))


@pytest.mark.parametrize("padding", ["right", "left", "none"])
@given(st.data())
def test_token_batches_are_padded_as_asked(padding, data):
    batch = data.draw(strategies.token_batches(padding=padding))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.shape == mask.shape
    assert ((ids == strategies.PADDING) == (mask == 0)).all()
    assert (mask.sum(-1) >= 1).all()
    assert (ids < strategies.VOCAB_SIZE).all()
    steps = mask[:, 1:] - mask[:, :-1]
    assert {"right": (steps <= 0).all(), "left": (steps >= 0).all(), "none": mask.all()}[padding]


@pytest.mark.parametrize("padding", ["right", "left"])
def test_ragged_batches_are_drawn(padding):
    find(
        strategies.token_batches(padding=padding),
        lambda batch: len(set(batch["attention_mask"].sum(-1).tolist())) == 3,
        settings=SEARCH,
    )


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        ("a row without keys", lambda mask: not mask.any(-1).all() and mask.any()),
        ("one for each head", lambda mask: mask.shape[1] == 2 and not torch.equal(mask[:, 0], mask[:, 1])),
        ("one for each text", lambda mask: mask.shape[0] == 2 and not torch.equal(mask[0], mask[1])),
        ("shared by all", lambda mask: mask.shape[:2] == (1, 1) and mask.any() and not mask.all()),
    ],
)
def test_masks_of_every_kind_are_drawn(kind, condition):
    find(strategies.attention_masks(batch=2, heads=2, query=3, key=4), condition, settings=SEARCH)


@given(strategies.attention_masks(batch=2, heads=2, query=3, key=4, may_be_empty=False))
def test_masks_without_empty_rows_have_none(mask):
    assert mask.dtype == torch.bool
    assert mask.any(-1).all()


@given(st.data())
def test_labels_count_where_they_may(data):
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    labels = data.draw(strategies.labels_of(mask.shape, 5, ignored=mask))
    assert (labels[mask == 0] == -100).all()
    assert (labels != -100).any()
    assert labels.max() < 5
    assert ((labels >= 0) | (labels == -100)).all()


@given(st.data())
def test_cuts_ascend_within_the_text(data):
    length = data.draw(st.integers(1, 9))
    cuts = data.draw(strategies.cut_points(length))
    assert list(cuts) == sorted(set(cuts))
    assert all(1 <= cut < length for cut in cuts)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_texts_are_cut_into_any_number_of_pieces(number):
    assert len(find(strategies.cut_points(4), lambda cuts: len(cuts) == number, settings=SEARCH)) == number


@pytest.mark.parametrize("letter", ["a", "é", "ж", "א", "漢", "한", "🙂", "\u200d", "\n", "\u3000", "0", "…"])
def test_texts_of_many_scripts_are_drawn(letter):
    assert letter in find(strategies.texts(), lambda text: letter in text, settings=SEARCH)


@given(strategies.texts())
def test_texts_are_text(text):
    assert text.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="surrogatepass") == text
