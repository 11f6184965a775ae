"""Mistral (Jiang et al., 2023): Llama whose layers look back at a window of tokens only.

The window (§2) is a rule of the mask: `within_window` in masks.py.
"""

from __future__ import annotations

from typing import ClassVar

from minitransformers.configs.fields import size
from minitransformers.models.llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaFamilyConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaMLP,
    LlamaModel,
    LlamaPreTrainedModel,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)


class MistralConfig(LlamaFamilyConfig):
    """The fields of Mistral's config.json; the defaults are those of Mistral 7B (table 1)."""

    model_type = "mistral"

    intermediate_size: int = size(14336)
    num_key_value_heads: int | None = size(8)
    max_position_embeddings: int = size(131072)
    sliding_window: int | None = size(4096)  # None: all tokens, as in later Mistrals

    @property
    def windows(self) -> list[int | None]:
        """The same window in every layer."""
        return [self.sliding_window] * self.num_hidden_layers


class MistralRMSNorm(LlamaRMSNorm):
    """As in Llama."""


class MistralRotaryEmbedding(LlamaRotaryEmbedding):
    """As in Llama."""


class MistralMLP(LlamaMLP):
    """As in Llama."""


class MistralAttention(LlamaAttention):
    """As in Llama."""


class MistralDecoderLayer(LlamaDecoderLayer):
    """As in Llama."""

    attention_class = MistralAttention
    mlp_class = MistralMLP
    norm_class = MistralRMSNorm


class MistralPreTrainedModel(LlamaPreTrainedModel):
    """The base of all Mistral classes."""

    config_class = MistralConfig
    _no_split_modules: ClassVar[list[str]] = ["MistralDecoderLayer"]

    @property
    def backbone_class(self) -> type[MistralModel]:
        """The backbone of models with a head."""
        return MistralModel


class MistralModel(MistralPreTrainedModel, LlamaModel):
    """Mistral's backbone."""

    layer_class = MistralDecoderLayer
    rotary_class = MistralRotaryEmbedding


class MistralForCausalLM(MistralPreTrainedModel, LlamaForCausalLM):
    """Mistral as a language model."""


class MistralForSequenceClassification(MistralPreTrainedModel, LlamaForSequenceClassification):
    """Mistral with a linear layer over the last real token of each sequence."""


class MistralForTokenClassification(MistralPreTrainedModel, LlamaForTokenClassification):
    """Mistral with a linear layer over every token."""


class MistralForQuestionAnswering(MistralPreTrainedModel, LlamaForQuestionAnswering):
    """Mistral that finds the answer to a question in a text."""

    base_model_prefix = "model"
    checkpoint_names = MistralPreTrainedModel.checkpoint_names
