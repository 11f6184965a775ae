"""BART (Lewis et al., 2020): a transformer that learnt to restore corrupted text, as encoder and decoder.

Reads top to bottom: configuration, weight names, encoder, decoder, backbone, the model that writes text, further heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.weight_names import WeightTable, alias, drop, rename, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.encoder_decoder import (
    EncoderDecoderModel,
    kept_finite,
    sentence_vectors,
)
from minitransformers.models.base.mask_arguments import check_context, check_mask
from minitransformers.models.base.pretrained import attention_kernel_name
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward
from minitransformers.nn.heads import DenseClassifier, keep_positions
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import read_attention_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import LearnedPositions, count_positions
from minitransformers.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class BartConfig(Config):
    """The fields of BART's config.json; the defaults are those of bart-large (§4.1)."""

    model_type = "bart"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
        "initializer_range": "init_std",
    }

    vocab_size: int = size(50265)
    max_position_embeddings: int = size(1024)
    encoder_layers: int = size(12)
    encoder_ffn_dim: int = size(4096)
    encoder_attention_heads: int = size(16)
    decoder_layers: int = size(12)
    decoder_ffn_dim: int = size(4096)
    decoder_attention_heads: int = size(16)
    encoder_layerdrop: float = probability(0.0)
    decoder_layerdrop: float = probability(0.0)
    activation_function: str = choice("gelu", ACTIVATIONS)
    d_model: int = size(1024)
    dropout: float = probability(0.1)
    attention_dropout: float = probability(0.0)
    activation_dropout: float = probability(0.0)
    init_std: float = positive(0.02)
    classifier_dropout: float = probability(0.0)
    scale_embedding: bool = False  # multiply embeddings by √d_model
    use_cache: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 2
    forced_eos_token_id: int | list[int] | None = 2
    is_decoder: bool = False
    tie_word_embeddings: bool = True

    def __init__(self, **values: Any) -> None:
        if values.get("id2label") is None and values.get("num_labels") is None:
            values["num_labels"] = 3  # contradiction, neutral, entailment
        super().__init__(**values)

    def validate(self) -> None:
        """Refuse what no BART can be built from."""
        super().validate()
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            self.check_multiple("d_model", of=name)
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ConfigError(
                f"pad_token_id={self.pad_token_id} must be a token, 0 … {self.vocab_size - 1} "
                f"(vocab_size={self.vocab_size})."
            )


# ---- weight names ----------------------------------------------------------------------------------------------------

_PARTS = [
    rename(f"{part}.{theirs}", f"{part}.{ours}")
    for part in ("encoder", "decoder")
    for theirs, ours in {
        "embed_tokens.weight": "token_embedding.weight",
        "embed_positions.weight": "position_embedding.weight",
        "layernorm_embedding.{kind}": "embedding_norm.{kind}",
        "layers.{layer}.self_attn.q_proj.{kind}": "blocks.{layer}.self_attention.query.{kind}",
        "layers.{layer}.self_attn.k_proj.{kind}": "blocks.{layer}.self_attention.key.{kind}",
        "layers.{layer}.self_attn.v_proj.{kind}": "blocks.{layer}.self_attention.value.{kind}",
        "layers.{layer}.self_attn.out_proj.{kind}": "blocks.{layer}.self_attention.output.{kind}",
        "layers.{layer}.self_attn_layer_norm.{kind}": "blocks.{layer}.self_attention_norm.{kind}",
        "layers.{layer}.encoder_attn.q_proj.{kind}": "blocks.{layer}.cross_attention.query.{kind}",
        "layers.{layer}.encoder_attn.k_proj.{kind}": "blocks.{layer}.cross_attention.key.{kind}",
        "layers.{layer}.encoder_attn.v_proj.{kind}": "blocks.{layer}.cross_attention.value.{kind}",
        "layers.{layer}.encoder_attn.out_proj.{kind}": "blocks.{layer}.cross_attention.output.{kind}",
        "layers.{layer}.encoder_attn_layer_norm.{kind}": "blocks.{layer}.cross_attention_norm.{kind}",
        "layers.{layer}.fc1.{kind}": "blocks.{layer}.feed_forward.intermediate.{kind}",
        "layers.{layer}.fc2.{kind}": "blocks.{layer}.feed_forward.output.{kind}",
        "layers.{layer}.final_layer_norm.{kind}": "blocks.{layer}.feed_forward_norm.{kind}",
    }.items()
]

