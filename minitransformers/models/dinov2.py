"""DINOv2 (Oquab et al., 2023): a ViT that learnt from images alone, without labels, to see what is in them.

What has changed since ViT (released code): each sub-layer's output is multiplied by a learned vector before it is added
(LayerScale), images may have any size, and a classifier looks at the mean of the patches beside the class token.
"""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from minitransformers.configs.fields import constrained, positive, size
from minitransformers.errors import ConfigError
from minitransformers.files.checkpoint_names import CheckpointNames, stored
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import check_sequence_labels
from minitransformers.models.base.inputs import Inputs, OutputOptions, Record
from minitransformers.models.vit import ImageConfig, ViTAttention, ViTEmbeddings, ViTMLP, ViTPreTrainedModel, sides
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.patches import resize_positions
from minitransformers.outputs import BaseModelOutput, BaseModelOutputWithPooling, ImageClassifierOutput

# ---- configuration ---------------------------------------------------------------------------------------------------


class Dinov2Config(ImageConfig):
    """The fields of DINOv2's config.json; the defaults are those of the base model, with smaller images."""

    model_type = "dinov2"

    mlp_ratio: int = size(4)  # intermediate_size / hidden_size
    layer_norm_eps: float = positive(1e-6)
    patch_size: int | list[int] = sides(14)
    layerscale_value: float = 1.0  # initial value of the learned vectors
    drop_path_rate: float = constrained(0.0, lambda rate: 0 <= rate < 1, "a number of at least 0 and below 1")
    use_swiglu_ffn: bool = False
    apply_layernorm: bool = True  # this and the next are for detectors, which are not covered
    reshape_hidden_states: bool = True
    use_mask_token: bool = True

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward network."""
        return self.hidden_size * self.mlp_ratio

    def validate(self) -> None:
        """Refuse values from which no DINOv2 can be built here."""
        super().validate()
        if self.use_swiglu_ffn:
            raise ConfigError(
                "use_swiglu_ffn=True, the giant model's gated network, is not covered: use the small, base or large "
                "model."
            )


# ---- parts -----------------------------------------------------------------------------------------------------------


class Dinov2Embeddings(ViTEmbeddings):
    """ViT's, whose positions are interpolated in at least float32; the mask token has one dimension less."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__(config, config.use_mask_token)
        if config.use_mask_token:
            self.mask_token = nn.Parameter(torch.empty(1, config.hidden_size))

    def positions_of_patches(self, grid: tuple[int, int]) -> Tensor:
        """(1, patches, hidden) for an image of (rows, columns) patches."""
        positions = self.position_embeddings[:, 1:]
        wide = positions.to(torch.promote_types(positions.dtype, torch.float32))
        return resize_positions(wide, self.grid, grid).to(positions.dtype)


class Dinov2Attention(ViTAttention):
    """ViT's."""


class Dinov2MLP(ViTMLP):
    """ViT's."""


class Dinov2LayerScale(nn.Module):
    """x · λ with a learned vector λ (LayerScale: Touvron et al., 2021, eq. 5).

    Deep networks train better if their sub-layers contribute little at first: λ may begin small.
    """

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.full((config.hidden_size,), config.layerscale_value))

    def forward(self, x: Tensor) -> Tensor:
        """Scale every feature."""
        return x * self.lambda1


class Dinov2DropPath(nn.Module):
    """Leave a sub-layer out for some images while training, and scale it up for the others (Huang et al., 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, hidden), where whole images are 0 and the others larger, so that the mean stays."""
        if not self.training:
            return x
        kept = (torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device) + 1 - self.rate).floor()
        return x / (1 - self.rate) * kept


