"""Record every named intermediate value of a model's forward pass.

    with trace(model) as activations:
        model(**inputs)
    activations["transformer.h.0.mlp"]                 # the output of a module
    activations.input("transformer.h.0.mlp")           # its input
    activations.attentions[0].weights                  # (batch, heads, query, key), also of the fused kernel
    activations.residual()                             # embeddings, then the output of every block

The residual stream is that of Elhage et al. (2021), "A mathematical framework for transformer circuits".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.errors import InputError, nearest
from minitransformers.interpret.watching import blocks, canonical_name, stack_of, watch

_CROSS_ATTENTION = {"crossattention", "cross_attention", "encoder_attn", "EncDecAttention"}


@dataclass
class HeadActivations:
    """One call of attention, as its kernel computed it: rotated, with cached keys, shared keys repeated for each head.

    Attributes:
        name: the module that attends.
        kind: "self", or of an encoder-decoder "encoder", "decoder" or "cross".
        query, key, value: (batch, heads, length, width of a head).
        weights: (batch, heads, query, key); a row sums to 1 (0 where a query may attend to nothing).
        heads: (batch, heads, query, width of a head), the averaged values.
        projection: the linear layer that merges the heads, the next one to run after the kernel; "" without one.
    """

    name: str
    kind: str
    query: Float[Tensor, "batch heads query dim"]
    key: Float[Tensor, "batch heads key dim"]
    value: Float[Tensor, "batch heads key value_dim"]
    weights: Float[Tensor, "batch heads query key"]
    heads: Float[Tensor, "batch heads query value_dim"]
    projection: str = ""


@dataclass
class Activations:
    """What `trace` records of the model's last call.

    Attributes:
        outputs, inputs: by the name of a module, the first tensor of its output and of its arguments, for each call. If
            there was one call, they are `activations[name]` and `activations.input(name)`.
        attentions: all calls of attention, in order.
        order: the names of modules in the order in which they begin.
    """

    model: nn.Module = field(repr=False)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    attentions: list[HeadActivations] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    _residual: dict[str, list[Tensor]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Tensor:
        """The output of the module of that name.

        Raises:
            InputError: no such module, or it ran more often than once, or not at all.
        """
        return self._only(self.outputs, name, "outputs")

    def input(self, name: str) -> Tensor:
        """The input of the module of that name; errors as for its output."""
        return self._only(self.inputs, name, "inputs")

    def __contains__(self, name: object) -> bool:
        """Whether there is an output of that name."""
        return name in self.outputs

    def attention(self, name: str) -> HeadActivations:
        """The only call of attention in the module of that name, or in a module inside it."""
        name = canonical_name(self.model, name)
        found = [each for each in self.attentions if each.name == name or each.name.startswith(f"{name}.")]
        if len(found) != 1:
            raise InputError(
                f"{name!r} attends {len(found)} times. Take one of `activations.attentions`, whose names are "
                f"{[each.name for each in self.attentions]}."
            )
        return found[0]

    @property
    def stacks(self) -> list[str]:
        """The names of the stacks of blocks that ran, in order; the last one is what a head reads."""
        return list(self._residual)

    def residual(self, stack: str | None = None) -> list[Float[Tensor, "batch length hidden"]]:
        """The residual stream: the input of the first block, then the output of every block.

        Args:
            stack: one of `stacks`, for instance "encoder.block"; default: the last one to run.

        Raises:
            InputError: nothing was recorded, or there is no such stack.
        """
        if not self._residual:
            raise InputError("No block has run. Call the model inside `with trace(model) as activations:`.")
        stack = self.stacks[-1] if stack is None else stack
        if stack not in self._residual:
            raise InputError(f"There is no stack {stack!r}; there are {self.stacks}.{nearest(stack, self.stacks)}")
        return self._residual[stack]

    def _only(self, values: dict[str, list[Tensor]], name: str, what: str) -> Tensor:
        first = canonical_name(self.model, name)
        if first not in values:
            raise InputError(f"{name!r} did not run, or has no tensor among its {what}.")
        if len(values[first]) != 1:
            raise InputError(f"{name!r} ran {len(values[first])} times: take one of `activations.{what}[{first!r}]`.")
        return values[first][0]

    def _clear(self) -> None:
        for each in (self.outputs, self.inputs, self.attentions, self.order, self._residual):
            each.clear()


@contextmanager
def trace(model: nn.Module, *, detach: bool = True) -> Iterator[Activations]:
    """Record the intermediate values of every call of `model`; those of the last call remain.

    No output changes, not by one bit. The values stay readable after the block.

    Args:
        model: a model of any family, or a module that attends through `nn.attention.attend`.
        detach: record copies that have no gradients. False: the tensors themselves, for gradients with respect to them.
    """
    activations = Activations(model)
    root_name = ""
    kinds = {name: _kind(model, name) for name, _ in model.named_modules()}
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    block_names = {name for names in blocks(model).values() for name in names}
    unfinished: dict[str, Tensor] = {}

    def see(name: str, part: str, value: Tensor) -> None:
        if part == "input":
            if name == root_name:
                activations._clear()
            activations.order.append(name)
        kept = value.detach().clone() if detach else value
        if part in ("input", "output"):
            calls = activations.inputs if part == "input" else activations.outputs
            calls.setdefault(name, []).append(kept)
            if part == "input" and name in linear and activations.attentions:
                last = activations.attentions[-1]
                last.projection = last.projection or name
            if name in block_names:
                stream = activations._residual.setdefault(stack_of(name), [])
                if part == "output" or not stream:
                    stream.append(kept)
            return
        unfinished[part] = kept
        if part == "heads":
            activations.attentions.append(HeadActivations(name=name, kind=kinds[name], **unfinished))  # type: ignore[arg-type]
            unfinished.clear()

    with watch(model, see):
        yield activations


def _kind(model: nn.Module, name: str) -> str:
    parts = name.split(".")
    if _CROSS_ATTENTION & set(parts):
        return "cross"
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return "decoder" if "decoder" in parts else "encoder"
    return "self"
