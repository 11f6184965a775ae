"""Assisted decoding: cheap guesses of the next tokens, which the model checks in one pass (Leviathan et al., 2022).

Reading several guessed tokens at once takes a model hardly longer than reading one, and tells its own opinion on each
of them. It takes over the guesses up to the first that it would not have chosen, and replaces that one. So the result
is the model's own; good guesses only make it come sooner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.decoder import Decoder
from minitransformers.generation.processors.base import LogitsProcessorList
from minitransformers.generation.prompts import Prompt
from minitransformers.generation.steps import GenerateDecoderOnlyOutput, Search, Step, log_probability
from minitransformers.outputs import ModelOutput


class AssistedSearch(Search):
    """Greedy decoding or sampling of one text, several tokens a pass where a drafter guesses them."""

    def __init__(self, *args: Any, drafter: Drafter) -> None:
        super().__init__(*args)
        self.drafter = drafter

    def _run(self) -> Iterator[Step]:
        finished = torch.zeros(1, dtype=torch.bool, device=self.sequences.device)
        cumulative = torch.zeros(1, device=self.sequences.device)
        while self.sequences.shape[1] < self.longest and not finished:
            # The model adds a token of its own to the guesses, so there is room for one guess less.
            guesses, drawn_from = self.drafter.draft(self.sequences, self.longest - self.sequences.shape[1] - 1)
            logits = self.decoder(torch.cat([self.sequences, guesses[None]], dim=1), count=len(guesses) + 1)
            accepted, is_right = 0, True
            while is_right and not finished:
                current = logits[:, accepted]
                scores = self._processed(current, current)
                guess = guesses[accepted] if accepted < len(guesses) else None
                token = self._choose(scores, guess, None if drawn_from is None else drawn_from[accepted : accepted + 1])
                if self.follows_probability:
                    cumulative = cumulative + log_probability(scores, token)
                self.sequences = torch.cat([self.sequences, token[None]], dim=1)
                finished = self._ended(self.sequences)
                is_right = guess is not None and bool(token == guess)
                accepted += is_right
                yield Step(token, cumulative, finished, self.sequences, current, scores)
            self.decoder.crop(self.sequences.shape[1] - 1)
            self.drafter.learn(accepted, len(guesses))

    def _choose(self, scores: Tensor, guess: Tensor | None, drawn_from: Tensor | None) -> Tensor:
        """The next token (1,), distributed as `scores` say, and as often as possible the guess.

        A guess x drawn from q is taken with probability min(1, p(x) / q(x)); else what q gave too little of is made up
        for by a draw from max(0, p − q), normalised (algorithm 1). A certain guess was drawn from a q that is 1 for it.
        """
        if not self.settings.do_sample:
            return scores.argmax(dim=-1)
        p = scores.softmax(dim=-1)
        if guess is None:
            return self._draw(p).squeeze(1)
        q = torch.zeros_like(p).index_fill(1, guess, 1.0) if drawn_from is None else drawn_from
        if torch.rand(1, generator=self.generator, device=p.device) * q[0, guess] < p[0, guess]:
            return guess[None]
        rest = (p - q).clamp(min=0)
        return self._draw(rest if rest.any() else p).squeeze(1)

    def output(self) -> ModelOutput:
        """The sequence, and what was asked to be kept."""
        return GenerateDecoderOnlyOutput(self.sequences, **self._kept_and_cache())


# ---- where guesses come from -----------------------------------------------------------------------------------------


class Drafter(ABC):
    """Guesses how a text goes on."""

    @abstractmethod
    def draft(self, sequence: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Guess at most `room` tokens after `sequence` (1, length).

        Returns:
            The guesses (number,), and what each was drawn from (number, vocabulary); None where nothing was drawn.
        """

    def learn(self, accepted: int, guessed: int) -> None:
        """Be told how many of the guesses were right; a drafter may guess more or less from then on."""
        return


