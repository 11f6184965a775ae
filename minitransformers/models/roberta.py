"""RoBERTa (Liu et al., 2019): BERT trained longer, on more text, and without the next sentence.

What differs in the model: positions start behind the padding token's id and skip padding (as in fairseq, where it was
trained), and the heads of the masked tokens and of sequences are a little different. Everything else is `bert.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from minitransformers.configs.fields import size
from minitransformers.errors import ConfigError
from minitransformers.files.weight_names import WeightTable, double, rename, tie
from minitransformers.models.base.checks import check_length, check_sequence_labels, read_shape
from minitransformers.models.base.mask_arguments import warn_if_left_padded
from minitransformers.models.bert import (
    BACKBONE_RULES,
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
)
from minitransformers.nn.heads import DenseClassifier, MaskedLMHead
from minitransformers.nn.losses import sequence_classification_loss
from minitransformers.nn.masks import can_read_values
from minitransformers.nn.positions import count_positions
from minitransformers.outputs import MultipleChoiceModelOutput, SequenceClassifierOutput


class RobertaConfig(BertConfig):
    """The fields of RoBERTa's config.json. Published models have 514 positions, for texts of 512 tokens."""

    model_type = "roberta"

    vocab_size: int = size(50265)
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def validate(self) -> None:
        """Refuse what no RoBERTa can be built from."""
        super().validate()
        if self.pad_token_id is None or self.max_position_embeddings <= self.pad_token_id + 1:
            raise ConfigError(
                f"pad_token_id={self.pad_token_id} must be a token with max_position_embeddings="
                f"{self.max_position_embeddings} above its id + 1: positions start behind it."
            )


WEIGHTS = WeightTable(
    *BACKBONE_RULES,
    rename("lm_head.dense.{kind}", "mlm_head.dense.{kind}"),
    rename("lm_head.layer_norm.{kind}", "mlm_head.norm.{kind}"),
    rename("lm_head.decoder.weight", "mlm_head.decoder.weight"),
    double("lm_head.decoder.bias", of="lm_head.bias"),
    rename("lm_head.bias", "mlm_head.decoder.bias"),
    tie("mlm_head.decoder.weight", to="roberta.embeddings.token_embedding.weight"),
    rename("classifier.out_proj.{kind}", "classifier.output.{kind}"),
    base="roberta",
)


class RobertaPreTrainedModel(BertPreTrainedModel):
    """What all RoBERTa classes share."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    weights = WEIGHTS

    config: RobertaConfig

    def build_backbone(self, add_pooling_layer: bool = True) -> None:
        """Give a model with a head its backbone."""
        self.roberta = RobertaModel(self.config, add_pooling_layer)

    def build_mlm_head(self) -> None:
        """BERT's head with GELU, whatever the blocks have."""
        config = self.config
        self.mlm_head = MaskedLMHead(config.hidden_size, config.vocab_size, eps=config.layer_norm_eps)


class RobertaModel(RobertaPreTrainedModel, BertModel):
    """BERT whose positions start behind the padding token's id and skip padding."""

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer)
        self.embeddings.position_embedding.padding_idx = config.pad_token_id  # where padding stands; not trained
        self.post_init()

    def default_positions(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, length: int, past_length: int
    ) -> Tensor:
        """The positions where none are given: p + 1, p + 2, … for tokens and p for padding, p being its id.

        With `inputs_embeds` padding cannot be seen, and is counted. Cached tokens are counted, padding or not.
        (transformers starts anew at p + 1 where `inputs_embeds` come with a cache.)
        """
        padding, max_positions = self.config.pad_token_id, self.config.max_position_embeddings
        assert padding is not None  # see `RobertaConfig.validate`
        if input_ids is None:
            check_length(length, past_length, max_positions - padding - 1)
            if self.config.is_decoder:
                warn_if_left_padded(attention_mask, None, past_length)
            return count_positions(length, past_length + padding + 1, device=self.device)
        is_token = input_ids != padding
        if can_read_values(input_ids):
            check_length(int(is_token.sum(dim=-1).max()), past_length, max_positions - padding - 1)
        return (is_token.cumsum(dim=-1) + past_length) * is_token + padding


class RobertaForMaskedLM(RobertaPreTrainedModel, BertForMaskedLM):
    """RoBERTa that fills in masked tokens (§3.1)."""


class RobertaForCausalLM(RobertaPreTrainedModel, BertLMHeadModel):
    """RoBERTa as a decoder that predicts the next token; `config.is_decoder` should be True.

    `generate` counts positions from 0, as transformers' does; pass `position_ids` to count as `forward` does.
    """


class RobertaForSequenceClassification(RobertaPreTrainedModel):
    """RoBERTa with a classifier of two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.build_backbone(add_pooling_layer=False)
        self.classifier = DenseClassifier(config.hidden_size, config.num_labels, dropout=config.head_dropout)
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


class RobertaForMultipleChoice(RobertaPreTrainedModel, BertForMultipleChoice):
    """RoBERTa that scores each of several choices for a text."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(  # type: ignore[override]  # transformers has another order of arguments here
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score choices, as `BertForMultipleChoice` does; the order of the arguments is another."""
        return super().forward(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            labels,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )


class RobertaForTokenClassification(RobertaPreTrainedModel, BertForTokenClassification):
    """RoBERTa with a linear layer over every token."""


class RobertaForQuestionAnswering(RobertaPreTrainedModel, BertForQuestionAnswering):
    """RoBERTa that finds the answer to a question in a text."""
