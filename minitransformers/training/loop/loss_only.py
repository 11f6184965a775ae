"""Forward passes for the loss alone: without the logits that it does not need, and without padding.

`train` and `Trainer` use them by themselves where nothing else reads the model's output. In a loop of one's own:

    with loss_only(model, batch):
        loss = model(**batch).loss

Loss and gradients are those of the whole forward pass, to rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.loss import CrossEntropyLoss

from minitransformers.inference.unpadding import encoder_stacks, pack, pad_again
from minitransformers.models.base.attributes import ModelAttributes
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.batches import Batch
from minitransformers.training.loop.distributed import unwrap


@contextmanager
def loss_only(model: nn.Module, batch: Batch) -> Iterator[None]:
    """Let the forward pass of the `with` block compute what its loss needs.

    - Masked language models, and T5 and BART, score the positions that have a label. Their output has logits of those
      alone, (labels, vocabulary).
    - Causal language models compute the logits of some tokens at a time (nn/linear_cross_entropy.py). Their output has
      the loss and nothing else.
    - On a CPU, the blocks of BERT, RoBERTa, XLM-RoBERTa, ELECTRA, ALBERT and DistilBERT leave out padding, unless the
      loss reads it, with the "sdpa" kernel. With dropout they do so only after `model.optimize()`: it draws other
      random numbers for a packed row than for a padded batch, and a run would no longer be that of transformers.

    A model that has been changed is run as it is: one of a user's own class with its own `forward` or `loss_function`,
    with a forward hook on the model or its head, or in other wrappers than those of `parallelize` and `torch.compile`.
    A hook on a block sees padding.
    """
    plain: Any = unwrap(model)
    if not is_unchanged(model, plain):
        yield
        return
    with ExitStack() as hooks:
        if reads_no_padding(plain, batch):
            for stack in filter(may_leave_out_padding, encoder_stacks(plain)):
                hooks.callback(stack.register_forward_pre_hook(pack).remove)
                if not is_optimized(stack):  # which has a hook that pads again
                    hooks.callback(stack.register_forward_hook(pad_again).remove)
        plain._loss_only = True
        hooks.callback(delattr, plain, "_loss_only")
        yield


def is_unchanged(model: nn.Module, plain: nn.Module) -> bool:
    """Whether the model computes its loss as this library defines it, and nobody looks at its logits."""
    if not isinstance(plain, PreTrainedModel):
        return False
    kind = type(plain)
    functions = kind.forward, kind.__call__, kind._loss_function
    is_ours = all(function.__module__.startswith("minitransformers.models.") for function in functions)
    is_replaced = {"forward", "_loss_function"} & vars(plain).keys() or "loss_function" in plain._modules
    has_own_loss = type(getattr(plain, "mlm_loss_fct", None)) not in (type(None), CrossEntropyLoss)
    if not is_ours or is_replaced or has_own_loss or kind.loss_function is not ModelAttributes.loss_function:
        return False
    backbone = getattr(plain, plain.base_model_prefix, None)
    heads = (module for child in plain.children() if child is not backbone for module in child.modules())
    return not any(map(has_hooks, {model, plain, *heads}))


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody has put hooks into the module's forward pass; those of PyTorch itself do not count."""
    hooks = *module._forward_hooks.values(), *module._forward_pre_hooks.values()
    return any(not str(getattr(hook, "__module__", "")).startswith("torch.") for hook in hooks)


def may_leave_out_padding(stack: nn.Module) -> bool:
    """Whether `optimize` has been called, or nobody can notice: no dropout draws numbers, and nobody looks inside."""
    if is_optimized(stack):
        return True
    draws = any(module.p > 0 and module.training for module in stack.modules() if isinstance(module, nn.Dropout))
    return not draws and not any(map(has_hooks, stack.modules()))


def is_optimized(stack: nn.Module) -> bool:
    """Whether `optimize` has been called."""
    return "_unpadding_hooks" in vars(stack)


def reads_no_padding(model: nn.Module, batch: Batch) -> bool:
    """Whether the loss is the same whatever the model computes at padding."""
    mask, labels = batch.get("attention_mask"), batch.get("labels")
    if not isinstance(mask, Tensor) or not isinstance(labels, Tensor):
        return False
    if "start_positions" in inspect.signature(model.forward).parameters:
        return False  # the softmax of question answering includes padding
    if labels.ndim < 2:  # of whole texts
        return True
    return labels.shape == mask.shape and bool(labels[mask == 0].eq(IGNORED).all())
