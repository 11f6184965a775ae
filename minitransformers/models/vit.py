"""The Vision Transformer (Dosovitskiy et al., 2020): patches of an image as a sequence, BERT's blocks, and a head.

Reads like the paper: configuration, weight names, embeddings (eq. 1), backbone (eq. 2 to 4), heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, constrained, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.weight_names import WeightTable, rename, stored
from minitransformers.models.base.checks import check_pixels, check_sequence_labels
from minitransformers.models.base.mask_arguments import check_mask
from minitransformers.models.base.pretrained import PreTrainedModel, attention_kernel_name
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.legacy_blocks import Block
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward, activation_function
from minitransformers.nn.losses import sequence_classification_loss
from minitransformers.nn.masks import can_read_values, read_attention_mask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.patches import PatchEmbedding, resize_positions
from minitransformers.outputs import BaseModelOutputWithPooling, ImageClassifierOutput, MaskedImageModelingOutput

# ---- configuration ---------------------------------------------------------------------------------------------------


def _is_size(value: int | list[int]) -> bool:
    sides = value if isinstance(value, list) else [value]
    return len(sides) == (2 if isinstance(value, list) else 1) and all(side >= 1 for side in sides)


def sides(default: int) -> Any:
    """A field that is a number of pixels, or [height, width] of them."""
    return constrained(default, _is_size, "a number of pixels of at least 1, or [height, width] of them")


class ImageConfig(Config):
    """What the configurations of ViT and its relatives have in common; the defaults are ViT-Base's (table 1)."""

    hidden_size: int = size(768)  # D
    num_hidden_layers: int = count(12)  # L
    num_attention_heads: int = size(12)
    hidden_act: str = choice("gelu", ACTIVATIONS)
    hidden_dropout_prob: float = probability(0.0)
    attention_probs_dropout_prob: float = probability(0.0)
    initializer_range: float = positive(0.02)
    layer_norm_eps: float = positive(1e-12)
    image_size: int | list[int] = sides(224)  # (H, W)
    patch_size: int | list[int] = sides(16)  # P
    num_channels: int = size(3)  # C
    qkv_bias: bool = True

    def validate(self) -> None:
        """Refuse what no model of images can be built from."""
        super().validate()
        self.check_multiple("hidden_size", of="num_attention_heads")
        if any(side % patch for side, patch in zip(_pair(self.image_size), _pair(self.patch_size), strict=True)):
            raise ConfigError(f"image_size={self.image_size} must be a multiple of patch_size={self.patch_size}.")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches in an image."""
        (height, width), (patch_height, patch_width) = _pair(self.image_size), _pair(self.patch_size)
        return height // patch_height, width // patch_width


class ViTConfig(ImageConfig):
    """The fields of ViT's config.json; the defaults are those of ViT-Base with patches of 16 × 16 (table 1)."""

    model_type = "vit"

    intermediate_size: int = size(3072)
    encoder_stride: int = size(16)
    pooler_output_size: int | None = size(None)  # None: hidden_size
    pooler_act: str = choice("tanh", ACTIVATIONS)

    def validate(self) -> None:
        """Refuse what no ViT can be built from."""
        super().validate()
        if self.pooler_output_size is None:
            self.pooler_output_size = self.hidden_size


def _pair(sizes: int | list[int]) -> tuple[int, int]:
    return (sizes, sizes) if isinstance(sizes, int) else (sizes[0], sizes[1])


# ---- weight names ----------------------------------------------------------------------------------------------------

