"""What goes wrong in libraries of this kind: each pain has a test that shows that it does not happen here.

`PAINS` says which. Tests of pains that have no better place are at the end of this file.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.data import TokenCorpus, TokenShard, write_shard
from minitransformers.data.corpus import write_manifest
from minitransformers.errors import CheckpointError, CorpusError, InputError

PAINS: dict[str, list[str]] = {
    "left-padded batches are mispredicted": [
        "laws/test_padding_law.py::test_left_padding_by_any_amount_changes_nothing",
        "models/test_model_surface.py::test_left_padding_without_positions_warns",
    ],
    "rows that are masked as a whole give NaN, or the mean of all values": [
        "laws/test_kernels_law.py::test_a_row_of_nothing_but_padding_is_finite_everywhere",
        "nn/test_nn_attention.py::test_a_query_that_may_attend_to_nothing_gets_zeros",
    ],
    "is_causal is aligned to the upper left": [
        "laws/test_kernels_law.py::test_causality_of_both_kernels_is_aligned_to_the_lower_right",
        "nn/test_nn_attention.py::test_one_new_query_sees_all_cached_keys",
    ],
    "two additive masks overflow, or a finite one loses against large scores": [
        "laws/test_kernels_law.py::test_scores_beyond_any_additive_mask_stay_forbidden",
        "laws/test_kernels_law.py::test_an_empty_row_is_zero_and_finite_in_half_precision",
    ],
    "cached and uncached differ": [
        "laws/test_cache_law.py::test_any_way_of_cutting_a_text_gives_the_same",
        "generation/test_laws.py::test_cached_is_uncached",
    ],
    "beam search with a cache that is not reordered": [
        "generation/test_laws.py::test_laws_see_a_cache_that_is_not_reordered",
        "laws/test_cache_law.py::test_a_reordered_cache_goes_on_as_the_rows_that_it_took",
    ],
    "beam search stops early": ["generation/test_laws.py::test_a_wide_beam_is_exhaustive_search"],
    "top-p of the wrong axis, or of less mass": [
        "generation/test_laws.py::test_top_p_keeps_the_smallest_set_with_that_mass"
    ],
    "stop strings miss overlaps": ["generation/test_stopping.py::test_overlaps_are_not_missed"],
    "temperature 0 crashes, or is not greedy": ["test_pitfalls.py::test_temperature_0_is_refused_in_words"],
    "tied weights: an error on saving, a head that is missing, silently untied": [
        "laws/test_saving_law.py::test_tied_weights_are_in_the_file_once",
        "laws/test_tying_law.py::test_tying_survives",
        "checkpoints/test_loading.py::test_tied_weight_under_either_name",
    ],
    "twice the checkpoint's memory while loading": ["checkpoints/test_memory.py::test_no_second_copy"],
    "imports that take seconds": ["test_import.py::test_import_loads_nothing_that_most_users_do_not_need"],
    "next sentences are never learnt": [
        "training/test_next_sentences_are_learnt.py::test_pairs_of_documents_with_different_words_are_classified",
        "data/test_data_pairs.py::test_laws_of_next_sentence_pairs",
    ],
    "labels are shifted twice, or not at all": ["models/test_training.py::test_labels_are_shifted_once"],
    "the end is never learnt, because it is the padding token": [
        "data/test_data_language_modeling.py::test_the_end_of_text_is_learnt_if_it_is_also_the_padding_token"
    ],
    "attention weights that the fused kernel does not have": [
        "test_pitfalls.py::test_attention_weights_come_from_the_eager_kernel_without_a_warning"
    ],
    "accumulated gradients are not the large batch's": [
        "training/test_training_accumulation.py::test_micro_batches_equal_the_batch",
        "training/test_accumulation_of_every_class.py::test_micro_batches_equal_the_batch",
    ],
    "prefixes of torch.compile in files": ["checkpoints/test_rules.py::test_wrappers_prefixes_are_no_part_of_a_name"],
    "warnings that nobody can act on": ["checkpoints/test_loading.py::test_unused_weights_are_not_warned_about"],
    "the name of a folder decides how it is read": ["test_pitfalls.py::test_a_folder_may_have_any_name"],
    "exact GELU in a tanh model": [
        "parity/test_activations.py::test_the_two_gelus_are_not_the_same",
        "nn/test_nn_layers.py::test_the_two_gelus_differ_by_up_to_half_a_thousandth",
    ],
    "T5 overflows in float16": ["parity/test_t5_in_float16.py::test_what_overflows_float16_is_kept"],
    "resuming repeats or skips data": [
        "data/test_data_samplers.py::test_a_resumed_run_is_one_that_never_stopped",
        "training/test_training_resume.py::test_nothing_is_read_twice",
    ],
    "masked tokens: not reproducible, other shares, special tokens": [
        "data/test_data_masking.py::test_laws_of_masking",
        "data/test_data_masking.py::test_shares",
        "data/test_data_language_modeling.py::test_a_resumed_run_has_the_same_masks",
    ],
    "dropout of outputs in place of probabilities": [
        "models/test_training.py::test_attention_dropout_drops_probabilities"
    ],
    "a helper of tests that asserts nothing": ["laws/test_laws_can_fail.py::test_a_mistake_is_caught"],
    "names of the reference match nothing": [
        "parity/test_names.py::test_names_inside_are_the_references",
        "parity/test_names.py::test_hooks_see_the_same",
    ],
    "an adapter file that loads and changes nothing": [
        "parity/test_peft.py::test_merging_puts_the_adapter_into_the_weights"
    ],
    "dropout that cannot be set to 0": ["models/test_training.py::test_each_dropout_acts_in_training_alone"],
    "initialization overwrites a user's or loaded weights": [
        "models/test_initialization.py::test_a_users_own_modules_get_what_they_get_in_the_reference",
        "models/test_initialization.py::test_a_second_initialization_leaves_weights_alone",
    ],
    "outputs that are no dictionaries": ["test_outputs.py::test_an_output_is_a_dictionary"],
    "overridden hooks are not called": [
        "generation/test_prepare_inputs.py::test_an_override_is_called_at_each_step",
        "training/test_accumulation_of_every_class.py::test_the_loss_of_a_subclass_is_kept",
    ],
    "the length of a stream in a progress bar": [
        "training/test_trainer_overrides.py::test_a_stream_is_evaluated_under_progress_bars"
    ],
    "gradients of pure rounding are compared": [
        "laws/test_comparing.py::test_gradients_that_are_rounding_noise_are_equal"
    ],
    "loading imports a compiler": ["models/test_initialization.py::test_loading_imports_no_compiler"],
    "weights that are NaN or infinite load silently": [
        "test_pitfalls.py::test_weights_that_are_not_finite_are_reported_or_refused"
    ],
    "float64 overflows float32 silently": ["test_pitfalls.py::test_weights_that_overflow_the_type_are_refused"],
    "ids outside of the vocabulary in a corpus": ["test_pitfalls.py::test_ids_outside_of_a_vocabulary_are_refused"],
    "generation with dropout": ["test_pitfalls.py::test_generating_in_training_mode_warns"],
    "a batch without rows": ["test_pitfalls.py::test_a_batch_without_rows_is_refused_or_empty"],
}


@pytest.mark.parametrize("pain", PAINS)
def test_every_pain_has_a_test(pain: str) -> None:
    assert PAINS[pain]
    for name in PAINS[pain]:
        file, _, function = name.partition("::")
        assert f"def {function}(" in (Path(__file__).parent / file).read_text("utf-8"), name


# ---- tests of pains --------------------------------------------------------------------------------------------------


def tiny(**fields: Any) -> mt.GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 23, "n_embd": 12, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 0}
    return mt.GPT2LMHeadModel(mt.GPT2Config(**sizes, eos_token_id=0, **fields)).eval()


def ids(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


def test_temperature_0_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"temperature=0(\.0)? .*do_sample=False"):
        tiny().generate(ids([1, 2]), do_sample=True, temperature=0.0, max_new_tokens=2)


def test_attention_weights_come_from_the_eager_kernel_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    model = tiny()
    model.set_attn_implementation("sdpa")
    (weights,) = model(ids([1, 2, 3]), output_attentions=True).attentions
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2, 3))
    assert not recwarn.list


@pytest.mark.parametrize("name", ["bert", "llama-70b-GPTQ", "model.safetensors", "tëst 1", "-", "config.json"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path / name)
    again = mt.AutoModelForCausalLM.from_pretrained(tmp_path / name)
    assert type(again) is mt.GPT2LMHeadModel
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_reported_or_refused(
    value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    mt.GPT2LMHeadModel.from_pretrained(tmp_path, refuse_non_finite=True)
    assert not caplog.records
    model.transformer.h[0].ln_1.bias.data[3] = value
    model.save_pretrained(tmp_path)
    caplog.set_level(logging.WARNING)
    mt.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert "1 weights are NaN or infinite, such as 'transformer.h.0.ln_1.bias'" in caplog.text
    with pytest.raises(CheckpointError, match=r"ln_1.bias': the training that made them has diverged"):
        mt.GPT2LMHeadModel.from_pretrained(tmp_path, refuse_non_finite=True)


def test_weights_that_overflow_the_type_are_refused(tmp_path: Path) -> None:
    model = tiny().double()
    model.transformer.wpe.weight.data[2, 3] = 1e300
    model.save_pretrained(tmp_path)
    assert mt.GPT2LMHeadModel.from_pretrained(tmp_path).transformer.wpe.weight[2, 3] == 1e300
    with pytest.raises(CheckpointError, match=r"wpe.weight' .* up to 1e\+300, which overflow torch.float32"):
        mt.GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float32)


def test_ids_outside_of_a_vocabulary_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tokens", [[1, 2, 40], [3]], vocab_size=50)
    checksum = TokenShard(tmp_path / "a.tokens").header.sha256.hex()
    entry = {"file": "a.tokens", "tokens": 4, "documents": 2, "sha256": checksum, "text_sha256": "x"}
    write_manifest(tmp_path / "corpus.json", {"vocab_size": 23}, [entry])
    corpus = TokenCorpus(tmp_path, verify=False)
    assert np.array_equal(corpus.documents[1], [3])
    for read in (lambda: corpus.documents[0], lambda: corpus.blocks(4)[0]):
        with pytest.raises(CorpusError, match="has the id 40, and a vocabulary of 23 tokens"):
            read()


def test_generating_in_training_mode_warns() -> None:
    model = tiny().train()
    with pytest.warns(UserWarning, match=r"dropout changes what it generates: call model.eval\(\)"):
        model.generate(ids([1, 2]), max_new_tokens=2)


def test_generating_without_dropout_does_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    tiny(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0).train().generate(ids([1, 2]), max_new_tokens=2)
    tiny().generate(ids([1, 2]), max_new_tokens=2)
    assert not recwarn.list


def test_a_batch_without_rows_is_refused_or_empty() -> None:
    nothing = torch.empty(0, 3, dtype=torch.long)
    assert tiny()(nothing).logits.shape == (0, 3, 23)
    with pytest.raises(InputError, match="there is nothing to continue"):
        tiny().generate(nothing, max_new_tokens=2)
