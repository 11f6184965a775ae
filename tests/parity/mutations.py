"""Errors of the kind that are made in a model, each built into ours to see whether the comparison notices.

A mutation changes our model, or the arguments that ours is called with, in place. It may change nothing where the
example has nothing to change (no mask, no labels): the test looks for an example where it matters. Modules, parameters
and fields are found by the names that families share, so that a new family needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from cases import Pair
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minitransformers.models import t5
from minitransformers.nn import attention
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.positions import count_positions

# ---- parts ---------------------------------------------------------------------------------------------------------


def run_inside(module: nn.Module, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Let `module` compute inside a context."""
    forward = module.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        with context():
            return forward(*args, **kwargs)

    module.forward = run


def attend_otherwise(pair: Pair, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let `change` alter the arguments of the attention kernel: query, key, value, scale …"""

    def kernel(name: str) -> Callable[..., Any]:
        right = attention.KERNELS[name]
        return lambda query, key, value, **options: right(
            **change({"query": query, "key": key, "value": value, **options})
        )

    run_inside(pair.ours, lambda: patch.object(attention, "attention_kernel", kernel))


class WithoutActivations(TorchFunctionMode):
    """Inside, activations return their input."""

    names = frozenset(("gelu", "tanh", "relu", "silu"))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_activation = getattr(func, "__name__", "") in self.names
        return args[0] if is_activation else func(*args, **(kwargs or {}))


def parts_of_the_head(model: Any) -> Iterator[nn.Module]:
    return (child for child in model.children() if child is not model.base_model)


def parameters_called(model: nn.Module, *names: str) -> Iterator[nn.Parameter]:
    """The parameters that have one of these names between the dots of theirs."""
    return (parameter for name, parameter in model.named_parameters() if set(names) & set(name.split(".")))


# ---- norms and activations -----------------------------------------------------------------------------------------


def norm_eps(pair: Pair) -> None:
    for module in pair.ours.modules():
        for name in ("eps", "variance_epsilon"):
            if hasattr(module, name):
                setattr(module, name, (getattr(module, name) or 0.0) + 1e-6)


def other_gelu(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, nn.GELU):
            module.approximate = "tanh" if module.approximate == "none" else "none"


def other_activation(pair: Pair) -> None:
    kinds = tuple({type(build()) for name, build in ACTIVATIONS.items() if name not in ("linear", "tanh")})
    for module in pair.ours.modules():
        for name, child in module.named_children():
            if isinstance(child, kinds):
                setattr(module, name, nn.ReLU() if isinstance(child, nn.GELU) else nn.GELU())


def linear_pooler(pair: Pair) -> None:
    base = pair.ours.base_model
    owner, name = (base, "pooler_activation") if hasattr(base, "pooler_activation") else (base.pooler, "activation")
    setattr(owner, name, nn.Identity())


def linear_head(pair: Pair) -> None:
    for part in parts_of_the_head(pair.ours):
        run_inside(part, WithoutActivations)


# ---- attention -----------------------------------------------------------------------------------------------------


def attention_scale(pair: Pair) -> None:
    def change(arguments: dict[str, Any]) -> dict[str, Any]:
        scale = arguments["scale"]
        return {**arguments, "scale": 1.001 * (arguments["query"].shape[-1] ** -0.5 if scale is None else scale)}

    attend_otherwise(pair, change)


def attend_coarsely(pair: Pair) -> None:
    """Round the averages of values to five bits fewer than their type has (Dekker, 1971); used with any dtype."""

    def kernel(name: str) -> Callable[..., Any]:
        def coarse(*args: Any, **options: Any) -> attention.AttentionOutput:
            output, weights = attention.KERNELS[name](*args, **options)
            scaled = output * (2**5 + 1)
            return attention.AttentionOutput(scaled - (scaled - output), weights)

        return coarse

    run_inside(pair.ours, lambda: patch.object(attention, "attention_kernel", kernel))


def attention_scaled_by_width(pair: Pair) -> None:
    attend_otherwise(pair, lambda arguments: {**arguments, "scale": arguments["query"].shape[-1] ** -0.5})


def other_sharing_of_heads(pair: Pair) -> None:
    """Keys and values are shared in turn: 0, 1, 0, 1 in place of 0, 0, 1, 1."""
    config = pair.ours.config
    in_turn = torch.arange(config.num_attention_heads).view(config.num_key_value_heads, -1).T.flatten()
    attend_otherwise(pair, lambda a: {**a, "key": a["key"][:, in_turn], "value": a["value"][:, in_turn]})


def wider_window(pair: Pair) -> None:
    config = pair.ours.config
    for name in ("sliding_window", "window_size"):
        if name in config._fields and getattr(config, name) is not None:
            setattr(config, name, getattr(config, name) + 1)
    if "local_attention" in config._fields:
        config.local_attention += 2


def one_sub_layer_after_the_other(pair: Pair) -> None:
    for module in pair.ours.modules():
        if hasattr(module, "use_parallel_residual"):
            module.use_parallel_residual = False


# ---- positions -----------------------------------------------------------------------------------------------------


def position_offset(pair: Pair) -> None:
    names = ("position_embeddings", "embed_positions", "positions_embed", "wpe")
    for parameter in parameters_called(pair.ours, *names):
        parameter.data = parameter.data.roll(1, dims=-2)


def positions_from_0(pair: Pair) -> None:
    pair.ours.base_model.default_positions = lambda ids, batch, length, past, *_: count_positions(length, past)


def positions_count_padding(pair: Pair) -> None:
    model = pair.ours.base_model
    first = model.config.pad_token_id + 1
    model.default_positions = lambda ids, batch, length, past, *_: count_positions(length, past + first)


def rotary_base(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    for each in (parameters, *parameters.values()):
        if isinstance(each, dict) and "rope_theta" in each:
            each["rope_theta"] *= 1.001
    for name, buffer in pair.ours.named_buffers():
        if name.endswith("inv_freq"):
            buffer **= 1.0001


def factors_of_short_texts_in_long_ones(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    if "short_factor" in parameters:
        parameters["long_factor"] = parameters["short_factor"]


def one_base_for_all_layers(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    parameters["sliding_attention"] = parameters["full_attention"]
    buffers = dict(pair.ours.named_buffers())
    for name, buffer in buffers.items():
        if "sliding_attention" in name:
            buffer.copy_(buffers[name.replace("sliding_attention", "full_attention")])


def bucket_off_by_one(pair: Pair) -> None:
    for parameter in parameters_called(pair.ours, "relative_attention_bias"):
        parameter.data = parameter.data.roll(1, dims=0)


def encoder_looks_one_way(pair: Pair) -> None:
    run_inside(pair.ours.get_encoder(), lambda: _buckets(bidirectional=False))


def decoder_looks_both_ways(pair: Pair) -> None:
    run_inside(pair.ours.get_decoder(), lambda: _buckets(bidirectional=True))


def _buckets(*, bidirectional: bool) -> AbstractContextManager[Any]:
    right = t5.relative_buckets

    def buckets(*args: Any, **kwargs: Any) -> Tensor:
        return right(*args, **{**kwargs, "bidirectional": bidirectional})

    return patch.object(t5, "relative_buckets", buckets)


# ---- embeddings ----------------------------------------------------------------------------------------------------


def embeddings_scaled_otherwise(pair: Pair) -> None:
    for module in pair.ours.modules():
        if hasattr(module, "embed_scale"):
            module.embed_scale += 1


def untied(pair: Pair) -> None:
    head = pair.ours.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone())


def groups_not_in_turn(pair: Pair) -> None:
    encoder = pair.ours.base_model.encoder
    encoder.albert_layer_groups = nn.ModuleList(reversed(encoder.albert_layer_groups))


def patches_turned(pair: Pair) -> None:
    weight = pair.ours.base_model.embeddings.patch_embeddings.projection.weight
    weight.data = weight.data.transpose(2, 3).contiguous()


def unscaled(pair: Pair) -> None:
    for parameter in parameters_called(pair.ours, "lambda1"):
        parameter.data = torch.ones_like(parameter)


# ---- arguments -----------------------------------------------------------------------------------------------------


def without(name: str) -> Callable[[Pair], None]:
    """Our model is not given this argument."""

    def mutation(pair: Pair) -> None:
        pair.our_arguments.pop(name, None)

    return mutation


def sees_the_future(pair: Pair) -> None:
    rows, length = pair.example.real.shape
    has_decoder = "decoder_attention_mask" in pair.ours._forward_arguments
    name = "decoder_attention_mask" if has_decoder else "attention_mask"
    mask = pair.our_arguments.get(name, torch.ones(rows, length))
    if mask.ndim < 4:  # four dimensions are the complete rule
        padding = mask.reshape(rows, 1, 1, length).bool()
        pair.our_arguments[name] = padding.expand(rows, 1, length, length)


def other_labels(pair: Pair) -> None:
    for name, labels in _labels(pair).items():
        if labels.is_floating_point():
            pair.our_arguments[name] = 1 - labels
        else:
            pair.our_arguments[name] = labels.where(labels < 0, (labels == 0).long())


def labels_not_shifted(pair: Pair) -> None:
    for name, labels in _labels(pair).items():
        if labels.ndim > 1:
            pair.our_arguments[name] = labels.roll(1, dims=-1)


def _labels(pair: Pair) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in pair.our_arguments.items()
        if value is not None and ("label" in name or name in ("start_positions", "end_positions"))
    }


# ---- heads ---------------------------------------------------------------------------------------------------------


def output_scaled_otherwise(pair: Pair) -> None:
    pair.ours.config.scale_decoder_outputs = not pair.ours.config.scale_decoder_outputs


def no_bias_of_the_logits(pair: Pair) -> None:
    pair.ours.final_logits_bias.zero_()


def other_start(pair: Pair) -> None:
    pair.ours.config.decoder_start_token_id = 1


def other_pooling(pair: Pair) -> None:
    config = pair.ours.config
    config.classifier_pooling = "mean" if config.classifier_pooling == "cls" else "cls"


def other_padding_token(pair: Pair) -> None:
    config = pair.ours.config
    if config.pad_token_id is not None:
        config.pad_token_id = (config.pad_token_id + 1) % config.vocab_size


def class_token_alone(pair: Pair) -> None:
    weight = pair.ours.classifier.weight
    weight.data[:, weight.shape[1] // 2 :] = 0


def training_mode(pair: Pair) -> None:
    torch.manual_seed(0)
    pair.ours.train()


MUTATIONS: dict[str, Callable[[Pair], None]] = {
    "norm eps": norm_eps,
    "other GELU": other_gelu,
    "other activation": other_activation,
    "linear pooler": linear_pooler,
    "linear head": linear_head,
    "attention scale": attention_scale,
    "attention scaled by width": attention_scaled_by_width,
    "other sharing of heads": other_sharing_of_heads,
    "wider window": wider_window,
    "one sub-layer after the other": one_sub_layer_after_the_other,
    "position offset": position_offset,
    "positions from 0": positions_from_0,
    "positions count padding": positions_count_padding,
    "rotary base": rotary_base,
    "factors of short texts in long ones": factors_of_short_texts_in_long_ones,
    "one base for all layers": one_base_for_all_layers,
    "bucket off by one": bucket_off_by_one,
    "encoder looks one way": encoder_looks_one_way,
    "decoder looks both ways": decoder_looks_both_ways,
    "embeddings scaled otherwise": embeddings_scaled_otherwise,
    "untied": untied,
    "groups not in turn": groups_not_in_turn,
    "patches turned": patches_turned,
    "unscaled": unscaled,
    "no segments": without("token_type_ids"),
    "no mask": without("attention_mask"),
    "no mask of the target": without("decoder_attention_mask"),
    "no mask of the context": without("encoder_attention_mask"),
    "nothing hidden": without("bool_masked_pos"),
    "sees the future": sees_the_future,
    "other labels": other_labels,
    "labels not shifted": labels_not_shifted,
    "output scaled otherwise": output_scaled_otherwise,
    "no bias of the logits": no_bias_of_the_logits,
    "other start": other_start,
    "other pooling": other_pooling,
    "other padding token": other_padding_token,
    "class token alone": class_token_alone,
    "training mode": training_mode,
}
EVERYWHERE = (
    "norm eps",
    "other GELU",
    "attention scale",
    "position offset",
    "no segments",
    "no mask",
    "training mode",
)
# For a head on a backbone that has been tried with all of them.
OF_A_HEAD = ("attention scale", "training mode", "other labels")
