"""GPT-2 (Radford et al., 2019): token and position embeddings, a stack of causal pre-norm blocks, and a head.

Reads top to bottom: configuration, block, backbone, language model, further heads. Modules are named as in the
checkpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.files.checkpoint_names import CheckpointNames, drop, transpose
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import (
    check_ends_are_known,
    check_ids,
    check_labels,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
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
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.selection import keep_positions, of_last_tokens
from minitransformers.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    GPT2DoubleHeadsModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class GPT2Config(Config):
    """The fields of GPT-2's config.json; the defaults are those of the smallest published model (table 2)."""

    model_type = "gpt2"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = size(50257)
    n_positions: int = size(1024)
    n_embd: int = size(768)
    n_layer: int = count(12)
    n_head: int = size(12)
    n_inner: int | None = size(None)  # None: four times n_embd
    activation_function: str = choice("gelu_new", ACTIVATIONS)
    resid_pdrop: float = probability(0.1)
    embd_pdrop: float = probability(0.1)
    attn_pdrop: float = probability(0.1)
    layer_norm_epsilon: float = positive(1e-5)
    initializer_range: float = positive(0.02)
    summary_type: str = choice("cls_index", ("last", "first", "mean", "cls_index"))
    summary_use_proj: bool = True
    summary_activation: str | None = choice(None, ACTIVATIONS)
    summary_proj_to_labels: bool = True
    summary_first_dropout: float = probability(0.1)
    classifier_dropout: float | None = probability(None)
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None
    add_cross_attention: bool = False

    @property
    def intermediate_size(self) -> int:
        """Width inside the feed-forward network."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    def validate(self) -> None:
        """Refuse what no GPT-2 can be built from."""
        super().validate()
        self.check_multiple("n_embd", of="n_head")


# ---- blocks ----------------------------------------------------------------------------------------------------------


class GPT2Attention(nn.Module):
    """Causal attention whose queries, keys and values come from one projection; or attention to a context."""

    def __init__(self, config: Any, is_cross_attention: bool = False, layer_idx: int = 0) -> None:
        super().__init__()
        self.heads, self.is_cross_attention = config.n_head, is_cross_attention
        self.scaling = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scaling /= layer_idx + 1
        self.upcast = config.reorder_and_upcast_attn
        if is_cross_attention:
            self.c_attn = nn.Linear(config.n_embd, 2 * config.n_embd)
            self.q_attn = nn.Linear(config.n_embd, config.n_embd)
        else:
            self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask | Tensor | None = None,
        *,
        context: Tensor | None = None,
        cache: CacheLayer | None = None,
        kernel: str = "sdpa",
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `x` (batch, length, hidden) to itself and the cache, or to `context`."""
        if not self.is_cross_attention:
            query, key, value = self.c_attn(x).chunk(3, dim=-1)
        else:
            query, key, value = self.q_attn(x), None, None
            if cache is None or not cache.length:  # the context does not change between steps
                key, value = self.c_attn(context).chunk(2, dim=-1)
        attended, weights = attend(
            query,
            key,
            value,
            heads=self.heads,
            mask=mask,
            cache=cache,
            scale=self.scaling,
            dropout=self.attn_dropout.p if self.training else 0.0,
            upcast=self.upcast,
            kernel=kernel,
        )
        return self.resid_dropout(self.c_proj(attended)), weights


class GPT2MLP(nn.Module):
    """The feed-forward network: c_proj(activation(c_fc(x)))."""

    def __init__(self, intermediate_size: int, config: Any) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, intermediate_size)
        self.c_proj = nn.Linear(intermediate_size, config.n_embd)
        self.act = activation_function(config.activation_function)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))  # type: ignore[no-any-return]


