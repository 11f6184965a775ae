"""Assisted decoding: cheap guesses of the next tokens, which the model checks in one pass (Leviathan et al., 2022).

One pass over several candidate tokens takes a model hardly longer than a pass over one, and scores each of them. The
loop accepts candidates up to the first one that the model would not have chosen, and replaces that one. The result is
the model's own; good candidates make it faster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.inputs import NextTokenModel, Prompt
from minitransformers.generation.loop import Search, log_probability
from minitransformers.generation.outputs import Step
from minitransformers.generation.processors.base import LogitsProcessorList


def assisted_loop(search: Search, candidate_generator: CandidateGenerator) -> Iterator[Step]:
    """Greedy decoding or sampling of one text, with several tokens a pass where candidates are right."""
    finished = torch.zeros(1, dtype=torch.bool, device=search.sequences.device)
    cumulative = torch.zeros(1, device=search.sequences.device)
    while search.sequences.shape[1] < search.max_length and not finished:
        # The model adds a token of its own after the candidates, which leaves room for one candidate less.
        room = search.max_length - search.sequences.shape[1] - 1
        candidates, drawn_from = candidate_generator.get_candidates(search.sequences, room)
        logits = search.model(torch.cat([search.sequences, candidates[None]], dim=1), count=len(candidates) + 1)
        accepted, is_right, details = 0, True, search.model.details
        while is_right and not finished:
            current = logits[:, accepted]
            is_next = accepted > 0 and search.model.cache is not None
            search.model.details = details_before(details, len(candidates) - accepted, is_next)
            scores = search.process(current, current)
            candidate = candidates[accepted] if accepted < len(candidates) else None
            distribution = None if drawn_from is None else drawn_from[accepted : accepted + 1]
            token = _choose(search, scores, candidate, distribution)
            if search.track_probability:
                cumulative = cumulative + log_probability(scores, token)
            search.sequences = torch.cat([search.sequences, token[None]], dim=1)
            finished = search.ended(search.sequences)
            is_right = candidate is not None and bool(token == candidate)
            accepted += is_right
            yield Step(token, cumulative, finished, search.sequences, current, scores)
        search.model.crop(search.sequences.shape[1] - 1)
        candidate_generator.update(accepted, len(candidates))


def details_before(details: dict[str, Any], surplus: int, is_next: bool) -> dict[str, Any]:
    """Attentions and hidden states of a pass, as a pass without the last `surplus` tokens would have returned them.

    With `is_next`, those of its last token alone: the pass would have computed the others before.
    """

    def shortened(name: str, layer: Tensor) -> Tensor:
        axis = 1 if name == "hidden_states" else 2
        end = layer.shape[axis] - surplus
        layer = layer.narrow(axis, end - 1, 1) if is_next else layer.narrow(axis, 0, end)
        return layer[..., : layer.shape[-1] - surplus] if name == "attentions" else layer

    return {name: layers and tuple(shortened(name, layer) for layer in layers) for name, layers in details.items()}


def _choose(search: Search, scores: Tensor, candidate: Tensor | None, drawn_from: Tensor | None) -> Tensor:
    """(1,) the next token, distributed by `scores`, and as often as possible the candidate.

    A candidate x drawn from q is accepted with probability min(1, p(x) / q(x)); otherwise the token is drawn from
    max(0, p − q), normalized (algorithm 1). A candidate that was not drawn has q(x) = 1.
    """
    if not search.settings.do_sample:
        return scores.argmax(dim=-1)
    p = scores.softmax(dim=-1)
    if candidate is None:
        return search.draw(p).squeeze(1)
    q = torch.zeros_like(p).index_fill(1, candidate, 1.0) if drawn_from is None else drawn_from
    if torch.rand(1, generator=search.generator, device=p.device) * q[0, candidate] < p[0, candidate]:
        return candidate[None]
    rest = (p - q).clamp(min=0)
    return search.draw(rest if rest.any() else p).squeeze(1)


# ---- candidates ------------------------------------------------------------------------------------------------------


class CandidateGenerator(ABC):
    """Guesses how a text continues."""

    @abstractmethod
    def get_candidates(self, input_ids: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Guess at most `room` tokens after `input_ids` (1, length).

        Returns:
            The candidates (number,), and the distribution that each was drawn from (number, vocabulary); None where
            they were not drawn.
        """

    def update(self, accepted: int, guessed: int) -> None:
        """Adapt the number of candidates to how many of the latest ones were right; the base does not."""
        return


