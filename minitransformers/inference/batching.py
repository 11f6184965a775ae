"""Continuous batching: many prompts of different lengths at the same time, without padding (Yu et al., 2022, §4).

`generate` pads prompts to the longest, and goes on until the last text has ended. Here every step computes exactly one
token for each text that goes on, and the whole prompt of each text that begins. All tokens of a step are one packed row
(nn/packed.py), so that weights are read once for all of them. How a text goes on is decided by the loop of `generate`
(generation/loop.py), one for each text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.config import GenerationConfig
from minitransformers.generation.inputs import forward_arguments
from minitransformers.generation.loop import Search
from minitransformers.nn.cache import layer_count
from minitransformers.nn.packed import PackedCache


@dataclass
class GenerationOutput:
    """One prompt and its continuation."""

    request_id: str
    prompt_ids: list[int]
    generated_tokens: list[int] = field(default_factory=list)
    error: str | None = None

    def is_finished(self) -> bool:
        """True: texts are returned when all are complete."""
        return True


def generate_batch(
    model: Any,
    inputs: Sequence[Sequence[int]],
    generation_config: GenerationConfig | None = None,
    *,
    max_texts: int = 64,
    **kwargs: Any,
) -> dict[str, GenerationOutput]:
    """Continue each prompt; see `PreTrainedModel.generate_batch`."""
    if not hasattr(model, "generate_steps"):
        raise InputError(f"{type(model).__name__} cannot continue texts: load a class with a language-model head.")
    if isinstance(max_texts, bool) or max_texts < 1:
        raise InputError(f"max_texts={max_texts!r} must be a whole number of at least 1.")
    prompts = _read_prompts(inputs)
    news = kwargs.pop("max_new_tokens", None)
    limits = list(news) if isinstance(news, (list, tuple)) else [news] * len(prompts)
    if len(limits) != len(prompts):
        raise InputError(f"max_new_tokens has {len(limits)} numbers, and there are {len(prompts)} prompts.")
    searches = []
    for prompt, limit in zip(prompts, limits, strict=True):
        options = kwargs if limit is None else {**kwargs, "max_new_tokens": limit}
        ids = torch.tensor([prompt], device=model.device)
        search = model.generate_steps(ids, generation_config, attention_mask=torch.ones_like(ids), **options)
        _refuse_other_strategies(search)
        search.track_probability = False
        searches.append(search)
    starts = [search.sequences.shape[1] for search in searches]  # an encoder–decoder's target begins with one token
    if searches and can_be_packed(model, max(search.max_length for search in searches)):
        _run_packed(model, searches, max_texts)
    else:
        for search in searches:
            deque(search, maxlen=0)  # to its end
    return {
        f"req_{index}": GenerationOutput(f"req_{index}", prompt, search.sequences[0, start:].tolist())
        for index, (prompt, search, start) in enumerate(zip(prompts, searches, starts, strict=True))
    }


def can_be_packed(model: Any, longest: int) -> bool:
    """Whether a model reads packed rows: a decoder whose attention has neither biases nor windows below `longest`."""
    needed = {"position_ids", "past_key_values", "logits_to_keep", "use_cache"}
    config = model.config
    windows = [size for size in getattr(config, "windows", ()) if size is not None]
    if "local" in getattr(config, "attention_layers", ()):
        windows.append(config.window_size)
    return (
        not config.is_encoder_decoder
        and needed <= forward_arguments(model.__class__)
        and all(window >= longest for window in windows)
        and not getattr(config, "add_cross_attention", False)
        and config.attn_implementation != "eager"
        and not model.training
    )


class _Logits:
    """In the place of a search's model: the logits that the packed step computed."""

    is_encoder_decoder = False
    details: dict[str, Any] = {}
    cache = None

    def __init__(self) -> None:
        self.next: Tensor | None = None

    def __call__(self, input_ids: Tensor, count: int = 1) -> Tensor | None:
        return self.next


def _run_packed(model: Any, searches: list[Search], max_texts: int) -> None:
    waiting, running = deque(searches), list[Search]()
    cache = PackedCache(layer_count(model.config))
    for search in searches:
        search.model = _Logits()  # type: ignore[assignment]
    with torch.no_grad():
        while waiting or running:
            lengths = [1] * len(running)
            while waiting and len(running) < max_texts:
                running.append(waiting.popleft())
                cache.add_text(capacity=running[-1].sequences.shape[1] + 32)
                lengths.append(running[-1].sequences.shape[1])
            _step(model, running, lengths, cache)
            unfinished = [index for index, search in enumerate(running) if not next(search).finished.all()]
            if len(unfinished) < len(running):
                running = [running[index] for index in unfinished]
                cache.keep_texts(unfinished)


def _step(model: Any, running: list[Search], lengths: list[int], cache: PackedCache) -> None:
    """Compute the next logits of every text, all in one row."""
    new = [search.sequences[0, -length:] for search, length in zip(running, lengths, strict=True)]
    positions = [
        torch.arange(search.sequences.shape[1] - length, search.sequences.shape[1], device=model.device)
        for search, length in zip(running, lengths, strict=True)
    ]
    cache.lengths = tuple(lengths)
    logits = model(
        input_ids=torch.cat(new)[None],
        position_ids=torch.cat(positions)[None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.tensor(lengths, device=model.device).cumsum(dim=0) - 1,
        return_dict=True,
    ).logits.float()
    for index, search in enumerate(running):
        search.model.next = logits[:, index : index + 1]  # type: ignore[attr-defined]


def _read_prompts(inputs: Any) -> list[list[int]]:
    prompts = [prompt.tolist() if isinstance(prompt, Tensor) else list(prompt) for prompt in inputs]
    for index, prompt in enumerate(prompts):
        if not prompt or not all(isinstance(token, int) for token in prompt):
            raise InputError(f"inputs[{index}] must be a list of at least one id, got {str(prompt)[:60]}.")
    return prompts


def _refuse_other_strategies(search: Search) -> None:
    settings = search.settings
    for name in ("num_beams", "num_return_sequences"):
        if (getattr(settings, name) or 1) > 1:
            raise InputError(f"{name}={getattr(settings, name)} is not for generate_batch: call generate.")
    if settings.prompt_lookup_num_tokens is not None:
        raise InputError("prompt_lookup_num_tokens is not for generate_batch: call generate.")
    if settings.return_dict_in_generate:
        raise InputError("return_dict_in_generate=True is not for generate_batch, which returns lists: call generate.")


def refuse_what_is_not_here(config: Any, record_timestamps: bool, progress_bar: bool) -> None:
    """Refuse arguments of transformers' `generate_batch` that ask for something else."""
    if config is not None:
        raise InputError("continuous_batching_config is not supported: pass max_texts, the most texts in a step.")
    if record_timestamps:
        raise InputError("record_timestamps=True is not supported: measure the time of the call.")
    if progress_bar:
        raise InputError("progress_bar=True is not supported: pass the prompts in several calls, and show those.")
