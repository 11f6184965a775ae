"""T5 (Raffel et al., 2020), v1.0, v1.1 and Flan: every task is text in, text out, by an encoder and a decoder.

Reads top to bottom: configuration, weight names, the stack of blocks that is encoder or decoder, backbone, the model
that writes text, further heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import constrained, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.weight_names import Rule, WeightTable, drop, rename, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_labels,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.encoder_decoder import EncoderDecoderModel, kept_finite, sentence_vectors
from minitransformers.models.base.mask_arguments import check_context, check_mask
from minitransformers.models.base.pretrained import attention_kernel_name
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from minitransformers.nn.heads import DenseClassifier
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import read_attention_mask
from minitransformers.nn.normalization import RMSNorm
from minitransformers.nn.positions import RelativePositionBias
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

    v1.1 and Flan have `feed_forward_proj="gated-gelu"` and do not scale the decoder's output; their files say so by
    `tie_word_embeddings=False`, which is read as `scale_decoder_outputs=False`: whether the output layer is the token
    embedding, the weights tell.
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
        """Refuse what no T5 can be built from."""
        super().validate()
        exact = self.relative_attention_num_buckets // 2
        if self.relative_attention_max_distance <= exact:
            raise ConfigError(
                f"relative_attention_max_distance={self.relative_attention_max_distance} must be above {exact}, half "
                f"of relative_attention_num_buckets: so many distances have buckets of their own."
            )


# ---- weight names ----------------------------------------------------------------------------------------------------

ATTENTION = {"q": "query", "k": "key", "v": "value", "o": "output"}
FEED_FORWARD = {"wi": "intermediate", "wo": "output"}
GATED_FEED_FORWARD = {"wi_0": "gate", "wi_1": "intermediate", "wo": "output"}


def weight_table(*further: Rule, gated: bool) -> WeightTable:
    """T5's names; v1.1 has other ones for the projections of its gated network.

    A block's sub-layers are numbered: self-attention, in the decoder cross-attention, and the feed-forward network.
    """
    network = ("DenseReluDense", "feed_forward", GATED_FEED_FORWARD if gated else FEED_FORWARD)
    sub_layers = {
        "encoder": [("SelfAttention", "self_attention", ATTENTION), network],
        "decoder": [
            ("SelfAttention", "self_attention", ATTENTION),
            ("EncDecAttention", "cross_attention", ATTENTION),
            network,
        ],
    }
    rules = list(further)
    for part, parts_sub_layers in sub_layers.items():
        for number, (theirs, ours, projections) in enumerate(parts_sub_layers):
            block, our_block = f"{part}.block.{{layer}}.layer.{number}", f"{part}.blocks.{{layer}}"
            rules.append(rename(f"{block}.layer_norm.weight", f"{our_block}.{ours}_norm.weight"))
            rules += [
                rename(f"{block}.{theirs}.{old}.weight", f"{our_block}.{ours}.{new}.weight")
                for old, new in projections.items()
            ]
        rules += [
            rename(
                f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                f"{part}.relative_positions.bias.weight",
            ),
            rename(f"{part}.embed_tokens.weight", f"{part}.token_embedding.weight"),
            rename(f"{part}.final_layer_norm.weight", f"{part}.final_norm.weight"),
            tie(f"{part}.token_embedding.weight", to="shared.weight"),
            tie(f"transformer.{part}.token_embedding.weight", to="transformer.shared.weight"),
        ]
    return WeightTable(
        # Old files have a bias of cross-attention that nothing uses.
        drop("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
        *rules,
        rename("classification_head.out_proj.{kind}", "classification_head.output.{kind}"),
        tie("lm_head.weight", to="shared.weight"),
        base="transformer",
    )


# ---- encoder and decoder ---------------------------------------------------------------------------------------------


class T5PreTrainedModel(EncoderDecoderModel):
    """What all T5 classes share.

    T5 was trained in bfloat16, and its feed-forward networks give numbers that float16 has not, above 65,504. So their
    last layer stays float32 in a model that is loaded in float16, as in the reference, and with it the residual stream
    from there on (`T5Norm`); `model.half()` converts it too, and is a poorer model. In bfloat16 nothing overflows.
    """

    config_class = T5Config
    base_model_prefix = "transformer"
    weights = weight_table(gated=False)
    gated_weights: ClassVar[WeightTable] = weight_table(gated=True)
    optional_weights = (".lm_head.", ".qa_outputs.")
    wide_weights = (".feed_forward.output.",)

    config: T5Config

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        if config.is_gated_act:
            self.weights = self.gated_weights

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """N(0, 1) for embeddings and N(0, 1/inputs) for matrices, times what their modules ask for (released code)."""
        if parameter.ndim == 1:
            super().init_parameter(module, name, parameter)
            return
        spread = self.config.initializer_factor * getattr(module, "first_values", 1.0)
        parameter.normal_(0.0, spread / module.in_features**0.5 if isinstance(module, nn.Linear) else spread)

    def _note_untied(self) -> None:
        """The output layer may be one of its own, which changes nothing else: the config stays as it is."""

    def _shift_right(self, input_ids: Tensor) -> Tensor:
        """The name that scripts use for `prepare_decoder_input_ids_from_labels`."""
        return self.prepare_decoder_input_ids_from_labels(input_ids)


class T5Norm(RMSNorm):
    """`RMSNorm` whose result has the weight's type, also where the residual stream is of a wider one."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Norm the last dimension."""
        if hidden_states.dtype == self.weight.dtype:
            return super().forward(hidden_states)
        normed = F.rms_norm(hidden_states.float(), self.normalized_shape, eps=self.eps)
        return self.weight * normed.to(self.weight.dtype)


