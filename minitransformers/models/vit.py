"""The Vision Transformer (Dosovitskiy et al., 2020): patches of an image as a sequence, BERT's blocks, and a head.

Reads like the paper: configuration, embeddings (eq. 1), block (eq. 2 and 3), backbone (eq. 4), heads. Modules are named
as in transformers 5; files keep older names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, constrained, count, positive, probability, size
from minitransformers.errors import ConfigError, InputError
from minitransformers.files.checkpoint_names import CheckpointNames, stored
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.checks import can_read_values, check_pixels, check_sequence_labels
from minitransformers.models.base.inputs import Inputs, OutputOptions, Record
from minitransformers.models.base.masks import read_attention_mask
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.attention import attend
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.patches import PatchEmbedding, resize_positions
from minitransformers.nn.positions import count_positions
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


# ---- embeddings (eq. 1) ----------------------------------------------------------------------------------------------


class ViTPatchEmbeddings(PatchEmbedding):
    """A vector for each patch: one linear layer over its pixels (E)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config.num_channels, config.hidden_size, _pair(config.patch_size))


class ViTEmbeddings(nn.Module):
    """[class] token, then the patches' vectors; plus positions.

    Args:
        use_mask_token: have a vector that replaces patches that are hidden from the model.
    """

    def __init__(self, config: Any, use_mask_token: bool = False) -> None:
        super().__init__()
        rows, columns = self.grid = config.grid
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.hidden_size)) if use_mask_token else None
        self.patch_embeddings = ViTPatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(torch.empty(1, 1 + rows * columns, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor, is_hidden: Tensor | None = None) -> Tensor:
        """(batch, channels, height, width) pixels as (batch, 1 + patches, hidden).

        Args:
            is_hidden: (batch, patches), True where the mask token replaces a patch.
        """
        patches = self.patch_embeddings(pixel_values)
        if is_hidden is not None and self.mask_token is not None:
            patches = torch.where(is_hidden[..., None], self.mask_token, patches)
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)

        height, width = self.patch_embeddings.patch_size
        grid = (pixel_values.shape[2] // height, pixel_values.shape[3] // width)
        positions = torch.cat([self.position_embeddings[:, :1], self.positions_of_patches(grid)], dim=1)
        return self.dropout(x + positions)  # type: ignore[no-any-return]

    def positions_of_patches(self, grid: tuple[int, int]) -> Tensor:
        """(1, patches, hidden) for an image of (rows, columns) patches."""
        return resize_positions(self.position_embeddings[:, 1:], self.grid, grid)


# ---- block (eq. 2 and 3) ---------------------------------------------------------------------------------------------


class ViTAttention(nn.Module):
    """Bidirectional attention of several heads."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads, self.attention_dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: Tensor, mask: AttentionMask | Tensor | None = None, *, kernel: str = "sdpa"
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from and to `x` (batch, length, hidden)."""
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        dropout = self.attention_dropout if self.training else 0.0
        attended, weights = attend(query, key, value, heads=self.heads, mask=mask, dropout=dropout, kernel=kernel)
        return self.o_proj(attended), weights


class ViTMLP(nn.Module):
    """The feed-forward network: fc2(activation(fc1(x)))."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.activation_fn = activation_function(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every patch by itself."""
        return self.fc2(self.activation_fn(self.fc1(x)))  # type: ignore[no-any-return]


class ViTLayer(GradientCheckpointingLayer):
    """Pre-norm: attention and feed-forward, each added to its input."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = ViTAttention(config)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = ViTMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

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
        attended, weights = self.attention(self.layernorm_before(x), attention_mask, kernel=kernel)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.mlp(self.layernorm_after(x)))
        if record is not None:
            record(weights, None)
        return x  # type: ignore[no-any-return]


# ---- the backbone (eq. 4) --------------------------------------------------------------------------------------------


class ViTPreTrainedModel(PreTrainedModel):
    """The base of all ViT classes."""

    config_class: ClassVar[type[Config]] = ViTConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"
    checkpoint_names = CheckpointNames(
        stored("encoder.layer.{layer}.attention.attention.query.{kind}", "layers.{layer}.attention.q_proj.{kind}"),
        stored("encoder.layer.{layer}.attention.attention.key.{kind}", "layers.{layer}.attention.k_proj.{kind}"),
        stored("encoder.layer.{layer}.attention.attention.value.{kind}", "layers.{layer}.attention.v_proj.{kind}"),
        stored("encoder.layer.{layer}.attention.output.dense.{kind}", "layers.{layer}.attention.o_proj.{kind}"),
        stored("encoder.layer.{layer}.intermediate.dense.{kind}", "layers.{layer}.mlp.fc1.{kind}"),
        stored("encoder.layer.{layer}.output.dense.{kind}", "layers.{layer}.mlp.fc2.{kind}"),
        stored("encoder.layer.{layer}.{norm}.{kind}", "layers.{layer}.{norm}.{kind}"),
        base="vit",
    )
    optional_weights: ClassVar[tuple[str, ...]] = (".pooler.", ".mask_token")
    _input_embeddings = "embeddings.patch_embeddings"
    _no_split_modules: ClassVar[list[str]] = ["ViTEmbeddings", "ViTLayer"]

    config: Any

    def _init_weights(self, module: nn.Module) -> None:
        """As everywhere; the class token and positions truncated at two, the mask token 0."""
        super()._init_weights(module)
        if isinstance(module, ViTEmbeddings):
            nn.init.trunc_normal_(module.position_embeddings, std=self.config.initializer_range)
            nn.init.trunc_normal_(module.cls_token, std=self.config.initializer_range)
            if module.mask_token is not None:
                nn.init.zeros_(module.mask_token)

    def prepare_images(
        self,
        pixel_values: Tensor | None,
        bool_masked_pos: Tensor | None,
        attention_mask: Tensor | None,
        *,
        has_mask_token: bool,
        any_size: bool,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> tuple[Tensor, Tensor | None, Inputs]:
        """Check the arguments of `forward`; return pixels, hidden patches as bool, and what blocks need."""
        config = self.config
        pixel_values = check_pixels(
            pixel_values,
            num_channels=config.num_channels,
            image_size=_pair(config.image_size),
            patch_size=_pair(config.patch_size),
            may_be_of_another_size=any_size,
        )
        batch_size, _, height, width = pixel_values.shape
        patch_height, patch_width = _pair(config.patch_size)
        num_patches = (height // patch_height) * (width // patch_width)
        if bool_masked_pos is not None:
            _check_hidden(bool_masked_pos, (batch_size, num_patches), has_mask_token)
            bool_masked_pos = bool_masked_pos.to(device=pixel_values.device, dtype=torch.bool)
        length = 1 + num_patches
        mask = read_attention_mask(
            attention_mask,
            (batch_size, config.num_attention_heads, length, length),
            is_causal=False,
            dtype=self.dtype,
            device=self.device,
        )
        options = self.output_options(output_attentions, output_hidden_states)
        inputs = Inputs(batch_size, length, count_positions(length, device=self.device), mask, **options)
        return pixel_values.to(self.dtype), bool_masked_pos, inputs


class ViTPooler(nn.Module):
    """activation(dense(class token)): a vector for the image, in models without a head that makes one."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.pooler_output_size or config.hidden_size)
        self.activation = activation_function(config.pooler_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, hidden) to (batch, output)."""
        return self.activation(self.dense(hidden_states[:, 0]))  # type: ignore[no-any-return]


class ViTModel(ViTPreTrainedModel):
    """Embeddings → blocks → norm → pooler: a vector for every patch, and before them one for the image.

    Args:
        add_pooling_layer: have a pooler.
        use_mask_token: let patches be hidden (`bool_masked_pos`).
    """

    def __init__(self, config: ViTConfig, add_pooling_layer: bool = True, use_mask_token: bool = False) -> None:
        super().__init__(config)
        self.embeddings = ViTEmbeddings(config, use_mask_token)
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = ViTPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        attention_mask: Tensor | None = None,
        **options: Unpack[OutputOptions],
    ) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: (batch, channels, height, width), as an image processor returns them; converted to the
                model's dtype.
            bool_masked_pos: (batch, patches), True where a patch is hidden; needs `use_mask_token=True`.
            interpolate_pos_encoding: take images of another size than `config.image_size`, with positions
                interpolated (§3.2); the size must be a multiple of the patch size.
            attention_mask: (batch, 1 + patches) with 1 for what may be attended to, or (batch, heads, query, key); see
                `read_attention_mask`.
            options: `output_attentions`, `output_hidden_states`; None means the config's value.

        Raises:
            InputError: an argument whose shape, type or range is wrong.
        """
        pixel_values, is_hidden, inputs = self.prepare_images(
            pixel_values,
            bool_masked_pos,
            attention_mask,
            has_mask_token=self.embeddings.mask_token is not None,
            any_size=bool(interpolate_pos_encoding),
            **options,
        )
        x = self.embeddings(pixel_values, is_hidden)
        for index, layer in enumerate(self.layers):
            inputs.keep(x)
            x = layer(x, inputs.mask, **inputs.for_layer(index))
        inputs.keep(x)
        x = self.layernorm(x)  # not among the hidden states, which are those of blocks
        return BaseModelOutputWithPooling(x, None if self.pooler is None else self.pooler(x), **inputs.kept())


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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
        )
        logits = self.classifier(encoded.last_hidden_state[:, 0])
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
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
        **options: Unpack[OutputOptions],
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
            return_dict=True,
            **options,
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

    def _count_labels(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """The number of hidden patches, over which the loss is a mean (see training/loop/objective.py)."""
        hidden = batch.get("bool_masked_pos")
        return {} if hidden is None else {"bool_masked_pos": int(hidden.bool().sum())}
