"""What one library saves the other loads: the same weights under the same names, nothing missing, nothing left over.

In all forms: tied and untied, one file and shards, every dtype, and files of the 4.x years with the names of that time.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import Case, Pair, rounding_nothing
from comparing import assert_same, flat
from families import CASES, CLASSES, FAMILIES, family_of
from fewer import fewer
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitransformers.errors import CheckpointError

BY_NAME = {case.name: case for case in CLASSES}

# Reading and writing costs more than computing, and the numbers matter less: a fifth of the profile's examples.
few_examples = fewer(5)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The batch is padded on the left",
    "ignore:With inputs_embeds padding cannot be seen",
    "ignore:position_ids start again",
)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def draw_pair(data: st.DataObject, case: Case) -> Pair:
    example = data.draw(case.examples)
    example.config.pop("reorder_and_upcast_attn", None)  # which the reference cannot run in float64
    return Pair(case, example)


def max_shard_size(data: st.DataObject) -> int | str:
    return data.draw(st.sampled_from(["50GB", "2KB", 700]))


def load_ours(pair: Pair, path: Path) -> Any:
    """Our model from a directory that holds exactly its weights."""
    model, report = pair.case.ours.from_pretrained(path, output_loading_info=True, **pair.example.constructor)
    assert not any(report.values()), report
    return model


def load_reference(pair: Pair, path: Path) -> Any:
    """The reference's."""
    options = {"output_loading_info": True, "attn_implementation": "eager", **pair.example.constructor}
    model, report = pair.case.reference.from_pretrained(path, **options)
    assert not any(report.values()), report
    return model


@torch.no_grad()
def assert_same_outputs(pair: Pair, ours: Any, reference: Any) -> None:
    per_token = pair.case.per_token - ({"logits"} if "logits_to_keep" in pair.our_arguments else set())
    not_compared = {"loss", *(["past_key_values"] if pair.cache_that_keeps_all() is not None else [])}
    with pair.exactly():
        theirs = {k: v for k, v in reference(**pair.reference_arguments).items() if k not in not_compared}
    mine = {k: v for k, v in ours(**pair.our_arguments).items() if k not in not_compared}
    assert_same(flat(mine, pair.example.real, per_token), flat(theirs, pair.example.real, per_token))


def assert_same_weights(state: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 0.0) -> None:
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, other[name], rtol=tolerance, atol=tolerance)


# ---- files of 5.x ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=repr)
@few_examples
@given(data=st.data())
def test_the_reference_loads_what_we_save(case: Case, data: st.DataObject) -> None:
    pair = draw_pair(data, case)
    with directory() as path:
        pair.ours.save_pretrained(path, max_shard_size=max_shard_size(data))
        loaded = load_reference(pair, path)
    assert_same_weights(pair.ours.hf_state_dict(), loaded.state_dict())
    assert_same_outputs(pair, pair.ours, loaded)


@pytest.mark.parametrize("case", CASES, ids=repr)
@few_examples
@given(data=st.data())
def test_we_load_what_the_reference_saves(case: Case, data: st.DataObject) -> None:
    pair = draw_pair(data, case)
    with directory() as path:
        pair.reference.save_pretrained(path, max_shard_size=max_shard_size(data))
        loaded = load_ours(pair, path)
        assert_same_weights(pair.ours.state_dict(), loaded.state_dict())
        assert_same_outputs(pair, loaded, pair.reference)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "OpenAIGPTDoubleHeadsModel"])  # tied: either name
def test_files_have_the_names_that_the_references_have(name: str) -> None:
    """Also where its modules have others today, so that versions of former years can load what we save."""
    case = BY_NAME[name]
    reference = case.reference(case.reference.config_class(**smallest(name)))
    with directory() as path:
        reference.save_pretrained(path / "theirs")
        case.ours.from_pretrained(path / "theirs").save_pretrained(path / "ours")
        ours, theirs = (load_file(path / which / "model.safetensors") for which in ("ours", "theirs"))
    assert_same_weights(ours, theirs)


# What is mapped, and written over, does not depend on the head: a backbone and a tied head of each family.
OF_EACH_FAMILY = [
    case
    for family in FAMILIES
    for case in (family.classes[0], *[head for head in family.classes if "LM" in head.name][:1])
    if case in CASES
]


