"""Whether optional packages are installed, under the reference's names: `is_datasets_available()`.

Every `is_…_available` exists: it looks for the package that `PACKAGES` gives for the name, or for one of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

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


def is_torch_bf16_available_on_device(device: str) -> bool:
    """Whether a device computes in bfloat16: any CPU does, and a CUDA device may."""
    return device == "cpu" or is_torch_bf16_gpu_available()


def is_torch_fp16_available_on_device(device: str) -> bool:
    """Whether a device computes in float16, which PyTorch does on each of its devices."""
    return True


# ---- versions and surroundings ---------------------------------------------------------------------------------------


def get_torch_version() -> str:
    """The version of PyTorch, such as "2.13.0"."""
    import torch

    return torch.__version__


def is_torch_greater_or_equal(library_version: str, accept_dev: bool = False) -> bool:
    """Whether PyTorch has at least that version; `accept_dev` counts a version's previews as that version."""
    from packaging.version import Version

    found = Version(get_torch_version())
    return (Version(found.base_version) if accept_dev else found) >= Version(library_version)


def is_torch_less_or_equal(library_version: str, accept_dev: bool = False) -> bool:
    """Whether PyTorch has at most that version; see `is_torch_greater_or_equal`."""
    from packaging.version import Version

    return Version(Version(get_torch_version()).base_version) <= Version(library_version)


def is_torchdynamo_compiling() -> bool:
    """Whether the code is being traced by torch.compile or torch.export."""
    import torch

    return torch.compiler.is_compiling()


def is_in_notebook() -> bool:
    """Whether the program runs in a Jupyter notebook."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_env_variable_true(env_variable: str) -> bool:
    """Whether an environment variable is "1", "true", "yes", "y" or "on"."""
    import os

    return os.environ.get(env_variable, "").lower() in {"1", "true", "t", "yes", "y", "on"}


def requires_backends(obj: Any, backends: str | Iterable[str]) -> None:
    """Refuse to go on where an optional package is missing.

    Args:
        obj: an object or a class, which the message names.
        backends: names of packages, as in `is_…_available`.

    Raises:
        ImportError: one of them is not installed.
    """
    names = [backends] if isinstance(backends, str) else list(backends)
    missing = [
        name for name in names if not globals().get(f"is_{name}_available", __getattr__(f"is_{name}_available"))()
    ]
    if missing:
        owner = getattr(obj, "__name__", type(obj).__name__)
        raise ImportError(f"{owner} needs {', '.join(missing)}: `pip install {' '.join(missing)}` installs it.")


def _never(*args: Any, **kwargs: Any) -> bool:
    """False: this library does not run under DeepSpeed, SageMaker's own parallelism, or symbolic tracing."""
    return False


is_deepspeed_zero3_enabled = is_fsdp_enabled = is_fsdp_managed_module = _never
is_sagemaker_mp_enabled = is_sagemaker_dp_enabled = is_training_run_on_sagemaker = is_torch_fx_proxy = _never


def __getattr__(name: str) -> Callable[[], bool]:
    found = re.fullmatch(r"is_(\w+)_available", name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _check_of(PACKAGES.get(found[1], found[1]))


@cache
def _check_of(package: str) -> Callable[[], bool]:
    """The function of a package; always the same one, so that it can be compared and replaced."""
    return partial(is_available, package)
