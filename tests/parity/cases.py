"""A case: one class of ours beside the reference's of the same name, and everything needed to try both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from unittest.mock import patch

import torch
import transformers
from comparing import Flat, flat, gradients
from drawing import Example, as_the_reference_takes_it, cast, redraw_parameters
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention
from transformers.models.openai.modeling_openai import Attention as OpenAIGPTAttention
from transformers.models.t5.modeling_t5 import T5Attention

import minitransformers as mt

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# Functions that the reference computes both by a formula and by a fused kernel.
FUSED_ACTIVATIONS = {
    "gelu_python": "gelu",
    "gelu_new": "gelu_pytorch_tanh",
    "gelu_fast": "gelu_pytorch_tanh",
    "gelu_accurate": "gelu_pytorch_tanh",
    "gelu_python_tanh": "gelu_pytorch_tanh",
}
FUSED_ACTIVATIONS |= {f"gated-{formula}": f"gated-{fused}" for formula, fused in FUSED_ACTIVATIONS.items()}
FUSED_ACTIVATIONS["gated-gelu"] = "gated-gelu_pytorch_tanh"  # T5's name for the approximation


@dataclass(frozen=True)
class Case:
    """One line of a family's table.

    Attributes:
        name: of the class, in both libraries.
        examples: what it is tried with.
        per_token: outputs that have a row for each token, besides hidden states, attentions and the cache.
        mutations: errors that the comparison must notice; names from mutations.py.
        about: what sets this case apart from others of the same class.
        has_cache: tried in chunks too, each continuing from the cache of those before.
    """

    name: str
    examples: st.SearchStrategy[Example]
    per_token: frozenset[str]
    mutations: tuple[str, ...]
    about: str = ""
    has_cache: bool = False

    @property
    def ours(self) -> type[mt.PreTrainedModel]:
        return getattr(mt, self.name)

    @property
    def reference(self) -> type[Any]:
        return getattr(transformers, self.name)

    def __repr__(self) -> str:
        return f"{self.name} {self.about}".strip().replace(" ", "-")


@dataclass(frozen=True)
class Family:
    """What every suite goes through, for one family: its classes, and what its files look like.

    Attributes:
        config_class: its name, in both libraries.
        config: draws keyword arguments of the configuration; further ones are fixed.
        cases: its table.
        smallest: fields of a configuration that is quickly built.
        smallest_of: further fields that one class needs.
        parts: classes that have a part of the backbone only, so that others cannot be loaded from their files.
        tied: the weights, by the reference's names, that a file may lack where embeddings are tied.
        former_buffers: (configuration, prefix of the backbone) -> what files of the 4.x years have among the weights.
        former_fields: configuration -> what their config.json has besides today's fields.
    """

    config_class: str
    config: Callable[..., dict[str, Any]]
    cases: list[Case]
    smallest: dict[str, Any]
    smallest_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    former_buffers: Callable[[Any, str], dict[str, Tensor]] = lambda config, prefix: {}
    former_fields: Callable[[Any], dict[str, Any]] = lambda config: {}

    @property
    def classes(self) -> list[Case]:
        """One case of each class."""
        return list({case.name: case for case in reversed(self.cases)}.values())[::-1]

    def smallest_config(self, name: str) -> dict[str, Any]:
        """Keyword arguments of the configuration of a small model of the class `name`."""
        return {**self.smallest, **self.smallest_of.get(name, {})}

    def __repr__(self) -> str:
        return self.config_class.removesuffix("Config")


class Pair:
    """The reference's model and ours with the same weights, in evaluation mode, and the input for both."""

    def __init__(self, case: Case, example: Example, dtype: torch.dtype = torch.float64) -> None:
        self.case, self.example, self.dtype = case, example, dtype
        self.reference = self._reference(example.config)
        redraw_parameters(self.reference, example.seed)
        to_dtype(self.reference, dtype)
        self.ours = case.ours(case.ours.config_class(**example.config), **example.constructor).eval()
        to_dtype(self.ours, dtype).load_state_dict(self.reference.state_dict())
        self.our_arguments = cast(example.arguments, dtype)
        self.reference_arguments = as_the_reference_takes_it(self.our_arguments, dtype)

    def run_ours(self, kernel: str = "eager", **further: Any) -> tuple[Flat, Flat]:
        """Our outputs and gradients."""
        self.ours.set_attn_implementation(kernel)
        return self._run(self.ours, {**self.our_arguments, **further})

    def run_reference(self, **further: Any) -> tuple[Flat, Flat]:
        """The reference's outputs and gradients, with its eager kernel."""
        with self.exactly():
            return self._run(self.reference, {**self.reference_arguments, **further})

    def exactly(self) -> AbstractContextManager[None]:
        """Inside, the reference computes in the dtype of this pair, float64 included."""
        return rounding_nothing() if self.dtype == torch.float64 else nullcontext()

    def cache_that_keeps_all(self) -> Any:
        """A cache for the reference, where its own would forget what windows no longer see; None elsewhere."""
        forgets = getattr(self.reference.config, "sliding_window", None) is not None
        return transformers.DynamicCache() if forgets else None

    def run_the_references_other_programs(self, **further: Any) -> Iterator[tuple[Flat, Flat]]:
        """What the reference gives where it computes the same by other programs.

        It has two kernels of attention, two of GELU, a formula and a fused one, and two of RMS norms. Its GPT-1 and
        GPT-Neo are lent the second kernel of attention, by which ours is measured there too.
        """
        arguments = {**self.reference_arguments, **further}
        model, has_formula = self._with_fused_activation
        if has_formula:
            yield self._run(model, arguments)
        with fused_rms_norms(model) as has_norms:
            if has_norms:
                yield self._run(model, arguments)
        without_attentions = {**arguments, "output_attentions": False}
        if model._supports_sdpa:
            model.set_attn_implementation("sdpa")
            yield self._run(model, without_attentions)
            model.set_attn_implementation("eager")
        with fused_attention(model) as has_attention:
            if has_attention:
                yield self._run(model, without_attentions)

    def run_the_reference_nudged(self, **further: Any) -> tuple[Flat, Flat]:
        """What the reference gives for weights that are off by up to one unit in their last place."""
        model, random = copy.deepcopy(self.reference), torch.Generator().manual_seed(self.example.seed)
        with torch.no_grad():
            for weight in model.parameters():
                nudges = torch.rand(weight.shape, generator=random, dtype=torch.float64) * 2 - 1
                weight *= (1 + nudges * torch.finfo(self.dtype).eps).to(weight.dtype)
        return self._run(model, {**self.reference_arguments, **further})

    @cached_property
    def _with_fused_activation(self) -> tuple[nn.Module, bool]:
        config = self.example.config
        fused = {key: FUSED_ACTIVATIONS.get(value, value) for key, value in config.items() if isinstance(value, str)}
        if fused == {key: config[key] for key in fused}:
            return self.reference, False
        model = to_dtype(self._reference({**config, **fused}), self.dtype)
        model.load_state_dict(self.reference.state_dict())
        return model, True

    def _reference(self, config: dict[str, Any]) -> Any:
        config = {**config, "attn_implementation": "eager"}
        if self.dtype == torch.float64:  # in which the reference cannot run this, and it should change nothing
            config.pop("reorder_and_upcast_attn", None)
        model = self.case.reference(self.case.reference.config_class(**config), **self.example.constructor).eval()
        return to_dtype(model, torch.float64)

    def _run(self, model: nn.Module, arguments: dict[str, Any]) -> tuple[Flat, Flat]:
        per_token = self.case.per_token - ({"logits"} if "logits_to_keep" in arguments else set())
        if model is not self.ours and arguments.get("use_cache", getattr(model.config, "use_cache", False)):
            cache = self.cache_that_keeps_all()
            arguments = {**arguments, **({} if cache is None else {"past_key_values": cache})}
        tensors = flat(model(**arguments), self.example.real, per_token)
        return tensors, gradients(model, tensors, self.ours.checkpoint_names)


