"""GPT-Neo (Black et al., 2021), an open reproduction of GPT-3: a GPT-2 with local attention in every other layer.

What has changed since GPT-2: global layers, which see all earlier tokens, alternate with local ones, which see only the
last few (Brown et al., 2020, §2.1); queries, keys and values come from three projections without biases; and scores are
not divided by √head_dim.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.weight_names import WeightTable, drop, rename, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ends_are_known,
    check_ids,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.mask_arguments import read_causal_mask, within_window
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward
from minitransformers.nn.heads import keep_positions, of_last_tokens
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import causal_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import LearnedPositions, count_positions
from minitransformers.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class GPTNeoConfig(Config):
    """The fields of GPT-Neo's config.json; the defaults are those of the model with 1.3 billion parameters."""

    model_type = "gpt_neo"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    vocab_size: int = size(50257)
    max_position_embeddings: int = size(2048)
    hidden_size: int = size(2048)
    num_layers: int = count(24)
    attention_types: list[Any] | None = None  # [[["global", "local"], 12]]: twelve times one and the other
    num_heads: int = size(16)
    intermediate_size: int | None = size(None)  # None: four times hidden_size
    window_size: int = size(256)  # what a local layer sees, its own token included
    activation_function: str = choice("gelu_new", ACTIVATIONS)
    resid_dropout: float = probability(0.0)
    embed_dropout: float = probability(0.0)
    attention_dropout: float = probability(0.0)
    classifier_dropout: float = probability(0.1)
    layer_norm_epsilon: float = positive(1e-5)
    initializer_range: float = positive(0.02)
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    @property
    def attention_layers(self) -> list[str]:
        """ "global" or "local" for each layer."""
        return [kind for kinds, times in self.attention_types or () for _ in range(times) for kind in kinds]

    def complete(self) -> None:
        """Fill in what the layers see."""
        if self.attention_types is None:
            self.attention_types = [[["global", "local"], 12]]

    def validate(self) -> None:
        """Refuse what no GPT-Neo can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_heads")
        try:
            layers = self.attention_layers
        except (TypeError, ValueError):
            layers = ["?"]
        if not set(layers) <= {"global", "local"} or len(layers) != self.num_layers:
            raise ConfigError(
                f"attention_types={self.attention_types} must say 'global' or 'local' for each of num_layers="
                f"{self.num_layers} layers, for instance [[['global', 'local'], {max(1, self.num_layers // 2)}]]."
            )


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    drop("h.{layer}.attn.attention.bias"),  # the mask, a buffer of old checkpoints
    drop("h.{layer}.attn.attention.masked_bias"),
    rename("wte.weight", "token_embedding.weight"),
    rename("wpe.weight", "position_embedding.weight"),
    rename("h.{layer}.attn.attention.q_proj.weight", "blocks.{layer}.self_attention.query.weight"),
    rename("h.{layer}.attn.attention.k_proj.weight", "blocks.{layer}.self_attention.key.weight"),
    rename("h.{layer}.attn.attention.v_proj.weight", "blocks.{layer}.self_attention.value.weight"),
    rename("h.{layer}.attn.attention.out_proj.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("h.{layer}.ln_1.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("h.{layer}.mlp.c_fc.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("h.{layer}.mlp.c_proj.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("h.{layer}.ln_2.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    rename("ln_f.{kind}", "final_norm.{kind}"),
    # Heads
    tie("lm_head.weight", to="transformer.token_embedding.weight"),
    base="transformer",
)


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPTNeoPreTrainedModel(PreTrainedModel):
    """What all GPT-Neo classes share."""

    config_class = GPTNeoConfig
    base_model_prefix = "transformer"
    weights = WEIGHTS

    config: GPTNeoConfig


class GPTNeoModel(GPTNeoPreTrainedModel):
    """Embeddings → causal blocks, global and local ones → final norm: a vector for every token."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = LearnedPositions(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.embed_dropout)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_layers))
        self.final_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
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
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); what is said there is restricted to the past, and in local layers to the window.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted on from the cache if None, padding included. Where there is neither
                mask nor cache and positions start anew, the row is several documents that do not see each other.
            output_attentions, output_hidden_states: None means what the config says.
            return_dict: see `PreTrainedModel.__call__`.

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
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("token_type_ids", token_type_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids(
            "position_ids",
            position_ids,
            (batch_size, length),
            config.max_position_embeddings,
            "max_position_embeddings",
        )
        if position_ids is None:
            check_length(length, past_length, config.max_position_embeddings)
        mask = read_causal_mask(
            attention_mask,
            position_ids,
            cache,
            batch_size=batch_size,
            length=length,
            num_heads=config.num_heads,
            dtype=self.dtype,
            device=self.device,
        )
        key_length = past_length + length
        if attention_mask is not None and attention_mask.ndim == 4:
            mask = mask.restricted_to(causal_mask(length, key_length, device=self.device))
        masks = {"global": mask, "local": within_window(mask, config.window_size, length, key_length, self.device)}

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(length, past_length, device=hidden_states.device)
        hidden_states = hidden_states + self.position_embedding(position_ids)
        if token_type_ids is not None:
            hidden_states = hidden_states + self.token_embedding(token_type_ids)
        hidden_states = self.dropout(hidden_states)

        all_hidden_states, attentions = [], []
        for index, (block, kind) in enumerate(zip(self.blocks, config.attention_layers, strict=True)):
            all_hidden_states.append(hidden_states)
            hidden_states, attention, _ = self.run_block(
                block,
                hidden_states,
                masks[kind],
                cache=None if cache is None else cache.self_layer(index),
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


def _block(config: GPTNeoConfig) -> Block:
    return Block(
        MultiHeadAttention(
            config.hidden_size,
            config.num_heads,
            dropout=config.attention_dropout,
            bias=False,
            output_bias=True,
            causal=True,
            scale=1.0,
            upcast=True,
        ),
        FeedForward(
            config.hidden_size,
            config.intermediate_size or 4 * config.hidden_size,
            activation=config.activation_function,
        ),
        lambda: LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon),
        dropout=config.resid_dropout,
        pre_norm=True,
    )


# ---- the language model ----------------------------------------------------------------------------------------------


class GPTNeoForCausalLM(GPTNeoPreTrainedModel, GenerationMixin):
    """GPT-Neo as a language model: which token comes next."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings

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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `GPTNeoModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
        return CausalLMOutputWithPast(loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions)


# ---- further heads ---------------------------------------------------------------------------------------------------


class GPTNeoForSequenceClassification(GPTNeoPreTrainedModel):
    """GPT-Neo with a linear layer over the last real token of each sequence."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutputWithPast:
        """Classify sequences; see `GPTNeoModel` for the inputs.

        The last token that is not `config.pad_token_id` decides; with `inputs_embeds`, the last of the row. `labels`:
        classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point; see
        `sequence_classification_loss`.

        Raises:
            InputError: several sequences and no `config.pad_token_id`: it would be unknown where they end.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_ends_are_known(batch_size, input_ids, self.config.pad_token_id)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutputWithPast(
            loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions
        )


class GPTNeoForTokenClassification(GPTNeoPreTrainedModel):
    """GPT-Neo with a linear layer over every token."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; see `GPTNeoModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class GPTNeoForQuestionAnswering(GPTNeoPreTrainedModel):
    """GPT-Neo that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `GPTNeoModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.transformer(
            input_ids,
            None,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
