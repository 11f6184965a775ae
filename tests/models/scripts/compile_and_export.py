"""Compiles and exports small models and compares them with the plain ones; an AssertionError where they differ.

    python compile_and_export.py CHECK …

Each CHECK is the name of a function below; a line is printed for each that ends well. Run as a process of its own, in
which no type-checking hook is installed: that cannot be traced.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from small_models import LENGTH, VOCAB_SIZE, small_batch, small_model

from minitransformers.testing.comparing import assert_close, assert_gradients_close

LANGUAGE_MODELS = ["BertForMaskedLM", "GPT2LMHeadModel"]


def compiled(model: Any, backend: str = "aot_eager") -> Any:
    torch.compiler.reset()
    return torch.compile(model, fullgraph=True, dynamic=False, backend=backend)


def compiled_equals_plain() -> None:
    """Without mask, with padding, and in the eager kernel with everything that can be asked for."""
    for name in LANGUAGE_MODELS:
        model, batch = small_model(name, initializer_range=0.3), small_batch(name, labels=False)
        without_mask = {"input_ids": batch["input_ids"]}
        everything = {**batch, "output_attentions": True, "output_hidden_states": True}
        faster = compiled(model)
        with torch.no_grad():
            for inputs in (without_mask, batch, everything):
                output = faster(**inputs)
                assert type(output) is type(model(**inputs))
                assert_close(output, model(**inputs))
            assert not torch.allclose(model(**batch).logits, model(**without_mask).logits), "the mask must matter"


def compiled_trains_as_plain() -> None:
    """With labels and padding: the same loss and gradients."""
    for name in LANGUAGE_MODELS:
        model, batch = small_model(name, initializer_range=0.3), small_batch(name)
        expected = model(**batch)
        expected.loss.backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        model.zero_grad()
        output = compiled(model)(**batch)
        output.loss.backward()
        assert_close(output, expected)
        assert_gradients_close({key: parameter.grad for key, parameter in model.named_parameters()}, gradients)


def compiled_continues_from_a_cache() -> None:
    model = small_model("GPT2LMHeadModel", initializer_range=0.3)
    input_ids = small_batch("GPT2LMHeadModel")["input_ids"]
    faster = compiled(model)
    with torch.no_grad():
        first = faster(input_ids[:, :4], use_cache=True)
        second = faster(input_ids[:, 4:], past_key_values=first.past_key_values, use_cache=True)
        assert second.past_key_values.get_seq_length() == LENGTH
        assert_close(torch.cat([first.logits, second.logits], dim=1), model(input_ids).logits)


def compiled_by_inductor() -> None:
    """Through code generation, once for each family."""
    for name in LANGUAGE_MODELS:
        model, batch = small_model(name, initializer_range=0.3), small_batch(name)
        with torch.no_grad():
            assert_close(compiled(model, "inductor")(**batch), model(**batch))


def compiled_stays_tied_and_saves_plain_names() -> None:
    for name in LANGUAGE_MODELS:
        for part in ("model", "backbone", "in place"):
            model, batch = small_model(name, initializer_range=0.3), small_batch(name, labels=False)
            names = set(model.hf_state_dict())
            expected = model(**batch).logits
            faster = model
            if part == "model":
                faster = compiled(model)
            elif part == "backbone":
                setattr(model, model.base_model_prefix, compiled(model.base_model))
            else:
                torch.compiler.reset()
                model.compile(fullgraph=True, backend="aot_eager")
            assert_close(faster(**batch).logits, expected)
            assert faster.get_output_embeddings().weight is faster.get_input_embeddings().weight, part

            optimizer = torch.optim.SGD(faster.parameters(), lr=0.1)
            faster(**small_batch(name)).loss.backward()
            optimizer.step()
            assert faster.get_output_embeddings().weight is faster.get_input_embeddings().weight, part
            expected = faster(**batch).logits

            with tempfile.TemporaryDirectory() as directory:
                faster.save_pretrained(directory)
                with safe_open(Path(directory) / "model.safetensors", "pt") as file:
                    saved = set(file.keys())
                assert not any("_orig_mod" in key for key in saved), (part, saved)
                assert saved <= names, (part, saved - names)
                assert "_orig_mod" not in (Path(directory) / "config.json").read_text(), part
                loaded, info = type(model).from_pretrained(directory, output_loading_info=True)
                assert not info["missing_keys"], (part, info)
                assert not info["unexpected_keys"], (part, info)
                assert type(model).__name__ in (Path(directory) / "config.json").read_text(), part
                assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight, part
                assert_close(loaded(**batch).logits, expected)


def exported_with_any_batch_and_length() -> None:
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("length", min=2, max=16)}
    for name in ("BertModel", "BertForSequenceClassification", "BertForMaskedLM", "GPT2Model", "GPT2LMHeadModel"):
        model = small_model(name, initializer_range=0.3)
        fixed = {"use_cache": False} if name.startswith("GPT2") else {}
        example = small_batch(name, labels=False)
        dynamic = {**dict.fromkeys(example, sizes), **dict.fromkeys(fixed)}
        program = torch.export.export(model, (), {**example, **fixed}, dynamic_shapes=dynamic).module()
        generator = torch.Generator().manual_seed(4)
        for rows, length in ((3, LENGTH), (2, 5), (1, 2), (4, 16), (8, 11)):
            input_ids = torch.randint(2, VOCAB_SIZE, (rows, length), generator=generator)
            mask = torch.ones_like(input_ids)
            mask[-1, 1:] = 0
            output = program(input_ids=input_ids, attention_mask=mask, **fixed)
            expected = model(input_ids=input_ids, attention_mask=mask, **fixed)
            assert type(output) is type(expected)
            assert_close(output, expected)
            without = model(input_ids=input_ids, **fixed)
            assert length == 2 or not torch.allclose(without[0], expected[0]), "the mask must matter"


def exported_with_a_cache() -> None:
    """What the exported program returns as cache, the model goes on from."""
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("length", min=2, max=15)}
    model = small_model("GPT2LMHeadModel", initializer_range=0.3)
    input_ids = small_batch("GPT2LMHeadModel")["input_ids"]
    program = torch.export.export(model, (input_ids[:2, :4].clone(),), dynamic_shapes=(sizes,)).module()
    output = program(input_ids[:, :-1])
    last = model(input_ids[:, -1:], past_key_values=output.past_key_values)
    assert_close(torch.cat([output.logits, last.logits], dim=1), model(input_ids).logits)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for check in sys.argv[1:]:
        globals()[check]()
        print(check)
