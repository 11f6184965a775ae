"""What people ask a model for, how they call it and read its output, and the first values of a new one."""

import re
import warnings

import jaxtyping
import pytest
import torch
from small_models import BACKBONES, HEADS, small_batch, small_model

import minitransformers as mt
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError, UnknownNameError
from minitransformers.testing.comparing import assert_close

LANGUAGE_MODELS = ["BertForMaskedLM", "GPT2LMHeadModel"]
WRITE_INTO_RESIDUAL = "c_proj.weight"

# ---- properties ------------------------------------------------------------------------------------------------------


def test_number_of_parameters_of_bert_counted_by_hand():
    """Vocabulary 23, 24 positions, 2 segments, hidden 12, intermediate 20, 2 blocks."""
    embeddings = (23 + 24 + 2) * 12
    block = 4 * (12 * 12 + 12) + (12 * 20 + 20) + (20 * 12 + 12) + 2 * 24
    head = 12 * 12 + 12 + 24 + 23  # the decoder's weight is the token embedding's, and its bias that of the head
    model = small_model("BertForMaskedLM")
    assert model.num_parameters() == embeddings + 24 + 2 * block + head
    assert model.num_parameters(exclude_embeddings=True) == 24 + 2 * block + head
    model.bert.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == head
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == head
    untied = small_model("BertForMaskedLM", tie_word_embeddings=False)
    assert untied.num_parameters() == embeddings + 24 + 2 * block + head + 23 * 12 + 23


def test_number_of_parameters_of_gpt2_counted_by_hand():
    block = (12 * 36 + 36) + (12 * 12 + 12) + (12 * 48 + 48) + (48 * 12 + 12) + 2 * 24
    model = small_model("GPT2LMHeadModel")
    assert model.num_parameters() == (23 + 24) * 12 + 2 * block + 24
    assert model.num_parameters(exclude_embeddings=True) == 2 * block + 24
    model.transformer.h.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == (23 + 24) * 12 + 24


@pytest.mark.parametrize("name", [*BACKBONES, *HEADS])
def test_properties(name):
    model = small_model(name)
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    assert model.double().dtype == torch.float64
    assert model.to("meta").device.type == "meta"
    backbone = "BertModel" if name.startswith("Bert") else "GPT2Model"
    assert type(model.base_model).__name__ == backbone
    assert model.base_model is (model if name in BACKBONES else getattr(model, model.base_model_prefix))
    assert model.base_model.base_model is model.base_model
    assert model.config is model.base_model.config
    assert model.can_generate() == (name in ("BertLMHeadModel", "GPT2LMHeadModel", "GPT2DoubleHeadsModel"))
    assert model.name_or_path == ""


def test_name_or_path_says_where_the_model_came_from(tmp_path):
    small_model("GPT2LMHeadModel").save_pretrained(tmp_path)
    loaded = mt.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert loaded.name_or_path == loaded.config.name_or_path == str(tmp_path)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_attention_kernel_can_be_chosen(name, monkeypatch):
    model, batch = small_model(name, initializer_range=0.3), small_batch(name)
    used = []
    for kernel, function in list(mt.nn.attention.KERNELS.items()):
        monkeypatch.setitem(
            mt.nn.attention.KERNELS,
            kernel,
            lambda *args, _kernel=kernel, _function=function, **kwargs: (
                used.append(_kernel) or _function(*args, **kwargs)
            ),
        )
    expected = model(**batch)
    model.set_attn_implementation("eager")
    assert model.config.attn_implementation == "eager"
    assert_close(model(**batch), expected)
    model.set_attn_implementation("sdpa")
    assert_close(model(**batch), expected, tolerance=0.0)
    attentions = model(**batch, output_attentions=True).attentions  # which the fused kernel does not have
    assert used == ["sdpa"] * 2 + ["eager"] * 2 + ["sdpa"] * 2 + ["eager"] * 2
    assert_close(attentions[0].sum(dim=-1), torch.ones(3, 3, 7))
    with pytest.raises(ConfigError, match=r"'egaer'.*'eager'"):
        model.set_attn_implementation("egaer")
    assert model.config.attn_implementation == "sdpa"


# ---- assignments to the config ---------------------------------------------------------------------------------------