class ModelDrafter(Drafter):
    """Guesses with a smaller model, as long as that is sure enough.

    Args:
        model: of the same vocabulary.
        prompt, longest: see `Decoder`.
        processors: those of the large model, so that both mean the same.
        settings: num_assistant_tokens, its schedule and assistant_confidence_threshold, where they are not set, are
            those of the small model's generation_config. The heuristic schedules start anew with every call.
    """

    def __init__(
        self,
        model: Any,
        prompt: Prompt,
        longest: int,
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
        self.decoder = Decoder(model, prompt, longest, use_cache=settings.use_cache is not False)
        self.max_positions: int | None = model.max_positions
        self.processors = processors
        self.ends = as_list(settings.eos_token_id)
        self.do_sample = bool(settings.do_sample)
        self.generator = generator

    def draft(self, sequence: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Let the small model write on."""
        start = sequence.shape[1]
        self.decoder.crop(start - 1)  # wrong guesses are forgotten
        if self.max_positions is not None:
            room = min(room, self.max_positions - start + 1)
        drawn_from = []
        for _ in range(min(self.count, room)):
            scores = self.processors(sequence, self.decoder(sequence)[:, -1])
            probabilities = scores.softmax(dim=-1)
            if self.do_sample:
                token = torch.multinomial(probabilities, 1, generator=self.generator)
                drawn_from.append(probabilities)
            else:
                token = scores.argmax(dim=-1, keepdim=True)
            sequence = torch.cat([sequence, token], dim=1)
            if int(token) in self.ends or probabilities[0, token[0]] < self.least_confidence:
                break
        return sequence[0, start:], torch.cat(drawn_from) if drawn_from else None

    def learn(self, accepted: int, guessed: int) -> None:
        """Guess more after guesses that were all right, fewer after others."""
        if self.adapts:
            self.count = self.count + 2 if accepted == guessed else max(1, self.count - 1)


class PromptLookup(Drafter):
    """Guesses that the text repeats itself: what followed its last tokens when they occurred for the first time.

    Args:
        count: how many tokens to guess.
        longest_match: how many last tokens to look for; if they do not occur, fewer.
        ends: the tokens that end a text, which are never guessed.
    """

    def __init__(self, count: int, longest_match: int, ends: list[int]) -> None:
        self.count = count
        self.longest_match = longest_match
        self.ends = ends

    def draft(self, sequence: Tensor, room: int) -> tuple[Tensor, Tensor | None]:
        """Look the last tokens up."""
        ids = sequence[0]
        for size in range(min(self.longest_match, len(ids) - 1), 0, -1):
            found = (ids[:-1].unfold(0, size, 1) == ids[-size:]).all(dim=1).nonzero()
            if len(found):
                start = int(found[0]) + size
                guesses = ids[start : start + min(self.count, room)]
                for end in self.ends:
                    guesses = guesses[: int((guesses != end).cumprod(dim=0).sum())]
                return guesses, None
        return ids[:0], None


def drafter_for(
    model: Any,
    assistant_model: Any,
    settings: GenerationConfig,
    prompt: Prompt,
    longest: int,
    processors: LogitsProcessorList,
    generator: torch.Generator | None,
) -> Drafter | None:
    """The drafter that a call asks for; None where it asks for none.

    Raises:
        InputError: assisted decoding cannot do what else is asked for.
    """
    if assistant_model is None and settings.prompt_lookup_num_tokens is None:
        return None
    what = "assistant_model" if assistant_model is not None else "prompt_lookup_num_tokens"
    refused = {
        "is for one prompt at a time, got a batch of " + str(prompt.input_ids.shape[0]): prompt.input_ids.shape[0] != 1,
        f"gives one result, got num_return_sequences={settings.num_return_sequences}": settings.num_return_sequences
        not in (None, 1),
        f"is for greedy decoding and sampling, got num_beams={settings.num_beams}": settings.num_beams not in (None, 1),
        "keeps neither attentions nor hidden states": settings.output_attentions or settings.output_hidden_states,
        "needs input_ids": prompt.inputs_embeds is not None,
        "is for decoders alone, not for encoder–decoders": model.config.is_encoder_decoder,
    }
    for reason, applies in refused.items():
        if applies:
            raise InputError(f"{what}: assisted decoding {reason}.")
    if assistant_model is None:
        longest_match = settings.max_matching_ngram_size or 2
        return PromptLookup(settings.prompt_lookup_num_tokens or 1, longest_match, as_list(settings.eos_token_id))
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
    if prompt.before or prompt.constant:
        raise InputError("assistant_model must see the whole text: pass all of it as input_ids, and no further inputs.")
    own = Prompt(prompt.input_ids, 0, prompt.attention_mask, prompt.position_ids)
    return ModelDrafter(assistant_model, own, longest, processors, settings, generator)
