"""ModernBERT (Warner et al., 2024): BERT with what was learnt in the years after it.

What has changed since BERT (§2.1): pre-norm blocks without biases, rotary positions in place of learned ones, a gated
feed-forward network, and attention that is global in every third layer only. In the layers between, a token sees a
window around itself, and rotary positions have a smaller base. There are no segments and no pooler.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.fields import choice, constrained, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.weight_names import WeightTable, rename, tie
from minitransformers.models.base.checks import (
    check_dtype,
    check_ids,
    check_labels,
    check_sequence_labels,
    check_span,
    check_unlimited_positions,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.mask_arguments import check_mask
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.models.base.rotary import RotaryConfig, rotary_from_parameters
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import local_mask, read_attention_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import Rotary, count_positions
from minitransformers.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------

LAYER_TYPES = ("full_attention", "sliding_attention")


class ModernBertConfig(RotaryConfig):
    """The fields of ModernBERT's config.json; the defaults are those of the base model (table 4)."""

    model_type = "modernbert"
    former_keywords: ClassVar[dict[str, str]] = {
        "global_rope_theta": "full_attention",
        "local_rope_theta": "sliding_attention",
        "global_attn_every_n_layers": "layer_types",
    }

    vocab_size: int = size(50368)
    hidden_size: int = size(768)
    intermediate_size: int = size(1152)
    num_hidden_layers: int = count(22)
    num_attention_heads: int = size(12)
    hidden_activation: str = choice("gelu", ACTIVATIONS)
    max_position_embeddings: int = size(8192)
    initializer_range: float = positive(0.02)
    initializer_cutoff_factor: float = positive(2.0)
    norm_eps: float = positive(1e-5)
    norm_bias: bool = False
    pad_token_id: int | None = 50283
    eos_token_id: int | list[int] | None = 50282
    bos_token_id: int | None = 50281
    cls_token_id: int | None = 50281
    sep_token_id: int | None = 50282
    attention_bias: bool = False
    attention_dropout: float = probability(0.0)
    layer_types: list[str] | None = constrained(
        None, lambda types: set(types) <= set(LAYER_TYPES), f"a list of {' and '.join(map(repr, LAYER_TYPES))}"
    )
    local_attention: int = size(128)  # the whole window of a local layer: half before a token, half behind it
    embedding_dropout: float = probability(0.0)
    mlp_bias: bool = False
    mlp_dropout: float = probability(0.0)
    decoder_bias: bool = True
    classifier_pooling: str = choice("cls", ("cls", "mean"))
    classifier_dropout: float = probability(0.0)
    classifier_bias: bool = False
    classifier_activation: str = choice("gelu", ACTIVATIONS)
    deterministic_flash_attn: bool = False  # of a kernel that is not used here
    sparse_prediction: bool = False
    sparse_pred_ignore_index: int = -100

    @property
    def sliding_window(self) -> int:
        """How many tokens before it, and how many behind it, a token sees in a local layer."""
        return self.local_attention // 2

    def complete(self) -> None:
        """Fill in which layers are global and which local, and the rotary positions of both kinds."""
        if self.layer_types is None:
            every = self._beside.get("global_attn_every_n_layers", 3)
            if not isinstance(every, int) or every < 1:
                raise ConfigError(f"global_attn_every_n_layers={every!r} must be a whole number of at least 1.")
            self.layer_types = [LAYER_TYPES[layer % every != 0] for layer in range(self.num_hidden_layers)]
        given = self.rope_parameters or {}
        if given and not given.keys() & set(LAYER_TYPES):  # one for both kinds of layers
            given = dict.fromkeys(LAYER_TYPES, given)
        bases = {
            "sliding_attention": self._beside.get("local_rope_theta", 10_000.0),
            "full_attention": self._beside.get("global_rope_theta", 160_000.0),
        }
        self.rope_parameters = {
            kind: self.completed_rope(given.get(kind), {"rope_theta": base}) for kind, base in bases.items()
        }

    def all_rope_parameters(self) -> dict[str, dict[str, Any]]:
        """One description for each kind of layers."""
        return {f"rope_parameters[{kind!r}]": (self.rope_parameters or {}).get(kind) or {} for kind in LAYER_TYPES}

    def validate(self) -> None:
        """Refuse what no ModernBERT can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")
        if len(self.layer_types or []) != self.num_hidden_layers:
            raise ConfigError(
                f"layer_types has {len(self.layer_types or [])} entries; num_hidden_layers={self.num_hidden_layers} "
                f"needs one each."
            )


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    rename("embeddings.tok_embeddings.weight", "token_embedding.weight"),
    rename("embeddings.norm.{kind}", "embedding_norm.{kind}"),
    rename("layers.{layer}.attn_norm.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("layers.{layer}.attn.Wqkv.{kind}", "blocks.{layer}.self_attention.query_key_value.{kind}"),
    rename("layers.{layer}.attn.Wo.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("layers.{layer}.mlp_norm.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    rename("layers.{layer}.mlp.Wi.{kind}", "blocks.{layer}.feed_forward.intermediate_and_gate.{kind}"),
    rename("layers.{layer}.mlp.Wo.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    # Heads
    tie("decoder.weight", to="model.token_embedding.weight"),
    base="model",
)


# ---- parts -----------------------------------------------------------------------------------------------------------


class FusedGatedFeedForward(nn.Module):
    """`GatedFeedForward` with GELU (GeGLU: Shazeer, 2020), whose two projections are one layer."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.intermediate_and_gate = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.activation = activation_function(config.hidden_activation)
        self.dropout = nn.Dropout(config.mlp_dropout)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Transform every position by itself."""
        intermediate, gate = self.intermediate_and_gate(hidden_states).chunk(2, dim=-1)
        projected: Tensor = self.output(self.dropout(self.activation(intermediate) * gate))
        return projected


class LinearWithDropout(nn.Linear):
    """The output layer of attention, and dropout behind it; there is none behind the feed-forward network."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool, dropout: float) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.dropout = dropout

    def forward(self, input: Tensor) -> Tensor:
        """Project, and drop while training."""
        return F.dropout(super().forward(input), self.dropout, self.training)