@pytest.mark.parametrize("case", OF_EACH_FAMILY, ids=repr)
@few_examples
@given(data=st.data())
def test_save_into_the_directory_that_is_mapped_and_go_on(case: Case, data: st.DataObject) -> None:
    """Load, train, save over the files that the weights are mapped from, train on: as if nothing had been saved."""
    pair = draw_pair(data, case)
    with directory() as path:
        pair.ours.save_pretrained(path, max_shard_size=max_shard_size(data))
        model, unsaved = load_ours(pair, path), pair.ours
        for _ in range(2):
            model.save_pretrained(path, max_shard_size=max_shard_size(data))
            for each in (model, unsaved):
                train_a_step(each, pair)
        model.save_pretrained(path, max_shard_size=max_shard_size(data))
        assert_same_weights(load_ours(pair, path).state_dict(), model.state_dict())
        assert_same_weights(load_reference(pair, path).state_dict(), model.hf_state_dict())
        # Where tensors lie in memory decides in which order a kernel adds them up.
        assert_same_weights(model.state_dict(), unsaved.state_dict(), tolerance=1e-12)


def train_a_step(model: Any, pair: Pair) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    outputs = model(**pair.our_arguments)
    sum(value.square().mean() for value in outputs.values() if isinstance(value, Tensor)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # steps that explode multiply what is rounded
    optimizer.step()
    optimizer.zero_grad()


# ---- files of 4.x ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=repr)
@few_examples
@given(data=st.data())
def test_we_load_files_of_former_years(case: Case, data: st.DataObject) -> None:
    """Former names, buffers among the weights, tied weights twice or once, the backbone with and without its prefix."""
    pair = draw_pair(data, case)
    weights = {name: tensor.clone() for name, tensor in pair.reference.state_dict().items()}
    changes = [add_buffers, gamma_and_beta, output_layer_stored_twice, as_in_the_backbone]
    for change in data.draw(st.lists(st.sampled_from(changes), unique=True, min_size=1)):
        weights = change(weights, pair)
    with directory() as path:
        write_config_of_4x(path, pair)
        data.draw(st.sampled_from([write_pickle, write_old_pickle, write_pickles, write_safetensors]))(weights, path)
        loaded = load_ours(pair, path)
        assert_same_weights(loaded.state_dict(), pair.ours.state_dict())
        assert_same_outputs(pair, loaded, pair.reference)


def add_buffers(weights: dict[str, Tensor], pair: Pair) -> dict[str, Tensor]:
    prefix = f"{pair.reference.base_model_prefix}."
    prefix = prefix if any(name.startswith(prefix) for name in weights) else ""
    return {**weights, **family_of(pair.case.name).former_buffers(pair.reference.config, prefix)}


def gamma_and_beta(weights: dict[str, Tensor], pair: Pair) -> dict[str, Tensor]:
    def former(name: str) -> str:
        return re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", name))

    return {former(name): tensor for name, tensor in weights.items()}


def output_layer_stored_twice(weights: dict[str, Tensor], pair: Pair) -> dict[str, Tensor]:
    """…or once: what is tied may stand under either name, or both."""
    if not getattr(pair.reference.config, "tie_word_embeddings", False):
        return weights
    tied = family_of(pair.case.name).tied
    left_out = tied[: pair.example.seed % (len(tied) + 1)]
    return {name: tensor for name, tensor in weights.items() if name not in left_out}


def as_in_the_backbone(weights: dict[str, Tensor], pair: Pair) -> dict[str, Tensor]:
    """Files of a bare backbone may have the prefix of a model with a head, and the other way round."""
    prefix = f"{pair.reference.base_model_prefix}."
    if any(name.startswith(prefix) for name in weights):
        return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def write_config_of_4x(path: Path, pair: Pair) -> None:
    """The keys of that time beside today's."""
    content = {
        **pair.reference.config.to_dict(),
        "torch_dtype": "float64",
        "transformers_version": "4.6.0",
        "gradient_checkpointing": False,
        "output_past": True,
        "task_specific_params": {"text-generation": {"do_sample": True}},
    }
    del content["dtype"]
    content |= family_of(pair.case.name).former_fields(pair.reference.config)
    (path / "config.json").write_text(json.dumps(content), encoding="utf-8")


def write_pickle(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path / "pytorch_model.bin")


def write_old_pickle(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def write_pickles(weights: dict[str, Tensor], path: Path) -> None:
    half = len(weights) // 2
    places = {}
    for number, names in enumerate((list(weights)[:half], list(weights)[half:]), 1):
        shard = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: weights[name] for name in names}, path / shard)
        places |= dict.fromkeys(names, shard)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_safetensors(weights: dict[str, Tensor], path: Path) -> None:
    own_memory = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    save_file(own_memory, path / "model.safetensors", {"format": "pt"})