def test_assigning_the_padding_token_has_effect():
    """A GPT-2 classifier finds the end of each text by it."""
    model = small_model("GPT2ForSequenceClassification", pad_token_id=None, initializer_range=0.3)
    input_ids = torch.tensor([[3, 4, 9, 9], [3, 4, 5, 6]])
    with pytest.raises(InputError, match=r"model\.config\.pad_token_id"):
        model(input_ids)
    model.config.pad_token_id = 9
    assert_close(model(input_ids).logits[0], model(torch.tensor([[3, 4]])).logits[0])
    model.config.pad_token_id = 0
    assert_close(model(input_ids).logits[0], model(input_ids[:1]).logits[0])
    assert not torch.allclose(model(input_ids).logits[0], model(torch.tensor([[3, 4]])).logits[0])


def test_assigning_what_is_returned_has_effect():
    model = small_model("GPT2LMHeadModel")
    input_ids = torch.tensor([[3, 4, 5]])
    assert list(model(input_ids)) == ["logits", "past_key_values"]
    model.config.use_cache = False
    model.config.output_hidden_states = True
    model.config.output_attentions = True
    assert list(model(input_ids)) == ["logits", "hidden_states", "attentions"]
    assert list(model(input_ids, output_hidden_states=False, use_cache=True)) == [
        "logits",
        "past_key_values",
        "attentions",
    ]
    model.config.return_dict = False
    assert type(model(input_ids)) is tuple


def test_assigning_the_problem_type_changes_the_loss():
    model = small_model("BertForSequenceClassification", initializer_range=0.3)
    input_ids, labels = torch.tensor([[3, 4], [5, 6]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    logits = model(input_ids).logits
    of_labels = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert_close(model(input_ids, labels=labels).loss, of_labels)
    model.config.problem_type = "regression"
    assert_close(model(input_ids, labels=labels).loss, ((logits - labels) ** 2).mean())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pad_token_id", "[PAD]"),
        ("problem_type", "ranking"),
        ("hidden_dropout_prob", 1.5),
        ("use_cache", "yes"),
        ("num_labels", 0),
        ("attn_implementation", "flash"),
    ],
)
def test_an_impossible_assignment_is_refused(field, value):
    config = small_model("BertForSequenceClassification").config
    before = getattr(config, field)
    with pytest.raises(ConfigError, match=f"{field}={re.escape(repr(value))} must be"):
        setattr(config, field, value)
    assert getattr(config, field) == before
    with pytest.raises(UnknownArgumentError, match="pad_token_id"):
        config.pad_tokn_id = 0


# ---- calls and outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_an_output_is_read_by_attribute_key_and_index(name):
    output = small_model(name)(**small_batch(name), output_hidden_states=True)
    names = ["loss", "logits", *(["past_key_values"] if name == "GPT2LMHeadModel" else []), "hidden_states"]
    assert list(output) == list(output.keys()) == names
    assert len(output) == len(names)
    assert output.logits is output["logits"] is output[1] is output[:2][1] is dict(output.items())["logits"]
    assert output[-1] is output.hidden_states is list(output.values())[-1]
    assert "loss" in output
    assert "attentions" not in output
    assert output.attentions is None
    assert output.get("attentions", 5) == 5
    loss, logits, *_ = output.to_tuple()
    assert loss is output.loss
    assert logits is output.logits
    with pytest.raises(UnknownNameError, match="logits"):
        output["logit"]
    with pytest.raises(IndexError):
        output[len(names)]


@pytest.mark.parametrize("name", [*BACKBONES, *HEADS])
def test_a_tuple_is_returned_where_it_is_asked_for(name):
    model, batch = small_model(name), small_batch(name, labels=name in HEADS)
    output = model(**batch)
    as_tuple = model(**batch, return_dict=False)
    assert type(as_tuple) is tuple
    assert_close(as_tuple, output.to_tuple(), tolerance=0.0)
    model.config.return_dict = False
    assert_close(model(**batch), output.to_tuple(), tolerance=0.0)
    assert_close(model(**batch, return_dict=True), output, tolerance=0.0)


def test_positional_calls():
    """In the reference's order: BERT's second argument is the mask, GPT-2's the cache."""
    bert = small_model("BertForSequenceClassification", initializer_range=0.3)
    batch = small_batch("BertForSequenceClassification")
    segments, positions = torch.ones_like(batch["input_ids"]), torch.arange(7).flip(0)[None].expand(3, 7)
    by_name = bert(**batch, token_type_ids=segments, position_ids=positions)
    by_place = bert(batch["input_ids"], batch["attention_mask"], segments, positions, None, batch["labels"])
    assert_close(by_place, by_name, tolerance=0.0)
    assert not torch.allclose(bert(**batch).logits, by_name.logits)

    gpt2 = small_model("GPT2LMHeadModel", initializer_range=0.3)
    batch = small_batch("GPT2LMHeadModel", labels=False)
    by_place = gpt2(batch["input_ids"], None, batch["attention_mask"], segments, positions)
    by_name = gpt2(**batch, token_type_ids=segments, position_ids=positions)
    assert_close(by_place, by_name, tolerance=0.0)
    assert not torch.allclose(gpt2(**batch).logits, by_name.logits)


