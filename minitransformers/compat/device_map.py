"""`device_map`: the device that a loaded model is moved to; a model is always on one device here."""

from __future__ import annotations

from typing import Any

import torch

from minitransformers.errors import InputError


def device_of(device_map: Any) -> torch.device | None:
    """The device that `device_map` stands for; None leaves the model on the CPU.

    Args:
        device_map: a device, its name or number; "auto", "balanced" or "sequential" for the accelerator of the machine
            if it has one; or {"": device}.

    Raises:
        InputError: several devices, or a name that no device has.
    """
    if device_map is None:
        return None
    if isinstance(device_map, dict):
        if len({str(device) for device in device_map.values()}) != 1:
            raise InputError(f"device_map={device_map!r} names several devices: pass one, such as device_map='cuda:0'.")
        device_map = next(iter(device_map.values()))
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        return torch.device(device_map)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"device_map={device_map!r} must be 'auto', 'cpu', 'cuda:0' …: {error}") from None