class T5Output(nn.Linear):
    """The last layer of a feed-forward network, whose weight may be of a wider type than what it is given."""

    def forward(self, input: Tensor) -> Tensor:
        """Project, in the weight's type."""
        return super().forward(input.to(self.weight.dtype))


class T5Block(Block):
    """Pre-norm, by root mean square, without any bias (§2.1); in float16, what overflows is brought back."""

    def _after(self, norm: nn.Module, hidden_states: Tensor, update: Tensor) -> Tensor:
        return kept_finite(super()._after(norm, hidden_states, update))


class T5Stack(T5PreTrainedModel):
    """A stack of blocks over embedded tokens: the encoder or, causal and with cross-attention, the decoder (§2.1).

    All blocks share one bias for relative positions, which is all that tells them the order of tokens.
    """

    def __init__(self, config: T5Config, *, is_decoder: bool) -> None:
        super().__init__(config)
        self.is_decoder = is_decoder
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.relative_positions: Any = RelativePositionBias(
            config.num_heads,
            num_buckets=config.relative_attention_num_buckets,
            max_distance=config.relative_attention_max_distance,
            bidirectional=not is_decoder,
        )
        self.relative_positions.bias.first_values = config.d_model**-0.5
        self.blocks = nn.ModuleList(_block(config, is_decoder) for _ in range(self.cache_layout[0]))
        self.final_norm = T5Norm(config.d_model, eps=config.layer_norm_epsilon)
        self.post_init()

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head."""
        config = self.config
        layers = config.num_decoder_layers if self.is_decoder else config.num_layers
        return layers or config.num_layers, config.num_heads, config.d_kv

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding, here only."""
        self.token_embedding = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or decode the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, d_model) in their place.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            encoder_hidden_states, encoder_attention_mask: what a decoder's cross-attention attends to.
            past_key_values, use_cache: of a decoder.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        prefix = "decoder_" if self.is_decoder else ""
        batch_size, length = read_shape(input_ids, inputs_embeds, config.d_model, prefix)
        if not self.is_decoder and (use_cache or past_key_values is not None):
            raise InputError("use_cache and past_key_values are for the decoder: an encoder sees all tokens at once.")
        use_cache = self.is_decoder and self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.get_seq_length()
        check_dtype(f"{prefix}inputs_embeds", inputs_embeds, self.dtype)
        check_mask(f"{prefix}attention_mask", attention_mask, config.num_heads)
        check_ids(f"{prefix}input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=past_length + length,
            is_causal=self.is_decoder,
            dtype=self.dtype,
            device=self.device,
            name=f"{prefix}attention_mask",
        )
        context_mask = check_context(
            encoder_hidden_states,
            encoder_attention_mask,
            batch_size=batch_size,
            query_length=length,
            context_size=config.d_model if self.is_decoder else None,
            num_heads=config.num_heads,
            dtype=self.dtype,
            cache=cache,
        )

        bias = self.relative_positions(length, past_length + length)
        mask = mask._replace(bias=bias if mask.bias is None else bias + mask.bias)
        hidden_states = self.dropout(self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds)

        all_hidden_states, attentions, cross_attentions = [], [], []
        for index, block in enumerate(self.blocks):
            all_hidden_states.append(hidden_states)
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
            attentions.append(attention)
            cross_attentions.append(cross_attention)
        hidden_states = self.dropout(self.final_norm(hidden_states))
        all_hidden_states.append(hidden_states)

        has_context = encoder_hidden_states is not None
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            cross_attentions=tuple(cross_attentions) if output_attentions and has_context else None,
        )


