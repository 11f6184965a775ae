"""torch.compile(fullgraph=True) and torch.export against eager: `compile_families.py CLASS …`, of any family."""

import sys

import torch
from torch.export import Dim, export

import minitransformers as mt
from minitransformers.nn.cache import DynamicCache
from minitransformers.testing import laws
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import OF_IMAGES, WITH_CACHE, WITH_TARGET

torch.set_num_threads(1)
LENGTH = 9


def gradients(model, loss):
    names, weights = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, weights, allow_unused=True), strict=True))


def compiles(model):
    """With padding and labels, outputs, loss and gradients; without labels; and, with a cache, token by token."""
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for labels in (True, False):
        batch = example_batch(model, length=LENGTH, labels=labels)
        found, expected = compiled(**batch), model(**batch)
        assert_close(found, expected)
        target, wanted = (one.loss if labels else one[0].square().sum() for one in (found, expected))
        assert_gradients_close(gradients(model, target), gradients(model, wanted))
    if type(model) in WITH_CACHE:
        continues(compiled, model)


def continues(compiled, model):
    ids = example_batch(model, length=LENGTH, padding=0, labels=False)["input_ids"]
    if type(model) in WITH_TARGET:
        compiled, model = (laws.TargetSide(one, {"input_ids": ids[:, :3]}) for one in (compiled, model))
    with torch.no_grad():
        expected = model(ids, use_cache=False)[0]
        pieces = laws.run_in_chunks(compiled, ids, range(1, LENGTH), cache=DynamicCache(capacity=LENGTH))
    assert_close(torch.cat([piece[0] for piece in pieces], dim=1), expected)


def exports(model):
    """For any number of rows and, but for images, tokens; a target has one token more than its source."""
    length = Dim("length", min=4, max=12)
    sizes = {"input_ids": length, "attention_mask": length, "decoder_input_ids": length + 1}
    sizes["decoder_attention_mask"] = length + 1
    batch = example_batch(model, length=7, labels=False)
    fixed = {"use_cache": False} if "use_cache" in model._forward_arguments else {}
    dynamic = {name: {0: Dim("batch", min=1, max=8), **({1: sizes[name]} if name in sizes else {})} for name in batch}
    program = export(model, (), {**batch, **fixed}, dynamic_shapes={**dynamic, **dict.fromkeys(fixed)}).module()
    for rows, length in ((2, 7), (3, 7 if type(model) in OF_IMAGES else 11)):
        batch = example_batch(model, rows=rows, length=length, labels=False, seed=rows)
        assert_close(program(**batch, **fixed), model(**batch, **fixed))


for name in sys.argv[1:]:
    torch.compiler.reset()
    model = tiny_model(getattr(mt, name))
    compiles(model)
    exports(model)
    print(name)