# ---- reports and dtypes ----------------------------------------------------------------------------------------------


def pairs_of_classes() -> list[tuple[str, str]]:
    """Every class of BERT and GPT-2 before every other one; of their relatives, before the next two."""
    pairs = []
    for family in FAMILIES:
        names = [case.name for case in family.classes]
        steps = len(names) if family.config_class in ("BertConfig", "GPT2Config") else 3
        pairs += [(name, names[(i + step) % len(names)]) for i, name in enumerate(names) for step in range(1, steps)]
        # Whole models and parts of them: see below
        pairs = [(a, b) for a, b in pairs if (a in family.parts) == (b in family.parts)]
    return pairs


@pytest.mark.parametrize(("saved", "loaded"), pairs_of_classes())
def test_another_head_is_reported_as_the_reference_reports_it(saved: str, loaded: str) -> None:
    """From a checkpoint of one class into another: what is missing, left over, or of another size."""
    config = BY_NAME[saved].reference.config_class(**smallest(saved))
    with directory() as path:
        BY_NAME[saved].reference(config).save_pretrained(path)
        options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        _, ours = BY_NAME[loaded].ours.from_pretrained(path, **options)
        _, theirs = BY_NAME[loaded].reference.from_pretrained(path, **options)
    if BY_NAME[saved].reference.base_model_prefix != BY_NAME[loaded].reference.base_model_prefix:
        # Between models that call their backbone differently the reference finds nothing; we find all but the heads.
        heads = ("lm_head", "score", "qa_outputs")
        assert all(name.startswith(heads) for name in {*ours["missing_keys"], *ours["unexpected_keys"]}), ours
        return
    theirs = {name: set(found) for name, found in theirs.items()}
    if saved == "OpenAIGPTDoubleHeadsModel" and loaded != "OpenAIGPTLMHeadModel":
        # The reference stores the embedding as the output layer only, and does not find it there again.
        assert {name.removeprefix("transformer.") for name in theirs["missing_keys"]} >= {"tokens_embed.weight"}
        theirs["missing_keys"] -= {"tokens_embed.weight", "transformer.tokens_embed.weight"}
        theirs["unexpected_keys"] -= {"lm_head.weight"}
    assert {name: set(found) for name, found in ours.items()} == theirs


PARTS = [
    (whole.name, part)
    for family in FAMILIES
    for part in family.parts
    for whole in family.classes
    if whole.name not in family.parts
]


@pytest.mark.parametrize(("whole", "part"), PARTS)
def test_a_part_is_loaded_from_the_file_of_the_whole(whole: str, part: str) -> None:
    """T5's encoder, BART's decoder: what else the file has is reported as the reference does, and outputs are equal."""
    torch.manual_seed(0)
    reference = BY_NAME[whole].reference(BY_NAME[whole].reference.config_class(**smallest(whole))).double()
    with directory() as path:
        reference.save_pretrained(path)
        if part == "BartForCausalLM":
            assert_embedding_is_found_where_the_reference_misses_it(part, path)
            # In a file that has the embedding under each of its names, as those of former years, both find it.
            write_safetensors(reference.state_dict(), path)
        ours, our_report = BY_NAME[part].ours.from_pretrained(path, output_loading_info=True)
        theirs, their_report = BY_NAME[part].reference.from_pretrained(path, output_loading_info=True)
        reported = {kind: set(names) for kind, names in our_report.items()}
        expected = {kind: set(names) for kind, names in their_report.items()}
        expected["unexpected_keys"] -= {"shared.weight", "model.shared.weight"}  # which are the decoder's embedding
        assert reported == expected
        new = {name: tensor for name, tensor in theirs.state_dict().items() if name in reported["missing_keys"]}
        ours.load_hf_state_dict({**ours.hf_state_dict(), **new})  # the heads, which each has drawn for itself
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        with rounding_nothing():
            expected_output = theirs(ids)[0]
        torch.testing.assert_close(ours(ids)[0], expected_output, rtol=1e-9, atol=1e-9)


def assert_embedding_is_found_where_the_reference_misses_it(part: str, path: Path) -> None:
    """Files of today have the embedding once, as the whole model's; the reference's decoder alone begins anew there."""
    shared = next(tensor for name, tensor in load_file(path / "model.safetensors").items() if "shared" in name)
    ours, report = BY_NAME[part].ours.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert torch.equal(ours.get_input_embeddings().weight, shared)
    assert ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
    _, theirs = BY_NAME[part].reference.from_pretrained(path, output_loading_info=True)
    assert set(theirs["missing_keys"]) == {"lm_head.weight", "model.decoder.embed_tokens.weight"}


