"""DistilBERT (Sanh et al., 2019): half of BERT's blocks, taught by BERT; no segments, and no pooler (§3).

Reads top to bottom: configuration, blocks, backbone, heads. Modules are named as in the checkpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
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
from minitransformers.models.bert import BACKBONE_NAMES
from minitransformers.nn.attention import AttentionOutput, attend
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import sequence_classification_loss, span_loss, token_cross_entropy
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.positions import count_positions, sinusoidal_positions
from minitransformers.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

EPS = 1e-12  # of all norms; no config has it

# ---- configuration ---------------------------------------------------------------------------------------------------


class DistilBertConfig(Config):
    """The fields of DistilBERT's config.json; the defaults are those of the published model."""

    model_type = "distilbert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

    vocab_size: int = size(30522)
    max_position_embeddings: int = size(512)
    sinusoidal_pos_embds: bool = False  # a new position embedding starts as sines and cosines
    n_layers: int = count(6)
    n_heads: int = size(12)
    dim: int = size(768)
    hidden_dim: int = size(4 * 768)  # inside the feed-forward network
    dropout: float = probability(0.1)
    attention_dropout: float = probability(0.1)
    activation: str = choice("gelu", ACTIVATIONS)
    initializer_range: float = positive(0.02)
    qa_dropout: float = probability(0.1)
    seq_classif_dropout: float = probability(0.2)
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = None
    bos_token_id: int | None = None

    def validate(self) -> None:
        """Refuse what no DistilBERT can be built from."""
        super().validate()
        self.check_multiple("dim", of="n_heads")
        if self.pad_token_id is not None and not -self.vocab_size <= self.pad_token_id < self.vocab_size:
            raise ConfigError(f"pad_token_id={self.pad_token_id} must be below vocab_size={self.vocab_size}.")


# ---- embeddings and blocks (§3) --------------------------------------------------------------------------------------


class Embeddings(nn.Module):
    """token + position, then norm and dropout."""

    position_ids: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings)[None], persistent=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """(batch, length, dim) for ids, or for vectors in their place; positions count from 0 if None."""
        tokens = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = self.position_ids[:, : tokens.shape[1]]
        return self.dropout(self.LayerNorm(tokens + self.position_embeddings(position_ids)))  # type: ignore[no-any-return]