@pytest.mark.parametrize("name", [*BACKBONES, *HEADS])
def test_an_unknown_argument_is_refused_with_the_nearest_name(name):
    model, batch = small_model(name), small_batch(name, labels=False)
    with pytest.raises(TypeError, match=f"{name} takes no argument 'attention_maks'.*'attention_mask'"):
        model(batch["input_ids"], attention_maks=batch["attention_mask"])


@pytest.mark.parametrize("name", ["GPT2Model", "GPT2LMHeadModel", "BertLMHeadModel"])
def test_left_padding_without_positions_warns(name):
    model = small_model(name)
    input_ids = torch.tensor([[0, 0, 3, 4], [3, 4, 5, 6]])
    mask = (input_ids != 0).long()
    with pytest.warns(UserWarning, match="padded on the left and position_ids are not given"):
        model(input_ids, attention_mask=mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(input_ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
        model(input_ids.flip(1), attention_mask=mask.flip(1))
        model(input_ids)


def test_packed_documents_with_a_cache_warn():
    """They would see each other, as in the reference: what keeps them apart works only without a cache."""
    model, ids, positions = small_model("GPT2LMHeadModel"), torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 1, 0, 1]])
    with pytest.warns(UserWarning, match="kept apart only without a cache: pass use_cache=False"):
        model(ids, position_ids=positions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(ids, position_ids=positions, use_cache=False)
        model(ids, position_ids=torch.arange(4)[None])


def test_a_bidirectional_model_says_nothing_about_left_padding():
    mask = torch.tensor([[0, 0, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_model("BertModel")(torch.tensor([[0, 0, 3, 4]]), attention_mask=mask)


@pytest.mark.parametrize("name", [*BACKBONES, *HEADS])
def test_a_configuration_of_another_family_is_refused(name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as in a user's program
    own, other = ("Bert", "GPT2") if name.startswith("Bert") else ("GPT2", "Bert")
    with pytest.raises(InputError, match=f"{name} is built from a {own}Config, got {other}Config.*from_pretrained"):
        getattr(mt, name)(getattr(mt, f"{other}Config")())


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "GPT2Model", "GPT2ForTokenClassification"])
def test_what_cannot_generate_says_what_can(name):
    model = small_model(name)
    with pytest.raises(AttributeError, match=f"{name} cannot continue a text.*AutoModelForCausalLM"):
        model.generate(torch.tensor([[3]]))
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        model.generat


# ---- initialization --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BACKBONES, *HEADS])
def test_new_weights(name):
    """N(0, 0.02²) in matrices and embeddings, 0 in biases, 1 in norms; the padding token's vector is 0 in BERT."""
    wide = {"hidden_size": 96, "num_hidden_layers": 4}
    model = small_model(name, **wide, **({"intermediate_size": 96} if name.startswith("Bert") else {}))
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            assert not parameter.any(), key
        elif "LayerNorm" in key or ".ln_" in f".{key}":
            assert (parameter == 1).all(), key
        else:
            drawn = (
                parameter[1:] if "word_embeddings" in key or "wte" in key else parameter
            )  # the first may be that of padding
            writes = name.startswith("GPT2") and key.endswith(WRITE_INTO_RESIDUAL)
            std = 0.02 / 8**0.5 if writes else 0.02  # 4 blocks with two writers each
            assert abs(drawn.std() / std - 1) < 5 / (2 * drawn.numel()) ** 0.5, key  # five standard errors
            assert abs(drawn.mean()) < 5 * std / drawn.numel() ** 0.5, key
    if name.startswith("Bert"):
        weight = model.get_input_embeddings().weight
        assert not weight[0].any()
        assert weight[1:].any(dim=1).all()


def test_new_weights_follow_the_seed_and_the_configured_range():
    first, again = small_model("GPT2LMHeadModel"), small_model("GPT2LMHeadModel")
    assert_close(dict(first.named_parameters()), dict(again.named_parameters()), tolerance=0.0)
    wider = small_model("GPT2LMHeadModel", initializer_range=0.2)
    assert_close(wider.lm_head.weight, 10 * first.lm_head.weight)
    torch.manual_seed(1)
    assert not torch.equal(mt.GPT2LMHeadModel(first.config).lm_head.weight, first.lm_head.weight)
