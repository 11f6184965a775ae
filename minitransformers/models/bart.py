"""BART (Lewis et al., 2020): a transformer that learned to restore corrupted text, as encoder and decoder.

Reads top to bottom: configuration, embeddings, blocks, encoder, decoder, backbone, the model that writes text, further
heads. Modules are named as in the checkpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.checkpoint_names import CheckpointNames, drop, former
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.encoder_decoder import EncoderDecoderModel, kept_finite, sentence_vectors
from minitransformers.models.base.inputs import Inputs, OutputOptions, Record
from minitransformers.nn.attention import attend
from minitransformers.nn.cache import Cache, CacheLayer
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.selection import keep_positions
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
        """Refuse values from which no BART can be built."""
        super().validate()
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            self.check_multiple("d_model", of=name)
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ConfigError(
                f"pad_token_id={self.pad_token_id} must be a token, 0 … {self.vocab_size - 1} "
                f"(vocab_size={self.vocab_size})."
            )


# ---- embeddings ------------------------------------------------------------------------------------------------------


class BartLearnedPositionalEmbedding(nn.Embedding):
    """A vector for each position; position 0 is row 2, as rows began after the padding token's id in the first code."""

    offset = 2

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings + self.offset, embedding_dim)

    def forward(self, position_ids: Tensor) -> Tensor:
        """(batch, length) to (batch, length, width)."""
        return super().forward(position_ids + self.offset)