@contextmanager
def fused_rms_norms(model: nn.Module) -> Iterator[bool]:
    """Let PyTorch's fused kernel compute the norms that the reference has as a formula; give whether there are any."""

    def fused(norm: nn.Module, hidden_states: Tensor) -> Tensor:
        return F.rms_norm(hidden_states, norm.weight.shape, norm.weight, norm.variance_epsilon)

    norms = [module for module in model.modules() if hasattr(module, "variance_epsilon")]
    for norm in norms:
        norm.forward = partial(fused, norm)
    yield bool(norms)
    for norm in norms:
        del norm.forward


@contextmanager
def fused_attention(model: nn.Module) -> Iterator[bool]:
    """Let PyTorch's fused kernel compute attention in a GPT-1 or GPT-Neo, which have a formula only; give whether."""

    def of_gpt1(block: Any, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, *_: Any) -> Any:
        length = query.shape[-2]
        mask = -1e4 * (1 - block.bias[:, :, :length, :length]) + (0 if padding is None else padding)
        return [F.scaled_dot_product_attention(query, key.transpose(-2, -1), value, mask)]

    def of_gpt_neo(block: Any, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None = None) -> Any:
        seen, lowest = key.shape[-2], torch.finfo(query.dtype).min
        hidden = ~block.bias[:, :, seen - query.shape[-2] : seen, :seen]
        mask = lowest * hidden.to(query.dtype) + (0 if padding is None else padding)
        return F.scaled_dot_product_attention(query, key, value, mask, scale=1.0), None

    lent = {OpenAIGPTAttention: of_gpt1, GPTNeoSelfAttention: of_gpt_neo}
    blocks = [module for module in model.modules() if type(module) in lent]
    for block in blocks:
        block._attn = partial(lent[type(block)], block)
    yield bool(blocks)
    for block in blocks:
        del block._attn


