"""The step iterator: the fields of a step; `generate`, streams and loops by hand have the same result."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import ONE_AT_A_TIME, STRATEGIES, VOCABULARY, gpt2, left_padded, options

import minitransformers as mt
from minitransformers import generation
from minitransformers.errors import InputError

texts = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=6)
seeds = st.integers(0, 7)


def steps_and_result(strategy: str, batch: list[list[int]], seed: int, **settings: Any) -> tuple[list[Any], Any, Any]:
    inputs = left_padded(batch) | {"generator": seed, "max_new_tokens": 6, "eos_token_id": [3, 4], "pad_token_id": 1}
    search = gpt2(seed).generate_steps(**inputs, **options(strategy), **settings)
    return list(search), search, gpt2(seed).generate(**inputs, **options(strategy), **settings)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data(), seed=seeds)
def test_the_iterator_ends_with_the_result_of_generate(strategy: str, data: st.DataObject, seed: int) -> None:
    batch = data.draw(st.lists(texts, min_size=1, max_size=1 if strategy in ONE_AT_A_TIME else 3))
    steps, search, result = steps_and_result(strategy, batch, seed)
    assert torch.equal(search.sequences, result)
    assert [step.sequences.shape[1] for step in steps] == list(
        range(steps[0].sequences.shape[1], steps[0].sequences.shape[1] + len(steps))
    )
    for step in steps:
        assert torch.equal(step.token_ids, step.sequences[:, -1])


@pytest.mark.parametrize("strategy", ["greedy", "several samples", "prompt lookup", "draft model, sampling"])
@given(prompt=texts, seed=seeds)
def test_probabilities_and_alternatives(strategy: str, prompt: list[int], seed: int) -> None:
    """The token's probability is that of the processed scores, and cumulative is the sum of their logarithms."""
    steps, _, _ = steps_and_result(strategy, [prompt], seed)
    total, running = torch.zeros(len(steps[0].token_ids)), torch.ones(len(steps[0].token_ids), dtype=torch.bool)
    for step in steps:
        distribution = step.scores.softmax(dim=-1)
        probabilities = distribution[torch.arange(len(step.token_ids)), step.token_ids]
        assert torch.allclose(step.probabilities, probabilities)
        total += torch.where(running, probabilities.log(), 0.0)
        assert torch.allclose(step.cumulative, total, atol=1e-4)
        ids, chances = step.alternatives(4)
        assert ids.shape == chances.shape == (len(step.token_ids), 4)
        assert (chances.diff(dim=-1) <= 0).all()
        assert torch.allclose(chances, distribution.gather(1, ids))
        if "do_sample" not in STRATEGIES[strategy]:
            assert torch.equal(ids[:, 0], step.token_ids)
        running = ~step.finished
    assert step.alternatives(99)[0].shape[1] == VOCABULARY


@given(prompt=texts, seed=seeds)
def test_steps_of_beams(prompt: list[int], seed: int) -> None:
    """Each beam goes on from its parent, and its cumulative log-probability grows by that of its token."""
    search = gpt2(seed).generate_steps(torch.tensor([prompt]), num_beams=3, max_new_tokens=5)
    before = None
    for step in search:
        chances = step.distribution().gather(1, step.token_ids[:, None]).squeeze(1)
        assert torch.allclose(step.probabilities, chances)
        if before is not None:
            assert torch.equal(step.sequences[:, :-1], before.sequences[step.parents])
            if step.cumulative.min() > -1e8:  # in the last step, all beams have ended
                assert torch.allclose(step.cumulative, before.cumulative[step.parents] + chances.log(), atol=1e-4)
        before = step


