"""ModernBERT (Warner et al., 2024): BERT with the techniques of later language models.

The differences from BERT (§2.1): pre-norm blocks without biases, rotary positions in place of learned ones, a gated
feed-forward network, and attention that is global in every third layer only. In the other layers, a token sees a window
around itself, and rotary positions have a smaller base. There are no segments and no pooler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.configs.fields import choice, constrained, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
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
from minitransformers.models.base.rotary import RotaryConfig, RotaryEmbedding
from minitransformers.nn.attention import AttentionOutput, attend
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import (
    IGNORED,
    sequence_classification_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask, local_mask
from minitransformers.nn.positions import Rotary
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


# ---- embeddings and blocks -------------------------------------------------------------------------------------------


def _norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class ModernBertEmbeddings(nn.Module):
    """Token embeddings, then norm and dropout."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.norm = _norm(config)
        self.drop = nn.Dropout(config.embedding_dropout)

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None) -> Tensor:
        """(batch, length, hidden) for ids, or for vectors in their place."""
        x = self.tok_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        return self.drop(self.norm(x))  # type: ignore[no-any-return]


class ModernBertMLP(nn.Module):
    """The gated feed-forward network, whose two projections are one layer (GeGLU: Shazeer, 2020)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.Wi = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.act = activation_function(config.hidden_activation)
        self.drop = nn.Dropout(config.mlp_dropout)
        self.Wo = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every token by itself."""
        x, gate = self.Wi(hidden_states).chunk(2, dim=-1)
        return self.Wo(self.drop(self.act(x) * gate))  # type: ignore[no-any-return]


class ModernBertRotaryEmbedding(RotaryEmbedding):
    """The rotation of each position, in layers of either type."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, sorted(set(config.layer_types)))


class ModernBertAttention(nn.Module):
    """Bidirectional attention whose queries, keys and values come from one projection."""

    def __init__(self, config: Any, layer_idx: int = 0) -> None:
        super().__init__()
        self.layer_idx, self.heads = layer_idx, config.num_attention_heads
        self.attention_dropout = config.attention_dropout
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.Wo = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)
        self.out_drop = nn.Dropout(config.attention_dropout) if config.attention_dropout > 0 else nn.Identity()

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        *,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
    ) -> AttentionOutput:
        """Attend from and to `x` (batch, length, hidden)."""
        query, key, value = self.Wqkv(x).chunk(3, dim=-1)
        dropout = self.attention_dropout if self.training else 0.0
        attended, weights = attend(
            query, key, value, heads=self.heads, mask=mask, rotary=rotary, dropout=dropout, kernel=kernel
        )
        return AttentionOutput(self.out_drop(self.Wo(attended)), weights)


class ModernBertEncoderLayer(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, each added to its input."""

    def __init__(self, config: Any, layer_idx: int = 0) -> None:
        super().__init__()
        self.attn_norm = _norm(config) if layer_idx else nn.Identity()  # the embeddings are normed already
        self.attn = ModernBertAttention(config, layer_idx)
        self.mlp_norm = _norm(config)
        self.mlp = ModernBertMLP(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x = hidden_states
        attended, weights = self.attn(self.attn_norm(x), attention_mask, rotary=rotary, kernel=kernel)
        x = x + attended
        x = x + self.mlp(self.mlp_norm(x))
        if record is not None:
            record(weights, None)
        return x  # type: ignore[no-any-return]


# ---- the backbone ----------------------------------------------------------------------------------------------------


class ModernBertPreTrainedModel(PreTrainedModel):
    """The base of all ModernBERT classes."""

    config_class = ModernBertConfig
    base_model_prefix = "model"
    _input_embeddings = "embeddings.tok_embeddings"
    _output_embeddings = "decoder"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"decoder.weight": "model.embeddings.tok_embeddings.weight"}
    _no_split_modules: ClassVar[list[str]] = ["ModernBertEmbeddings", "ModernBertEncoderLayer"]

    config: ModernBertConfig

    def _init_weights(self, module: nn.Module) -> None:
        """A normal distribution without its tails, narrower for layers that write into the residual stream (§A.1)."""
        super()._init_weights(module)
        std = self.config.initializer_range
        residual = std / (2 * self.config.num_hidden_layers) ** 0.5
        if isinstance(module, ModernBertEmbeddings):
            self._init_truncated(module.tok_embeddings, std)
        elif isinstance(module, ModernBertMLP):
            self._init_truncated(module.Wi, std)
            self._init_truncated(module.Wo, residual)
        elif isinstance(module, ModernBertAttention):
            self._init_truncated(module.Wqkv, std)
            self._init_truncated(module.Wo, residual)
        elif isinstance(module, ModernBertPredictionHead):
            self._init_truncated(module.dense, residual)
        elif isinstance(module, ModernBertForMaskedLM):
            self._init_truncated(module.decoder, residual)
        elif isinstance(module, ModernBertPreTrainedModel) and hasattr(module, "classifier"):
            self._init_truncated(module.classifier, self.config.hidden_size**-0.5)

    def _init_truncated(self, layer: nn.Linear | nn.Embedding, std: float) -> None:
        cutoff = self.config.initializer_cutoff_factor * std
        nn.init.trunc_normal_(layer.weight, std=std, a=-cutoff, b=cutoff)