@pytest.mark.parametrize(("whole", "part"), PARTS)
def test_a_whole_is_not_loaded_from_the_file_of_a_part(whole: str, part: str) -> None:
    """The reference draws the other half anew, with a warning; here a backbone without its weights is an error."""
    with directory() as path:
        BY_NAME[part].ours(BY_NAME[part].ours.config_class(**smallest(part))).save_pretrained(path)
        with pytest.raises(CheckpointError, match=rf"lacks \d+ weight\(s\) that {whole} cannot do without"):
            BY_NAME[whole].ours.from_pretrained(path)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_weight_that_a_file_lacks_is_reported_and_no_buffer_is(name: str) -> None:
    """A head's as the reference reports it, and the backbone's as an error; buffers are computed."""
    case = BY_NAME[name]
    model = case.ours(case.ours.config_class(**smallest(name)))
    tied = family_of(name).tied
    buffers = {model.checkpoint_names.file_name(buffer) for buffer, _ in model.named_buffers()}
    with directory() as path:
        model.save_pretrained(path)
        saved = load_file(path / "model.safetensors")
        weights = {stored: model.checkpoint_names.module_name(stored) for stored in saved}
        optional = [key for key, ours in weights.items() if ours is not None and model._may_be_missing(ours)]
        needed = sorted(weights.keys() - {*optional} - {*tied})[:1]
        for lacking in [*optional, *buffers]:
            write_safetensors({key: tensor for key, tensor in saved.items() if key != lacking}, path)
            _, ours = case.ours.from_pretrained(path, output_loading_info=True)
            _, theirs = case.reference.from_pretrained(path, output_loading_info=True)
            assert set(ours["missing_keys"]) == set(theirs["missing_keys"])
            assert (lacking in ours["missing_keys"]) == (lacking not in buffers)
        for lacking in needed:
            write_safetensors({key: tensor for key, tensor in saved.items() if key != lacking}, path)
            with pytest.raises(CheckpointError, match=re.escape(repr(lacking))):
                case.ours.from_pretrained(path)


def smallest(name: str) -> dict[str, Any]:
    return family_of(name).smallest_config(name)


@pytest.mark.parametrize("asked", [None, "auto", "bfloat16", "float32", torch.float16], ids=str)
@pytest.mark.parametrize("in_config", ["of the file", "absent", "bfloat16", "float32"])
@pytest.mark.parametrize("in_file", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtypes(in_file: torch.dtype, in_config: str, asked: Any) -> None:
    """What is asked for, else what config.json says, else what the file has."""
    case = BY_NAME["BertModel"]
    with directory() as path:
        case.reference(case.reference.config_class(**smallest(case.name))).to(in_file).save_pretrained(path)
        content = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if in_config != "of the file":
            del content["dtype"]
        if in_config in ("bfloat16", "float32"):
            content["dtype"] = in_config
        (path / "config.json").write_text(json.dumps(content), encoding="utf-8")
        ours, theirs = (library.from_pretrained(path, dtype=asked) for library in (case.ours, case.reference))
    for model in (ours, theirs):
        assert {parameter.dtype for parameter in model.parameters()} == {theirs.dtype}
        assert model.config.dtype == theirs.config.dtype


def scores_tokens(case: Case) -> bool:
    with torch.device("meta"):
        model = case.ours(case.ours.config_class(**smallest(case.name)))
    return model.get_output_embeddings() is not None


SCORING_TOKENS = [case.name for case in CLASSES if scores_tokens(case)]


@pytest.mark.parametrize("name", SCORING_TOKENS)
def test_different_weights_for_what_is_tied_are_both_kept(name: str) -> None:
    """As the reference does, whatever config.json says."""
    case = BY_NAME[name]
    reference = case.reference(case.reference.config_class(**smallest(name)))
    weights = {key: tensor.clone() for key, tensor in reference.state_dict().items()}
    output = family_of(name).tied[0]
    weights[output] = torch.randn_like(weights[output])
    with directory() as path:
        reference.config.save_pretrained(path)
        write_safetensors(weights, path)
        ours, theirs = (library.from_pretrained(path) for library in (case.ours, case.reference))
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        arguments = {name: ids for name in ("input_ids", "decoder_input_ids") if name in ours._forward_arguments}
        torch.testing.assert_close(ours(**arguments)[0], theirs(**arguments)[0])
        assert torch.equal(ours.get_output_embeddings().weight, weights[output])
