"""BERT (Devlin et al., 2018): embeddings, a stack of bidirectional encoder blocks, and a head for each task.

Reads like the paper: configuration, weight names, backbone (§3), pre-training heads (§3.1), fine-tuning heads (§4).
RoBERTa, XLM-RoBERTa and ELECTRA are BERT with a few parts changed: the methods of `BertPreTrainedModel` are those.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.weight_names import WeightTable, alias, double, drop, rename, tie
from minitransformers.generation.search import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.mask_arguments import check_context, check_mask, warn_if_left_padded
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.cache import KeyValueCache
from minitransformers.nn.embeddings import Embeddings
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.heads import MaskedLMHead, Pooler, keep_positions
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import read_attention_mask
from minitransformers.nn.positions import count_positions
from minitransformers.outputs import (
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
        if self._extra.get("position_embedding_type", "absolute") != "absolute":
            raise ConfigError(f"position_embedding_type={self._extra['position_embedding_type']!r} must be 'absolute'.")


# ---- weight names ----------------------------------------------------------------------------------------------------

# The backbone's, which BERT's relatives have too
BACKBONE_RULES = (
    # Checkpoints converted from TensorFlow
    alias("{module...}.gamma", of="{module...}.weight"),
    alias("{module...}.beta", of="{module...}.bias"),
    # Embeddings
    drop("embeddings.position_ids"),
    rename("embeddings.word_embeddings.weight", "embeddings.token_embedding.weight"),
    rename("embeddings.position_embeddings.weight", "embeddings.position_embedding.weight"),
    rename("embeddings.token_type_embeddings.weight", "embeddings.token_type_embedding.weight"),
    rename("embeddings.LayerNorm.{kind}", "embeddings.norm.{kind}"),
    # Blocks
    rename("encoder.layer.{layer}.attention.output.dense.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("encoder.layer.{layer}.attention.output.LayerNorm.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("encoder.layer.{layer}.attention.self.{part}.{kind}", "blocks.{layer}.self_attention.{part}.{kind}"),
    rename("encoder.layer.{layer}.crossattention.output.dense.{kind}", "blocks.{layer}.cross_attention.output.{kind}"),
    rename(
        "encoder.layer.{layer}.crossattention.output.LayerNorm.{kind}", "blocks.{layer}.cross_attention_norm.{kind}"
    ),
    rename("encoder.layer.{layer}.crossattention.self.{part}.{kind}", "blocks.{layer}.cross_attention.{part}.{kind}"),
    rename("encoder.layer.{layer}.intermediate.dense.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("encoder.layer.{layer}.output.dense.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("encoder.layer.{layer}.output.LayerNorm.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
)
WEIGHTS = WeightTable(
    *BACKBONE_RULES,
    # Heads
    rename("cls.predictions.transform.dense.{kind}", "mlm_head.dense.{kind}"),
    rename("cls.predictions.transform.LayerNorm.{kind}", "mlm_head.norm.{kind}"),
    rename("cls.predictions.decoder.weight", "mlm_head.decoder.weight"),
    double("cls.predictions.decoder.bias", of="cls.predictions.bias"),
    rename("cls.predictions.bias", "mlm_head.decoder.bias"),
    tie("mlm_head.decoder.weight", to="bert.embeddings.token_embedding.weight"),
    rename("cls.seq_relationship.{kind}", "nsp_head.{kind}"),
    base="bert",
)


# ---- the backbone (§3) -----------------------------------------------------------------------------------------------


class BertPreTrainedModel(PreTrainedModel):
    """What all BERT classes share.

    The methods are the parts that relatives of BERT build or count otherwise: RoBERTa and ELECTRA are written as BERT
    with other such parts.
    """

    config_class: ClassVar[type[Config]] = BertConfig
    base_model_prefix = "bert"
    weights = WEIGHTS
    optional_weights: ClassVar[tuple[str, ...]] = (".pooler.", ".cross_attention.", ".cross_attention_norm.")

    config: BertConfig

    def build_backbone(self, add_pooling_layer: bool = True) -> None:
        """Give a model with a head its backbone: `self.bert`, which is also `self.base_model`."""
        self.bert = BertModel(self.config, add_pooling_layer)

    def build_mlm_head(self) -> None:
        """Give a model its masked-token head."""
        config = self.config
        self.mlm_head = MaskedLMHead(
            config.hidden_size, config.vocab_size, activation=config.hidden_act, eps=config.layer_norm_eps
        )

    @property
    def embedding_size(self) -> int:
        """Width of the token embedding, and so of `inputs_embeds`."""
        return self.config.hidden_size


class BertModel(BertPreTrainedModel):
    """Embeddings → blocks → pooler: a vector for every token, and one for the sequence.

    Bidirectional; with `config.is_decoder` causal, with a cache of keys and values, and with attention to an encoder's
    output where `config.add_cross_attention` says so.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            embedding_size=None if self.embedding_size == config.hidden_size else self.embedding_size,
            max_positions=config.max_position_embeddings,
            num_token_types=config.type_vocab_size,
            padding_idx=config.pad_token_id,
            dropout=config.hidden_dropout_prob,
            eps=config.layer_norm_eps,
        )
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_hidden_layers))
        self.pooler = Pooler(config.hidden_size) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.embeddings.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.embeddings.token_embedding = embeddings

    def default_positions(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, length: int, past_length: int
    ) -> Tensor:
        """The positions where none are given: 0, 1, …, padding included, after what the cache holds."""
        check_length(length, past_length, self.config.max_position_embeddings)
        if self.config.is_decoder:
            warn_if_left_padded(attention_mask, None, past_length)
        return count_positions(length, past_length, device=self.device)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), 0 in sentence A and 1 in sentence B; 0 if None.
            position_ids: (batch, length); counted from 0 if None.
            encoder_hidden_states, encoder_attention_mask: what cross-attention attends to.
            past_key_values: the cache of an earlier call; `use_cache` returns one. Decoders only.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, self.embedding_size)
        if past_key_values is not None and not config.is_decoder:
            raise InputError("past_key_values needs a decoder: build the model with is_decoder=True.")
        use_cache = config.is_decoder and self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.length
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask("attention_mask", attention_mask, config.num_attention_heads)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("token_type_ids", token_type_ids, (batch_size, length), config.type_vocab_size, "type_vocab_size")
        check_ids(
            "position_ids",
            position_ids,
            (batch_size, length),
            config.max_position_embeddings,
            "max_position_embeddings",
        )
        if position_ids is None:
            position_ids = self.default_positions(input_ids, attention_mask, length, past_length)
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=past_length + length,
            is_causal=config.is_decoder,
            dtype=self.dtype,
            device=self.device,
        )
        context_mask = check_context(
            encoder_hidden_states,
            encoder_attention_mask,
            batch_size=batch_size,
            query_length=length,
            context_size=config.hidden_size if config.add_cross_attention else None,
            num_heads=config.num_attention_heads,
            dtype=self.dtype,
            cache=cache,
        )

        hidden_states = self.embeddings(
            input_ids, token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds
        )
        all_hidden_states, attentions, cross_attentions = [hidden_states], [], []
        for index, block in enumerate(self.blocks):
            if config.is_decoder:
                hidden_states, attention, cross_attention = self.run_block(
                    block,
                    hidden_states,
                    mask,
                    context=encoder_hidden_states,
                    context_mask=context_mask,
                    cache=None if cache is None else cache.self_attention[index],
                    cross_cache=None if cache is None else cache.cross_attention[index],
                    kernel=kernel,
                )
                cross_attentions.append(cross_attention)
            else:
                hidden_states, attention, _ = self.run_block(block, hidden_states, mask, kernel=kernel)
            all_hidden_states.append(hidden_states)
            attentions.append(attention)

        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=hidden_states,
            pooler_output=None if self.pooler is None else self.pooler(hidden_states),
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            cross_attentions=tuple(cross_attentions)
            if output_attentions and encoder_hidden_states is not None
            else None,
        )