def to_dtype(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert the parameters, and not what is computed of the configuration: `from_pretrained` does the same."""
    computed = {
        # GPT-1's causal mask, `bias`, is multiplied by what attends, and must be of its type.
        module: {name: getattr(module, name) for name in module._non_persistent_buffers_set if name != "bias"}
        for module in model.modules()
    }
    model.to(dtype)
    for module, buffers in computed.items():
        for name, buffer in buffers.items():
            setattr(module, name, buffer)
    return model


@contextmanager
def rounding_nothing() -> Iterator[None]:
    """Keep the reference from rounding to float32 in a float64 run, as its losses, softmax and RMS norms do."""
    to, to_float, softmax = torch.Tensor.to, torch.Tensor.float, F.softmax

    def to_nothing_narrower(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        narrows = tensor.dtype == torch.float64 and torch.float32 in (*args, kwargs.get("dtype"))
        # What is copied are logits in `generate`, which are float32 on both sides.
        return tensor if narrows and not kwargs.get("copy") else to(tensor, *args, **kwargs)

    def as_wide_as_it_is(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return tensor
        # Labels are scored beside float64; the angles of rotary positions (…, length, 1) are float32 everywhere.
        return to(tensor, torch.float32 if tensor.ndim == 3 else torch.float64)

    buckets = T5Attention._relative_position_bucket

    def buckets_in_float32(*args: Any, **kwargs: Any) -> Tensor:
        with patch.object(torch.Tensor, "float", to_float):  # the rounding of a logarithm decides
            return buckets(*args, **kwargs)

    longrope = ROPE_INIT_FUNCTIONS["longrope"]

    def longrope_in_float32(*args: Any, **kwargs: Any) -> Any:
        with patch.object(torch.Tensor, "float", to_float):  # in which the others are computed, by the constructor
            return longrope(*args, **kwargs)

    def softmax_as_it_is(tensor: Tensor, *args: Any, dtype: torch.dtype | None = None, **kwargs: Any) -> Tensor:
        return softmax(tensor, *args, **kwargs, dtype=None if tensor.dtype == torch.float64 else dtype)

    with (
        patch.object(torch.Tensor, "float", as_wide_as_it_is),
        patch.object(torch.Tensor, "to", to_nothing_narrower),
        patch.object(F, "softmax", softmax_as_it_is),
        patch.object(T5Attention, "_relative_position_bucket", staticmethod(buckets_in_float32)),
        patch.dict(ROPE_INIT_FUNCTIONS, longrope=longrope_in_float32),
    ):
        yield
