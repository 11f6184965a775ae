"""Llama (Touvron et al., 2023): a GPT with RMS norms, rotary positions and a gated feed-forward network.

The differences from GPT-2 (§2.2): RMS norms in place of layer norms, rotary positions in place of learned ones, SwiGLU
in place of GELU, and no biases. Llama 2 adds grouped queries: several heads of queries share one head of keys and
values. Llama 3.1 adds rotary positions that are stretched for long texts. Mistral and Qwen2 (mistral.py, qwen2.py) are
this file with one change each.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from torch import Tensor, nn

from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames, drop, former
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_ends_are_known,
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.inputs import OutputOptions, Record
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.base.rotary import RotaryConfig, RotaryEmbedding
from minitransformers.nn.attention import AttentionOutput, attend
from minitransformers.nn.cache import Cache, CacheLayer
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.normalization import RMSNorm
from minitransformers.nn.positions import Rotary
from minitransformers.nn.selection import keep_positions, of_last_tokens
from minitransformers.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class LlamaFamilyConfig(RotaryConfig):
    """The fields that Llama, Mistral and Qwen2 share, and where the three models differ."""

    vocab_size: int = size(32000)
    hidden_size: int = size(4096)
    intermediate_size: int = size(11008)
    num_hidden_layers: int = count(32)
    num_attention_heads: int = size(32)
    num_key_value_heads: int | None = size(None)  # None: as many as heads
    head_dim: int | None = size(None)  # None: hidden_size / num_attention_heads
    hidden_act: str = choice("silu", ACTIVATIONS)
    initializer_range: float = positive(0.02)
    rms_norm_eps: float = positive(1e-6)
    attention_dropout: float = probability(0.0)
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Which layers have biases: queries, keys and values; the output of attention; the feed-forward network."""
        return False, False, False

    @property
    def windows(self) -> list[int | None]:
        """How many tokens a layer's queries look back at, their own included; None for all of them."""
        return [None] * self.num_hidden_layers

    def complete(self) -> None:
        """Fill in numbers of heads, and positions."""
        super().complete()
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads

    def validate(self) -> None:
        """Refuse what no model of the family can be built from."""
        super().validate()
        if self.num_attention_heads % (self.num_key_value_heads or 1):
            raise ConfigError(
                f"num_attention_heads={self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}."
            )
        if (self.head_dim or 0) % 2:
            raise ConfigError(f"head_dim={self.head_dim} must be even: features are rotated in pairs.")


class LlamaConfig(LlamaFamilyConfig):
    """The fields of Llama's config.json; the defaults are those of the smallest one (table 2), 7 billion parameters."""

    model_type = "llama"

    attention_bias: bool = False
    mlp_bias: bool = False
    pretraining_tp: int | None = 1  # on how many devices it was trained, which changes no number

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Given by two fields."""
        return self.attention_bias, self.attention_bias, self.mlp_bias

    def validate(self) -> None:
        """Refuse what no Llama can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")


# ---- blocks ----------------------------------------------------------------------------------------------------------


class LlamaRMSNorm(RMSNorm):
    """x / √(mean(x²) + eps) · weight."""


class LlamaRotaryEmbedding(RotaryEmbedding):
    """The rotation of each position, one for all blocks."""