class GPT2Block(GradientCheckpointingLayer):
    """Pre-norm: attention, attention to a context where there is one, and feed-forward, each added to its input."""

    def __init__(self, config: GPT2Config, layer_idx: int = 0) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer_idx=layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        if config.add_cross_attention:
            self.crossattention = GPT2Attention(config, is_cross_attention=True, layer_idx=layer_idx)
            self.ln_cross_attn = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config.intermediate_size, config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        context: Tensor | None = None,
        context_mask: AttentionMask | Tensor | None = None,
        cache: CacheLayer | None = None,
        cross_cache: CacheLayer | None = None,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x, cross_weights = hidden_states, None
        attended, weights = self.attn(self.ln_1(x), attention_mask, cache=cache, kernel=kernel)
        x = x + attended
        if context is not None:
            attended, cross_weights = self.crossattention(
                self.ln_cross_attn(x), context_mask, context=context, cache=cross_cache, kernel=kernel
            )
            x = x + attended
        x = x + self.mlp(self.ln_2(x))
        if record is not None:
            record(weights, cross_weights)
        return x  # type: ignore[no-any-return]


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPT2PreTrainedModel(PreTrainedModel):
    """The base of all GPT-2 classes."""

    config_class = GPT2Config
    base_model_prefix = "transformer"
    checkpoint_names = CheckpointNames(
        # The causal mask, a buffer of old checkpoints
        *(
            drop(f"h.{{layer}}.{part}.{mask}")
            for part in ("attn", "crossattention")
            for mask in ("bias", "masked_bias")
        ),
        # Matrices are stored as (in, out), and are (out, in) in nn.Linear.
        *(transpose(f"h.{{layer}}.{part}.c_attn.weight") for part in ("attn", "crossattention")),
        *(transpose(f"h.{{layer}}.{part}.c_proj.weight") for part in ("attn", "crossattention", "mlp")),
        transpose("h.{layer}.crossattention.q_attn.weight"),
        transpose("h.{layer}.mlp.c_fc.weight"),
        base="transformer",
    )
    optional_weights = (".crossattention.", ".ln_cross_attn.")
    _input_embeddings = "wte"
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "transformer.wte.weight"}
    _no_split_modules: ClassVar[list[str]] = ["GPT2Block"]

    config: GPT2Config

    def _init_weights(self, module: nn.Module) -> None:
        """As everywhere, except for layers that write into the residual stream: divided by √(number of them) (§2.3)."""
        super()._init_weights(module)
        if isinstance(module, (GPT2Attention, GPT2MLP)):
            nn.init.normal_(module.c_proj.weight, 0.0, self.config.initializer_range / (2 * self.config.n_layer) ** 0.5)


class GPT2Model(GPT2PreTrainedModel):
    """Embeddings → causal blocks → final norm: a vector for every token, made from it and those before it."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config, layer_idx=layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted on from the cache if None, padding included. Without mask and cache,
                positions that start again separate documents, which do not see each other.
            encoder_hidden_states, encoder_attention_mask: input of the cross-attention.
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
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache,
            **options,
            is_causal=True,
            has_cross_attention=self.config.add_cross_attention,
            max_positions="n_positions",
            token_types="vocab_size",
        )
        x = (self.wte(input_ids) if inputs_embeds is None else inputs_embeds) + self.wpe(inputs.position_ids)
        if token_type_ids is not None:
            x = x + self.wte(token_type_ids)
        x = self.drop(x)
        for index, block in enumerate(self.h):
            inputs.keep(x)
            x = block(x, inputs.mask, **inputs.for_layer(index))
        x = self.ln_f(x)
        inputs.keep(x)  # the last entry is the output after the final norm
        return BaseModelOutputWithPastAndCrossAttentions(x, inputs.past_key_values, **inputs.kept(cross=True))


class GPT2SequenceSummary(nn.Module):
    """One vector for a sequence, then a projection: the multiple-choice head of GPT (Radford et al., 2018, §3.2)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.summary_type = config.summary_type
        width = config.num_labels if config.summary_proj_to_labels else config.n_embd
        self.summary = nn.Linear(config.n_embd, width) if config.summary_use_proj else nn.Identity()
        self.activation = activation_function(config.summary_activation or "linear")
        dropout = config.summary_first_dropout
        self.first_dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.last_dropout = nn.Identity()

    def forward(self, hidden_states: Tensor, cls_index: Tensor | None = None) -> Tensor:
        """(…, length, hidden) to (…, width); `cls_index` (…): the position that the type "cls_index" reads."""
        if self.summary_type == "first":
            x = hidden_states[..., 0, :]
        elif self.summary_type == "mean":
            x = hidden_states.mean(dim=-2)
        elif self.summary_type == "last" or cls_index is None:
            x = hidden_states[..., -1, :]
        else:
            x = torch.take_along_dim(hidden_states, cls_index[..., None, None], dim=-2).squeeze(-2)
        return self.last_dropout(self.activation(self.summary(self.first_dropout(x))))  # type: ignore[no-any-return]


# ---- the language model ----------------------------------------------------------------------------------------------


