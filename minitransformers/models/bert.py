"""BERT (Devlin et al., 2018): embeddings, a stack of bidirectional encoder blocks, and a head for each task.

Reads like the paper: configuration, embeddings (§3, figure 2), blocks, backbone, pre-training heads (§3.1), fine-tuning
heads (§4). Modules are named as in the checkpoints.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames, drop, former
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.inputs import Inputs, OutputOptions, Record
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.attention import AttentionOutput, attend
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
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

logger = logging.getLogger(__name__)


# ---- configuration ---------------------------------------------------------------------------------------------------


class BertConfig(Config):
    """The fields of BERT's config.json; the defaults are those of BERT-base, uncased (§3)."""

    model_type = "bert"

    vocab_size: int = size(30522)
    hidden_size: int = size(768)  # H
    num_hidden_layers: int = count(12)  # L
    num_attention_heads: int = size(12)  # A
    intermediate_size: int = size(3072)  # 4H
    hidden_act: str = choice("gelu", ACTIVATIONS)
    hidden_dropout_prob: float = probability(0.1)
    attention_probs_dropout_prob: float = probability(0.1)
    max_position_embeddings: int = size(512)
    type_vocab_size: int = size(2)  # sentence A, sentence B
    initializer_range: float = positive(0.02)
    layer_norm_eps: float = positive(1e-12)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_cache: bool = True
    classifier_dropout: float | None = probability(None)
    is_decoder: bool = False
    add_cross_attention: bool = False

    @property
    def head_dropout(self) -> float:
        """Dropout before a classification head."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    def validate(self) -> None:
        """Refuse what no BERT can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")
        if self.pad_token_id is not None and not -self.vocab_size <= self.pad_token_id < self.vocab_size:
            raise ConfigError(f"pad_token_id={self.pad_token_id} must be below vocab_size={self.vocab_size}.")
        if self.add_cross_attention and not self.is_decoder:
            raise ConfigError("add_cross_attention=True needs is_decoder=True.")
        if getattr(self, "position_embedding_type", "absolute") != "absolute":
            raise ConfigError(f"position_embedding_type={self.position_embedding_type!r} must be 'absolute'.")


# ---- embeddings (§3, figure 2) ---------------------------------------------------------------------------------------


class BertEmbeddings(nn.Module):
    """token + segment + position, then norm and dropout."""

    position_ids: Tensor
    token_type_ids: Tensor

    def __init__(self, config: Any, width: int | None = None) -> None:
        super().__init__()
        width = width or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        positions = torch.arange(config.max_position_embeddings)[None]
        self.register_buffer("position_ids", positions, persistent=False)
        self.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """(batch, length, width) for ids, or for vectors in their place; segments are 0 and positions count if None."""
        tokens = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = self.position_ids[:, past_key_values_length : past_key_values_length + tokens.shape[1]]
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(position_ids).expand(tokens.shape[:-1])
        x = tokens + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(x))  # type: ignore[no-any-return]


# ---- blocks ----------------------------------------------------------------------------------------------------------


class BertSelfAttention(nn.Module):
    """Attention without its output projection, which the checkpoints keep beside the norm."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> AttentionOutput:
        """Attend from and to `x` (batch, length, hidden), and the tokens in the cache."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        dropout = self.dropout.p if self.training else 0.0
        return attend(query, key, value, heads=self.heads, mask=mask, cache=cache, dropout=dropout, kernel=kernel)


class BertCrossAttention(BertSelfAttention):
    """The same from a decoder's `x` to an encoder's output, the context."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        context: Tensor,
        mask: AttentionMask | Tensor | None = None,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> AttentionOutput:
        """Attend from `x` (batch, length, hidden) to `context` (batch, source length, hidden)."""
        is_cached = cache is not None and cache.length > 0  # the context does not change between steps
        key, value = (None, None) if is_cached else (self.key(context), self.value(context))
        dropout = self.dropout.p if self.training else 0.0
        return attend(
            self.query(x), key, value, heads=self.heads, mask=mask, cache=cache, dropout=dropout, kernel=kernel
        )


class BertSelfOutput(nn.Module):
    """norm(residual + dense(x)): the end of the attention sub-layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Project what was attended, and add it to the sub-layer's input."""
        return self.LayerNorm(residual + self.dropout(self.dense(x)))  # type: ignore[no-any-return]


