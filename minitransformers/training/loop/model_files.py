"""The weights in a checkpoint's model files, `model.safetensors`: a run resumes from them, and no copy is written.

A few weights may be missing there, or be stored in another form: those of a model that is saved without its base, or
that a `save_model` of a user's own has changed. What the files do not hold exactly is kept in training/.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from minitransformers.errors import CheckpointError
from minitransformers.training.loop.distributed import unwrap
from minitransformers.training.loop.restoring import restoring
from minitransformers.training.loop.weights import named_weights

FILES = "model*.safetensors"


def weights_in_files(weights: Mapping[str, Tensor], directory: Path) -> dict[str, bool]:
    """The names of the weights that the model's files hold exactly, each with whether it is transposed there.

    (GPT-2's matrices are.)
    """
    found: dict[str, bool] = {}
    for path in sorted(directory.glob(FILES)):
        with safe_open(path, "pt") as file:
            for name in weights.keys() & set(file.keys()):
                stored, own = file.get_tensor(name), weights[name].cpu()
                if _is_same(stored, own):
                    found[name] = False
                elif stored.ndim == 2 and _is_same(stored.T, own):
                    found[name] = True
    return found


def read_weights(model: nn.Module, directory: Path, placed: Mapping[str, bool]) -> None:
    """Fill weights of the model, whole or sharded, from the model's files.

    Args:
        model: whose weights are filled in place.
        directory: of the checkpoint.
        placed: what `weights_in_files` returned for it.

    Raises:
        CheckpointError: a weight is missing, or has another size.
    """
    weights, left = named_weights(unwrap(model)), {*placed}
    for path in sorted(directory.glob(FILES)):
        with restoring(str(path)), safe_open(path, "pt") as file, torch.no_grad():
            for name in left & set(file.keys()) & weights.keys():
                stored = file.get_tensor(name)
                is_transposed = placed[name] is True and stored.ndim == 2
                _fill(name, weights[name], stored.T if is_transposed else stored, path)
                left.remove(name)
    if left:
        raise CheckpointError(f"{directory} cannot be loaded: its model files lack {sorted(left)[0]!r}.")


def _is_same(stored: Tensor, own: Tensor) -> bool:
    return stored.dtype == own.dtype and torch.equal(stored, own)


def _fill(name: str, weight: Tensor, stored: Tensor, path: Path) -> None:
    if stored.shape != weight.shape or stored.is_floating_point() != weight.is_floating_point():
        raise CheckpointError(
            f"{path.parent} cannot be loaded: {name} has the shape {tuple(stored.shape)} in {path.name} and "
            f"{tuple(weight.shape)} in the model."
        )
    local: Any = getattr(weight, "_local_tensor", None)
    if local is None:
        weight.copy_(stored)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(weight, DTensor)
    whole = stored.to(local.device)
    local.copy_(distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None).to_local())