class ModernBertModel(ModernBertPreTrainedModel):
    """Embeddings → blocks, global and local ones → final norm: a vector for every token."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.embeddings = ModernBertEmbeddings(config)
        self.layers = nn.ModuleList(ModernBertEncoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.final_norm = _norm(config)
        self.rotary_emb = ModernBertRotaryEmbedding(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key), which
                is the complete rule, windows included; see `read_attention_mask`.
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
            **options,
            is_causal=False,
            max_positions=None,
            widens=False,
        )
        masks = {"full_attention": inputs.mask, "sliding_attention": self._local_mask(inputs)}
        x = self.embeddings(input_ids, inputs_embeds)
        # Queries and keys are rotated in float32 even where the model is narrower.
        widest = torch.promote_types(x.dtype, torch.float32)
        rotary = {
            kind: Rotary(*(wave.to(widest) for wave in self.rotary_emb(x, inputs.position_ids, kind)))
            for kind in set(self.config.layer_types or ())
        }
        for index, (layer, kind) in enumerate(zip(self.layers, self.config.layer_types or (), strict=True)):
            inputs.keep(x)
            x = layer(x, masks[kind], rotary=rotary[kind], **inputs.for_layer(index))
        x = self.final_norm(x)
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutput(x, **inputs.kept())

    def _local_mask(self, inputs: Inputs) -> AttentionMask:
        """The mask, restricted to a window on both sides of each token; a complete mask is taken as it is."""
        reach = self.config.sliding_window
        if inputs.is_complete_mask or inputs.length <= reach + 1:
            return inputs.mask
        window = local_mask(inputs.length, before=reach, after=reach, device=inputs.position_ids.device)
        return inputs.mask.restricted_to(window)


# ---- heads -----------------------------------------------------------------------------------------------------------


class ModernBertPredictionHead(nn.Module):
    """norm(activation(dense(x))), before the last layer of every task."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.act = activation_function(config.classifier_activation)
        self.norm = _norm(config)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every vector by itself."""
        return self.norm(self.act(self.dense(hidden_states)))  # type: ignore[no-any-return]


class ModernBertForMaskedLM(ModernBertPreTrainedModel):
    """ModernBERT that fills in masked tokens."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = ModernBertPredictionHead(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        num_items_in_batch: int | Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> MaskedLMOutput:
        """Score every token of the vocabulary at every position; see `ModernBertModel` for the inputs.

        `labels` (batch, length), −100 where nothing is to be learnt. With `config.sparse_prediction` and labels, only
        the positions that have one are scored, and `logits` is (number of them, vocabulary).
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        encoded = self.model(input_ids, attention_mask, position_ids, inputs_embeds, return_dict=True, **options)
        hidden_states, labels = self.with_labels(encoded.last_hidden_state, labels)
        if labels is not None and self.config.sparse_prediction:
            has_label = labels != self.config.sparse_pred_ignore_index
            hidden_states, labels = hidden_states[has_label], labels[has_label]
        logits = self.decoder(self.head(hidden_states))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits, labels, vocab_size=self.config.vocab_size, num_items_in_batch=num_items_in_batch
            )
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)

    def _count_labels(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """The number of labels that count in the loss of a batch, which has them (see training/loop/objective.py)."""
        labels = batch.get("labels")
        if labels is None:
            return {}
        counted = labels != IGNORED
        if self.config.sparse_prediction:
            counted &= labels != self.config.sparse_pred_ignore_index
        return {"labels": int(counted.sum())}


def check_pooling(config: ModernBertConfig, attention_mask: Tensor | None) -> None:
    """Refuse a mask of four dimensions where tokens are averaged: it does not tell which ones are padding."""
    if config.classifier_pooling == "mean" and attention_mask is not None and attention_mask.ndim != 2:
        raise InputError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; classifier_pooling='mean' needs (batch, "
            f"length), to know which tokens are padding."
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
        self.head = ModernBertPredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `ModernBertModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_pooling(self.config, attention_mask)
        encoded = self.model(input_ids, attention_mask, position_ids, inputs_embeds, return_dict=True, **options)
        if self.config.classifier_pooling == "cls":
            pooled = encoded.last_hidden_state[:, 0]
        else:
            pooled = mean_of_tokens(encoded.last_hidden_state, attention_mask)
        logits = self.classifier(self.drop(self.head(pooled)))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ModernBertForTokenClassification(ModernBertPreTrainedModel):
    """ModernBERT with a classifier over every token."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = ModernBertPredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `ModernBertModel`. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        encoded = self.model(input_ids, attention_mask, position_ids, inputs_embeds, return_dict=True, **options)
        logits = self.classifier(self.drop(self.head(encoded.last_hidden_state)))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ModernBertForQuestionAnswering(ModernBertPreTrainedModel):
    """ModernBERT that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"num_labels={config.num_labels} must be 2: one score for the start, one for the end.")
        self.model = ModernBertModel(config)
        self.head = ModernBertPredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
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
        **options: Unpack[OutputOptions],
    ) -> QuestionAnsweringModelOutput:
        """Score every token as start and as end; see `ModernBertModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        encoded = self.model(input_ids, attention_mask, position_ids, inputs_embeds, return_dict=True, **options)
        start_logits, end_logits = self.classifier(self.drop(self.head(encoded.last_hidden_state))).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)


class ModernBertForMultipleChoice(ModernBertPreTrainedModel):
    """ModernBERT that scores each of several choices, by its first token or the mean (`config.classifier_pooling`).

    Unlike `ModernBertForSequenceClassification`, it finds the first token where a text is padded in front, too.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = ModernBertPredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
        )
        hidden_states = encoded.last_hidden_state
        if self.config.classifier_pooling == "mean":
            pooled = mean_of_tokens(hidden_states, attention_mask)
        elif attention_mask is not None and attention_mask.ndim == 2:
            first = attention_mask.to(hidden_states).argmax(dim=1)  # of the ones
            pooled = hidden_states[torch.arange(len(first), device=first.device), first]
        else:
            pooled = hidden_states[:, 0]
        logits = self.classifier(self.drop(self.head(pooled))).view(batch_size, num_choices)
        loss = None if labels is None else token_cross_entropy(logits, labels.view(-1))
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
