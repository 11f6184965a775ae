"""Errors of the kind that are made in a model, each built into ours to see whether the comparison notices.

A mutation changes our model, or the arguments that ours is called with, in place. It may change nothing where the
example has nothing to change (no mask, no labels): the test looks for an example where it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from cases import Pair
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.models.dinov2 import ScaledLinear
from minitransformers.models.vit import ViTEmbeddings
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from minitransformers.nn.heads import DenseClassifier, MaskedLMHead
from minitransformers.nn.positions import LearnedPositions, RelativePositionBias, count_positions


def norm_eps(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            module.eps = (module.eps or 0.0) + 1e-6


def other_gelu(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, (FeedForward, GatedFeedForward)):
            module.activation = ACTIVATIONS["gelu_new"] if module.activation is F.gelu else F.gelu


def other_gate(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, GatedFeedForward):
            module.activation = ACTIVATIONS["gelu_new"] if module.activation is F.gelu else F.gelu


def rotary_base(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    for each in (parameters, *parameters.values()):
        if isinstance(each, dict) and "rope_theta" in each:
            each["rope_theta"] *= 1.001


def factors_of_short_texts_in_long_ones(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    if "short_factor" in parameters:
        parameters["long_factor"] = parameters["short_factor"]


def other_sharing_of_heads(pair: Pair) -> None:
    def in_turn(attention: MultiHeadAttention, per_head: Tensor) -> Tensor:
        return per_head.repeat(1, attention.num_heads // attention.num_key_value_heads, 1, 1)

    for module in pair.ours.modules():
        if isinstance(module, MultiHeadAttention):
            module._for_all_heads = partial(in_turn, module)


def wider_window(pair: Pair) -> None:
    config = pair.ours.config
    for name in ("sliding_window", "window_size"):
        if name in config._fields and getattr(config, name) is not None:
            setattr(config, name, getattr(config, name) + 1)
    if "local_attention" in config._fields:
        config.local_attention += 2


def one_base_for_all_layers(pair: Pair) -> None:
    parameters = pair.ours.config.rope_parameters
    parameters["sliding_attention"] = parameters["full_attention"]


def one_sub_layer_after_the_other(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, Block):
            module.forward = partial(Block.forward, module)


def other_activation(pair: Pair) -> None:
    for module in pair.ours.modules():
        if hasattr(module, "activation"):
            module.activation = ACTIVATIONS["gelu_new"] if module.activation is F.gelu else F.gelu


def attention_scale(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, MultiHeadAttention):
            module.scale = 1.001 * (module.head_dim**-0.5 if module.scale is None else module.scale)


def attention_scaled_by_width(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, MultiHeadAttention):
            module.scale = module.head_dim**-0.5


def bucket_off_by_one(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, RelativePositionBias):
            module.bias.weight.data = module.bias.weight.data.roll(1, dims=0)


def encoder_looks_one_way(pair: Pair) -> None:
    pair.ours.get_encoder().relative_positions.bidirectional = False


def decoder_looks_both_ways(pair: Pair) -> None:
    pair.ours.get_decoder().relative_positions.bidirectional = True


def output_scaled_otherwise(pair: Pair) -> None:
    pair.ours.config.scale_decoder_outputs = not pair.ours.config.scale_decoder_outputs


def embeddings_scaled_otherwise(pair: Pair) -> None:
    for module in pair.ours.modules():
        if hasattr(module, "embedding_scale"):
            module.embedding_scale += 1


def no_bias_of_the_logits(pair: Pair) -> None:
    pair.ours.final_logits_bias.zero_()


def other_start(pair: Pair) -> None:
    pair.ours.config.decoder_start_token_id = 1


def no_mask_of_the_target(pair: Pair) -> None:
    pair.our_arguments.pop("decoder_attention_mask", None)


def position_offset(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, LearnedPositions):
            module.weight.data = module.weight.data.roll(1, dims=0)
        if isinstance(module, ViTEmbeddings):
            module.position_embeddings.data = module.position_embeddings.data.roll(1, dims=1)


def no_segments(pair: Pair) -> None:
    pair.our_arguments.pop("token_type_ids", None)


def no_mask(pair: Pair) -> None:
    pair.our_arguments.pop("attention_mask", None)


def sees_the_future(pair: Pair) -> None:
    rows, length = pair.example.real.shape
    has_decoder = "decoder_attention_mask" in pair.ours._forward_arguments
    name = "decoder_attention_mask" if has_decoder else "attention_mask"
    mask = pair.our_arguments.get(name, torch.ones(rows, length))
    if mask.ndim < 4:  # four dimensions are the complete rule
        padding = mask.reshape(rows, 1, 1, length).bool()
        pair.our_arguments[name] = padding.expand(rows, 1, length, length)


def no_mask_of_the_context(pair: Pair) -> None:
    pair.our_arguments.pop("encoder_attention_mask", None)


def linear_pooler(pair: Pair) -> None:
    pooler = pair.ours.base_model.pooler
    pooler.forward = lambda hidden_states: pooler.dense(hidden_states[:, 0])


def other_pooling(pair: Pair) -> None:
    config = pair.ours.config
    config.classifier_pooling = "mean" if config.classifier_pooling == "cls" else "cls"


def linear_head(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, (DenseClassifier, MaskedLMHead)):
            module.activation = ACTIVATIONS["linear"]


def positions_from_0(pair: Pair) -> None:
    pair.ours.base_model.default_positions = lambda ids, mask, length, past_length: count_positions(length, past_length)


def positions_count_padding(pair: Pair) -> None:
    model = pair.ours.base_model
    first = model.config.pad_token_id + 1
    model.default_positions = lambda ids, mask, length, past_length: count_positions(length, past_length + first)


def groups_not_in_turn(pair: Pair) -> None:
    model = pair.ours.base_model
    model.groups = nn.ModuleList(reversed(list(model.groups)))


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


def untied(pair: Pair) -> None:
    head = pair.ours.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone())


def other_padding_token(pair: Pair) -> None:
    config = pair.ours.config
    if config.pad_token_id is not None:
        config.pad_token_id = (config.pad_token_id + 1) % config.vocab_size


def patches_turned(pair: Pair) -> None:
    weight = pair.ours.base_model.embeddings.patch_embedding.projection.weight
    weight.data = weight.data.transpose(2, 3).contiguous()


def unscaled(pair: Pair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, ScaledLinear):
            module.scale.data = torch.ones_like(module.scale)


def class_token_alone(pair: Pair) -> None:
    weight = pair.ours.classifier.weight
    weight.data[:, weight.shape[1] // 2 :] = 0


def nothing_hidden(pair: Pair) -> None:
    pair.our_arguments.pop("bool_masked_pos", None)


def training_mode(pair: Pair) -> None:
    torch.manual_seed(0)
    pair.ours.train()


MUTATIONS: dict[str, Callable[[Pair], None]] = {
    "norm eps": norm_eps,
    "other GELU": other_gelu,
    "other gate": other_gate,
    "attention scale": attention_scale,
    "rotary base": rotary_base,
    "factors of short texts in long ones": factors_of_short_texts_in_long_ones,
    "other sharing of heads": other_sharing_of_heads,
    "wider window": wider_window,
    "one base for all layers": one_base_for_all_layers,
    "one sub-layer after the other": one_sub_layer_after_the_other,
    "other activation": other_activation,
    "position offset": position_offset,
    "attention scaled by width": attention_scaled_by_width,
    "bucket off by one": bucket_off_by_one,
    "encoder looks one way": encoder_looks_one_way,
    "decoder looks both ways": decoder_looks_both_ways,
    "output scaled otherwise": output_scaled_otherwise,
    "embeddings scaled otherwise": embeddings_scaled_otherwise,
    "no bias of the logits": no_bias_of_the_logits,
    "other start": other_start,
    "no mask of the target": no_mask_of_the_target,
    "no segments": no_segments,
    "no mask": no_mask,
    "sees the future": sees_the_future,
    "no mask of the context": no_mask_of_the_context,
    "linear pooler": linear_pooler,
    "linear head": linear_head,
    "other pooling": other_pooling,
    "positions from 0": positions_from_0,
    "positions count padding": positions_count_padding,
    "groups not in turn": groups_not_in_turn,
    "other labels": other_labels,
    "labels not shifted": labels_not_shifted,
    "untied": untied,
    "other padding token": other_padding_token,
    "patches turned": patches_turned,
    "unscaled": unscaled,
    "class token alone": class_token_alone,
    "nothing hidden": nothing_hidden,
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
