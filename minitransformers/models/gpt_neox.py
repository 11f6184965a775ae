"""GPT-NeoX (Black et al., 2022), the architecture of Pythia: parallel attention and feed-forward, rotary positions.

What has changed since GPT-2 (§2.1): rotary positions, for the first quarter of each head's features, in place of
learned ones; blocks whose attention and feed-forward network read the same input, and whose results are added; and an
output layer with weights of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import InputError
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
from minitransformers.models.base.mask_arguments import read_causal_mask
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.models.base.rotary import RotaryConfig, rotary_from_parameters
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block, BlockOutput
from minitransformers.nn.cache import Cache, CacheLayer
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward
from minitransformers.nn.heads import keep_positions, of_last_tokens
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import Rotary, count_positions
from minitransformers.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class GPTNeoXConfig(RotaryConfig):
    """The fields of GPT-NeoX's config.json; the defaults are those of the model with 20 billion parameters (§2)."""

    model_type = "gpt_neox"
    former_keywords: ClassVar[dict[str, str]] = {
        "rotary_emb_base": "rope_theta",
        "rotary_pct": "partial_rotary_factor",
    }
    rope_defaults: ClassVar[dict[str, Any]] = {"rope_theta": 10_000.0, "partial_rotary_factor": 0.25}

    vocab_size: int = size(50432)
    hidden_size: int = size(6144)
    num_hidden_layers: int = count(44)
    num_attention_heads: int = size(64)
    intermediate_size: int = size(24576)
    hidden_act: str = choice("gelu", ACTIVATIONS)
    attention_dropout: float = probability(0.0)
    hidden_dropout: float = probability(0.0)
    classifier_dropout: float = probability(0.1)
    initializer_range: float = positive(0.02)
    layer_norm_eps: float = positive(1e-5)
    use_cache: bool = True
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = None
    tie_word_embeddings: bool = False
    use_parallel_residual: bool = True
    attention_bias: bool = True
    is_decoder: bool = False  # files have it, and it changes nothing: the model is always a decoder

    def validate(self) -> None:
        """Refuse what no GPT-NeoX can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    alias("embed_out.weight", of="lm_head.weight"),
    drop("layers.{layer}.attention.bias"),  # the causal mask and the frequencies, buffers of old checkpoints
    drop("layers.{layer}.attention.masked_bias"),
    drop("layers.{layer}.attention.rotary_emb.inv_freq"),
    rename("embed_in.weight", "token_embedding.weight"),
    rename("layers.{layer}.attention.query_key_value.{kind}", "blocks.{layer}.self_attention.query_key_value.{kind}"),
    rename("layers.{layer}.attention.dense.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("layers.{layer}.input_layernorm.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("layers.{layer}.mlp.dense_h_to_4h.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("layers.{layer}.mlp.dense_4h_to_h.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("layers.{layer}.post_attention_layernorm.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    rename("final_layer_norm.{kind}", "final_norm.{kind}"),
    # Heads
    tie("lm_head.weight", to="gpt_neox.token_embedding.weight"),
    base="gpt_neox",
)


# ---- the blocks ------------------------------------------------------------------------------------------------------


class GPTNeoXAttention(MultiHeadAttention):
    """Multi-head attention whose fused projection has query, key and value of each head side by side."""

    def split_fused(self, fused: Float[Tensor, "batch length all"]) -> tuple[Tensor, Tensor, Tensor]:
        """Gather what belongs to all heads' queries, keys and values."""
        query, key, value = rearrange(
            fused, "batch length (heads three dim) -> three batch length (heads dim)", heads=self.num_heads, three=3
        )
        return query, key, value


