"""GenerationConfig: its values, its files, and which of several configs takes precedence."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import gpt2

import minitransformers as mt
from minitransformers.errors import ConfigError, InputError, MissingFileError, UnknownArgumentError
from minitransformers.generation import GenerationConfig

PROMPT = torch.tensor([[4, 5, 6]])


def a_model() -> mt.GPT2LMHeadModel:
    return copy.deepcopy(gpt2())


def test_values_are_checked_when_set() -> None:
    config = GenerationConfig(max_new_tokens=5, eos_token_id=torch.tensor([3, 4]), suppress_tokens=(1, 2))
    assert (config.max_new_tokens, config.eos_token_id, config.suppress_tokens) == (5, [3, 4], [1, 2])
    assert config.temperature is None
    with pytest.raises(ConfigError, match="max_new_tokens='5' must be a whole number"):
        config.max_new_tokens = "5"  # type: ignore[assignment]
    with pytest.raises(UnknownArgumentError, match=r"no field 'max_new_token'\. Did you mean 'max_new_tokens'"):
        config.max_new_token = 5
    with pytest.raises(UnknownArgumentError, match=r"no field 'temprature'\. Did you mean 'temperature'"):
        GenerationConfig(temprature=0.5)
    with pytest.raises(AttributeError, match=r"no field 'temprature'\. Did you mean 'temperature'"):
        _ = config.temprature
    with pytest.raises(ConfigError, match="num_beams=True"):
        GenerationConfig(num_beams=True)


def test_copies_and_pickles() -> None:
    config = GenerationConfig.from_dict({"top_k": 3, "of_somebody_else": [1]})
    for other in (copy.deepcopy(config), copy.copy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
        assert other.of_somebody_else == [1]
    assert config != GenerationConfig(top_k=3)


def test_update_returns_names_that_are_no_field() -> None:
    config = GenerationConfig()
    assert config.update(top_p=0.5, attention_mask=1) == {"attention_mask": 1}
    assert config.top_p == 0.5


def test_unknown_keys_of_a_file_are_kept(tmp_path: Path) -> None:
    content = {"max_length": 50, "do_sample": True, "transformers_version": "4.30.0", "alignment_heads": [[1, 2]]}
    (tmp_path / "generation_config.json").write_text(json.dumps(content))
    config = GenerationConfig.from_pretrained(tmp_path, top_k=7)
    assert (config.max_length, config.do_sample, config.top_k, config.alignment_heads) == (50, True, 7, [[1, 2]])
    config.alignment_heads = [[3, 4]]
    config.save_pretrained(tmp_path / "new", "mine.json")
    saved = json.loads((tmp_path / "new" / "mine.json").read_text())
    assert saved == {**content, "alignment_heads": [[3, 4]], "top_k": 7}
    assert GenerationConfig.from_pretrained(tmp_path / "new", "mine.json") == config


def test_biases_survive_a_file(tmp_path: Path) -> None:
    GenerationConfig(sequence_bias={(1, 2): 0.5, (3,): -1.0}).save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).sequence_bias == [[[1, 2], 0.5], [[3], -1.0]]


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"generation_config\.json"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"num_beams": "four"}')
    with pytest.raises(ConfigError, match="num_beams='four'"):
        GenerationConfig.from_pretrained(tmp_path)


def test_a_model_saves_and_loads_its_config(tmp_path: Path) -> None:
    model = a_model()
    assert model.generation_config.bos_token_id == 0
    model.generation_config.max_new_tokens = 4
    model.save_pretrained(tmp_path)
    loaded = mt.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert loaded.generation_config == model.generation_config
    assert loaded.generate(PROMPT).shape == (1, 7)
    assert not (tmp_path / "backbone").exists()
    model.transformer.save_pretrained(tmp_path / "backbone")
    assert not (tmp_path / "backbone" / "generation_config.json").exists()


def test_settings_in_an_old_config_json_are_read_without_a_generation_config(tmp_path: Path) -> None:
    a_model().save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "max_length": 6, "no_repeat_ngram_size": 1}))
    with_both = mt.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert with_both.generation_config.max_length is None
    (tmp_path / "generation_config.json").unlink()
    old = mt.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert (old.generation_config.max_length, old.generation_config.no_repeat_ngram_size) == (6, 1)
    result = old.generate(PROMPT)[0].tolist()
    assert len(result) == len(set(result)) == 6


def test_precedence() -> None:
    """Arguments, then the config of the call, then the model's, then the defaults; an argument of None counts."""
    model = a_model()
    assert model.generate(PROMPT).shape[1] == 3 + 20
    model.generation_config.max_new_tokens = 2
    assert model.generate(PROMPT).shape[1] == 3 + 2
    assert model.generate(PROMPT, GenerationConfig(max_new_tokens=4)).shape[1] == 3 + 4
    assert model.generate(PROMPT, GenerationConfig(max_new_tokens=4), max_new_tokens=6).shape[1] == 3 + 6
    assert model.generate(PROMPT, GenerationConfig(do_sample=True)).shape[1] == 3 + 2
    model.generation_config.eos_token_id = int(model.generate(PROMPT)[0, 3])
    assert model.generate(PROMPT).shape[1] == 3 + 1
    assert model.generate(PROMPT, eos_token_id=None).shape[1] == 3 + 2


def test_configs_that_are_passed_do_not_change() -> None:
    model, config = a_model(), GenerationConfig(max_new_tokens=3, do_sample=True)
    before = (copy.deepcopy(config), copy.deepcopy(model.generation_config))
    model.generate(PROMPT, config, top_p=0.5, pad_token_id=1)
    assert (config, model.generation_config) == before


def test_options_that_are_not_supported_are_refused_if_they_change_the_result() -> None:
    harmless: dict[str, Any] = {
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "dola_layers": None,
        "cache_config": {},
    }
    gpt2().generate(PROMPT, GenerationConfig.from_dict({**harmless, "max_new_tokens": 1}))
    with pytest.raises(InputError, match=r"token_healing=True is not covered: leave out the last token"):
        gpt2().generate(PROMPT, GenerationConfig.from_dict({"token_healing": True}))


def test_fields_of_a_users_own(tmp_path: Path) -> None:
    config = GenerationConfig(top_k=3, my_setting=[1], guidance_scale=1.0)
    config.another = "x"
    config.to_json_file(tmp_path / "config.json")
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "another": "x",
        "guidance_scale": 1.0,
        "my_setting": [1],
        "top_k": 3,
    }
    assert GenerationConfig.from_pretrained(tmp_path, "config.json", my_setting=2).my_setting == 2
    assert config.cache_implementation is None


def test_an_invalid_config_is_not_saved(tmp_path: Path) -> None:
    config = GenerationConfig(num_beams=3, num_return_sequences=3)
    config.num_beams = 2
    with pytest.raises(ConfigError, match="num_return_sequences=3 must not be more than num_beams=2"):
        config.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
