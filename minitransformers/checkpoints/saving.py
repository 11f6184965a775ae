"""A model's weights under the names that `transformers` reads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from minitransformers.checkpoints.rules import WeightTable


def to_reference_names(state: Mapping[str, Tensor], table: WeightTable, *, shared: bool = True) -> dict[str, Tensor]:
    """`state`, named as in our model, under the reference's names; matrices are transposed where they are there.

    Args:
        shared: also give the names that stand for a tensor which has another name already (tied weights). Files
            leave them out where the config ties the embeddings.
    """
    result: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        source = table.ties.get(ours, "")
        if not shared and source in state and state[source].data_ptr() == tensor.data_ptr():
            continue
        target = table.to_theirs(ours)
        result[target.name] = tensor.t() if target.transposed else tensor
    if shared:
        result.update({name: result[of] for name, of in table.doubles.items() if of in result})
    return result
