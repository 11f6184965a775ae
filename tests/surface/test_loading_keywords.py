"""Keywords of `from_pretrained` and `save_pretrained`: of models, configurations, tokenizers, image processors and Auto
classes alike. What asks for nothing is accepted, in both libraries; what asks for more says what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt
from minitransformers.compat.keywords import LOADING, LOADING_PROCESSORS, LOADING_WEIGHTS
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.testing.comparing import assert_close

pytestmark = pytest.mark.usefixtures("annotations_are_not_checked")
LIBRARIES = pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"])
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 8}
IDS = torch.tensor([[5, 6, 7]])

KINDS = {
    "model": "BertForMaskedLM",
    "Auto model": "AutoModelForMaskedLM",
    "configuration": "BertConfig",
    "Auto configuration": "AutoConfig",
    "tokenizer": "BertTokenizer",
    "Auto tokenizer": "AutoTokenizer",
    "image processor": "ViTImageProcessor",
    "Auto image processor": "AutoImageProcessor",
    "generation configuration": "GenerationConfig",
}

# Values that ask for nothing, or for what is done anyway; accepted by every kind.
HARMLESS: dict[str, list[Any]] = {
    "cache_dir": [None],
    "force_download": [False],
    "local_files_only": [False, True],
    "token": [None, False],
    "revision": ["main"],
    "subfolder": [""],
    "proxies": [None, {}],
    "trust_remote_code": [None, False, True],
    "from_tf": [False],
    "from_flax": [False],
    "mirror": [None],
    "_from_auto": [True],
    "_from_pipeline": [None],
    "_commit_hash": [None],
    "gguf_file": [None],
    "use_safetensors": [None, True],
    "weights_only": [True],
    "low_cpu_mem_usage": [True, False, None],
    "device_map": [None, "cpu", "auto", {"": "cpu"}],
    "max_memory": [None],
    "offload_folder": [None],
    "offload_state_dict": [None, False],
    "offload_buffers": [False],
    "quantization_config": [None],
    "variant": [None],
    "torch_dtype": [None, "auto", torch.float32, "float32"],
    "dtype": [None, "auto", torch.float32],
    "attn_implementation": [None, "eager", "sdpa"],
    "ignore_mismatched_sizes": [False, True],
    "output_loading_info": [False],
    "state_dict": [None],
    "key_mapping": [None],
    "generation_config": [None],
    "adapter_kwargs": [None, {}],
    "adapter_name": ["default"],
    "tp_plan": [None],
    "tp_size": [None],
    "device_mesh": [None],
    "distributed_config": [None],
    "use_kernels": [False],
    "kernel_config": [None],
    "disable_mmap": [None, False],
    "fusion_config": [None],
    "experts_implementation": [None],
}
# Accepted here everywhere, and in the reference where it still has them: names of earlier versions.
FORMER: dict[str, list[Any]] = {
    "resume_download": [None, True, False],
    "use_auth_token": [None, False],
    "user_agent": [None],
    "code_revision": [None],
    "use_fast": [True, False],
    "from_slow": [False],
    "load_in_8bit": [False],
    "load_in_4bit": [False],
    "finetuning_task": ["sst2"],
    "_fast_init": [True],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its tokenizer and image processor."""
    directory = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    mt.BertForMaskedLM(mt.BertConfig(**SIZES)).save_pretrained(directory)
    mt.GenerationConfig(max_new_tokens=3).save_pretrained(directory)
    mt.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(directory)
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n")
    return directory


def content(loaded: Any) -> Any:
    """What was loaded, as something to compare; where it came from does not count."""
    if isinstance(loaded, torch.nn.Module):
        return {name: weight.tolist() for name, weight in loaded.state_dict().items()}
    if isinstance(loaded, transformers.GenerationConfig):  # which keeps every keyword as a field of its own
        return loaded.max_new_tokens
    if hasattr(loaded, "get_vocab"):
        return loaded("a b c"), loaded.get_vocab()
    return {name: value for name, value in loaded.to_dict().items() if name not in ("dtype", "transformers_version")}


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS)
def test_keywords_that_ask_for_nothing(library: Any, kind: str, directory: Path) -> None:
    loader = getattr(library, KINDS[kind])
    expected = content(loader.from_pretrained(directory))
    is_quick = "model" not in kind or (library, kind) == (mt, "Auto model")
    for name, values in HARMLESS.items():
        if kind == "generation configuration" and name not in LOADING:
            continue
        for value in values if is_quick else values[-1:]:
            assert content(loader.from_pretrained(directory, **{name: value})) == expected, (name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_keywords_of_earlier_versions(kind: str, directory: Path) -> None:
    loader = getattr(mt, KINDS[kind])
    expected = content(loader.from_pretrained(directory))
    for name, values in FORMER.items():
        for value in values:
            assert content(loader.from_pretrained(directory, **{name: value})) == expected, (name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_keywords_that_ask_for_more_say_what_to_do(kind: str, directory: Path) -> None:
    loader = getattr(mt, KINDS[kind])
    table = LOADING_WEIGHTS if "model" in kind else LOADING if "configuration" in kind else LOADING_PROCESSORS
    for name, accepted in table.items():
        if not accepted.otherwise or (kind == "Auto tokenizer" and name == "tokenizer_type"):
            continue
        with pytest.raises(InputError) as caught:
            loader.from_pretrained(directory, **{name: "much"})
        assert f"{name}='much' is not covered: {accepted.otherwise}" in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "configuration" not in kind])