class BartScaledWordEmbedding(nn.Embedding):
    """A vector for each token, times `embed_scale`."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, embed_scale: float = 1.0):
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        self.embed_scale = embed_scale

    def forward(self, input_ids: Tensor) -> Tensor:
        """(batch, length) to (batch, length, width)."""
        return super().forward(input_ids) * self.embed_scale


def _embedding(config: BartConfig) -> BartScaledWordEmbedding:
    scale = config.d_model**0.5 if config.scale_embedding else 1.0
    return BartScaledWordEmbedding(config.vocab_size, config.d_model, config.pad_token_id, scale)


# ---- blocks ----------------------------------------------------------------------------------------------------------


class BartAttention(nn.Module):
    """Attention to the input itself, or to a context."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        context: Tensor | None = None,
        *,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `x` (batch, length, d_model) to itself and the cache, or to `context`."""
        key = value = None
        if context is None or cache is None or not cache.length:  # the context does not change between steps
            source = x if context is None else context
            key, value = self.k_proj(source), self.v_proj(source)
        dropout = self.dropout if self.training else 0.0
        attended, weights = attend(
            self.q_proj(x), key, value, heads=self.num_heads, mask=mask, cache=cache, dropout=dropout, kernel=kernel
        )
        return self.out_proj(attended), weights


class BartEncoderLayer(GradientCheckpointingLayer):
    """Post-norm: self-attention and feed-forward, each added to its input and normed."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = BartAttention(width, config.encoder_attention_heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.activation_fn = activation_function(config.activation_function)
        self.fc1 = nn.Linear(width, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, d_model); `record` is given the attention weights."""
        x = hidden_states
        attended, weights = self.self_attn(x, attention_mask, kernel=kernel)
        x = self.self_attn_layer_norm(x + F.dropout(attended, self.dropout, self.training))
        x = self.final_layer_norm(x + _feed_forward(self, x))
        if record is not None:
            record(weights, None)
        return kept_finite(x)


class BartDecoderLayer(GradientCheckpointingLayer):
    """Post-norm: self-attention, attention to the encoder's output, and feed-forward."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.decoder_attention_heads
        self.self_attn = BartAttention(width, heads, config.attention_dropout)
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.activation_fn = activation_function(config.activation_function)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = BartAttention(width, heads, config.attention_dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        context: Tensor | None = None,
        context_mask: AttentionMask | Tensor | None = None,
        cache: CacheLayer | None = None,
        cross_cache: CacheLayer | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, d_model); `record` is given the attention weights."""
        x, cross_weights = hidden_states, None
        attended, weights = self.self_attn(x, attention_mask, cache=cache, kernel=kernel)
        x = self.self_attn_layer_norm(x + F.dropout(attended, self.dropout, self.training))
        if context is not None:
            attended, cross_weights = self.encoder_attn(x, context_mask, context, cache=cross_cache, kernel=kernel)
            x = self.encoder_attn_layer_norm(x + F.dropout(attended, self.dropout, self.training))
        x = self.final_layer_norm(x + _feed_forward(self, x))
        if record is not None:
            record(weights, cross_weights)
        return x  # type: ignore[no-any-return]


def _feed_forward(layer: BartEncoderLayer | BartDecoderLayer, x: Tensor) -> Tensor:
    """fc2(activation(fc1(x))), with dropout after each half; the checkpoints keep both in the block itself."""
    x = F.dropout(layer.activation_fn(layer.fc1(x)), layer.activation_dropout, layer.training)
    return F.dropout(layer.fc2(x), layer.dropout, layer.training)


# ---- encoder and decoder ---------------------------------------------------------------------------------------------

_VERSIONS = (drop("encoder.version"), drop("decoder.version"))  # in files of 2019 and 2020


class BartPreTrainedModel(EncoderDecoderModel):
    """The base of all BART classes."""

    config_class = BartConfig
    base_model_prefix = "model"
    checkpoint_names = CheckpointNames(*_VERSIONS, base="model")
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        **{f"{part}.embed_tokens.weight": "shared.weight" for part in ("encoder", "decoder")},
        **{f"model.{part}.embed_tokens.weight": "model.shared.weight" for part in ("encoder", "decoder")},
        "lm_head.weight": "model.shared.weight",
    }
    _no_split_modules: ClassVar[list[str]] = ["BartEncoderLayer", "BartDecoderLayer"]

    config: BartConfig


class _Part(BartPreTrainedModel):
    """Encoder or decoder: tokens and positions, normed, then the blocks."""

    _input_embeddings = "embed_tokens"

    def __init__(self, config: BartConfig, layers: nn.ModuleList, layerdrop: float) -> None:
        super().__init__(config)
        self.dropout, self.layerdrop = config.dropout, layerdrop
        self.embed_tokens = _embedding(config)
        self.embed_positions = BartLearnedPositionalEmbedding(config.max_position_embeddings, config.d_model)
        self.layers = layers
        self.layernorm_embedding = nn.LayerNorm(config.d_model)
        self.post_init()

    def run(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, inputs: Inputs) -> Tensor:
        """Embed and run the blocks; `inputs_embeds` are not scaled."""
        x: Tensor = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        x = self.layernorm_embedding(x + self.embed_positions(inputs.position_ids))
        x = F.dropout(x, self.dropout, self.training)
        for index, layer in enumerate(self.layers):
            # While training, a block is left out with probability `layerdrop` (Fan et al., 2019).
            if self.training and self.layerdrop > 0 and bool(torch.rand(()) < self.layerdrop):
                continue
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        return x


class BartEncoder(_Part):
    """The encoder: every token of the source sees every other one."""

    def __init__(self, config: BartConfig) -> None:
        layers = nn.ModuleList(BartEncoderLayer(config) for _ in range(config.encoder_layers))
        super().__init__(config, layers, config.encoder_layerdrop)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        inputs = self.prepare_inputs(input_ids, inputs_embeds, attention_mask, **options, is_causal=False)
        inputs.position_ids = inputs.position_ids.expand(inputs.batch_size, -1)
        x = self.run(input_ids, inputs_embeds, inputs)
        return BaseModelOutput(x, **inputs.kept())


class BartDecoder(_Part):
    """The decoder: every token of the target sees itself, those before it, and the encoder's output."""

    def __init__(self, config: BartConfig) -> None:
        layers = nn.ModuleList(BartDecoderLayer(config) for _ in range(config.decoder_layers))
        super().__init__(config, layers, config.decoder_layerdrop)

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head."""
        heads = self.config.decoder_attention_heads
        return self.config.decoder_layers, heads, self.config.d_model // heads

    def prepare_inputs(self, *arguments: Any, **options: Any) -> Inputs:
        """As in every model; positions are always counted."""
        return super().prepare_inputs(
            *arguments,
            **options,
            is_causal=True,
            heads=self.config.decoder_attention_heads,
            has_cross_attention=True,
            documents=False,
            takes_positions=False,
            prefix="decoder_" if self.config.is_encoder_decoder else "",
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Decode a batch, or the next tokens of one; positions count on from the cache, padding included.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            encoder_hidden_states, encoder_attention_mask: input of the cross-attention, which is left out without
                them.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        inputs = self.prepare_inputs(
            input_ids,
            inputs_embeds,
            attention_mask,
            None,
            None,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache,
            **options,
        )
        x = self.run(input_ids, inputs_embeds, inputs)
        return BaseModelOutputWithPastAndCrossAttentions(x, inputs.past_key_values, **inputs.kept(cross=True))


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
        **options: Unpack[OutputOptions],
    ) -> Seq2SeqModelOutput:
        """Encode the source, unless `encoder_outputs` is given, and decode the target.

        Args:
            input_ids, attention_mask, inputs_embeds: the source; see `BartEncoder`.
            decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds: the target, as far as it is known and not
                in the cache; see `BartDecoder`. Without any, the decoder reads the source, shifted to the right.
            encoder_outputs: the output of `get_encoder()`, or a tuple that begins with its last hidden state.
            past_key_values: the decoder's cache of an earlier call; `use_cache` returns one.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

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
            **options,
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
        **options: Unpack[OutputOptions],
    ) -> Seq2SeqLMOutput:
        """Score every next token of the target; see `BartModel` for the inputs.

        `labels` (batch, target length) are the target itself, −100 where there is no loss; the decoder reads
        them shifted to the right unless it is given other inputs.
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
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
            return_dict=True,
            **options,
        )
        x, labels = self.with_labels(decoded.last_hidden_state, labels)
        logits = self.lm_head(x) + self.final_logits_bias
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())


# ---- further heads ---------------------------------------------------------------------------------------------------


class BartClassificationHead(nn.Module):
    """out_proj(dropout(tanh(dense(dropout(x)))))."""

    def __init__(self, input_dim: int, inner_dim: int, num_classes: int, pooler_dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(input_dim, inner_dim)
        self.dropout = nn.Dropout(pooler_dropout)
        self.out_proj = nn.Linear(inner_dim, num_classes)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, input_dim) to (batch, classes)."""
        x = torch.tanh(self.dense(self.dropout(hidden_states)))
        return self.out_proj(self.dropout(x))  # type: ignore[no-any-return]