class DistilBertSelfAttention(nn.Module):
    """Multi-head attention, without dropout after its output projection."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (nn.Linear(config.dim, config.dim) for _ in range(4))
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(self, x: Tensor, mask: AttentionMask | Tensor | None = None, kernel: str = "sdpa") -> AttentionOutput:
        """Attend from and to `x` (batch, length, dim)."""
        query, key, value = self.q_lin(x), self.k_lin(x), self.v_lin(x)
        dropout = self.dropout.p if self.training else 0.0
        attended, weights = attend(query, key, value, heads=self.heads, mask=mask, dropout=dropout, kernel=kernel)
        return AttentionOutput(self.out_lin(attended), weights)


class FFN(nn.Module):
    """The feed-forward network: lin2(activation(lin1(x)))."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.lin1 = nn.Linear(config.dim, config.hidden_dim)
        self.lin2 = nn.Linear(config.hidden_dim, config.dim)
        self.activation = activation_function(config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.dropout(self.lin2(self.activation(self.lin1(x))))  # type: ignore[no-any-return]


class TransformerBlock(GradientCheckpointingLayer):
    """Post-norm: attention and feed-forward, each added to its input, then normalized."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = DistilBertSelfAttention(config)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=EPS)
        self.ffn = FFN(config)
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=EPS)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, dim); `record` is given the attention weights."""
        attended, weights = self.attention(hidden_states, attention_mask, kernel=kernel)
        if record is not None:
            record(weights, None)
        x = self.sa_layer_norm(hidden_states + attended)
        return self.output_layer_norm(x + self.ffn(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))

    def forward(self, hidden_states: Tensor, inputs: Inputs) -> BaseModelOutput:
        """Run the blocks over embedded tokens (batch, length, dim)."""
        x = hidden_states
        for index, layer in enumerate(self.layer):
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        return BaseModelOutput(x, **inputs.kept())


# ---- the backbone ----------------------------------------------------------------------------------------------------


class DistilBertPreTrainedModel(PreTrainedModel):
    """The base of all DistilBERT classes."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"
    checkpoint_names = CheckpointNames(*BACKBONE_NAMES, base="distilbert")
    _input_embeddings = "embeddings.word_embeddings"
    _output_embeddings = "vocab_projector"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"
    }

    config: DistilBertConfig

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As everywhere; with `sinusoidal_pos_embds` the position embedding is sines and cosines."""
        super()._init_weights(module)
        if isinstance(module, Embeddings) and self.config.sinusoidal_pos_embds:
            size, width = module.position_embeddings.weight.shape
            module.position_embeddings.weight.copy_(sinusoidal_positions(count_positions(size), width)[0])

    def get_position_embeddings(self) -> nn.Embedding:
        """The position embedding."""
        return self.base_model.embeddings.position_embeddings  # type: ignore[no-any-return]

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Make room for longer texts, whose last positions have newly initialized vectors, or drop the last ones.

        With `sinusoidal_pos_embds` new positions get their sines and cosines. Longer texts can then be passed as they
        are (transformers asks for their `position_ids`).

        Raises:
            InputError: the argument is not a whole number of at least 1.
        """
        size = new_num_position_embeddings
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"new_num_position_embeddings={size!r} must be a whole number of at least 1.")
        embeddings: Embeddings = self.base_model.embeddings
        positions, old_size = embeddings.position_embeddings, self.config.max_position_embeddings
        self.base_model._resize(positions, size, mean_resizing=False)
        if self.config.sinusoidal_pos_embds:
            waves = sinusoidal_positions(count_positions(size), self.config.dim)[0]
            positions.weight.data[old_size:] = waves[old_size:].to(positions.weight)
        embeddings.position_ids = count_positions(size, device=self.device)
        positions.num_embeddings = self.config.max_position_embeddings = size


class DistilBertModel(DistilBertPreTrainedModel):
    """Embeddings → blocks: a vector for every token."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, dim) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            position_ids: (batch, length); counted from 0 if None.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        inputs = self.prepare_inputs(input_ids, inputs_embeds, attention_mask, position_ids, **options, is_causal=False)
        x = self.embeddings(input_ids, inputs_embeds, inputs.position_ids)
        return self.transformer(x, inputs)  # type: ignore[no-any-return]


# ---- heads -----------------------------------------------------------------------------------------------------------


class DistilBertForMaskedLM(DistilBertPreTrainedModel):
    """DistilBERT that fills in masked tokens."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.activation = activation_function(config.activation)
        self.distilbert = DistilBertModel(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, eps=EPS)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)
        self.post_init()
        self.mlm_loss_fct = nn.CrossEntropyLoss()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `DistilBertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.distilbert(input_ids, attention_mask, inputs_embeds, position_ids, return_dict=True, **options)
        x, labels = self.with_labels(encoded.last_hidden_state, labels)
        logits = self.vocab_projector(self.vocab_layer_norm(self.activation(self.vocab_transform(x))))
        loss = None if labels is None else self.mlm_loss_fct(logits.flatten(0, -2), labels.flatten().long())
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForSequenceClassification(DistilBertPreTrainedModel):
    """DistilBERT with two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `DistilBertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.distilbert(input_ids, attention_mask, inputs_embeds, position_ids, return_dict=True, **options)
        pooled = F.relu(self.pre_classifier(encoded.last_hidden_state[:, 0]))
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForQuestionAnswering(DistilBertPreTrainedModel):
    """DistilBERT that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.distilbert = DistilBertModel(config)
        self.qa_outputs = nn.Linear(config.dim, 2)
        self.dropout = nn.Dropout(config.qa_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `DistilBertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.distilbert(input_ids, attention_mask, inputs_embeds, position_ids, return_dict=True, **options)
        start_logits, end_logits = self.qa_outputs(self.dropout(encoded.last_hidden_state)).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)


class DistilBertForTokenClassification(DistilBertPreTrainedModel):
    """DistilBERT with a linear layer over every token: named entities, parts of speech."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `DistilBertModel` for the inputs. `labels` (batch, length), −100 where there is none."""
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.distilbert(input_ids, attention_mask, inputs_embeds, position_ids, return_dict=True, **options)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForMultipleChoice(DistilBertPreTrainedModel):
    """DistilBERT that scores each of several choices for a text."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, 1)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `DistilBertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.distilbert(
            *map(flatten_choices, (input_ids, attention_mask)),
            flatten_choices(inputs_embeds, ndim=4),
            flatten_choices(position_ids),
            return_dict=True,
            **options,
        )
        pooled = F.relu(self.pre_classifier(encoded.last_hidden_state[:, 0]))
        logits = self.classifier(self.dropout(pooled)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