def _block(config: T5Config, is_decoder: bool) -> T5Block:
    network_class = GatedFeedForward if config.is_gated_act else FeedForward
    network = network_class(
        config.d_model, config.d_ff, activation=config.dense_act_fn, bias=False, dropout=config.dropout_rate
    )
    network.output = T5Output(config.d_ff, config.d_model, bias=False)
    return T5Block(
        _attention(config, causal=is_decoder),
        network,
        lambda: T5Norm(config.d_model, eps=config.layer_norm_epsilon),
        cross_attention=_attention(config, cross=True) if is_decoder else None,
        dropout=config.dropout_rate,
        pre_norm=True,
    )


def _attention(config: T5Config, **kind: bool) -> MultiHeadAttention:
    """Without biases, and without 1/√d_kv, which the first values of the queries' matrix make up for."""
    attention: Any = MultiHeadAttention(
        config.d_model,
        config.num_heads,
        head_dim=config.d_kv,
        dropout=config.dropout_rate,
        bias=False,
        scale=1.0,
        **kind,
    )
    attention.query.first_values = config.d_kv**-0.5
    return attention  # type: ignore[no-any-return]


# ---- backbone, and the model that writes text ------------------------------------------------------------------------


class _EncoderDecoder(T5PreTrainedModel):
    """Encoder and decoder over one embedding."""

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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqModelOutput:
        """Encode the source, unless `encoder_outputs` has what the encoder gave, and decode the target.

        Args:
            input_ids, attention_mask, inputs_embeds: the source; see `T5Stack`.
            decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds: the target, as far as it is known and not
                in the cache.
            encoder_outputs: of `get_encoder()`, or a tuple that begins with its last hidden state.
            past_key_values: the decoder's cache of an earlier call; `use_cache` returns one.
            output_attentions, output_hidden_states: None means what the config says.

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
            output_attentions,
            output_hidden_states,
        )


class T5ForConditionalGeneration(_EncoderDecoder, GenerationMixin):
    """T5 as it was trained: what text comes next in the target, given the source (§2.4)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
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
        """Score every next token of the target; see `T5Model` for the inputs.

        `labels` (batch, target length) are the target itself, −100 where nothing is to be learnt; the decoder reads
        them shifted to the right unless it is given other inputs.
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
        if labels is not None:
            shape = read_shape(decoder_input_ids, decoder_inputs_embeds, self.config.d_model, "decoder_")
            check_labels(labels, shape, self.config.vocab_size)
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
            output_attentions,
            output_hidden_states,
        )
        hidden_states = decoded.last_hidden_state
        if self.config.scale_decoder_outputs:
            hidden_states = hidden_states * self.config.d_model**-0.5
        logits = self.lm_head(hidden_states)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(logits.shape[:2]))
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())


# ---- further heads ---------------------------------------------------------------------------------------------------


class T5EncoderModel(T5PreTrainedModel):
    """The encoder alone: a vector for every token of a text."""

    weights = weight_table(drop("decoder.{rest...}"), gated=False)
    gated_weights = weight_table(drop("decoder.{rest...}"), gated=True)

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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch; see `T5Stack`."""
        encoded: BaseModelOutputWithPastAndCrossAttentions = self.encoder(
            input_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        return encoded


class T5ForTokenClassification(T5PreTrainedModel):
    """T5's encoder with a linear layer over every token."""

    weights = T5EncoderModel.weights
    gated_weights = T5EncoderModel.gated_weights

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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; `labels` (batch, length), −100 for tokens that do not count."""
        shape = read_shape(input_ids, inputs_embeds, self.config.d_model)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.transformer(
            input_ids,
            attention_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class T5ForSequenceClassification(T5PreTrainedModel):
    """T5 with a classifier of the decoder's vector at the end of the text, which both parts read."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.transformer = T5Model(config)
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classification_head(sentence_vectors(decoded.last_hidden_state, input_ids, config.eos_token_id))
        loss = None if labels is None else sequence_classification_loss(logits, labels, config.problem_type)
        return Seq2SeqSequenceClassifierOutput(loss, logits, **decoded.all_but_last_hidden_state())


class T5ForQuestionAnswering(_EncoderDecoder):
    """T5 with a linear layer that says of every token of the target whether an answer begins or ends there."""

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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions,
            output_hidden_states,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return Seq2SeqQuestionAnsweringModelOutput(
            loss, start_logits, end_logits, **decoded.all_but_last_hidden_state()
        )
