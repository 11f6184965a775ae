"""Llama (Touvron et al., 2023): a GPT with RMS norms, rotary positions and a gated feed-forward network.

What has changed since GPT-2, all of it §2.2: RMS norms in place of layer norms, rotary positions in place of learned
ones, SwiGLU in place of GELU, and no biases. Llama 2 adds grouped queries: several heads of queries share one head of
keys and values. Llama 3.1 adds rotary positions that are stretched for long texts. Mistral and Qwen2 (mistral.py,
qwen2.py) are this file with one change each.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.weight_names import WeightTable, alias, drop, rename, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ends_are_known,
    check_ids,
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    check_unlimited_positions,
    read_shape,
)
from minitransformers.models.base.mask_arguments import read_causal_mask, within_window
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.models.base.rotary import RotaryConfig, rotary_from_parameters
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, GatedFeedForward
from minitransformers.nn.heads import keep_positions, of_last_tokens
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.normalization import RMSNorm
from minitransformers.nn.positions import count_positions
from minitransformers.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class LlamaFamilyConfig(RotaryConfig):
    """The fields that Llama, Mistral and Qwen2 share, and what the model asks of each of them."""

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
            raise ConfigError(f"head_dim={self.head_dim} must be even: features are turned in pairs.")


class LlamaConfig(LlamaFamilyConfig):
    """The fields of Llama's config.json; the defaults are those of the smallest one (table 2), 7 billion parameters."""

    model_type = "llama"

    attention_bias: bool = False
    mlp_bias: bool = False
    pretraining_tp: int | None = 1  # on how many devices it was trained, which changes no number

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Two fields say it."""
        return self.attention_bias, self.attention_bias, self.mlp_bias

    def validate(self) -> None:
        """Refuse what no Llama can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    alias("transformer.{name...}", of="model.{name...}"),  # as files of models for question answering have it
    drop("layers.{layer}.self_attn.rotary_emb.inv_freq"),  # frequencies, a buffer of old checkpoints
    rename("embed_tokens.weight", "token_embedding.weight"),
    rename("layers.{layer}.self_attn.q_proj.{kind}", "blocks.{layer}.self_attention.query.{kind}"),
    rename("layers.{layer}.self_attn.k_proj.{kind}", "blocks.{layer}.self_attention.key.{kind}"),
    rename("layers.{layer}.self_attn.v_proj.{kind}", "blocks.{layer}.self_attention.value.{kind}"),
    rename("layers.{layer}.self_attn.o_proj.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("layers.{layer}.input_layernorm.weight", "blocks.{layer}.self_attention_norm.weight"),
    rename("layers.{layer}.mlp.gate_proj.{kind}", "blocks.{layer}.feed_forward.gate.{kind}"),
    rename("layers.{layer}.mlp.up_proj.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("layers.{layer}.mlp.down_proj.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("layers.{layer}.post_attention_layernorm.weight", "blocks.{layer}.feed_forward_norm.weight"),
    rename("norm.weight", "final_norm.weight"),
    # Heads
    tie("lm_head.weight", to="model.token_embedding.weight"),
    base="model",
)


# ---- the backbone ----------------------------------------------------------------------------------------------------


class LlamaPreTrainedModel(PreTrainedModel):
    """What all Llama classes share."""

    config_class: ClassVar[type[LlamaFamilyConfig]] = LlamaConfig
    base_model_prefix = "model"
    weights = WEIGHTS

    config: LlamaFamilyConfig

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads of keys and values, and their width."""
        config = self.config
        return config.num_hidden_layers, config.num_key_value_heads or 0, config.head_dim or 0

    @property
    def backbone_class(self) -> type[LlamaModel]:
        """What models with a head are built on; a family that derives from this one has its own."""
        return LlamaModel


class LlamaModel(LlamaPreTrainedModel):
    """Embedding → causal blocks → final norm: a vector for every token, made from it and those before it."""

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        self.final_norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.token_embedding = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key), which is the whole rule, windows included; see `read_attention_mask`.
            position_ids: (batch, length); counted on from the cache if None, padding included. Where there is neither
                mask nor cache and positions start anew, the row is several documents that do not see each other.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, config.hidden_size)
        use_cache = self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.get_seq_length()
        check_dtype("inputs_embeds", inputs_embeds, self.dtype)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_unlimited_positions(position_ids, (batch_size, length))
        mask = read_causal_mask(
            attention_mask,
            position_ids,
            cache,
            batch_size=batch_size,
            length=length,
            num_heads=config.num_attention_heads,
            dtype=self.dtype,
            device=self.device,
        )
        is_whole_rule = attention_mask is not None and attention_mask.ndim == 4
        masks = {
            window: mask if is_whole_rule else within_window(mask, window, length, past_length + length, self.device)
            for window in set(config.windows)
        }

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(length, past_length, device=hidden_states.device)
        rotary = rotary_from_parameters(
            config.rope_parameters or {},
            position_ids,
            head_dim=config.head_dim or 0,
            max_position_embeddings=config.max_position_embeddings,
            dtype=hidden_states.dtype,
        )

        all_hidden_states, attentions = [], []
        for index, (block, window) in enumerate(zip(self.blocks, config.windows, strict=True)):
            all_hidden_states.append(hidden_states)
            hidden_states, attention, _ = self.run_block(
                block,
                hidden_states,
                masks[window],
                cache=None if cache is None else cache.self_layer(index),
                rotary=rotary,
                kernel=kernel,
            )
            attentions.append(attention)
        hidden_states = self.final_norm(hidden_states)
        all_hidden_states.append(hidden_states)  # of the last block, its normed output is given

        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def _block(config: LlamaFamilyConfig) -> Block:
    query_key_value_bias, output_bias, feed_forward_bias = config.biases
    return Block(
        MultiHeadAttention(
            config.hidden_size,
            config.num_attention_heads,
            head_dim=config.head_dim,
            num_key_value_heads=config.num_key_value_heads,
            dropout=config.attention_dropout,
            bias=query_key_value_bias,
            output_bias=output_bias,
            causal=True,
        ),
        GatedFeedForward(
            config.hidden_size, config.intermediate_size, activation=config.hidden_act, bias=feed_forward_bias
        ),
        lambda: RMSNorm(config.hidden_size, eps=config.rms_norm_eps),
        pre_norm=True,
    )


# ---- the language model ----------------------------------------------------------------------------------------------


class LlamaForCausalLM(LlamaPreTrainedModel, GenerationMixin):
    """Llama as a language model: which token comes next."""

    def __init__(self, config: LlamaFamilyConfig) -> None:
        super().__init__(config)
        self.model = self.backbone_class(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings

    @property
    def max_positions(self) -> None:
        """A text may have any number of tokens: rotary positions are computed, and need no table that ends."""
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `LlamaModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.score(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape), upcast=True)
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class LlamaForQuestionAnswering(LlamaPreTrainedModel):
    """Llama that finds the answer to a question in a text: where it starts and ends."""

    base_model_prefix: ClassVar[str] = "transformer"
    weights = WeightTable(alias("model.{name...}", of="transformer.{name...}"), *WEIGHTS.rules[1:], base="transformer")

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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `LlamaModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.base_model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
