"""DINOv2's table: ViT's images, of all sizes."""

from __future__ import annotations

from typing import Any

import vit_cases
from cases import Case, Family
from drawing import Draw, Example, seeds
from hypothesis import strategies as st
from mutations import EVERYWHERE
from torch import Tensor


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    of_vit = vit_cases.config(draw)
    for name in ("intermediate_size", "encoder_stride", "pooler_output_size", "pooler_act"):
        del of_vit[name]
    return {
        **of_vit,
        "mlp_ratio": draw(st.integers(1, 4)),
        "layerscale_value": draw(st.sampled_from([1.0, 1e-5])),
        "drop_path_rate": draw(st.sampled_from([0.0, 0.3])),
        "use_mask_token": draw(st.sampled_from([True, True, False])),
        **fixed,
    }


def images(draw: Draw, chosen: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    arguments, real = vit_cases.images(draw, chosen)
    arguments.pop("interpolate_pos_encoding", None)  # it always is
    return arguments, real


@st.composite
def backbone(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = images(draw, chosen)
    if chosen["use_mask_token"] and draw(st.booleans()):
        arguments["bool_masked_pos"] = vit_cases.hidden_patches(draw, real)
    return Example(chosen, arguments, real, draw(seeds()))


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state"})
# It has dropout of whole sub-layers at most, and other numbers while training only by chance.
_MUTATIONS = (*(each for each in EVERYWHERE if each not in ("no segments", "training mode")), "unscaled")

DINOV2 = Family(
    "Dinov2Config",
    config,
    [
        Case("Dinov2Model", backbone(), _PER_TOKEN, (*_MUTATIONS, "patches turned", "nothing hidden")),
        Case(
            "Dinov2ForImageClassification",
            vit_cases.image_classification(config, images),
            _PER_TOKEN,
            ("attention scale", "class token alone", "other labels"),
        ),
    ],
    smallest={
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_ratio": 1,
        "image_size": 8,
        "patch_size": 4,
    },
)
