"""DINOv2 (Oquab et al., 2023): a ViT that learnt from images alone, without labels, to see what is in them.

What has changed since ViT (released code): each sub-layer's output is multiplied by a learned vector before it is added
(LayerScale), images may have any size, and a classifier looks at the mean of the patches beside the class token.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import constrained, positive, size
from minitransformers.errors import ConfigError
from minitransformers.files.weight_names import WeightTable, rename, stored
from minitransformers.models.base.checks import check_sequence_labels
from minitransformers.models.vit import ImageConfig, ViTEmbeddings, ViTModel, ViTPreTrainedModel, sides
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.losses import sequence_classification_loss
from minitransformers.nn.patches import resize_positions
from minitransformers.outputs import BaseModelOutputWithPooling, ImageClassifierOutput

# ---- configuration ---------------------------------------------------------------------------------------------------


class Dinov2Config(ImageConfig):
    """The fields of DINOv2's config.json; the defaults are those of the base model, with smaller images."""

    model_type = "dinov2"

    mlp_ratio: int = size(4)  # intermediate_size / hidden_size
    layer_norm_eps: float = positive(1e-6)
    patch_size: int | list[int] = sides(14)
    layerscale_value: float = 1.0  # the first value of the learned vectors
    drop_path_rate: float = constrained(0.0, lambda rate: 0 <= rate < 1, "a number of at least 0 and below 1")
    use_swiglu_ffn: bool = False
    apply_layernorm: bool = True  # this and the next: of its use in detectors, which is not covered
    reshape_hidden_states: bool = True
    use_mask_token: bool = True

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward network."""
        return self.hidden_size * self.mlp_ratio

    def validate(self) -> None:
        """Refuse what no DINOv2 can be built from here."""
        super().validate()
        if self.use_swiglu_ffn:
            raise ConfigError(
                "use_swiglu_ffn=True, the giant model's gated network, is not covered: take the small, base or large "
                "model."
            )


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    # What files call it, and modules of transformers 5
    stored("{layer...}.attention.attention.query.{kind}", of="{layer...}.attention.q_proj.{kind}"),
    stored("{layer...}.attention.attention.key.{kind}", of="{layer...}.attention.k_proj.{kind}"),
    stored("{layer...}.attention.attention.value.{kind}", of="{layer...}.attention.v_proj.{kind}"),
    stored("{layer...}.attention.output.dense.{kind}", of="{layer...}.attention.o_proj.{kind}"),
    rename("embeddings.patch_embeddings.projection.{kind}", "embeddings.patch_embedding.projection.{kind}"),
    rename("encoder.layer.{layer}.norm1.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("encoder.layer.{layer}.attention.q_proj.{kind}", "blocks.{layer}.self_attention.query.{kind}"),
    rename("encoder.layer.{layer}.attention.k_proj.{kind}", "blocks.{layer}.self_attention.key.{kind}"),
    rename("encoder.layer.{layer}.attention.v_proj.{kind}", "blocks.{layer}.self_attention.value.{kind}"),
    # Before the rules for weight and bias of the same layers: the first that matches counts.
    rename("encoder.layer.{layer}.layer_scale1.lambda1", "blocks.{layer}.self_attention.output.scale"),
    rename("encoder.layer.{layer}.attention.o_proj.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("encoder.layer.{layer}.norm2.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    rename("encoder.layer.{layer}.mlp.fc1.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("encoder.layer.{layer}.layer_scale2.lambda1", "blocks.{layer}.feed_forward.output.scale"),
    rename("encoder.layer.{layer}.mlp.fc2.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("layernorm.{kind}", "final_norm.{kind}"),
    base="dinov2",
)


# ---- parts -----------------------------------------------------------------------------------------------------------


class Dinov2Embeddings(ViTEmbeddings):
    """ViT's, whose positions are interpolated in at least float32; the mask token has a dimension less."""

    def __init__(self, config: Config, use_mask_token: bool = False) -> None:
        super().__init__(config, use_mask_token)
        if use_mask_token:
            self.mask_token = nn.Parameter(torch.empty(1, config.hidden_size))

    def positions_of_patches(self, grid: tuple[int, int]) -> Tensor:
        """(1, patches, hidden) for an image of (rows, columns) patches."""
        positions = self.position_embeddings[:, 1:]
        wide = positions.to(torch.promote_types(positions.dtype, torch.float32))
        return resize_positions(wide, self.grid, grid).to(positions.dtype)


class ScaledLinear(nn.Linear):
    """The last layer of a sub-layer, whose output is multiplied by a vector (LayerScale: Touvron et al., 2021, eq. 5).

    A deep network trains better if its sub-layers begin with little to say: there, the vector begins small.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.scale = nn.Parameter(torch.empty(out_features))

    def forward(self, input: Tensor) -> Tensor:
        """Project and scale."""
        return super().forward(input) * self.scale


class StochasticDepth(nn.Dropout):
    """While training, leave a sub-layer out, for each image by itself, and make up for it (Huang et al., 2016)."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, length, hidden), all of some images 0 and the others larger, so that the mean stays."""
        return input * super().forward(input.new_ones(len(input), 1, 1))


# ---- the backbone ----------------------------------------------------------------------------------------------------


class Dinov2PreTrainedModel(ViTPreTrainedModel):
    """What all DINOv2 classes share."""

    config_class = Dinov2Config
    base_model_prefix = "dinov2"
    weights = WEIGHTS
    optional_weights = (".mask_token",)

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """As ViT's; scales begin at `layerscale_value`."""
        if name == "scale":
            parameter.fill_(self.config.layerscale_value)
        else:
            super().init_parameter(module, name, parameter)


class Dinov2Model(Dinov2PreTrainedModel, ViTModel):
    """ViT with scaled sub-layers: a vector for every patch, and in front of them one for the image."""

    embeddings_class = Dinov2Embeddings

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__(config, add_pooling_layer=False, use_mask_token=config.use_mask_token)

    def build_block(self) -> Block:
        """ViT's, scaled; there is no dropout in it but that of whole sub-layers."""
        config, block = self.config, super().build_block()
        block.self_attention.output = ScaledLinear(config.hidden_size, config.hidden_size)
        block.feed_forward.output = ScaledLinear(config.intermediate_size, config.hidden_size)
        block.dropout = StochasticDepth(config.drop_path_rate)
        return block

    def forward(  # type: ignore[override]  # an argument less: images of all sizes are taken
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode images of any size that is a multiple of the patch size; see `ViTModel` for the inputs.

        `pooler_output` is the class token's vector; `bool_masked_pos` needs `config.use_mask_token`.
        """
        encoded = super().forward(
            pixel_values,
            bool_masked_pos,
            True,
            attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        assert encoded.last_hidden_state is not None
        return dataclasses.replace(encoded, pooler_output=encoded.last_hidden_state[:, 0])


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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
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
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        class_token, patches = encoded.last_hidden_state[:, 0], encoded.last_hidden_state[:, 1:]
        logits = self.classifier(torch.cat([class_token, patches.mean(dim=1)], dim=1))
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return ImageClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