class GPT2LMHeadModel(GPT2PreTrainedModel, GenerationMixin):
    """GPT-2 as a language model: which token comes next (§2)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutputWithCrossAttentions:
        """Score every next token; see `GPT2Model` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.n_embd)
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
            encoder_hidden_states,
            encoder_attention_mask,
            use_cache,
            return_dict=True,
            **options,
        )
        if labels is not None and self.skips_logits:
            x = decoded.last_hidden_state
            return CausalLMOutputWithCrossAttentions(
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
        return CausalLMOutputWithCrossAttentions(
            loss,
            logits,
            decoded.past_key_values,
            decoded.hidden_states,
            decoded.attentions,
            decoded.cross_attentions,
        )


class GPT2DoubleHeadsModel(GPT2PreTrainedModel, GenerationMixin):
    """GPT-2 as a language model that also chooses among continuations (Radford et al., 2018, §3.2 and figure 1)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        config.num_labels = 1  # one score for each choice
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.multiple_choice_head = GPT2SequenceSummary(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> GPT2DoubleHeadsModelOutput:
        """Score next tokens and choices; see `GPT2Model`.

        Inputs and `labels` are (batch, choices, length), or (choices, length) for one text. `mc_token_ids` (batch,
        choices): the position in each choice whose vector stands for it, the last if None. `mc_labels` (batch,): which
        choice is right.
        """
        *batch, num_choices, length = choices_shape(input_ids, inputs_embeds, may_be_one_text=True)
        check_labels(labels, (*batch, num_choices, length), self.config.vocab_size)
        check_labels(mc_labels, batch or (1,), num_choices, "mc_labels")
        if mc_token_ids is not None:
            check_ids("mc_token_ids", mc_token_ids, (*batch, num_choices), length, "length of the input")
        decoded = self.transformer(
            flatten_choices(input_ids),
            past_key_values,
            *map(flatten_choices, (attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            use_cache=use_cache,
            return_dict=True,
            **options,
        )
        hidden_states = decoded.last_hidden_state.view(*batch, num_choices, length, self.config.n_embd)
        logits = self.lm_head(hidden_states)
        mc_logits = self.multiple_choice_head(hidden_states, mc_token_ids).squeeze(-1)
        loss = mc_loss = None
        if labels is not None:
            loss = token_cross_entropy(logits[..., :-1, :], labels.view(logits.shape[:-1])[..., 1:])
        if mc_labels is not None:
            mc_loss = token_cross_entropy(mc_logits.view(-1, num_choices), mc_labels.view(-1))
        return GPT2DoubleHeadsModelOutput(
            loss,
            mc_loss,
            logits,
            mc_logits,
            decoded.past_key_values,
            # The reference gives the last hidden states in the input's dimensions, those of blocks in the backbone's.
            decoded.hidden_states and (*decoded.hidden_states[:-1], hidden_states),
            decoded.attentions,
        )


# ---- further heads ---------------------------------------------------------------------------------------------------


class GPT2ForSequenceClassification(GPT2PreTrainedModel):
    """GPT-2 with a linear layer over the last real token of each sequence."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False)
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
        """Classify sequences; see `GPT2Model` for the inputs.

        The last token that is not `config.pad_token_id` decides; with `inputs_embeds`, the last of the row. `labels`:
        classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point; see
        `sequence_classification_loss`.

        Raises:
            InputError: several sequences and no `config.pad_token_id`: it would be unknown where they end.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.n_embd)
        check_sequence_labels(labels, batch_size, self.config.num_labels, self.config.problem_type)
        check_ends_are_known(batch_size, input_ids, self.config.pad_token_id)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **options,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutputWithPast(
            loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions
        )


class GPT2ForTokenClassification(GPT2PreTrainedModel):
    """GPT-2 with a linear layer over every token."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.dropout = nn.Dropout(0.1 if config.classifier_dropout is None else config.classifier_dropout)
        self.classifier = nn.Linear(config.n_embd, config.num_labels)
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
        """Classify tokens; see `GPT2Model` for the inputs. `labels` (batch, length), −100 where none is wanted."""
        shape = read_shape(input_ids, inputs_embeds, self.config.n_embd)
        check_labels(labels, shape, self.config.num_labels)
        decoded = self.transformer(
            input_ids,
            past_key_values,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **options,
        )
        logits = self.classifier(self.dropout(decoded.last_hidden_state))
        loss = None if labels is None else token_cross_entropy(logits, labels.view(shape))
        return TokenClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)


class GPT2ForQuestionAnswering(GPT2PreTrainedModel):
    """GPT-2 that finds the answer to a question in a text: where it starts and ends."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.qa_outputs = nn.Linear(config.n_embd, 2)
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
        """Score every token as start and as end; see `GPT2Model` for the inputs.

        `start_positions`, `end_positions` (batch,): the first and last token of the answer; see `span_loss`.
        """
        batch_size, _ = read_shape(input_ids, inputs_embeds, self.config.n_embd)
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