class PredictionHead(nn.Module):
    """dense → activation → norm, below the last layer of every task."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.activation = activation_function(config.classifier_activation)
        self.norm = LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Transform every position by itself."""
        normed: Tensor = self.norm(self.activation(self.dense(hidden_states)))
        return normed


def _block(config: ModernBertConfig, layer: int) -> Block:
    attention = MultiHeadAttention(
        config.hidden_size,
        config.num_attention_heads,
        dropout=config.attention_dropout,
        bias=config.attention_bias,
        fused=True,
    )
    attention.output = LinearWithDropout(
        config.hidden_size, config.hidden_size, bias=config.attention_bias, dropout=config.attention_dropout
    )
    block = Block(
        attention,
        FusedGatedFeedForward(config),
        lambda: LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias),
        pre_norm=True,
    )
    if layer == 0:  # the embedding's norm comes right before it
        block.self_attention_norm = nn.Identity()
    writers: tuple[Any, ...] = (block.self_attention.output, block.feed_forward.output)
    for writer in writers:
        writer.writes_to_residual = True
    return block


# ---- the backbone ----------------------------------------------------------------------------------------------------


class ModernBertPreTrainedModel(PreTrainedModel):
    """What all ModernBERT classes share."""

    config_class = ModernBertConfig
    base_model_prefix = "model"
    weights = WEIGHTS

    config: ModernBertConfig

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """A normal distribution whose tails are cut, narrower where layers write into the residual stream (§A.1)."""
        super().init_parameter(module, name, parameter)
        if parameter.ndim < 2 or isinstance(module, nn.Embedding):
            return
        config = self.config
        deviation = config.initializer_range
        if getattr(module, "writes_to_residual", False):
            deviation /= (2.0 * config.num_hidden_layers) ** 0.5
        elif module is getattr(self, "classifier", None):
            deviation = config.hidden_size**-0.5
        cutoff = config.initializer_cutoff_factor * deviation
        nn.init.trunc_normal_(parameter, std=deviation, a=-cutoff, b=cutoff)


