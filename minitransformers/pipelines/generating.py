"""What tasks that generate text share: their settings, and the outputs of `generate` by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor

from minitransformers.auto import AutoModelForCausalLM
from minitransformers.errors import InputError
from minitransformers.generation.config import OPTION_NAMES
from minitransformers.generation.mixin import OWN_ARGUMENTS
from minitransformers.outputs import ModelOutput
from minitransformers.pipelines.base import Parameters, Pipeline

# Settings that need do_sample=True
_SAMPLING = {"temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"}


class ReturnType(Enum):
    """What a task returns: token ids, new text, or the prompt too."""

    TENSORS = 0
    NEW_TEXT = 1
    FULL_TEXT = 2


class GeneratingPipeline(Pipeline):
    """The base of tasks that call `generate`.

    A keyword of `generate` that is given to the constructor holds for every call. `_defaults` hold where neither the
    call nor the constructor nor the model's generation config decides.

    Args:
        assistant_model: a smaller model of the same vocabulary, or its name, that guesses tokens.
    """

    _pipeline_calls_generate = True
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, assistant_model: Any = None, assistant_tokenizer: Any = None, **kwargs: Any) -> None:
        if assistant_tokenizer is not None:
            raise InputError("assistant_tokenizer is not supported: the assistant must share the model's vocabulary.")
        super().__init__(*args, **kwargs)
        is_name = isinstance(assistant_model, str)
        self.assistant_model = (
            AutoModelForCausalLM.from_pretrained(assistant_model).to(self.device) if is_name else assistant_model
        )
        if not hasattr(self.model, "generate"):
            raise InputError(
                f"{type(self.model).__name__} cannot generate text: load a checkpoint with a language-model head."
            )

    def _further_names(self) -> set[str]:
        own = {"tokenizer", "inputs", "input_ids"}
        return (set(OPTION_NAMES) | OWN_ARGUMENTS | {"generation_config", "prefix_allowed_tokens_fn"}) - own

    def _with_defaults(self, given: Sequence[Parameters]) -> list[Parameters]:
        merged = super()._with_defaults(given)
        if given[1].get("generation_config") is not None:  # it takes the place of the constructor's settings
            merged[1] = {name: each for name, each in merged[1].items() if name in given[1] or name not in OPTION_NAMES}
        return merged

    def _settings(self, given: Mapping[str, Any], of_task: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`given`, with `of_task` and the defaults where nothing before them decides.

        The defaults of sampling are added only where tokens are drawn.
        """
        by_user = {**self._of_config(given), **given}
        task = _without_other_length({n: each for n, each in (of_task or {}).items() if n not in by_user}, by_user)
        decided = {**self._decided(given), **task}
        added = {name: value for name, value in self._defaults.items() if name not in decided}
        added = _without_other_length(added, decided)
        if not {**decided, **added}.get("do_sample"):
            added = {name: value for name, value in added.items() if name not in _SAMPLING}
        if self.tokenizer is not None and self.tokenizer.pad_token_id is not None and "pad_token_id" not in decided:
            added["pad_token_id"] = self.tokenizer.pad_token_id
        if self.assistant_model is not None:
            added["assistant_model"] = self.assistant_model
        return {**added, **task, **given}

    def _of_config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a call's `generation_config`."""
        config = given.get("generation_config")
        return {} if config is None else dict(config.values)

    def _decided(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings by the model's generation config, by that of the call, and by the call's keywords."""
        return {**self.model.generation_config.values, **self._of_config(given), **given}

    def _generate(self, prompts: int, **arguments: Any) -> dict[str, Any]:
        """Call `generate`, and group its rows by prompt: `generated_sequence` (prompts, sequences, length).

        Further tensors of an output of `return_dict_in_generate=True` are grouped likewise.
        """
        output = self.model.generate(**arguments)
        if not isinstance(output, ModelOutput):
            return {"generated_sequence": _grouped(output, prompts)}
        rows = output["sequences"].shape[0]
        grouped: dict[str, Any] = {"generated_sequence": _grouped(output["sequences"], prompts)}
        for name, value in output.items():
            stacks = isinstance(value, tuple) and isinstance(value[0], Tensor) and len(value[0]) == rows
            tensor = torch.stack(value).swapaxes(0, 1) if stacks else value
            if name != "sequences" and isinstance(tensor, Tensor) and tensor.shape[0] == rows:
                grouped[name] = _grouped(tensor, prompts)
        return grouped


def _grouped(rows: Tensor, prompts: int) -> Tensor:
    return rows.reshape(prompts, rows.shape[0] // prompts, *rows.shape[1:])


def _without_other_length(settings: dict[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without a limit of the length where the other kind of limit is decided."""
    others = {"max_length": "max_new_tokens", "max_new_tokens": "max_length"}
    return {name: value for name, value in settings.items() if others.get(name) not in decided}