class Dinov2Layer(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, each scaled and added to its input."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Dinov2Attention(config)
        self.layer_scale1 = Dinov2LayerScale(config)
        self.drop_path = Dinov2DropPath(config.drop_path_rate) if config.drop_path_rate > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Dinov2MLP(config)
        self.layer_scale2 = Dinov2LayerScale(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionMask | Tensor | None = None,
        *,
        kernel: str = "sdpa",
        record: Record | None = None,
    ) -> Tensor:
        """Transform (batch, length, hidden); `record` is given the attention weights."""
        x = hidden_states
        attended, weights = self.attention(self.norm1(x), attention_mask, kernel=kernel)
        x = x + self.drop_path(self.layer_scale1(attended))
        x = x + self.drop_path(self.layer_scale2(self.mlp(self.norm2(x))))
        if record is not None:
            record(weights, None)
        return x  # type: ignore[no-any-return]


class Dinov2Encoder(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Dinov2Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden_states: Tensor, inputs: Inputs) -> BaseModelOutput:
        """Run the blocks over embedded patches (batch, length, hidden)."""
        x = hidden_states
        for index, layer in enumerate(self.layer):
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        return BaseModelOutput(x, **inputs.kept())


# ---- the backbone ----------------------------------------------------------------------------------------------------


class Dinov2PreTrainedModel(ViTPreTrainedModel):
    """The base of all DINOv2 classes."""

    config_class = Dinov2Config
    base_model_prefix = "dinov2"
    checkpoint_names = CheckpointNames(
        stored("{layer...}.attention.attention.query.{kind}", "{layer...}.attention.q_proj.{kind}"),
        stored("{layer...}.attention.attention.key.{kind}", "{layer...}.attention.k_proj.{kind}"),
        stored("{layer...}.attention.attention.value.{kind}", "{layer...}.attention.v_proj.{kind}"),
        stored("{layer...}.attention.output.dense.{kind}", "{layer...}.attention.o_proj.{kind}"),
        base="dinov2",
    )
    optional_weights = (".mask_token",)
    _no_split_modules: ClassVar[list[str]] = ["Dinov2Embeddings", "Dinov2Layer"]

    def _init_weights(self, module: nn.Module) -> None:
        """As ViT's, matrices truncated at two; scales begin at `layerscale_value`."""
        super()._init_weights(module)
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, Dinov2LayerScale):
            nn.init.constant_(module.lambda1, self.config.layerscale_value)


class Dinov2Model(Dinov2PreTrainedModel):
    """ViT with scaled sub-layers: a vector for every patch, and before them one for the image."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__(config)
        self.embeddings = Dinov2Embeddings(config)
        self.encoder = Dinov2Encoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPooling:
        """Encode images of any size that is a multiple of the patch size; see `ViTModel` for the inputs.

        `pooler_output` is the class token's vector; `bool_masked_pos` needs `config.use_mask_token`.
        """
        has_mask_token = self.embeddings.mask_token is not None
        pixel_values, is_hidden, inputs = self.prepare_images(
            pixel_values, bool_masked_pos, attention_mask, has_mask_token=has_mask_token, any_size=True, **options
        )
        encoded = self.encoder(self.embeddings(pixel_values, is_hidden), inputs)
        x = self.layernorm(encoded.last_hidden_state)
        return BaseModelOutputWithPooling(x, x[:, 0], encoded.hidden_states, encoded.attentions)


# ---- the head --------------------------------------------------------------------------------------------------------


class Dinov2ForImageClassification(Dinov2PreTrainedModel):
    """DINOv2 with a linear layer over the class token and the mean of the patches: what an image shows."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__(config)
        self.dinov2 = Dinov2Model(config)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> ImageClassifierOutput:
        """Classify images; see `Dinov2Model` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        if isinstance(pixel_values, Tensor) and pixel_values.ndim:  # anything else is refused by the backbone
            check_sequence_labels(labels, len(pixel_values), self.config.num_labels, self.config.problem_type)
        encoded = self.dinov2(
            pixel_values,
            attention_mask=attention_mask,
            return_dict=True,
            **options,
        )
        class_token, patches = encoded.last_hidden_state[:, 0], encoded.last_hidden_state[:, 1:]
        logits = self.classifier(torch.cat([class_token, patches.mean(dim=1)], dim=1))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return ImageClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
