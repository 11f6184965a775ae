"""ViTImageProcessor against the reference's on PIL: the one that it has without torchvision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from PIL import Image
from torch.nn import functional as F

import minitransformers as mt
from minitransformers import AutoImageProcessor, CheckpointError, InputError, UnknownArgumentError, ViTImageProcessor

sizes = st.integers(1, 40)


@st.composite
def settings(draw: Any) -> dict[str, Any]:
    """Arguments of the constructor, other than resizing."""
    number = st.sampled_from([0.0, 0.5, 0.485])
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "do_rescale": st.booleans(),
                "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5, 1.0]),
                "do_normalize": st.booleans(),
                "image_mean": st.lists(number, min_size=3, max_size=3),
                "image_std": st.lists(st.sampled_from([0.5, 0.229, 2.0]), min_size=3, max_size=3),
            },
        )
    )


def random_image(seed: int, height: int, width: int, smooth: bool = False) -> np.ndarray:
    random = np.random.default_rng(seed)
    if smooth:  # as photographs are
        waves = np.sin(np.arange(height)[:, None, None] / 9 + random.normal(size=3)) * np.cos(
            np.arange(width)[None, :, None] / 7
        )
        return ((waves + 1) * 127.5).astype(np.uint8)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_the_reference(image: Any, **arguments: Any) -> np.ndarray:
    processor = transformers.ViTImageProcessorPil(**arguments)
    return processor(image, return_tensors="np")["pixel_values"]


@given(seed=st.integers(0, 99), height=sizes, width=sizes, chosen=settings(), kind=st.integers(0, 4))
def test_without_resizing_the_same_to_rounding(
    seed: int, height: int, width: int, chosen: dict[str, Any], kind: int
) -> None:
    """Images of every type; float32 differs in its last places, relative to the largest value."""
    image = random_image(seed, height, width)
    expected = by_the_reference(Image.fromarray(image), do_resize=False, **chosen)
    first = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    as_given: Any = [Image.fromarray(image), image, torch.from_numpy(image), first, [torch.from_numpy(first)]][kind]
    data_format = [None, "channels_last", "channels_last", "channels_first", "channels_first"][kind]
    ours = ViTImageProcessor(do_resize=False, **chosen)(as_given, return_tensors="np", input_data_format=data_format)
    assert ours.pixel_values.dtype == np.float32
    assert ours.pixel_values.shape == expected.shape == (1, 3, height, width)
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(ours.pixel_values - expected).max() <= 2e-6 * scale


@given(
    seed=st.integers(0, 99),
    source=st.tuples(sizes, sizes),
    target=st.tuples(sizes, sizes),
    resample=st.sampled_from([0, 2, 2, 3]),
    smooth=st.booleans(),
)
def test_resizing_is_pils_bit_for_bit(
    seed: int, source: tuple[int, int], target: tuple[int, int], resample: int, smooth: bool
) -> None:
    image = random_image(seed, *source, smooth=smooth)
    plain = {"do_rescale": False, "do_normalize": False, "resample": resample}
    size = {"height": target[0], "width": target[1]}
    expected = by_the_reference(Image.fromarray(image), size=size, **plain).astype(float)
    ours = ViTImageProcessor(size=size, **plain)(Image.fromarray(image), return_tensors="np").pixel_values
    assert ours.shape == expected.shape == (1, 3, *target)
    one_axis = source[0] == target[0] or source[1] == target[1]
    if one_axis or resample == 0:
        assert np.array_equal(ours, expected)
        return
    if resample == 2:
        assert np.abs(ours - expected).max() <= 1
    # PIL takes rows first or columns first, by the sizes; one of the two is its result.
    turned = ViTImageProcessor(size={"height": target[1], "width": target[0]}, **plain)(image.swapaxes(0, 1).copy())
    assert np.array_equal(ours, expected) or np.array_equal(turned.pixel_values[0].mT[None].numpy(), expected)


@pytest.mark.parametrize("source", [(480, 640), (28, 28), (333, 500)])
def test_real_sizes(source: tuple[int, int]) -> None:
    """To 224 × 224, of noise, the worst case: at most one level, in the numbers that a model sees."""
    image = random_image(0, *source)
    expected = by_the_reference(image)
    ours = ViTImageProcessor()(image, return_tensors="np").pixel_values
    assert np.abs(ours - expected).max() <= 1 / 255 / 0.5 + 2e-7


def test_floating_point_images_are_not_rounded() -> None:
    """They are resized without a detour over 8 bits, which PIL's way would cost them."""
    image = random_image(0, 31, 17).astype(np.float32) / 255
    plain = {"do_rescale": False, "do_normalize": False, "size": 12}
    smooth = ViTImageProcessor(**plain)(image, return_tensors="np").pixel_values
    levels = ViTImageProcessor(**plain)((image * 255).astype(np.uint8), return_tensors="np").pixel_values / 255
    assert 0 < np.abs(smooth - levels).max() <= 1.01 / 255


