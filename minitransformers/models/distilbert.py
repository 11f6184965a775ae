"""DistilBERT (Sanh et al., 2019): half of BERT's blocks, taught by BERT; no segments, and no pooler (§3).

Reads top to bottom: configuration, weight names, backbone, heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError
from minitransformers.files.weight_names import WeightTable, alias, drop, rename, tie
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_labels,
    check_length,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.mask_arguments import check_mask
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.nn.legacy_blocks import BlockOutput, EncoderBlock
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.heads import MaskedLMHead
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask, read_attention_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import LearnedPositions, count_positions, sinusoidal_positions
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


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    alias("{module...}.gamma", of="{module...}.weight"),
    alias("{module...}.beta", of="{module...}.bias"),
    drop("embeddings.position_ids"),
    rename("embeddings.word_embeddings.weight", "embeddings.token_embedding.weight"),
    rename("embeddings.position_embeddings.weight", "embeddings.position_embedding.weight"),
    rename("embeddings.LayerNorm.{kind}", "embeddings.norm.{kind}"),
    rename("transformer.layer.{layer}.attention.q_lin.{kind}", "blocks.{layer}.self_attention.query.{kind}"),
    rename("transformer.layer.{layer}.attention.k_lin.{kind}", "blocks.{layer}.self_attention.key.{kind}"),
    rename("transformer.layer.{layer}.attention.v_lin.{kind}", "blocks.{layer}.self_attention.value.{kind}"),
    rename("transformer.layer.{layer}.attention.out_lin.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("transformer.layer.{layer}.sa_layer_norm.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("transformer.layer.{layer}.ffn.lin1.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("transformer.layer.{layer}.ffn.lin2.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("transformer.layer.{layer}.output_layer_norm.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    # Heads
    rename("vocab_transform.{kind}", "mlm_head.dense.{kind}"),
    rename("vocab_layer_norm.{kind}", "mlm_head.norm.{kind}"),
    rename("vocab_projector.{kind}", "mlm_head.decoder.{kind}"),
    tie("mlm_head.decoder.weight", to="distilbert.embeddings.token_embedding.weight"),
    base="distilbert",
)


# ---- the backbone (§3) -----------------------------------------------------------------------------------------------


class DistilBertPreTrainedModel(PreTrainedModel):
    """What all DistilBERT classes share."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"
    weights = WEIGHTS

    config: DistilBertConfig

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`; see `PreTrainedModel`."""
        if "token_type_ids" in kwargs:
            raise UnknownArgumentError(
                f"{type(self).__name__} has no segments, and takes no argument 'token_type_ids': tokenize with "
                f"DistilBertTokenizer, or with return_token_type_ids=False."
            )
        return super().__call__(*args, **kwargs)

    def get_position_embeddings(self) -> LearnedPositions:
        """The position embedding."""
        positions: LearnedPositions = self.base_model.embeddings.position_embedding
        return positions

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Make room for longer texts, whose last positions have newly initialised vectors, or drop the last ones.

        With `sinusoidal_pos_embds` new positions get their sines and cosines. Longer texts can then be passed as they
        are (the reference asks for their `position_ids`).

        Raises:
            InputError: no whole number of at least 1.
        """
        size = new_num_position_embeddings
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"new_num_position_embeddings={size!r} must be a whole number of at least 1.")
        positions = self.get_position_embeddings()
        self.base_model._resize(positions, "weight", size, mean_resizing=False)
        positions.num_embeddings = self.config.max_position_embeddings = size


class DistilBertEmbeddings(nn.Module):
    """token + position, then LayerNorm and dropout."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embedding = LearnedPositions(config.max_position_embeddings, config.dim)
        self.norm = LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, input_ids: Tensor | None, position_ids: Tensor | None = None, inputs_embeds: Tensor | None = None
    ) -> Tensor:
        """Embed ids, or vectors that stand for them; positions are counted from 0 if None."""
        tokens = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.dropout(self.norm(tokens + self.position_embedding(position_ids)))
        return embedded


class DistilBertBlock(EncoderBlock):
    """BERT's block, without dropout after the attention."""

    def forward(  # type: ignore[override]  # an encoder's block has neither context nor cache
        self, hidden_states: Tensor, mask: AttentionMask | None = None, *, kernel: str = "sdpa"
    ) -> BlockOutput:
        """Transform a sequence."""
        attended, weights = self.self_attention(hidden_states, mask=mask, kernel=kernel)
        x = self.self_attention_norm(hidden_states + attended)
        return BlockOutput(self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights, None)


class DistilBertModel(DistilBertPreTrainedModel):
    """Embeddings → blocks: a vector for every token."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.embeddings = DistilBertEmbeddings(config)
        self.blocks = nn.ModuleList(
            DistilBertBlock(
                config.dim,
                config.n_heads,
                config.hidden_dim,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                eps=EPS,
            )
            for _ in range(config.n_layers)
        )
        self.post_init()

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """Initialise a parameter, in place: with `sinusoidal_pos_embds` the position embedding as sines and cosines."""
        if self.config.sinusoidal_pos_embds and isinstance(module, LearnedPositions):
            positions = count_positions(parameter.shape[0], device=parameter.device)
            parameter.copy_(sinusoidal_positions(positions, parameter.shape[1])[0])
        else:
            super().init_parameter(module, name, parameter)

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
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, dim) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            position_ids: (batch, length); counted from 0 if None.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        shape = read_shape(input_ids, inputs_embeds, config.dim)
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask("attention_mask", attention_mask, config.n_heads)
        check_ids("input_ids", input_ids, shape, config.vocab_size, "vocab_size")
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

        hidden_states = self.embeddings(input_ids, position_ids, inputs_embeds)
        all_hidden_states, attentions = [hidden_states], []
        for block in self.blocks:
            hidden_states, attention, _ = self.run_block(block, hidden_states, mask, kernel=kernel)
            all_hidden_states.append(hidden_states)
            attentions.append(attention)

        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


# ---- heads -----------------------------------------------------------------------------------------------------------


class DistilBertForMaskedLM(DistilBertPreTrainedModel):
    """DistilBERT that fills in masked tokens."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.mlm_head = MaskedLMHead(config.dim, config.vocab_size, activation=config.activation, eps=EPS)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.mlm_head.decoder

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.mlm_head.decoder = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Score the vocabulary at every position; see `DistilBertModel` for the inputs.

        `labels` (batch, length): the original token where one was masked, −100 elsewhere.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            inputs_embeds,
            position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.mlm_head(encoded.last_hidden_state)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForSequenceClassification(DistilBertPreTrainedModel):
    """DistilBERT with two layers over the first token: classes, several labels at once, or a number."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `DistilBertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_sequence_labels(labels, shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            inputs_embeds,
            position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
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
        self.dropout = nn.Dropout(config.qa_dropout)
        self.qa_outputs = nn.Linear(config.dim, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `DistilBertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_span("start_positions", start_positions, shape[0])
        check_span("end_positions", end_positions, shape[0])
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            inputs_embeds,
            position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; see `DistilBertModel` for the inputs.

        `labels` (batch, length), −100 where none is wanted.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.dim)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            inputs_embeds,
            position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForMultipleChoice(DistilBertPreTrainedModel):
    """DistilBERT that scores each of several choices for a text."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.classifier = nn.Linear(config.dim, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `DistilBertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        encoded = self.distilbert(
            flatten_choices(input_ids),
            flatten_choices(attention_mask),
            flatten_choices(inputs_embeds, ndim=4),
            flatten_choices(position_ids),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        pooled = F.relu(self.pre_classifier(encoded.last_hidden_state[:, 0]))
        logits = self.classifier(self.dropout(pooled)).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