class LlamaMLP(nn.Module):
    """The gated feed-forward network: down_proj(activation(gate_proj(x)) · up_proj(x)) (Shazeer, 2020, eq. 6)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        _, _, bias = config.biases
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=bias)
        self.act_fn = activation_function(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class LlamaAttention(nn.Module):
    """Causal attention with rotary positions, whose heads of queries may share heads of keys and values."""

    def __init__(self, config: Any, layer_idx: int = 0) -> None:
        super().__init__()
        self.layer_idx, self.heads, self.head_dim = layer_idx, config.num_attention_heads, config.head_dim
        self.scaling, self.attention_dropout = self.head_dim**-0.5, config.attention_dropout
        bias, output_bias, _ = config.biases
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, config.hidden_size, bias=output_bias)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        *,
        rotary: Rotary | None = None,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> AttentionOutput:
        """Attend from `x` (batch, length, hidden) to itself and the cache."""
        attended, weights = attend(
            self.q_proj(x),
            self.k_proj(x),
            self.v_proj(x),
            heads=self.heads,
            mask=mask,
            cache=cache,
            rotary=rotary,
            scale=self.scaling,
            dropout=self.attention_dropout if self.training else 0.0,
            kernel=kernel,
        )
        return AttentionOutput(self.o_proj(attended), weights)


class LlamaDecoderLayer(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, each added to its input."""

    attention_class: ClassVar[type[nn.Module]] = LlamaAttention
    mlp_class: ClassVar[type[nn.Module]] = LlamaMLP
    norm_class: ClassVar[type[nn.Module]] = LlamaRMSNorm

    def __init__(self, config: Any, layer_idx: int = 0) -> None:
        super().__init__()
        self.self_attn = self.attention_class(config, layer_idx)
        self.mlp = self.mlp_class(config)
        self.input_layernorm = self.norm_class(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = self.norm_class(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        rotary: Rotary | None = None,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x = hidden_states
        attended, weights = self.self_attn(
            self.input_layernorm(x), attention_mask, rotary=rotary, cache=cache, kernel=kernel
        )
        x = x + attended
        x = x + self.mlp(self.post_attention_layernorm(x))
        if record is not None:
            record(weights, None)
        return x  # type: ignore[no-any-return]


# ---- the backbone ----------------------------------------------------------------------------------------------------

FREQUENCIES = drop("layers.{layer}.self_attn.rotary_emb.inv_freq")  # a buffer of old checkpoints


class LlamaPreTrainedModel(PreTrainedModel):
    """The base of all Llama classes."""

    config_class: ClassVar[type[LlamaFamilyConfig]] = LlamaConfig
    base_model_prefix = "model"
    checkpoint_names = CheckpointNames(
        former("transformer.{name...}", "model.{name...}"),  # in files of models for question answering
        FREQUENCIES,
        base="model",
    )
    _input_embeddings = "embed_tokens"
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}
    _no_split_modules: ClassVar[list[str]] = ["LlamaDecoderLayer"]

    config: LlamaFamilyConfig

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads of keys and values, and their width."""
        config = self.config
        return config.num_hidden_layers, config.num_key_value_heads or 0, config.head_dim or 0

    @property
    def backbone_class(self) -> type[LlamaModel]:
        """The backbone of models with a head; a family that derives from this one has its own."""
        return LlamaModel


class LlamaModel(LlamaPreTrainedModel):
    """Embedding → causal blocks → final norm: a vector for every token, made from it and those before it."""

    layer_class: ClassVar[type[LlamaDecoderLayer]] = LlamaDecoderLayer
    rotary_class: ClassVar[type[RotaryEmbedding]] = LlamaRotaryEmbedding

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(self.layer_class(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = self.layer_class.norm_class(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = self.rotary_class(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPast:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key), which is the complete rule, windows included; see `read_attention_mask`.
            position_ids: (batch, length); counted on from the cache if None, padding included. Without mask and cache,
                positions that start again separate documents, which do not see each other.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        inputs = self.prepare_inputs(
            input_ids,
            inputs_embeds,
            attention_mask,
            position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **options,
            is_causal=True,
            max_positions=None,
            widens=False,
        )
        masks = {window: inputs.window(window) for window in set(self.config.windows)}
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        rotary = self.rotary_emb(x, inputs.position_ids)
        for index, (layer, window) in enumerate(zip(self.layers, self.config.windows, strict=True)):
            inputs.keep(x)
            x = layer(x, masks[window], rotary=rotary, **inputs.for_layer(index))
        x = self.norm(x)
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutputWithPast(x, inputs.past_key_values, **inputs.kept())


# ---- the language model ----------------------------------------------------------------------------------------------


class LlamaForCausalLM(LlamaPreTrainedModel, GenerationMixin):
    """Llama as a language model: which token comes next."""

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.model = self.backbone_class(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @property
    def max_positions(self) -> None:
        """None: a text may have any number of tokens, because rotary positions are computed."""
        return None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `LlamaModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        if labels is not None and self.skips_logits:
            x = decoded.last_hidden_state
            return CausalLMOutputWithPast(
                self.next_token_loss(self.lm_head, x, labels, num_items_in_batch, shift_labels)
            )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels.view(shape),
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
                shift_labels=shift_labels,
            )
        return CausalLMOutputWithPast(loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions)


# ---- further heads ---------------------------------------------------------------------------------------------------


class LlamaForSequenceClassification(LlamaPreTrainedModel):
    """Llama with a linear layer over the last real token of each sequence."""

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.model = self.backbone_class(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> SequenceClassifierOutputWithPast:
        """Classify sequences; see `LlamaModel` for the inputs.

        The last token that is not `config.pad_token_id` decides; with `inputs_embeds`, the last of the row. `labels`:
        classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point; see
        `sequence_classification_loss`.

        Raises:
            InputError: several sequences and no `config.pad_token_id`: it would be unknown where they end.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_ends_are_known(batch_size, input_ids, self.config.pad_token_id)
        decoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        scores = self.score(decoded.last_hidden_state)
        logits = of_last_tokens(scores, input_ids, self.config.pad_token_id)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=scores, labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutputWithPast(
            loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions
        )


class LlamaForTokenClassification(LlamaPreTrainedModel):
    """Llama with a linear layer over every token."""

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.model = self.backbone_class(config)
        self.dropout = nn.Dropout(0.1)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `LlamaModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        logits = self.score(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else self.loss_function(logits, labels.view(shape), self.config)
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class LlamaForQuestionAnswering(LlamaPreTrainedModel):
    """Llama that finds the answer to a question in a text: where it starts and ends."""

    base_model_prefix: ClassVar[str] = "transformer"
    checkpoint_names = CheckpointNames(
        former("model.{name...}", "transformer.{name...}"), FREQUENCIES, base="transformer"
    )

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        setattr(self, self.base_model_prefix, self.backbone_class(config))
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `LlamaModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.base_model(  # `transformer`; `model` in Mistral
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, return_dict=True, **options
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
