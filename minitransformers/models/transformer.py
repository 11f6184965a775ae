"""The transformer of "Attention is all you need" (Vaswani et al., 2017), for translating one sequence into another.

Reads top to bottom like the paper's §3: configuration, encoder, decoder, both over one embedding, and the model that
writes. `transformers` has no class for it. Its blocks are the textbook's, `nn.EncoderBlock` and `nn.DecoderBlock`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, positive, probability, size
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.encoder_decoder import EncoderDecoderModel
from minitransformers.models.base.inputs import Inputs, OutputOptions
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.cache import Cache
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.nn.losses import IGNORED, token_cross_entropy
from minitransformers.nn.positions import SinusoidalPositions
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
        """Refuse values from which no transformer can be built."""
        super().validate()
        self.check_multiple("d_model", of="num_heads")


# ---- encoder and decoder ---------------------------------------------------------------------------------------------


class TransformerPreTrainedModel(EncoderDecoderModel):
    """The base of all classes of the original transformer."""

    config_class = TransformerConfig
    base_model_prefix = "transformer"
    checkpoint_names = CheckpointNames(base="transformer")
    _output_embeddings = "lm_head"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        **{f"{part}.token_embedding.weight": "shared.weight" for part in ("encoder", "decoder")},
        **{
            f"transformer.{part}.token_embedding.weight": "transformer.shared.weight" for part in ("encoder", "decoder")
        },
        "lm_head.weight": "transformer.shared.weight",
    }
    _no_split_modules: ClassVar[list[str]] = ["TransformerEncoderBlock", "TransformerDecoderBlock"]

    config: TransformerConfig

    def _init_weights(self, module: nn.Module) -> None:
        """N(0, 1/d_model) for embeddings, which are scaled by √d_model; matrices by Glorot & Bengio (2010)."""
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, self.config.d_model**-0.5)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


class TransformerEncoderBlock(GradientCheckpointingLayer, EncoderBlock):
    """The textbook's encoder block, which gradient checkpointing can compute again."""


class TransformerDecoderBlock(GradientCheckpointingLayer, DecoderBlock):
    """The textbook's decoder block, likewise."""


class TransformerStack(TransformerPreTrainedModel):
    """Six post-norm blocks over tokens and positions: the encoder or, with attention to it, the decoder (§3.1)."""

    _input_embeddings = "token_embedding"

    def __init__(self, config: TransformerConfig, *, is_decoder: bool) -> None:
        super().__init__(config)
        self.is_decoder = is_decoder
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = SinusoidalPositions(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        options: dict[str, Any] = {
            "activation": config.activation_function,
            "dropout": config.dropout,
            "eps": config.layer_norm_eps,
            "pre_norm": False,
        }
        if is_decoder:
            options["cross_attention"] = True
        block_class = TransformerDecoderBlock if is_decoder else TransformerEncoderBlock
        self.blocks = nn.ModuleList(
            block_class(config.d_model, config.num_heads, config.d_ff, **options) for _ in range(config.num_layers)
        )
        self.post_init()

    def prepare_inputs(self, *arguments: Any, **options: Any) -> Inputs:
        """As in every model; positions are always counted, and have no limit."""
        return super().prepare_inputs(
            *arguments,
            **options,
            is_causal=self.is_decoder,
            max_positions=None,
            has_cross_attention=self.is_decoder,
            documents=False,
            takes_positions=False,
            widens=False,
            prefix="decoder_" if self.is_decoder else "",
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Encode a batch, or decode the next tokens of one; the arguments are those of `T5Stack`.

        The decoder is causal whatever `attention_mask` allows.
        """
        inputs = self.prepare_inputs(
            input_ids,
            inputs_embeds,
            attention_mask,
            None,
            None,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache,
            **options,
        )
        if inputs_embeds is None:
            inputs_embeds = self.token_embedding(input_ids) * self.config.d_model**0.5  # §3.4
        x = self.dropout(inputs_embeds + self.positions(inputs.position_ids).to(inputs_embeds.dtype))
        for index, block in enumerate(self.blocks):
            inputs.keep(x)
            arguments = inputs.for_layer(index)
            record = arguments.pop("record")
            x, weights, cross_weights = block(x, inputs.mask, **arguments)
            if record is not None:
                record(weights, cross_weights)
        inputs.keep(x)
        return BaseModelOutputWithPastAndCrossAttentions(x, inputs.past_key_values, **inputs.kept(cross=True))


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
        **options: Unpack[OutputOptions],
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
            **options,
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
        **options: Unpack[OutputOptions],
    ) -> Seq2SeqLMOutput:
        """Score every next token of the target; the arguments are those of `T5ForConditionalGeneration`.

        While training, the loss has `label_smoothing`: a part of each label's weight is spread over all tokens (§5.4).
        """
        decoder_input_ids = self.decoder_input_ids_for(labels, decoder_input_ids, decoder_inputs_embeds)
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
            return_dict=True,
            **options,
        )
        logits = self.lm_head(decoded.last_hidden_state)
        loss = None
        if labels is not None and self.training:
            smoothing, targets = self.config.label_smoothing, labels.flatten().long()
            loss = F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, label_smoothing=smoothing)
        elif labels is not None:
            loss = token_cross_entropy(logits, labels.view(logits.shape[:2]))
        return Seq2SeqLMOutput(loss, logits, **decoded.all_but_last_hidden_state())
