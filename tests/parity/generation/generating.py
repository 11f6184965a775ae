"""Random calls of `generate` and their results in both libraries."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from cases import rounding_nothing
from comparing import pinned_names
from hypothesis import strategies as st
from torch import Tensor

import minitransformers as mt
from minitransformers.testing.weights import draw_weights

transformers.logging.set_verbosity_error()

EXACT = 1e-9
VOCABULARY = 23
POSITIONS = 40
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": POSITIONS, "bos_token_id": 1}
FAMILIES = {
    "GPT2LMHeadModel": ("GPT2Config", GPT2),
    "GPT2DoubleHeadsModel": ("GPT2Config", GPT2),
    "OpenAIGPTLMHeadModel": ("OpenAIGPTConfig", GPT2),
    "GPT2LMHeadModel with a context": ("GPT2Config", {**GPT2, "add_cross_attention": True}),
    "BertLMHeadModel": (
        "BertConfig",
        {
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_size": 8,
            "intermediate_size": 12,
            "max_position_embeddings": POSITIONS,
            "is_decoder": True,
            "bos_token_id": 1,
        },
    ),
    "LlamaForCausalLM": (
        "LlamaConfig",
        {
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_size": 8,
            "intermediate_size": 12,
            "max_position_embeddings": POSITIONS,
            "bos_token_id": 1,
        },
    ),
    "T5ForConditionalGeneration": (
        "T5Config",
        {
            "num_layers": 2,
            "num_heads": 2,
            "d_model": 8,
            "d_kv": 4,
            "d_ff": 12,
            "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 12,
            "decoder_start_token_id": 1,
        },
    ),
    "BartForConditionalGeneration": (
        "BartConfig",
        {
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "d_model": 8,
            "encoder_ffn_dim": 12,
            "decoder_ffn_dim": 12,
            "max_position_embeddings": POSITIONS,
            "forced_eos_token_id": None,
            "decoder_start_token_id": 1,
        },
    ),
}

Draw = Callable[[st.SearchStrategy[Any]], Any]


@functools.lru_cache(maxsize=32)
def pair(name: str, seed: int, vocab_size: int = VOCABULARY) -> tuple[Any, Any]:
    """Our model and the reference's with the same weights, in float64, large enough that nothing is decided by ties."""
    config_name, sizes = FAMILIES[name]
    name = name.split()[0]
    settings = {**sizes, "vocab_size": vocab_size, "eos_token_id": None, "pad_token_id": None}
    if name.startswith("Bert"):
        settings["pad_token_id"] = 0  # a row of its embedding; what pads a call is drawn for each
    config = getattr(transformers, config_name)(**settings, attn_implementation="eager")
    theirs = draw_weights(getattr(transformers, name)(config).double().eval(), seed, scale=0.7)
    ours = getattr(mt, name)(getattr(mt, config_name)(**settings, attn_implementation="eager")).eval()
    ours.load_hf_state_dict({key: tensor.clone() for key, tensor in theirs.state_dict().items()})
    for model in (ours, theirs):
        model.generation_config.pad_token_id = None
    return ours, theirs


