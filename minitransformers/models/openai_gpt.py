"""GPT, the first (Radford et al., 2018): token and position embeddings, causal post-norm blocks, and a head.

GPT-2 grew out of it. Here norms stand behind each sub-layer and none at the end; and there is no cache of keys and
values, as in `transformers`, so that every step of a generation computes the whole text.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.files.weight_names import WeightTable, rename, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import (
    check_dtype,
    check_ends_are_known,
    check_ids,
    check_labels,
    check_length,
    check_logits_to_keep,
    check_sequence_labels,
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.mask_arguments import check_mask, warn_if_left_padded
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.models.gpt2 import BLOCK_WEIGHTS
from minitransformers.nn.legacy_blocks import DecoderBlock
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.heads import SequenceSummary, keep_positions, of_last_tokens
from minitransformers.nn.losses import (
    causal_lm_loss,
    sequence_classification_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import read_attention_mask
from minitransformers.nn.positions import LearnedPositions, count_positions
from minitransformers.outputs import (
    BaseModelOutput,
    CausalLMOutput,
    OpenAIGPTDoubleHeadsModelOutput,
    SequenceClassifierOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------

# What the field `afn` calls "gelu" is the tanh approximation, which other families' configs call "gelu_new".
_ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}


class OpenAIGPTConfig(Config):
    """The fields of GPT's config.json; the defaults are those of the paper (§4.1)."""

    model_type = "openai-gpt"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = size(40478)
    n_positions: int = size(512)
    n_embd: int = size(768)
    n_layer: int = count(12)
    n_head: int = size(12)
    afn: str = choice("gelu", _ACTIVATIONS)
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
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def validate(self) -> None:
        """Refuse what no GPT can be built from."""
        super().validate()
        self.check_multiple("n_embd", of="n_head")


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    rename("tokens_embed.weight", "token_embedding.weight"),
    rename("positions_embed.weight", "position_embedding.weight"),
    *BLOCK_WEIGHTS,
    # Heads
    tie("lm_head.weight", to="transformer.token_embedding.weight"),
    rename("multiple_choice_head.summary.{kind}", "multiple_choice_head.projection.{kind}"),
    base="transformer",
)


# ---- the backbone (§3.1) ---------------------------------------------------------------------------------------------


class OpenAIGPTPreTrainedModel(PreTrainedModel):
    """What all GPT classes share."""

    config_class = OpenAIGPTConfig
    base_model_prefix = "transformer"
    weights = WEIGHTS

    config: OpenAIGPTConfig


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """Embeddings → causal blocks: a vector for every token, made from it and those before it (eq. 2)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = LearnedPositions(config.n_positions, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                config.n_embd,
                config.n_head,
                4 * config.n_embd,
                activation=_ACTIVATIONS[config.afn],
                dropout=config.resid_pdrop,
                attention_dropout=config.attn_pdrop,
                eps=config.layer_norm_epsilon,
                pre_norm=False,
                fused=True,
            )
            for _ in range(config.n_layer)
        )
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
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted from 0 if None, padding included.
            output_attentions, output_hidden_states: None means what the config says.
            return_dict: see `PreTrainedModel.__call__`.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        batch_size, length = read_shape(input_ids, inputs_embeds, config.n_embd)
        check_dtype("inputs_embeds", inputs_embeds, self.dtype, may_be_widened=True)
        check_mask("attention_mask", attention_mask, config.n_head)
        check_ids("input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("token_type_ids", token_type_ids, (batch_size, length), config.vocab_size, "vocab_size")
        check_ids("position_ids", position_ids, (batch_size, length), config.n_positions, "n_positions")
        if position_ids is None:
            check_length(length, 0, config.n_positions)
        warn_if_left_padded(attention_mask, position_ids, 0)
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=length,
            is_causal=True,
            dtype=self.dtype,
            device=self.device,
        )

        hidden_states = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(length, device=hidden_states.device)
        hidden_states = hidden_states + self.position_embedding(position_ids)
        if token_type_ids is not None:
            hidden_states = hidden_states + self.token_embedding(token_type_ids)
        hidden_states = self.dropout(hidden_states)

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


# ---- the language model (§3.1) ---------------------------------------------------------------------------------------


class _WithLMHead(OpenAIGPTPreTrainedModel):
    """Models whose `lm_head` scores the vocabulary."""

    lm_head: nn.Linear

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings


class OpenAIGPTLMHeadModel(_WithLMHead, GenerationMixin):
    """GPT as a language model: which token comes next (eq. 1 and 2)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        num_items_in_batch: int | Tensor | None = None,
    ) -> CausalLMOutput:
        """Score every next token; see `OpenAIGPTModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep` and `num_items_in_batch`: see `keep_positions` and `token_cross_entropy`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.n_embd)
        check_labels(labels, shape, self.config.vocab_size)
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.transformer(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(keep_positions(decoded.last_hidden_state, logits_to_keep))
        loss = None if labels is None else causal_lm_loss(logits, labels.view(shape), num_items=num_items_in_batch)
        return CausalLMOutput(loss, logits, decoded.hidden_states, decoded.attentions)


# ---- fine-tuning (§3.2, §3.3) ----------------------------------------------------------------------------------------


class OpenAIGPTDoubleHeadsModel(_WithLMHead):
    """GPT that chooses among continuations, with language modelling as a second objective (eq. 5, figure 1)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        config.num_labels = 1  # one score for each choice
        self.transformer = OpenAIGPTModel(config)
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
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> OpenAIGPTDoubleHeadsModelOutput:
        """Score next tokens and choices; see `OpenAIGPTModel`.

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
            *map(flatten_choices, (input_ids, attention_mask, token_type_ids, position_ids)),
            flatten_choices(inputs_embeds, ndim=4),
            output_attentions,
            output_hidden_states,
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
        return OpenAIGPTDoubleHeadsModelOutput(
            loss,
            mc_loss,
            logits,
            mc_logits,
            # The reference gives the last hidden states in the input's dimensions, those of blocks in the backbone's.
            decoded.hidden_states and (*decoded.hidden_states[:-1], hidden_states),
            decoded.attentions,
        )


class OpenAIGPTForSequenceClassification(OpenAIGPTPreTrainedModel):
    """GPT with a linear layer over the last real token of each sequence (eq. 3)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify sequences; see `OpenAIGPTModel` for the inputs.

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
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)
