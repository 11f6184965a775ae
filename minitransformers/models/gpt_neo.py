"""GPT-Neo (Black et al., 2021), an open reproduction of GPT-3: a GPT-2 with local attention in every other layer.

What has changed since GPT-2: global layers, which see all earlier tokens, alternate with local ones, which see only the
last few (Brown et al., 2020, §2.1); queries, keys and values come from three projections without biases; and scores are
not divided by √head_dim.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.configs.limits import MOST_LAYERS
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames, drop
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_ends_are_known,
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    read_shape,
)
from minitransformers.models.base.inputs import OutputOptions, Record
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.attention import attend
from minitransformers.nn.cache import Cache, CacheLayer
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import (
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask, local_mask
from minitransformers.nn.selection import keep_positions, of_last_tokens
from minitransformers.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class GPTNeoConfig(Config):
    """The fields of GPT-Neo's config.json; the defaults are those of the model with 1.3 billion parameters."""

    model_type = "gpt_neo"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    vocab_size: int = size(50257)
    max_position_embeddings: int = size(2048)
    hidden_size: int = size(2048)
    num_layers: int = count(24)
    attention_types: list[Any] | None = None  # [[["global", "local"], 12]]: twelve times one and the other
    num_heads: int = size(16)
    intermediate_size: int | None = size(None)  # None: four times hidden_size
    window_size: int = size(256)  # what a local layer sees, its own token included
    activation_function: str = choice("gelu_new", ACTIVATIONS)
    resid_dropout: float = probability(0.0)
    embed_dropout: float = probability(0.0)
    attention_dropout: float = probability(0.0)
    classifier_dropout: float = probability(0.1)
    layer_norm_epsilon: float = positive(1e-5)
    initializer_range: float = positive(0.02)
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    @property
    def attention_layers(self) -> list[str]:
        """ "global" or "local" for each layer."""
        return [
            kind
            for kinds, times in self.attention_types or ()
            for _ in range(min(times, MOST_LAYERS + 1))
            for kind in kinds
        ]

    def complete(self) -> None:
        """Fill in what the layers see."""
        if self.attention_types is None:
            self.attention_types = [[["global", "local"], 12]]

    def validate(self) -> None:
        """Refuse what no GPT-Neo can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_heads")
        try:
            layers = self.attention_layers
        except (TypeError, ValueError):
            layers = ["?"]
        if any(kind not in ("global", "local") for kind in layers) or len(layers) != self.num_layers:
            raise ConfigError(
                f"attention_types={self.attention_types} must say 'global' or 'local' for each of num_layers="
                f"{self.num_layers} layers, for instance [[['global', 'local'], {max(1, self.num_layers // 2)}]]."
            )


# ---- blocks ----------------------------------------------------------------------------------------------------------


class GPTNeoSelfAttention(nn.Module):
    """Causal attention without biases in its projections, and without the factor 1/√head_dim."""

    bias: Tensor

    def __init__(self, config: GPTNeoConfig, mask: Tensor) -> None:
        super().__init__()
        self.heads = config.num_heads
        # The causal mask, for scripts that read it; `attend` does not need it.
        self.register_buffer("bias", mask.view_as(mask), persistent=False)
        self.attn_dropout = nn.Dropout(config.attention_dropout)
        self.resid_dropout = nn.Dropout(config.resid_dropout)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        *,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `x` (batch, length, hidden) to itself and the cache."""
        attended, weights = attend(
            self.q_proj(x),
            self.k_proj(x),
            self.v_proj(x),
            heads=self.heads,
            mask=mask,
            cache=cache,
            scale=1.0,
            dropout=self.attn_dropout,
            upcast=True,
            kernel=kernel,
        )
        return self.resid_dropout(self.out_proj(attended)), weights


class GPTNeoAttention(nn.Module):
    """The attention of a layer, "global" or "local"."""

    def __init__(self, config: GPTNeoConfig, mask: Tensor) -> None:
        super().__init__()
        self.attention = GPTNeoSelfAttention(config, mask)

    def forward(
        self, x: Tensor, mask: AttentionMask | Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; `options` are those of `GPTNeoSelfAttention`."""
        return self.attention(x, mask, **options)  # type: ignore[no-any-return]


class GPTNeoMLP(nn.Module):
    """The feed-forward network: c_proj(activation(c_fc(x)))."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__()
        width = config.intermediate_size or 4 * config.hidden_size
        self.c_fc = nn.Linear(config.hidden_size, width)
        self.c_proj = nn.Linear(width, config.hidden_size)
        self.act = activation_function(config.activation_function)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))  # type: ignore[no-any-return]


