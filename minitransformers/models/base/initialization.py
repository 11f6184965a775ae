"""Initialization of new weights, and building a model whose weights come from a file without drawing any.

A family overrides `_init_weights(module)`, as does a user's subclass. It is called for every module, children before
their parents, whose weights are not loaded; whatever it writes to weights that are loaded has no effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_WRITING = {
    *("normal_", "uniform_", "trunc_normal_", "bernoulli_", "exponential_", "random_", "fill_", "zero_", "copy_"),
    *("constant_", "ones_", "zeros_", "eye_", "dirac_", "xavier_uniform_", "xavier_normal_", "sparse_", "orthogonal_"),
    *("kaiming_uniform_", "kaiming_normal_", "mul_", "div_", "add_", "sub_", "clamp_", "__setitem__"),
}


class Protected(TorchFunctionMode):
    """Inside, functions that initialize a tensor in place leave these tensors alone, and draw nothing for them."""

    def __init__(self, tensors: Collection[Tensor]) -> None:
        super().__init__()
        self._memory = {tensor.untyped_storage().data_ptr() for tensor in tensors if not tensor.is_meta}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, unless it would write to a protected tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _WRITING:
            target = args[0] if args else kwargs.get("tensor")
            if isinstance(target, Tensor) and self._is_protected(target):
                return target
        return func(*args, **kwargs)

    def _is_protected(self, tensor: Tensor) -> bool:
        return not tensor.is_meta and tensor.untyped_storage().data_ptr() in self._memory


class WithoutWeights(Protected):
    """Inside, modules are built with parameters on the meta device, and nothing is drawn for them.

    Layers of `torch.nn` allocate their parameters with `torch.empty`. Buffers, and parameters that are made in
    another way, are real.
    """

    def __init__(self) -> None:
        super().__init__(())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`; `torch.empty` allocates on the meta device."""
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return super().__torch_function__(func, types, args, kwargs)

    def _is_protected(self, tensor: Tensor) -> bool:
        return tensor.is_meta


class Initialization(nn.Module):
    """How a model initializes its modules, a base of `PreTrainedModel`."""

    config: Any

    def _init_weights(self, module: nn.Module) -> None:
        """Initialize the parameters of one module, in place.

        N(0, initializer_range²) for matrices and embeddings, 0 for biases and for the embedding of padding, 1 for the
        weights of norms (Devlin et al., 2018, appendix A.2 and the released code). LSTMs get Glorot and Bengio's
        uniform weights. Other modules keep what their constructors gave them.
        """
        std = next(
            (value for name in ("initializer_range", "init_std") if (value := getattr(self.config, name, None))), 0.02
        )
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, std)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                (nn.init.zeros_ if "bias" in name else nn.init.xavier_uniform_)(parameter)
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)):
            if module.weight is not None:
                nn.init.ones_(module.weight)
            bias: Any = getattr(module, "bias", None)
            if bias is not None:
                nn.init.zeros_(bias)
        elif isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()

    def initialize_weights(self) -> None:
        """Initialize every module that has not been loaded or initialized before."""
        with torch.no_grad():
            for owner, module in _children_first(self, self):
                if not getattr(module, "_is_hf_initialized", False):
                    owner._init_weights(module)
                    module._is_hf_initialized = True  # type: ignore[assignment]

    def _initialize_missing(self, missing: Collection[str], dtype: torch.dtype | None) -> None:
        """Initialize the parameters `missing`, by name, and consider all others loaded.

        A parameter that `_init_weights` does not write is initialized by its module's `reset_parameters`, as a new
        module would be.
        """
        for name in missing:
            parameter = self.get_parameter(name)
            if parameter.is_meta:
                empty = torch.full(parameter.shape, torch.nan, dtype=dtype or parameter.dtype, device="cpu")
                set_parameter(self, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))
        new = {id(self.get_parameter(name)) for name in missing}
        for module in self.modules():
            module._is_hf_initialized = not any(id(p) in new for p in module.parameters())  # type: ignore[assignment]
        with Protected([parameter for parameter in self.parameters() if id(parameter) not in new]):
            self.initialize_weights()
            for name in missing:
                module = self.get_submodule(name.rpartition(".")[0])
                if self.get_parameter(name).isnan().all() and hasattr(module, "reset_parameters"):
                    cast("Any", module).reset_parameters()


def set_parameter(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Let the parameter `name` of `model` be this one."""
    path, _, leaf = name.rpartition(".")
    model.get_submodule(path)._parameters[leaf] = parameter


def _children_first(owner: Initialization, module: nn.Module) -> Iterator[tuple[Initialization, nn.Module]]:
    """Every module inside `module` and then itself, each with the innermost model that it belongs to."""
    for child in module.children():
        yield from _children_first(child if isinstance(child, Initialization) else owner, child)
    yield owner, module
