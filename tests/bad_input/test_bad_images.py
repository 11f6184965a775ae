"""Wrong arguments to models of images: each gives an error that names it and the remedy, before any layer computes."""

from __future__ import annotations

from typing import Any

import bad_input_models as tiny
import pytest
import torch
from hypothesis import event, given, strategies as st

import minitransformers as mt
from minitransformers import ConfigError, InputError, MinitransformersError, UnknownArgumentError

IMAGES = torch.zeros(2, 3, 8, 8)
MASK = torch.ones(2, 5, dtype=torch.long)
NAMES = ["ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling"]


def model(name: str, **overrides: Any) -> Any:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
    config = mt.ViTConfig(**{**sizes, "image_size": 8, "patch_size": 4, "encoder_stride": 4, **overrides})
    return getattr(mt, name)(config).eval()


INPUTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nothing", {}, ["Pass pixel_values", "image processor"]),
    ("a list", {"pixel_values": [[1.0]]}, ["pixel_values must be a floating-point tensor, got list"]),
    ("bytes", {"pixel_values": IMAGES.byte()}, ["torch.uint8", "image processor", "0 … 255"]),
    ("integers", {"pixel_values": IMAGES.long()}, ["torch.int64", "image processor"]),
    ("complex", {"pixel_values": IMAGES.to(torch.complex64)}, ["torch.complex64"]),
    ("one image", {"pixel_values": IMAGES[0]}, ["(3, 8, 8)", "(batch, channels, height, width)", "pixel_values[None]"]),
    ("five dimensions", {"pixel_values": IMAGES[None]}, ["(1, 2, 3, 8, 8)", "(batch, channels, height, width)"]),
    ("no images", {"pixel_values": IMAGES[:0]}, ["(0, 3, 8, 8)"]),
    ("grey images", {"pixel_values": IMAGES[:, :1]}, ["that is 1 channels", "num_channels=3"]),
    ("channels last", {"pixel_values": IMAGES.permute(0, 2, 3, 1)}, ["8 channels", "permute(0, 3, 1, 2)"]),
    (
        "another size",
        {"pixel_values": IMAGES.repeat(1, 1, 2, 1)},
        ["16 × 8 pixels", "image_size=(8, 8)", "interpolate_pos_encoding=True"],
    ),
    (
        "a size that patches do not divide",
        {"pixel_values": torch.zeros(1, 3, 8, 9), "interpolate_pos_encoding": True},
        ["8 × 9 pixels, which patches of 4 × 4 do not divide"],
    ),
    ("no pixels", {"pixel_values": torch.zeros(1, 3, 0, 8), "interpolate_pos_encoding": True}, ["0 × 8 pixels"]),
    ("a mask of patches only", {"pixel_values": IMAGES, "attention_mask": MASK[:, 1:]}, ["(2, 4)", "(2, 5)"]),
    ("a mask as a list", {"pixel_values": IMAGES, "attention_mask": MASK.tolist()}, ["attention_mask", "got list"]),
    ("a mask of halves", {"pixel_values": IMAGES, "attention_mask": MASK * 0.5}, ["other than 0", "1 (token)"]),
    (
        "a mask of too many heads",
        {"pixel_values": IMAGES, "attention_mask": torch.ones(2, 3, 5, 5).bool()},
        ["heads 2 or 1"],
    ),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("arguments", "parts"), [case[1:] for case in INPUTS], ids=[case[0] for case in INPUTS])
def test_inputs(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    made = model(name)
    with tiny.nothing_computes(), pytest.raises(InputError) as caught:
        made(**arguments)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "ViTModel",
            {"bool_masked_pos": MASK[:, 1:].bool()},
            "needs a mask token: build the model with use",
        ),
        ("ViTForMaskedImageModeling", {"bool_masked_pos": MASK.bool()}, r"\(2, 5\); expected .* \(2, 4\)"),
        ("ViTForMaskedImageModeling", {"bool_masked_pos": [[True] * 4] * 2}, "is list; expected a tensor"),
        ("ViTForMaskedImageModeling", {"bool_masked_pos": MASK[:, 1:] * 2}, "must be True .* or False"),
        ("ViTForImageClassification", {"labels": torch.tensor([0, 2])}, "labels holds 2; expected classes 0 … 1"),
        ("ViTForImageClassification", {"labels": torch.tensor([0])}, r"labels has shape \(1,\)"),
        ("ViTForImageClassification", {"labels": [0, 1]}, "labels must be a tensor of numbers, got list"),
    ],
)
def test_labels_and_hidden_patches(name: str, arguments: dict[str, Any], message: str) -> None:
    made = model(name)
    with tiny.nothing_computes(), pytest.raises(InputError, match=message):
        made(pixel_values=IMAGES, **arguments)


