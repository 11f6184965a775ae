"""ELECTRA (Clark et al., 2020): a generator fills in masked tokens, and a discriminator tells which were replaced.

Both are BERT with an embedding that may be narrower than the blocks, and without a pooler. Reads top to bottom:
configuration, backbone, generator and discriminator (§3), fine-tuning heads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.fields import choice, probability, size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.inputs import OutputOptions
from minitransformers.models.bert import (
    BACKBONE_NAMES,
    BertAttention,
    BertConfig,
    BertCrossAttention,
    BertEmbeddings,
    BertEncoder,
    BertIntermediate,
    BertLayer,
    BertOutput,
    BertPreTrainedModel,
    BertSelfAttention,
    BertSelfOutput,
)
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import sequence_classification_loss, span_loss, token_cross_entropy
from minitransformers.nn.selection import keep_positions
from minitransformers.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    ElectraForPreTrainingOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

logger = logging.getLogger(__name__)


# ---- configuration ---------------------------------------------------------------------------------------------------


class ElectraConfig(BertConfig):
    """The fields of ELECTRA's config.json; the defaults are those of ELECTRA-small's discriminator (table 6)."""

    model_type = "electra"

    embedding_size: int = size(128)
    hidden_size: int = size(256)
    num_attention_heads: int = size(4)
    intermediate_size: int = size(1024)
    summary_type: str = choice("first", ("last", "first", "mean", "cls_index"))  # of the multiple-choice head
    summary_use_proj: bool = True
    summary_activation: str | None = choice("gelu", ACTIVATIONS)
    summary_last_dropout: float = probability(0.1)


# ---- the backbone (§3.2) ---------------------------------------------------------------------------------------------


class ElectraEmbeddings(BertEmbeddings):
    """BERT's, as narrow as the config says."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, width=config.embedding_size)


# BERT's, under the names that scripts know
ElectraSelfAttention, ElectraCrossAttention, ElectraSelfOutput = BertSelfAttention, BertCrossAttention, BertSelfOutput
ElectraAttention, ElectraIntermediate, ElectraOutput = BertAttention, BertIntermediate, BertOutput


class ElectraLayer(BertLayer):
    """BERT's block."""


class ElectraEncoder(BertEncoder):
    """The stack of blocks."""

    layer_class = ElectraLayer


class ElectraPreTrainedModel(BertPreTrainedModel):
    """The base of all ELECTRA classes."""

    config_class = ElectraConfig
    base_model_prefix = "electra"
    checkpoint_names = CheckpointNames(*BACKBONE_NAMES, base="electra")
    _output_embeddings = "generator_lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"
    }
    _no_split_modules: ClassVar[list[str]] = []

    config: ElectraConfig


class ElectraModel(ElectraPreTrainedModel):
    """BERT without a pooler; where the embedding is narrower than the blocks, it is projected (§3.2)."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.embeddings = ElectraEmbeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)
        self.encoder = ElectraEncoder(config)
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
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch; see `BertModel` for the arguments. `inputs_embeds` are as wide as the embedding."""
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
            width=self.config.embedding_size,
            has_cross_attention=self.config.add_cross_attention,
            documents=False,
        )
        x = self.embeddings(input_ids, token_type_ids, inputs.position_ids, inputs_embeds)
        if self.config.embedding_size != self.config.hidden_size:
            x = self.embeddings_project(x)
        return self.encoder(x, inputs)  # type: ignore[no-any-return]


# ---- generator and discriminator (§3.1) ------------------------------------------------------------------------------


class ElectraGeneratorPredictions(nn.Module):
    """norm(gelu(dense(x))), as narrow as the embedding, before the vocabulary is scored."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.activation = activation_function("gelu")
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, embedding)."""
        return self.LayerNorm(self.activation(self.dense(hidden_states)))  # type: ignore[no-any-return]


