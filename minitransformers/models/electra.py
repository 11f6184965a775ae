"""ELECTRA (Clark et al., 2020): a generator fills in masked tokens, and a discriminator tells which were replaced.

Both are BERT with an embedding that may be narrower than the blocks, and without a pooler. Reads top to bottom:
configuration, weight names, backbone, generator and discriminator (§3), fine-tuning heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.fields import choice, probability, size
from minitransformers.files.weight_names import WeightTable, rename, tie
from minitransformers.models.base.checks import (
    check_labels,
    check_sequence_labels,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.bert import (
    BACKBONE_RULES,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
)
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.heads import DenseClassifier, MaskedLMHead, SequenceSummary
from minitransformers.nn.losses import sequence_classification_loss, token_cross_entropy
from minitransformers.outputs import (
    ElectraForPreTrainingOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    SequenceClassifierOutput,
)

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


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    *BACKBONE_RULES,
    rename("embeddings_project.{kind}", "embeddings.projection.{kind}"),
    # Heads
    rename("generator_predictions.dense.{kind}", "mlm_head.dense.{kind}"),
    rename("generator_predictions.LayerNorm.{kind}", "mlm_head.norm.{kind}"),
    rename("generator_lm_head.{kind}", "mlm_head.decoder.{kind}"),
    tie("mlm_head.decoder.weight", to="electra.embeddings.token_embedding.weight"),
    rename("discriminator_predictions.dense.{kind}", "discriminator_head.dense.{kind}"),
    rename("discriminator_predictions.dense_prediction.{kind}", "discriminator_head.output.{kind}"),
    rename("classifier.out_proj.{kind}", "classifier.output.{kind}"),
    rename("sequence_summary.summary.{kind}", "sequence_summary.projection.{kind}"),
    base="electra",
)


# ---- the backbone (§3.2) ---------------------------------------------------------------------------------------------


class ElectraPreTrainedModel(BertPreTrainedModel):
    """What all ELECTRA classes share."""

    config_class = ElectraConfig
    base_model_prefix = "electra"
    weights = WEIGHTS
    optional_weights = (".cross_attention.", ".cross_attention_norm.")

    config: ElectraConfig

    def build_backbone(self, add_pooling_layer: bool = False) -> None:
        """Give a model with a head its backbone, which never has a pooler."""
        self.electra = ElectraModel(self.config)

    def build_mlm_head(self) -> None:
        """The generator's head: BERT's, as narrow as the embedding, with GELU whatever the blocks have."""
        config = self.config
        self.mlm_head = MaskedLMHead(
            config.hidden_size, config.vocab_size, embedding_size=config.embedding_size, eps=config.layer_norm_eps
        )

    @property
    def embedding_size(self) -> int:
        """Width of the token embedding, and so of `inputs_embeds`."""
        return self.config.embedding_size


class ElectraModel(ElectraPreTrainedModel, BertModel):
    """BERT without a pooler; where the embedding is narrower than the blocks, it is projected (§3.2)."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config, add_pooling_layer=False)


# ---- generator and discriminator (§3.1) ------------------------------------------------------------------------------


class ElectraForMaskedLM(ElectraPreTrainedModel, BertForMaskedLM):
    """The generator: it fills in masked tokens."""

    def forward(  # type: ignore[override]  # transformers has fewer arguments here
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
        """Score the vocabulary at every position, as `BertForMaskedLM` does."""
        return super().forward(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            labels=labels,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )


class DiscriminatorHead(nn.Module):
    """dense → activation → one score for each token."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation_function(config.hidden_act)
        self.output = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Score every token: (batch, length)."""
        scores: Tensor = self.output(self.activation(self.dense(hidden_states))).squeeze(-1)
        return scores


class ElectraForPreTraining(ElectraPreTrainedModel):
    """The discriminator: it tells which tokens were replaced."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.build_backbone()
        self.discriminator_head = DiscriminatorHead(config)
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
    ) -> ElectraForPreTrainingOutput:
        """Score every token; see `BertModel` for the inputs.

        `labels` (batch, length): 1 where the token was replaced, else 0. Padding, where a mask of two dimensions says
        so, is not counted.
        """
        shape = read_shape(input_ids, inputs_embeds, self.embedding_size)
        check_labels(labels, shape, 2, may_ignore=False)
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
        logits = self.discriminator_head(encoded.last_hidden_state)
        loss = None
        if labels is not None:
            at_least_float32 = torch.promote_types(logits.dtype, torch.float32)
            targets = labels.view(shape).to(at_least_float32)
            counted = (
                attention_mask if attention_mask is not None and attention_mask.ndim == 2 else torch.ones_like(targets)
            )
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            loss = (loss * counted).sum() / counted.sum()
        return ElectraForPreTrainingOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForCausalLM(ElectraPreTrainedModel, BertLMHeadModel):
    """ELECTRA as a decoder that predicts the next token; `config.is_decoder` should be True."""


# ---- fine-tuning heads -----------------------------------------------------------------------------------------------


class ElectraForSequenceClassification(ElectraPreTrainedModel):
    """ELECTRA with a classifier of two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.build_backbone()
        self.classifier = DenseClassifier(
            config.hidden_size, config.num_labels, activation="gelu", dropout=config.head_dropout
        )
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
        """Classify sequences; see `BertModel` for the inputs, and `BertForSequenceClassification` for the labels."""
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
        logits = self.classifier(encoded.last_hidden_state[:, 0])
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForMultipleChoice(ElectraPreTrainedModel):
    """ELECTRA that scores each of several choices for a text, by a summary that its config describes."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.build_backbone()
        self.sequence_summary = SequenceSummary(
            config.hidden_size,
            config.hidden_size if config.summary_use_proj else None,
            pick=config.summary_type,
            activation=config.summary_activation,
        )
        self.dropout = nn.Dropout(config.summary_last_dropout)
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
        summary = self.dropout(self.sequence_summary(encoded.last_hidden_state))
        logits = self.classifier(summary).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ElectraForTokenClassification(ElectraPreTrainedModel, BertForTokenClassification):
    """ELECTRA with a linear layer over every token."""


class ElectraForQuestionAnswering(ElectraPreTrainedModel, BertForQuestionAnswering):
    """ELECTRA that finds the answer to a question in a text."""
