"""From images to `pixel_values`: resize, rescale and normalize, as preprocessor_config.json describes it.

Images may be arrays, tensors or PIL images (reading.py); resizing.py has the formulas of resizing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor

from minitransformers.compat.keywords import LOADING_PROCESSORS, remove_no_ops
from minitransformers.configs.checks import check_choice, check_flag, check_number, is_number, is_whole, refuse_unknown
from minitransformers.configs.config import HUB_OPTIONS, read_config_file
from minitransformers.errors import CheckpointError, InputError, nearest, shown
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.files.pushing import PushToHub
from minitransformers.images.reading import as_list, read_image
from minitransformers.images.resizing import RESAMPLING, resize

PREPROCESSOR_FILE = "preprocessor_config.json"

MOST_PIXELS = 2**14  # of a side: an image of such sides takes 3 GB
MOST_VALUE = 3e38  # that float32 holds

ProcessorType = TypeVar("ProcessorType", bound="ViTImageProcessor")


class BatchFeature(dict[str, Any]):
    """The output of an image processor: `pixel_values`, read by key or attribute, for `model(**inputs)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchFeature has no {name!r}; it has {', '.join(self)}.") from None

    @property
    def data(self) -> BatchFeature:
        """The dictionary itself, as `transformers` keeps it inside."""
        return self

    def convert_to_tensors(
        self, tensor_type: str | None = None, skip_tensor_conversion: Sequence[str] | None = None
    ) -> BatchFeature:
        """Convert arrays and lists to tensors ("pt") or arrays ("np"), in place, but for the names to be skipped."""
        if check_choice("tensor_type", tensor_type, ("pt", "np", None)) is not None:
            convert = torch.as_tensor if tensor_type == "pt" else np.asarray
            converted = self.keys() - set(skip_tensor_conversion or ())
            self.update({name: convert(value) for name, value in self.items() if name in converted})
        return self

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move the tensors to another device, or convert them to another dtype, in place."""
        moved = {
            name: value.to(*args, **kwargs) if isinstance(value, Tensor) else value for name, value in self.items()
        }
        self.update(moved)
        return self


class ViTImageProcessor(PushToHub):
    """Converts images to the size and range that a ViT was trained with.

    (pixels · rescale_factor − image_mean) / image_std, after resizing. 8-bit images are resized bit for bit as PIL
    resizes them (`resizing.resize_as_pil`), images of floating-point numbers without rounding.

    Distance from the reference, in levels of 255 before normalization, at random sizes and at 224 × 224. Where the
    reference uses torchvision (0.28): 0 for floating-point images and for `resample=0`; otherwise up to 2 levels, and
    in photographs 1 level in 0.2 to 0.5 % of the numbers. Where it uses PIL (Pillow 13): 0 at the sizes at which PIL
    resizes rows first, such as 427 × 640 to 224 × 224; at other sizes up to 1 level (`resample=2`), or 20 levels in
    noise and 2 in smooth images (`resample=3`). With `resample=0` PIL picks other pixels at some sizes, and the
    reference rounds images of floating-point numbers to 8 bits.

    Args:
        do_resize, size, resample: resize to `size`, {"height": …, "width": …} or a number for a square, by PIL's method
            0 (nearest), 2 (bilinear) or 3 (bicubic).
        do_rescale, rescale_factor: multiply, usually by 1/255.
        do_normalize, image_mean, image_std: subtract and divide, a number for all channels or one for each.
        do_convert_rgb: make three channels of one or four; transparent parts are shown on white.
        unused: keys of a file that have no effect; they are kept and written back.
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

    def __setattr__(self, name: str, value: Any) -> None:
        settings = self.__dict__.get("settings", {})
        if name in settings:
            self.settings = _checked(**{**settings, name: value})
        else:
            super().__setattr__(name, value)

    def __call__(
        self, images: Any, return_tensors: str | None = None, input_data_format: str | None = None, **overrides: Any
    ) -> BatchFeature:
        """Process one image or several.

        Args:
            images: an image, or a list or batch of them: PIL images, or arrays or tensors of (height, width), (height,
                width, channels) or (channels, height, width).
            return_tensors: "pt" or "np" for one tensor or array (batch, channels, height, width), float32; None for a
                list.
            input_data_format: "channels_first" or "channels_last"; inferred from the shape if None.
            overrides: arguments of the constructor, for this call only.

        Raises:
            InputError: an object that is not an image, or an image that does not fit the settings.
        """
        refuse_unknown(type(self).__name__, overrides, self.settings)
        check_choice("return_tensors", return_tensors, ("pt", "np", None))
        check_choice("input_data_format", input_data_format, ("channels_first", "channels_last", None))
        settings = _checked(**{**self.settings, **overrides})
        pixels = [_process(image, input_data_format, settings) for image in as_list(images)]
        if return_tensors is None:
            return BatchFeature(pixel_values=pixels)
        if len({image.shape for image in pixels}) > 1:
            shapes = ", ".join(str(tuple(image.shape)) for image in pixels[:4])
            raise InputError(f"Images of different shapes ({shapes} …) cannot be stacked: leave do_resize on.")
        batch = torch.stack(pixels)
        return BatchFeature(pixel_values=batch if return_tensors == "pt" else batch.numpy())

    preprocess = __call__

    @classmethod
    def from_pretrained(
        cls: type[ProcessorType], pretrained_model_name_or_path: str | PathLike[str], **options: Any
    ) -> Any:
        """Read preprocessor_config.json of a directory or of a hub's repository.

        Args:
            pretrained_model_name_or_path: a directory, or a repository of a hub.
            options: `cache_dir`, `revision`, `subfolder`, `local_files_only`, `token` and `force_download`, see
                `Source`; arguments of the constructor, which win over the file; and `return_unused_kwargs`, see
                `from_dict`.
        """
        content, overrides = cls.get_image_processor_dict(pretrained_model_name_or_path, **options)
        return cls.from_dict(content, **overrides)

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of preprocessor_config.json, and those of `options` that say nothing about where it is.

        Args:
            pretrained_model_name_or_path: a directory, or a repository of a hub.
            options: see `from_pretrained`.
        """
        overrides = remove_no_ops(f"{cls.__name__}.from_pretrained", options, LOADING_PROCESSORS)
        overrides.pop("config", None)  # it only chooses a class
        where = {name: overrides.pop(name) for name in HUB_OPTIONS if name in overrides}
        return read_config_file(Source(pretrained_model_name_or_path, **where).file(PREPROCESSOR_FILE)), overrides

    @classmethod
    def from_dict(
        cls: type[ProcessorType],
        image_processor_dict: Mapping[str, Any],
        *,
        return_unused_kwargs: bool = False,
        **overrides: Any,
    ) -> Any:
        """Build from the content of a preprocessor_config.json; `overrides` are arguments of the constructor.

        With `return_unused_kwargs=True` the result is a pair: the processor, and those of `overrides` that it has no
        argument for.
        """
        settings = cls().settings
        unused = {name: value for name, value in overrides.items() if return_unused_kwargs and name not in settings}
        overrides = {name: value for name, value in overrides.items() if name not in unused}
        refuse_unknown(cls.__name__, overrides, settings)
        content = image_processor_dict
        known = {name: value for name, value in content.items() if name in settings and value is not None}
        further = {key: content[key] for key in content.keys() - known.keys()}
        processor = cls(**{**known, **overrides}, unused=further)
        return (processor, unused) if return_unused_kwargs else processor

    @classmethod
    def from_json_file(cls: type[ProcessorType], json_file: str | PathLike[str]) -> ProcessorType:
        """Build from a preprocessor_config.json at that path."""
        processor: ProcessorType = cls.from_dict(read_config_file(Path(json_file)))
        return processor

    def to_dict(self) -> dict[str, Any]:
        """The content of preprocessor_config.json."""
        return {**self._unused, **copy.deepcopy(self.settings), "image_processor_type": type(self).__name__}

    def to_json_string(self) -> str:
        """The text of preprocessor_config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | PathLike[str]) -> None:
        """Write `to_json_string` into a file."""
        write_text(Path(json_file_path), self.to_json_string())

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **hub_options: Any
    ) -> None:
        """Write preprocessor_config.json, which `from_pretrained` here and in `transformers` reads.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            self.to_json_file(Path(save_directory) / PREPROCESSOR_FILE)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.settings, indent=2)}"


class AutoImageProcessor:
    """Loads the image processor of a checkpoint. It has no instances."""

    _registered: ClassVar[dict[str, type[Any]]] = {}  # by the name of the class, and by model_type

    def __init__(self) -> NoReturn:
        raise InputError("AutoImageProcessor has no instances: use AutoImageProcessor.from_pretrained(name_or_path).")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **options: Any) -> Any:
        """Load the processor that preprocessor_config.json names; see `ViTImageProcessor.from_pretrained`.

        A user's own class is found by its name in that file or, if there is none, by the model_type of `config`.

        Raises:
            CheckpointError: the file names a processor that this library does not have.
        """
        content, overrides = ViTImageProcessor.get_image_processor_dict(pretrained_model_name_or_path, **options)
        kinds = [content.get(key) for key in ("image_processor_type", "feature_extractor_type")]
        by_config = getattr(options.get("config"), "model_type", None)
        name = next((kind for kind in kinds if kind is not None), by_config or "ViTImageProcessor")
        if name in cls._registered:
            return cls._registered[name].from_pretrained(pretrained_model_name_or_path, **options)
        if name == by_config:
            name = "ViTImageProcessor"
        processor = ViTImageProcessor.from_dict(content, **overrides)
        if name not in ("ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor"):
            raise CheckpointError(
                f"{str(pretrained_model_name_or_path)!r} has the image processor {name!r}, which this library does not "
                f"have: it has ViTImageProcessor."
            )
        return processor

    @classmethod
    def register(
        cls,
        config_class: Any,
        slow_image_processor_class: type[Any] | None = None,
        fast_image_processor_class: type[Any] | None = None,
        image_processor_classes: Mapping[str, type[Any]] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Let `from_pretrained` find a user's own image processor.

        Args:
            config_class: the configuration class of the model that it is for.
            slow_image_processor_class, fast_image_processor_class, image_processor_classes: the class; of several, the
                last is taken.
            exist_ok: replace one that is registered already.

        Raises:
            InputError: there is no class, or the name is taken.
        """
        given = [slow_image_processor_class, fast_image_processor_class, *(image_processor_classes or {}).values()]
        classes = [kind for kind in given if kind is not None]
        if not classes:
            raise InputError("AutoImageProcessor.register needs a class of an image processor besides the config's.")
        for name in (config_class.model_type, *(kind.__name__ for kind in classes)):
            if name in cls._registered and not exist_ok:
                raise InputError(f"An image processor for {name!r} is registered already: pass exist_ok=True.")
            cls._registered[name] = classes[-1]


# ---- checking --------------------------------------------------------------------------------------------------------


def _checked(**settings: Any) -> dict[str, Any]:
    """`settings` in the form in which they are kept: `size` with both sides, and numbers or lists of numbers.

    Raises:
        InputError: a value that is impossible.
    """
    for name in ("do_resize", "do_rescale", "do_normalize"):
        check_flag(name, settings[name])
    size = settings["size"]
    if is_whole(size):
        size = {"height": size, "width": size}
    sides = size if isinstance(size, Mapping) else {}
    if set(sides) != {"height", "width"} or not all(
        is_whole(side, 1) and side <= MOST_PIXELS for side in sides.values()
    ):
        raise InputError(
            f"size={shown(settings['size'])} must be a number of pixels up to {MOST_PIXELS:,}, or "
            f"{{'height': …, 'width': …}}."
        )
    settings["size"] = dict(sides)
    if not is_whole(settings["resample"]) or settings["resample"] not in RESAMPLING:
        raise InputError(
            f"resample={settings['resample']!r} must be 0 (nearest), 2 (bilinear) or 3 (bicubic), as PIL numbers them."
        )
    settings["resample"] = int(settings["resample"])
    for name in ("image_mean", "image_std"):
        value = settings[name]
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values or not all(is_number(item, -MOST_VALUE, MOST_VALUE) for item in values):
            raise InputError(f"{name}={shown(value)} must be a number, or a list with one for each channel.")
        settings[name] = value if isinstance(value, (int, float)) else list(value)
    check_number("rescale_factor", settings["rescale_factor"], least=-MOST_VALUE, most=MOST_VALUE)
    if not torch.tensor(settings["image_std"], dtype=torch.float32).all():
        raise InputError(f"image_std={settings['image_std']} must not be 0: pixels are divided by it.")
    return settings


# ---- one image -------------------------------------------------------------------------------------------------------


def _process(image: Any, data_format: str | None, settings: Mapping[str, Any]) -> Tensor:
    """One image as (channels, height, width) in float32."""
    pixels = read_image(image, data_format, settings["do_convert_rgb"])
    if settings["do_resize"]:
        size = (settings["size"]["height"], settings["size"]["width"])
        pixels = resize(pixels, size, RESAMPLING[settings["resample"]])
    pixels = pixels.float()
    if settings["do_rescale"]:
        pixels = pixels * settings["rescale_factor"]
    if settings["do_normalize"]:
        mean, std = (
            torch.tensor(settings[name], dtype=torch.float32).reshape(-1, 1, 1) for name in ("image_mean", "image_std")
        )
        for name, values in (("image_mean", mean), ("image_std", std)):
            if len(values) not in (1, len(pixels)):
                remedy = " Pass do_convert_rgb=True." if len(pixels) == 1 else ""
                raise InputError(f"The image has {len(pixels)} channels and {name} {len(values)} numbers.{remedy}")
        pixels = (pixels - mean) / std
    return pixels
