"""Half precision: which operations are computed in it, and how small gradients are kept from vanishing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from minitransformers.errors import InputError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within it, matrix products are computed in half precision, and sums and losses as before ("fp32": everything).

    Weights and gradients stay in float32 (Micikevicius et al., 2018, §3.1).

    Raises:
        InputError: the device cannot compute in that type.
    """
    if precision == "fp32":
        return nullcontext()
    if not torch.amp.is_autocast_available(device.type):
        raise InputError(f"precision={precision!r} is not available on {device.type}: use 'fp32'.")
    return torch.autocast(device.type, DTYPES[precision])


def check_weights(model: nn.Module, precision: str) -> None:
    """Whether autocast can train these weights: those in float32, and under "bf16" those in bfloat16.

    Raises:
        InputError: some are in another half precision, such as a checkpoint's.
    """
    types = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    refused = types & ({torch.float16} if precision == "bf16" else {torch.float16, torch.bfloat16})
    if precision != "fp32" and refused:
        name = str(refused.pop()).removeprefix("torch.")
        raise InputError(
            f"{precision} computes in half precision from weights in float32, but the model's are in {name}: load it "
            f"with from_pretrained(…, dtype=torch.float32), or leave {precision} out."
        )


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Multiplies the loss for "fp16", where many gradients would be too small (§3.2); else does nothing.

    The factor halves when a gradient overflows, in which case the step is left out, and doubles after 2,000 good steps.
    All of several processes leave out the same steps, also where gradients are in pieces (FSDP2).
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
