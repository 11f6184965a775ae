"""Adapters in peft's files: what is saved here loads in peft, and the other way round, with the same outputs.

peft's models are of transformers, so that the whole chain is compared: names, layout, configuration and arithmetic.
"""

from __future__ import annotations

import json
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

import minitransformers as mt
from minitransformers.adapters import (
    AdapterConfig,
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    add_adapter,
    load_adapter,
    save_adapter,
    trainable_parameters,
)
from minitransformers.errors import CheckpointError
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights, without_dropout

pytestmark = pytest.mark.filterwarnings("ignore")  # of peft, about GPT-2's matrices

COMMON = {"vocab_size": 17, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_labels": 3}
ENCODER = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
SIDES = ("encoder", "decoder")
FIELDS: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": {**ENCODER, "max_position_embeddings": 32},
    "RobertaForTokenClassification": {**ENCODER, "max_position_embeddings": 32},
    "DistilBertForSequenceClassification": {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12},
    "GPT2LMHeadModel": {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32},
    "GPT2ForSequenceClassification": {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32},
    "LlamaForCausalLM": {**ENCODER, "num_key_value_heads": 1},
    "T5ForConditionalGeneration": {
        "num_layers": 2,
        "num_heads": 2,
        "d_kv": 4,
        "d_model": 8,
        "d_ff": 12,
        "decoder_start_token_id": 0,
    },
    "BartForConditionalGeneration": {
        "d_model": 8,
        "max_position_embeddings": 32,
        "decoder_start_token_id": 2,
        **{f"{side}_{field}": 2 for side in SIDES for field in ("layers", "attention_heads")},
        **{f"{side}_ffn_dim": 12 for side in SIDES},
    },
}
CONFIGS: dict[str, tuple[AdapterConfig, Any]] = {
    "lora": (LoraConfig, peft.LoraConfig),
    "rslora": (LoraConfig, peft.LoraConfig),
    "dora": (LoraConfig, peft.LoraConfig),
    "ia3": (IA3Config, peft.IA3Config),
    "prefix": (PrefixTuningConfig, peft.PrefixTuningConfig),
    "prompt": (PromptTuningConfig, peft.PromptTuningConfig),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "lora": {"r": 2, "lora_alpha": 3},
    "rslora": {"r": 2, "use_rslora": True},
    "dora": {"r": 2, "use_dora": True},
    "ia3": {},
    "prefix": {"num_virtual_tokens": 3},
    "prompt": {"num_virtual_tokens": 3},
}
# What peft has no default for, or does not know the sizes of
DISTILBERT = {
    **{method: {"target_modules": ["q_lin", "v_lin"]} for method in ("lora", "rslora", "dora")},
    "ia3": {"target_modules": ["k_lin", "lin2"], "feedforward_modules": ["lin2"]},
    "prompt": {"token_dim": 8, "num_layers": 2, "num_attention_heads": 2},
}
CASES = [
    pytest.param(name, method, id=f"{name}-{method}")
    for name in FIELDS
    for method in CONFIGS
    if (name, method) != ("DistilBertForSequenceClassification", "prefix")  # which has no cache
    and (method != "rslora" or name == "LlamaForCausalLM")
]
every_case = pytest.mark.parametrize(("name", "method"), CASES)


def base(library: Any, name: str) -> Any:
    """The same weights in either library, in float64."""
    config = transformers.CONFIG_MAPPING[getattr(mt, name).config_class.model_type](**COMMON, **FIELDS[name])
    reference = draw_weights(getattr(transformers, name)(config).double().eval(), seed=1, scale=0.4)
    if library is transformers:
        return without_dropout(reference)
    model = getattr(mt, name)(getattr(mt, name).config_class(**COMMON, **FIELDS[name])).double().eval()
    model.load_state_dict(reference.state_dict())
    return without_dropout(model)


def task(name: str) -> str:
    ends = {"SequenceC": "SEQ_CLS", "TokenC": "TOKEN_CLS", "Conditional": "SEQ_2_SEQ_LM"}
    return next((task for part, task in ends.items() if part in name), "CAUSAL_LM")


@torch.no_grad()
def draw(model: Any) -> Any:
    random = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    return model


def theirs(name: str, method: str, **options: Any) -> Any:
    extra = {**(DISTILBERT[method] if "DistilBert" in name else {}), **options}
    config = CONFIGS[method][1](task_type=task(name), **OPTIONS[method], **extra)
    return draw(peft.get_peft_model(base(transformers, name), config).double().eval())


def ours(name: str, method: str, **options: Any) -> Any:
    targets = {key: value for key, value in DISTILBERT.get(method, {}).items() if "modules" in key}
    extra = targets if "DistilBert" in name else {}
    return draw(add_adapter(base(mt, name), CONFIGS[method][0](**OPTIONS[method], **extra, **options)))


@torch.no_grad()
def logits(model: Any, name: str) -> Tensor:
    """Of texts whose padding is on the right; a classifier of GPT-2's in peft reads the last vector whatever it is."""
    ids = torch.tensor([[1, 5, 9, 12, 2], [1, 7, 2, 0, 0], [3, 4, 11, 2, 0]])
    ids = ids[:1] if name.startswith("GPT2ForSeq") else ids
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    if task(name) == "SEQ_2_SEQ_LM":
        batch["decoder_input_ids"] = torch.tensor([[6, 2, 3], [8, 10, 2], [2, 7, 1]])
    found = model(**batch).logits
    if task(name) not in ("CAUSAL_LM", "TOKEN_CLS"):
        return found
    return found[:, -ids.shape[1] :][ids != 0]  # peft's have the prompt's, too; RoBERTa's padding other positions