class AssistedCandidateGenerator(CandidateGenerator):
    """Guesses with a smaller model, as long as that model is confident.

    Args:
        model: has the same vocabulary.
        prompt, max_length: see `NextTokenModel`.
        processors: those of the large model.
        settings: num_assistant_tokens, its schedule and assistant_confidence_threshold; where they are not set, those
            of the small model's generation_config. The heuristic schedules start again with every call.
        generator: source of random numbers.
    """

    def __init__(
        self,
        model: Any,
        prompt: Prompt,
        max_length: int,
        processors: LogitsProcessorList,
        settings: GenerationConfig,
        generator: torch.Generator | None,
    ) -> None:
        def setting(name: str, default: Any) -> Any:
            values = (getattr(settings, name), getattr(model.generation_config, name))
            return next((value for value in values if value is not None), default)

        self.count: int = setting("num_assistant_tokens", 20)
        self.adapts = setting("num_assistant_tokens_schedule", "constant") != "constant"
        self.least_confidence: float = setting("assistant_confidence_threshold", 0.4)
        self.model = NextTokenModel(model, prompt, max_length, use_cache=settings.use_cache is not False)
        self.max_positions: int | None = model.max_positions
        self.processors = processors
        self.ends = as_list(settings.eos_token_id)
        self.do_sample = bool(settings.do_sample)
        self.generator = generator

    def get_candidates(self, input_ids: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Continue the text with the small model."""
        start = input_ids.shape[1]
        self.model.crop(start - 1)  # forget wrong candidates
        if self.max_positions is not None:
            room = min(room, self.max_positions - start + 1)
        drawn_from = []
        for _ in range(min(self.count, room)):
            scores = self.processors(input_ids, self.model(input_ids)[:, -1])
            probabilities = scores.softmax(dim=-1)
            if self.do_sample:
                token = torch.multinomial(probabilities, 1, generator=self.generator)
                drawn_from.append(probabilities)
            else:
                token = scores.argmax(dim=-1, keepdim=True)
            input_ids = torch.cat([input_ids, token], dim=1)
            if int(token) in self.ends or probabilities[0, token[0]] < self.least_confidence:
                break
        return input_ids[0, start:], torch.cat(drawn_from) if drawn_from else None

    def update(self, accepted: int, guessed: int) -> None:
        """Guess more tokens after candidates that were all right, fewer after others."""
        if self.adapts:
            self.count = self.count + 2 if accepted == guessed else max(1, self.count - 1)


class PromptLookupCandidateGenerator(CandidateGenerator):
    """Guesses that the text repeats itself: the tokens that followed the first occurrence of its last tokens.

    Args:
        count: number of tokens to guess.
        max_matching_ngram_size: number of last tokens to look for; if they do not occur before, fewer.
        ends: the end-of-text tokens, which are never guessed.
    """

    def __init__(self, count: int, max_matching_ngram_size: int, ends: list[int]) -> None:
        self.count = count
        self.max_matching_ngram_size = max_matching_ngram_size
        self.ends = ends

    def get_candidates(self, input_ids: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Look up the last tokens."""
        ids = input_ids[0]
        for size in range(min(self.max_matching_ngram_size, len(ids) - 1), 0, -1):
            found = (ids[:-1].unfold(0, size, 1) == ids[-size:]).all(dim=1).nonzero()
            if len(found):
                start = int(found[0]) + size
                candidates = ids[start : start + min(self.count, room)]
                for end in self.ends:
                    candidates = candidates[: int((candidates != end).cumprod(dim=0).sum())]
                return candidates, None
        return ids[:0], None


def candidate_generator_for(
    model: Any,
    assistant_model: Any,
    settings: GenerationConfig,
    prompt: Prompt,
    max_length: int,
    processors: LogitsProcessorList,
    generator: torch.Generator | None,
) -> CandidateGenerator:
    """The candidate generator of a call: a smaller model or, without one, prompt lookup.

    Raises:
        InputError: assisted decoding does not support something else that is asked for.
    """
    name = "assistant_model" if assistant_model is not None else "prompt_lookup_num_tokens"
    name = name if settings.assistant_early_exit is None else "assistant_early_exit"
    refused = {
        "is for one prompt at a time, got a batch of " + str(prompt.input_ids.shape[0]): prompt.input_ids.shape[0] != 1,
        f"gives one result, got num_return_sequences={settings.num_return_sequences}": settings.num_return_sequences
        not in (None, 1),
        f"is for greedy decoding and sampling, got num_beams={settings.num_beams}": settings.num_beams not in (None, 1),
        "needs input_ids": prompt.inputs_embeds is not None,
    }
    for reason, applies in refused.items():
        if applies:
            raise InputError(f"{name}: assisted decoding {reason}.")
    if assistant_model is None:
        size = settings.max_matching_ngram_size or 2
        return PromptLookupCandidateGenerator(
            settings.prompt_lookup_num_tokens or 1, size, as_list(settings.eos_token_id)
        )
    if settings.prompt_lookup_num_tokens is not None:
        raise InputError("assistant_model and prompt_lookup_num_tokens both guess tokens: pass only one of them.")
    if not hasattr(assistant_model, "generate"):
        raise InputError(f"assistant_model must be a model that can generate, got {type(assistant_model).__name__}.")
    sizes = (model.config.vocab_size, assistant_model.config.vocab_size)
    if sizes[0] != sizes[1]:
        raise InputError(
            f"assistant_model has a vocabulary of {sizes[1]} tokens and the model one of {sizes[0]}: both must be of "
            f"one tokenizer."
        )
    is_pair: bool = model.config.is_encoder_decoder
    if assistant_model.config.is_encoder_decoder != is_pair:
        kinds = ("a decoder alone", "an encoder–decoder")
        raise InputError(f"assistant_model must be {kinds[is_pair]}, as the model is; it is {kinds[not is_pair]}.")
    constant = {name: prompt.constant[name] for name in ("attention_mask",) if is_pair and name in prompt.constant}
    if prompt.before or prompt.constant.keys() - constant.keys():
        raise InputError("assistant_model must see the whole text: pass all of it as input_ids, and no further inputs.")
    own = Prompt(
        prompt.input_ids, 0, prompt.attention_mask, prompt.position_ids, constant=constant, source=prompt.source
    )
    return AssistedCandidateGenerator(assistant_model, own, max_length, processors, settings, generator)
