"""Qwen2 (Yang et al., 2024): Llama with biases on queries, keys and values, and windows in some layers (§2.2)."""

from __future__ import annotations

from typing import ClassVar

from minitransformers.configs.fields import constrained, count, size
from minitransformers.errors import ConfigError
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

LAYER_TYPES = ("full_attention", "sliding_attention")


class Qwen2Config(LlamaFamilyConfig):
    """The fields of Qwen2's config.json."""

    model_type = "qwen2"

    vocab_size: int = size(151936)
    intermediate_size: int = size(22016)
    num_key_value_heads: int | None = size(32)
    max_position_embeddings: int = size(32768)
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_sliding_window: bool = False
    sliding_window: int | None = size(4096)
    max_window_layers: int = count(28)  # how many layers see all tokens; those above have windows
    layer_types: list[str] | None = constrained(
        None, lambda types: set(types) <= set(LAYER_TYPES), f"a list of {' and '.join(map(repr, LAYER_TYPES))}"
    )

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Queries, keys and values have them."""
        return True, False, False

    @property
    def windows(self) -> list[int | None]:
        """In the layers of `layer_types` that have one."""
        return [self.sliding_window if kind == "sliding_attention" else None for kind in self.layer_types or ()]

    def complete(self) -> None:
        """Fill in which layers have windows."""
        super().complete()
        if not self.use_sliding_window:
            self.sliding_window = None
        if self.layer_types is None:
            has_windows = self.sliding_window is not None
            self.layer_types = [
                "sliding_attention" if has_windows and layer >= self.max_window_layers else "full_attention"
                for layer in range(self.num_hidden_layers)
            ]

    def validate(self) -> None:
        """Refuse what no Qwen2 can be built from."""
        super().validate()
        types = self.layer_types or []
        if len(types) != self.num_hidden_layers:
            raise ConfigError(
                f"layer_types has {len(types)} entries; num_hidden_layers={self.num_hidden_layers} needs one each."
            )
        if "sliding_attention" in types and self.sliding_window is None:
            raise ConfigError(
                "layer_types has 'sliding_attention', which needs use_sliding_window=True and a sliding_window."
            )


class Qwen2RMSNorm(LlamaRMSNorm):
    """As in Llama."""


class Qwen2RotaryEmbedding(LlamaRotaryEmbedding):
    """As in Llama."""


class Qwen2MLP(LlamaMLP):
    """As in Llama."""


class Qwen2Attention(LlamaAttention):
    """As in Llama, with the biases of `Qwen2Config.biases`."""


class Qwen2DecoderLayer(LlamaDecoderLayer):
    """As in Llama."""

    attention_class = Qwen2Attention
    mlp_class = Qwen2MLP
    norm_class = Qwen2RMSNorm


class Qwen2PreTrainedModel(LlamaPreTrainedModel):
    """The base of all Qwen2 classes."""

    config_class = Qwen2Config
    _no_split_modules: ClassVar[list[str]] = ["Qwen2DecoderLayer"]

    @property
    def backbone_class(self) -> type[Qwen2Model]:
        """The backbone of models with a head."""
        return Qwen2Model


class Qwen2Model(Qwen2PreTrainedModel, LlamaModel):
    """Qwen2's backbone."""

    layer_class = Qwen2DecoderLayer
    rotary_class = Qwen2RotaryEmbedding


class Qwen2ForCausalLM(Qwen2PreTrainedModel, LlamaForCausalLM):
    """Qwen2 as a language model."""


class Qwen2ForSequenceClassification(Qwen2PreTrainedModel, LlamaForSequenceClassification):
    """Qwen2 with a linear layer over the last real token of each sequence."""


class Qwen2ForTokenClassification(Qwen2PreTrainedModel, LlamaForTokenClassification):
    """Qwen2 with a linear layer over every token."""


class Qwen2ForQuestionAnswering(Qwen2PreTrainedModel, LlamaForQuestionAnswering):
    """Qwen2 that finds the answer to a question in a text."""
