"""The transformer of "Attention is all you need" (Vaswani et al., 2017), for translating one sequence into another.

Reads top to bottom like the paper's §3: configuration, encoder, decoder, both over one embedding, and the model that
writes. `transformers` has no class for it; weights have our names in files too.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, positive, probability, size
from minitransformers.files.weight_names import WeightTable, tie
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checks import check_dtype, check_ids, check_labels, read_shape
from minitransformers.models.base.encoder_decoder import EncoderDecoderModel
from minitransformers.models.base.mask_arguments import check_context, check_mask
from minitransformers.models.base.pretrained import attention_kernel_name
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward
from minitransformers.nn.losses import IGNORED, token_cross_entropy
from minitransformers.nn.masks import read_attention_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import SinusoidalPositions, count_positions
from minitransformers.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)

# ---- configuration ---------------------------------------------------------------------------------------------------


class TransformerConfig(Config):
    """The base model's sizes (table 3); the big one has d_model=1024, d_ff=4096, num_heads=16 and dropout=0.3."""

    model_type = "transformer"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
    }

    vocab_size: int = size(37000)  # byte pairs shared by English and German (§5.1)
    d_model: int = size(512)
    d_ff: int = size(2048)
    num_layers: int = size(6)  # of the encoder, and of the decoder
    num_heads: int = size(8)
    activation_function: str = choice("relu", ACTIVATIONS)
    dropout: float = probability(0.1)
    label_smoothing: float = probability(0.1)  # of the loss, while training (§5.4)
    layer_norm_eps: float = positive(1e-5)
    initializer_range: float = positive(0.02)
    use_cache: bool = True
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1

    def validate(self) -> None:
        """Refuse what no transformer can be built from."""
        super().validate()
        self.check_multiple("d_model", of="num_heads")


# ---- encoder and decoder ---------------------------------------------------------------------------------------------


class TransformerPreTrainedModel(EncoderDecoderModel):
    """What all classes of the original transformer share."""

    config_class = TransformerConfig
    base_model_prefix = "transformer"
    weights = WeightTable(
        *(
            tie(f"{prefix}{part}.token_embedding.weight", to=f"{prefix}shared.weight")
            for prefix in ("", "transformer.")
            for part in ("encoder", "decoder")
        ),
        tie("lm_head.weight", to="transformer.shared.weight"),
        base="transformer",
    )

    config: TransformerConfig

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """N(0, 1/d_model) for embeddings, which are scaled by √d_model; matrices by Glorot & Bengio (2010)."""
        if isinstance(module, nn.Embedding):
            parameter.normal_(0.0, self.config.d_model**-0.5)
        elif parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            super().init_parameter(module, name, parameter)


class TransformerStack(TransformerPreTrainedModel):
    """Six blocks over tokens and positions: the encoder or, causal and with attention to it, the decoder (§3.1)."""

    def __init__(self, config: TransformerConfig, *, is_decoder: bool) -> None:
        super().__init__(config)
        self.is_decoder = is_decoder
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = SinusoidalPositions(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(_block(config, is_decoder) for _ in range(config.num_layers))
        self.post_init()

    @property
    def cache_layout(self) -> tuple[int, int, int]:
        """Layers, heads, and the width of a head."""
        config = self.config
        return config.num_layers, config.num_heads, config.d_model // config.num_heads

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding, here only."""
        self.token_embedding = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or decode the next tokens of one; the arguments are those of `T5Stack`."""
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        prefix = "decoder_" if self.is_decoder else ""
        batch_size, length = read_shape(input_ids, inputs_embeds, config.d_model, prefix)
        use_cache = self.is_decoder and self.uses_cache(use_cache)
        cache = self.read_cache(past_key_values, use_cache, batch_size)
        past_length = 0 if cache is None else cache.get_seq_length()
        check_dtype(f"{prefix}inputs_embeds", inputs_embeds, self.dtype)
        check_mask(f"{prefix}attention_mask", attention_mask, config.num_heads)
        check_ids(f"{prefix}input_ids", input_ids, (batch_size, length), config.vocab_size, "vocab_size")
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=length,
            key_length=past_length + length,
            is_causal=self.is_decoder,
            dtype=self.dtype,
            device=self.device,
            name=f"{prefix}attention_mask",
        )
        context_mask = check_context(
            encoder_hidden_states,
            encoder_attention_mask,
            batch_size=batch_size,
            query_length=length,
            context_size=config.d_model if self.is_decoder else None,
            num_heads=config.num_heads,
            dtype=self.dtype,
            cache=cache,
        )

        if inputs_embeds is None:
            inputs_embeds = self.token_embedding(input_ids) * config.d_model**0.5  # §3.4
        positions = self.positions(count_positions(length, past_length, device=self.device))
        hidden_states = self.dropout(inputs_embeds + positions.to(inputs_embeds.dtype))

        all_hidden_states, attentions, cross_attentions = [hidden_states], [], []
        for index, block in enumerate(self.blocks):
            hidden_states, attention, cross_attention = self.run_block(
                block,
                hidden_states,
                mask,
                context=encoder_hidden_states,
                context_mask=context_mask,
                cache=None if cache is None else cache.self_layer(index),
                cross_cache=None if cache is None else cache.cross_layer(index),
                kernel=kernel,
            )
            all_hidden_states.append(hidden_states)
            attentions.append(attention)
            cross_attentions.append(cross_attention)

        has_context = encoder_hidden_states is not None
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=cache if use_cache else None,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            cross_attentions=tuple(cross_attentions) if output_attentions and has_context else None,
        )


def _block(config: TransformerConfig, is_decoder: bool) -> Block:
    def attention(**kind: bool) -> MultiHeadAttention:
        return MultiHeadAttention(config.d_model, config.num_heads, **kind)

    return Block(
        attention(causal=is_decoder),
        FeedForward(config.d_model, config.d_ff, activation=config.activation_function),
        lambda: LayerNorm(config.d_model, eps=config.layer_norm_eps),
        cross_attention=attention(cross=True) if is_decoder else None,
        dropout=config.dropout,
        pre_norm=False,
    )


# ---- the whole -------------------------------------------------------------------------------------------------------


class TransformerModel(TransformerPreTrainedModel):
    """Encoder and decoder: a vector for every token of the target, made from it, those before it, and the source."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = TransformerStack(config, is_decoder=False)
        self.decoder = TransformerStack(config, is_decoder=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqModelOutput:
        """Encode the source and decode the target; the arguments are those of `T5Model`."""
        return self.encode_and_decode(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            past_key_values,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
        )


class TransformerForConditionalGeneration(TransformerPreTrainedModel, GenerationMixin):
    """The whole transformer: what token comes next in the target, given the source (figure 1).

    The layer that scores tokens is the embedding of both sides, unscaled and without a bias (§3.4).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.transformer = TransformerModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The layer that scores the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary."""
        self.lm_head = embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqLMOutput:
        """Score every next token of the target; the arguments are those of `T5ForConditionalGeneration`.

        While training, the loss has `label_smoothing`: a part of each label's weight is spread over all tokens (§5.4).
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
        if labels is not None:
            shape = read_shape(decoder_input_ids, decoder_inputs_embeds, self.config.d_model, "decoder_")
            check_labels(labels, shape, self.config.vocab_size)
        decoded = self.transformer(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            past_key_values,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(decoded.last_hidden_state)
        loss = None
        if labels is not None and self.training:
            smoothing, targets = self.config.label_smoothing, labels.flatten().long()
            loss = F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, label_smoothing=smoothing)
        elif labels is not None:
            loss = token_cross_entropy(logits, labels.view(logits.shape[:2]))
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())