class ModernBertModel(ModernBertPreTrainedModel):
    """Embedding, normed → blocks, global and local ones → final norm: a vector for every token."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.embedding_norm = LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(_block(config, layer) for layer in range(config.num_hidden_layers))
        self.final_norm = LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.token_embedding = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key), which
                is the whole rule, windows included; see `read_attention_mask`.
            position_ids: (batch, length); counted from 0 if None.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, config.hidden_size)
        check_dtype("inputs_embeds", inputs_embeds, self.dtype)
        check_mask("attention_mask", attention_mask, config.num_attention_heads)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_unlimited_positions(position_ids, (batch_size, length))
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=length,
            is_causal=False,
            dtype=self.dtype,
            device=self.device,
        )
        masks = dict.fromkeys(LAYER_TYPES, mask)
        reach = config.sliding_window
        if length > reach + 1 and not (attention_mask is not None and attention_mask.ndim == 4):
            window = local_mask(length, before=reach, after=reach, device=self.device)
            masks["sliding_attention"] = mask.restricted_to(window)

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        hidden_states = self.dropout(self.embedding_norm(hidden_states))
        if position_ids is None:
            position_ids = count_positions(length, device=hidden_states.device)
        rotary = {}
        for kind in set(config.layer_types or []):
            waves = rotary_from_parameters(
                (config.rope_parameters or {})[kind],
                position_ids,
                head_dim=config.hidden_size // config.num_attention_heads,
                max_position_embeddings=config.max_position_embeddings,
                dtype=hidden_states.dtype,
            )
            # Queries and keys are rotated in float32 even where the model is narrower.
            at_least_float32 = torch.promote_types(hidden_states.dtype, torch.float32)
            rotary[kind] = Rotary(*(wave.to(at_least_float32) for wave in waves))

        all_hidden_states, attentions = [], []
        for block, kind in zip(self.blocks, config.layer_types or [], strict=True):
            all_hidden_states.append(hidden_states)
            hidden_states, attention, _ = self.run_block(
                block, hidden_states, masks[kind], rotary=rotary[kind], kernel=kernel
            )
            attentions.append(attention)
        hidden_states = self.final_norm(hidden_states)
        all_hidden_states.append(hidden_states)  # of the last block, its normed output is given

        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


# ---- heads -----------------------------------------------------------------------------------------------------------


class ModernBertForMaskedLM(ModernBertPreTrainedModel):
    """ModernBERT that fills in masked tokens."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.decoder

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.decoder = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        num_items_in_batch: int | Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Score every token of the vocabulary at every position; see `ModernBertModel` for the inputs.

        `labels` (batch, length), −100 where nothing is to be learnt. With `config.sparse_prediction` and labels, only
        the positions that have one are scored, and `logits` is (number of them, vocabulary).
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden_states = encoded.last_hidden_state
        if labels is not None:
            labels = labels.view(shape)
            if self.config.sparse_prediction:
                has_label = labels != self.config.sparse_pred_ignore_index
                hidden_states, labels = hidden_states[has_label], labels[has_label]
        logits = self.decoder(self.head(hidden_states))
        loss = None
        if labels is not None:
            loss = token_cross_entropy(logits, labels, num_items=num_items_in_batch, upcast=True)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


def check_pooling(config: ModernBertConfig, attention_mask: Tensor | None) -> None:
    """Refuse a mask of four dimensions where the mean of tokens is needed: it does not say which ones are padding."""
    if config.classifier_pooling == "mean" and attention_mask is not None and attention_mask.ndim != 2:
        raise InputError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; classifier_pooling='mean' needs (batch, "
            f"length), to know what padding is."
        )


def mean_of_tokens(
    hidden_states: Float[Tensor, "batch length hidden"], attention_mask: Tensor | None
) -> Float[Tensor, "batch hidden"]:
    """The mean of each row's vectors, those of padding left out."""
    if attention_mask is None:
        return hidden_states.mean(dim=1)
    is_token = attention_mask.to(hidden_states)
    return (hidden_states * is_token[..., None]).sum(dim=1) / is_token.sum(dim=1, keepdim=True)


class ModernBertForSequenceClassification(ModernBertPreTrainedModel):
    """ModernBERT with a classifier over its first token, or over the mean of all, by `config.classifier_pooling`."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `ModernBertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_pooling(self.config, attention_mask)
        encoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        if self.config.classifier_pooling == "cls":
            pooled = encoded.last_hidden_state[:, 0]
        else:
            pooled = mean_of_tokens(encoded.last_hidden_state, attention_mask)
        logits = self.classifier(self.dropout(self.head(pooled)))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ModernBertForTokenClassification(ModernBertPreTrainedModel):
    """ModernBERT with a classifier over every token."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classify tokens; see `ModernBertModel`. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(self.head(encoded.last_hidden_state)))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ModernBertForQuestionAnswering(ModernBertPreTrainedModel):
    """ModernBERT that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"num_labels={config.num_labels} must be 2: one score for the start, one for the end.")
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `ModernBertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        encoded = self.model(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.classifier(self.dropout(self.head(encoded.last_hidden_state))).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)


class ModernBertForMultipleChoice(ModernBertPreTrainedModel):
    """ModernBERT that scores each of several choices, by its first token or the mean (`config.classifier_pooling`).

    Unlike `ModernBertForSequenceClassification`, it finds the first token where a text is padded in front, too.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score choices. All inputs have one more dimension than `ModernBertModel`'s: (batch, choices, length).

        `labels` (batch,): which choice is right.
        """
        batch_size, num_choices, _ = choices_shape(input_ids, inputs_embeds)
        check_labels(labels, (batch_size,), num_choices)
        attention_mask = flatten_choices(attention_mask)
        check_pooling(self.config, attention_mask)
        encoded = self.model(
            flatten_choices(input_ids),
            attention_mask,
            flatten_choices(position_ids),
            flatten_choices(inputs_embeds, ndim=4),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden_states = encoded.last_hidden_state
        if self.config.classifier_pooling == "mean":
            pooled = mean_of_tokens(hidden_states, attention_mask)
        elif attention_mask is not None and attention_mask.ndim == 2:
            first = attention_mask.to(hidden_states).argmax(dim=1)  # of the ones
            pooled = hidden_states[torch.arange(len(first), device=first.device), first]
        else:
            pooled = hidden_states[:, 0]
        logits = self.classifier(self.dropout(self.head(pooled))).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
