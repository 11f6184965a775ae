"""RoBERTa (Liu et al., 2019): BERT trained longer, on more text, and without the next sentence.

What differs in the model: positions start behind the padding token's id and skip padding (as in fairseq, where it was
trained), and the heads of the masked tokens and of sequences. Everything else is `bert.py`.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.fields import size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    can_read_values,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.inputs import OutputOptions
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.bert import (
    BACKBONE_NAMES,
    BertAttention,
    BertConfig,
    BertCrossAttention,
    BertEmbeddings,
    BertEncoder,
    BertIntermediate,
    BertLayer,
    BertModel,
    BertOutput,
    BertPooler,
    BertPreTrainedModel,
    BertSelfAttention,
    BertSelfOutput,
)
from minitransformers.nn.cache import Cache
from minitransformers.nn.losses import sequence_classification_loss, span_loss, token_cross_entropy
from minitransformers.nn.positions import count_positions
from minitransformers.nn.selection import keep_positions
from minitransformers.outputs import (
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

logger = logging.getLogger(__name__)


# ---- configuration ---------------------------------------------------------------------------------------------------


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


# ---- the backbone ----------------------------------------------------------------------------------------------------


class RobertaEmbeddings(BertEmbeddings):
    """BERT's, with positions that start behind the padding token's id and skip padding."""

    def __init__(self, config: Any) -> None:
        nn.Module.__init__(self)  # another order than BERT's
        padding = self.padding_idx = config.pad_token_id
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=padding)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        positions = torch.arange(config.max_position_embeddings)[None]
        self.register_buffer("position_ids", positions, persistent=False)
        self.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size, padding_idx=padding)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """(batch, length, hidden) for ids, or for vectors in their place, whose padding cannot be seen and is counted.

        transformers starts from p + 1 again where `inputs_embeds` come with a cache; here cached tokens are counted.
        """
        if position_ids is None and input_ids is not None:
            position_ids = self.create_position_ids_from_input_ids(input_ids, self.padding_idx, past_key_values_length)
        elif position_ids is None and inputs_embeds is not None:
            start = past_key_values_length + self.padding_idx + 1
            position_ids = count_positions(inputs_embeds.shape[1], start, device=inputs_embeds.device)
            position_ids = position_ids.expand(len(inputs_embeds), -1)
        return super().forward(input_ids, token_type_ids, position_ids, inputs_embeds)

    @staticmethod
    def create_position_ids_from_input_ids(
        input_ids: Tensor, padding_idx: int, past_key_values_length: int = 0
    ) -> Tensor:
        """p + 1, p + 2, … for tokens and p for padding, p being its id; cached tokens are counted, padding or not."""
        is_token = input_ids != padding_idx
        return (is_token.cumsum(dim=-1) + past_key_values_length) * is_token + padding_idx


# BERT's, under the names that scripts know
RobertaSelfAttention, RobertaCrossAttention, RobertaSelfOutput = BertSelfAttention, BertCrossAttention, BertSelfOutput
RobertaAttention, RobertaIntermediate, RobertaOutput, RobertaPooler = (
    BertAttention,
    BertIntermediate,
    BertOutput,
    BertPooler,
)


class RobertaLayer(BertLayer):
    """BERT's block."""


class RobertaEncoder(BertEncoder):
    """The stack of blocks."""

    layer_class = RobertaLayer


class RobertaPreTrainedModel(BertPreTrainedModel):
    """The base of all RoBERTa classes."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    checkpoint_names = CheckpointNames(*BACKBONE_NAMES, base="roberta")
    _output_embeddings = "lm_head.decoder"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }
    _no_split_modules: ClassVar[list[str]] = ["RobertaEmbeddings", "RobertaLayer"]

    config: RobertaConfig


class RobertaModel(RobertaPreTrainedModel, BertModel):
    """BERT with RoBERTa's embeddings."""

    counts_padding = False

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        PreTrainedModel.__init__(self, config)
        self.embeddings = RobertaEmbeddings(config)
        self.encoder = RobertaEncoder(config)
        self.pooler = RobertaPooler(config) if add_pooling_layer else None
        self.post_init()

    def default_positions(
        self,
        input_ids: Tensor | None,
        batch_size: int,
        length: int,
        past_length: int,
        max_positions: str | None,
    ) -> Tensor:
        """See `RobertaEmbeddings`; a text has as many positions as stand behind that of padding."""
        padding = self.config.pad_token_id
        assert padding is not None  # see `RobertaConfig.validate`
        limit = self.config.max_position_embeddings - padding - 1
        if input_ids is None:
            check_length(length, past_length, limit)
            return count_positions(length, past_length + padding + 1, device=self.device).expand(batch_size, -1)
        if can_read_values(input_ids):
            check_length(int((input_ids != padding).sum(dim=-1).max()), past_length, limit)
        return RobertaEmbeddings.create_position_ids_from_input_ids(input_ids, padding, past_length)


# ---- language models (§3.1) ------------------------------------------------------------------------------------------


class RobertaLMHead(nn.Module):
    """dense → GELU → norm → scores of the vocabulary; `decoder` shares its weight with the token embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # tied to the decoder's

    def forward(self, features: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, length, vocabulary)."""
        return self.decoder(self.layer_norm(F.gelu(self.dense(features))))  # type: ignore[no-any-return]


class RobertaForMaskedLM(RobertaPreTrainedModel):
    """RoBERTa that fills in masked tokens."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning(
                "%s sees both sides only with is_decoder=False; its config has is_decoder=True.", type(self).__name__
            )
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config)
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
        encoded = self.roberta(
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
        logits = self.lm_head(x)
        loss = None if labels is None else token_cross_entropy(logits, labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class RobertaForCausalLM(RobertaPreTrainedModel, GenerationMixin):
    """RoBERTa as a decoder that predicts the next token; `config.is_decoder` should be True.

    `generate` counts positions from 0, as transformers' does; pass `position_ids` to count as `forward` does.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning(
                "%s sees only what came before with is_decoder=True; its config has False.", type(self).__name__
            )
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config)
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
        """Score every next token; see `BertModel` for the inputs, and `BertLMHeadModel` for the other arguments."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        encoded = self.roberta(
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
        logits = self.lm_head(keep_positions(encoded.last_hidden_state, logits_to_keep))
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


# ---- fine-tuning heads -----------------------------------------------------------------------------------------------


class RobertaClassificationHead(nn.Module):
    """dropout → dense → tanh → dropout → scores, of the first token."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, labels)."""
        x = torch.tanh(self.dense(self.dropout(features[:, 0])))
        return self.out_proj(self.dropout(x))  # type: ignore[no-any-return]


class RobertaForSequenceClassification(RobertaPreTrainedModel):
    """RoBERTa with a classifier of two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.classifier = RobertaClassificationHead(config)
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
        """Classify sequences; see `BertModel` for the inputs, and `BertForSequenceClassification` for the labels."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.roberta(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(encoded.last_hidden_state)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class RobertaForMultipleChoice(RobertaPreTrainedModel):
    """RoBERTa that scores each of several choices for a text."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `BertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right. The order of the arguments is not BERT's.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.roberta(
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class RobertaForTokenClassification(RobertaPreTrainedModel):
    """RoBERTa with a linear layer over every token."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
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
        encoded = self.roberta(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class RobertaForQuestionAnswering(RobertaPreTrainedModel):
    """RoBERTa that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.roberta = RobertaModel(config, add_pooling_layer=False)
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
        encoded = self.roberta(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **options
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)