@every_case
def test_an_adapter_of_peft_loads_here(name: str, method: str, tmp_path: Any) -> None:
    reference = theirs(name, method)
    reference.save_pretrained(tmp_path / "theirs")
    model = load_adapter(base(mt, name), tmp_path / "theirs", is_trainable=True)
    assert_close(logits(model, name), logits(reference, name), tolerance=1e-6)
    assert (logits(model, name) - logits(base(mt, name), name)).abs().max() > 1e-3
    assert trainable_parameters(model)[0] == reference.get_nb_trainable_parameters()[0]

    save_adapter(model, tmp_path / "ours")  # the same file again
    files = [load_file(tmp_path / side / "adapter_model.safetensors") for side in ("theirs", "ours")]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])


@every_case
def test_an_adapter_loads_in_peft(name: str, method: str, tmp_path: Any) -> None:
    model = ours(name, method)
    save_adapter(model, tmp_path)
    reference = peft.PeftModel.from_pretrained(base(transformers, name), tmp_path).double().eval()
    assert type(reference) is not peft.PeftModel  # the task is in the file
    assert_close(logits(reference, name), logits(model, name), tolerance=1e-6)
    fields = json.loads((tmp_path / "adapter_config.json").read_text())
    chosen = {key: fields[key] for key in ("target_modules", "exclude_modules", "feedforward_modules") if key in fields}
    assert theirs(name, method, **chosen).get_nb_trainable_parameters()[0] == trainable_parameters(model)[0]


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "GPT2LMHeadModel", "LlamaForCausalLM"])
def test_default_targets_are_those_of_peft(name: str) -> None:
    expected = theirs(name, "lora").peft_config["default"]
    config = ours(name, "lora").__dict__["_attached_adapter"].config
    assert set(config.target_modules) == expected.target_modules


@pytest.mark.parametrize("name", ["RobertaForTokenClassification", "GPT2ForSequenceClassification"])
def test_all_linear_layers_in_peft(name: str, tmp_path: Any) -> None:
    model = ours(name, "lora", target_modules="all-linear")
    save_adapter(model, tmp_path)
    reference = peft.PeftModel.from_pretrained(base(transformers, name), tmp_path).double().eval()
    assert_close(logits(reference, name), logits(model, name), tolerance=1e-6)


def test_a_matrix_that_is_trained_whole_has_the_layout_of_the_file(tmp_path: Any) -> None:
    name = "GPT2LMHeadModel"
    model = ours(name, "lora", modules_to_save=["mlp.c_fc"])
    save_adapter(model, tmp_path)
    reference = peft.PeftModel.from_pretrained(base(transformers, name), tmp_path).double().eval()
    assert_close(logits(reference, name), logits(model, name), tolerance=1e-6)
    assert_close(logits(load_adapter(base(mt, name), tmp_path), name), logits(model, name))


def test_a_prefix_by_a_network_loads_as_its_result(tmp_path: Any) -> None:
    name = "GPT2LMHeadModel"
    model = ours(name, "prefix", prefix_projection=True, encoder_hidden_size=5)
    save_adapter(model, tmp_path)
    reference = peft.PeftModel.from_pretrained(base(transformers, name), tmp_path).double().eval()
    assert_close(logits(reference, name), logits(model, name), tolerance=1e-6)
    assert_close(logits(load_adapter(base(mt, name), tmp_path), name), logits(model, name), tolerance=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "ADALORA"}, "covered are LORA"),
        ({"use_qalora": True}, "use_qalora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"rank_pattern": {"query": 4}}, "rank_pattern"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
)
def test_options_that_are_not_covered_are_named(change: dict[str, Any], message: str, tmp_path: Any) -> None:
    save_adapter(ours("LlamaForCausalLM", "lora"), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        load_adapter(base(mt, "LlamaForCausalLM"), tmp_path)


def test_an_adapter_of_another_model_leaves_the_model_as_it_was(tmp_path: Any) -> None:
    save_adapter(ours("LlamaForCausalLM", "lora"), tmp_path / "llama")
    model = base(mt, "GPT2LMHeadModel")
    with pytest.raises(mt.InputError, match="matches no layer of GPT2LMHeadModel"):
        load_adapter(model, tmp_path / "llama")
    deeper = mt.LlamaForCausalLM(mt.LlamaConfig(**COMMON, **FIELDS["LlamaForCausalLM"] | {"num_hidden_layers": 3}))
    wider = mt.LlamaForCausalLM(mt.LlamaConfig(**COMMON, **FIELDS["LlamaForCausalLM"] | {"hidden_size": 12}))
    for other, message in ((deeper, "has no 'base_model.model.model.layers.2"), (wider, "has shape")):
        with pytest.raises(CheckpointError, match=message):
            load_adapter(other, tmp_path / "llama")
        assert all(parameter.requires_grad for parameter in other.parameters())
        assert not any("lora" in name for name in other.state_dict())
    tensors = load_file(tmp_path / "llama" / "adapter_model.safetensors")
    save_file({**tensors, "base_model.model.other": torch.ones(2)}, tmp_path / "llama" / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="has no place for"):
        load_adapter(base(mt, "LlamaForCausalLM"), tmp_path / "llama")


def test_damaged_and_missing_files(tmp_path: Any) -> None:
    model = base(mt, "LlamaForCausalLM")
    with pytest.raises(mt.MissingFileError, match=r"adapter_config\.json"):
        load_adapter(model, tmp_path)
    save_adapter(ours("LlamaForCausalLM", "lora"), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="is not what its name says"):
        load_adapter(model, tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(mt.MissingFileError, match="adapter_model"):
        load_adapter(model, tmp_path)
    (tmp_path / "adapter_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="no configuration of an adapter"):
        load_adapter(model, tmp_path)