def _block(config: BertConfig) -> EncoderBlock | DecoderBlock:
    sizes = (config.hidden_size, config.num_attention_heads, config.intermediate_size)
    activation, eps = config.hidden_act, config.layer_norm_eps
    dropout, attention_dropout = config.hidden_dropout_prob, config.attention_probs_dropout_prob
    if not config.is_decoder:
        return EncoderBlock(
            *sizes, activation=activation, dropout=dropout, attention_dropout=attention_dropout, eps=eps
        )
    return DecoderBlock(
        *sizes,
        activation=activation,
        dropout=dropout,
        attention_dropout=attention_dropout,
        eps=eps,
        pre_norm=False,
        cross_attention=config.add_cross_attention,
    )


# ---- pre-training heads (§3.1) ---------------------------------------------------------------------------------------


class WithMaskedLMHead(BertPreTrainedModel):
    """Models whose `mlm_head` scores the vocabulary."""

    mlm_head: MaskedLMHead

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.mlm_head.decoder

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.mlm_head.decoder = embeddings


class BertForPreTraining(WithMaskedLMHead):
    """BERT with both of its pre-training heads: masked tokens and next sentence (§3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.build_backbone()
        self.build_mlm_head()
        self.nsp_head = nn.Linear(config.hidden_size, 2)
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BertForPreTrainingOutput:
        """Predict masked tokens and the next sentence; see `BertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere. `next_sentence_label`
        (batch,): 0 = sentence B follows sentence A, 1 = it does not. The loss, given both, is their sum.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(next_sentence_label, shape[:1], 2, "next_sentence_label")
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        prediction_logits = self.mlm_head(encoded.last_hidden_state)
        seq_relationship_logits = self.nsp_head(encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_cross_entropy(prediction_logits, labels.view(shape)) + token_cross_entropy(
                seq_relationship_logits, next_sentence_label.view(-1)
            )
        return BertForPreTrainingOutput(
            loss, prediction_logits, seq_relationship_logits, encoded.hidden_states, encoded.attentions
        )


class BertForMaskedLM(WithMaskedLMHead):
    """BERT that fills in masked tokens (§3.1, task 1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning(
                "%s sees both sides only with is_decoder=False; its config has is_decoder=True.", type(self).__name__
            )
        self.build_backbone(add_pooling_layer=False)
        self.build_mlm_head()
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `BertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.mlm_head(encoded.last_hidden_state)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertLMHeadModel(WithMaskedLMHead, GenerationMixin):
    """BERT as a decoder that predicts the next token; `config.is_decoder` should be True."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning(
                "%s sees only what came before with is_decoder=True; its config has False.", type(self).__name__
            )
        self.build_backbone(add_pooling_layer=False)
        self.build_mlm_head()
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
        past_key_values: KeyValueCache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score every next token; see `BertModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            False if labels is not None else use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.mlm_head(keep_positions(encoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
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
        self.build_backbone()
        self.nsp_head = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> NextSentencePredictorOutput:
        """Classify pairs; see `BertModel` for the inputs. `labels` (batch,): 0 = B follows A, 1 = it does not."""
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape[:1], 2)
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.nsp_head(encoded.pooler_output)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return NextSentencePredictorOutput(loss, logits, encoded.hidden_states, encoded.attentions)


# ---- fine-tuning heads (§4) ------------------------------------------------------------------------------------------


# Any relative's configuration will do that has a hidden_size, labels and a dropout for the head (`head_dropout`).


class BertForSequenceClassification(BertPreTrainedModel):
    """BERT with a linear layer over the pooled vector: classes, several labels at once, or a number (§4.1)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.build_backbone()
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `BertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForMultipleChoice(BertPreTrainedModel):
    """BERT that scores each of several choices for a text (§4.4)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.build_backbone()
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `BertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.base_model(
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForTokenClassification(BertPreTrainedModel):
    """BERT with a linear layer over every token: named entities, parts of speech (§5.3)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.build_backbone(add_pooling_layer=False)
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; see `BertModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForQuestionAnswering(BertPreTrainedModel):
    """BERT that finds the answer to a question in a text: where it starts and ends (§4.2)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.build_backbone(add_pooling_layer=False)
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
        """Score every token as start and as end; see `BertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.base_model(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)
