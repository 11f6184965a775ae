"""From images to `pixel_values`: resize, rescale, normalise, as the preprocessor_config.json of a checkpoint says.

Images may be arrays, tensors or PIL images. PIL itself is never imported: anything with the methods of a PIL image will
do. How an image gets another size is in image_resizing.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor

from minitransformers.configs.config import read_config_file
from minitransformers.errors import CheckpointError, InputError, UnknownArgumentError, nearest
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.files.pushing import PushToHub
from minitransformers.images.resizing import RESAMPLING, resize

PREPROCESSOR_FILE = "preprocessor_config.json"

ProcessorType = TypeVar("ProcessorType", bound="ViTImageProcessor")


class BatchFeature(dict[str, Any]):
    """What an image processor gives: `pixel_values`, read by key or attribute, and passed on as `model(**inputs)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no {name!r} here; there is {', '.join(self)}.") from None

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move its tensors to another device, or bring them to another dtype."""
        moved = {
            name: value.to(*args, **kwargs) if isinstance(value, Tensor) else value for name, value in self.items()
        }
        self.update(moved)
        return self


class ViTImageProcessor(PushToHub):
    """Brings images to the size and range that a ViT was trained with.

    (pixels · rescale_factor − image_mean) / image_std, after resizing. 8-bit images are resized as PIL does it
    (see `image_resizing.resize_as_pil`), images of floating-point numbers without rounding.

    How far it is from the reference's, measured in levels of 255 before normalising, at random sizes and at 224 × 224.
    Where that has torchvision (0.28): equal for floating-point images and for way 0; else up to 2 levels, 1 in
    photographs, where 0.2 to 0.5 % of the numbers differ. Where it has PIL (Pillow 13): equal at the sizes at which
    PIL resizes rows first, 427 × 640 to 224 × 224 among them; at others up to 1 level (way 2), 20 in noise and 2 in
    smooth images (way 3). Way 0 picks other pixels there at some sizes, and images of floating-point numbers are
    rounded to 8 bits there.

    Args:
        do_resize, size, resample: resize to `size`, {"height": …, "width": …} or a number for a square, in PIL's way
            0 (nearest), 2 (bilinear) or 3 (bicubic).
        do_rescale, rescale_factor: multiply, usually by 1/255.
        do_normalize, image_mean, image_std: subtract and divide, a number for all channels or one for each.
        do_convert_rgb: make three channels of one, or of four: what is transparent is shown on white.
        unused: keys of a file that mean nothing here; they are kept, and written back.
    """

    _pushed_as: ClassVar[str] = "processor"

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        *,
        do_resize: bool = True,
        size: int | Mapping[str, int] | None = None,
        resample: int = 2,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | list[float] | None = None,
        image_std: float | list[float] | None = None,
        do_convert_rgb: bool | None = None,
        unused: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings: dict[str, Any] = _checked(
            do_resize=do_resize,
            size={"height": 224, "width": 224} if size is None else size,
            resample=resample,
            do_rescale=do_rescale,
            rescale_factor=rescale_factor,
            do_normalize=do_normalize,
            image_mean=[0.5, 0.5, 0.5] if image_mean is None else image_mean,
            image_std=[0.5, 0.5, 0.5] if image_std is None else image_std,
            do_convert_rgb=do_convert_rgb,
        )
        self._unused = dict(unused or {})

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("settings", {})
        if name in settings:
            return settings[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}.{nearest(name, settings)}")

    def __call__(
        self, images: Any, return_tensors: str | None = None, input_data_format: str | None = None, **overrides: Any
    ) -> BatchFeature:
        """Process one image or several.

        Args:
            images: an image, or a list or batch of them: PIL images, or arrays or tensors of (height, width), (height,
                width, channels) or (channels, height, width).
            return_tensors: "pt" or "np" for one tensor or array (batch, channels, height, width), float32; None for a
                list.
            input_data_format: "channels_first" or "channels_last"; told from the shape if None.
            overrides: arguments of the constructor that count for this call.

        Raises:
            InputError: what is no image, or does not fit the settings.
        """
        _refuse_unknown(type(self), overrides, self.settings)
        if return_tensors not in (None, "pt", "np"):
            raise InputError(f"return_tensors={return_tensors!r} must be 'pt', 'np' or None.")
        if input_data_format not in (None, "channels_first", "channels_last"):
            raise InputError(f"input_data_format={input_data_format!r} must be 'channels_first' or 'channels_last'.")
        settings = _checked(**{**self.settings, **overrides})
        pixels = [_process(image, input_data_format, settings) for image in _as_list(images)]
        if return_tensors is None:
            return BatchFeature(pixel_values=pixels)
        if len({image.shape for image in pixels}) > 1:
            shapes = ", ".join(str(tuple(image.shape)) for image in pixels[:4])
            raise InputError(f"Images of different shapes ({shapes} …) make no batch: leave do_resize on.")
        batch = torch.stack(pixels)
        return BatchFeature(pixel_values=batch if return_tensors == "pt" else batch.numpy())

    preprocess = __call__

    @classmethod
    def from_pretrained(
        cls: type[ProcessorType],
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        **overrides: Any,
    ) -> ProcessorType:
        """Read preprocessor_config.json of a directory or of a hub's repository; `overrides` win over it."""
        source = Source(
            pretrained_model_name_or_path, cache_dir, revision, subfolder, local_files_only, token, force_download
        )
        content = read_config_file(source.file(PREPROCESSOR_FILE))
        settings = cls().settings
        _refuse_unknown(cls, overrides, settings)
        known = {name: value for name, value in content.items() if name in settings and value is not None}
        return cls(**{**known, **overrides}, unused={key: content[key] for key in content.keys() - known.keys()})

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **hub_options: Any
    ) -> None:
        """Write preprocessor_config.json, which `from_pretrained` here and in `transformers` reads.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        content = {**self._unused, **self.settings, "image_processor_type": type(self).__name__}
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_text(Path(save_directory) / PREPROCESSOR_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.settings, indent=2)}"


class AutoImageProcessor:
    """Loads the image processor of a checkpoint; it has no instances of its own."""

    def __init__(self) -> NoReturn:
        raise InputError("AutoImageProcessor has no instances: use AutoImageProcessor.from_pretrained(name_or_path).")

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | PathLike[str], **options: Any) -> ViTImageProcessor:
        """Load the processor that preprocessor_config.json names; see `ViTImageProcessor.from_pretrained`.

        Raises:
            CheckpointError: it names one that this library does not have.
        """
        processor = ViTImageProcessor.from_pretrained(pretrained_model_name_or_path, **options)
        kinds = [processor._unused.get(key) for key in ("image_processor_type", "feature_extractor_type")]
        name = next((kind for kind in kinds if kind is not None), "ViTImageProcessor")
        if name not in ("ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor"):
            raise CheckpointError(
                f"{str(pretrained_model_name_or_path)!r} has the image processor {name!r}, which this library does not "
                f"have: it has ViTImageProcessor."
            )
        return processor


# ---- checking --------------------------------------------------------------------------------------------------------


def _refuse_unknown(owner: type, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given.keys() - known.keys():
        raise UnknownArgumentError(f"{owner.__name__} takes no argument {name!r}.{nearest(name, known)}")


def _checked(**settings: Any) -> dict[str, Any]:
    """`settings` in the form in which they are kept: `size` with both sides, numbers and lists of them.

    Raises:
        InputError: naming the first that cannot be.
    """
    for name in ("do_resize", "do_rescale", "do_normalize"):
        if not isinstance(settings[name], bool):
            raise InputError(f"{name}={settings[name]!r} must be True or False.")
    size = settings["size"]
    if isinstance(size, int) and not isinstance(size, bool):
        size = {"height": size, "width": size}
    if not isinstance(size, Mapping) or set(size) != {"height", "width"} or not all(map(_is_side, size.values())):
        raise InputError(f"size={settings['size']!r} must be a number, or {{'height': …, 'width': …}}.")
    settings["size"] = dict(size)
    if settings["resample"] not in RESAMPLING:
        raise InputError(
            f"resample={settings['resample']!r} must be 0 (nearest), 2 (bilinear) or 3 (bicubic), as PIL numbers them."
        )
    settings["resample"] = int(settings["resample"])
    for name in ("image_mean", "image_std"):
        value = settings[name]
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values or not all(isinstance(each, (int, float)) for each in values):
            raise InputError(f"{name}={value!r} must be a number, or one for each channel.")
        settings[name] = value if isinstance(value, (int, float)) else list(value)
    if settings["image_std"] == 0 or (isinstance(settings["image_std"], list) and 0 in settings["image_std"]):
        raise InputError(f"image_std={settings['image_std']} must not be 0: it divides.")
    return settings


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


# ---- one image -------------------------------------------------------------------------------------------------------


def _as_list(images: Any) -> list[Any]:
    if isinstance(images, (list, tuple)):
        found = [image for each in images for image in _as_list(each)]
    elif isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        found = list(images)
    else:
        found = [images]
    if not found:
        raise InputError("There are no images: pass at least one.")
    return found


def _process(image: Any, data_format: str | None, settings: Mapping[str, Any]) -> Tensor:
    """(channels, height, width) in float32."""
    pixels = _read(image, data_format, settings["do_convert_rgb"])
    if settings["do_resize"]:
        size = (settings["size"]["height"], settings["size"]["width"])
        pixels = resize(pixels, size, RESAMPLING[settings["resample"]])
    pixels = pixels.float()
    if settings["do_rescale"]:
        pixels = pixels * settings["rescale_factor"]
    if settings["do_normalize"]:
        mean, std = (torch.tensor(settings[name]).reshape(-1, 1, 1) for name in ("image_mean", "image_std"))
        for name, values in (("image_mean", mean), ("image_std", std)):
            if len(values) not in (1, len(pixels)):
                remedy = " Pass do_convert_rgb=True." if len(pixels) == 1 else ""
                raise InputError(f"The image has {len(pixels)} channels and {name} {len(values)} numbers.{remedy}")
        pixels = (pixels - mean) / std
    return pixels


def _read(image: Any, data_format: str | None, convert_rgb: bool | None) -> Tensor:
    """The pixels of any kind of image as a tensor (channels, height, width)."""
    if not isinstance(image, (np.ndarray, Tensor)):
        if not (hasattr(image, "convert") and hasattr(image, "mode")):  # as PIL images have
            raise InputError(
                f"An image must be a PIL image, an array or a tensor, got {type(image).__name__}: open files with "
                f"PIL.Image.open(path)."
            )
        image = np.array(_in_colours(image) if convert_rgb else image)
        data_format = "channels_last"
    pixels = torch.from_numpy(np.array(image, order="C")) if isinstance(image, np.ndarray) else image
    if pixels.is_complex() or pixels.dtype == torch.bool:
        raise InputError(f"An image must hold numbers such as 0 … 255, got {pixels.dtype}.")
    pixels = _channels_first(pixels, data_format)
    if not pixels.numel():
        raise InputError(f"An image has shape {tuple(pixels.shape)}, that is no pixels.")
    if convert_rgb and len(pixels) == 1:
        return pixels.expand(3, -1, -1)
    return _on_white(pixels) if convert_rgb and len(pixels) == 4 else pixels


def _channels_first(pixels: Tensor, data_format: str | None) -> Tensor:
    """(height, width), (height, width, channels) or (channels, height, width) as the last of these.

    Where `data_format` does not say which, the first dimension that can be channels is taken for them.
    """
    if pixels.ndim == 2:
        return pixels[None]
    shape = tuple(pixels.shape)
    if pixels.ndim != 3:
        raise InputError(
            f"An image has shape {shape}; expected (height, width), (height, width, channels) or "
            f"(channels, height, width)."
        )
    if data_format is None:
        if shape[0] not in (1, 3, 4) and shape[-1] not in (1, 3, 4):
            raise InputError(
                f"An image has shape {shape}, in which neither the first nor the last dimension can "
                f"be channels (1, 3 or 4): pass input_data_format='channels_first' or 'channels_last'."
            )
        data_format = "channels_first" if shape[0] in (1, 3, 4) else "channels_last"
    return pixels if data_format == "channels_first" else pixels.permute(2, 0, 1)


def _in_colours(image: Any) -> Any:
    """A PIL image in RGB, on white where it is transparent."""
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = image.copy()
    white.paste((255, 255, 255, 255), (0, 0, *image.size))
    white.alpha_composite(image)
    return white.convert("RGB")


def _on_white(pixels: Tensor) -> Tensor:
    """Red, green, blue and opacity as three channels: opacity · colour + (1 − opacity) · white."""
    white = 1 if pixels.is_floating_point() else 255
    if white == 1 and not ((pixels >= 0) & (pixels <= 1)).all():
        raise InputError("An image of floating-point numbers with opacity must hold numbers from 0 to 1.")
    colours, opacity = pixels[:3].double(), pixels[3:].double() / white
    mixed = opacity * colours + (1 - opacity) * white
    return (mixed if white == 1 else mixed.round()).to(pixels.dtype)