_VERSIONS = (drop("encoder.version"), drop("decoder.version"))  # in files of 2019 and 2020

WEIGHTS = WeightTable(
    *_VERSIONS,
    *_PARTS,
    rename("classification_head.out_proj.{kind}", "classification_head.output.{kind}"),
    *(
        tie(f"{prefix}{part}.token_embedding.weight", to=f"{prefix}shared.weight")
        for prefix in ("", "model.")
        for part in ("encoder", "decoder")
    ),
    tie("lm_head.weight", to="model.shared.weight"),
    base="model",
)

# The decoder alone reads the embedding that a whole model has under the name "shared".
DECODER_WEIGHTS = WeightTable(
    alias("shared.weight", of="decoder.embed_tokens.weight"),
    *_VERSIONS,
    *_PARTS,
    tie("lm_head.weight", to="model.decoder.token_embedding.weight"),
    base="model",
)


# ---- encoder and decoder ---------------------------------------------------------------------------------------------

OFFSET = 2
"""Position 0 is row 2 of the table of positions: in the original code rows began after the padding token's id."""


class BartPreTrainedModel(EncoderDecoderModel):
    """What all BART classes share."""

    config_class = BartConfig
    base_model_prefix = "model"
    weights = WEIGHTS

    config: BartConfig

    @property
    def max_target_length(self) -> int:
        """As many as there are vectors for positions."""
        return self.config.max_position_embeddings


class _Part(BartPreTrainedModel):
    """Encoder or decoder: embedded tokens and positions, normed, then a stack of blocks."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.embedding_scale = config.d_model**0.5 if config.scale_embedding else 1.0
        self.token_embedding = _embedding(config)
        self.position_embedding = LearnedPositions(config.max_position_embeddings + OFFSET, config.d_model)
        self.embedding_norm = LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding, here only."""
        self.token_embedding = embeddings

    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, past_length: int = 0) -> Tensor:
        """Tokens and their positions, normed; vectors in place of ids are taken as they are, unscaled."""
        if inputs_embeds is None:
            inputs_embeds = self.token_embedding(input_ids) * self.embedding_scale
        positions = count_positions(inputs_embeds.shape[1], past_length, device=inputs_embeds.device)
        embedded = inputs_embeds + self.position_embedding(positions + OFFSET)
        dropped: Tensor = self.dropout(self.embedding_norm(embedded))
        return dropped

    def is_dropped(self, layer_dropout: float) -> bool:
        """Whether to leave out a block, as training does with this probability (Fan et al., 2019)."""
        return self.training and layer_dropout > 0 and bool(torch.rand(()) < layer_dropout)


