"""Half precision, gradient checkpointing, torch.compile: less memory or time, the same training."""

import math

import pytest
import torch
from tiny_runs import bert, go, gpt2, same, texts, weights

from minitransformers.errors import InputError, MinitransformersError
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.training import Hooks, Settings
from minitransformers.training.loop.precision import autocast


def batches():
    rows = torch.stack(list(texts(6)))
    return [{"input_ids": rows, "labels": rows.masked_fill(rows % 3 == 0, -100)}] * 4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("make", [bert, gpt2])
def test_half_precision(make, precision):
    """Only matrix products are computed in half precision; the loss decreases as in float32."""
    model, seen = make(), set()
    layer = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    run = go(None, 20, model=model, batches=batches(), precision=precision, validation=batches(), evaluate_every=20)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    plain = go(None, 20, model=make(), batches=batches())
    losses, expected = ([r["loss"] for r in each.history if "loss" in r] for each in (run, plain))
    assert losses == pytest.approx(expected, rel=0.02)
    assert losses != expected
    assert losses[-1] < losses[0] - 0.1
    assert run.scaler.is_enabled() == (precision == "fp16")
    assert math.isfinite(run.history[-1]["eval_loss"])


def test_a_step_that_overflows_is_skipped(tmp_path):
    """If the loss is finite and the scaled gradient is not, the scale decreases, and nothing else changes."""

    class Overflow(Hooks):
        def on_step_begin(self, run):
            if run.progress.step == 1:
                run.scaler._scale.fill_(3e38)
            self.before, self.rate = weights(run), run.optimizer.param_groups[0]["lr"]

        def on_optimizer_step(self, run):
            if run.progress.step == 1:
                assert same(self.before, weights(run))

        def on_step_end(self, run):
            if run.progress.step == 2:
                assert run.scaler.get_scale() == pytest.approx(1.5e38)
                assert run.optimizer.param_groups[0]["lr"] == self.rate
                run.scaler._scale.fill_(2.0**10)

    whole = go(tmp_path / "whole", 5, batches=batches(), precision="fp16", hooks=[Overflow()])
    go(tmp_path / "parts", 3, batches=batches(), precision="fp16", hooks=[Overflow()])
    parts = go(tmp_path / "parts", 5, batches=batches(), precision="fp16", hooks=[Overflow()])
    assert same(weights(whole), weights(parts))
    assert parts.scaler.state_dict() == whole.scaler.state_dict()
    assert parts.scaler.get_scale() == 2.0**10  # not the initial one


def test_unknown_precisions():
    with pytest.raises(InputError, match="precision='fp8'"):
        Settings(steps=1, precision="fp8")
    with pytest.raises(MinitransformersError, match="not available on meta"):
        autocast("bf16", torch.device("meta"))


@pytest.mark.parametrize(
    ("precision", "dtype", "is_fine"),
    [
        ("fp16", torch.float16, False),
        ("fp16", torch.bfloat16, False),
        ("bf16", torch.float16, False),
        ("bf16", torch.bfloat16, True),
        ("fp32", torch.bfloat16, True),
    ],
)
def test_weights_in_half_precision(precision, dtype, is_fine):
    """Many checkpoints have such weights."""
    model = gpt2().to(dtype)
    if is_fine:
        go(None, 2, model=model, batches=batches(), precision=precision)
        assert {weight.dtype for weight in model.parameters()} == {dtype}
        return
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(
        InputError, match=rf"{precision} .* the model's are in {str(dtype)[6:]}: load it with from_pretr"
    ):
        go(None, 2, model=model, batches=batches(), precision=precision)
    assert all(weight.equal(old) for weight, old in zip(model.parameters(), before, strict=True))


class GradientsBefore(Hooks):
    """Adds up the gradients of the optimizer steps."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, run):
        self.gradients.append({name: weight.grad.clone() for name, weight in run.model.named_parameters()})


@pytest.mark.parametrize("make", [bert, gpt2])
def test_gradient_checkpointing(make):
    """The same gradients, with dropout, from recomputed blocks."""
    collected, calls = [], []
    for checkpointing in (False, True):
        model, hook, number = make(), GradientsBefore(), []
        block = next(module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
        block.register_forward_pre_hook(lambda *_, number=number: number.append(1))
        go(None, 2, model=model, batches=batches(), gradient_checkpointing=checkpointing, hooks=[hook])
        collected.append(hook.gradients)
        calls.append(len(number))
    assert calls[1] == 2 * calls[0]
    for plain, again in zip(*collected, strict=True):
        for name, gradient in plain.items():
            torch.testing.assert_close(again[name], gradient, rtol=1e-6, atol=1e-9)


def test_a_model_without_gradient_checkpointing():
    with pytest.raises(InputError, match=r"Linear has no gradient_checkpointing_enable"):
        go(None, 1, model=torch.nn.Linear(1, 1), batches=[{}], gradient_checkpointing=True)


def test_compiled(run_script, tmp_path):
    """The same losses and gradients; checkpoints with the model's own names, from which the plain model can resume."""
    assert run_script("compiled_training.py", tmp_path) == "BertForMaskedLM\nGPT2LMHeadModel\n"