def test_colours() -> None:
    """Grey images become three equal channels where that is asked for; PIL converts its own."""
    grey = random_image(1, 6, 5)[..., 0]
    processor = ViTImageProcessor(size=4, do_convert_rgb=True)
    expected = by_the_reference(Image.fromarray(grey), size={"height": 4, "width": 4}, do_convert_rgb=True)
    for image in (Image.fromarray(grey), grey, torch.from_numpy(grey), grey[None]):
        ours = processor(image, return_tensors="np").pixel_values
        assert np.abs(ours - expected).max() <= 1 / 255 / 0.5 + 2e-7
    palette = Image.fromarray(random_image(2, 6, 5)).convert("P")
    ours = processor(palette, return_tensors="np").pixel_values
    assert np.abs(ours - processor(palette.convert("RGB"), return_tensors="np").pixel_values).max() == 0
    one_channel = ViTImageProcessor(size=4, image_mean=0.5, image_std=0.25)(grey, return_tensors="pt")
    assert one_channel.pixel_values.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("size", [None, 4])
def test_what_is_transparent_shows_white(size: int | None) -> None:
    """Of PIL's images with opacity, or with a colour that stands for none; and of four channels."""
    drawn = np.random.default_rng(0).integers(0, 256, (9, 8, 4), dtype=np.uint8)
    drawn[:3, :, 3], drawn[3:5, :, 3] = 0, 255
    palette = Image.fromarray(drawn[..., :3]).convert("P")
    palette.info["transparency"] = int(palette.getpixel((0, 0)))
    plain = {"do_convert_rgb": True, "do_resize": size is not None, "size": size or 1}
    for image in (
        Image.fromarray(drawn),
        Image.fromarray(drawn[..., 2:]),
        palette,
        drawn,
        (drawn / 255).astype(np.float32),
        drawn.astype(np.int64),
    ):
        expected = by_the_reference(image, **plain)
        ours = ViTImageProcessor(**plain)(image, return_tensors="np").pixel_values
        is_rounded_by_pil = size is not None and isinstance(image, np.ndarray) and image.dtype != np.uint8
        assert np.abs(ours - expected).max() <= (1.5 / 255 / 0.5 if is_rounded_by_pil else 1e-6)
    seen = ViTImageProcessor(**plain)(drawn[:3].copy(), return_tensors="np", input_data_format="channels_last")
    assert (seen.pixel_values == 1).all()
    with pytest.raises(InputError, match="opacity must hold numbers from 0 to 1"):
        ViTImageProcessor(**plain)(drawn.astype(np.float32))


@given(
    seed=st.integers(0, 99),
    source=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    target=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    mode=st.sampled_from(["bilinear", "bicubic"]),
)
def test_near_the_reference_with_torchvision(
    seed: int, source: tuple[int, int], target: tuple[int, int], mode: str
) -> None:
    """There, PyTorch's kernel for 8 bits resizes, which rounds its weights to fewer digits: two levels away at most."""
    pixels = torch.from_numpy(random_image(seed, *source)).permute(2, 0, 1).contiguous()
    theirs = F.interpolate(pixels[None], size=target, mode=mode, antialias=True)[0]
    resample = {"bilinear": 2, "bicubic": 3}[mode]
    size = {"height": target[0], "width": target[1]}
    plain = {"do_rescale": False, "do_normalize": False, "resample": resample, "size": size}
    ours = ViTImageProcessor(**plain)(pixels, return_tensors="pt", input_data_format="channels_first").pixel_values[0]
    assert (ours - theirs.float()).abs().max() <= 2


def test_batches() -> None:
    images = [random_image(seed, 5 + seed, 9) for seed in range(3)]
    processor = ViTImageProcessor(size={"height": 6, "width": 4})
    batch = processor(images, return_tensors="pt")
    assert batch["pixel_values"] is batch.pixel_values
    assert batch.pixel_values.shape == (3, 3, 6, 4)
    assert batch.to(torch.float64).pixel_values.dtype == torch.float64
    for row, image in zip(processor(images).pixel_values, images, strict=True):
        assert torch.equal(row, processor(image, return_tensors="pt").pixel_values[0])
    stacked = np.stack([images[0]] * 2)
    assert processor(stacked, return_tensors="pt").pixel_values.shape == (2, 3, 6, 4)
    assert processor.preprocess(images[0], size=2, return_tensors="pt").pixel_values.shape == (1, 3, 2, 2)
    with pytest.raises(AttributeError, match="BatchFeature has no 'pixels'; it has pixel_values"):
        batch.pixels


# ---- files -----------------------------------------------------------------------------------------------------------