@dataclass
class Call:
    """One call of `generate`: a model, a seed for its random numbers, and its arguments."""

    model: str
    weights: int
    seed: int
    arguments: dict[str, Any]

    def run(self) -> tuple[Any, Any]:
        """Our result and the reference's."""
        ours, theirs = pair(self.model, self.weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(self.seed)
            with rounding_nothing():
                expected = theirs.generate(**copy.deepcopy(self.arguments))  # it changes an encoder's output in place
            torch.manual_seed(self.seed)
            return ours.generate(**self.arguments), expected


def assert_same(ours: Any, theirs: Any, prompt: Tensor) -> None:
    """The same ids, and scores that differ by rounding only.

    Padding in front of a prompt attends to nothing; the reference and this library compute different values for it,
    which no token reads: hidden states and attentions of the prompt are compared without it.
    """
    if isinstance(theirs, Tensor):
        assert torch.equal(ours, theirs), f"\n{ours}\n{theirs}"
        return
    theirs = pinned_names(theirs)
    assert torch.equal(ours.sequences, theirs["sequences"]), f"\n{ours.sequences}\n{theirs['sequences']}"
    assert set(ours.keys()) == set(theirs.keys())
    for name in ("sequences_scores", "scores", "logits"):
        if theirs.get(name) is not None:
            assert_close(ours[name], theirs[name], name)
    for name in ("encoder_hidden_states", "encoder_attentions"):
        if theirs.get(name) is not None:
            assert_close(ours[name], theirs[name], name)
    for name in ("hidden_states", "attentions", "decoder_hidden_states", "decoder_attentions", "cross_attentions"):
        for step, expected in enumerate(theirs.get(name) or ()):
            assert_close(real(ours[name][step], prompt), real(expected, prompt), f"{name}[{step}]")
    if "beam_indices" in theirs:
        assert torch.equal(ours.beam_indices, theirs["beam_indices"])
    if "past_key_values" in theirs:
        assert ours.past_key_values.get_seq_length() == theirs["past_key_values"].get_seq_length()


def real(layers: tuple[Tensor, ...], prompt: Tensor) -> tuple[Tensor, ...]:
    """The rows (…, queries, width) of each layer that do not belong to padding, which has id 0."""
    if layers[0].shape[-2] < prompt.shape[1]:
        return layers
    copies = layers[0].shape[0] // prompt.shape[0]
    is_token = torch.ones(copies * prompt.shape[0], layers[0].shape[-2], dtype=torch.bool)
    is_token[:, : prompt.shape[1]] = (prompt != 0).repeat_interleave(copies, dim=0)
    return tuple((layer if layer.ndim == 3 else layer.transpose(1, 2))[is_token] for layer in layers)


def assert_close(ours: Any, theirs: Any, name: str) -> None:
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs), name
        for step, (actual, expected) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(actual, expected, f"{name}[{step}]")
        return
    assert ours.shape == theirs.shape, f"{name}: {tuple(ours.shape)} and {tuple(theirs.shape)}"
    assert ours.dtype == theirs.dtype
    same = (
        (ours == theirs)
        | ((ours - theirs).abs() <= EXACT * theirs.abs().clamp(min=1))
        | (ours.isnan() & theirs.isnan())
    )
    assert same.all(), f"{name} differs by {(ours - theirs).abs().nan_to_num().max().item():.3g}"


# ---- drawing ---------------------------------------------------------------------------------------------------------

tokens = st.integers(0, VOCABULARY - 1)


def some(draw: Draw, chances: int = 3) -> bool:
    """True once in `chances`."""
    return draw(st.integers(1, chances)) == chances


