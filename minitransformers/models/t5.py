"""T5 (Raffel et al., 2020), v1.0, v1.1 and Flan: every task is text in, text out, by an encoder and a decoder.

Reads top to bottom: configuration, sub-layers, block, the stack of blocks that is encoder or decoder, backbone, the
model that writes text, further heads. Modules are named as in the checkpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import constrained, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.checkpoint_names import CheckpointNames, drop
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_ids,
    check_labels,
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
from minitransformers.nn.normalization import RMSNorm
from minitransformers.nn.positions import relative_buckets
from minitransformers.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class T5Config(Config):
    """The fields of T5's config.json; the defaults are those of t5-small.

    v1.1 and Flan have `feed_forward_proj="gated-gelu"` and do not scale the decoder's output. In their files
    `tie_word_embeddings=False` stands for the latter, and is read as `scale_decoder_outputs=False`: the output layer is
    tied to the token embedding unless the file has different weights for both.
    """

    model_type = "t5"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }

    vocab_size: int = size(32128)
    d_model: int = size(512)
    d_kv: int = size(64)  # width of a head; heads · d_kv need not be d_model
    d_ff: int = size(2048)
    num_layers: int = size(6)
    num_decoder_layers: int | None = size(None)  # None: as many as num_layers
    num_heads: int = size(8)
    relative_attention_num_buckets: int = constrained(32, lambda value: value >= 4, "a whole number of at least 4")
    relative_attention_max_distance: int = size(128)
    dropout_rate: float = probability(0.1)
    layer_norm_epsilon: float = positive(1e-6)
    initializer_factor: float = positive(1.0)
    feed_forward_proj: str = constrained(
        "relu",
        lambda value: value.removeprefix("gated-") in ACTIVATIONS,
        f"one of {', '.join(ACTIVATIONS)}, or one of them after 'gated-'",
    )
    is_encoder_decoder: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = None
    classifier_dropout: float = probability(0.0)
    is_decoder: bool = False
    scale_decoder_outputs: bool = True

    def __init__(self, **values: Any) -> None:
        is_v1_1 = values.get("tie_word_embeddings") is False
        values = {"scale_decoder_outputs": not is_v1_1, **values, "tie_word_embeddings": True}
        super().__init__(**values)
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_layers

    @property
    def is_gated_act(self) -> bool:
        """Whether the feed-forward network is gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def dense_act_fn(self) -> str:
        """Its activation; "gated-gelu" stands for the approximation that v1.1 was trained with."""
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else self.feed_forward_proj.removeprefix("gated-")

    def validate(self) -> None:
        """Refuse values from which no T5 can be built."""
        super().validate()
        exact = self.relative_attention_num_buckets // 2
        if self.relative_attention_max_distance <= exact:
            raise ConfigError(
                f"relative_attention_max_distance={self.relative_attention_max_distance} must be above {exact}, half "
                f"of relative_attention_num_buckets: so many distances have buckets of their own."
            )


# ---- sub-layers ------------------------------------------------------------------------------------------------------


class T5LayerNorm(RMSNorm):
    """`RMSNorm` whose result has the weight's type, also where the residual stream is of a wider one."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Norm the last dimension."""
        if hidden_states.dtype == self.weight.dtype:
            return super().forward(hidden_states)
        normed = F.rms_norm(hidden_states.float(), self.normalized_shape, eps=self.eps)
        return self.weight * normed.to(self.weight.dtype)


class T5DenseActDense(nn.Module):
    """The feed-forward network: wo(dropout(act(wi(x))))."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.act = activation_function(config.dense_act_fn)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.wo(_as_weight(self.dropout(self.act(self.wi(x))), self.wo))  # type: ignore[no-any-return]


class T5DenseGatedActDense(nn.Module):
    """The gated network of v1.1: wo(dropout(act(wi_0(x)) · wi_1(x))) (Shazeer, 2020, eq. 6)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.act = activation_function(config.dense_act_fn)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        gated = self.act(self.wi_0(x)) * self.wi_1(x)
        return self.wo(_as_weight(self.dropout(gated), self.wo))  # type: ignore[no-any-return]


