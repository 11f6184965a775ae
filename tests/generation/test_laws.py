"""Laws of text generation, tested on the whole of `generate`."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import ONE_AT_A_TIME, STRATEGIES, VOCABULARY, bert, gpt2, left_padded, options

import minitransformers as mt
from minitransformers import generation
from minitransformers.generation.inputs import NextTokenModel

texts = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=7)
batches = st.lists(texts, min_size=1, max_size=3)
seeds = st.integers(0, 7)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data(), seed=seeds, new=st.integers(1, 6))
def test_cached_is_uncached(strategy: str, data: st.DataObject, seed: int, new: int) -> None:
    batch = [data.draw(texts)] if strategy in ONE_AT_A_TIME else data.draw(batches)
    model = data.draw(st.sampled_from([gpt2(seed), bert(seed % 8)]))
    calls = [
        model.generate(
            **left_padded(batch),
            **options(strategy),
            max_new_tokens=new,
            eos_token_id=3,
            generator=seed,
            use_cache=cached,
        )
        for cached in (True, False)
    ]
    assert torch.equal(*calls)


@given(prompt=texts, seed=seeds, new=st.integers(1, 2), length_penalty=st.sampled_from([0.0, 1.0, 2.0]))
def test_a_wide_beam_is_exhaustive_search(prompt: list[int], seed: int, new: int, length_penalty: float) -> None:
    """With as many beams as there are texts, the best text is found, and all others in order."""
    vocabulary, end = 4, 2
    model = gpt2(seed, vocab_size=vocabulary)
    prompt = [token % vocabulary for token in prompt]
    complete = {}
    for tokens in itertools.product(range(vocabulary), repeat=new):
        text = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        ids = torch.tensor([[*prompt, *text]])
        with torch.no_grad():
            log_probabilities = model(ids).logits.float().log_softmax(dim=-1)[0, len(prompt) - 1 : -1]
        total = log_probabilities.gather(1, torch.tensor(text)[:, None]).sum()
        complete[text] = float(total / len(text) ** length_penalty)
    best = sorted(complete.items(), key=lambda item: -item[1])

    result = model.generate(
        **left_padded([prompt]),
        num_beams=vocabulary**new,
        num_return_sequences=min(4, len(best)),
        max_new_tokens=new,
        eos_token_id=end,
        pad_token_id=1,
        length_penalty=length_penalty,
        early_stopping="never",
        return_dict_in_generate=True,
        output_scores=True,
    )
    for row, score, (text, expected) in zip(result.sequences, result.sequences_scores, best, strict=False):
        found = tuple(row[len(prompt) : len(prompt) + len(text)].tolist())
        assert score.item() == pytest.approx(expected, abs=1e-5)
        assert found == text or complete[found] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("strategy", ["greedy", "beams"])
@given(batch=batches, seed=seeds, new=st.integers(1, 5), family=st.sampled_from([gpt2, bert]))
def test_a_padded_batch_is_each_prompt_alone(
    strategy: str, batch: list[list[int]], seed: int, new: int, family: Any
) -> None:
    model = family(seed % 8)
    settings = {**options(strategy), "max_new_tokens": new, "eos_token_id": [3, 4], "repetition_penalty": 1.2}
    together = model.generate(**left_padded(batch), **settings, pad_token_id=1)
    copies = settings.get("num_return_sequences", 1)
    width = max(map(len, batch))
    for number, text in enumerate(batch):
        alone = model.generate(**left_padded([text]), **settings, pad_token_id=1)
        rows = together[number * copies : (number + 1) * copies, width:]
        continued = alone[:, len(text) :]
        assert torch.equal(rows[:, : continued.shape[1]], continued)
        assert (rows[:, continued.shape[1] :] == 1).all()


# ---- filters ---------------------------------------------------------------------------------------------------------


def kept_by(settings: dict[str, Any], prompt: list[int], seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each step of a sampled text: the model's probabilities, and which tokens could be drawn."""
    steps = gpt2(seed).generate_steps(
        torch.tensor([prompt]), **{"do_sample": True, "top_k": None, "max_new_tokens": 4, "generator": seed, **settings}
    )
    return [(step.logits[0].softmax(dim=-1), step.scores[0] > -torch.inf) for step in steps]