@given(prompt=texts, seed=seeds, cached=st.booleans())
def test_a_loop_by_hand_is_greedy_decoding(prompt: list[int], seed: int, cached: bool) -> None:
    """As textbooks write it."""
    model, ids = gpt2(seed), torch.tensor([prompt])
    expected = model.generate(ids, max_new_tokens=6)
    past = None
    with torch.no_grad():
        for _ in range(6):
            outputs = model(ids if past is None else ids[:, -1:], past_key_values=past, use_cache=cached)
            past = outputs.past_key_values
            ids = torch.cat([ids, outputs.logits[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(ids, expected)


@pytest.mark.parametrize("strategy", ["greedy", "sampling", "beams", "prompt lookup"])
def test_continuing_from_the_cache(strategy: str) -> None:
    """A text that is continued in two calls, with the whole text or only what is new, is the text of one call."""
    model, prompt = gpt2(3), torch.tensor([[3, 4, 5]])
    first = model.generate(prompt, max_new_tokens=4, return_dict_in_generate=True)
    how = options(strategy) | {"max_new_tokens": 5, "generator": 1}
    expected = model.generate(first.sequences, **how)
    past = first.past_key_values
    seen = past.get_seq_length()
    assert torch.equal(model.generate(first.sequences, past_key_values=past, **how), expected)
    again = model.generate(prompt, max_new_tokens=4, return_dict_in_generate=True)
    rest = model.generate(
        again.sequences[:, seen:],
        past_key_values=again.past_key_values,
        attention_mask=torch.ones_like(again.sequences),
        **how,
    )
    if strategy != "prompt lookup":  # with less text to look up in, it guesses others, and chooses the same
        assert rest.shape[1] == expected.shape[1] - seen
    assert torch.equal(rest, expected[:, seen:])


def test_an_iteration_can_stop_early() -> None:
    search = gpt2().generate_steps(torch.tensor([[3, 4]]), max_new_tokens=9)
    next(search)
    next(search)
    assert search.sequences.shape == (1, 4)
    assert torch.equal(search.sequences, gpt2().generate(torch.tensor([[3, 4]]), max_new_tokens=2))


def test_gradients_are_off_in_steps_only() -> None:
    for step in gpt2().generate_steps(torch.tensor([[3, 4]]), max_new_tokens=2):
        assert torch.is_grad_enabled()
        assert not step.scores.requires_grad


def test_transition_scores_sum_to_the_scores_of_beams() -> None:
    model, prompt = gpt2(5), torch.tensor([[3, 4], [5, 6]])
    result = model.generate(
        prompt,
        num_beams=3,
        num_return_sequences=2,
        max_new_tokens=6,
        eos_token_id=[1, 2],
        pad_token_id=1,
        return_dict_in_generate=True,
        output_scores=True,
    )
    each = model.compute_transition_scores(result.sequences, result.scores, result.beam_indices)
    lengths = (result.beam_indices >= 0).sum(dim=1)
    assert torch.allclose(each.sum(dim=1) / lengths, result.sequences_scores, atol=1e-5)
    greedy = model.generate(prompt, max_new_tokens=4, return_dict_in_generate=True, output_scores=True)
    each = model.compute_transition_scores(greedy.sequences, greedy.scores, normalize_logits=True)
    assert each.shape == (2, 4)
    assert (each <= 0).all()


# ---- streams ---------------------------------------------------------------------------------------------------------


class Letters:
    """A tokenizer of words, spaces, a full stop that draws near, Chinese characters and halves of a character."""

    pieces = ("", " cat", " dog", "s", " ", "\n", "。", "中", b"\xc3", b"\xa9", " .")

    def decode(self, ids: list[int], skip_special_tokens: bool = False, **_: Any) -> str:
        data = b"".join(
            piece if isinstance(piece, bytes) else piece.encode() for piece in (self.pieces[int(i)] for i in ids)
        )
        return data.decode(errors="replace").replace(" .", ".")


@pytest.mark.parametrize("skip_prompt", [True, False])
@given(prompt=texts, seed=seeds)
def test_the_streamed_text_is_the_text_of_the_result(skip_prompt: bool, prompt: list[int], seed: int) -> None:
    ids, streamer = (
        torch.tensor([prompt]),
        generation.TextIteratorStreamer(Letters(), skip_prompt=skip_prompt, timeout=60),
    )
    result = []
    thread = threading.Thread(
        target=lambda: result.append(
            gpt2(seed).generate(ids, do_sample=True, generator=seed, max_new_tokens=14, streamer=streamer)
        )
    )
    thread.start()
    pieces = list(streamer)
    thread.join()
    assert "".join(pieces) == Letters().decode(result[0][0, len(prompt) if skip_prompt else 0 :].tolist())


@pytest.mark.parametrize("strategy", ["greedy", "draft model", "prompt lookup"])
def test_a_streamer_gets_the_prompt_every_token_and_the_end(strategy: str) -> None:
    class Recorder(generation.BaseStreamer):
        def __init__(self) -> None:
            self.values: list[list[int]] = []
            self.ends = 0

        def put(self, value: torch.Tensor) -> None:
            self.values.append(value.flatten().tolist())

        def end(self) -> None:
            self.ends += 1

    recorder = Recorder()
    result = gpt2(2).generate(torch.tensor([[3, 4, 3]]), **options(strategy), max_new_tokens=7, streamer=recorder)
    assert recorder.values == [[3, 4, 3], *([token] for token in result[0, 3:].tolist())]
    assert recorder.ends == 1


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    streamer = generation.TextStreamer(Letters(), skip_prompt=True)
    result = gpt2(1).generate(torch.tensor([[3, 4]]), max_new_tokens=8, streamer=streamer)
    assert capsys.readouterr().out == Letters().decode(result[0, 2:].tolist()) + "\n"
    with pytest.raises(InputError, match="shows one text; it got 2"):
        gpt2().generate(torch.tensor([[3], [4]]), streamer=streamer)


def test_a_stream_ends_after_an_error() -> None:
    """Otherwise a reader in another thread would wait forever."""
    streamer = generation.TextIteratorStreamer(Letters(), timeout=60)
    with pytest.raises(InputError):
        gpt2().generate(torch.tensor([[3, 4]]), max_length=1, streamer=streamer)
    assert list(streamer) == [""]


# ---- memory ----------------------------------------------------------------------------------------------------------


@given(rows=st.lists(st.integers(0, 2), min_size=3, max_size=3), start=st.integers(0, 5), room=st.integers(0, 9))
def test_reordering_in_place_is_reordering(rows: list[int], start: int, room: int) -> None:
    """Reordering rows with a common beginning from where they differ equals a complete copy."""
    layer = generation_cache = mt.nn.cache.CacheLayer(capacity=room)
    key, value = torch.randn(3, 2, 7, 4), torch.randn(3, 2, 7, 5)
    key[:, :, :start], value[:, :, :start] = key[:1, :, :start], value[:1, :, :start]
    order = torch.tensor(rows)
    with torch.no_grad():
        layer.update(key[:, :, :3], value[:, :, :3])
        layer.update(key[:, :, 3:], value[:, :, 3:])
        generation_cache.reorder(order, start=start)
        found = layer.read()
    assert torch.equal(found[0], key[order])
    assert torch.equal(found[1], value[order])


def test_beams_leave_the_callers_tensors_alone() -> None:
    """The first keys and values may be memory of the caller."""
    key = torch.randn(2, 1, 3, 4)
    kept, layer = key.clone(), mt.nn.cache.CacheLayer()
    with torch.no_grad():
        layer.update(key, key)
        layer.reorder(torch.tensor([1, 1]), start=1)
    assert torch.equal(key, kept)


def test_prefill_computes_one_position_and_one_row_of_each_prompt() -> None:
    """The prompt of several beams is computed once."""
    shapes: list[torch.Size] = []
    model = gpt2(6)
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    try:
        model.generate(torch.tensor([[3, 4, 5], [6, 7, 8]]), num_beams=4, max_new_tokens=2)
    finally:
        hook.remove()
    assert shapes == [(2, 1, VOCABULARY), (8, 1, VOCABULARY)]
