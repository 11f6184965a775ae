"""Half precision: autocast for matrix products, and loss scaling for small gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from minitransformers.errors import InputError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Compute matrix products in half precision, and sums and losses in float32; "fp32" changes nothing.

    Weights and gradients stay in float32 (Micikevicius et al., 2018, §3.1).

    Raises:
        InputError: the device does not support that type.
    """
    if precision == "fp32":
        return nullcontext()
    if not torch.amp.is_autocast_available(device.type):
        raise InputError(f"precision={precision!r} is not available on {device.type}: use 'fp32'.")
    return torch.autocast(device.type, DTYPES[precision])


def check_weights(model: nn.Module, precision: str) -> None:
    """Check that autocast can train these weights: float32, and under "bf16" also bfloat16.

    Raises:
        InputError: some weights are in another half precision, for example that of a checkpoint.
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
    """The scaler of the loss for "fp16", in which many gradients would round to 0 (§3.2); disabled otherwise.

    When a gradient overflows, the step is skipped and the factor is halved; after 2,000 good steps it is doubled. All
    processes skip the same steps, also with sharded gradients (FSDP2).
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
