"""The token embedding and the layer that scores the vocabulary: tied or not, and resized together.

The embedding looks vectors up by token; the output layer multiplies by one such vector a token. In most models both are
the same parameter (Press and Wolf, 2017), and must stay so wherever PyTorch makes new parameters: on another device or
in another type, from a state dict, after resizing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.files.checkpoint_names import CheckpointNames

logger = logging.getLogger(__name__)

ModelType = TypeVar("ModelType", bound="TokenEmbeddings")


class TokenEmbeddings(nn.Module):
    """Tied and resized token embeddings, a base of `PreTrainedModel`.

    A family sets the names of three things:

    - `_input_embeddings`, the token embedding in the backbone;
    - `_output_embeddings`, the layer that scores the vocabulary, in models that have one;
    - `_tied_weights_keys`, pairs of parameters that are one: the name of each, and of its source. A class has those
      pairs of which it has both.
    """

    _input_embeddings: ClassVar[str] = ""
    _output_embeddings: ClassVar[str] = ""

    base_model_prefix: ClassVar[str]
    checkpoint_names: ClassVar[CheckpointNames]
    _tied_weights_keys: ClassVar[dict[str, str]] = {}
    config: Any
    _init_weights: Callable[[nn.Module], None]

    # ---- which embeddings there are ----------------------------------------------------------------------------------

    @property
    def base_model(self) -> Any:
        """The backbone: this model without its head."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> Any:
        """The token embedding."""
        base = self.base_model
        return base.get_submodule(base._input_embeddings) if base is self else base.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding; an output layer that was tied to it stays as it is until `tie_weights()`.

        `config.vocab_size` becomes the number of its vectors.
        """
        base = self.base_model
        if base is not self:
            base.set_input_embeddings(value)
        else:
            _replace(self, self._input_embeddings, value)
            if isinstance(value, nn.Embedding):
                self.config.vocab_size = value.num_embeddings

    def get_output_embeddings(self) -> Any:
        """The layer that scores the vocabulary; None where the model has none."""
        return self.get_submodule(self._output_embeddings) if self._has_output_embeddings() else None

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the layer that scores the vocabulary."""
        if not self._has_output_embeddings():
            raise InputError(f"{type(self).__name__} has no layer that scores the vocabulary.")
        _replace(self, self._output_embeddings, new_embeddings)

    def _has_output_embeddings(self) -> bool:
        return self._output_embeddings in dict(self.named_modules()).keys() - {""}

    # ---- which of them are one ---------------------------------------------------------------------------------------

    def tie_weights(self) -> None:
        """Let the output layer and the token embedding be one parameter, where the config says so."""
        if self.config.tie_word_embeddings:
            self._tie(self._pairs())
            self._fit_bias()

    def _fit_bias(self) -> None:
        """Give the output layer's bias, and its size, the length of the tied weight: new entries are 0."""
        head = self.get_output_embeddings()
        if head is None or head.weight.shape[0] == head.out_features:
            return
        old, size = head.bias, head.weight.shape[0]
        head.out_features = size
        if old is None:
            return
        new = nn.Parameter(old.new_zeros(size), requires_grad=old.requires_grad)
        with torch.no_grad():
            new[: min(size, len(old))] = old[:size]
        # In some heads the bias has a second name.
        for name in [name for name, parameter in self.named_parameters(remove_duplicate=False) if parameter is old]:
            path, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(path), leaf, new)

    def _tie(self, pairs: Mapping[str, str]) -> None:
        names = dict(self.named_parameters(remove_duplicate=False))
        for name, source in pairs.items():
            path, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(path), leaf, names[source])

    def _tied(self) -> dict[str, str]:
        """The pairs that are one parameter now."""
        names = dict(self.named_parameters(remove_duplicate=False))
        return {name: source for name, source in self._pairs().items() if names[name] is names[source]}

    def _pairs(self) -> dict[str, str]:
        """The pairs of `_tied_weights_keys` of which this model has both parameters."""
        names = dict(self.named_parameters(remove_duplicate=False))
        return {name: source for name, source in self._tied_weights_keys.items() if {name, source} <= names.keys()}

    def _apply(self: ModelType, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ModelType:
        """What `.to()`, `.half()`, `.to_empty()` and the like do; tied weights stay so, on the meta device too."""
        tied = self._tied()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._tie(tied)
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in every module; tied weights stay tied, also with `assign=True`.

        Takes the state dict of the same class of transformers too. Its matrices of GPT-1 and GPT-2 are transposed,
        which the shapes tell.
        """
        shapes = {name: tuple(parameter.shape) for name, parameter in self.state_dict().items()}
        matrices = [name for name in state_dict if name in shapes and self.checkpoint_names.is_transposed(name)]
        if any(tuple(state_dict[name].shape) == shapes[name][::-1] != shapes[name] for name in matrices):
            state_dict = {name: value.t() if name in matrices else value for name, value in state_dict.items()}
        tied = self._tied()
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._tie(tied)
        return result

    def _note_untied(self) -> None:
        """Keep both weights where the file has two different ones for a tied pair, and let the config say so."""
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
            mean_resizing: new tokens start at the mean of the old ones with a tiny spread, so that they are neither
                likelier nor less likely than those (Hewitt, 2021); otherwise as in a new model. The bias of a tied
                head is 0 for them.

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
        old = embeddings.weight
        self._resize(embeddings, size, mean_resizing)
        for table in self._token_embeddings():
            if table.weight is old:
                table.weight = embeddings.weight
            elif table is not embeddings:
                self._resize(table, size, mean_resizing)
            table.num_embeddings = size
        if head is not None:
            if head.weight is old:
                head.weight = embeddings.weight
                if head.bias is not None:
                    head.bias = _with_zeros(head.bias, size)
            else:
                self._resize(head, size, mean_resizing)
            if head.bias is not None:
                bias, twins = f"{self._output_embeddings}.bias", self._pairs()
                self._tie({twins[bias]: bias} if bias in twins else {})  # the head's own parameter is the new one
            head.out_features = size
        self._tie(pairs)
        self.config.vocab_size = size
        return embeddings

    def _token_embeddings(self) -> list[nn.Embedding]:
        """Every embedding of tokens; an encoder–decoder has several, which may be tied or not."""
        return [self.get_input_embeddings()]

    @torch.no_grad()
    def _resize(self, module: Any, size: int, mean_resizing: bool) -> None:
        """Give an embedding, or a head, `size` rows. It draws as transformers does, a whole new layer first."""
        (rows, width), like = module.weight.shape, {"dtype": module.weight.dtype, "device": module.weight.device}
        bias = getattr(module, "bias", None)
        new: Any
        if isinstance(module, nn.Embedding):
            new = nn.Embedding(size, width, **like)
        else:
            new = nn.Linear(width, size, bias=bias is not None, **like)
        if size > rows and mean_resizing:
            new.weight[rows:] = _draws_like(module.weight, size - rows)
            if bias is not None:
                new.bias[rows:] = torch.randn_like(new.bias[rows:]) * 1e-9 * bias.std() + bias.mean()
        elif size > rows:
            self._init_weights(new)
        for name, old in (("weight", module.weight), ("bias", bias)):
            if old is not None:
                grown = getattr(new, name)
                grown[: min(size, rows)] = old[:size]
                setattr(module, name, nn.Parameter(grown.detach(), requires_grad=old.requires_grad))


def _with_zeros(bias: nn.Parameter, size: int) -> nn.Parameter:
    grown = bias.new_zeros(size)
    grown[: len(bias)] = bias.detach()[:size]
    return nn.Parameter(grown, requires_grad=bias.requires_grad)


def _draws_like(old: Tensor, count: int) -> Tensor:
    """Rows from a normal distribution with the old rows' mean, and 1e-9 of their covariance (Hewitt, 2021)."""
    mean = old.float().mean(dim=0)
    centered = old.float() - mean
    covariance = centered.T @ centered / len(old) * 1e-9
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if old.is_meta or failed:  # not of full rank, as where there are fewer tokens than features
        return mean.expand(count, -1).to(old.dtype)
    return torch.distributions.MultivariateNormal(mean, scale_tril=factor).sample((count,)).to(old.dtype)


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
