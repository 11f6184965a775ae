"""Prompt tuning (Lester et al., 2021, §2): trained vectors in front of the embedded text, and nothing else.

    [P; X]            with P (p, e) trained, and X (n, e) the embedded tokens

The model reads p + n vectors as if the first p were tokens. An encoder–decoder reads them in the encoder. Logits, and
other outputs for each token, are those of the text: the p in front are left out, after the loss is computed. (Hidden
states and attention weights have all p + n.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.adapters.virtual_tokens import (
    NAME,
    VirtualTokens,
    VirtualTokensConfig,
    cached_length,
    named_arguments,
    positions_in_front,
    refuse_packed,
    text_length,
)
from minitransformers.configs.fields import choice
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.tokenization import AutoTokenizer

_OF_TOKENS = ("logits", "prediction_logits", "last_hidden_state")  # (…, length, width)
_OF_SPANS = ("start_logits", "end_logits")  # (…, length)
_POSITIONS = ("start_positions", "end_positions", "mc_token_ids")


class Prompt(VirtualTokens):
    """P, and the hooks that put it in front of a text.

    Tokens of a placeholder stand in front of `input_ids`, and the token embedding's output has P in their place: heads
    that look for the end of a text in `input_ids` still find it.

    Args:
        vectors: P, (p, e). An encoder–decoder has, as in peft, further rows for a decoder, which are not used.
        placeholder: an id that is neither padding nor the end of a text.
    """

    def __init__(self, vectors: Tensor, count: int, placeholder: int, sizes: dict[str, Any]) -> None:
        super().__init__(count, sizes)
        self.placeholder = placeholder
        self.embedding = nn.Embedding(vectors.shape[0], vectors.shape[1], _weight=vectors)
        self._awaits_embedding = False
        self._lengths: tuple[int, int] | None = None  # dimensions of the ids, and length of the text

    def forward(self) -> Tensor:
        """P."""
        return self.embedding.weight

    def before_model(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]]:
        """A hook before the forward of the model, or of an encoder–decoder's encoder: make room for P in front."""
        arguments = named_arguments(model, args, kwargs)
        past, length = cached_length(arguments.get("past_key_values")), text_length(arguments)
        arguments["attention_mask"] = self.in_mask(arguments.get("attention_mask"), max(past - self.count, 0) + length)
        positions = arguments.get("position_ids")
        self._lengths = None
        if past:  # a later step of `generate`: P is in the cache
            if positions is not None:
                arguments["position_ids"] = positions + self.count
            return (), arguments
        refuse_packed(arguments)
        ids, vectors, labels = (arguments.get(name) for name in ("input_ids", "inputs_embeds", "labels"))
        shape = None if vectors is None else vectors.shape[:-1]
        if ids is not None:
            shape = ids.shape
            arguments["input_ids"] = F.pad(ids, (self.count, 0), value=self.placeholder)
            self._awaits_embedding, self._lengths = True, (ids.ndim, length)
        elif vectors is not None:
            arguments["inputs_embeds"] = torch.cat([self._for(vectors), vectors], dim=-2)
            self._lengths = vectors.ndim - 1, length
        if labels is not None and labels.shape == shape and not labels.is_floating_point():
            arguments["labels"] = F.pad(labels, (self.count, 0), value=IGNORED)
        if positions is not None:
            arguments["position_ids"] = positions_in_front(positions, self.count)
        if arguments.get("token_type_ids") is not None:
            arguments["token_type_ids"] = F.pad(arguments["token_type_ids"], (self.count, 0))
        for name in _POSITIONS:
            if arguments.get(name) is not None:
                arguments[name] = arguments[name] + self.count
        return (), arguments

    def after_embedding(self, table: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """A hook after the token embedding: P in the place of the placeholders."""
        if not self._awaits_embedding:
            return output
        self._awaits_embedding = False
        text = output[..., self.count :, :]
        return torch.cat([self._for(text), text], dim=-2)

    def after_model(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """A hook after the model: leave out what it computed for P."""
        if self._lengths is None:
            return output
        ndim, length = self._lengths
        for name in (*_OF_TOKENS, *_OF_SPANS):
            value, axis = output.get(name), ndim - 1
            if value is not None and value.ndim == ndim + (name in _OF_TOKENS):
                surplus = min(self.count, value.shape[axis] - length)
                output[name] = value.narrow(axis, surplus, value.shape[axis] - surplus) if surplus > 0 else value
        return output

    def before_decoder(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]]:
        """A hook before the forward of an encoder–decoder's decoder: the mask of the encoder's output has P, too."""
        arguments = named_arguments(decoder, args, kwargs)
        encoded, mask = arguments.get("encoder_hidden_states"), arguments.get("encoder_attention_mask")
        if encoded is not None:
            arguments["encoder_attention_mask"] = self.in_mask(mask, encoded.shape[1] - self.count)
        return (), arguments

    def _for(self, text: Tensor) -> Tensor:
        """P for every row of an embedded text (…, length, e)."""
        prompt = self.embedding.weight[: self.count].to(text.dtype)
        return prompt.expand(*text.shape[:-2], -1, -1)


class PromptTuningConfig(VirtualTokensConfig):
    """Settings of prompt tuning, under peft's names.

    Attributes:
        num_virtual_tokens: p.
        prompt_tuning_init: where P starts (§3.2): "RANDOM", N(0, 1); "SAMPLE_VOCAB", the embeddings of random tokens;
            or "TEXT", those of `prompt_tuning_init_text`, repeated or cut to p tokens.
        prompt_tuning_init_text, tokenizer_name_or_path: the text, and its tokenizer.
    """

    method = "PROMPT_TUNING"
    prompt_tuning_init: str = choice("RANDOM", ("RANDOM", "SAMPLE_VOCAB", "TEXT"))
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None

    def attach(self, model: Any, *, is_strict: bool = True) -> None:
        """Give the model, or the encoder of an encoder–decoder, a prompt.

        Raises:
            InputError: a model of images, or one whose loss would count the prompt.
        """
        if "input_ids" not in model._forward_arguments:
            raise InputError(f"{type(model).__name__} reads no tokens: use LoraConfig or BottleneckConfig.")
        if "ForPreTraining" in type(model).__name__ and model.get_output_embeddings() is None:
            raise InputError(
                f"{type(model).__name__} judges every token, and has no label for virtual ones: use PrefixTuningConfig "
                f"or LoraConfig."
            )
        is_encoder_decoder = model.config.is_encoder_decoder
        owner = model.get_encoder() if is_encoder_decoder else model
        weight = model.get_input_embeddings().weight
        rows = self.num_virtual_tokens * (2 if is_encoder_decoder and model.can_generate() else 1)
        vectors = self._first_vectors(weight, rows).to(torch.promote_types(weight.dtype, torch.float32))
        sizes = {
            "token_dim": weight.shape[1],
            "num_layers": model.config.num_hidden_layers,
            "num_attention_heads": model.config.num_attention_heads,
            "num_transformer_submodules": rows // self.num_virtual_tokens,
        }
        prompt = Prompt(vectors, self.num_virtual_tokens, _placeholder(model.config), sizes)
        model.add_module(NAME, prompt)
        owner.register_forward_pre_hook(prompt.before_model, with_kwargs=True)
        for table in owner.modules():
            if isinstance(table, nn.Embedding) and table.weight is weight:
                table.register_forward_hook(prompt.after_embedding)
        if is_encoder_decoder:
            model.get_decoder().register_forward_pre_hook(prompt.before_decoder, with_kwargs=True)
        else:
            owner.register_forward_hook(prompt.after_model, with_kwargs=True)

    @torch.no_grad()
    def _first_vectors(self, weight: Tensor, rows: int) -> Tensor:
        if self.prompt_tuning_init == "RANDOM":
            return torch.randn(rows, weight.shape[1], device=weight.device)
        if self.prompt_tuning_init == "SAMPLE_VOCAB":
            return weight[torch.randint(len(weight), (rows,), device=weight.device)].clone()
        if not self.prompt_tuning_init_text or not self.tokenizer_name_or_path:
            raise InputError(
                "prompt_tuning_init='TEXT' needs the text, prompt_tuning_init_text, and its tokenizer, "
                "tokenizer_name_or_path."
            )
        tokenizers: Any = AutoTokenizer
        tokenizer = tokenizers.from_pretrained(self.tokenizer_name_or_path)
        ids = torch.tensor(tokenizer(self.prompt_tuning_init_text)["input_ids"], device=weight.device)
        return weight[ids.repeat(rows // len(ids) + 1)[:rows]].clone()


def _placeholder(config: Any) -> int:
    """The first id that neither pads nor ends texts."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return next(id for id in range(len(ends) + 2) if id not in (config.pad_token_id, *ends))