class BartForSequenceClassification(BartPreTrainedModel):
    """BART with a classifier of the decoder's vector at the end of the text, which both parts read (§3.1)."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        self.classification_head = BartClassificationHead(
            config.d_model, config.d_model, config.num_labels, config.classifier_dropout
        )
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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
        )
        logits = self.classification_head(sentence_vectors(decoded.last_hidden_state, input_ids, config.eos_token_id))
        loss = None if labels is None else sequence_classification_loss(logits, labels, config.problem_type)
        return Seq2SeqSequenceClassifierOutput(loss, logits, **decoded.all_but_last_hidden_state())


class BartForQuestionAnswering(BartPreTrainedModel):
    """BART with a linear layer that scores every token as start and end of an answer (§4.2)."""

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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return Seq2SeqQuestionAnsweringModelOutput(
            loss, start_logits, end_logits, **decoded.all_but_last_hidden_state()
        )


class BartDecoderWrapper(BartPreTrainedModel):
    """The decoder under the names that it has in `BartModel`, for models without an encoder."""

    # Files of whole models have the decoder's embedding under the name "shared".
    checkpoint_names = CheckpointNames(former("shared.weight", "decoder.embed_tokens.weight"), *_VERSIONS, base="model")
    _input_embeddings = "decoder.embed_tokens"

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.decoder = BartDecoder(config)
        self.post_init()

    def forward(self, *arguments: Any, **options: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        """Run the decoder."""
        return self.decoder(*arguments, **options)


class BartForCausalLM(BartPreTrainedModel, GenerationMixin):
    """BART's decoder as a language model."""

    checkpoint_names = BartDecoderWrapper.checkpoint_names
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.decoder.embed_tokens.weight"}
    _shifts_labels = False  # the label at a position is the token that it predicts

    def __init__(self, config: BartConfig) -> None:
        config.is_decoder, config.is_encoder_decoder = True, False
        super().__init__(config)
        self.model = BartDecoderWrapper(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
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
