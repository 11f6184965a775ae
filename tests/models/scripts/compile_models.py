"""torch.compile(fullgraph=True) against eager: `compile_models.py BACKEND CHECK CLASS …`."""

import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open

from minitransformers.nn.cache import DynamicCache
from minitransformers.testing import laws
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.examples import LABELS, example_batch, tiny_model

torch.set_num_threads(1)
BACKEND = sys.argv[1]
CLASSES = {model_class.__name__: model_class for model_class in LABELS}


def gradients(model, loss):
    names, weights = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, weights, allow_unused=True), strict=True))


def check_training(model):
    """With padding and labels: outputs, loss and gradients; then without labels, and another length."""
    compiled = torch.compile(model, fullgraph=True, backend=BACKEND)
    batch = example_batch(model)
    ours, expected = compiled(**batch), model(**batch)
    assert type(ours) is type(expected)
    assert_close(ours, expected)
    if expected.get("loss") is not None:
        assert_gradients_close(gradients(model, ours.loss), gradients(model, expected.loss))
    plain = example_batch(model, length=7, labels=False)
    del plain["attention_mask"]
    with torch.no_grad():
        assert_close(compiled(**plain), model(**plain))
    return compiled


def training(model):
    """The kernels are traced in turn."""
    model.set_attn_implementation("eager" if list(LABELS).index(type(model)) % 2 else "sdpa")
    check_weights(model, check_training(model))


def check_weights(model, compiled):
    """Tied weights stay one, and nothing that is saved has a name that compiling has put there."""
    if model.get_output_embeddings() is not None:
        laws.assert_tied(model)
        assert compiled.get_input_embeddings().weight is compiled.get_output_embeddings().weight
    assert not any("_orig_mod" in name for name in model.hf_state_dict())
    assert not any("_orig_mod" in name for name in compiled.hf_state_dict())
    with tempfile.TemporaryDirectory() as directory:
        compiled.save_pretrained(directory)
        with safe_open(Path(directory) / "model.safetensors", framework="pt") as file:
            assert not any("_orig_mod" in name for name in file.keys())  # noqa: SIM118
        laws.assert_same_weights(type(model).from_pretrained(directory), model)
        # A state dict of the compiled wrapper, whose names have the prefix, loads all the same.
        torch.save(compiled.state_dict(), Path(directory) / "pytorch_model.bin")
        (Path(directory) / "model.safetensors").unlink()
        loaded, report = type(model).from_pretrained(directory, output_loading_info=True)
        assert not report["missing_keys"], report
        laws.assert_same_weights(loaded, model)


def caching(model):
    """In pieces, and one token at a time: few graphs serve all lengths (the limit of recompilations is 8)."""
    compiled = torch.compile(model, fullgraph=True, backend=BACKEND)
    ids = example_batch(model, length=14, labels=False)["input_ids"]
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    expected = model(input_ids=ids, attention_mask=mask).logits
    with torch.no_grad():
        for cuts, capacity in ((range(1, 14), 20), ((3, 8, 10), 0)):
            cache = DynamicCache(capacity=capacity)
            pieces = laws.run_in_chunks(compiled, ids, list(cuts), attention_mask=mask, cache=cache)
            assert_close(torch.cat([piece.logits for piece in pieces], dim=1), expected)
            torch.compiler.reset()
    pieces = laws.run_in_chunks(compiled, ids, [3, 8], attention_mask=mask)
    joined = torch.cat([piece.logits for piece in pieces], dim=1)
    assert_close(joined, expected)
    assert_gradients_close(gradients(model, joined.square().sum()), gradients(model, expected.square().sum()))


def in_place(model):
    """`model.compile()`, after which the model itself runs compiled, also while it generates."""
    batch = example_batch(model)
    expected = model(**batch)
    prompt = example_batch(model, padding=0, labels=False)
    generates = hasattr(model, "generate")
    text = model.generate(**prompt, max_new_tokens=6, do_sample=False) if generates else None
    model.compile(fullgraph=True, backend=BACKEND)
    assert_close(model(**batch), expected)
    assert not any("_orig_mod" in name for name in model.state_dict())
    if generates:
        assert torch.equal(model.generate(**prompt, max_new_tokens=6, do_sample=False), text)


def main():
    check = {"training": training, "caching": caching, "in_place": in_place}[sys.argv[2]]
    for name in sys.argv[3:]:
        check(tiny_model(CLASSES[name]))
        torch.compiler.reset()
        print(f"{name}: {sys.argv[2]} with {BACKEND} as eager")


main()