class ElectraForMaskedLM(ElectraPreTrainedModel):
    """The generator: it fills in masked tokens."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        self.generator_predictions = ElectraGeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)
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
        """Score the vocabulary at every position; see `ElectraModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        logits = self.generator_lm_head(self.generator_predictions(x))
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForCausalLM(ElectraPreTrainedModel, GenerationMixin):
    """ELECTRA as a decoder that predicts the next token; `config.is_decoder` should be True."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning(
                "%s sees only what came before with is_decoder=True; its config has False.", type(self).__name__
            )
        self.electra = ElectraModel(config)
        self.generator_predictions = ElectraGeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)
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
        """Score every next token; see `ElectraModel` for the inputs, and `BertLMHeadModel` for the other arguments."""
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        encoded = self.electra(
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
        kept = keep_positions(encoded.last_hidden_state, logits_to_keep)
        logits = self.generator_lm_head(self.generator_predictions(kept))
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


class ElectraDiscriminatorPredictions(nn.Module):
    """dense → activation → one score for each token."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation_function(config.hidden_act)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length)."""
        x = self.activation(self.dense(hidden_states))
        return self.dense_prediction(x).squeeze(-1)  # type: ignore[no-any-return]


class ElectraForPreTraining(ElectraPreTrainedModel):
    """The discriminator: it tells which tokens were replaced."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        self.discriminator_predictions = ElectraDiscriminatorPredictions(config)
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
    ) -> ElectraForPreTrainingOutput:
        """Score every token; see `ElectraModel` for the inputs.

        `labels` (batch, length): 1 where the token was replaced, else 0. Padding, where a mask of two dimensions says
        so, is not counted, whatever its label.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        if labels is not None and attention_mask is not None and labels.shape == attention_mask.shape:
            labels = labels.masked_fill(attention_mask == 0, 0)  # collators put −100 there
        check_labels(labels, shape, 2, may_ignore=False)
        encoded = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.discriminator_predictions(encoded.last_hidden_state)
        loss = None
        if labels is not None:
            targets = labels.view(shape).to(torch.promote_types(logits.dtype, torch.float32))
            counted = torch.ones_like(targets)
            if attention_mask is not None and attention_mask.ndim == 2:
                counted = attention_mask
            losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            loss = (losses * counted).sum() / counted.sum()
        return ElectraForPreTrainingOutput(loss, logits, encoded.hidden_states, encoded.attentions)

    def _count_labels(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """The number of labels that count in the loss of a batch, which has them (see training/loop/objective.py)."""
        labels, mask = batch.get("labels"), batch.get("attention_mask")
        if labels is None:
            return {}
        return {"labels": labels.numel() if mask is None or mask.ndim != 2 else int(mask.sum())}


# ---- fine-tuning heads -----------------------------------------------------------------------------------------------


class ElectraClassificationHead(nn.Module):
    """dropout → dense → GELU → dropout → scores, of the first token."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation_function("gelu")
        self.dropout = nn.Dropout(config.head_dropout)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, labels)."""
        x = self.activation(self.dense(self.dropout(features[:, 0])))
        return self.out_proj(self.dropout(x))  # type: ignore[no-any-return]


class ElectraForSequenceClassification(ElectraPreTrainedModel):
    """ELECTRA with a classifier of two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        self.classifier = ElectraClassificationHead(config)
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
        """Classify sequences; see `ElectraModel` for the inputs, and `BertForSequenceClassification` for the labels."""
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(encoded.last_hidden_state)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraSequenceSummary(nn.Module):
    """One vector for a sequence, projected, of which the config says how it is made."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, dropout = config.hidden_size, config.summary_last_dropout
        self.summary_type = config.summary_type
        self.summary = nn.Linear(width, width) if config.summary_use_proj else nn.Identity()
        self.activation = activation_function(config.summary_activation or "linear")
        self.first_dropout = nn.Identity()
        self.last_dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, hidden)."""
        if self.summary_type == "mean":
            picked = hidden_states.mean(dim=1)
        else:  # "cls_index" without an index means the last token
            picked = hidden_states[:, 0 if self.summary_type == "first" else -1]
        return self.last_dropout(self.activation(self.summary(self.first_dropout(picked))))  # type: ignore[no-any-return]


class ElectraForMultipleChoice(ElectraPreTrainedModel):
    """ELECTRA that scores each of several choices for a text."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        self.sequence_summary = ElectraSequenceSummary(config)
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
        """Score choices. All inputs have one more dimension than `ElectraModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.electra(
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.sequence_summary(encoded.last_hidden_state)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForTokenClassification(ElectraPreTrainedModel):
    """ELECTRA with a linear layer over every token."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
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
        """Classify tokens; see `ElectraModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForQuestionAnswering(ElectraPreTrainedModel):
    """ELECTRA that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.electra = ElectraModel(config)
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
        """Score every token as start and as end; see `ElectraModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.embedding_size)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)
