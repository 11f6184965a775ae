"""GenerationConfig beside the reference's: the same fields, files, strategies and errors."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import transformers

import minitransformers as mt
from minitransformers.compat.generation import OPTIONS

LIBRARIES = [mt, transformers]

MODES: list[dict[str, Any]] = [
    {},
    {"do_sample": True},
    {"num_beams": 2},
    {"num_beams": 2, "do_sample": True},
    {"prompt_lookup_num_tokens": 2},
    {"assistant_early_exit": 2},
    {"num_beams": 2, "prompt_lookup_num_tokens": 2},
    {"penalty_alpha": 0.6, "top_k": 4},
    {"num_beams": 4, "num_beam_groups": 2},
    {"force_words_ids": [[1]]},
    {"constraints": [1]},
    {"dola_layers": "low"},
]

# What a constructor, and what saving refuses.
WRONG: list[dict[str, Any]] = [
    {"early_stopping": "x"},
    {"max_new_tokens": 0},
    {"num_return_sequences": 2},
    {"num_beams": 2, "num_return_sequences": 3},
    {"cache_implementation": "nope"},
    {"compile_config": 3},
    {"watermarking_config": {"seeding_scheme": "x"}},
    {"suppress_tokens": [1], "forced_eos_token_id": 1},
    *({name: 1} for name in ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus")),
    *({name: 1} for name in ("assistant_model", "streamer", "negative_prompt_ids")),
]
WITHOUT_EFFECT: list[dict[str, Any]] = [
    *({name: 0.5} for name in ("temperature", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h")),
    {"top_k": 3},
    {"length_penalty": 2.0},
    {"early_stopping": True},
    {"output_scores": True},
    {"output_attentions": True},
    {"pad_token_id": -1},
    {"use_cache": False, "cache_implementation": "static"},
]
RIGHT: list[dict[str, Any]] = [
    {"do_sample": True, "temperature": 0.5, "top_k": 3},
    {"cache_implementation": "static", "max_cache_len": 9},
    {"cache_implementation": "quantized"},
    {"guidance_scale": 2.0},
    {"num_beams": 2, "length_penalty": 2.0},
    {"my_own": [1]},
    {"return_dict_in_generate": True, "output_logits": True},
]


def test_every_field_is_here_or_in_the_table() -> None:
    """Each attribute of an empty config there: None here, too."""
    fields = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    ours = mt.GenerationConfig()
    for name in fields:
        assert getattr(ours, name) is None, name
    missing = fields - {*mt.GenerationConfig._fields} - OPTIONS.keys()
    assert not missing
    public = {name for name in dir(transformers.GenerationConfig) if not name.startswith("_")}
    assert not {name for name in public if not hasattr(ours, name)} - {"dict_dtype_to_str"}


@pytest.mark.parametrize("settings", MODES, ids=str)
def test_modes(settings: dict[str, Any]) -> None:
    ours, theirs = (
        [config.get_generation_mode().value, config.get_generation_mode(object()).value]
        for config in (lib.GenerationConfig(**settings) for lib in LIBRARIES)
    )
    assert ours == theirs
    assert {mode.name: mode.value for mode in mt.GenerationMode} == {
        mode.name: mode.value for mode in transformers.generation.GenerationMode
    }


@pytest.mark.parametrize("settings", WRONG, ids=str)
def test_what_is_wrong_is_refused_at_once(settings: dict[str, Any]) -> None:
    for lib in LIBRARIES:
        with pytest.raises(ValueError, match=r"\S"):
            lib.GenerationConfig(**settings)


@pytest.mark.parametrize("settings", WITHOUT_EFFECT, ids=str)
def test_what_has_no_effect_is_not_saved(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Unless it was loaded so."""
    for lib in LIBRARIES:
        config = lib.GenerationConfig(**settings)
        with pytest.raises(ValueError, match=next(iter(settings))):
            config.validate(strict=True)
        with pytest.raises(ValueError, match="GenerationConfig is invalid"):
            config.save_pretrained(tmp_path)
        (tmp_path / "generation_config.json").write_text(json.dumps(settings))
        config = lib.GenerationConfig.from_pretrained(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config.save_pretrained(tmp_path)
        config.max_new_tokens = 3
        with pytest.raises(ValueError, match="GenerationConfig is invalid"):
            config.save_pretrained(tmp_path)


@pytest.mark.parametrize("settings", RIGHT, ids=str)
def test_files(tmp_path: Path, settings: dict[str, Any]) -> None:
    """The same content, read by either library."""
    contents = []
    for lib, other in (LIBRARIES, LIBRARIES[::-1]):
        config = lib.GenerationConfig(**settings)
        config.save_pretrained(tmp_path)
        contents.append(json.loads((tmp_path / "generation_config.json").read_text()))
        contents[-1].pop("transformers_version", None)
        assert all(getattr(other.GenerationConfig.from_pretrained(tmp_path), n) == v for n, v in settings.items())
        assert lib.GenerationConfig.from_pretrained(tmp_path) == config
        assert hash(lib.GenerationConfig(**settings)) == hash(config)
        config.to_json_file(tmp_path / "mine.json", keys_to_pop=[next(iter(settings))])
        assert next(iter(settings)) not in json.loads((tmp_path / "mine.json").read_text())
        text = config.to_json_string(ignore_metadata=True)
        assert json.loads(text) == settings
        assert text.endswith("}\n")
        assert {*json.loads(config.to_json_string(use_diff=False))} >= {"do_sample", "max_new_tokens", *settings}
    assert contents[0] == contents[1] == settings


def test_updates() -> None:
    for lib in LIBRARIES:
        config = lib.GenerationConfig(top_k=3, do_sample=True)
        assert config.update(defaults_only=True, top_k=9, top_p=0.4) == {"top_k": 9}
        assert (config.top_k, config.top_p) == (3, 0.4)
        assert config.update(my_own=1) == {"my_own": 1}
        assert config.update(allow_custom_entries=True, my_own=1) == {}
        assert config.my_own == 1
        config.update(watermarking_config={"bias": 3.0})
        assert isinstance(config.watermarking_config, lib.WatermarkingConfig)
        with pytest.raises(ValueError, match="num_beams"):
            config.update(num_beams=2, num_return_sequences=3)


def test_from_dicts(tmp_path: Path) -> None:
    for lib in LIBRARIES:
        kind = lib.GenerationConfig
        assert kind.from_dict({"top_k": 4}, mine=1, do_sample=True, return_unused_kwargs=True)[1] == {}
        kind(top_k=3, do_sample=True).save_pretrained(tmp_path)
        config, unused = kind.from_pretrained(tmp_path, top_k=1, mine=False, return_unused_kwargs=True)
        assert (config.top_k, config.mine, unused) == (1, False, {})
        old = kind.from_model_config({"eos_token_id": 3, "top_k": 5, "hidden_size": 3, "output_attentions": True})
        assert (old.eos_token_id, old.top_k, old.return_dict_in_generate) == (3, 5, True)
        assert not hasattr(old, "hidden_size")
        assert kind.extra_output_flags == (
            "output_attentions",
            "output_hidden_states",
            "output_scores",
            "output_logits",
        )
        compiled = kind(compile_config=lib.CompileConfig(dynamic=True))
        assert compiled.compile_config.to_dict()["dynamic"] is True
        compiled.save_pretrained(tmp_path)
        assert "compile_config" not in json.loads((tmp_path / "generation_config.json").read_text())
    ours, theirs = (inspect.signature(lib.CompileConfig).parameters for lib in LIBRARIES)
    assert {name: p.default for name, p in ours.items()} == {name: p.default for name, p in theirs.items()}
