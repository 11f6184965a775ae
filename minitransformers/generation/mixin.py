"""generate: how a language model continues a text.

`generate_steps` reads the arguments and returns a `Search`, and `generate` runs it. The strategies are loops:

- greedy decoding takes the most likely token at each step (loop.py);
- sampling draws a token by its probability, after filters that keep the likely ones (loop.py);
- beam search continues several texts at the same time and keeps the most likely (beam.py);
- assisted decoding guesses several tokens cheaply, which the model checks in one pass (assisted.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from minitransformers.compat.generation import ARGUMENTS, BATCH_FIELDS, MODEL_INPUTS
from minitransformers.compat.keywords import remove_no_ops
from minitransformers.errors import InputError, UnknownArgumentError, nearest, warn
from minitransformers.generation import rare_settings, rules
from minitransformers.generation.assisted import assisted_loop, candidate_generator_for
from minitransformers.generation.beam import beam_loop
from minitransformers.generation.config import OPTION_NAMES, GenerationConfig
from minitransformers.generation.inputs import NextTokenModel, forward_arguments, read_prompt
from minitransformers.generation.loop import Search, next_token_loop
from minitransformers.generation.outputs import GenerateOutput
from minitransformers.generation.sources import read_source
from minitransformers.generation.streaming import BaseStreamer

MOST_COPIES = 2**14  # of a prompt: each takes the memory of a text of its own

Processor = Callable[[Tensor, Tensor], Tensor]
Criterion = Callable[..., Tensor | bool]


class GenerationMixin:
    """The methods by which a model with a language-model head continues texts.

    Attributes:
        generation_config: the model's settings; generation_config.json in a checkpoint.
    """

    config: Any
    generation_config: GenerationConfig
    training: bool  # this and the next are those of `nn.Module`
    modules: Any

    @overload
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
        *,
        return_dict_in_generate: Literal[False] | None = None,
        **kwargs: Any,
    ) -> Tensor | GenerateOutput: ...

    @overload
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        return_dict_in_generate: Literal[True],
        **kwargs: Any,
    ) -> GenerateOutput: ...

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
        **kwargs: Any,
    ) -> Any:
        """Continue each prompt; return prompts and continuations.

        Args:
            streamer: receives every token as it is generated; see `TextStreamer`.
            inputs, generation_config, …: the arguments of `generate_steps`.

        Returns:
            (rows, length) ids: `num_return_sequences` continuations of each prompt, shorter ones filled with
            `pad_token_id`. With `return_dict_in_generate=True`, an output that has them as `sequences`.
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
                **kwargs,
            )
            if streamer is not None:
                if (search.settings.num_beams or 1) > 1:
                    raise InputError("streamer needs num_beams=1: beam search revises earlier tokens.")
                streamer.put(search.sequences.cpu())
            search.track_probability = False
            for step in search:
                if streamer is not None:
                    streamer.put(step.token_ids.cpu())
        finally:
            if streamer is not None:
                streamer.end()  # also after an error: another thread may be waiting for the end
        return search.output() if search.settings.return_dict_in_generate else search.sequences

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
        negative_prompt_ids: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        tokenizer: Any = None,
        generator: torch.Generator | int | None = None,
        **kwargs: Any,
    ) -> Search:
        """Continue each prompt step by step: return an iterator of `Step`.

            for step in model.generate_steps(input_ids, do_sample=True):
                print(step.token_ids, step.probabilities, step.alternatives(5))

        Args:
            inputs: (batch, length) the prompts, padded on the left where their lengths differ; `input_ids` is the
                same argument. Without prompts, texts begin with `bos_token_id`. For an encoder–decoder they are the
                sources; targets begin with `decoder_start_token_id` and `decoder_input_ids`, if given.
            generation_config: settings of this call, which take precedence over those of `self.generation_config`.
            logits_processor: further processors, applied before temperature and filters and after all others. One of
                a class that the settings ask for takes its place.
            stopping_criteria: further criteria, likewise.
            prefix_allowed_tokens_fn: see `PrefixConstrainedLogitsProcessor`.
            synced_gpus: True is refused; generation runs on one device.
            assistant_model: a smaller model of the same vocabulary that guesses tokens (assisted decoding).
            negative_prompt_ids, negative_prompt_attention_mask: the prompt that `guidance_scale` moves away from.
            tokenizer: needed by `stop_strings`.
            generator: source of random numbers, or the seed of a new one; by default PyTorch's global generator.
            kwargs: fields of `GenerationConfig` (`max_new_tokens`, `do_sample`, `num_beams` …), which take precedence
                over both configs, and inputs of the model (`attention_mask`, `inputs_embeds`, `past_key_values` …).

        Raises:
            InputError, ConfigError: an argument has a wrong type or value, arguments contradict each other, or a
                prompt leaves no room. Everything is checked before anything is computed.
            UnknownArgumentError: neither generation nor the model has an argument of that name.
        """
        if synced_gpus:
            raise InputError("synced_gpus=True is not supported: generation runs on one device.")
        arguments, model_inputs = split_arguments(self, kwargs)
        settings = GenerationConfig.resolve(arguments, generation_config, self.generation_config)
        for message in settings.without_effect(arguments):
            warn(message)
        if self.training and any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.modules()):
            warn("The model is in training mode, and dropout changes what it generates: call model.eval() first.")
        input_ids = model_inputs.pop("input_ids", None)
        if inputs is not None and input_ids is not None:
            raise InputError("inputs and input_ids are the same argument: pass only one of them.")
        read = read_source if self.config.is_encoder_decoder else read_prompt
        prompt = read(self, settings, inputs if input_ids is None else input_ids, model_inputs)

        copies = max(settings.num_beams or 1, settings.num_return_sequences or 1)
        if copies > MOST_COPIES:
            raise InputError(
                f"num_beams and num_return_sequences ask for {copies:,} texts at a time; there may be {MOST_COPIES:,}."
            )
        pad, vocab_size = settings.pad_token_id, self.config.vocab_size
        if pad is not None and prompt.input_ids.shape[0] * copies > 1 and not 0 <= pad < vocab_size:
            raise InputError(
                f"pad_token_id={pad} is outside the vocabulary of {vocab_size} tokens: pass another, or make room for "
                f"it with resize_token_embeddings(len(tokenizer))."
            )
        max_length = rules.text_length(settings, prompt, self.max_positions)
        processors = rules.logits_processors(
            settings, prompt, copies, max_length, logits_processor or [], prefix_allowed_tokens_fn
        )
        criteria, ends, max_length = rules.stopping_rules(settings, max_length, stopping_criteria or [], tokenizer)
        is_special = any(getattr(settings, name) is not None for name in rare_settings.SETTINGS)
        if is_special or negative_prompt_ids is not None or prompt.cache is not None:
            negative = negative_prompt_ids, negative_prompt_attention_mask
            assistant_model = rare_settings.apply(
                self, settings, prompt, max_length, processors, negative, assistant_model
            )
        if isinstance(generator, int):
            generator = torch.Generator(prompt.input_ids.device).manual_seed(generator)

        loop: Callable[[Search], Any] = beam_loop if (settings.num_beams or 1) > 1 else next_token_loop
        if assistant_model is not None or settings.prompt_lookup_num_tokens is not None:
            candidate_generator = candidate_generator_for(
                self, assistant_model, settings, prompt, max_length, processors, generator
            )
            loop = functools.partial(assisted_loop, candidate_generator=candidate_generator)
        options = {name: True for name in ("output_attentions", "output_hidden_states") if getattr(settings, name)}
        model = NextTokenModel(
            self, prompt, max_length, copies=copies, use_cache=settings.use_cache is not False, **options
        )
        rows = prompt.input_ids.repeat_interleave(copies, dim=0)
        return Search(loop, model, rows, settings, processors, criteria, ends, max_length, generator)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments of `forward` for one step of `generate`, which calls this method at each step.

        Subclasses and adapters override it to change what the model receives.

        Args:
            input_ids: (rows, length) the whole texts.
            next_sequence_length: number of last tokens that are not in the cache; None where all are to be computed.
            past_key_values: the cache. An empty one is left out, since the model makes its own.
            attention_mask: (rows, length) 0 at padding, or None; of an encoder–decoder, the mask of the source.
            inputs_embeds: (rows, length, hidden) embeddings of the prompt; used at the first step.
            is_first_iteration: whether this is the first step.
            kwargs: further arguments of `forward`; position and token type ids are cut to the tokens of the step.
        """
        new = slice(None if next_sequence_length is None else -next_sequence_length, None)
        inputs: dict[str, Any] = {}
        if self.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = input_ids[:, new]
        elif inputs_embeds is not None and is_first_iteration:
            inputs |= {"input_ids": None, "inputs_embeds": inputs_embeds[:, new]}
        else:
            inputs["input_ids"] = input_ids[:, new]
        if past_key_values is not None and past_key_values.get_seq_length():
            inputs["past_key_values"] = past_key_values
        if attention_mask is not None:
            inputs["attention_mask"] = attention_mask
        for name in ("position_ids", "token_type_ids"):
            if kwargs.get(name) is not None:
                kwargs[name] = kwargs[name][:, new]
        return inputs | {name: value for name, value in kwargs.items() if name != "labels"}

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
            normalize_logits: turn the scores into log-probabilities; those of greedy decoding and sampling are logits.
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
        """Number of positions of the model; None where there is no limit."""
        return getattr(self.config, "max_position_embeddings", None)


def split_arguments(model: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keyword arguments of `generate`, split into settings of GenerationConfig and inputs of the model.

    Raises:
        UnknownArgumentError: an argument is neither.
    """
    of_forward = forward_arguments(model.__class__) - NOT_INPUTS
    owner = f"{type(model).__name__}.generate"
    settings: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    if kwargs.keys() & ARGUMENTS.keys():
        kwargs = remove_no_ops(owner, kwargs, ARGUMENTS)
    for name, value in kwargs.items():
        if name in OPTION_NAMES:
            settings[name] = value
        elif name in of_forward:
            inputs |= {} if value is None else {name: value}
        elif name not in BATCH_FIELDS and not (value is None and name in MODEL_INPUTS):
            known = OPTION_NAMES | of_forward | OWN_ARGUMENTS
            raise UnknownArgumentError(f"{owner} takes no argument {name!r}.{nearest(name, known)}")
    return settings, inputs


# Arguments of a model's forward that `generate` sets itself or does not read.
NOT_INPUTS = {
    "labels",
    "mc_labels",
    "mc_token_ids",
    "use_cache",
    "logits_to_keep",
    "num_items_in_batch",
    "return_dict",
    "decoder_inputs_embeds",
}
OWN_ARGUMENTS = {"logits_processor", "stopping_criteria", "assistant_model", "streamer", "tokenizer", "generator"}
OWN_ARGUMENTS |= {"negative_prompt_ids", "negative_prompt_attention_mask"}
