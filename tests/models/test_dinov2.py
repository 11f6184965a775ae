"""DINOv2 where it is no ViT: scales, sub-layers that are left out, images of any size, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import minitransformers as mt
from minitransformers import ConfigError, InputError
from minitransformers.models.dinov2 import Dinov2DropPath, Dinov2LayerScale

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}


def model(name: str = "Dinov2Model", **fields: Any) -> Any:
    torch.manual_seed(0)
    return getattr(mt, name)(mt.Dinov2Config(**{**SMALL, **fields})).eval()


def test_scales_begin_where_the_config_says() -> None:
    scaled = [module for module in model(layerscale_value=1e-5).modules() if isinstance(module, Dinov2LayerScale)]
    assert len(scaled) == 4
    assert all(torch.equal(module.lambda1, torch.full((8,), 1e-5)) for module in scaled)


def test_a_block_without_scale_passes_its_input_on() -> None:
    encoded = model(layerscale_value=0.0)(IMAGES, output_hidden_states=True)
    first, *others = encoded.hidden_states
    assert all(torch.equal(first, other) for other in others)
    assert torch.equal(encoded.pooler_output, encoded.last_hidden_state[:, 0])


def test_sub_layers_are_left_out_for_whole_images() -> None:
    """A quarter of them while training, the others larger, so that the mean stays; none otherwise."""
    update, depth = torch.randn(4000, 2, 3), Dinov2DropPath(0.25)
    assert torch.equal(depth.eval()(update), update)
    torch.manual_seed(0)
    left = depth.train()(update)
    is_out = (left == 0).flatten(1).all(dim=1)
    torch.testing.assert_close(left[~is_out], update[~is_out] / 0.75)
    assert is_out.float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_training_leaves_sub_layers_out() -> None:
    made = model(drop_path_rate=0.5).train()
    torch.manual_seed(0)
    several = torch.stack([made(IMAGES).last_hidden_state for _ in range(16)])
    assert several.std(dim=0).max() > 0
    assert model(drop_path_rate=0.5)(IMAGES).last_hidden_state.equal(model()(IMAGES).last_hidden_state)


def test_images_of_any_size_that_patches_divide() -> None:
    made = model("Dinov2ForImageClassification", num_labels=3)
    assert made(torch.randn(1, 3, 4, 20)).logits.shape == (1, 3)
    with pytest.raises(InputError, match="8 × 9 pixels, which patches of 4 × 4 do not divide"):
        made(torch.randn(1, 3, 8, 9))
    with pytest.raises(mt.errors.UnknownArgumentError, match="interpolate_pos_encoding"):
        made(IMAGES, interpolate_pos_encoding=True)


def test_hidden_patches_need_a_mask_token() -> None:
    hidden = torch.tensor([[True, False, False, True]] * 2)
    assert not model()(IMAGES, hidden).last_hidden_state.equal(model()(IMAGES).last_hidden_state)
    with pytest.raises(InputError, match="needs a mask token: build the model with use_mask_token=True"):
        model(use_mask_token=False)(IMAGES, hidden)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"use_swiglu_ffn": True}, "use_swiglu_ffn=True, the giant model's gated network, is not covered"),
        ({"drop_path_rate": 1.0}, "drop_path_rate=1.0 must be a number of at least 0 and below 1"),
        ({"mlp_ratio": 0}, "mlp_ratio=0 must be"),
        ({"patch_size": 0}, "patch_size=0 must be a number of pixels"),
        ({"image_size": 10}, "image_size=10 must be a multiple of patch_size=4"),
        ({"num_attention_heads": 3}, "hidden_size=8 must be a multiple of num_attention_heads=3"),
    ],
)
def test_configurations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model(**fields)


def test_labels_are_checked_first() -> None:
    with pytest.raises(InputError, match="labels holds 2; expected classes 0 … 1"):
        model("Dinov2ForImageClassification")(IMAGES, torch.tensor([0, 2]))
