"""GPT-2 (Radford et al., 2019): token and position embeddings, a stack of causal pre-norm blocks, and a head.

Reads top to bottom: configuration, weight names, backbone, language model, further heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.files.weight_names import WeightTable, drop, rename, tie, transpose
from minitransformers.generation.search import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ends_are_known,
    check_ids,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    check_span,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.mask_arguments import check_context, read_causal_mask
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.nn.blocks import DecoderBlock
from minitransformers.nn.cache import KeyValueCache
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.heads import SequenceSummary, keep_positions, of_last_tokens
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import LearnedPositions, count_positions
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


# ---- weight names ----------------------------------------------------------------------------------------------------

# A block of GPT, first and second edition.
BLOCK_WEIGHTS = (
    drop("h.{layer}.attn.bias"),  # the causal mask, a buffer of old checkpoints
    drop("h.{layer}.attn.masked_bias"),
    # Matrices are stored as (in, out), and are (out, in) in nn.Linear.
    transpose("h.{layer}.attn.c_attn.weight", "blocks.{layer}.self_attention.query_key_value.weight"),
    rename("h.{layer}.attn.c_attn.bias", "blocks.{layer}.self_attention.query_key_value.bias"),
    transpose("h.{layer}.attn.c_proj.weight", "blocks.{layer}.self_attention.output.weight"),
    rename("h.{layer}.attn.c_proj.bias", "blocks.{layer}.self_attention.output.bias"),
    rename("h.{layer}.ln_1.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    transpose("h.{layer}.mlp.c_fc.weight", "blocks.{layer}.feed_forward.intermediate.weight"),
    rename("h.{layer}.mlp.c_fc.bias", "blocks.{layer}.feed_forward.intermediate.bias"),
    transpose("h.{layer}.mlp.c_proj.weight", "blocks.{layer}.feed_forward.output.weight"),
    rename("h.{layer}.mlp.c_proj.bias", "blocks.{layer}.feed_forward.output.bias"),
    rename("h.{layer}.ln_2.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
)

WEIGHTS = WeightTable(
    rename("wte.weight", "token_embedding.weight"),
    rename("wpe.weight", "position_embedding.weight"),
    *BLOCK_WEIGHTS,
    drop("h.{layer}.crossattention.bias"),
    drop("h.{layer}.crossattention.masked_bias"),
    transpose("h.{layer}.crossattention.q_attn.weight", "blocks.{layer}.cross_attention.query.weight"),
    rename("h.{layer}.crossattention.q_attn.bias", "blocks.{layer}.cross_attention.query.bias"),
    transpose("h.{layer}.crossattention.c_attn.weight", "blocks.{layer}.cross_attention.key_value.weight"),
    rename("h.{layer}.crossattention.c_attn.bias", "blocks.{layer}.cross_attention.key_value.bias"),
    transpose("h.{layer}.crossattention.c_proj.weight", "blocks.{layer}.cross_attention.output.weight"),
    rename("h.{layer}.crossattention.c_proj.bias", "blocks.{layer}.cross_attention.output.bias"),
    rename("h.{layer}.ln_cross_attn.{kind}", "blocks.{layer}.cross_attention_norm.{kind}"),
    rename("ln_f.{kind}", "final_norm.{kind}"),
    # Heads
    tie("lm_head.weight", to="transformer.token_embedding.weight"),
    rename("multiple_choice_head.summary.{kind}", "multiple_choice_head.projection.{kind}"),
    base="transformer",
)


# ---- the backbone ----------------------------------------------------------------------------------------------------


class GPT2PreTrainedModel(PreTrainedModel):
    """What all GPT-2 classes share."""

    config_class = GPT2Config
    base_model_prefix = "transformer"
    weights = WEIGHTS
    optional_weights = (".cross_attention.", ".cross_attention_norm.")

    config: GPT2Config

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """As everywhere, except for layers that write into the residual stream: divided by √(number of them) (§2.3)."""
        super().init_parameter(module, name, parameter)
        if name == "weight" and getattr(module, "writes_to_residual", False):
            parameter.div_((2 * self.config.n_layer) ** 0.5)


class GPT2Model(GPT2PreTrainedModel):
    """Embeddings → causal blocks → final norm: a vector for every token, made from it and those before it."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = LearnedPositions(config.n_positions, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(_block(config, layer) for layer in range(config.n_layer))
        self.final_norm = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
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
        past_key_values: KeyValueCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or the next tokens of one.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place: the tokens that are
                not in the cache yet.
            past_key_values: the cache of an earlier call; `use_cache` returns one.
            attention_mask: (batch, cached + length) with 1 for tokens and 0 for padding, or (batch, heads, query,
                key); see `read_attention_mask`.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted on from the cache if None, padding included. Where there is neither
                mask nor cache and positions start anew, the row is several documents that do not see each other.
            encoder_hidden_states, encoder_attention_mask: what cross-attention attends to.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, config.n_embd)
        use_cache = self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.length
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("token_type_ids", token_type_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("position_ids", position_ids, (batch_size, length), config.n_positions, "n_positions")
        if position_ids is None:
            check_length(length, past_length, config.n_positions)
        mask = read_causal_mask(
            attention_mask,
            position_ids,
            cache,
            batch_size=batch_size,
            length=length,
            num_heads=config.n_head,
            dtype=self.dtype,
            device=self.device,
        )
        context_mask = check_context(
            encoder_hidden_states,
            encoder_attention_mask,
            batch_size=batch_size,
            query_length=length,
            context_size=config.n_embd if config.add_cross_attention else None,
            num_heads=config.n_head,
            dtype=self.dtype,
            cache=cache,
        )

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(length, past_length, device=hidden_states.device)
        hidden_states = hidden_states + self.position_embedding(position_ids)
        if token_type_ids is not None:
            hidden_states = hidden_states + self.token_embedding(token_type_ids)
        hidden_states = self.dropout(hidden_states)

        all_hidden_states, attentions, cross_attentions = [], [], []
        for index, block in enumerate(self.blocks):
            all_hidden_states.append(hidden_states)
            hidden_states, attention, cross_attention = self.run_block(
                block,
                hidden_states,
                mask,
                context=encoder_hidden_states,
                context_mask=context_mask,
                cache=None if cache is None else cache.self_attention[index],
                cross_cache=None if cache is None else cache.cross_attention[index],
                kernel=kernel,
            )
            attentions.append(attention)
            cross_attentions.append(cross_attention)
        hidden_states = self.final_norm(hidden_states)
        all_hidden_states.append(hidden_states)  # of the last block, its normed output is given

        has_context = encoder_hidden_states is not None
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            cross_attentions=tuple(cross_attentions) if output_attentions and has_context else None,
        )