def _as_weight(x: Tensor, layer: nn.Module) -> Tensor:
    """`x` in the type of the layer's weight, which is wider in float16 models; quantized layers take `x` as it is."""
    weight: Any = layer.weight  # a method in PyTorch's quantized layers
    return x.to(weight.dtype) if isinstance(weight, Tensor) and weight.is_floating_point() else x


class T5LayerFF(nn.Module):
    """x + dropout(network(norm(x)))."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = (T5DenseGatedActDense if config.is_gated_act else T5DenseActDense)(config)
        self.layer_norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, d_model) to the same."""
        return x + self.dropout(self.DenseReluDense(self.layer_norm(x)))  # type: ignore[no-any-return]


class T5Attention(nn.Module):
    """Attention without biases and without 1/√d_kv, which the initialization of `q` makes up for.

    In the first block of a stack it has the bias for relative positions, one number for each head and bucket of
    distances; the other blocks use the same bias.
    """

    def __init__(self, config: T5Config, has_relative_attention_bias: bool = False, bidirectional: bool = True) -> None:
        super().__init__()
        self.n_heads, self.scaling, self.dropout = config.num_heads, 1.0, config.dropout_rate
        self.num_buckets = config.relative_attention_num_buckets
        self.max_distance = config.relative_attention_max_distance
        self.bidirectional = bidirectional
        inner_dim = config.num_heads * config.d_kv
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner_dim, bias=False) for _ in range(3))
        self.o = nn.Linear(inner_dim, config.d_model, bias=False)
        if has_relative_attention_bias:
            self.relative_attention_bias = nn.Embedding(self.num_buckets, self.n_heads)

    def compute_bias(self, query_length: int, key_length: int) -> Tensor:
        """(1, heads, query, key): the bias of every pair, the queries being the last of the keys."""
        keys = torch.arange(key_length, device=self.relative_attention_bias.weight.device)
        distances = keys - keys[key_length - query_length :, None]
        buckets = relative_buckets(distances, self.num_buckets, self.max_distance, bidirectional=self.bidirectional)
        return self.relative_attention_bias(buckets).permute(2, 0, 1)[None]  # type: ignore[no-any-return]

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        context: Tensor | None = None,
        position_bias: Tensor | None = None,
        *,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Attend from `x` (batch, length, d_model) to itself and the cache, or to `context`.

        Returns:
            The output, the bias of positions, and the attention weights or None.
        """
        past_length = 0 if cache is None else cache.length
        if hasattr(self, "relative_attention_bias") and position_bias is None:
            position_bias = self.compute_bias(x.shape[1], past_length + x.shape[1])
        key = value = None
        if context is None or not past_length:  # the context does not change between steps
            source = x if context is None else context
            key, value = self.k(source), self.v(source)
        attended, weights = attend(
            self.q(x),
            key,
            value,
            heads=self.n_heads,
            mask=mask,
            bias=position_bias,
            cache=cache,
            scale=self.scaling,
            dropout=self.dropout if self.training else 0.0,
            kernel=kernel,
        )
        return self.o(attended), position_bias, weights


class T5LayerSelfAttention(nn.Module):
    """x + dropout(attention(norm(x)))."""

    def __init__(self, config: T5Config, has_relative_attention_bias: bool = False, bidirectional: bool = True) -> None:
        super().__init__()
        self.SelfAttention = T5Attention(config, has_relative_attention_bias, bidirectional)
        self.layer_norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self, x: Tensor, mask: AttentionMask | Tensor | None = None, position_bias: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The output, the bias of positions and the attention weights; `options` are those of the attention."""
        attended, position_bias, weights = self.SelfAttention(
            self.layer_norm(x), mask, position_bias=position_bias, **options
        )
        return x + self.dropout(attended), position_bias, weights