class BartEncoder(_Part):
    """The encoder: every token of the source sees every other one."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(
            _block(config, config.encoder_attention_heads, config.encoder_ffn_dim) for _ in range(config.encoder_layers)
        )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, config.d_model)
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask("attention_mask", attention_mask, config.encoder_attention_heads)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_length(length, 0, config.max_position_embeddings)
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=length,
            is_causal=False,
            dtype=self.dtype,
            device=self.device,
        )

        hidden_states = self.embed(input_ids, inputs_embeds)
        all_hidden_states, attentions = [hidden_states], []
        for block in self.blocks:
            if not self.is_dropped(config.encoder_layerdrop):
                hidden_states, attention, _ = self.run_block(block, hidden_states, mask, kernel=kernel)
                hidden_states = kept_finite(hidden_states)
                all_hidden_states.append(hidden_states)
                attentions.append(attention)
        return BaseModelOutput(
            hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class BartDecoder(_Part):
    """The decoder: every token of the target sees itself, those before it, and what the encoder gave."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(
            _block(config, config.decoder_attention_heads, config.decoder_ffn_dim, is_decoder=True)
            for _ in range(config.decoder_layers)
        )
        self.post_init()

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head."""
        heads = self.config.decoder_attention_heads
        return self.config.decoder_layers, heads, self.config.d_model // heads

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Decode a batch, or the next tokens of one; positions count on from the cache, padding included.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            encoder_hidden_states, encoder_attention_mask: what cross-attention attends to; without them it is left
                out.
            past_key_values: the cache of an earlier call; `use_cache` returns one.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        prefix = "decoder_" if config.is_encoder_decoder else ""
        heads = config.decoder_attention_heads
        batch_size, length = read_shape(input_ids, inputs_embeds, config.d_model, prefix)
        use_cache = self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.get_seq_length()
        check_dtype(f"{prefix}inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask(f"{prefix}attention_mask", attention_mask, heads)
        check_ids(f"{prefix}input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_length(length, past_length, config.max_position_embeddings)
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=past_length + length,
            is_causal=True,
            dtype=self.dtype,
            device=self.device,
            name=f"{prefix}attention_mask",
        )
        context_mask = check_context(
            encoder_hidden_states,
            encoder_attention_mask,
            batch_size=batch_size,
            query_length=length,
            context_size=config.d_model,
            num_heads=heads,
            dtype=self.dtype,
            cache=cache,
        )

        hidden_states = self.embed(input_ids, inputs_embeds, past_length)
        all_hidden_states, attentions, cross_attentions = [hidden_states], [], []
        for index, block in enumerate(self.blocks):
            if not self.is_dropped(config.decoder_layerdrop):
                hidden_states, attention, cross_attention = self.run_block(
                    block,
                    hidden_states,
                    mask,
                    context=encoder_hidden_states,
                    context_mask=context_mask,
                    cache=None if cache is None else cache.self_layer(index),
                    cross_cache=None if cache is None else cache.cross_layer(index),
                    kernel=kernel,
                )
                all_hidden_states.append(hidden_states)
                attentions.append(attention)
                cross_attentions.append(cross_attention)

        has_context = encoder_hidden_states is not None
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            cross_attentions=tuple(cross_attentions) if output_attentions and has_context else None,
        )


def _block(config: BartConfig, num_heads: int, intermediate_size: int, *, is_decoder: bool = False) -> Block:
    def attention(**kind: bool) -> MultiHeadAttention:
        return MultiHeadAttention(config.d_model, num_heads, dropout=config.attention_dropout, **kind)

    return Block(
        attention(causal=is_decoder),
        FeedForward(
            config.d_model,
            intermediate_size,
            activation=config.activation_function,
            dropout=config.activation_dropout,
        ),
        lambda: LayerNorm(config.d_model),
        cross_attention=attention(cross=True) if is_decoder else None,
        dropout=config.dropout,
        pre_norm=False,
    )


def _embedding(config: BartConfig) -> nn.Embedding:
    return nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)


# ---- backbone, and the model that writes text ------------------------------------------------------------------------


class BartModel(BartPreTrainedModel):
    """Encoder and decoder: a vector for every token of the target, made from it, those before it, and the source."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.shared = _embedding(config)
        self.encoder = BartEncoder(config)
        self.decoder = BartDecoder(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqModelOutput:
        """Encode the source, unless `encoder_outputs` has what the encoder gave, and decode the target.

        Args:
            input_ids, attention_mask, inputs_embeds: the source; see `BartEncoder`.
            decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds: the target, as far as it is known and not
                in the cache; see `BartDecoder`. Without any, the decoder reads the source, shifted to the right.
            encoder_outputs: of `get_encoder()`, or a tuple that begins with its last hidden state.
            past_key_values: the decoder's cache of an earlier call; `use_cache` returns one.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            if input_ids is None:
                raise InputError("Pass decoder_input_ids or decoder_inputs_embeds: there are no input_ids to take.")
            read_shape(input_ids, None, self.config.d_model)
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(input_ids)
        return self.encode_and_decode(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            past_key_values,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
        )


class BartForConditionalGeneration(BartPreTrainedModel, GenerationMixin):
    """BART as it was trained: what text comes next in the target, given the source (§2)."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        self.register_buffer("final_logits_bias", torch.zeros(1, config.vocab_size))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    final_logits_bias: Tensor

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """See `PreTrainedModel`; new tokens get no bias."""
        embeddings = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        kept = self.final_logits_bias[:, : embeddings.num_embeddings]
        self.final_logits_bias = nn.functional.pad(kept, (0, embeddings.num_embeddings - kept.shape[1]))
        return embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqLMOutput:
        """Score every next token of the target; see `BartModel` for the inputs.

        `labels` (batch, target length) are the target itself, −100 where nothing is to be learnt; the decoder reads
        them shifted to the right unless it is given other inputs.
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
        if labels is not None:
            shape = read_shape(decoder_input_ids, decoder_inputs_embeds, self.config.d_model, "decoder_")
            check_labels(labels, shape, self.config.vocab_size)
        decoded = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            past_key_values,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache if labels is None else False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(decoded.last_hidden_state) + self.final_logits_bias
        loss = None if labels is None else token_cross_entropy(logits, labels.view(logits.shape[:2]))
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())


# ---- further heads ---------------------------------------------------------------------------------------------------


class BartForSequenceClassification(BartPreTrainedModel):
    """BART with a classifier of the decoder's vector at the end of the text, which both parts read (§3.1)."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        self.classification_head = DenseClassifier(config.d_model, config.num_labels, dropout=config.classifier_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqSequenceClassifierOutput:
        """Classify texts; see `BartModel` for the inputs and `sequence_classification_loss` for the kinds of `labels`.

        Every row must have the same number of end-of-text tokens; the last one counts.
        """
        config = self.config
        if input_ids is None:
            raise InputError("Pass input_ids: the end of each text is found in them.")
        batch_size, _ = read_shape(input_ids, inputs_embeds, config.d_model)
        check_sequence_labels(labels, batch_size, config.num_labels, config.problem_type)
        decoded = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            None,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache if labels is None else False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classification_head(sentence_vectors(decoded.last_hidden_state, input_ids, config.eos_token_id))
        loss = None if labels is None else sequence_classification_loss(logits, labels, config.problem_type)
        return Seq2SeqSequenceClassifierOutput(loss, logits, **decoded.all_but_last_hidden_state())


class BartForQuestionAnswering(BartPreTrainedModel):
    """BART with a linear layer that says of every token whether an answer begins or ends there (§4.2)."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        config.num_labels = 2  # start and end
        self.model = BartModel(config)
        self.qa_outputs = nn.Linear(config.d_model, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqQuestionAnsweringModelOutput:
        """Score every token as start and end of the answer; see `BartModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size = next((ids.shape[0] for ids in (input_ids, inputs_embeds) if isinstance(ids, Tensor)), None)
        if batch_size is not None:
            check_span("start_positions", start_positions, batch_size)
            check_span("end_positions", end_positions, batch_size)
        is_trained = start_positions is not None and end_positions is not None
        decoded = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            None,
            inputs_embeds,
            decoder_inputs_embeds,
            False if is_trained else use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return Seq2SeqQuestionAnsweringModelOutput(
            loss, start_logits, end_logits, **decoded.all_but_last_hidden_state()
        )


class _DecoderAlone(BartPreTrainedModel):
    """What stands in the place of `BartModel` in a model that has no encoder."""

    weights = DECODER_WEIGHTS

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.decoder = BartDecoder(config)


class BartForCausalLM(BartPreTrainedModel, GenerationMixin):
    """BART's decoder as a language model."""

    weights = DECODER_WEIGHTS

    def __init__(self, config: BartConfig) -> None:
        config.is_decoder, config.is_encoder_decoder = True, False
        super().__init__(config)
        self.model = _DecoderAlone(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.model.decoder.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.model.decoder.token_embedding = embeddings

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score every next token; see `BartDecoder` for the inputs.

        `labels` (batch, length) are not shifted: the label at a position is the token that comes next there.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.d_model)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.model.decoder(
            input_ids,
            attention_mask,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            inputs_embeds,
            use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return CausalLMOutputWithCrossAttentions(
            loss,
            logits,
            decoded.past_key_values,
            decoded.hidden_states,
            decoded.attentions,
            decoded.cross_attentions,
        )