def test_a_reconstruction_of_another_size() -> None:
    made = model("ViTForMaskedImageModeling", encoder_stride=2)
    assert made(IMAGES).reconstruction.shape == (2, 3, 4, 4)
    with tiny.nothing_computes(), pytest.raises(InputError, match="encoder_stride=2 must be patch_size=4"):
        made(IMAGES, MASK[:, 1:].bool())


@pytest.mark.parametrize("name", NAMES)
def test_unknown_arguments(name: str) -> None:
    with pytest.raises(UnknownArgumentError, match=f"{name} takes no argument 'pixel_value'.*'pixel_values'"):
        model(name)(pixel_value=IMAGES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 10}, "image_size=10 must be a multiple of patch_size=4"),
        ({"image_size": [8, 10]}, "image_size=.* must be a multiple of patch_size=4"),
        ({"image_size": 0}, "image_size=0 must be a number of pixels of at least 1"),
        ({"image_size": [8]}, "image_size=.* must be a number of pixels"),
        ({"patch_size": "4"}, "patch_size='4' must be a number of pixels"),
        ({"num_attention_heads": 3}, "hidden_size=8 must be a multiple of num_attention_heads=3"),
        ({"pooler_act": "tan"}, "pooler_act='tan' must be one of"),
        ({"num_channels": 0}, "num_channels=0"),
    ],
)
def test_configurations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model("ViTModel", **fields)


def test_there_is_no_vocabulary() -> None:
    made = model("ViTModel")
    with pytest.raises(InputError, match="has no token embedding to resize"):
        made.resize_token_embeddings(3)
    with pytest.raises(AttributeError, match="ViTModel cannot continue a text"):
        made.generate()


def test_rectangles() -> None:
    """Images and patches may have sides of their own; 16-bit images are brought to the model's dtype."""
    made = model("ViTForImageClassification", image_size=[8, 12], patch_size=[4, 6])
    images = torch.randn(2, 3, 8, 12)
    logits = made(images, torch.tensor([0, 1])).logits
    assert logits.shape == (2, 2)
    torch.testing.assert_close(made(images.double()).logits, logits)
    assert made(torch.randn(1, 3, 12, 6), interpolate_pos_encoding=True).logits.shape == (1, 2)


# ---- whatever it is called with --------------------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Arguments of a call, more or less far from what they should be."""
    taken = set(getattr(mt, name)._forward_arguments)
    arguments: dict[str, Any] = {}
    for argument in [*draw(st.lists(st.sampled_from(sorted(taken)), max_size=3, unique=True)), "pixel_values"]:
        usual = {"pixel_values": [2, 3, 8, 8], "labels": [2], "bool_masked_pos": [2, 4], "attention_mask": [2, 5]}
        if argument not in usual:
            arguments[argument] = draw(st.booleans())
            continue
        shape = usual[argument]
        if draw(st.integers(0, 3)) == 0:
            place = draw(st.integers(0, len(shape) - 1))
            shape[place] = draw(st.sampled_from([0, 1, 4, 5, 12]))
        if draw(st.integers(0, 7)) == 0:
            shape = shape[1:]
        usual_dtype = torch.float32 if argument == "pixel_values" else torch.int64
        odd = [torch.bool, torch.uint8, torch.float16, torch.float64, torch.complex64, torch.int64]
        dtype = usual_dtype if draw(st.integers(0, 3)) else draw(st.sampled_from(odd))
        arguments[argument] = torch.ones(shape, dtype=dtype) if draw(st.integers(0, 19)) else "text"
    return arguments


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
def test_an_output_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    made, arguments = model(name), data.draw(calls(name))
    with tiny.layers_that_ran() as ran, torch.no_grad():
        error = None
        try:
            made(**arguments)
        except MinitransformersError as raised:
            error = raised
    event("works" if error is None else "is refused")
    assert error is None or not ran, f"{ran[0]} had computed before: {error}"
