"""generate: how a language model continues a text, and the strategies to choose its next token by.

`generate_steps` prepares everything and gives a Search to iterate over; `generate` is a loop over it. The strategies:

- greedy: the likeliest token each time;
- sampling: a token drawn by its probability, after filters that leave only good ones (both are `NextTokenSearch`);
- beam search: several continuations at once, of which the likeliest go on (beam.py);
- assisted decoding: a cheap guess of several tokens that the model then checks in one pass (assisted.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation import rules
from minitransformers.generation.assisted import AssistedSearch, drafter_for
from minitransformers.generation.beam import BeamSearch
from minitransformers.generation.config import GenerationConfig
from minitransformers.generation.decoder import Decoder
from minitransformers.generation.prompts import check_padding, longest_text, read_prompt, split_arguments
from minitransformers.generation.seeds import as_generator
from minitransformers.generation.steps import (
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
    Search,
    Step,
    log_probability,
)
from minitransformers.generation.streaming import BaseStreamer
from minitransformers.outputs import ModelOutput

Processor = Callable[[Tensor, Tensor], Tensor]
Criterion = Callable[..., Tensor | bool]


class NextTokenSearch(Search):
    """Greedy decoding and sampling: one token for each row, again and again."""

    def _run(self) -> Iterator[Step]:
        rows, device = self.sequences.shape[0], self.sequences.device
        finished = torch.zeros(rows, dtype=torch.bool, device=device)
        cumulative = torch.zeros(rows, device=device)
        # Without an end of text, rows that a criterion has ended go on until all have.
        padding = self._padding if any(hasattr(criterion, "eos_token_id") for criterion in self.criteria) else None

        while self.sequences.shape[1] < self.longest and not finished.all():
            logits = self.decoder(self.sequences)[:, -1]
            scores = self._processed(logits, logits)
            if self.settings.do_sample:
                # Finished rows draw too, so that the others' draws do not depend on them.
                token = self._draw(scores.softmax(dim=-1)).squeeze(1)
            else:
                token = scores.argmax(dim=-1)
            if self.follows_probability:
                cumulative = cumulative + log_probability(scores, token).masked_fill(finished, 0.0)
            if padding is not None:
                token = token.masked_fill(finished, padding)
            self.sequences = torch.cat([self.sequences, token[:, None]], dim=1)
            finished = finished | self._ended(self.sequences)
            yield Step(token, cumulative, finished, self.sequences, logits, scores)

    def output(self) -> ModelOutput:
        """Sequences, and what was asked to be kept."""
        kind = GenerateEncoderDecoderOutput if self.decoder.is_encoder_decoder else GenerateDecoderOnlyOutput
        return kind(self.sequences, **self._kept_and_cache())


class GenerationMixin:
    """What lets a model with a language-model head continue texts.

    Attributes:
        generation_config: how it does so unless told otherwise; generation_config.json in a checkpoint.
    """

    config: Any
    generation_config: GenerationConfig

    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: list[Processor] | None = None,
        stopping_criteria: list[Criterion] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Any = None,
        streamer: BaseStreamer | None = None,
        **named: Any,
    ) -> Tensor | ModelOutput:
        """Continue each prompt, and give prompts and continuations.

        Takes what `generate_steps` takes, and:

        Args:
            streamer: is told of every token as it comes; see `TextStreamer`.

        Returns:
            (rows, length) ids: of each prompt `num_return_sequences` continuations, shorter ones filled with
            `pad_token_id`. With `return_dict_in_generate=True` an output with these as `sequences`, and more.
        """
        try:
            search = self.generate_steps(
                inputs,
                generation_config,
                logits_processor,
                stopping_criteria,
                prefix_allowed_tokens_fn,
                synced_gpus,
                assistant_model,
                **named,
            )
            if streamer is not None:
                if isinstance(search, BeamSearch):
                    raise InputError("streamer needs num_beams=1: beams change their minds about earlier tokens.")
                streamer.put(search.sequences.cpu())
            search.follows_probability = False  # nobody looks at it here
            for step in search:
                if streamer is not None:
                    streamer.put(step.token_ids.cpu())
        finally:
            if streamer is not None:
                streamer.end()  # also after an error: who reads the stream in another thread waits for its end
        output = search.output()
        return output if search.settings.return_dict_in_generate else output["sequences"]

    def generate_steps(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: list[Processor] | None = None,
        stopping_criteria: list[Criterion] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Any = None,
        *,
        tokenizer: Any = None,
        generator: torch.Generator | int | None = None,
        **named: Any,
    ) -> Search:
        """Continue each prompt step by step: what is given is to be iterated over, and yields a `Step` each time.

            for step in model.generate_steps(input_ids, do_sample=True):
                print(step.token_ids, step.probabilities, step.alternatives(5))

        Args:
            inputs: the prompts, (batch, length), padded on the left where they differ in length; `input_ids` is the
                same argument. Without any, texts begin with `bos_token_id`. For an encoder–decoder they are the
                sources, and targets begin with `decoder_start_token_id` and with `decoder_input_ids`, if given.
            generation_config: settings for this call, before those of `self.generation_config`.
            logits_processor: further processors, applied after those that the settings ask for and before temperature
                and filters. One of a class that the settings ask for too takes its place.
            stopping_criteria: further criteria, likewise.
            prefix_allowed_tokens_fn: see `PrefixConstrainedLogitsProcessor`.
            synced_gpus: True is refused; generation runs on one device.
            assistant_model: a smaller model of the same vocabulary that guesses tokens ahead (assisted decoding).
            tokenizer: needed by `stop_strings`.
            generator: where random numbers come from; an int seeds a new one. By default PyTorch's own, as
                `set_seed` leaves it.
            named: any field of `GenerationConfig` (`max_new_tokens`, `do_sample`, `num_beams` …), which counts before
                both configs, and any input of the model (`attention_mask`, `inputs_embeds`, `past_key_values` …).

        Raises:
            InputError, ConfigError: an argument of a wrong type or value, arguments that contradict each other, or a
                prompt that leaves no room. Everything is checked before anything is computed.
            UnknownArgumentError: an argument that neither generation nor the model has.
        """
        if synced_gpus:
            raise InputError("synced_gpus=True is not covered: generation runs on one device.")
        arguments, model_inputs = split_arguments(self, named)
        settings = GenerationConfig.resolve(arguments, generation_config, self.generation_config)
        rules.warn_of_idle(settings, arguments)
        prompt = read_prompt(self, settings, inputs, model_inputs)
        longest = longest_text(settings, prompt, self.max_positions)
        copies = max(settings.num_beams or 1, settings.num_return_sequences or 1)
        if prompt.input_ids.shape[0] * copies > 1:
            check_padding(settings.pad_token_id, self.config.vocab_size)
        processors = rules.logits_processors(
            settings, prompt, copies, longest, logits_processor or [], prefix_allowed_tokens_fn
        )
        criteria = rules.stopping_criteria(settings, longest, stopping_criteria or [], tokenizer)
        longest = criteria.max_length or longest
        random = as_generator(generator, prompt.input_ids.device)
        drafter = drafter_for(self, assistant_model, settings, prompt, longest, processors, random)

        options = {name: True for name in ("output_attentions", "output_hidden_states") if getattr(settings, name)}
        decoder = Decoder(self, prompt, longest, copies=copies, use_cache=settings.use_cache is not False, **options)
        input_ids = prompt.input_ids.repeat_interleave(copies, dim=0)
        given = (decoder, input_ids, settings, processors, criteria, longest, random)
        if drafter is not None:
            return AssistedSearch(*given, drafter=drafter)
        return BeamSearch(*given) if (settings.num_beams or 1) > 1 else NextTokenSearch(*given)

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: tuple[Tensor, ...],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """The score of every new token of a result, (rows, new tokens); 0 after the end of a beam.

        Args:
            sequences, scores, beam_indices: of an output of `generate`; the last only of beam search.
            normalize_logits: make log-probabilities of the scores, which the logits of greedy decoding and sampling
                are not.
        """
        by_step = torch.stack(scores)  # (steps, rows, vocabulary)
        if normalize_logits:
            by_step = by_step.log_softmax(dim=-1)
        if beam_indices is None:
            rows = torch.arange(sequences.shape[0], device=sequences.device)[:, None].expand(-1, len(scores))
        else:
            rows = beam_indices[:, : int((beam_indices >= 0).sum(dim=1).max())].long()
        steps = torch.arange(rows.shape[1], device=rows.device)
        tokens = sequences[:, sequences.shape[1] - rows.shape[1] :]
        return by_step[steps, rows.clamp(min=0), tokens].masked_fill(rows < 0, 0.0)

    @property
    def max_positions(self) -> int | None:
        """How many tokens a text can have; None where positions are unlimited."""
        return getattr(self.config, "max_position_embeddings", None)
