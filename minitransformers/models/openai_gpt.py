"""GPT, the first (Radford et al., 2018): token and position embeddings, causal post-norm blocks, and a head.

GPT-2 grew out of it. Here each sub-layer is followed by its norm, and there is none at the end. As in `transformers`,
there is no cache of keys and values: every step of a generation computes the whole text.
"""

from __future__ import annotations

from typing import ClassVar, Unpack

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
    choices_shape,
    flatten_choices,
    read_shape,
)
from minitransformers.models.base.inputs import OutputOptions, Record
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.gpt2 import GPT2SequenceSummary
from minitransformers.nn.attention import attend
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.losses import (
    sequence_classification_loss,
    token_cross_entropy,
)
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.selection import keep_positions, of_last_tokens
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


# ---- blocks (§3.1) ---------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Causal attention whose queries, keys and values come from one projection."""

    bias: Tensor

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        # The causal mask, for scripts that read it; `attend` does not need it.
        mask = torch.ones(config.n_positions, config.n_positions).tril()[None, None]
        self.register_buffer("bias", mask, persistent=False)

    def forward(
        self, x: Tensor, mask: AttentionMask | Tensor | None = None, *, kernel: str = "sdpa"
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from and to `x` (batch, length, hidden)."""
        query, key, value = self.c_attn(x).chunk(3, dim=-1)
        attended, weights = attend(
            query, key, value, heads=self.heads, mask=mask, dropout=self.attn_dropout, kernel=kernel
        )
        return self.resid_dropout(self.c_proj(attended)), weights


class MLP(nn.Module):
    """The feed-forward network: c_proj(activation(c_fc(x)))."""

    def __init__(self, config: OpenAIGPTConfig, act: nn.Module) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.act = act
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token by itself."""
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))  # type: ignore[no-any-return]


class Block(GradientCheckpointingLayer):
    """Post-norm: each sub-layer's output is added to its input, then normalized."""

    def __init__(self, config: OpenAIGPTConfig, act: nn.Module) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config, act)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Transform (batch, length, hidden); returns that and the attention weights, which `record` is given too."""
        attended, weights = self.attn(hidden_states, attention_mask, kernel=kernel)
        x = self.ln_1(hidden_states + attended)
        x = self.ln_2(x + self.mlp(x))
        if record is not None:
            record(weights, None)
        return x, weights


# ---- the backbone (§3.1) ---------------------------------------------------------------------------------------------


class OpenAIGPTPreTrainedModel(PreTrainedModel):
    """The base of all GPT classes."""

    config_class = OpenAIGPTConfig
    base_model_prefix = "transformer"
    checkpoint_names = CheckpointNames(
        drop("h.{layer}.attn.bias"),  # the causal mask, a buffer of old checkpoints
        drop("h.{layer}.attn.masked_bias"),
        drop("position_ids"),
        # Matrices are stored as (in, out), and are (out, in) in nn.Linear.
        *(transpose(f"h.{{layer}}.{name}.weight") for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
        base="transformer",
    )
    _input_embeddings = "tokens_embed"
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "transformer.tokens_embed.weight"}

    config: OpenAIGPTConfig


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """Embeddings → causal blocks: a vector for every token, made from it and those before it (eq. 2)."""

    position_ids: Tensor

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        act = activation_function(_ACTIVATIONS[config.afn])  # one module for all blocks
        self.h = nn.ModuleList(Block(config, act) for _ in range(config.n_layer))
        self.register_buffer("position_ids", torch.arange(config.n_positions), persistent=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutput:
        """Encode a batch.

        Args:
            input_ids: (batch, length), or `inputs_embeds` (batch, length, hidden) in their place.
            attention_mask: (batch, length) with 1 for tokens and 0 for padding, or (batch, heads, query, key); see
                `read_attention_mask`.
            token_type_ids: (batch, length), ids of the vocabulary whose embeddings are added.
            position_ids: (batch, length); counted from 0 if None, padding included.
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
            use_cache=False,
            **options,
            is_causal=True,
            documents=False,
            max_positions="n_positions",
            token_types="vocab_size",
        )
        x = self.tokens_embed(input_ids) if inputs_embeds is None else inputs_embeds
        x = x + self.positions_embed(inputs.position_ids)
        if token_type_ids is not None:
            x = x + self.tokens_embed(token_type_ids)
        x = self.drop(x)
        for index, block in enumerate(self.h):
            inputs.keep(x)
            x, _ = block(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        return BaseModelOutput(x, **inputs.kept())


class OpenAIGPTSequenceSummary(GPT2SequenceSummary):
    """One vector for a sequence, then a projection: the multiple-choice head (§3.2)."""


# ---- the language model (§3.1) ---------------------------------------------------------------------------------------


class OpenAIGPTLMHeadModel(OpenAIGPTPreTrainedModel, GenerationMixin):
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
        *,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> CausalLMOutput:
        """Score every next token; see `OpenAIGPTModel` for the inputs.

        `labels` (batch, length) are shifted inside: pass `labels=input_ids`, with −100 where nothing is to be learnt.
        `logits_to_keep`, `num_items_in_batch` and `shift_labels`: see `keep_positions` and `ForCausalLMLoss`.
        """
        shape = read_shape(input_ids, inputs_embeds, self.config.n_embd)
        check_labels(labels, shape, self.config.vocab_size)
        check_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        check_logits_to_keep(logits_to_keep, shape, labels)
        decoded = self.transformer(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            return_dict=True,
            **options,
        )
        if labels is not None and self.skips_logits:
            x = decoded.last_hidden_state
            return CausalLMOutput(self.next_token_loss(self.lm_head, x, labels, num_items_in_batch, shift_labels))
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
        return CausalLMOutput(loss, logits, decoded.hidden_states, decoded.attentions)


# ---- fine-tuning (§3.2, §3.3) ----------------------------------------------------------------------------------------


class OpenAIGPTDoubleHeadsModel(OpenAIGPTPreTrainedModel, GenerationMixin):
    """GPT that chooses among continuations, with language modelling as a second objective (eq. 5, figure 1)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        config.num_labels = 1  # one score for each choice
        self.transformer = OpenAIGPTModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.multiple_choice_head = OpenAIGPTSequenceSummary(config)
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
        **options: Unpack[OutputOptions],
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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
        )
        logits = of_last_tokens(self.score(decoded.last_hidden_state), input_ids, self.config.pad_token_id)
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss, logits, decoded.hidden_states, decoded.attentions)
