"""Which classes a law is tried on, in groups: each group's are drawn in turn by one test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fewer import fewer
from hypothesis import strategies as st

from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.bert import BertConfig
from minitransformers.models.gpt2 import GPT2Config
from minitransformers.testing import laws, strategies
from minitransformers.testing.families import CLASSES, FAMILIES, OF_IMAGES

# Both of them have all there is, pre-norm and post-norm, and so each of their classes has a test of its own.
IN_DETAIL = (BertConfig, GPT2Config)

TEXT_CLASSES = tuple(model for model in CLASSES if model not in OF_IMAGES)
CAUSAL_FAMILIES = tuple(
    family
    for family in FAMILIES
    if family.model_type in ("gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "openai-gpt", "qwen2")
)


def takes(model: Any, *arguments: str) -> bool:
    """Whether a model, or a class of models, has these arguments."""
    return model._forward_arguments.issuperset(arguments)


def named(*ends: str, among: Iterable[type[PreTrainedModel]] = CLASSES) -> tuple[type[PreTrainedModel], ...]:
    """The classes whose names end so."""
    return tuple(model for model in among if model.__name__.endswith(ends))


def without(*left_out: type[PreTrainedModel], among: Iterable[type[PreTrainedModel]]) -> tuple[Any, ...]:
    return tuple(model for model in among if model not in left_out)


def each(classes: Iterable[type[PreTrainedModel]]) -> Callable[[Any], Any]:
    """A test for each family that has some of `classes`, and for each of BERT's and GPT-2's among them.

    A third of the profile's examples in each: with so many tests, mistakes that are of no one family show anyhow.
    """
    groups: dict[str, list[type[PreTrainedModel]]] = {}
    for model in classes:
        family = model.config_class
        groups.setdefault(model.__name__ if family in IN_DETAIL else family.model_type, []).append(model)

    def decorate(test: Any) -> Any:
        return pytest.mark.parametrize("classes", list(groups.values()), ids=list(groups))(fewer(3)(test))

    return decorate


def as_decoder(model_class: type[PreTrainedModel]) -> dict[str, bool]:
    """The fields that make a decoder of a model that may be an encoder."""
    is_bert = (
        "add_cross_attention" in model_class.config_class._fields and "is_decoder" in model_class.config_class._fields
    )
    return {"is_decoder": True} if is_bert else {}


@st.composite
def decoders(draw: Any, *classes: type[PreTrainedModel], **fixed: Any) -> PreTrainedModel:
    """One of `classes`, causal."""
    model_class = draw(st.sampled_from(classes))
    return draw(strategies.tiny_models(model_class, **{**as_decoder(model_class), **fixed}))


@st.composite
def with_cross_attention(draw: Any, *classes: type[PreTrainedModel]) -> PreTrainedModel:
    """One of `classes`, causal, and able to attend to a context; BART's decoder always is."""
    model_class = draw(st.sampled_from(classes))
    fields = {"add_cross_attention": True} if "add_cross_attention" in model_class.config_class._fields else {}
    return draw(decoders(model_class, **fields))


@st.composite
def target_sides(draw: Any, *classes: type[PreTrainedModel], min_length: int = 2, **batch: Any) -> Any:
    """An encoder–decoder that has been given a source, and the ids and mask of a target."""
    model = draw(strategies.tiny_models(*classes))
    source = draw(strategies.token_batches(**batch))
    target = draw(strategies.token_batches(batch=len(source["input_ids"]), min_length=min_length))
    return laws.TargetSide(model, source), target
