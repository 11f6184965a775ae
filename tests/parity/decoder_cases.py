"""What decoders of one shape have in common: a table from a family's configurations and the arguments it takes.

These are the families that came after GPT-2 and whose task classes take the same inputs; what sets them apart, how
their configurations are drawn, stands in their own files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import Case
from drawing import MASKS, Draw, Example, Sizes, seeds, span_labels, token_inputs, token_labels
from hypothesis import assume, strategies as st
from task_examples import PROBLEMS, classification_config, language_model_arguments, problem_labels

DrawConfig = Callable[..., dict[str, Any]]

PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})
_OF_A_HEAD = ("attention scale", "other labels")
# A window can leave the last tokens, padding, without any key: what they give is compared with nothing.
WITHOUT_PADDING = ("none", "all ones", "4-D bool", "4-D additive")


def maybe_use_cache(draw: Draw) -> dict[str, bool]:
    return draw(st.sampled_from([{}, {"use_cache": True}, {"use_cache": False}]))


def decoder_cases(
    prefix: str,
    config: DrawConfig,
    sizes: Callable[[dict[str, Any]], Sizes],
    mutations: tuple[str, ...],
) -> list[Case]:
    """The table of a family whose classes are called `prefix`Model, `prefix`ForCausalLM and so on.

    Args:
        config: draws a configuration; `sizes` says what an input of it must fit.
        mutations: errors that the backbone must notice.
    """

    @st.composite
    def backbone(draw: Draw) -> Example:
        chosen = config(draw)
        arguments, real = token_inputs(draw, sizes(chosen))
        return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))

    @st.composite
    def causal_lm(draw: Draw) -> Example:
        chosen = config(draw)
        arguments, real = token_inputs(draw, sizes(chosen))
        return Example(
            chosen, arguments | language_model_arguments(draw, real, chosen["vocab_size"]), real, draw(seeds())
        )

    @st.composite
    def sequence_classification(draw: Draw) -> Example:
        problem = draw(st.sampled_from(list(PROBLEMS)))
        chosen, num_labels = classification_config(draw, config, problem)
        # Without a padding token it would be unknown where each of several sequences ends.
        max_batch = 1 if chosen["pad_token_id"] is None else 3
        arguments, real = token_inputs(draw, sizes(chosen), (*MASKS, "right", "right"), max_batch=max_batch)
        if sizes(chosen).has_windows and (chosen["pad_token_id"] is None or "inputs_embeds" in arguments):
            assume(real[:, -1].all())  # what decides is the last token, be it padding
        if draw(st.sampled_from([True, True, True, False])):
            arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
        return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))

    @st.composite
    def token_classification(draw: Draw) -> Example:
        chosen = config(draw, num_labels=draw(st.integers(2, 7)))
        arguments, real = token_inputs(draw, sizes(chosen))
        if draw(st.booleans()):
            arguments["labels"] = token_labels(draw, real, chosen["num_labels"])
        return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))

    @st.composite
    def question_answering(draw: Draw) -> Example:
        chosen, labelled = config(draw), draw(st.booleans())
        # The loss compares all positions, those of padding too.
        arguments, real = token_inputs(draw, sizes(chosen), WITHOUT_PADDING if labelled else MASKS)
        if labelled:
            arguments |= span_labels(draw, *real.shape)
        return Example(chosen, arguments, real, draw(seeds()))

    return [
        Case(f"{prefix}Model", backbone(), PER_TOKEN, mutations, has_cache=True),
        Case(
            f"{prefix}ForCausalLM",
            causal_lm(),
            PER_TOKEN,
            ("attention scale", *({"sees the future"} & {*mutations}), "labels not shifted", "untied"),
            has_cache=True,
        ),
        Case(
            f"{prefix}ForSequenceClassification",
            sequence_classification(),
            frozenset(),
            (*_OF_A_HEAD, "other padding token"),
            has_cache=True,
        ),
        Case(f"{prefix}ForTokenClassification", token_classification(), PER_TOKEN, _OF_A_HEAD),
        Case(f"{prefix}ForQuestionAnswering", question_answering(), PER_TOKEN, _OF_A_HEAD),
    ]
