"""The rules of a call: how long a text may be, what changes the scores, what ends a text, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.inputs import Prompt
from minitransformers.generation.processors import base as p, constraints as c, warpers as w
from minitransformers.generation.stopping import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StopStringCriteria,
)

Rule = TypeVar("Rule")

# Filters of sampling, in the order in which they are applied, and the value that turns each off.
FILTERS: dict[str, tuple[float | None, Callable[..., p.LogitsProcessor]]] = {
    "top_k": (0, w.TopKLogitsWarper),
    "top_p": (1, w.TopPLogitsWarper),
    "min_p": (None, w.MinPLogitsWarper),
    "typical_p": (1, w.TypicalLogitsWarper),
    "epsilon_cutoff": (0, w.EpsilonLogitsWarper),
    "eta_cutoff": (0, w.EtaLogitsWarper),
}


def text_length(settings: GenerationConfig, prompt: Prompt, max_positions: int | None) -> int:
    """The most tokens that a text may have, including those of `prompt.input_ids`; `max_positions` are the model's.

    Raises:
        InputError: there is no room for a new token, or not for as many as the settings ask for.
    """
    length = prompt.input_ids.shape[1]
    total = prompt.before + length
    last = total - 1 if prompt.position_ids is None else int(prompt.position_ids.max())
    if max_positions is not None and last >= max_positions:
        raise InputError(
            f"The prompt has {last + 1} tokens, and the model {max_positions} positions: truncate it "
            f"(tokenizer(…, truncation=True, max_length={max_positions})), leaving room for new tokens."
        )
    if settings.max_new_tokens is not None:
        if settings.max_length is not None:
            warn("Both max_new_tokens and max_length are set: max_new_tokens counts.")
        limit = length + settings.max_new_tokens
    elif settings.max_length is not None:
        # The positions of embeddings count, though they have no ids.
        limit = settings.max_length - (prompt.before if prompt.inputs_embeds is not None else 0)
    else:
        limit = length + 20
        if max_positions is not None:
            limit = min(limit, max(max_positions - prompt.before, length))
    if limit <= length:
        most = f"max_length={settings.max_length}" if settings.max_length else f"{max_positions} positions of the model"
        raise InputError(f"The prompt has {total} tokens, and {most} leave no room for a new one: pass max_new_tokens.")
    if max_positions is not None:
        room = max_positions - last  # the model does not read the last token of a text
        if limit - length > room:
            raise InputError(
                f"{limit - length} new tokens were asked for, and after a prompt of {last + 1} tokens the model's "
                f"{max_positions} positions have room for {room}: pass max_new_tokens={room}, or truncate the prompt."
            )
    for name, least in (("min_length", settings.min_length), ("min_new_tokens", settings.min_new_tokens)):
        if least is not None and least + (length if name == "min_new_tokens" else 0) > limit:
            warn(f"{name}={least} is more than the {limit} tokens that a text may have.")
    return limit


def logits_processors(
    settings: GenerationConfig,
    prompt: Prompt,
    copies: int,
    max_length: int,
    further: Iterable[Callable[[Tensor, Tensor], Tensor]],
    prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None,
) -> p.LogitsProcessorList:
    """The processors of a call, in the order of `transformers`: settings, the user's `further` ones, sampling filters.

    Raises:
        InputError: a value is out of range.
    """
    s, ends, length = settings, as_list(settings.eos_token_id), prompt.input_ids.shape[1]
    found: list[Callable[[Tensor, Tensor], Tensor]] = []
    if s.sequence_bias is not None:
        found.append(c.SequenceBiasLogitsProcessor(s.sequence_bias))
    if s.encoder_repetition_penalty is not None and s.encoder_repetition_penalty != 1:
        found.append(p.EncoderRepetitionPenaltyLogitsProcessor(s.encoder_repetition_penalty, _source_ids(prompt)))
    if s.repetition_penalty is not None and s.repetition_penalty != 1:
        mask = prompt.attention_mask  # padding in front does not count as text
        padding = None if mask is None else mask.argmax(dim=1).repeat_interleave(copies)
        found.append(p.RepetitionPenaltyLogitsProcessor(s.repetition_penalty, padding))
    if s.no_repeat_ngram_size:
        found.append(p.NoRepeatNGramLogitsProcessor(s.no_repeat_ngram_size))
    if s.encoder_no_repeat_ngram_size:
        found.append(p.EncoderNoRepeatNGramLogitsProcessor(s.encoder_no_repeat_ngram_size, _source_ids(prompt)))
    if s.bad_words_ids is not None:
        found.append(c.NoBadWordsLogitsProcessor(s.bad_words_ids, ends))
    if s.min_new_tokens is not None and ends:  # takes precedence over min_length
        found.append(c.MinNewTokensLengthLogitsProcessor(length, s.min_new_tokens, ends))
    elif s.min_length and ends:
        embedded = prompt.before if prompt.inputs_embeds is not None else 0  # part of the text, although it has no ids
        found.append(c.MinLengthLogitsProcessor(max(s.min_length - embedded, 0), ends))
    if prefix_allowed_tokens_fn is not None:
        found.append(c.PrefixConstrainedLogitsProcessor(prefix_allowed_tokens_fn, s.num_beams or 1))
    if s.forced_bos_token_id is not None:
        found.append(c.ForcedBOSTokenLogitsProcessor(s.forced_bos_token_id))
    if s.forced_eos_token_id is not None:
        found.append(c.ForcedEOSTokenLogitsProcessor(max_length, s.forced_eos_token_id))
    if s.remove_invalid_values:
        found.append(c.InfNanRemoveLogitsProcessor())
    if s.exponential_decay_length_penalty is not None and ends:
        found.append(c.ExponentialDecayLengthPenalty(s.exponential_decay_length_penalty, ends, length))
    if s.suppress_tokens is not None:
        found.append(c.SuppressTokensLogitsProcessor(s.suppress_tokens))
    if s.begin_suppress_tokens is not None:
        forced = length <= 1 and s.forced_bos_token_id is not None  # then the second token is the first free one
        found.append(c.SuppressTokensAtBeginLogitsProcessor(s.begin_suppress_tokens, length + forced))

    found = _merged(found, further)
    if s.do_sample:
        if s.temperature not in (None, 1):
            found.append(w.TemperatureLogitsWarper(s.temperature))
        if s.top_h is not None:
            found.append(w.TopHLogitsWarper(s.top_h))
        # Each beam needs a token to continue with, besides the end-of-text tokens.
        keep = 1 if (s.num_beams or 1) == 1 else max(2, len(ends) + 1)
        for name, (neutral, sampling_filter) in FILTERS.items():
            if getattr(s, name) not in (None, neutral):
                found.append(sampling_filter(getattr(s, name), min_tokens_to_keep=keep))
    if s.renormalize_logits:
        found.append(c.LogitNormalization())
    return p.LogitsProcessorList(found)


def stopping_rules(
    settings: GenerationConfig, max_length: int, further: Iterable[Callable[..., Tensor | bool]], tokenizer: Any
) -> tuple[list[Callable[..., Tensor | bool]], list[int], int]:
    """What ends a text: criteria, end-of-text tokens, and the most tokens that it may have.

    One of the user's `further` criteria takes the place of a setting of its class.
    """
    found: list[Callable[..., Tensor | bool]] = []
    if settings.max_time is not None:
        found.append(MaxTimeCriteria(settings.max_time))
    if settings.stop_strings is not None:
        if tokenizer is None:
            raise InputError("stop_strings needs the tokenizer: pass tokenizer=… to generate.")
        found.append(StopStringCriteria(tokenizer, settings.stop_strings))
    criteria, ends = [], as_list(settings.eos_token_id)
    for criterion in _merged(found, further):
        if type(criterion) is MaxLengthCriteria:
            max_length = criterion.max_length
        elif type(criterion) is EosTokenCriteria:
            ends = criterion.eos_token_id.tolist()
        else:
            criteria.append(criterion)
    return criteria, ends, max_length


def _source_ids(prompt: Prompt) -> Tensor:
    if prompt.source_ids is None:
        raise InputError(
            "encoder_repetition_penalty and encoder_no_repeat_ngram_size need the source as input_ids: pass them, or "
            "leave the settings out."
        )
    return prompt.source_ids


def _merged(own: list[Rule], further: Iterable[Rule]) -> list[Rule]:
    """`own` and `further` in order, where one of `further` takes the place of one of `own` of the same class."""
    further = list(further)
    replaced = [next((other for other in further if type(other) is type(rule)), rule) for rule in own]
    return replaced + [rule for rule in further if not any(rule is other for other in replaced)]
