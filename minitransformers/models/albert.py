"""ALBERT (Lan et al., 2019): BERT with few parameters. Its blocks share their weights, and its embedding is narrow.

Reads like the paper: configuration, weight names, backbone (§3.1), pre-training heads (§3.1, §4.6), fine-tuning heads,
which are BERT's.
"""

from __future__ import annotations

from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.weight_names import WeightTable, alias, double, drop, rename, tie
from minitransformers.models.base.checks import check_dtype, check_ids, check_labels, check_length, read_shape
from minitransformers.models.base.mask_arguments import check_mask
from minitransformers.models.base.pretrained import attention_kernel_name
from minitransformers.models.bert import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertPreTrainedModel,
    WithMaskedLMHead,
)
from minitransformers.nn.legacy_blocks import BlockOutput, EncoderBlock
from minitransformers.nn.embeddings import Embeddings
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.heads import MaskedLMHead, Pooler
from minitransformers.nn.losses import token_cross_entropy
from minitransformers.nn.masks import AttentionMask, read_attention_mask
from minitransformers.outputs import AlbertForPreTrainingOutput, BaseModelOutputWithPooling, MaskedLMOutput

# ---- configuration ---------------------------------------------------------------------------------------------------


class AlbertConfig(Config):
    """The fields of ALBERT's config.json; the defaults are those of ALBERT-xxlarge (table 1)."""

    model_type = "albert"

    vocab_size: int = size(30000)
    embedding_size: int = size(128)  # E
    hidden_size: int = size(4096)  # H
    num_hidden_layers: int = count(12)  # L: how often a block is run
    num_hidden_groups: int = size(1)  # of layers that share their weights
    num_attention_heads: int = size(64)
    intermediate_size: int = size(16384)
    inner_group_num: int = count(1)  # blocks that make up one layer
    hidden_act: str = choice("gelu_new", ACTIVATIONS)
    hidden_dropout_prob: float = probability(0.0)
    attention_probs_dropout_prob: float = probability(0.0)
    max_position_embeddings: int = size(512)
    type_vocab_size: int = size(2)
    initializer_range: float = positive(0.02)
    layer_norm_eps: float = positive(1e-12)
    classifier_dropout_prob: float = probability(0.1)
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3

    @property
    def head_dropout(self) -> float:
        """Dropout before a classification head."""
        return self.classifier_dropout_prob

    def validate(self) -> None:
        """Refuse what no ALBERT can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")
        if self.pad_token_id is not None and not -self.vocab_size <= self.pad_token_id < self.vocab_size:
            raise ConfigError(f"pad_token_id={self.pad_token_id} must be below vocab_size={self.vocab_size}.")


# ---- weight names ----------------------------------------------------------------------------------------------------

_THEIR_BLOCK = "encoder.albert_layer_groups.{group}.albert_layers.{block}"

WEIGHTS = WeightTable(
    alias("{module...}.gamma", of="{module...}.weight"),  # checkpoints converted from TensorFlow
    alias("{module...}.beta", of="{module...}.bias"),
    drop("embeddings.position_ids"),
    rename("embeddings.word_embeddings.weight", "embeddings.token_embedding.weight"),
    rename("embeddings.position_embeddings.weight", "embeddings.position_embedding.weight"),
    rename("embeddings.token_type_embeddings.weight", "embeddings.token_type_embedding.weight"),
    rename("embeddings.LayerNorm.{kind}", "embeddings.norm.{kind}"),
    rename("encoder.embedding_hidden_mapping_in.{kind}", "embeddings.projection.{kind}"),
    rename(_THEIR_BLOCK + ".attention.dense.{kind}", "groups.{group}.{block}.self_attention.output.{kind}"),
    rename(_THEIR_BLOCK + ".attention.LayerNorm.{kind}", "groups.{group}.{block}.self_attention_norm.{kind}"),
    rename(_THEIR_BLOCK + ".attention.{part}.{kind}", "groups.{group}.{block}.self_attention.{part}.{kind}"),
    rename(_THEIR_BLOCK + ".ffn.{kind}", "groups.{group}.{block}.feed_forward.intermediate.{kind}"),
    rename(_THEIR_BLOCK + ".ffn_output.{kind}", "groups.{group}.{block}.feed_forward.output.{kind}"),
    rename(_THEIR_BLOCK + ".full_layer_layer_norm.{kind}", "groups.{group}.{block}.feed_forward_norm.{kind}"),
    rename("pooler.{kind}", "pooler.dense.{kind}"),
    # Heads
    rename("predictions.dense.{kind}", "mlm_head.dense.{kind}"),
    rename("predictions.LayerNorm.{kind}", "mlm_head.norm.{kind}"),
    rename("predictions.decoder.weight", "mlm_head.decoder.weight"),
    double("predictions.decoder.bias", of="predictions.bias"),
    rename("predictions.bias", "mlm_head.decoder.bias"),
    tie("mlm_head.decoder.weight", to="albert.embeddings.token_embedding.weight"),
    rename("sop_classifier.classifier.{kind}", "sop_head.{kind}"),
    base="albert",
)


# ---- the backbone (§3.1) ---------------------------------------------------------------------------------------------


class AlbertPreTrainedModel(BertPreTrainedModel):
    """What all ALBERT classes share."""

    config_class = AlbertConfig
    base_model_prefix = "albert"
    weights = WEIGHTS
    optional_weights = (".pooler.",)

    config: AlbertConfig  # type: ignore[assignment]  # it has all that BERT's fine-tuning heads read

    def build_backbone(self, add_pooling_layer: bool = True) -> None:
        """Give a model with a head its backbone: `self.albert`, which is also `self.base_model`."""
        self.albert = AlbertModel(self.config, add_pooling_layer)

    def build_mlm_head(self) -> None:
        """Give a model its masked-token head."""
        config = self.config
        self.mlm_head = MaskedLMHead(
            config.hidden_size,
            config.vocab_size,
            embedding_size=config.embedding_size,
            activation=config.hidden_act,
            eps=config.layer_norm_eps,
        )

    @property
    def embedding_size(self) -> int:
        """Width of the token embedding, and so of `inputs_embeds`."""
        return self.config.embedding_size


class AlbertBlock(EncoderBlock):
    """BERT's block, without dropout after the feed-forward network."""

    def forward(  # type: ignore[override]  # an encoder's block has neither context nor cache
        self, hidden_states: Tensor, mask: AttentionMask | None = None, *, kernel: str = "sdpa"
    ) -> BlockOutput:
        """Transform a sequence."""
        attended, weights = self.self_attention(hidden_states, mask=mask, kernel=kernel)
        x = self.self_attention_norm(hidden_states + self.dropout(attended))
        return BlockOutput(self.feed_forward_norm(x + self.feed_forward(x)), weights, None)


