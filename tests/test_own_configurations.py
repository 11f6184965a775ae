"""Configurations that users extend: fields of their own, classes of their own, and what scripts read from any of them.

Each test runs with both libraries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import minitransformers as mt
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError

pytestmark = [
    pytest.mark.usefixtures("annotations_are_not_checked"),
    pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"]),
]
SIZES = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 20}


def saved_and_read(config: Any, directory: Path) -> Any:
    config.save_pretrained(directory)
    return type(config).from_pretrained(directory)


# ---- fields of a user's own ------------------------------------------------------------------------------------------


def subclass(library: Any, how: str) -> Any:
    if how == "assigned after super().__init__":

        class After(library.BertConfig):
            model_type = "mine"

            def __init__(self, n_relations: int = 5, num_layer: int = 1, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.n_relations = n_relations
                self.num_layer = num_layer  # near num_labels, but a parameter of its own

        return After
    if how == "assigned before super().__init__":

        class Before(library.BertConfig):
            model_type = "mine"

            def __init__(self, n_relations: int = 5, num_layer: int = 1, **kwargs: Any) -> None:
                self.n_relations = n_relations
                self.num_layer = num_layer
                super().__init__(**kwargs)

        return Before
    if how == "class fields":

        class Fields(library.BertConfig):
            model_type = "mine"
            n_relations: int = 5
            num_layer: int = 1

        return Fields

    class PostInit(library.BertConfig):
        model_type = "mine"
        n_relations: int = 5
        num_layer: int | None = None

        def __post_init__(self, **kwargs: Any) -> None:
            if self.num_layer is None:
                self.num_layer = 1
            super().__post_init__(**kwargs)

    return PostInit


HOW = ["assigned after super().__init__", "assigned before super().__init__", "class fields", "__post_init__"]


@pytest.mark.parametrize("how", HOW)
def test_fields_of_a_subclass(library: Any, how: str, tmp_path: Path) -> None:
    config_class = subclass(library, how)
    assert (config_class().n_relations, config_class().num_layer) == (5, 1)
    config = config_class(n_relations=7, hidden_size=24, num_attention_heads=2, num_labels=3)
    for read in (config, saved_and_read(config, tmp_path), config_class(**config.to_dict())):
        assert (read.n_relations, read.num_layer, read.hidden_size, read.num_labels) == (7, 1, 24, 3)
        assert read.to_dict()["n_relations"] == 7
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["n_relations"], written["model_type"]) == (7, "mine")
    changed = config_class.from_pretrained(tmp_path, n_relations=9, num_layer=2)
    assert (changed.n_relations, changed.num_layer) == (9, 2)


def test_fields_by_keyword_and_by_assignment(library: Any, tmp_path: Path) -> None:
    config = library.BertConfig(n_relations=7)
    config.prefix_hidden_size = 512
    config.adapters = {"a": [1, 2]}
    for read in (config, saved_and_read(config, tmp_path)):
        assert (read.n_relations, read.prefix_hidden_size, read.adapters) == (7, 512, {"a": [1, 2]})
        assert {"n_relations", "prefix_hidden_size", "hidden_size"} <= set(read)
        assert "n_relations" in read
        assert "relations" not in read
    assert not hasattr(config, "relations")


@pytest.mark.parametrize(
    "name", ["gradient_checkpointing", "chunk_size_feed_forward", "pooler_type", "finetuning_task"]
)
def test_fields_of_former_versions_are_kept(library: Any, name: str, tmp_path: Path) -> None:
    config = library.BertConfig(**{name: 1})
    assert getattr(saved_and_read(config, tmp_path), name) == 1


def test_words_added_to_a_known_name_are_no_misspelling(library: Any) -> None:
    for name in ("cls_hidden_size", "hidden_size_2", "num_ner_labels", "num_tags", "num_relations", "adapter_size"):
        assert getattr(library.BertConfig(**{name: 3}), name) == 3


def test_a_misspelt_field_is_refused(library: Any) -> None:
    """The reference keeps it, and the model has another size than its user thinks."""
    for name, near in {
        "hiden_size": "hidden_size",
        "num_lables": "num_labels",
        "layer_norm_ep": "layer_norm_eps",
    }.items():
        if library is transformers:
            assert getattr(library.BertConfig(**{name: 3}), name) == 3
            continue
        for attempt in (
            lambda name=name: mt.BertConfig(**{name: 3}),
            lambda name=name: setattr(mt.BertConfig(), name, 3),
        ):
            with pytest.raises(UnknownArgumentError, match=f"BertConfig has no field {name!r}. Did you mean {near!r}"):
                attempt()


# ---- classes of a user's own -----------------------------------------------------------------------------------------


def own_classes(library: Any, model_type: str) -> tuple[Any, Any]:
    class OwnConfig(library.PretrainedConfig):
        attribute_map = {"hidden_size": "d"}

        def __init__(self, d: int = 4, **kwargs: Any) -> None:
            self.d = d
            super().__init__(**kwargs)

    OwnConfig.model_type = model_type

    class OwnModel(library.PreTrainedModel):
        config_class = OwnConfig
        base_model_prefix = "own"

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.linear = nn.Linear(config.d, config.hidden_size)
            self.post_init()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    return OwnConfig, OwnModel


def test_a_configuration_class_of_ones_own(library: Any, tmp_path: Path) -> None:
    config_class, _ = own_classes(library, "own-1")
    config = config_class(d=3, num_labels=4)
    for read in (config, saved_and_read(config, tmp_path)):
        assert (read.d, read.hidden_size, read.num_labels) == (3, 3, 4)
    assert library.PretrainedConfig.from_pretrained(tmp_path).d == 3


def test_own_classes_are_registered(library: Any, tmp_path: Path) -> None:
    config_class, model_class = own_classes(library, "own-2")
    library.AutoConfig.register("own-2", config_class)
    library.AutoModel.register(config_class, model_class)
    assert type(library.AutoConfig.for_model("own-2", d=2)) is config_class
    assert library.MODEL_MAPPING[config_class] is model_class
    assert library.CONFIG_MAPPING["own-2"] is config_class
    config_class(d=3).save_pretrained(tmp_path)
    assert type(library.AutoConfig.from_pretrained(tmp_path)) is config_class
    assert type(library.AutoModel.from_config(config_class(d=3))) is model_class
    for attempt in (
        lambda: library.AutoConfig.register("bert", library.BertConfig),
        lambda: library.AutoConfig.register("own-3", config_class),
        lambda: library.AutoModel.register(config_class, library.BertModel),
    ):
        with pytest.raises(ValueError, match=r"bert|own-2|Config") as caught:
            attempt()
        assert library is transformers or isinstance(caught.value, InputError)
    library.AutoConfig.register("own-2", config_class, exist_ok=True)


def test_own_tokenizers_are_registered(library: Any, tmp_path: Path) -> None:
    config_class, _ = own_classes(library, "own-4")

    class OwnTokenizer(library.BertTokenizer):
        pass

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    OwnTokenizer({token: index for index, token in enumerate(vocabulary)}).save_pretrained(tmp_path)
    config_class(d=3).save_pretrained(tmp_path)
    library.AutoConfig.register("own-4", config_class)
    library.AutoTokenizer.register(config_class, OwnTokenizer)
    tokenizer = library.AutoTokenizer.from_pretrained(tmp_path)
    assert type(tokenizer) is OwnTokenizer
    assert tokenizer("a b")["input_ids"] == [2, 5, 6, 3]
    if library is mt:  # theirs replaces the class silently
        with pytest.raises(InputError, match="model_type 'own-4' is taken by OwnTokenizer"):
            library.AutoTokenizer.register(config_class, library.BertTokenizer)
    library.AutoTokenizer.register(config_class, fast_tokenizer_class=OwnTokenizer, exist_ok=True)
    with pytest.raises(ValueError, match="pass"):
        library.AutoTokenizer.register(config_class)


def test_tables_of_classes(library: Any) -> None:
    """As scripts read them: which model types are there for a task."""
    config_classes = list(library.MODEL_FOR_MASKED_LM_MAPPING.keys())
    assert "bert" in tuple(config_class.model_type for config_class in config_classes)
    assert library.MODEL_FOR_MASKED_LM_MAPPING[library.BertConfig] is library.BertForMaskedLM
    assert library.BertConfig in library.MODEL_FOR_CAUSAL_LM_MAPPING
    assert library.ViTConfig not in library.MODEL_FOR_CAUSAL_LM_MAPPING
    assert type(library.CONFIG_MAPPING["gpt2"](n_layer=3)) is library.GPT2Config


# ---- what scripts read and call --------------------------------------------------------------------------------------


def test_a_dictionary_makes_the_configuration_again(library: Any) -> None:
    config = library.BertConfig(**SIZES, num_labels=3, n_relations=7)
    again = library.BertConfig(**config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert library.BertConfig(model_type="bert").model_type == "bert"


def test_names_that_scripts_use(library: Any) -> None:
    config = library.BertConfig(name_or_path="here")
    assert config._name_or_path == config.name_or_path == "here"
    assert config.use_return_dict is True
    config._attn_implementation = "eager"
    assert config._attn_implementation == "eager"
    assert config.get_text_config() is config.get_text_config(decoder=True) is config
    assert config.chunk_size_feed_forward == 0


def test_halves_of_an_encoder_decoder(library: Any) -> None:
    config = library.BartConfig(encoder_layers=2, decoder_layers=3, decoder_attention_heads=4, decoder_ffn_dim=7)
    assert config.get_text_config() is config
    half = config.get_text_config(decoder=True)
    assert (half.num_hidden_layers, half.num_attention_heads, half.ffn_dim) == (3, 4, 7)
    assert (config.get_text_config(encoder=True).num_hidden_layers, config.num_hidden_layers) == (2, 2)


def test_update_from_string(library: Any) -> None:
    config = library.BertConfig(n_relations=7)
    config.update_from_string("hidden_size=24,hidden_act=relu,use_cache=no,layer_norm_eps=1e-5,n_relations=8")
    assert (config.hidden_size, config.hidden_act, config.use_cache) == (24, "relu", False)
    assert (config.layer_norm_eps, config.n_relations) == (1e-5, 8)
    for text in ("nothing=3", "use_cache=perhaps", "hidden_size=much"):
        with pytest.raises(ValueError, match=r"nothing|perhaps|much") as caught:
            config.update_from_string(text)
        assert library is transformers or isinstance(caught.value, ConfigError)


def test_json_files(library: Any, tmp_path: Path) -> None:
    config = library.BertConfig(**SIZES)
    config.to_json_file(tmp_path / "diff.json")
    config.to_json_file(tmp_path / "all.json", use_diff=False)
    assert library.BertConfig.from_json_file(tmp_path / "diff.json").to_dict() == config.to_dict()
    assert json.loads((tmp_path / "all.json").read_text())["output_hidden_states"] is False
    assert "output_hidden_states" not in json.loads((tmp_path / "diff.json").read_text())
    assert library.BertConfig.from_pretrained(str(tmp_path / "diff.json")).hidden_size == 24


def test_get_config_dict(library: Any, tmp_path: Path) -> None:
    library.BertConfig(**SIZES).save_pretrained(tmp_path / "inner")
    content, rest = library.PretrainedConfig.get_config_dict(
        tmp_path, subfolder="inner", revision="main", n_relations=3
    )
    assert content["hidden_size"] == 24
    assert rest == {"n_relations": 3}


@pytest.mark.parametrize("auto", [False, True])
def test_unused_keywords_are_returned(library: Any, auto: bool, tmp_path: Path) -> None:
    library.BertConfig(**SIZES).save_pretrained(tmp_path)
    loader = library.AutoConfig if auto else library.BertConfig
    config, unused = loader.from_pretrained(tmp_path, return_unused_kwargs=True, hidden_act="relu", foo=1, num_labels=3)
    assert unused == {"foo": 1}
    assert (config.hidden_act, config.num_labels) == ("relu", 3)
    assert not hasattr(config, "foo")
    assert loader.from_pretrained(tmp_path, return_unused_kwargs=True)[1] == {}


def test_label_names_alone(library: Any, tmp_path: Path) -> None:
    library.BertConfig(**SIZES, num_labels=3).save_pretrained(tmp_path)
    config = library.AutoConfig.from_pretrained(tmp_path, label2id={"P": 0, "Q": 1, "R": 2})
    assert config.label2id == {"P": 0, "Q": 1, "R": 2}
    assert config.num_labels == 3
    config.save_pretrained(tmp_path)
    assert library.AutoConfig.from_pretrained(tmp_path).label2id == {"P": 0, "Q": 1, "R": 2}


def test_label_names_that_are_numbers(library: Any, tmp_path: Path) -> None:
    config = library.BertConfig(id2label={0: 10, 1: 20}, label2id={10: 0, 20: 1})
    config.save_pretrained(tmp_path)
    assert library.BertConfig.from_pretrained(tmp_path).id2label == config.id2label == {0: 10, 1: 20}
    assert library.BertConfig.from_pretrained(tmp_path).num_labels == 2


def test_numbers_of_numpy(library: Any) -> None:
    import numpy as np

    config = library.BertConfig()
    config.num_labels = int(np.int64(3))
    config.hidden_size = 24
    assert config.num_labels == 3
    if library is mt:
        assert type(mt.BertConfig(hidden_size=np.int64(24)).hidden_size) is int


def test_a_subclass_reads_the_files_of_the_class_that_it_extends(library: Any, tmp_path: Path) -> None:
    library.BertConfig(**SIZES).save_pretrained(tmp_path)
    config = subclass(library, "class fields").from_pretrained(tmp_path)
    assert (config.hidden_size, config.n_relations) == (24, 5)


def test_dtype_auto_is_the_files(library: Any, tmp_path: Path) -> None:
    library.BertConfig(**SIZES, dtype="float16").save_pretrained(tmp_path)
    config = library.BertConfig.from_pretrained(tmp_path, dtype="auto")
    assert config.dtype == (torch.float16 if library is mt else "auto")


def test_models_are_built_in_the_dtype_asked_for(library: Any) -> None:
    config = library.BertConfig(**SIZES)
    for name in ("dtype", "torch_dtype"):
        model = library.AutoModel.from_config(config, trust_remote_code=True, **{name: torch.bfloat16})
        assert model.dtype == torch.bfloat16
    if library is mt:  # theirs changes the caller's configuration
        assert config.dtype is None
    assert library.AutoModel.from_config(library.BertConfig(**SIZES)).dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32
