"""A tiny model and a batch with labels for every class, the same at each call: for tests that need no more than one.

What hypothesis draws, many different ones, is in `minitransformers.testing.strategies`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.losses import IGNORED
from minitransformers.testing.families import (
    LABELS,
    OF_IMAGES,
    WITH_CHOICES,
    WITH_ENDS,
    WITH_TARGET,
    Label,
    listed_class,
    small_fields,
)
from minitransformers.testing.weights import draw_weights, without_dropout

ModelType = TypeVar("ModelType", bound=PreTrainedModel)


def tiny_model(
    model_class: type[ModelType],
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    dropout: bool = False,
    **fields: Any,
) -> ModelType:
    """Two layers of three heads over 13 tokens, in evaluation mode, every weight drawn (see `draw_weights`).

    Args:
        seed: of the weights.
        dropout: as in the config's defaults; otherwise there is none.
        fields: of the config. A class that must be one is built as a decoder.
    """
    config = model_class.config_class(**small_fields(model_class, dropout=dropout, **fields))
    model = draw_weights(model_class(config).to(dtype).eval(), seed)
    return model if dropout else without_dropout(model)


def example_batch(
    model: PreTrainedModel, *, rows: int = 2, length: int = 5, padding: int = 2, labels: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """What the class of `model` is given: ids and masks, or images, and labels of every kind that it takes.

    Args:
        rows: texts or images, each text with three choices where the class asks for them.
        length: tokens in each; a target, of an encoder–decoder, has one more.
        padding: how many of them, on the right of the last text and target, are padding.
        labels: whether to give labels.
    """
    model_class, generator = listed_class(model), torch.Generator().manual_seed(seed)
    config: Any = model.config
    choices = 3 if model_class in WITH_CHOICES else 1
    batch: dict[str, Tensor] = {}

    def add_text(prefix: str, shape: tuple[int, ...]) -> None:
        mask = torch.ones(shape, dtype=torch.long)
        if padding:
            mask[-1, ..., -padding:] = 0
        ids = torch.randint(1, config.vocab_size, shape, generator=generator)
        if model_class in WITH_ENDS:
            ids = with_one_end(ids, mask, config.eos_token_id)
        batch.update({f"{prefix}input_ids": ids * mask, f"{prefix}attention_mask": mask})

    if model_class in OF_IMAGES:
        batch["pixel_values"] = torch.randn(
            rows, config.num_channels, config.image_size, config.image_size, generator=generator
        ).to(model.dtype)
    else:
        add_text("", (rows, choices, length) if model_class in WITH_CHOICES else (rows, length))
    if model_class in WITH_TARGET:
        add_text("decoder_", (rows, length + 1))
    for name, label in LABELS[model_class].items() if labels else ():
        shape, limit, is_token = label_sizes(model, label, batch)
        drawn = torch.randint(0, limit, shape, generator=generator)
        if label.shape == "patch":
            batch[name] = drawn.bool()
        else:
            batch[name] = (
                drawn if is_token is None or not label.may_be_ignored else drawn.masked_fill(is_token == 0, IGNORED)
            )
    return batch


def label_sizes(
    model: PreTrainedModel, label: Label, batch: dict[str, Tensor]
) -> tuple[tuple[int, ...], int, Tensor | None]:
    """The shape of labels of one kind for a batch, below what they are, and for tokens the mask of those."""
    config: Any = model.config
    if label.shape == "patch":
        rows, columns = config.grid
        return (len(batch["pixel_values"]), rows * columns), int(label.limit), None
    if "pixel_values" in batch:
        return (len(batch["pixel_values"]),), getattr(config, str(label.limit)), None
    mask = batch["attention_mask"]
    limits = {"choices": mask.shape[1], "length": int(mask.sum(dim=-1).min())}
    limit = label.limit if isinstance(label.limit, int) else limits.get(label.limit)
    if limit is None:
        limit = getattr(config, str(label.limit))
    if label.shape == "token":
        mask = batch.get("decoder_attention_mask", mask)
        return tuple(mask.shape), limit, mask
    return tuple(mask.shape[: 2 if label.shape == "choice" else 1]), limit, None


def with_one_end(ids: Tensor, mask: Tensor, eos_token_id: int) -> Tensor:
    """`ids` whose last real token is the end of the text, and no other one is."""
    other = eos_token_id + 1
    last = (mask * torch.arange(1, mask.shape[-1] + 1)).argmax(dim=-1, keepdim=True)
    return ids.masked_fill(ids == eos_token_id, other).scatter(-1, last, eos_token_id)