class GPTNeoBlock(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, each added to its input."""

    def __init__(self, config: GPTNeoConfig, mask: Tensor) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attn = GPTNeoAttention(config, mask)
        self.ln_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = GPTNeoMLP(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Transform (batch, length, hidden); returns that and the attention weights, which `record` is given too."""
        attended, weights = self.attn(self.ln_1(hidden_states), attention_mask, cache=cache, kernel=kernel)
        x = hidden_states + attended
        x = x + self.mlp(self.ln_2(x))
        if record is not None:
            record(weights, None)
        return x, weights


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPTNeoPreTrainedModel(PreTrainedModel):
    """The base of all GPT-Neo classes."""

    config_class = GPTNeoConfig
    base_model_prefix = "transformer"
    checkpoint_names = CheckpointNames(
        drop("h.{layer}.attn.attention.bias"),  # the mask, a buffer of old checkpoints
        drop("h.{layer}.attn.attention.masked_bias"),
        base="transformer",
    )
    _input_embeddings = "wte"
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "transformer.wte.weight"}
    _no_split_modules: ClassVar[list[str]] = ["GPTNeoBlock"]

    config: GPTNeoConfig


class GPTNeoModel(GPTNeoPreTrainedModel):
    """Embeddings → causal blocks, global and local ones → final norm: a vector for every token."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.wpe = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.drop = nn.Dropout(config.embed_dropout)
        masks = self._masks(config.max_position_embeddings)
        self.h = nn.ModuleList(GPTNeoBlock(config, masks[kind]) for kind in config.attention_layers)
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.post_init()

    def _masks(
        self, query_length: int, key_length: int | None = None, device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """Who may attend to whom: in a "global" layer to the past, in a "local" one to a window of it."""
        before = {"global": key_length or query_length, "local": self.config.window_size - 1}
        return {kind: local_mask(query_length, key_length, before=b, device=device) for kind, b in before.items()}

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPast:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); it is restricted to the past, and in local layers to the window.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted on from the cache if None, padding included. Without mask and cache,
                positions that start again separate documents, which do not see each other.
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
            past_key_values=past_key_values,
            use_cache=use_cache,
            **options,
            is_causal=True,
            token_types="vocab_size",
        )
        masks = {"global": inputs.mask, "local": inputs.window(self.config.window_size)}
        if inputs.is_complete_mask:  # in this family it is restricted to the past and to the window, too
            rules = self._masks(inputs.length, inputs.past_length + inputs.length, inputs.position_ids.device)
            masks = {kind: inputs.mask.restricted_to(rule) for kind, rule in rules.items()}
        x = (self.wte(input_ids) if inputs_embeds is None else inputs_embeds) + self.wpe(inputs.position_ids)
        if token_type_ids is not None:
            x = x + self.wte(token_type_ids)
        x = self.drop(x)
        for index, (block, kind) in enumerate(zip(self.h, self.config.attention_layers, strict=True)):
            inputs.keep(x)
            x, _ = block(x, masks[kind], **inputs.for_layer(index))
        x = self.ln_f(x)
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutputWithPast(x, inputs.past_key_values, **inputs.kept())


# ---- the language model ----------------------------------------------------------------------------------------------


class GPTNeoForCausalLM(GPTNeoPreTrainedModel, GenerationMixin):
    """GPT-Neo as a language model: which token comes next."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutputWithPast:
        """Score every next token; see `GPTNeoModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        if labels is not None and self.skips_logits:
            x = decoded.last_hidden_state
            return CausalLMOutputWithPast(
                self.next_token_loss(self.lm_head, x, labels, num_items_in_batch, shift_labels)
            )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels.view(shape),
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
                shift_labels=shift_labels,
            )
        return CausalLMOutputWithPast(loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions)


# ---- further heads ---------------------------------------------------------------------------------------------------


class GPTNeoForSequenceClassification(GPTNeoPreTrainedModel):
    """GPT-Neo with a linear layer over the last real token of each sequence."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> SequenceClassifierOutputWithPast:
        """Classify sequences; see `GPTNeoModel` for the inputs.

        The last token that is not `config.pad_token_id` decides; with `inputs_embeds`, the last of the row. `labels`:
        classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point; see
        `sequence_classification_loss`.

        Raises:
            InputError: several sequences and no `config.pad_token_id`: it would be unknown where they end.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_ends_are_known(batch_size, input_ids, self.config.pad_token_id)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutputWithPast(
            loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions
        )


class GPTNeoForTokenClassification(GPTNeoPreTrainedModel):
    """GPT-Neo with a linear layer over every token."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> TokenClassifierOutput:
        """Classify tokens; see `GPTNeoModel` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class GPTNeoForQuestionAnswering(GPTNeoPreTrainedModel):
    """GPT-Neo that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__(config)
        self.transformer = GPTNeoModel(config)
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
        """Score every token as start and as end; see `GPTNeoModel` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.hidden_size)
        check_span("start_positions", start_positions, batch_size)
        check_span("end_positions", end_positions, batch_size)
        decoded = self.transformer(
            input_ids,
            None,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