def test_a_misspelt_keyword_is_refused(kind: str, directory: Path) -> None:
    with pytest.raises(UnknownArgumentError, match="low_cpu_mem_usages"):
        getattr(mt, KINDS[kind]).from_pretrained(directory, low_cpu_mem_usages=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_by_its_former_name(kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minitransformers.files.hub import Source

    seen: list[Any] = []
    check = Source.__post_init__
    monkeypatch.setattr(Source, "__post_init__", lambda self: seen.append(self.token) or check(self))
    getattr(mt, KINDS[kind]).from_pretrained(directory, use_auth_token="secret")
    assert seen
    assert set(seen) == {"secret"}


# ---- models ----------------------------------------------------------------------------------------------------------


@LIBRARIES
def test_weights_from_memory(library: Any, directory: Path) -> None:
    expected = library.BertForMaskedLM.from_pretrained(directory)
    config, weights = expected.config, expected.state_dict()
    # Auto classes of the reference ask for a name.
    for loader in (library.BertForMaskedLM, *([mt.AutoModelForMaskedLM] if library is mt else [])):
        model = loader.from_pretrained(None, config=config, state_dict=weights)
        assert not model.training
        assert_close(model(IDS).logits, expected(IDS).logits)
    with pytest.raises(ValueError, match="state_dict"):
        library.BertForMaskedLM.from_pretrained(directory, state_dict=weights)


@LIBRARIES
def test_weights_under_other_names(library: Any, directory: Path, tmp_path: Path) -> None:
    expected = library.BertForMaskedLM.from_pretrained(directory)
    weights = {
        name.replace("bert.encoder", "stack").replace("query", "q"): w for name, w in expected.state_dict().items()
    }
    mapping = {r"^stack\.": "bert.encoder.", r"\.q\.": ".query."}
    model, info = library.BertForMaskedLM.from_pretrained(
        None, config=expected.config, state_dict=weights, key_mapping=mapping, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_close(model(IDS).logits, expected(IDS).logits)
    if library is mt:
        from safetensors.torch import save_file

        expected.config.save_pretrained(tmp_path)
        save_file({name: w.clone() for name, w in weights.items()}, tmp_path / "model.safetensors")
        assert_close(
            mt.AutoModelForMaskedLM.from_pretrained(tmp_path, key_mapping=mapping)(IDS).logits, model(IDS).logits
        )
        with pytest.raises(InputError, match="key_mapping gives two tensors the name 'same'"):
            mt.BertForMaskedLM.from_pretrained(tmp_path, key_mapping={"^.*$": "same"})
        with pytest.raises(InputError, match=r"key_mapping has '\('"):
            mt.BertForMaskedLM.from_pretrained(tmp_path, key_mapping={"(": "x"})


@LIBRARIES
def test_generation_settings_given_when_loading(library: Any, tmp_path: Path) -> None:
    config = library.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=8)
    library.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    settings = library.GenerationConfig(max_new_tokens=7, do_sample=True)
    for loader in (library.GPT2LMHeadModel, library.AutoModelForCausalLM):
        model = loader.from_pretrained(tmp_path, generation_config=settings)
        assert (model.generation_config.max_new_tokens, model.generation_config.do_sample) == (7, True)
        assert model.generation_config is not settings
    with pytest.raises((InputError, AttributeError)):
        library.GPT2LMHeadModel.from_pretrained(tmp_path, generation_config="settings")


@LIBRARIES
def test_fields_of_the_file_are_overridden(library: Any, tmp_path: Path) -> None:
    """Declared ones, those of a user's class, and those that only the file has."""

    class OwnConfig(library.PretrainedConfig):  # type: ignore[misc]
        model_type = "own-width"

        def __init__(self, width: int = 4, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.width = width

    class OwnModel(library.PreTrainedModel):  # type: ignore[misc]
        config_class = OwnConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.linear = torch.nn.Linear(4, 4)
            self.post_init()

    config = OwnConfig()
    config.further = "a"
    OwnModel(config).save_pretrained(tmp_path)
    loaded = OwnModel.from_pretrained(tmp_path, width=5, further="b", output_attentions=True).config
    assert (loaded.width, loaded.further, loaded.output_attentions) == (5, "b", True)
    with pytest.raises(TypeError, match="farther"):
        OwnModel.from_pretrained(tmp_path, farther="b")


# ---- saving ----------------------------------------------------------------------------------------------------------


@LIBRARIES
def test_keywords_of_saving(library: Any, directory: Path, tmp_path: Path) -> None:
    model = library.BertForMaskedLM.from_pretrained(directory)
    doubled = {name: 2 * weight for name, weight in model.state_dict().items()}
    for number, keywords in enumerate(
        [
            {"is_main_process": True, "save_function": torch.save, "safe_serialization": True},
            {"push_to_hub": False, "max_shard_size": "5GB", "variant": None, "token": None},
            {"save_peft_format": True, "save_original_format": True, "distributed_checkpoint": False},
            {"state_dict": doubled},
        ]
    ):
        model.save_pretrained(tmp_path / str(number), **keywords)
        loaded = library.BertForMaskedLM.from_pretrained(tmp_path / str(number))
        factor = 2 if "state_dict" in keywords else 1
        assert_close(loaded.cls.predictions.bias, factor * model.cls.predictions.bias)
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none" / "model.safetensors").exists()


# ---- image processors ------------------------------------------------------------------------------------------------


@LIBRARIES
def test_settings_of_an_image_processor(library: Any, directory: Path, tmp_path: Path) -> None:
    processor = library.ViTImageProcessor.from_pretrained(directory)
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert processor(image, return_tensors="pt").pixel_values.shape == (1, 3, 8, 8)
    processor.size = {"height": 4, "width": 4}
    processor.image_mean = [0.0, 0.0, 0.0]
    processor.image_std = [1.0, 1.0, 1.0]
    changed = processor(image, return_tensors="pt").pixel_values
    assert changed.shape == (1, 3, 4, 4)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert dict(processor.to_dict()["size"]) == {"height": 4, "width": 4}

    processor.to_json_file(tmp_path / "settings.json")
    processor.save_pretrained(tmp_path)
    unused: dict[str, Any]
    read: Callable[..., Any] = library.ViTImageProcessor.from_dict
    again, unused = read(processor.to_dict(), do_rescale=False, other=1, return_unused_kwargs=True)
    assert (again.do_rescale, unused["other"]) == (False, 1)
    assert library is transformers or unused == {"other": 1}
    for same in (
        library.ViTImageProcessor.from_json_file(tmp_path / "settings.json"),
        library.ViTImageProcessor.from_pretrained(tmp_path),
        library.AutoImageProcessor.from_pretrained(tmp_path),
        read(processor.to_dict()),
    ):
        assert_close(same(image, return_tensors="pt").pixel_values, changed)
    settings, rest = library.ViTImageProcessor.get_image_processor_dict(tmp_path, do_resize=False)
    assert (settings["image_processor_type"], rest) == ("ViTImageProcessor", {"do_resize": False})


def test_an_assigned_setting_is_checked(directory: Path) -> None:
    processor = mt.ViTImageProcessor.from_pretrained(directory)
    with pytest.raises(InputError, match="image_std=0 must not be 0"):
        processor.image_std = 0
    assert processor.image_std == [0.5, 0.5, 0.5]


@LIBRARIES
def test_an_image_processor_of_ones_own(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnImageConfig(library.PretrainedConfig):  # type: ignore[misc]
        model_type = "own-images"

    class OwnImageProcessor(library.ViTImageProcessor):  # type: ignore[misc]
        pass

    if library is mt:
        monkeypatch.setattr(mt.AutoImageProcessor, "_registered", {})
    library.AutoConfig.register("own-images", OwnImageConfig, exist_ok=True)
    library.AutoImageProcessor.register(OwnImageConfig, OwnImageProcessor, exist_ok=True)
    OwnImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    OwnImageConfig().save_pretrained(tmp_path)
    assert type(library.AutoImageProcessor.from_pretrained(tmp_path)) is OwnImageProcessor
    if library is mt:
        with pytest.raises(InputError, match="'own-images' is registered already: pass exist_ok=True"):
            library.AutoImageProcessor.register(OwnImageConfig, OwnImageProcessor)