WEIGHTS = WeightTable(
    # What files call it, of transformers 4 and 5 alike, and modules of 5
    stored("encoder.layer.{layer}.attention.attention.query.{kind}", of="layers.{layer}.attention.q_proj.{kind}"),
    stored("encoder.layer.{layer}.attention.attention.key.{kind}", of="layers.{layer}.attention.k_proj.{kind}"),
    stored("encoder.layer.{layer}.attention.attention.value.{kind}", of="layers.{layer}.attention.v_proj.{kind}"),
    stored("encoder.layer.{layer}.attention.output.dense.{kind}", of="layers.{layer}.attention.o_proj.{kind}"),
    stored("encoder.layer.{layer}.intermediate.dense.{kind}", of="layers.{layer}.mlp.fc1.{kind}"),
    stored("encoder.layer.{layer}.output.dense.{kind}", of="layers.{layer}.mlp.fc2.{kind}"),
    stored("encoder.layer.{layer}.{norm}.{kind}", of="layers.{layer}.{norm}.{kind}"),
    rename("embeddings.patch_embeddings.projection.{kind}", "embeddings.patch_embedding.projection.{kind}"),
    rename("layers.{layer}.attention.q_proj.{kind}", "blocks.{layer}.self_attention.query.{kind}"),
    rename("layers.{layer}.attention.k_proj.{kind}", "blocks.{layer}.self_attention.key.{kind}"),
    rename("layers.{layer}.attention.v_proj.{kind}", "blocks.{layer}.self_attention.value.{kind}"),
    rename("layers.{layer}.attention.o_proj.{kind}", "blocks.{layer}.self_attention.output.{kind}"),
    rename("layers.{layer}.layernorm_before.{kind}", "blocks.{layer}.self_attention_norm.{kind}"),
    rename("layers.{layer}.mlp.fc1.{kind}", "blocks.{layer}.feed_forward.intermediate.{kind}"),
    rename("layers.{layer}.mlp.fc2.{kind}", "blocks.{layer}.feed_forward.output.{kind}"),
    rename("layers.{layer}.layernorm_after.{kind}", "blocks.{layer}.feed_forward_norm.{kind}"),
    rename("layernorm.{kind}", "final_norm.{kind}"),
    base="vit",
)


# ---- embeddings (eq. 1) ----------------------------------------------------------------------------------------------


