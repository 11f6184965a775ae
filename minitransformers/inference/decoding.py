"""The decode step of optimized models: the logits of one next token, without the work that is the same at every step.

`forward` reads its arguments, checks them, and splits and merges heads for any number of tokens. Here one new token for
each row goes through the blocks, and nothing else is done. `generate` takes this step where it gives what `forward`
gives: in an optimized model of a family of `STEPS`, whose modules are those of the library, without hooks or windows,
and where no attention weights or hidden states are asked for. Everything else runs through `forward`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.inference.linear import FastLinear
from minitransformers.nn.cache import Cache, CacheLayer, DynamicCache
from minitransformers.nn.positions import Rotary, rotate

Step = Callable[[Tensor, Tensor, Tensor | None, Cache], Tensor]


def decode_step(model: Any, cache: Cache | None, longest: int) -> Step | None:
    """The step of a model: token ids (rows, 1), positions, bias of the mask and cache → logits (rows, 1, vocabulary).

    None where only `forward` gives the right result.

    Args:
        cache: that of the prompt, to which the step adds.
        longest: the most tokens a text will have; a window that is shorter needs `forward`.
    """
    make = STEPS.get(f"{type(model).__module__}.{type(model).__qualname__}")
    if make is None or type(cache) is not DynamicCache or any(type(layer) is not CacheLayer for layer in cache.layers):
        return None
    config = model.config
    windows = [size for size in getattr(config, "windows", ()) if size is not None]
    if (
        not isinstance(model.lm_head, FastLinear)
        or model.training
        or config.attn_implementation == "eager"
        or getattr(config, "add_cross_attention", False)
        or any(size < longest for size in windows)
        or "prepare_inputs_for_generation" in vars(model)
        or not all(map(_is_plain, model.modules()))
        or nn.modules.module._global_forward_hooks
        or nn.modules.module._global_forward_pre_hooks
    ):
        return None
    return make(model)


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module runs the `forward` of a class of this library or of PyTorch, and nothing else."""
    own = vars(module)
    return (
        type(module).__module__.startswith(("minitransformers.", "torch.nn.modules."))
        and not isinstance(module, nn.modules.lazy.LazyModuleMixin)
        and not (own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own)
        and not getattr(module, "parametrizations", None)
    )


def _has_parts(blocks: nn.ModuleList, names: set[str]) -> bool:
    """Whether the blocks have modules of these classes; a script may have put others into their places."""
    return all(names <= {type(part).__name__ for part in (block, *block.children())} for block in blocks)


def _gpt2_step(model: Any) -> Step | None:
    """Of GPT-2: pre-norm blocks whose queries, keys and values come from one projection."""
    backbone, head = model.transformer, model.lm_head
    heads = model.config.n_head
    if not _has_parts(backbone.h, {"GPT2Block", "GPT2Attention", "GPT2MLP", "LayerNorm"}):
        return None

    @torch.no_grad()
    def step(token_ids: Tensor, position_ids: Tensor, bias: Tensor | None, cache: Cache) -> Tensor:
        x = backbone.wte(token_ids) + backbone.wpe(position_ids)
        for block, layer in zip(backbone.h, cache.layers, strict=True):
            attention = block.attn
            parts = attention.c_attn(block.ln_1(x)).view(len(x), 3, heads, 1, -1)
            query, key, value = parts.unbind(dim=1)
            keys, values = layer.update(key, value)
            attended = F.scaled_dot_product_attention(query, keys, values, bias, scale=attention.scaling)
            x = x + attention.c_proj(attended.reshape(x.shape))
            feed_forward = block.mlp
            x = x + feed_forward.c_proj(feed_forward.act(feed_forward.c_fc(block.ln_2(x))))
        return head(backbone.ln_f(x))  # type: ignore[no-any-return]

    return step


def _llama_step(model: Any) -> Step | None:
    """Of Llama and its relatives: rotated queries and keys, whose heads may be shared by several of the queries."""
    backbone, head = model.model, model.lm_head
    key_heads, dim = model.config.num_key_value_heads, model.config.head_dim
    layer_class = backbone.layer_class
    parts = (layer_class, layer_class.attention_class, layer_class.mlp_class, layer_class.norm_class)
    if not _has_parts(backbone.layers, {part.__name__ for part in parts}):
        return None

    def project(attention: Any, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        query = rotate(attention.q_proj(x).view(len(x), -1, 1, dim), rotary)
        key = rotate(attention.k_proj(x).view(len(x), key_heads, 1, dim), rotary)
        return query, key, attention.v_proj(x).view(len(x), key_heads, 1, dim)

    @torch.no_grad()
    def step(token_ids: Tensor, position_ids: Tensor, bias: Tensor | None, cache: Cache) -> Tensor:
        x = backbone.embed_tokens(token_ids)
        rotary = backbone.rotary_emb(x, position_ids)
        for block, layer in zip(backbone.layers, cache.layers, strict=True):
            attention = block.self_attn
            query, key, value = project(attention, block.input_layernorm(x), rotary)
            keys, values = layer.update(key, value)
            # The heads that share a key take the place of the tokens of a text.
            groups = query.reshape(len(x), key_heads, -1, dim)
            attended = F.scaled_dot_product_attention(groups, keys, values, bias, scale=attention.scaling)
            x = x + attention.o_proj(attended.reshape(len(x), 1, -1))
            x = x + block.mlp(block.post_attention_layernorm(x))
        return head(backbone.norm(x))  # type: ignore[no-any-return]

    return step


STEPS: dict[str, Callable[[Any], Step | None]] = {
    "minitransformers.models.gpt2.GPT2LMHeadModel": _gpt2_step,
    "minitransformers.models.llama.LlamaForCausalLM": _llama_step,
    "minitransformers.models.mistral.MistralForCausalLM": _llama_step,
    "minitransformers.models.qwen2.Qwen2ForCausalLM": _llama_step,
}