def _block(config: GPT2Config, layer: int) -> DecoderBlock:
    scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        scale /= layer + 1
    block = DecoderBlock(
        config.n_embd,
        config.n_head,
        config.intermediate_size,
        activation=config.activation_function,
        dropout=config.resid_pdrop,
        attention_dropout=config.attn_pdrop,
        eps=config.layer_norm_epsilon,
        pre_norm=True,
        cross_attention=config.add_cross_attention,
        fused=True,
        scale=scale,
        upcast=config.reorder_and_upcast_attn,
    )
    writers: tuple[Any, ...] = (block.self_attention.output, block.feed_forward.output)
    for writer in writers:
        writer.writes_to_residual = True
    return block


# ---- the language model ----------------------------------------------------------------------------------------------


class _WithLMHead(GPT2PreTrainedModel, GenerationMixin):
    """Models whose `lm_head` scores the vocabulary."""

    lm_head: nn.Linear

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings


class GPT2LMHeadModel(_WithLMHead):
    """GPT-2 as a language model: which token comes next (§2)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score every next token; see `GPT2Model` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.n_embd)
        check_labels(labels, shape, self.config.vocab_size)
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
        return CausalLMOutputWithCrossAttentions(
            loss,
            logits,
            decoded.past_key_values,
            decoded.hidden_states,
            decoded.attentions,
            decoded.cross_attentions,
        )


class GPT2DoubleHeadsModel(_WithLMHead):
    """GPT-2 as a language model that also chooses among continuations (Radford et al., 2018, §3.2 and figure 1)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        config.num_labels = 1  # one score for each choice
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        output_size = 1 if config.summary_proj_to_labels else config.n_embd
        self.multiple_choice_head = SequenceSummary(
            config.n_embd,
            output_size if config.summary_use_proj else None,
            pick=config.summary_type,
            activation=config.summary_activation,
            dropout=config.summary_first_dropout,
        )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
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
        past_key_values: KeyValueCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
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
        past_key_values: KeyValueCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start_logits, end_logits = self.qa_outputs(decoded.last_hidden_state).unbind(dim=-1)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, decoded.hidden_states, decoded.attentions)
