"""What it means that two models agree: the tolerances of this suite, and how they are measured.

A model of ours and the reference's get the same weights and the same inputs. What they return is laid out flat, as
tensors by name (`flat`), and so are their gradients, under the reference's names (`gradients`). Three questions are
asked of them:

* In float64, is it the same function? Rounding hides nothing there: `assert_same`, at 1e-9.
* In float32 and bfloat16, do we round no worse than the reference? Two correct programs differ by their rounding. By
  how much, the reference shows itself: it has several programs for one function, and their distance is the yardstick
  (`distance`, `distance_of_gradients`).
* Would the comparison notice an error? Each one is repeated with an error built in (mutations.py).

Two things are not compared, because there is nothing to compare. Where a query may attend to no key at all (the padding
in front of a text, in a causal model), the reference gives the mean of all values and this library gives zeros; no real
token ever sees either. So such rows are left out, labels are -100 there, and what cannot help looking at them (the
start of an answer, chosen among all positions) is drawn without such padding. And a gradient that is zero in theory,
like that of a key's bias, since softmax does not change when all scores do, is noise: it is measured against the other
gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import minitransformers as mt
from minitransformers.files.checkpoint_names import CheckpointNames

TOLERANCE = 1e-9
"""In float64: the largest difference, relative to the largest value but at least to 1; of gradients, to their norm."""
YARDSTICK = 4
"""In float32 and bfloat16: we may be this many times as far from the reference as its own programs are."""

Flat = dict[str, Tensor]


class DisagreementError(AssertionError):
    """Two models gave different results."""


# ---- laying out ------------------------------------------------------------------------------------------------------


def pinned_names(output: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an output under the names of the pinned reference: newer ones call past_key_values `cache`."""
    return {"past_key_values" if name == "cache" else name: value for name, value in output.items()}


def flat(output: Mapping[str, Any], real: Tensor, per_token: frozenset[str] = frozenset()) -> Flat:
    """The tensors of a model's output by name, in its order, with zeros in the rows of tokens that are not real.

    Args:
        real: (sequences, length) bool, the tokens to compare; of an encoder–decoder, those of the target. Of the source
            all are compared: every one sees something.
        per_token: names of outputs that have a row for each token; hidden states, attentions and the cache always have.
    """
    tensors: Flat = {}
    for name, value in pinned_names(output).items():
        if isinstance(value, Tensor):
            tensors[name] = _only_real(value, real) if name in per_token else value
        elif name == "past_key_values":
            for layer, keys_and_values in enumerate(cached(value)):
                for kind, tensor in zip(("key", "value"), keys_and_values, strict=True):
                    tensors[f"{name}.{layer}.{kind}"] = tensor.where(real[:, None, :, None], 0)
            for layer, keys_and_values in enumerate(cached_context(value)):
                for kind, tensor in zip(("key", "value"), keys_and_values, strict=True):
                    tensors[f"{name}.{layer}.context_{kind}"] = tensor
        elif name.startswith("encoder_"):
            tensors |= {f"{name}.{layer}": tensor for layer, tensor in enumerate(value)}
        elif name.endswith("hidden_states"):
            tensors |= {f"{name}.{layer}": _only_real(tensor, real) for layer, tensor in enumerate(value)}
        else:  # attentions (sequences, heads, query, key)
            tensors |= {f"{name}.{layer}": t.where(real[:, None, :, None], 0) for layer, t in enumerate(value)}
    return tensors


def _only_real(tensor: Tensor, real: Tensor) -> Tensor:
    """Of (sequences, length), (sequences, length, features) or (batch, choices, length, features)."""
    return tensor.where(real.reshape(tensor.shape if tensor.ndim == 2 else (*tensor.shape[:-1], 1)), 0)


def cached(cache: Any) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer's self-attention, of our cache or the reference's."""
    return [(layer[0], layer[1]) for layer in getattr(cache, "self_attention_cache", cache)]


def cached_context(cache: Any) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer's cross-attention, where there are any."""
    layers = getattr(cache, "cross_attention_cache", ())
    return [(layer[0], layer[1]) for layer in layers if layer[0] is not None]