@given(prompt=texts, seed=seeds, p=st.floats(0.05, 0.999))
def test_top_p_keeps_the_smallest_set_with_that_mass(prompt: list[int], seed: int, p: float) -> None:
    for probabilities, kept in kept_by({"top_p": p}, prompt, seed):
        mass, least = probabilities[kept].sum(), probabilities[kept].min()
        assert mass >= p - 1e-6
        assert mass - least < p + 1e-6, "without its least likely token, the set would still have been enough"
        assert least >= probabilities[~kept].max() if (~kept).any() else True


@given(prompt=texts, seed=seeds, k=st.integers(1, VOCABULARY + 2))
def test_top_k_keeps_the_k_best(prompt: list[int], seed: int, k: int) -> None:
    for probabilities, kept in kept_by({"top_k": k}, prompt, seed):
        assert int(kept.sum()) == min(k, VOCABULARY)
        assert not (~kept).any() or probabilities[kept].min() > probabilities[~kept].max()


def test_top_k_keeps_ties() -> None:
    """Two tokens with the same embedding have the same score: if one is among the k best, both are kept."""
    model = copy.deepcopy(gpt2())
    prompt = torch.tensor([[5, 6, 7]])
    best = int(model.generate(prompt, max_new_tokens=1)[0, -1])
    twin = next(token for token in range(VOCABULARY) if token != best and token not in prompt)
    with torch.no_grad():
        model.transformer.wte.weight[twin] = model.transformer.wte.weight[best]
    step = next(model.generate_steps(prompt, do_sample=True, top_k=1, max_new_tokens=1))
    assert (step.scores[0] > -torch.inf).nonzero().flatten().tolist() == sorted([best, twin])


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1.0},
        {"typical_p": 0.01, "temperature": 0.01},
        {"epsilon_cutoff": 0.99},
        {"eta_cutoff": 0.99},
        {"top_h": 0.01},
    ],
)
@given(prompt=texts, seed=seeds)
def test_the_strictest_filter_is_greedy(settings: dict[str, Any], prompt: list[int], seed: int) -> None:
    model, ids = gpt2(seed), torch.tensor([prompt])
    sampled = model.generate(ids, do_sample=True, max_new_tokens=6, generator=seed, **{"top_k": None, **settings})
    if "eta_cutoff" in settings:  # its threshold falls with the entropy, and need not leave one token only
        assert sampled.shape == (1, len(prompt) + 6)
    else:
        assert torch.equal(sampled, model.generate(ids, max_new_tokens=6))


@given(prompt=texts, seed=seeds)
def test_processors_compose(prompt: list[int], seed: int) -> None:
    """The scores that `generate` chooses from are the logits after its processors, called by hand."""
    settings = {"repetition_penalty": 1.4, "suppress_tokens": [2], "temperature": 0.6, "top_k": 6, "top_p": 0.9}
    by_hand = [
        generation.RepetitionPenaltyLogitsProcessor(1.4),
        generation.SuppressTokensLogitsProcessor([2]),
        generation.TemperatureLogitsWarper(0.6),
        generation.TopKLogitsWarper(6),
        generation.TopPLogitsWarper(0.9),
    ]
    for step in gpt2(seed).generate_steps(
        torch.tensor([prompt]), do_sample=True, max_new_tokens=5, generator=seed, **settings
    ):
        scores = step.logits
        for processor in by_hand:
            scores = processor(step.sequences[:, :-1], scores)
        assert torch.equal(scores, step.scores)