class ParallelBlock(Block):
    """x + attention(norm(x)) + feed-forward(norm'(x)): both sub-layers read the same x (§2.1.2).

    One after the other, as in GPT-2, they would be a little better; side by side, models on many devices train faster.
    """

    def forward(  # type: ignore[override]  # there is no cross-attention
        self,
        hidden_states: Float[Tensor, "batch length hidden"],
        mask: AttentionMask | None = None,
        *,
        cache: CacheLayer | None = None,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
    ) -> BlockOutput:
        """Transform a sequence; see `Block`."""
        attended, weights = self.self_attention(
            self.self_attention_norm(hidden_states), mask=mask, cache=cache, rotary=rotary, kernel=kernel
        )
        transformed = self.feed_forward(self.feed_forward_norm(hidden_states))
        return BlockOutput(self.dropout(transformed) + self.dropout(attended) + hidden_states, weights, None)


def _block(config: GPTNeoXConfig) -> Block:
    return (ParallelBlock if config.use_parallel_residual else Block)(
        GPTNeoXAttention(
            config.hidden_size,
            config.num_attention_heads,
            dropout=config.attention_dropout,
            bias=config.attention_bias,
            causal=True,
            fused=True,
        ),
        FeedForward(config.hidden_size, config.intermediate_size, activation=config.hidden_act),
        lambda: LayerNorm(config.hidden_size, eps=config.layer_norm_eps),
        dropout=config.hidden_dropout,
        pre_norm=True,
    )


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPTNeoXPreTrainedModel(PreTrainedModel):
    """What all GPT-NeoX classes share."""

    config_class = GPTNeoXConfig
    base_model_prefix = "gpt_neox"
    weights = WEIGHTS

    config: GPTNeoXConfig


class GPTNeoXModel(GPTNeoXPreTrainedModel):
    """Embedding → causal blocks → final norm: a vector for every token, made from it and those before it."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        self.final_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
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
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
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
                key); see `read_attention_mask`.
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

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        hidden_states = self.dropout(hidden_states)
        if position_ids is None:
            position_ids = count_positions(length, past_length, device=hidden_states.device)
        rotary = rotary_from_parameters(
            config.rope_parameters or {},
            position_ids,
            head_dim=config.hidden_size // config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            dtype=hidden_states.dtype,
        )

        all_hidden_states, attentions = [], []
        for index, block in enumerate(self.blocks):
            all_hidden_states.append(hidden_states)
            hidden_states, attention, _ = self.run_block(
                block,
                hidden_states,
                mask,
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


# ---- the language model ----------------------------------------------------------------------------------------------


class GPTNeoXForCausalLM(GPTNeoXPreTrainedModel, GenerationMixin):
    """GPT-NeoX as a language model: which token comes next."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
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
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `GPTNeoXModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            past_key_values,
            use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
        return CausalLMOutputWithPast(loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions)


# ---- further heads ---------------------------------------------------------------------------------------------------


class GPTNeoXForSequenceClassification(GPTNeoXPreTrainedModel):
    """GPT-NeoX with a linear layer over the last real token of each sequence."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutputWithPast:
        """Classify sequences; see `GPTNeoXModel` for the inputs.

        The last token that is not `config.pad_token_id` decides; with `inputs_embeds`, the last of the row. `labels`:
        classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point; see
        `sequence_classification_loss`.

        Raises:
            InputError: several sequences and no `config.pad_token_id`: it would be unknown where they end.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_ends_are_known(batch_size, input_ids, self.config.pad_token_id)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            past_key_values,
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


class GPTNeoXForTokenClassification(GPTNeoXPreTrainedModel):
    """GPT-NeoX with a linear layer over every token."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; see `GPTNeoXModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        _refuse_segments(token_type_ids)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            past_key_values,
            use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape), upcast=True)
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class GPTNeoXForQuestionAnswering(GPTNeoXPreTrainedModel):
    """GPT-NeoX that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `GPTNeoXModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        _refuse_segments(token_type_ids)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)


def _refuse_segments(token_type_ids: Tensor | None) -> None:
    """Two classes have the argument in the reference, which ignores it."""
    if token_type_ids is not None:
        raise InputError("token_type_ids has no meaning for GPT-NeoX, which has no segments: leave it out.")