def gradients(model: nn.Module, tensors: Flat, names: CheckpointNames) -> Flat:
    """The gradient of what is trained on with respect to every parameter, under the reference's names.

    That is the loss where there is one, else a projection of all outputs on fixed random directions.

    Args:
        names: of our model's family; they tell which matrices the reference holds transposed.
    """
    losses = [tensor for name, tensor in tensors.items() if name in ("loss", "mc_loss")]
    objective = sum(losses) if losses else _projection(tensors)
    named = dict(model.named_parameters())
    found = torch.autograd.grad(objective, list(named.values()), allow_unused=True)
    by_name = {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}
    return names.transposed(by_name) if isinstance(model, mt.PreTrainedModel) else by_name


def _projection(tensors: Flat) -> Tensor:
    random = torch.Generator().manual_seed(0)
    outputs = [tensor for name, tensor in tensors.items() if "." not in name]
    return sum((tensor * torch.randn(tensor.shape, generator=random).to(tensor)).sum() for tensor in outputs)


# ---- float64: the same function --------------------------------------------------------------------------------------


def assert_same(ours: Flat, theirs: Flat) -> None:
    """The same names in the same order, the same shapes and dtypes, and values that differ by rounding only."""
    if list(ours) != list(theirs):
        raise DisagreementError(f"We return {list(ours)}, the reference {list(theirs)}.")
    for name, expected in theirs.items():
        layout, expected_layout = (ours[name].dtype, tuple(ours[name].shape)), (expected.dtype, tuple(expected.shape))
        if layout != expected_layout:
            raise DisagreementError(f"{name} is {layout}, the reference's {expected_layout}.")
        if expected.numel() == 0 or (ours[name].isnan() & expected.isnan()).all():
            continue
        error = (ours[name] - expected).abs().max().item()
        allowed = TOLERANCE * max(1.0, expected.abs().max().item())
        if not error <= allowed:
            raise DisagreementError(f"{name} differs by {error:.3g}; {allowed:.3g} is allowed.")


def assert_same_gradients(ours: Flat, theirs: Flat) -> None:
    """Every parameter's gradient, relative to its norm.

    What cancels out, and should be zero, is noise at the scale of what was added: gradients below a thousandth of the
    largest, or below 0.001, are compared at those scales.
    """
    if ours.keys() != theirs.keys():
        raise DisagreementError(f"Only one model has a gradient for {sorted(ours.keys() ^ theirs.keys())}.")
    largest = max((gradient.norm().item() for gradient in theirs.values()), default=0.0)
    for name, expected in theirs.items():
        error = (ours[name] - expected).norm().item()
        allowed = TOLERANCE * max(expected.norm().item(), largest / 1000, 0.001)
        if not error <= allowed:
            raise DisagreementError(f"The gradient of {name} differs by {error:.3g}; {allowed:.3g} is allowed.")


# ---- float32 and bfloat16: rounding no worse -------------------------------------------------------------------------


def distance(ours: Flat, theirs: Flat, dtype: torch.dtype) -> float:
    """The largest difference of any output that both have, in units in the last place of that output's largest value.

    In such units a loss, an attention weight and a logit of 100 can be measured with one yardstick. The largest value
    counts as at least 1, as in `assert_same`: what is small only because much has cancelled is not known any better.
    """
    differences = [0.0]
    for name in ours.keys() & theirs.keys():
        if theirs[name].numel():
            error = (ours[name].double() - theirs[name].double()).abs().max().item()
            differences.append(error / unit_in_the_last_place(max(1.0, theirs[name].abs().max().item()), dtype))
    return max(differences)


def distance_of_gradients(ours: Flat, theirs: Flat, dtype: torch.dtype) -> float:
    """How far all gradients, as one long vector, are apart, relative to its norm and in units of the dtype's epsilon.

    One vector, since that is what an optimizer follows; whether each parameter's gradient is right, float64 decides.
    """
    error = sum((ours[name].double() - theirs[name].double()).square().sum().item() for name in theirs)
    size = sum(gradient.double().square().sum().item() for gradient in theirs.values())
    return 0.0 if error == 0 else math.sqrt(error / size) / torch.finfo(dtype).eps


def unit_in_the_last_place(value: float, dtype: torch.dtype) -> float:
    """The spacing of the dtype's numbers at `value`."""
    return torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(value))