class BertAttention(nn.Module):
    """The attention sub-layer, post-norm."""

    def __init__(self, config: Any, is_cross_attention: bool = False) -> None:
        super().__init__()
        self.self = BertCrossAttention(config) if is_cross_attention else BertSelfAttention(config)
        self.output = BertSelfOutput(config)

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Attend, project and add; further arguments are those of the attention."""
        attended, weights = self.self(x, *arguments, **options)
        return self.output(attended, x), weights


class BertIntermediate(nn.Module):
    """activation(dense(x)): the first half of the feed-forward network."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation_function(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, intermediate)."""
        return self.intermediate_act_fn(self.dense(x))  # type: ignore[no-any-return]


class BertOutput(nn.Module):
    """norm(residual + dense(x)): the second half of the feed-forward network."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(batch, length, intermediate) to (batch, length, hidden), added to the sub-layer's input."""
        return self.LayerNorm(residual + self.dropout(self.dense(x)))  # type: ignore[no-any-return]


class BertLayer(GradientCheckpointingLayer):
    """A block: attention, in a decoder attention to a context, and feed-forward, each added to its input and normed."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        if config.add_cross_attention:
            self.crossattention = BertAttention(config, is_cross_attention=True)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

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
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x, weights = self.attention(hidden_states, attention_mask, cache=cache, kernel=kernel)
        cross_weights = None
        if context is not None:
            x, cross_weights = self.crossattention(x, context, context_mask, cache=cross_cache, kernel=kernel)
        if record is not None:
            record(weights, cross_weights)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]


class BertEncoder(nn.Module):
    """The stack of blocks."""

    layer_class: ClassVar[type[nn.Module]] = BertLayer

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(self.layer_class(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden_states: Tensor, inputs: Inputs) -> BaseModelOutputWithPastAndCrossAttentions:
        """Run the blocks over embedded tokens (batch, length, hidden)."""
        x = hidden_states
        for index, layer in enumerate(self.layer):
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        return BaseModelOutputWithPastAndCrossAttentions(x, inputs.past_key_values, **inputs.kept(cross=True))


class BertPooler(nn.Module):
    """tanh(dense(first token)): a vector for the whole sequence (§3)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, hidden)."""
        return self.activation(self.dense(hidden_states[:, 0]))  # type: ignore[no-any-return]


# ---- the backbone ----------------------------------------------------------------------------------------------------

# Also of BERT's relatives
BACKBONE_NAMES = (
    former("{module...}.gamma", "{module...}.weight"),  # checkpoints converted from TensorFlow
    former("{module...}.beta", "{module...}.bias"),
    drop("embeddings.position_ids"),
)


class BertPreTrainedModel(PreTrainedModel):
    """The base of all BERT classes."""

    config_class: ClassVar[type[Config]] = BertConfig
    base_model_prefix = "bert"
    checkpoint_names = CheckpointNames(
        *BACKBONE_NAMES, former("cls.predictions.output_bias", "cls.predictions.bias"), base="bert"
    )
    optional_weights = (".pooler.", ".crossattention.")
    _input_embeddings = "embeddings.word_embeddings"
    _output_embeddings = "cls.predictions.decoder"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    _no_split_modules: ClassVar[list[str]] = ["BertEmbeddings", "BertLayer"]

    config: BertConfig


class BertModel(BertPreTrainedModel):
    """Embeddings → blocks → pooler: a vector for every token, and one for the sequence.

    Bidirectional; with `config.is_decoder` causal, with a cache of keys and values, and with attention to an encoder's
    output where `config.add_cross_attention` is set.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), 0 in sentence A and 1 in sentence B; 0 if None.
            position_ids: (batch, length); counted from 0 if None.
            encoder_hidden_states, encoder_attention_mask: input of the cross-attention.
            past_key_values: the cache of an earlier call; `use_cache` returns one. Decoders only.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        inputs = self.prepare_inputs(
            input_ids,
            inputs_embeds,
            attention_mask,
            position_ids,
            token_type_ids,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache,
            **options,
            is_causal=self.config.is_decoder,
            has_cross_attention=self.config.add_cross_attention,
            documents=False,
        )
        x = self.embeddings(input_ids, token_type_ids, inputs.position_ids, inputs_embeds)
        encoded = self.encoder(x, inputs)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            encoded.last_hidden_state,
            None if self.pooler is None else self.pooler(encoded.last_hidden_state),
            encoded.past_key_values,
            encoded.hidden_states,
            encoded.attentions,
            encoded.cross_attentions,
        )


