"""ALBERT (Lan et al., 2019): BERT with few parameters. Its blocks share their weights, and its embedding is narrow.

Reads like the paper: configuration, blocks and backbone (§3.1), pre-training heads (§3.1, §4.6), fine-tuning heads.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_labels,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.inputs import Inputs, OutputOptions, Record
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.bert import BACKBONE_NAMES, BertEmbeddings
from minitransformers.nn.attention import attend
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import sequence_classification_loss, span_loss, token_cross_entropy
from minitransformers.nn.masks import AttentionMask
from minitransformers.outputs import (
    AlbertForPreTrainingOutput,
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

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


# ---- blocks (§3.1) ---------------------------------------------------------------------------------------------------


class AlbertEmbeddings(BertEmbeddings):
    """BERT's, as narrow as the config says."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, width=config.embedding_size)


class AlbertAttention(nn.Module):
    """The attention sub-layer, post-norm."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.output_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, x: Tensor, mask: AttentionMask | Tensor | None = None, kernel: str = "sdpa"
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from and to `x` (batch, length, hidden), project and add."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        dropout = self.attention_dropout.p if self.training else 0.0
        attended, weights = attend(query, key, value, heads=self.heads, mask=mask, dropout=dropout, kernel=kernel)
        return self.LayerNorm(x + self.output_dropout(self.dense(attended))), weights


class AlbertLayer(GradientCheckpointingLayer):
    """BERT's block, without dropout after the feed-forward network."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = AlbertAttention(config)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = activation_function(config.hidden_act)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)  # in the reference's tree, and used by neither

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x, weights = self.attention(hidden_states, attention_mask, kernel=kernel)
        if record is not None:
            record(weights, None)
        transformed = self.ffn_output(self.activation(self.ffn(x)))
        return self.full_layer_layer_norm(x + transformed)  # type: ignore[no-any-return]


class AlbertLayerGroup(nn.Module):
    """Blocks that are run one after the other, and together make up a layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList(AlbertLayer(config) for _ in range(config.inner_group_num))

    def forward(self, hidden_states: Tensor, inputs: Inputs) -> Tensor:
        """Transform (batch, length, hidden)."""
        x = hidden_states
        for index, layer in enumerate(self.albert_layers):
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        return x


class AlbertTransformer(nn.Module):
    """The same few blocks, again and again: layer i of L runs group ⌊i·G/L⌋; with G = 1, as published, all are one."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.num_layers = config.num_hidden_layers
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList(AlbertLayerGroup(config) for _ in range(config.num_hidden_groups))

    def forward(self, hidden_states: Tensor, inputs: Inputs) -> BaseModelOutput:
        """Project embedded tokens (batch, length, embedding) to the width of the blocks, and run those."""
        x = self.embedding_hidden_mapping_in(hidden_states)
        for index in range(self.num_layers):
            group = int(index / (self.num_layers / len(self.albert_layer_groups)))
            x = self.albert_layer_groups[group](x, inputs)
        inputs.keep(x)
        return BaseModelOutput(x, **inputs.kept())


# ---- the backbone ----------------------------------------------------------------------------------------------------


class AlbertPreTrainedModel(PreTrainedModel):
    """The base of all ALBERT classes."""

    config_class = AlbertConfig
    base_model_prefix = "albert"
    checkpoint_names = CheckpointNames(*BACKBONE_NAMES, base="albert")
    optional_weights = (".pooler.",)
    _input_embeddings = "embeddings.word_embeddings"
    _output_embeddings = "predictions.decoder"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    }

    config: AlbertConfig


class AlbertModel(AlbertPreTrainedModel):
    """Embeddings → shared blocks → pooler: a vector for every token, and one for the sequence."""

    def __init__(self, config: AlbertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = AlbertEmbeddings(config)
        self.encoder = AlbertTransformer(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.pooler_activation = nn.Tanh() if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPooling:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, embedding_size) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), 0 in sentence A and 1 in sentence B; 0 if None.
            position_ids: (batch, length); counted from 0 if None.
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
            **options,
            is_causal=False,
            width=self.config.embedding_size,
        )
        x = self.embeddings(input_ids, token_type_ids, inputs.position_ids, inputs_embeds)
        encoded = self.encoder(x, inputs)
        pooled = None
        if self.pooler is not None and self.pooler_activation is not None:
            pooled = self.pooler_activation(self.pooler(encoded.last_hidden_state[:, 0]))
        return BaseModelOutputWithPooling(encoded.last_hidden_state, pooled, encoded.hidden_states, encoded.attentions)


# ---- pre-training heads (§3.1, §4.6) ---------------------------------------------------------------------------------


class AlbertMLMHead(nn.Module):
    """dense → activation → norm → scores of the vocabulary; `decoder` shares its weight with the token embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # tied to the decoder's
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.activation = activation_function(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, vocabulary)."""
        return self.decoder(self.LayerNorm(self.activation(self.dense(hidden_states))))  # type: ignore[no-any-return]


class AlbertSOPHead(nn.Module):
    """Scores of the two orders of sentences."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled_output: Tensor) -> Tensor:
        """(batch, hidden) to (batch, 2)."""
        return self.classifier(self.dropout(pooled_output))  # type: ignore[no-any-return]


class AlbertForPreTraining(AlbertPreTrainedModel):
    """ALBERT with both of its pre-training heads: masked tokens, and the order of two sentences."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config)
        self.predictions = AlbertMLMHead(config)
        self.sop_classifier = AlbertSOPHead(config)
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
        **options: Unpack[OutputOptions],
    ) -> AlbertForPreTrainingOutput:
        """Predict masked tokens and the order of the sentences; see `AlbertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere. `sentence_order_label`
        (batch,): 0 = sentence A comes first, 1 = they are swapped. The loss, given both, is their sum.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(sentence_order_label, shape[:1], self.config.num_labels, "sentence_order_label")
        encoded = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        prediction_logits = self.predictions(x)
        sop_logits = self.sop_classifier(encoded.pooler_output)
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = token_cross_entropy(prediction_logits, labels) + token_cross_entropy(
                sop_logits, sentence_order_label.view(-1)
            )
        return AlbertForPreTrainingOutput(
            loss, prediction_logits, sop_logits, encoded.hidden_states, encoded.attentions
        )


class AlbertForMaskedLM(AlbertPreTrainedModel):
    """ALBERT that fills in masked tokens."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.predictions = AlbertMLMHead(config)
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
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `AlbertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        logits = self.predictions(x)
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


# ---- fine-tuning heads -----------------------------------------------------------------------------------------------


class AlbertForSequenceClassification(AlbertPreTrainedModel):
    """ALBERT with a linear layer over the pooled vector: classes, several labels at once, or a number."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
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
        """Classify sequences; see `AlbertModel` for the inputs, and `BertForSequenceClassification` for the labels."""
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForTokenClassification(AlbertPreTrainedModel):
    """ALBERT with a linear layer over every token."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
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
        """Classify tokens; see `AlbertModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForQuestionAnswering(AlbertPreTrainedModel):
    """ALBERT that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.albert = AlbertModel(config, add_pooling_layer=False)
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
        """Score every token as start and as end; see `AlbertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)


class AlbertForMultipleChoice(AlbertPreTrainedModel):
    """ALBERT that scores each of several choices for a text."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
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
        """Score choices. All inputs have one more dimension than `AlbertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.albert(
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