class ViTEmbeddings(nn.Module):
    """[class] token, then the patches' vectors; plus positions.

    Args:
        use_mask_token: have a vector that stands for patches that are hidden from the model.
    """

    def __init__(self, config: Config, use_mask_token: bool = False) -> None:
        super().__init__()
        rows, columns = self.grid = config.grid
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.hidden_size)) if use_mask_token else None
        self.patch_embedding = PatchEmbedding(config.num_channels, config.hidden_size, _pair(config.patch_size))
        self.position_embeddings = nn.Parameter(torch.empty(1, 1 + rows * columns, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor, is_hidden: Tensor | None = None) -> Tensor:
        """(batch, channels, height, width) pixels as (batch, 1 + patches, hidden).

        Args:
            is_hidden: (batch, patches), True where the mask token takes a patch's place.
        """
        patches = self.patch_embedding(pixel_values)
        if is_hidden is not None and self.mask_token is not None:
            patches = torch.where(is_hidden[..., None], self.mask_token, patches)
        hidden_states = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)

        height, width = self.patch_embedding.patch_size
        grid = (pixel_values.shape[2] // height, pixel_values.shape[3] // width)
        positions = torch.cat([self.position_embeddings[:, :1], self.positions_of_patches(grid)], dim=1)
        embedded: Tensor = self.dropout(hidden_states + positions)
        return embedded

    def positions_of_patches(self, grid: tuple[int, int]) -> Tensor:
        """(1, patches, hidden) for an image of (rows, columns) patches."""
        return resize_positions(self.position_embeddings[:, 1:], self.grid, grid)


# ---- the backbone (eq. 2 to 4) ---------------------------------------------------------------------------------------


class ViTPreTrainedModel(PreTrainedModel):
    """What all ViT classes share."""

    config_class: ClassVar[type[Config]] = ViTConfig
    base_model_prefix = "vit"
    weights = WEIGHTS
    optional_weights: ClassVar[tuple[str, ...]] = (".pooler.", ".mask_token")

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """As everywhere; the class token and positions truncated at two, the mask token 0."""
        if name == "mask_token":
            parameter.zero_()
        elif name in ("cls_token", "position_embeddings"):
            nn.init.trunc_normal_(parameter, std=self.config.initializer_range)
        else:
            super().init_parameter(module, name, parameter)


class ViTPooler(nn.Module):
    """activation(W · class token): a vector for the image, where a model has no head that makes one."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.pooler_output_size or config.hidden_size)
        self.activation = activation_function(config.pooler_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Pool (batch, length, hidden) into (batch, output)."""
        pooled: Tensor = self.activation(self.dense(hidden_states[:, 0]))
        return pooled


class ViTModel(ViTPreTrainedModel):
    """Embeddings → pre-norm blocks → norm → pooler: a vector for every patch, and in front of them one for the image.

    Args:
        add_pooling_layer: have a pooler.
        use_mask_token: let patches be hidden (`bool_masked_pos`).
    """

    embeddings_class: ClassVar[type[ViTEmbeddings]] = ViTEmbeddings

    def __init__(self, config: Config, add_pooling_layer: bool = True, use_mask_token: bool = False) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config, use_mask_token)
        self.blocks = nn.ModuleList(self.build_block() for _ in range(config.num_hidden_layers))
        self.final_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = ViTPooler(config) if add_pooling_layer else None
        self.post_init()

    def build_block(self) -> Block:
        """One of the blocks; relatives change it."""
        config = self.config
        attention = MultiHeadAttention(
            config.hidden_size, config.num_attention_heads, dropout=config.attention_probs_dropout_prob
        )
        if not config.qkv_bias:
            for projection in (attention.query, attention.key, attention.value):
                projection.register_parameter("bias", None)
        return Block(
            attention,
            FeedForward(config.hidden_size, config.intermediate_size, activation=config.hidden_act),
            lambda: LayerNorm(config.hidden_size, eps=config.layer_norm_eps),
            dropout=config.hidden_dropout_prob,
            pre_norm=True,
        )

    def get_input_embeddings(self) -> nn.Module:  # type: ignore[override]  # of patches, not of tokens
        """The patch embedding."""
        return self.embeddings.patch_embedding

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        attention_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: (batch, channels, height, width), as an image processor gives them; converted to the
                model's dtype.
            bool_masked_pos: (batch, patches), True where a patch is hidden; needs `use_mask_token=True`.
            interpolate_pos_encoding: take images of another size than `config.image_size`, with positions
                interpolated (§3.2); a multiple of the patch size all the same.
            attention_mask: (batch, 1 + patches) with 1 for what may be attended to, or (batch, heads, query, key); see
                `read_attention_mask`.
            output_attentions, output_hidden_states: None means what the config says.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kernel = attention_kernel_name(config, output_attentions)

        pixel_values = check_pixels(
            pixel_values,
            num_channels=config.num_channels,
            image_size=_pair(config.image_size),
            patch_size=_pair(config.patch_size),
            may_be_of_another_size=bool(interpolate_pos_encoding),
        )
        batch_size, _, height, width = pixel_values.shape
        patch_height, patch_width = _pair(config.patch_size)
        num_patches = (height // patch_height) * (width // patch_width)
        if bool_masked_pos is not None:
            _check_hidden(bool_masked_pos, (batch_size, num_patches), self.embeddings.mask_token is not None)
            bool_masked_pos = bool_masked_pos.to(device=pixel_values.device, dtype=torch.bool)
        check_mask("attention_mask", attention_mask, config.num_attention_heads)
        mask = read_attention_mask(
            attention_mask,
            batch_size=batch_size,
            query_length=1 + num_patches,
            key_length=1 + num_patches,
            is_causal=False,
            dtype=self.dtype,
            device=self.device,
        )

        hidden_states = self.embeddings(pixel_values.to(self.dtype), bool_masked_pos)
        all_hidden_states, attentions = [hidden_states], []
        for block in self.blocks:
            hidden_states, attention, _ = self.run_block(block, hidden_states, mask, kernel=kernel)
            all_hidden_states.append(hidden_states)
            attentions.append(attention)
        hidden_states = self.final_norm(hidden_states)  # not among `hidden_states`, which are the blocks'

        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=None if self.pooler is None else self.pooler(hidden_states),
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def _check_hidden(bool_masked_pos: Tensor, shape: tuple[int, int], has_mask_token: bool) -> None:
    if not has_mask_token:
        raise InputError(
            "bool_masked_pos needs a mask token: build the model with use_mask_token=True, or take "
            "ViTForMaskedImageModeling."
        )
    if not isinstance(bool_masked_pos, Tensor) or tuple(bool_masked_pos.shape) != shape:
        got = tuple(bool_masked_pos.shape) if isinstance(bool_masked_pos, Tensor) else type(bool_masked_pos).__name__
        raise InputError(f"bool_masked_pos is {got}; expected a tensor of (batch, patches) {shape}.")
    if bool_masked_pos.is_complex() or (
        can_read_values(bool_masked_pos) and not ((bool_masked_pos == 0) | (bool_masked_pos == 1)).all()
    ):
        raise InputError("bool_masked_pos must be True (hidden) or False for each patch.")


# ---- heads -----------------------------------------------------------------------------------------------------------


class ViTForImageClassification(ViTPreTrainedModel):
    """ViT with a linear layer over the class token: what an image shows (§3.1)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        attention_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ImageClassifierOutput:
        """Classify images; see `ViTModel` for the inputs.

        `labels`: classes (batch,), numbers (batch,) if there is one label, or 0/1 (batch, labels) as floating point;
        see `sequence_classification_loss`.
        """
        if isinstance(pixel_values, Tensor) and pixel_values.ndim:  # anything else is refused by the backbone
            check_sequence_labels(labels, pixel_values.shape[0], self.config.num_labels, self.config.problem_type)
        encoded = self.vit(
            pixel_values,
            interpolate_pos_encoding=interpolate_pos_encoding,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(encoded.last_hidden_state[:, 0])
        loss = None if labels is None else sequence_classification_loss(logits, labels, self.config.problem_type)
        return ImageClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ViTForMaskedImageModeling(ViTPreTrainedModel):
    """ViT that paints in hidden patches: one linear layer from each vector to its pixels (Xie et al., 2021, SimMIM)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False, use_mask_token=True)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.hidden_size, config.encoder_stride**2 * config.num_channels, kernel_size=1),
            nn.PixelShuffle(config.encoder_stride),  # a vector's numbers become a square of pixels
        )
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        attention_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedImageModelingOutput:
        """Reconstruct images; see `ViTModel` for the inputs.

        With `bool_masked_pos` there is a loss: the mean distance |x − x̂| over the pixels of hidden patches.
        """
        config = self.config
        patch_height, patch_width = _pair(config.patch_size)
        if bool_masked_pos is not None and {patch_height, patch_width} != {config.encoder_stride}:
            raise InputError(
                f"bool_masked_pos needs a reconstruction of the image's size: encoder_stride={config.encoder_stride} "
                f"must be patch_size={config.patch_size}."
            )
        encoded = self.vit(
            pixel_values,
            bool_masked_pos,
            interpolate_pos_encoding,
            attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        assert pixel_values is not None  # or the backbone would have refused
        rows = pixel_values.shape[2] // patch_height
        grid = rearrange(
            encoded.last_hidden_state[:, 1:], "batch (rows columns) hidden -> batch hidden rows columns", rows=rows
        )
        reconstruction = self.decoder(grid)
        loss = None
        if bool_masked_pos is not None:
            is_hidden = rearrange(bool_masked_pos.bool(), "batch (rows columns) -> batch 1 rows columns", rows=rows)
            is_hidden = is_hidden.repeat_interleave(patch_height, 2).repeat_interleave(patch_width, 3)
            distances = F.l1_loss(pixel_values, reconstruction, reduction="none") * is_hidden
            loss = distances.sum() / (is_hidden.sum() + 1e-5) / config.num_channels  # 0 where nothing is hidden
        return MaskedImageModelingOutput(loss, reconstruction, encoded.hidden_states, encoded.attentions)