# ---- pre-training heads (§3.1) ---------------------------------------------------------------------------------------


class BertPredictionHeadTransform(nn.Module):
    """norm(activation(dense(x))), before the vocabulary is scored."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = activation_function(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))  # type: ignore[no-any-return]


class BertLMPredictionHead(nn.Module):
    """Scores of every token of the vocabulary; `decoder` shares its weight with the token embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # tied to the decoder's

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, vocabulary)."""
        return self.decoder(self.transform(hidden_states))  # type: ignore[no-any-return]


class BertOnlyMLMHead(nn.Module):
    """The masked-token head alone."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)

    def forward(self, sequence_output: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, vocabulary)."""
        return self.predictions(sequence_output)  # type: ignore[no-any-return]


class BertOnlyNSPHead(nn.Module):
    """The next-sentence head alone."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled_output: Tensor) -> Tensor:
        """(batch, hidden) to (batch, 2)."""
        return self.seq_relationship(pooled_output)  # type: ignore[no-any-return]


class BertPreTrainingHeads(nn.Module):
    """Both heads."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, sequence_output: Tensor, pooled_output: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of tokens (batch, length, vocabulary), and of the next sentence (batch, 2)."""
        return self.predictions(sequence_output), self.seq_relationship(pooled_output)


class BertForPreTraining(BertPreTrainedModel):
    """BERT with both of its pre-training heads: masked tokens and next sentence (§3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BertForPreTrainingOutput:
        """Predict masked tokens and the next sentence; see `BertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere. `next_sentence_label`
        (batch,): 0 = sentence B follows sentence A, 1 = it does not. The loss, given both, is their sum.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(next_sentence_label, shape[:1], 2, "next_sentence_label")
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        prediction_logits, seq_relationship_logits = self.cls(x, encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_cross_entropy(prediction_logits, labels) + token_cross_entropy(
                seq_relationship_logits, next_sentence_label.view(-1)
            )
        return BertForPreTrainingOutput(
            loss, prediction_logits, seq_relationship_logits, encoded.hidden_states, encoded.attentions
        )


class BertForMaskedLM(BertPreTrainedModel):
    """BERT that fills in masked tokens (§3.1, task 1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning(
                "%s sees both sides only with is_decoder=False; its config has is_decoder=True.", type(self).__name__
            )
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `BertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            return_dict=True,
            **options,
        )
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        logits = self.cls(x)
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertLMHeadModel(BertPreTrainedModel, GenerationMixin):
    """BERT as a decoder that predicts the next token; `config.is_decoder` should be True."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning(
                "%s sees only what came before with is_decoder=True; its config has False.", type(self).__name__
            )
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutputWithCrossAttentions:
        """Score every next token; see `BertModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            False if labels is not None else use_cache,
            return_dict=True,
            **options,
        )
        logits = self.cls(keep_positions(encoded.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels.view(shape),
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
                shift_labels=shift_labels,
            )
        return CausalLMOutputWithCrossAttentions(
            loss,
            logits,
            encoded.past_key_values,
            encoded.hidden_states,
            encoded.attentions,
            encoded.cross_attentions,
        )


class BertForNextSentencePrediction(BertPreTrainedModel):
    """BERT that tells whether sentence B follows sentence A (§3.1, task 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertOnlyNSPHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> NextSentencePredictorOutput:
        """Classify pairs; see `BertModel` for the inputs. `labels` (batch,): 0 = B follows A, 1 = it does not."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape[:1], 2)
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        logits = self.cls(encoded.pooler_output)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return NextSentencePredictorOutput(loss, logits, encoded.hidden_states, encoded.attentions)


# ---- fine-tuning heads (§4) ------------------------------------------------------------------------------------------


class BertForSequenceClassification(BertPreTrainedModel):
    """BERT with a linear layer over the pooled vector: classes, several labels at once, or a number (§4.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `BertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForMultipleChoice(BertPreTrainedModel):
    """BERT that scores each of several choices for a text (§4.4)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `BertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.bert(
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForTokenClassification(BertPreTrainedModel):
    """BERT with a linear layer over every token: named entities, parts of speech (§5.3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `BertModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForQuestionAnswering(BertPreTrainedModel):
    """BERT that finds the answer to a question in a text: where it starts and ends (§4.2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.bert = BertModel(config, add_pooling_layer=False)
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
        """Score every token as start and as end; see `BertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)
