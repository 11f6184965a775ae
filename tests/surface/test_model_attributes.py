"""What scripts and other libraries ask a model for; each test runs with both libraries."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

import minitransformers as mt
from minitransformers.errors import InputError
from minitransformers.testing.comparing import assert_close

pytestmark = pytest.mark.usefixtures("annotations_are_not_checked")
LIBRARIES = pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"])
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 20}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 16}
T5 = {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 12,
    "num_layers": 1,
    "num_heads": 2,
    "vocab_size": 20,
    "decoder_start_token_id": 0,
}
IDS = torch.tensor([[5, 6, 7, 8]])


def build(library: Any, name: str, **fields: Any) -> Any:
    """A model in evaluation mode with the same weights in both libraries."""
    family = next(part for part in ("Bert", "GPT2", "Llama", "T5", "ViT") if name.startswith(part))
    sizes = {"GPT2": GPT2, "T5": T5, "ViT": {**SIZES, "image_size": 8, "patch_size": 4}}.get(family, SIZES)
    theirs = getattr(transformers, name)(getattr(transformers, f"{family}Config")(**sizes, **fields)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    if library is transformers:
        return theirs
    ours = getattr(mt, name)(getattr(mt, f"{family}Config")(**sizes, **fields)).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours


# ---- sizes and parts -------------------------------------------------------------------------------------------------


@LIBRARIES
def test_names_and_sizes(library: Any) -> None:
    model = build(library, "BertForMaskedLM")
    assert (type(model).main_input_name, type(model).input_modalities) == ("input_ids", "text")
    assert library.ViTModel.main_input_name == "pixel_values"
    assert type(model).supports_gradient_checkpointing is True
    assert library.GPT2LMHeadModel._no_split_modules == ["GPT2Block"]
    assert type(model).can_generate() is False
    assert library.GPT2LMHeadModel.can_generate() is True
    assert model.dummy_inputs["input_ids"].tolist() == [[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]]
    assert model(**model.dummy_inputs).logits.shape == (3, 5, 20)
    assert model.num_parameters() == 5 * 8 + 512 * 8 + 20 * 8 - 3 * 8 + 16 + (4 * 72 + 108 + 104 + 32) + 72 + 16 + 20
    buffers = 2 * 512 * 8  # positions and segments, in int64
    assert model.get_memory_footprint(return_buffers=False) == 4 * model.num_parameters()
    assert model.get_memory_footprint() == 4 * model.num_parameters() + buffers
    model.num_labels = 5
    assert model.num_labels == 5
    assert model.bert.embeddings.position_ids.shape == (1, 512)


@LIBRARIES
@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [
        ("BertForMaskedLM", "bert.encoder", "bert"),
        ("BertModel", "encoder", ""),
        ("GPT2LMHeadModel", "", "transformer"),
        ("LlamaForCausalLM", "", "model"),
        ("T5ForConditionalGeneration", "encoder", "decoder"),
        ("T5EncoderModel", "encoder", ""),
        ("ViTModel", "", ""),
    ],
)
def test_encoder_and_decoder(library: Any, name: str, encoder: str, decoder: str) -> None:
    model = build(library, name)
    assert model.get_encoder() is model.get_submodule(encoder)
    assert model.get_decoder() is model.get_submodule(decoder)


@LIBRARIES
def test_encoder_and_decoder_are_replaced(library: Any) -> None:
    model = build(library, "T5ForConditionalGeneration")
    encoder, decoder = copy.deepcopy(model.get_encoder()), copy.deepcopy(model.get_decoder())
    model.set_encoder(encoder)
    model.set_decoder(decoder)
    assert model.get_encoder() is model.encoder is encoder
    assert model.get_decoder() is model.decoder is decoder
    bert = build(library, "BertForMaskedLM")
    encoder = copy.deepcopy(bert.bert.encoder)
    bert.set_encoder(encoder)
    assert bert.bert.encoder is encoder


def test_a_stack_that_is_its_own_decoder_is_not_replaced() -> None:
    with pytest.raises(InputError, match="GPT2LMHeadModel has no module 'decoder' to replace"):
        build(mt, "GPT2LMHeadModel").set_decoder(nn.Identity())
    with pytest.raises(ValueError, match="modality='smell' must be"):
        build(mt, "GPT2LMHeadModel").get_encoder(modality="smell")


@LIBRARIES
def test_tensors_and_modules_by_name(library: Any) -> None:
    model = build(library, "BertForMaskedLM")
    name = "bert.embeddings.word_embeddings.weight"
    assert model.get_parameter_or_buffer(name) is model.bert.embeddings.word_embeddings.weight
    assert model.get_parameter_or_buffer("bert.embeddings.position_ids") is model.bert.embeddings.position_ids
    with pytest.raises(AttributeError, match=r"bert\.pooler"):
        model.get_parameter_or_buffer("bert.pooler")
    buffers = [name for name, _ in model.named_non_persistent_buffers()]
    assert buffers == ["bert.embeddings.position_ids", "bert.embeddings.token_type_ids"]
    embeddings = model.bert.embeddings
    assert model.retrieve_modules_from_names([name]) == [embeddings.word_embeddings]
    assert model.retrieve_modules_from_names([name.removeprefix("bert.")], remove_prefix=True) == [
        embeddings.word_embeddings
    ]
    assert model.bert.retrieve_modules_from_names([name], add_prefix=True) == [embeddings.word_embeddings]


@LIBRARIES
def test_tags(library: Any) -> None:
    model = build(library, "BertForMaskedLM")
    assert model.model_tags is None
    model.add_model_tags("one")
    model.add_model_tags(["two", "one"])
    assert model.model_tags == ["one", "two"]
    assert type(model).model_tags is None


@LIBRARIES
def test_building_from_a_configuration(library: Any) -> None:
    config = library.BertConfig(**SIZES)
    model = library.BertModel._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
    assert (model.dtype, model.config._attn_implementation) == (torch.bfloat16, "eager")
    assert torch.get_default_dtype() == torch.float32
    for keywords in ({"torch_dtype": torch.float16}, {"dtype": "float16"}, {"trust_remote_code": True}):
        config = library.BertConfig(**SIZES)
        built = library.AutoModel.from_config(config, **keywords)
        assert built.dtype == (torch.float32 if "trust_remote_code" in keywords else torch.float16)
        assert config.dtype is None or library is transformers  # which writes into the caller's configuration


# ---- switches --------------------------------------------------------------------------------------------------------


@LIBRARIES
@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_gradients_of_the_embedded_tokens(library: Any, name: str) -> None:
    model = build(library, name)
    model.requires_grad_(False)
    arguments = {"input_ids": IDS, "decoder_input_ids": IDS} if name.startswith("T5") else {"input_ids": IDS}
    assert not model(**arguments).logits.requires_grad
    model.enable_input_require_grads()
    assert model(**arguments).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(**arguments).logits.requires_grad


@LIBRARIES
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BertForMaskedLM", "ForMaskedLMLoss"),
        ("BertForSequenceClassification", "ForSequenceClassificationLoss"),
        ("BertForTokenClassification", "ForTokenClassification"),
        ("BertForQuestionAnswering", "ForQuestionAnsweringLoss"),
        ("BertModel", "ForCausalLMLoss"),
        ("GPT2LMHeadModel", "ForCausalLMLoss"),
        ("T5ForConditionalGeneration", "ForCausalLMLoss"),
    ],
)
def test_the_loss_of_a_head(library: Any, name: str, expected: str) -> None:
    assert build(library, name).loss_function.__name__ == expected


@LIBRARIES
@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM"])
def test_the_loss_can_be_replaced(library: Any, name: str) -> None:
    model = build(library, name)
    given: list[dict[str, Any]] = []

    def own(logits: Any, labels: Any, vocab_size: int, **further: Any) -> Any:
        given.append({"labels": labels, "vocab_size": vocab_size, **further})
        return F.cross_entropy(logits[:, :-1].reshape(-1, vocab_size), labels[:, 1:].reshape(-1), label_smoothing=0.1)

    plain = model(IDS, labels=IDS).loss
    model.loss_function = own
    smoothed = model(IDS, labels=IDS, num_items_in_batch=3).loss
    assert (given[0]["vocab_size"], given[0]["num_items_in_batch"]) == (20, 3)
    assert (smoothed - plain).abs() > 1e-3
    logits = model(IDS).logits
    assert_close(smoothed, own(logits, IDS, 20))
    assert len(given) == 2


@LIBRARIES
@pytest.mark.parametrize("kind", ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"])
def test_the_loss_of_other_heads_can_be_replaced(library: Any, kind: str) -> None:
    model = build(library, f"Llama{kind}", pad_token_id=0)
    labels: dict[str, Any] = {
        "ForSequenceClassification": {"labels": torch.tensor([1])},
        "ForTokenClassification": {"labels": torch.tensor([[0, 1, 1, -100]])},
        "ForQuestionAnswering": {"start_positions": torch.tensor([1]), "end_positions": torch.tensor([2])},
    }[kind]
    expected = build(mt, f"Llama{kind}", pad_token_id=0)(IDS, **labels).loss
    assert_close(model(IDS, **labels).loss, expected, tolerance=1e-5)
    original = model.loss_function
    model.loss_function = lambda *args, **kwargs: 2 * original(*args, **kwargs)
    assert_close(model(IDS, **labels).loss, 2 * expected, tolerance=1e-5)


def test_a_loss_that_is_a_module() -> None:
    class Constant(nn.Module):
        def forward(self, **arguments: Any) -> torch.Tensor:
            return torch.tensor(7.0)

    model = build(mt, "GPT2LMHeadModel")
    model.loss_function = Constant()
    assert model(IDS, labels=IDS).loss == 7


@LIBRARIES
def test_padding_without_a_mask_is_warned_of(
    library: Any, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    model = build(library, "BertModel")
    logger = library.logging.get_logger(library.__name__)
    monkeypatch.setattr(logger, "propagate", True)
    if library is transformers:  # another test may have been the one that is warned
        library.logging.warning_once.cache_clear()
    with caplog.at_level("WARNING"), caplog.at_level("WARNING", logger.name):
        model.warn_if_padding_and_no_attention_mask(IDS, None)
        model.warn_if_padding_and_no_attention_mask(F.pad(IDS, (0, 1)), torch.ones(1, 5))
        assert not any("attention_mask" in str(warning.message) for warning in recwarn)
        assert not caplog.messages
        model.warn_if_padding_and_no_attention_mask(F.pad(IDS, (0, 1)), None)
    assert any("attention_mask" in text for text in [*caplog.messages, *(str(w.message) for w in recwarn)])


# ---- the token embedding, replaced -----------------------------------------------------------------------------------


@LIBRARIES
@pytest.mark.parametrize("size", [25, 15])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_tying_a_new_embedding_fits_the_bias(library: Any, name: str, size: int) -> None:
    model = build(library, name)
    head = model.get_output_embeddings()
    before = None if head.bias is None else head.bias.detach().clone()
    table = nn.Embedding(size, 8)
    model.set_input_embeddings(table)
    model.tie_weights()
    head = model.get_output_embeddings()
    assert head.weight is table.weight
    if before is not None:
        assert head.bias.shape == (size,)
        kept = min(size, 20)
        assert torch.equal(head.bias[:kept], before[:kept])
        assert not head.bias[kept:].any()
    assert model(IDS).logits.shape == (1, 4, size)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_a_model_with_a_new_embedding_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """The reference leaves `config.vocab_size` as it was, and cannot load what it saved."""
    model = build(mt, name)
    model.set_input_embeddings(nn.Embedding(25, 8))
    model.tie_weights()
    model.save_pretrained(tmp_path)
    for library in (mt, transformers):
        loaded = getattr(library, name).from_pretrained(tmp_path)
        arguments = {"input_ids": IDS + 15, **({"decoder_input_ids": IDS} if name.startswith("T5") else {})}
        assert_close(loaded(**arguments).logits, model(**arguments).logits, tolerance=1e-4)


# ---- errors that callers catch ---------------------------------------------------------------------------------------


@LIBRARIES
def test_errors_are_those_that_callers_catch(library: Any, tmp_path: Path) -> None:
    model = build(library, "BertForSequenceClassification")
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError):
        library.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    with pytest.raises(RuntimeError):
        library.BertForSequenceClassification.from_pretrained(tmp_path, intermediate_size=5)
    with pytest.raises(ValueError, match="attn_implementation"):
        model.set_attn_implementation("esdpa")
    with pytest.raises(ValueError, match="attn_implementation"):
        library.BertModel.from_pretrained(tmp_path, attn_implementation="esdpa")
    with pytest.raises(TypeError, match="torch_dtyp"):
        library.BertModel.from_pretrained(tmp_path, torch_dtyp="float16")
    with pytest.raises(OSError, match="nowhere"):
        library.BertModel.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        library.BertModel.from_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({})
    with pytest.raises(AttributeError, match="generate"):
        model.generate(IDS)


# ---- lists of names that a user's class may set ----------------------------------------------------------------------


@LIBRARIES
def test_names_that_are_left_out_on_purpose(library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Own(library.BertPreTrainedModel):  # type: ignore[misc]
        _keys_to_ignore_on_load_missing = (r"extra\.weight",)
        _keys_to_ignore_on_load_unexpected = ("cls",)
        _keys_to_ignore_on_save = ("extra.bias",)

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.bert = library.BertModel(config, add_pooling_layer=False)
            self.extra = nn.Linear(8, 2)
            self.post_init()

    build(library, "BertForMaskedLM").save_pretrained(tmp_path / "bert")
    model, info = Own.from_pretrained(tmp_path / "bert", output_loading_info=True)
    assert set(info["missing_keys"]) == {"extra.bias"}
    assert set(info["unexpected_keys"]) == set()
    model.save_pretrained(tmp_path / "own")
    _, info = Own.from_pretrained(tmp_path / "own", output_loading_info=True)
    assert set(info["missing_keys"]) == {"extra.bias"}