def prompts(draw: Draw, max_batch: int = 3) -> dict[str, Any]:
    """Ids of different lengths padded on the left, with their mask or with a padding token that tells it."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=max_batch))
    width = max(lengths)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    ids = torch.randint(6, VOCABULARY, (len(lengths), width), generator=random)  # none of which is padding
    mask = (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()
    arguments: dict[str, Any] = {"input_ids": ids.masked_fill(mask == 0, 0)}
    if mask.all() and draw(st.booleans()):
        return arguments
    if some(draw):
        return arguments | {"pad_token_id": 0}
    return arguments | {"attention_mask": mask}


def ends(draw: Draw) -> dict[str, Any]:
    """No, one or several ends of text; a padding token now and then."""
    arguments: dict[str, Any] = {}
    kind = draw(st.sampled_from(["none", "one", "several", "several"]))
    if kind == "one":
        arguments["eos_token_id"] = draw(st.integers(1, VOCABULARY - 1))
    elif kind == "several":
        arguments["eos_token_id"] = draw(st.lists(st.integers(1, VOCABULARY - 1), min_size=2, max_size=5, unique=True))
    if draw(st.booleans()):
        arguments["pad_token_id"] = draw(st.sampled_from([0, 5]))
    return arguments


def lengths(draw: Draw, prompt_length: int) -> dict[str, Any]:
    """A maximum, and a minimum now and then."""
    arguments: dict[str, Any] = {}
    new = draw(st.integers(1, 9))
    arguments |= {"max_new_tokens": new} if draw(st.booleans()) else {"max_length": prompt_length + new}
    if some(draw):
        least, least_new = {"min_length": prompt_length + 2}, {"min_new_tokens": min(3, new)}
        arguments |= draw(st.sampled_from([least, least_new, {"min_length": prompt_length + 6, **least_new}]))
    return arguments


def processors(draw: Draw, has_ends: bool) -> dict[str, Any]:
    """A few of the settings that change scores."""
    few = st.lists(tokens, min_size=1, max_size=3, unique=True)
    words = st.lists(st.lists(tokens, min_size=1, max_size=3), min_size=1, max_size=4)
    settings: dict[str, st.SearchStrategy[Any]] = {
        "repetition_penalty": st.sampled_from([0.6, 1.3, 3.0]),
        "encoder_repetition_penalty": st.sampled_from([0.6, 1.5]),
        "no_repeat_ngram_size": st.integers(1, 3),
        "encoder_no_repeat_ngram_size": st.integers(1, 3),
        "bad_words_ids": words,
        "sequence_bias": words.map(lambda lists: {tuple(ids): 2.5 - len(ids) for ids in lists}),
        "suppress_tokens": few,
        "begin_suppress_tokens": few,
        "forced_bos_token_id": tokens,
        "forced_eos_token_id": few,
        "exponential_decay_length_penalty": st.tuples(st.integers(0, 3), st.sampled_from([0.8, 1.4])),
        "renormalize_logits": st.just(True),
        "remove_invalid_values": st.just(True),
    }
    if not has_ends:  # without which the reference fails
        del settings["exponential_decay_length_penalty"]
    chosen = draw(st.lists(st.sampled_from(sorted(settings)), max_size=4, unique=True))
    if "suppress_tokens" in chosen:  # together with a forced token, both libraries refuse
        chosen = [name for name in chosen if not name.startswith("forced")]
    return {name: draw(settings[name]) for name in chosen}


def filters(draw: Draw) -> dict[str, Any]:
    """A few of the settings that make sampling less random."""
    settings: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.sampled_from([0.5, 0.8, 1.7]),
        "top_k": st.sampled_from([None, 0, 3, 8]),
        "top_p": st.sampled_from([0.3, 0.8, 0.95]),
        "min_p": st.sampled_from([0.0, 0.05, 0.3]),
        "typical_p": st.sampled_from([0.4, 0.9]),
        "epsilon_cutoff": st.sampled_from([0.02, 0.1]),
        "eta_cutoff": st.sampled_from([0.02, 0.1]),
        "top_h": st.sampled_from([0.4, 0.9]),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(settings)), max_size=4, unique=True))
    return {name: draw(settings[name]) for name in chosen}


def outputs(draw: Draw) -> dict[str, Any]:
    """The outputs besides the ids: none, or most of them."""
    if some(draw, 4):
        return {}
    names = ["output_scores", "output_logits", "output_hidden_states", "output_attentions"]
    return {"return_dict_in_generate": True, **{name: draw(st.booleans()) for name in names}}


@st.composite
def calls(draw: Draw, model: str, strategy: str) -> Call:
    """A call of one of the strategies: "greedy", "sampling", "beams" or "beam sampling"."""
    arguments = prompts(draw)
    arguments |= ends(draw) | lengths(draw, arguments["input_ids"].shape[1]) | outputs(draw)
    arguments |= processors(draw, has_ends="eos_token_id" in arguments)
    arguments["use_cache"] = not some(draw, 4)
    if "sampling" in strategy:
        arguments |= {"do_sample": True} | filters(draw)
    if "beam" in strategy:
        arguments["num_beams"] = draw(st.integers(2, 4))
        arguments["num_return_sequences"] = draw(st.integers(1, arguments["num_beams"]))
        arguments["length_penalty"] = draw(st.sampled_from([1.0, 0.0, -1.0, 2.0, 0.6]))
        arguments["early_stopping"] = draw(st.sampled_from([False, True, "never"]))
    elif strategy == "sampling":
        arguments["num_return_sequences"] = draw(st.integers(1, 3))
    return Call(model, draw(st.integers(0, 9)), draw(st.integers(0, 2**31)), arguments)
