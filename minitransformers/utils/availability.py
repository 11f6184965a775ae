"""Whether optional packages are installed, under the reference's names: `is_datasets_available()`.

Every `is_…_available` exists: it looks for the package that `PACKAGES` gives for the name, or for one of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

# The package is not always called as the name says.
PACKAGES = {
    "bs4": "bs4",
    "comet": "comet_ml",
    "flash_attn_2": "flash_attn",
    "flash_attn_3": "flash_attn_3",
    "ipython": "IPython",
    "jinja": "jinja2",
    "levenshtein": "Levenshtein",
    "protobuf": "google.protobuf",
    "ray_tune": "ray.tune",
    "speech": "torchaudio",
    "tf": "tensorflow",
    "torch_accelerator": "torch.accelerator",
    "torch_flex_attn": "torch.nn.attention.flex_attention",
    "torch_hpu": "habana_frameworks",
    "torch_neuroncore": "torch_neuronx",
    "vision": "PIL",
}


def is_available(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package that it would be a part of
        return False


def is_torch_cuda_available() -> bool:
    """Whether PyTorch can use a CUDA device."""
    import torch

    return torch.cuda.is_available()


def is_torch_mps_available() -> bool:
    """Whether PyTorch can use an Apple GPU."""
    import torch

    return torch.backends.mps.is_available()


def is_torch_xpu_available() -> bool:
    """Whether PyTorch can use an Intel GPU."""
    import torch

    return torch.xpu.is_available()


def is_torch_distributed_available() -> bool:
    """Whether PyTorch was built with torch.distributed, which FSDP is a part of."""
    import torch

    return torch.distributed.is_available()


is_fsdp_available = is_torch_distributed_available


def is_torch_bf16_gpu_available() -> bool:
    """Whether there is a CUDA device that computes in bfloat16."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def is_torch_tf32_available() -> bool:
    """Whether there is a CUDA device with TensorFloat-32, from Ampere on."""
    import torch

    return torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8


def __getattr__(name: str) -> Callable[[], bool]:
    found = re.fullmatch(r"is_(\w+)_available", name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = partial(is_available, PACKAGES.get(found[1], found[1]))
    return globals()[name]  # type: ignore[no-any-return]
