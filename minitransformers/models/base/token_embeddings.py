"""The tables of a model that have one row a token: which of them are one and the same, and how many tokens they hold.

The token embedding looks vectors up by token; the layer that scores the vocabulary multiplies by one such vector a
token. In most models both are the same parameter (Press and Wolf, 2017), and must stay so wherever PyTorch makes new
parameters: on another device or in another type, from a state dict, after resizing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.errors import InputError
from minitransformers.files.weight_names import WeightTable

logger = logging.getLogger(__name__)

ModelType = TypeVar("ModelType", bound="TokenTables")


class TokenTables(nn.Module):
    """What every model can do with its token tables: a base of `PreTrainedModel`."""

    base_model_prefix: ClassVar[str]
    weights: WeightTable
    config: Config
    init_parameter: Callable[[nn.Module, str, Tensor], None]

    # ---- which tables there are --------------------------------------------------------------------------------------

    @property
    def base_model(self) -> Any:
        """The backbone: this model without its head."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        embeddings: nn.Embedding = self.base_model.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the token embedding; an output layer that was tied to it stays as it is until `tie_weights()`."""
        self.base_model.set_input_embeddings(embeddings)

    def get_output_embeddings(self) -> nn.Linear | None:
        """The layer that scores the vocabulary; None where the model has none."""
        return None

    # ---- which of them are one ---------------------------------------------------------------------------------------

    def tie_weights(self) -> None:
        """Let the output layer and the token embedding be one parameter, where the config says so."""
        if self.config.tie_word_embeddings:
            self._tie(self._pairs())

    def _tie(self, pairs: Mapping[str, str]) -> None:
        names = dict(self.named_parameters(remove_duplicate=False))
        for name, source in pairs.items():
            path, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(path), leaf, names[source])

    def _tied(self) -> dict[str, str]:
        """Those of the weight table's pairs that are one parameter now."""
        names = dict(self.named_parameters(remove_duplicate=False))
        return {name: source for name, source in self._pairs().items() if names[name] is names[source]}

    def _pairs(self) -> dict[str, str]:
        """Those of the weight table's pairs that this model has: the name of each, and of what it may be tied to."""
        names = dict(self.named_parameters(remove_duplicate=False))
        return {name: source for name, source in self.weights.ties.items() if name in names and source in names}

    def _apply(self: ModelType, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ModelType:
        """What `.to()`, `.half()`, `.to_empty()` and the like do; tied weights stay so, on the meta device too."""
        tied = self._tied()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._tie(tied)
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in every module, with our names; tied weights stay so, also with `assign=True`."""
        tied = self._tied()
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._tie(tied)
        return result

    def _note_untied(self) -> None:
        """Where the file has two different weights for what the config ties, both are kept, and the config says so."""
        pairs = self._pairs()
        if self.config.tie_word_embeddings and self._tied() != pairs:
            self.config.tie_word_embeddings = False
            logger.warning(
                "The checkpoint has different weights for %s, which its config ties: both are kept, and "
                "tie_word_embeddings is now False.",
                " and ".join(next(iter(pairs.items()))),
            )

    # ---- how many tokens they hold -----------------------------------------------------------------------------------

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Make room for tokens that were added to the tokenizer, or drop the last ones; tied layers follow.

        Args:
            new_num_tokens: the new vocabulary size, `len(tokenizer)`; None changes nothing.
            pad_to_multiple_of: round it up to a multiple of this.
            mean_resizing: new tokens start at the mean of the old ones, with the slightest spread, so that they
                neither win nor lose against them (Hewitt, 2021); otherwise as in a new model.

        Returns:
            The token embedding.
        """
        embeddings = self.get_input_embeddings()
        if not isinstance(embeddings, nn.Embedding):
            raise InputError(f"{type(self).__name__} has no token embedding to resize.")
        size = embeddings.num_embeddings if new_num_tokens is None else new_num_tokens
        if size < 1:
            raise InputError(f"new_num_tokens={new_num_tokens} must be at least 1.")
        if pad_to_multiple_of is not None:
            size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
        if size == embeddings.num_embeddings:
            return embeddings
        if embeddings.padding_idx is not None and embeddings.padding_idx >= size:
            raise InputError(f"new_num_tokens={size} would drop the padding token {embeddings.padding_idx}.")
        head, pairs = self.get_output_embeddings(), self._tied()
        tied = head is not None and head.weight is embeddings.weight
        for table in self._token_embeddings():
            self._resize(table, "weight", size, mean_resizing)
            table.num_embeddings = size
        if head is not None:
            if tied:
                head.weight = embeddings.weight
            else:
                self._resize(head, "weight", size, mean_resizing)
            if head.bias is not None:
                self._resize(head, "bias", size, mean_resizing)
            head.out_features = size
        self._tie(pairs)
        self.config.vocab_size = size
        return embeddings

    def _token_embeddings(self) -> list[nn.Embedding]:
        """Every table in which tokens are looked up; an encoder–decoder has several, which may be tied or not."""
        return [self.get_input_embeddings()]

    @torch.no_grad()
    def _resize(self, module: nn.Module, name: str, size: int, mean_resizing: bool) -> None:
        old: nn.Parameter = getattr(module, name)
        new = nn.Parameter(old.new_empty(size, *old.shape[1:]), requires_grad=old.requires_grad)
        kept = min(size, old.shape[0])
        if mean_resizing:
            spread = old.float().std(dim=0, correction=0) * 1e-9**0.5
            new.copy_((old.float().mean(dim=0) + spread * torch.randn_like(new, dtype=torch.float32)).to(new.dtype))
        else:
            self.init_parameter(module, name, new)
        new[:kept] = old[:kept]
        setattr(module, name, new)