@given(chosen=settings(), size=st.sampled_from([7, {"height": 3, "width": 9}]))
def test_each_reads_the_others_file(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any], size: Any
) -> None:
    path = tmp_path_factory.mktemp("processor")
    theirs = transformers.ViTImageProcessorPil(size=size, **chosen)
    theirs.save_pretrained(path / "theirs")
    ours = AutoImageProcessor.from_pretrained(path / "theirs")
    ours.save_pretrained(path / "ours")
    again = transformers.ViTImageProcessorPil.from_pretrained(path / "ours")
    for name in ours.settings:
        expected = getattr(theirs, name)
        for found in (getattr(ours, name), getattr(again, name)):
            if name == "size":
                assert (found["height"], found["width"]) == (expected["height"], expected["width"])
            elif name.startswith("image_"):
                assert list(found) == list(expected)
            else:
                assert found == expected, name
    image = random_image(3, 9, 9)  # to 3 × 9, which is one axis, and to 7 × 7
    rows = [processor(image, return_tensors="np")["pixel_values"] for processor in (ours, theirs)]
    level = theirs.rescale_factor if theirs.do_rescale else 1.0
    level /= min(theirs.image_std) if theirs.do_normalize else 1.0
    assert np.abs(rows[0] - rows[1]).max() <= 1.001 * level + 2e-6 * np.abs(rows[1]).max()


def test_old_files(tmp_path: Path) -> None:
    """Of 2021: one number for the size, another name for the class, keys that mean nothing now."""
    content = {
        "feature_extractor_type": "ViTFeatureExtractor",
        "size": 32,
        "do_resize": True,
        "foo": [1],
        "resample": 2,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content), "utf-8")
    processor = AutoImageProcessor.from_pretrained(tmp_path, do_normalize=False)
    assert type(processor) is ViTImageProcessor
    assert processor.size == {"height": 32, "width": 32}
    assert not processor.do_normalize
    processor.save_pretrained(tmp_path / "new")
    written = json.loads((tmp_path / "new" / "preprocessor_config.json").read_text("utf-8"))
    assert written["foo"] == [1]
    assert written["image_processor_type"] == "ViTImageProcessor"
    content["feature_extractor_type"] = "CLIPFeatureExtractor"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match="'CLIPFeatureExtractor', which this library does not have"):
        AutoImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(UnknownArgumentError, match=r"'do_normalise'.*'do_normalize'"):
        AutoImageProcessor.from_pretrained(tmp_path, do_normalise=False)
    with pytest.raises(InputError, match="has no instances"):
        AutoImageProcessor()


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        ("cat.png", {}, "got str: open files with PIL.Image.open"),
        (None, {}, "got NoneType"),
        ([], {}, "There are no images"),
        (np.zeros((5, 6, 7), np.uint8), {}, "neither the first nor the last dimension"),
        (np.zeros((2, 2, 2, 2, 3), np.uint8), {}, r"shape \(2, 2, 2, 2, 3\)"),
        (np.zeros(5, np.uint8), {}, r"shape \(5,\)"),
        (np.zeros((0, 5), np.uint8), {}, "no pixels"),
        (np.zeros((4, 4), bool), {}, "torch.bool"),
        (np.zeros((4, 4), np.complex64), {}, "complex64"),
        (np.zeros((4, 4), np.uint8), {}, "1 channels and image_mean 3 numbers. Pass do_convert_rgb=True"),
        (np.zeros((4, 4, 4), np.uint8), {}, "4 channels and image_mean 3 numbers"),
        (np.zeros((4, 4, 3), np.uint8), {"return_tensors": "tf"}, "return_tensors='tf'"),
        (np.zeros((4, 4, 3), np.uint8), {"input_data_format": "HWC"}, "input_data_format='HWC'"),
        (np.zeros((4, 4, 3), np.uint8), {"size": 0}, "size=0 must be"),
        (np.zeros((4, 4, 3), np.uint8), {"size": {"shortest_edge": 3}}, "shortest_edge"),
        (np.zeros((4, 4, 3), np.uint8), {"resample": 7}, "resample=7 must be 0"),
        (np.zeros((4, 4, 3), np.uint8), {"image_std": [1, 0, 1]}, "must not be 0"),
        (np.zeros((4, 4, 3), np.uint8), {"image_mean": "no"}, "image_mean='no'"),
        (np.zeros((4, 4, 3), np.uint8), {"do_resize": 1}, "do_resize=1 must be True or False"),
        (
            [np.zeros((7, 7, 3), np.uint8), np.zeros((8, 7, 3), np.uint8)],
            {"do_resize": False, "return_tensors": "pt"},
            "different shapes",
        ),
    ],
)
def test_bad_input(images: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ViTImageProcessor()(images, **arguments)


def test_unknown_arguments() -> None:
    with pytest.raises(UnknownArgumentError, match=r"'do_normalise'.*'do_normalize'"):
        ViTImageProcessor()(np.zeros((4, 4, 3), np.uint8), do_normalise=False)
    with pytest.raises(AttributeError, match=r"no 'image_sdt'.*'image_std'"):
        ViTImageProcessor().image_sdt


def test_to_a_model() -> None:
    config = mt.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4
    )
    inputs = ViTImageProcessor(size=8)([random_image(0, 9, 7), random_image(1, 20, 3)], return_tensors="pt")
    assert mt.ViTForImageClassification(config).eval()(**inputs).logits.shape == (2, 2)