@given(prompt=texts, seed=seeds)
def test_processors_and_criteria_of_a_users_own(prompt: list[int], seed: int) -> None:
    """A plain function, or a class."""

    def only_even(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(torch.arange(scores.shape[-1]) % 2 == 1, -torch.inf)

    class AfterFour(generation.StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            return torch.full((len(input_ids),), input_ids.shape[1] >= len(prompt) + 4)

    result = gpt2(seed).generate(
        torch.tensor([prompt]),
        max_new_tokens=9,
        logits_processor=[only_even],
        stopping_criteria=[AfterFour(), lambda input_ids, scores: False],
    )
    assert result.shape[1] == len(prompt) + 4
    assert (result[:, len(prompt) :] % 2 == 0).all()


# ---- assisted decoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["prompt lookup", "draft model"])
@given(prompt=texts, seed=seeds, new=st.integers(1, 9), count=st.integers(1, 5), end=st.integers(1, VOCABULARY - 1))
def test_assisted_is_greedy(strategy: str, prompt: list[int], seed: int, new: int, count: int, end: int) -> None:
    model = gpt2(seed)
    settings = {"max_new_tokens": new, "eos_token_id": end, "repetition_penalty": 1.1}
    how = options(strategy) | ({"prompt_lookup_num_tokens": count} if "lookup" in strategy else {})
    assisted = model.generate(
        torch.tensor([prompt]),
        **settings,
        **how,
        num_assistant_tokens=count,
        num_assistant_tokens_schedule="heuristic",
        return_dict_in_generate=True,
        output_scores=True,
    )
    plain = model.generate(torch.tensor([prompt]), **settings, return_dict_in_generate=True, output_scores=True)
    assert torch.equal(assisted.sequences, plain.sequences)
    assert len(assisted.scores) == len(plain.scores)
    for ours, theirs in zip(assisted.scores, plain.scores, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert assisted.past_key_values.get_seq_length() == plain.past_key_values.get_seq_length()


def test_a_perfect_draft_saves_passes() -> None:
    """A model that guesses for itself is always right: 12 tokens take 2 passes, of 5 candidates and 1 token each."""
    model, passes = gpt2(4), 0

    def count(module: Any, inputs: Any, output: Any) -> None:
        nonlocal passes
        passes += 1

    draft = mt.GPT2LMHeadModel(model.config).double().eval()
    draft.load_state_dict(model.state_dict())
    hook = model.register_forward_hook(count)
    try:
        model.generate(
            torch.tensor([[5, 6]]),
            max_new_tokens=12,
            assistant_model=draft,
            num_assistant_tokens=5,
            assistant_confidence_threshold=0.0,
        )
    finally:
        hook.remove()
    assert passes == 2


def chi_square(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    expected = counts.sum() * probabilities
    assert expected.min() > 5, "too few are expected of one kind for the statistic"
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("strategy", ["draft model, sampling", "prompt lookup, sampling"])
def test_speculative_samples_are_distributed_as_the_target(strategy: str) -> None:
    """Chi-square of 400 texts, by their first two tokens, against the model's own probabilities of each."""
    size, number, prompt, temperature = 3, 400, torch.tensor([[1, 2, 0, 1, 2]]), 1.5
    model, draft = gpt2(2, vocab_size=size, scale=0.5), gpt2(9, vocab_size=size, scale=0.5)
    how: dict[str, Any] = {"prompt_lookup_num_tokens": 2}
    if strategy.startswith("draft"):
        how = {"assistant_model": draft, "assistant_confidence_threshold": 0.0}
    how |= {"do_sample": True, "temperature": temperature, "top_k": None, "max_new_tokens": 3}
    how["generator"] = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def of_two_tokens(scorer: mt.GPT2LMHeadModel) -> torch.Tensor:
        first = (scorer(prompt).logits[0, -1].float() / temperature).softmax(dim=-1)
        extended = torch.cat([prompt.expand(size, -1), torch.arange(size)[:, None]], dim=1)
        return (first[:, None] * (scorer(extended).logits[:, -1].float() / temperature).softmax(dim=-1)).flatten()

    counts = torch.zeros(size * size)
    for _ in range(number):
        one, two = model.generate(prompt, **how)[0, 5:7].tolist()
        counts[one * size + two] += 1
    assert chi_square(counts, of_two_tokens(model)) < 26.1, "8 degrees of freedom exceed this once in a thousand"
    assert chi_square(counts, of_two_tokens(draft)) > 100, "the draft's distribution must be told apart"


def test_the_same_seed_gives_the_same_text_and_leaves_the_global_generator_alone() -> None:
    model, prompt = gpt2(1), torch.tensor([[3, 4]])
    before = torch.get_rng_state()
    texts = [model.generate(prompt, do_sample=True, max_new_tokens=12, generator=seed) for seed in (7, 7, 8)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])
    mt_seeded = []
    for _ in range(2):
        generation.set_seed(7)
        mt_seeded.append(model.generate(prompt, do_sample=True, max_new_tokens=12))
    assert torch.equal(*mt_seeded)
    assert torch.equal(mt_seeded[0], texts[0]), "a seeded generator draws what the global one with that seed does"


def test_laws_see_a_cache_that_is_not_reordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: beams continue with the keys and values of other beams."""
    monkeypatch.setattr(NextTokenModel, "reorder", lambda self, rows: None)
    differ = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(8):
            calls = [
                gpt2(seed).generate(torch.tensor([[3, 4, 5]]), num_beams=4, max_new_tokens=9, use_cache=cached)
                for cached in (True, False)
            ]
            differ += not torch.equal(*calls)
    assert differ
