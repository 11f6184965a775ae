"""Who asks for a kernel of attention gets it, in every family."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from cases import Family
from families import FAMILIES

from minitransformers.nn.attention import KERNELS


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@torch.no_grad()
def test_the_kernel_that_was_asked_for_computes(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers of the backbone; "sdpa" where nothing is asked for, and "eager" where weights are wanted."""
    case = family.classes[0]
    used: set[str] = set()

    def noted(name: str, kernel: Any, *args: Any, **kwargs: Any) -> Any:
        used.add(name)
        return kernel(*args, **kwargs)

    for name, kernel in list(KERNELS.items()):
        monkeypatch.setitem(KERNELS, name, partial(noted, name, kernel))
    model = case.ours(case.ours.config_class(**family.smallest_config(case.name))).eval()
    for asked, wants_weights, expected in (
        (None, False, "sdpa"),
        ("sdpa", False, "sdpa"),
        ("eager", False, "eager"),
        ("sdpa", True, "eager"),
    ):
        if asked is not None:
            model.set_attn_implementation(asked)
        used.clear()
        model(**smallest_input(model), output_attentions=wants_weights)
        assert used == {expected}


def smallest_input(model: Any) -> dict[str, torch.Tensor]:
    """Three tokens, or one image."""
    ids = torch.tensor([[1, 2, 3]])
    image = torch.zeros(1, 3, getattr(model.config, "image_size", 0), getattr(model.config, "image_size", 0))
    possible = {"input_ids": ids, "decoder_input_ids": ids, "pixel_values": image}
    return {name: value for name, value in possible.items() if name in model._forward_arguments}