class AlbertModel(AlbertPreTrainedModel):
    """Embeddings → the same few blocks, again and again → pooler: a vector for every token, and one for the sequence.

    Layer i of L runs the blocks of group ⌊i·G/L⌋, one after the other; with G = 1, as published, all layers are one.
    """

    def __init__(self, config: AlbertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            embedding_size=config.embedding_size,
            max_positions=config.max_position_embeddings,
            num_token_types=config.type_vocab_size,
            padding_idx=config.pad_token_id,
            dropout=config.hidden_dropout_prob,
            eps=config.layer_norm_eps,
        )
        self.groups = nn.ModuleList(
            nn.ModuleList(_block(config) for _ in range(config.inner_group_num))
            for _ in range(config.num_hidden_groups)
        )
        self.pooler = Pooler(config.hidden_size) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.embeddings.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.embeddings.token_embedding = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, embedding_size) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), 0 in sentence A and 1 in sentence B; 0 if None.
            position_ids: (batch, length); counted from 0 if None.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        shape = read_shape(input_ids, inputs_embeds, config.embedding_size)
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask("attention_mask", attention_mask, config.num_attention_heads)
        check_ids("input_ids", input_ids, shape, config.vocab_size, "vocab_size")
        check_ids("token_type_ids", token_type_ids, shape, config.type_vocab_size, "type_vocab_size")
        check_ids("position_ids", position_ids, shape, config.max_position_embeddings, "max_position_embeddings")
        if position_ids is None:
            check_length(shape[1], 0, config.max_position_embeddings)
        mask = read_attention_mask(
            attention_mask,
            batch_size=shape[0],
            query_length=shape[1],
            key_length=shape[1],
            is_causal=False,
            dtype=self.dtype,
            device=self.device,
        )

        hidden_states = self.embeddings(
            input_ids, token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds
        )
        all_hidden_states, attentions = [hidden_states], []
        for index in range(config.num_hidden_layers):
            group = self.groups[int(index / (config.num_hidden_layers / config.num_hidden_groups))]
            for block in group.children():
                hidden_states, attention, _ = self.run_block(block, hidden_states, mask, kernel=kernel)
                all_hidden_states.append(hidden_states)
                attentions.append(attention)

        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=None if self.pooler is None else self.pooler(hidden_states),
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def _block(config: AlbertConfig) -> AlbertBlock:
    return AlbertBlock(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        activation=config.hidden_act,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        eps=config.layer_norm_eps,
    )


# ---- pre-training heads (§3.1, §4.6) ---------------------------------------------------------------------------------


class AlbertForPreTraining(AlbertPreTrainedModel, WithMaskedLMHead):
    """ALBERT with both of its pre-training heads: masked tokens, and the order of two sentences."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.build_backbone()
        self.build_mlm_head()
        self.dropout = nn.Dropout(config.head_dropout)
        self.sop_head = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> AlbertForPreTrainingOutput:
        """Predict masked tokens and the order of the sentences; see `AlbertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere. `sentence_order_label`
        (batch,): 0 = sentence A comes first, 1 = they are swapped. The loss, given both, is their sum.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(sentence_order_label, shape[:1], self.config.num_labels, "sentence_order_label")
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
        sop_logits = self.sop_head(self.dropout(encoded.pooler_output))
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = token_cross_entropy(prediction_logits, labels.view(shape)) + token_cross_entropy(
                sop_logits, sentence_order_label.view(-1)
            )
        return AlbertForPreTrainingOutput(
            loss, prediction_logits, sop_logits, encoded.hidden_states, encoded.attentions
        )


class AlbertForMaskedLM(AlbertPreTrainedModel, WithMaskedLMHead):
    """ALBERT that fills in masked tokens."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
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
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `AlbertModel` for the inputs.

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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.mlm_head(encoded.last_hidden_state)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


# ---- fine-tuning heads: BERT's ---------------------------------------------------------------------------------------


class AlbertForSequenceClassification(AlbertPreTrainedModel, BertForSequenceClassification):
    """ALBERT with a linear layer over the pooled vector: classes, several labels at once, or a number."""


class AlbertForMultipleChoice(AlbertPreTrainedModel, BertForMultipleChoice):
    """ALBERT that scores each of several choices for a text."""


class AlbertForTokenClassification(AlbertPreTrainedModel, BertForTokenClassification):
    """ALBERT with a linear layer over every token."""


class AlbertForQuestionAnswering(AlbertPreTrainedModel, BertForQuestionAnswering):
    """ALBERT that finds the answer to a question in a text."""
