"""Pipeline: from inputs to answers in three steps, for one input or any number of them.

    input --preprocess--> tensors --_forward--> outputs --postprocess--> answer

A task is a subclass with these three methods; a keyword of a call goes to the step that has a parameter of its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from minitransformers.configs.checks import check_choice, check_count
from minitransformers.errors import InputError, UnknownArgumentError, nearest
from minitransformers.files.pushing import PushToHub
from minitransformers.pipelines.batching import batched, collate, split, to_device, with_last
from minitransformers.pipelines.texts import position_limit
from minitransformers.utils.logging import tqdm

Parameters = dict[str, Any]

# The ends of the names of model classes: they tell which head a model has.
_HEADS = (
    "ForMaskedLM",
    "ForCausalLM",
    "LMHeadModel",
    "DoubleHeadsModel",
    "ForConditionalGeneration",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
    "ForPreTraining",
    "ForImageClassification",
    "ForMaskedImageModeling",
    "Model",
)
_SECONDS_WITHOUT_BAR = 2


class PipelineException(InputError):  # noqa: N818  # transformers' name
    """An input that a task cannot work on.

    Args:
        task: the task.
        model: the model's name.
        reason: the message.
    """

    def __init__(self, task: str, model: str, reason: str) -> None:
        super().__init__(reason)
        self.task, self.model = task, model


class Pipeline(PushToHub):
    """The base of all tasks.

    Args:
        model: a model with the head of the task. Calls run it in evaluation mode, and restore its mode.
        tokenizer: for texts.
        image_processor: for images; `feature_extractor` is its old name.
        video_processor, processor: only None.
        task: the name of the task.
        device: -1 or "cpu", a number or "cuda:1", …; by default the first accelerator, if there is one.
        binary_output: only False.
        batch_size: how many inputs, or pieces of long inputs, the model reads at once.
        num_workers: has no effect: inputs are prepared in the process itself.
        progress: True shows a progress bar, False none, None one for lists that take longer than two seconds.
        parameters: defaults for the keywords of a call.

    Raises:
        InputError: the model lacks the head of the task, or there is no tokenizer or image processor.
        UnknownArgumentError: a keyword that the task does not have.
    """

    _pushed_as: ClassVar[str] = "pipeline"
    _load_tokenizer: ClassVar[bool | None] = None  # True: needed; False: not used; None: used if there is one
    _load_image_processor: ClassVar[bool | None] = None
    heads: ClassVar[tuple[str, ...]] = ()  # ends of the names of the model classes; () for any model
    padding_side: ClassVar[str | None] = None  # None: the tokenizer's

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        image_processor: Any = None,
        video_processor: Any = None,
        processor: Any = None,
        task: str = "",
        device: int | str | torch.device | None = None,
        binary_output: bool = False,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        progress: bool | None = None,
        **parameters: Any,
    ) -> None:
        for name in ("args_parser", "torch_dtype", "dtype", "framework"):  # the model is loaded already
            parameters.pop(name, None)
        if binary_output or video_processor is not None or processor is not None:
            raise InputError("binary_output, video_processor and processor are not supported: leave them out.")
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.feature_extractor = feature_extractor
        self.image_processor = feature_extractor if image_processor is None else image_processor
        self._check_parts()
        self.device = self._place(device)
        self.call_count = 0
        self._batch_size = check_count("batch_size", 1 if batch_size is None else batch_size, least=1)
        self._num_workers = num_workers
        self._progress = check_choice("progress", progress, (True, False, None))
        self._preprocess_params, self._forward_params, self._postprocess_params = self._sanitize_parameters(
            **parameters
        )

    def _check_parts(self) -> None:
        name = type(self.model).__name__
        parents = [parent.__name__ for parent in type(self.model).__mro__]
        if self.heads and not any(parent.endswith(self.heads) for parent in parents) and name.endswith(_HEADS):
            raise InputError(
                f"{self.task or type(self).__name__} needs a model …{' or …'.join(self.heads)}, and {name} has no such "
                f"head: load a checkpoint that was trained for the task."
            )
        needed = {"tokenizer": self._load_tokenizer, "image_processor": self._load_image_processor}
        for part, is_needed in needed.items():
            if is_needed and getattr(self, part) is None:
                raise InputError(f"{type(self).__name__} needs {part}=…")

    def _place(self, device: int | str | torch.device | None) -> torch.device:
        """The device of the model, to which it is moved."""
        if getattr(self.model, "hf_device_map", None) is not None:  # of the accelerate library
            if device is not None:
                raise InputError(f"device={device!r}: the model was placed by device_map. Leave device out.")
            return torch.device(self.model.device)
        if device is None:
            chosen = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            place = torch.device("cpu") if chosen is None else torch.device(chosen.type, 0)
        elif isinstance(device, int):
            chosen = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            place = torch.device("cpu") if device < 0 or chosen is None else torch.device(chosen.type, device)
        else:
            place = torch.device(device)
        if self.model.device != place:
            self.model.to(place)
        return place

    # ---- the three steps of a task -----------------------------------------------------------------------------------

    def preprocess(self, *inputs: Any, **parameters: Any) -> Any:
        """The arguments of the model for one input, with a batch axis of length 1."""
        raise TypeError(f"{type(self).__name__} must define preprocess.")

    def _forward(self, *model_inputs: Any, **parameters: Any) -> Any:
        """The outputs of the model for a batch."""
        raise TypeError(f"{type(self).__name__} must define _forward.")

    def postprocess(self, *model_outputs: Any, **parameters: Any) -> Any:
        """The answer for one input, from its outputs, which are on the CPU."""
        raise TypeError(f"{type(self).__name__} must define postprocess.")

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        """The keywords of each step, by the names of its parameters. One with `**keywords` takes all others.

        Raises:
            UnknownArgumentError: no step has a parameter of that name.
        """
        steps = (self.preprocess, self._forward, self.postprocess)
        signatures = [list(inspect.signature(step).parameters.values())[1:] for step in steps]
        named = [{each.name for each in parts if each.kind is not each.VAR_KEYWORD} for parts in signatures]
        rest = next((n for n, parts in enumerate(signatures) if any(p.kind is p.VAR_KEYWORD for p in parts)), None)
        chosen: tuple[Parameters, Parameters, Parameters] = ({}, {}, {})
        for name, value in parameters.items():
            takers = [number for number in range(3) if name in named[number]]
            if not takers and rest is not None and (self._further_names() is None or name in self._further_names()):
                takers = [rest]
            if not takers:
                known = set().union(*named) | {"batch_size", "progress"} | (self._further_names() or set())
                raise UnknownArgumentError(
                    f"{type(self).__name__} takes no argument {name!r}.{nearest(name, sorted(known))}"
                )
            for number in takers:
                chosen[number][name] = value
        return chosen

    def _further_names(self) -> Any:
        """The keywords that a step with `**keywords` takes; None for any."""
        return None

    # ---- running them ------------------------------------------------------------------------------------------------

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        num_workers: int | None = None,
        batch_size: int | None = None,
        progress: bool | None = None,
        **parameters: Any,
    ) -> Any:
        """Run the task on one input, or on each of several.

        Args:
            inputs: one input; a list of them gives a list of answers, and a dataset, a generator or another iterable
                an iterator, which reads as many inputs at a time as a batch has.
            batch_size, num_workers, progress: see the constructor.
            parameters: keywords of the task, for this call only.
        """
        if args:
            raise InputError(
                f"{type(self).__name__} takes one input, or a list of them: got {1 + len(args)} arguments."
            )
        steps = self._with_defaults(self._sanitize_parameters(**parameters))
        size = self._batch_size if batch_size is None else check_count("batch_size", batch_size, least=1)
        self.call_count += 1
        if self._is_single(inputs):
            return next(self._answers([inputs], size, steps))
        # transformers reads several inputs by a DataLoader, which draws a number: the same seed, the same sampled text.
        torch.empty((), dtype=torch.int64).random_()
        length = len(inputs) if isinstance(inputs, Sized) else None
        stream = self._with_bar(self._answers(inputs, size, steps), length, progress)
        return list(stream) if isinstance(inputs, (list, tuple)) else Answers(stream, length)

    def _with_defaults(self, given: Sequence[Parameters]) -> list[Parameters]:
        """The keywords of a call for each step, and those of the constructor where the call has none."""
        defaults = (self._preprocess_params, self._forward_params, self._postprocess_params)
        return [{**default, **own} for default, own in zip(defaults, given, strict=True)]

    def _is_single(self, inputs: Any) -> bool:
        """Whether `inputs` is one input; other iterables are several."""
        several = isinstance(inputs, Iterable) or (hasattr(inputs, "__getitem__") and isinstance(inputs, Sized))
        return isinstance(inputs, (str, bytes, Mapping, Tensor, np.ndarray)) or not several

    def _answers(self, inputs: Any, batch_size: int, steps: list[Parameters]) -> Iterator[Any]:
        preprocess, forward, postprocess = steps
        pieces = ((piece, last) for item in inputs for piece, last in with_last(self._pieces(item, preprocess)))
        collected: list[Any] = []
        for batch in batched(pieces, batch_size):
            for output, (_, is_last) in zip(self._outputs([piece for piece, _ in batch], forward), batch, strict=True):
                collected.append(output)
                if is_last:
                    yield self._answer(collected, postprocess)
                    collected = []

    def _pieces(self, item: Any, parameters: Parameters) -> Iterable[Any]:
        return [self.preprocess(item, **parameters)]

    def _answer(self, outputs: list[Any], parameters: Parameters) -> Any:
        return self.postprocess(outputs[0], **parameters)

    def _outputs(self, pieces: list[Any], parameters: Parameters) -> list[Any]:
        if len(pieces) == 1:
            return [self.forward(pieces[0], **parameters)]
        pad = None if self.tokenizer is None else self.tokenizer.pad_token_id
        side: Any = self.padding_side or getattr(self.tokenizer, "padding_side", "right")
        return split(self.forward(collate(pieces, pad, side), **parameters), len(pieces))

    def forward(self, model_inputs: Any, **parameters: Any) -> Any:
        """`_forward` on the model's device, without gradients and in evaluation mode; the outputs on the CPU."""
        with torch.no_grad(), in_evaluation_mode(self.model):
            return to_device(self._forward(to_device(model_inputs, self.device), **parameters), "cpu")

    def _with_bar(self, answers: Iterator[Any], length: int | None, progress: bool | None) -> Iterator[Any]:
        shown = self._progress if progress is None else progress
        if shown is False:
            return answers
        delay = 0 if shown else _SECONDS_WITHOUT_BAR
        bar = tqdm(answers, total=length, desc=self.task or None, unit="input", delay=delay)
        return iter(bar)

    @cached_property
    def position_limit(self) -> int | None:
        """How many tokens the model's position embeddings allow; None where positions are computed."""
        return position_limit(self.model)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        """`self(X)`, under scikit-learn's name."""
        return self(X)

    predict = transform

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model's weights."""
        found: torch.dtype = self.model.dtype
        return found

    torch_dtype = dtype

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **hub_options: Any
    ) -> None:
        """Save the model, and its tokenizer or image processor, into one directory.

        With `push_to_hub=True` they are pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            for part in (self.model, self.tokenizer, self.image_processor):
                if part is not None:
                    part.save_pretrained(save_directory)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, model={type(self.model).__name__}, device={self.device})"


class ChunkPipeline(Pipeline):
    """A task whose `preprocess` yields several pieces of an input, such as the windows of a long text.

    `postprocess` receives the outputs of all pieces of an input, in order.
    """

    def _pieces(self, item: Any, parameters: Parameters) -> Iterable[Any]:
        pieces: Iterable[Any] = self.preprocess(item, **parameters)
        return pieces

    def _answer(self, outputs: list[Any], parameters: Parameters) -> Any:
        for output in outputs:
            if isinstance(output, dict):
                output.pop("is_last", None)  # where a user's own task has it, as those of transformers do
        return self.postprocess(outputs, **parameters)


class Answers(Iterator[Any]):
    """The answers for an iterable of inputs, computed as they are read; with a length if the inputs have one."""

    def __init__(self, answers: Iterator[Any], length: int | None) -> None:
        self._answers, self._length = answers, length

    def __next__(self) -> Any:
        return next(self._answers)

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("The inputs have no length.")
        return self._length


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Turn dropout off for the length of a `with` block."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