class T5LayerCrossAttention(nn.Module):
    """x + dropout(attention(norm(x), context)), without a bias of positions."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.EncDecAttention = T5Attention(config)
        self.layer_norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self, x: Tensor, context: Tensor, mask: AttentionMask | Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The output and the attention weights; `options` are those of the attention."""
        attended, _, weights = self.EncDecAttention(self.layer_norm(x), mask, context, **options)
        return x + self.dropout(attended), weights


# ---- block, and the stack that is encoder or decoder -----------------------------------------------------------------


class T5Block(GradientCheckpointingLayer):
    """Pre-norm, by root mean square: self-attention, in the decoder cross-attention, and feed-forward (§2.1)."""

    def __init__(
        self, config: T5Config, has_relative_attention_bias: bool = False, is_decoder: bool | None = None
    ) -> None:
        super().__init__()
        is_decoder = config.is_decoder if is_decoder is None else is_decoder
        self.layer = nn.ModuleList(
            [
                T5LayerSelfAttention(config, has_relative_attention_bias, bidirectional=not is_decoder),
                *([T5LayerCrossAttention(config)] if is_decoder else []),
                T5LayerFF(config),
            ]
        )

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        position_bias: Tensor | None = None,
        *,
        context: Tensor | None = None,
        context_mask: AttentionMask | Tensor | None = None,
        cache: CacheLayer | None = None,
        cross_cache: CacheLayer | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Transform (batch, length, d_model), and give the bias of positions to the next block.

        In float16, activations that overflow are clamped after each sub-layer. `record` is given the attention weights.
        """
        cross_weights = None
        x, position_bias, weights = self.layer[0](
            hidden_states, attention_mask, position_bias, cache=cache, kernel=kernel
        )
        x = kept_finite(x)
        if context is not None:
            x, cross_weights = self.layer[1](x, context, context_mask, cache=cross_cache, kernel=kernel)
            x = kept_finite(x)
        if record is not None:
            record(weights, cross_weights)
        return kept_finite(self.layer[-1](x)), position_bias


# Old files have a bias of cross-attention that nothing uses.
_UNUSED = drop("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")


class T5PreTrainedModel(EncoderDecoderModel):
    """The base of all T5 classes.

    T5 was trained in bfloat16, and its feed-forward networks have activations that overflow float16 (above 65,504). As
    in the reference, their last layer stays float32 in a model that is loaded in float16, and with it the residual
    stream from there on (`T5LayerNorm`). `model.half()` converts that layer too: activations that overflow are clamped.
    """

    config_class = T5Config
    base_model_prefix = "transformer"
    checkpoint_names = CheckpointNames(_UNUSED, base="transformer")
    optional_weights = (".lm_head.", ".qa_outputs.")
    keep_in_fp32 = (".DenseReluDense.wo.",)
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        **{f"{part}.embed_tokens.weight": "shared.weight" for part in ("encoder", "decoder")},
        **{f"transformer.{part}.embed_tokens.weight": "transformer.shared.weight" for part in ("encoder", "decoder")},
        "lm_head.weight": "shared.weight",
    }
    _no_split_modules: ClassVar[list[str]] = ["T5Block"]

    config: T5Config

    def _init_weights(self, module: nn.Module) -> None:
        """N(0, 1) for embeddings, N(0, 1/inputs) for matrices, times `initializer_factor` (released code)."""
        super()._init_weights(module)
        config, width = self.config, self.config.d_model**-0.5
        stds: dict[Any, float] = {}
        if isinstance(module, T5LayerNorm):
            nn.init.constant_(module.weight, config.initializer_factor)
        elif isinstance(module, T5Attention):
            stds = {module.q: width * config.d_kv**-0.5, module.k: width, module.v: width}
            stds[module.o] = (config.num_heads * config.d_kv) ** -0.5
            if hasattr(module, "relative_attention_bias"):
                stds[module.relative_attention_bias] = width
        elif isinstance(module, T5DenseActDense):
            stds = {module.wi: width, module.wo: config.d_ff**-0.5}
        elif isinstance(module, T5DenseGatedActDense):
            stds = {module.wi_0: width, module.wi_1: width, module.wo: config.d_ff**-0.5}
        elif isinstance(module, T5ClassificationHead):
            stds = {module.dense: width, module.out_proj: width}
        elif isinstance(module, T5ForTokenClassification):
            stds = {module.classifier: 1.0}
        elif isinstance(module, (T5Model, T5ForConditionalGeneration, T5EncoderModel, T5ForQuestionAnswering)):
            stds = {module.shared: 1.0}
            if isinstance(module, T5ForQuestionAnswering):
                stds[module.qa_outputs] = width
        for layer, std in stds.items():
            nn.init.normal_(layer.weight, 0.0, config.initializer_factor * std)

    def _note_untied(self) -> None:
        """The output layer may differ from the token embedding; the config stays as it is."""

    def _shift_right(self, input_ids: Tensor) -> Tensor:
        """The name that scripts use for `prepare_decoder_input_ids_from_labels`."""
        return self.prepare_decoder_input_ids_from_labels(input_ids)


class T5Stack(T5PreTrainedModel):
    """A stack of blocks over embedded tokens: the encoder or, causal and with cross-attention, the decoder (§2.1).

    All blocks share one bias for relative positions, the only sign of the order of tokens.

    Args:
        is_decoder: which of both. None: `config.is_decoder` decides, and `config.num_layers` is the number of blocks.
    """

    _input_embeddings = "embed_tokens"

    def __init__(self, config: T5Config, is_decoder: bool | None = None) -> None:
        super().__init__(config)
        self.is_decoder = config.is_decoder if is_decoder is None else is_decoder
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        num_layers = config.num_decoder_layers if is_decoder else config.num_layers
        self.block = nn.ModuleList(
            T5Block(config, has_relative_attention_bias=index == 0, is_decoder=self.is_decoder)
            for index in range(num_layers or config.num_layers)
        )
        self.final_layer_norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.post_init()

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head."""
        return len(self.block), self.config.num_heads, self.config.d_kv

    def prepare_inputs(self, *arguments: Any, **options: Any) -> Inputs:
        """As in every model; there are no absolute positions."""
        return super().prepare_inputs(
            *arguments,
            **options,
            is_causal=self.is_decoder,
            max_positions=None,
            has_cross_attention=self.is_decoder,
            documents=False,
            takes_positions=False,
            widens=False,
            prefix="decoder_" if self.is_decoder else "",
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or decode the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            encoder_hidden_states, encoder_attention_mask: input of a decoder's cross-attention.
            past_key_values: a decoder's cache of an earlier call; `use_cache` returns one.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        if not self.is_decoder and (use_cache or past_key_values is not None):
            raise InputError("use_cache and past_key_values are for the decoder: an encoder sees all tokens at once.")
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
        x = self.dropout(self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds)
        position_bias = None
        for index, block in enumerate(self.block):
            inputs.keep(x)
            x, position_bias = block(x, inputs.mask, position_bias, **inputs.for_layer(index))
        x = self.dropout(self.final_layer_norm(x))
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutputWithPastAndCrossAttentions(x, inputs.past_key_values, **inputs.kept(cross=True))


# ---- backbone, and the model that writes text ------------------------------------------------------------------------


class _EncoderDecoder(T5PreTrainedModel):
    """Encoder and decoder over one embedding; three classes have both by these names."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, is_decoder=False)
        self.decoder = T5Stack(config, is_decoder=True)


class T5Model(_EncoderDecoder):
    """Encoder and decoder: a vector for every token of the target, made from it, those before it, and the source."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
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
            input_ids, attention_mask, inputs_embeds: the source; see `T5Stack`.
            decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds: the target, as far as it is known and not
                in the cache.
            encoder_outputs: the output of `get_encoder()`, or a tuple that begins with its last hidden state.
            past_key_values: the decoder's cache of an earlier call; `use_cache` returns one.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
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


class T5ForConditionalGeneration(_EncoderDecoder, GenerationMixin):
    """T5 as it was trained: what text comes next in the target, given the source (§2.4)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
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
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> Seq2SeqLMOutput:
        """Score every next token of the target; see `T5Model` for the inputs.

        `labels` (batch, target length) are the target itself, −100 where there is no loss; the decoder reads
        them shifted to the right unless it is given other inputs.
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
        decoded = self.encode_and_decode(
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
        hidden_states = decoded.last_hidden_state
        if self.config.scale_decoder_outputs:
            hidden_states = hidden_states * self.config.d_model**-0.5
        hidden_states, labels = self.with_labels(hidden_states, labels)
        logits = self.lm_head(hidden_states)
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())


# ---- further heads ---------------------------------------------------------------------------------------------------


class T5EncoderModel(T5PreTrainedModel):
    """The encoder alone: a vector for every token of a text."""

    checkpoint_names = CheckpointNames(drop("decoder.{rest...}"), base="transformer")

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        config.use_cache = config.is_encoder_decoder = False
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, is_decoder=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch; see `T5Stack`."""
        encoded: BaseModelOutputWithPastAndCrossAttentions = self.encoder(
            input_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **options,
        )
        return encoded


class T5ForTokenClassification(T5PreTrainedModel):
    """T5's encoder with a linear layer over every token."""

    checkpoint_names = T5EncoderModel.checkpoint_names

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.transformer = T5EncoderModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.d_model, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; `labels` (batch, length), −100 for tokens that do not count."""
        shape = read_shape(input_ids, inputs_embeds, self.config.d_model)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.transformer(
            input_ids,
            attention_mask,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class T5ClassificationHead(nn.Module):
    """out_proj(dropout(tanh(dense(dropout(x)))))."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out_proj = nn.Linear(config.d_model, config.num_labels)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, d_model) to (batch, labels)."""
        x = torch.tanh(self.dense(self.dropout(hidden_states)))
        return self.out_proj(self.dropout(x))  # type: ignore[no-any-return]


class T5ForSequenceClassification(T5PreTrainedModel):
    """T5 with a classifier of the decoder's vector at the end of the text, which both parts read."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.transformer = T5Model(config)
        self.classification_head = T5ClassificationHead(config)
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
        """Classify texts; see `T5Model` for the inputs and `sequence_classification_loss` for the kinds of `labels`.

        The decoder reads `input_ids` shifted to the right, unless it is given other inputs. Every row must have the
        same number of end-of-text tokens; the last one counts.
        """
        config = self.config
        if input_ids is None:
            raise InputError("Pass input_ids: the end of each text is found in them.")
        batch_size, _ = read_shape(input_ids, inputs_embeds, config.d_model)
        check_ids("input_ids", input_ids, tuple(input_ids.shape), config.vocab_size, "vocab_size")
        check_sequence_labels(labels, batch_size, config.num_labels, config.problem_type)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(input_ids)
        decoded = self.transformer(
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


class T5ForQuestionAnswering(_EncoderDecoder):
    """T5 with a linear layer that scores every token of the target as start and end of an answer."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
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
        """Score every token as start and end of the answer; see `T5Model` for the inputs.

        The decoder reads `input_ids` shifted to the right, unless it is given other inputs. `start_positions` and
        `end_positions` (batch,) train it.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None and input_ids is not None:
            read_shape(input_ids, None, self.config.d_model)
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(input_ids)
        batch_size, _ = read_shape(decoder_input_ids, decoder_inputs_embeds, self.config.d_model, "decoder_")
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        is_trained = start_positions is not None and end_positions is not None
        decoded = self.encode_and_decode(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            None,
            inputs_embeds,
            decoder_inputs_embeds,
            False if is_trained else use_cache,
            **options,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return Seq2SeqQuestionAnsweringModelOutput(
            loss, start_logits, end_logits, **decoded.all_but_last_hidden_state()
        )
