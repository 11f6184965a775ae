"""Mistral (Jiang et al., 2023): Llama whose layers look back at a window of tokens only.

The window (§2) is a rule of the mask: `within_window` in mask_arguments.py.
"""

from __future__ import annotations

from minitransformers.configs.fields import size
from minitransformers.models.llama import (
    WEIGHTS,
    LlamaFamilyConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
    LlamaPreTrainedModel,
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


class MistralPreTrainedModel(LlamaPreTrainedModel):
    """What all Mistral classes share."""

    config_class = MistralConfig

    @property
    def backbone_class(self) -> type[MistralModel]:
        """What models with a head are built on."""
        return MistralModel


class MistralModel(MistralPreTrainedModel, LlamaModel):
    """Mistral's backbone."""


class MistralForCausalLM(MistralPreTrainedModel, LlamaForCausalLM):
    """Mistral as a language model."""


class MistralForSequenceClassification(MistralPreTrainedModel, LlamaForSequenceClassification):
    """Mistral with a linear layer over the last real token of each sequence."""


class MistralForTokenClassification(MistralPreTrainedModel, LlamaForTokenClassification):
    """Mistral with a linear layer over every token."""


class MistralForQuestionAnswering(MistralPreTrainedModel, LlamaForQuestionAnswering):
    """Mistral that finds the answer to a question in a text."""

    base_model_prefix = "model"
    weights = WEIGHTS
