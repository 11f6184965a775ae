"""GPT-NeoX (Black et al., 2022), the architecture of Pythia: parallel attention and feed-forward, rotary positions.

The differences from GPT-2 (§2.1): rotary positions, for the first quarter of each head's features, in place of learned
ones; blocks whose attention and feed-forward network read the same input, and whose results are added; and an output
layer with weights of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from einops import rearrange
from torch import Tensor, nn

from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.files.checkpoint_names import CheckpointNames, drop, stored
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


# ---- blocks ----------------------------------------------------------------------------------------------------------


class GPTNeoXMLP(nn.Module):
    """The feed-forward network: dense_4h_to_h(activation(dense_h_to_4h(x)))."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = activation_function(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.dense_4h_to_h(self.act(self.dense_h_to_4h(hidden_states)))  # type: ignore[no-any-return]


class GPTNeoXRotaryEmbedding(RotaryEmbedding):
    """The rotation of each position, one for all blocks."""


class GPTNeoXAttention(nn.Module):
    """Causal attention whose one projection has query, key and value of each head side by side."""

    def __init__(self, config: Any, layer_idx: int | None = None) -> None:
        super().__init__()
        self.layer_idx, self.heads = layer_idx, config.num_attention_heads
        self.attention_dropout = config.attention_dropout
        self.scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)

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
        query, key, value = rearrange(
            self.query_key_value(x),
            "batch length (heads three dim) -> three batch length (heads dim)",
            heads=self.heads,
            three=3,
        )
        attended, weights = attend(
            query,
            key,
            value,
            heads=self.heads,
            mask=mask,
            cache=cache,
            rotary=rotary,
            scale=self.scaling,
            dropout=self.attention_dropout if self.training else 0.0,
            kernel=kernel,
        )
        return AttentionOutput(self.dense(attended), weights)


class GPTNeoXLayer(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, which read the same input, are added to it (§2.1.2).

    One after the other, as in GPT-2 and with `use_parallel_residual=False`, they would be a little better; side by
    side, models on many devices train faster.
    """

    def __init__(self, config: Any, layer_idx: int | None = None) -> None:
        super().__init__()
        self.use_parallel_residual = config.use_parallel_residual
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_dropout = nn.Dropout(config.hidden_dropout)
        self.post_mlp_dropout = nn.Dropout(config.hidden_dropout)
        self.attention = GPTNeoXAttention(config, layer_idx)
        self.mlp = GPTNeoXMLP(config)

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
        attended, weights = self.attention(
            self.input_layernorm(x), attention_mask, rotary=rotary, cache=cache, kernel=kernel
        )
        attended = self.post_attention_dropout(attended)
        if self.use_parallel_residual:
            x = self.post_mlp_dropout(self.mlp(self.post_attention_layernorm(x))) + attended + x
        else:
            x = x + attended
            x = x + self.post_mlp_dropout(self.mlp(self.post_attention_layernorm(x)))
        if record is not None:
            record(weights, None)
        return x  # type: ignore[no-any-return]


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPTNeoXPreTrainedModel(PreTrainedModel):
    """The base of all GPT-NeoX classes."""

    config_class = GPTNeoXConfig
    base_model_prefix = "gpt_neox"
    checkpoint_names = CheckpointNames(
        stored("embed_out.weight", "lm_head.weight"),
        # The causal mask and the frequencies, buffers of old checkpoints
        drop("layers.{layer}.attention.bias"),
        drop("layers.{layer}.attention.masked_bias"),
        drop("layers.{layer}.attention.rotary_emb.inv_freq"),
        base="gpt_neox",
    )
    _input_embeddings = "embed_in"
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "gpt_neox.embed_in.weight"}
    _no_split_modules: ClassVar[list[str]] = ["GPTNeoXLayer"]

    config: GPTNeoXConfig


class GPTNeoXModel(GPTNeoXPreTrainedModel):
    """Embedding → causal blocks → final norm: a vector for every token, made from it and those before it."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.emb_dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(GPTNeoXLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.rotary_emb = GPTNeoXRotaryEmbedding(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPast:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
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
        x = self.emb_dropout(self.embed_in(input_ids) if inputs_embeds is None else inputs_embeds)
        rotary = self.rotary_emb(x, inputs.position_ids)
        for index, layer in enumerate(self.layers):
            inputs.keep(x)
            x = layer(x, inputs.mask, rotary=rotary, **inputs.for_layer(index))
        x = self.final_layer_norm(x)
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutputWithPast(x, inputs.past_key_values, **inputs.kept())


# ---- the language model ----------------------------------------------------------------------------------------------


class GPTNeoXForCausalLM(GPTNeoXPreTrainedModel, GenerationMixin):
    """GPT-NeoX as a language model: which token comes next."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
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
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `GPTNeoXModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            past_key_values,
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
        **options: Unpack[OutputOptions],
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
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `GPTNeoXModel` for the inputs. `labels` (batch, length), −100 where none is wanted.

        `token_type_ids` are ignored: the family has no segments.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.gpt_neox(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            past_key_values,
            use_cache,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else self.loss_function(logits, labels.view(shape), self.config)
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
        **options: Unpack[OutputOptions],
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `GPTNeoXModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        `token_type_ids` are ignored: the family has no segments.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.gpt_neox(input_ids, attention_mask, position_ids, inputs_embeds, return_dict=True, **options)
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
