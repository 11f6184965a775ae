"""Which processors and criteria the settings of a call ask for, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.defaults import DEFAULTS
from minitransformers.generation.processors import base as p, constraints as c, warpers as w
from minitransformers.generation.prompts import Prompt
from minitransformers.generation.stopping import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)

Rule = TypeVar("Rule")


def logits_processors(
    settings: GenerationConfig,
    prompt: Prompt,
    copies: int,
    longest: int,
    further: Iterable[Callable[[Tensor, Tensor], Tensor]],
    prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None,
) -> p.LogitsProcessorList:
    """The processors of a call, in the reference's order: its own, the user's `further` ones, the filters of sampling.

    Raises:
        InputError: a value out of range.
    """
    s, ends = settings, as_list(settings.eos_token_id)
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
    if s.min_new_tokens is not None and ends:  # counts before min_length
        found.append(c.MinNewTokensLengthLogitsProcessor(prompt.length, s.min_new_tokens, ends))
    elif s.min_length and ends:
        embedded = prompt.before if prompt.inputs_embeds is not None else 0  # is part of the text, though it has no ids
        found.append(c.MinLengthLogitsProcessor(max(s.min_length - embedded, 0), ends))
    if prefix_allowed_tokens_fn is not None:
        found.append(c.PrefixConstrainedLogitsProcessor(prefix_allowed_tokens_fn, s.num_beams or 1))
    if s.forced_bos_token_id is not None:
        found.append(c.ForcedBOSTokenLogitsProcessor(s.forced_bos_token_id))
    if s.forced_eos_token_id is not None:
        found.append(c.ForcedEOSTokenLogitsProcessor(longest, s.forced_eos_token_id))
    if s.remove_invalid_values:
        found.append(c.InfNanRemoveLogitsProcessor())
    if s.exponential_decay_length_penalty is not None and ends:
        found.append(c.ExponentialDecayLengthPenalty(s.exponential_decay_length_penalty, ends, prompt.length))
    if s.suppress_tokens is not None:
        found.append(c.SuppressTokensLogitsProcessor(s.suppress_tokens))
    if s.begin_suppress_tokens is not None:
        forced = prompt.length <= 1 and s.forced_bos_token_id is not None  # then the second token is the first free one
        found.append(c.SuppressTokensAtBeginLogitsProcessor(s.begin_suppress_tokens, prompt.length + forced))

    found = _joined(found, list(further))
    if s.do_sample:
        # Beams need a token to go on with besides the ends of text.
        found += _filters(s, 1 if (s.num_beams or 1) == 1 else max(2, len(ends) + 1))
    if s.renormalize_logits:
        found.append(c.LogitNormalization())
    return p.LogitsProcessorList(found)


def _source_ids(prompt: Prompt) -> Tensor:
    if prompt.source_ids is None:
        raise InputError(
            "encoder_repetition_penalty and encoder_no_repeat_ngram_size need the source as input_ids: pass them, or "
            "leave the settings out."
        )
    return prompt.source_ids


def _filters(s: GenerationConfig, keep: int) -> list[p.LogitsProcessor]:
    found: list[p.LogitsProcessor] = []
    if s.temperature is not None and s.temperature != 1:
        found.append(w.TemperatureLogitsWarper(s.temperature))
    if s.top_h is not None:
        found.append(w.TopHLogitsWarper(s.top_h))
    if s.top_k:
        found.append(w.TopKLogitsWarper(s.top_k, min_tokens_to_keep=keep))
    if s.top_p is not None and s.top_p != 1:
        found.append(w.TopPLogitsWarper(s.top_p, min_tokens_to_keep=keep))
    if s.min_p is not None:
        found.append(w.MinPLogitsWarper(s.min_p, min_tokens_to_keep=keep))
    if s.typical_p is not None and s.typical_p != 1:
        found.append(w.TypicalLogitsWarper(s.typical_p, min_tokens_to_keep=keep))
    if s.epsilon_cutoff:
        found.append(w.EpsilonLogitsWarper(s.epsilon_cutoff, min_tokens_to_keep=keep))
    if s.eta_cutoff:
        found.append(w.EtaLogitsWarper(s.eta_cutoff, min_tokens_to_keep=keep))
    return found


def stopping_criteria(
    settings: GenerationConfig, longest: int, further: Iterable[Callable[..., Tensor | bool]], tokenizer: Any
) -> StoppingCriteriaList:
    """The criteria of a call.

    Raises:
        InputError: stop strings without a tokenizer.
    """
    found: list[Callable[..., Tensor | bool]] = [MaxLengthCriteria(longest)]
    if settings.max_time is not None:
        found.append(MaxTimeCriteria(settings.max_time))
    if settings.stop_strings is not None:
        if tokenizer is None:
            raise InputError("stop_strings needs the tokenizer: pass tokenizer=… to generate.")
        found.append(StopStringCriteria(tokenizer, settings.stop_strings))
    if settings.eos_token_id is not None:
        found.append(EosTokenCriteria(settings.eos_token_id))
    return StoppingCriteriaList(_joined(found, list(further)))


def warn_of_idle(settings: GenerationConfig, arguments: Mapping[str, Any]) -> None:
    """Say which arguments of the call have no effect in the strategy that was chosen."""
    needs = {
        "do_sample=True": (
            settings.do_sample,
            ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
        ),
        "num_beams of at least 2": ((settings.num_beams or 1) > 1, ("early_stopping", "length_penalty")),
        "return_dict_in_generate=True": (
            settings.return_dict_in_generate,
            ("output_scores", "output_logits", "output_attentions", "output_hidden_states"),
        ),
    }
    for condition, (holds, names) in needs.items():
        idle = [name for name in names if arguments.get(name) not in (None, False, DEFAULTS.get(name))]
        if idle and not holds:
            warn(f"{', '.join(idle)} has no effect without {condition}.")


def _joined(own: list[Rule], further: list[Rule]) -> list[Rule]:
    """Both, in order; one of the user's takes the place of one of the same class that the settings ask for."""
    replaced = [next((other for other in further if type(other) is type(rule)), rule) for rule in own]
    return replaced + [rule for rule in further if not any(rule is other for other in replaced)]
