"""The KV cache by itself: it holds what was appended, whatever the grad mode, and forgets what it is told to."""

import pytest
import torch
import torch.utils._pytree as pytree
import transformers
from hypothesis import given, strategies as st

from minitransformers.errors import InputError
from minitransformers.nn.cache import CacheLayer, DynamicCache, EncoderDecoderCache, as_cache
from minitransformers.testing.comparing import assert_close

MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


def tokens(*numbers, batch=2, heads=1, dim=1):
    """Keys whose every entry is the token's number, plus a tenth of the row."""
    rows = torch.arange(batch)[:, None, None, None] / 10
    return torch.tensor(numbers, dtype=torch.float64)[None, None, :, None].expand(batch, heads, -1, dim) + rows


def held(cache, row=0):
    """The numbers of the tokens in the cache, in one row."""
    key, value = cache.read()
    assert_close(value, -key)
    return (key[row, 0, :, 0] - row / 10).round(decimals=6).tolist()


def append(cache, *numbers, batch=2):
    new = tokens(*numbers, batch=batch)
    return cache.update(new, -new)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("capacity", [0, 1, 3, 100])
def test_what_is_appended_is_there_in_order(mode, capacity):
    cache = CacheLayer(capacity)
    with MODES[mode]():
        key, value = append(cache, 1, 2)
        assert (cache.length, held(cache)) == (2, [1, 2])
        assert_close((key, value), cache.read())
        append(cache, 3)
        append(cache, 4, 5, 6)
        key, _ = append(cache, 7)
    assert cache.length == 7
    assert key.shape == (2, 1, 7, 1)
    assert held(cache, 0) == held(cache, 1) == [1, 2, 3, 4, 5, 6, 7]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "crop", "reorder", "reorder after"]),
            st.sampled_from(sorted(MODES)),
            st.integers(0, 4),
        ),
        max_size=12,
    ),
    st.sampled_from([0, 1, 5, 40]),
)
def test_any_sequence_of_steps_in_any_modes_does_what_a_list_does(steps, capacity):
    cache, expected, number = CacheLayer(capacity), [[0], [0.1]], 0
    append(cache, 0)
    for step, mode, argument in steps:
        with MODES[mode]():
            if step == "append":
                new = [number + 1 + i for i in range(argument + 1)]
                number = new[-1]
                append(cache, *new, batch=len(expected))
                expected = [row + [n + i / 10 for n in new] for i, row in enumerate(expected)]
            elif step == "crop":
                length = min(max(argument, 1), len(expected[0]))
                cache.crop(length)
                expected = [row[:length] for row in expected]
            elif step == "reorder":
                rows = [argument % len(expected)] * (1 + argument % 3)
                cache.reorder(torch.tensor(rows))
                expected = [list(expected[row]) for row in rows]
            else:  # all rows agree on the first token once they are made to
                rows = list(reversed(range(len(expected))))
                cache.reorder(torch.zeros(len(expected), dtype=torch.long))
                cache.reorder(torch.tensor(rows), start=min(argument, cache.length))
                expected = [list(expected[0]) for _ in rows]
        key, value = cache.read()
        assert cache.length == len(expected[0])
        torch.testing.assert_close(key[:, 0, :, 0].clone(), torch.tensor(expected, dtype=torch.float64))
        torch.testing.assert_close(value.clone(), -key.clone())


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_tensors_are_never_written_to(mode):
    with MODES[mode]():
        key = tokens(1, 2, 3).clone()
        kept, cache = key.clone(), CacheLayer()
        cache.update(key, -key)
        cache.crop(1)
        append(cache, 9)
        assert held(cache) == [1, 9]
    assert torch.equal(key, kept)


def test_memory_is_taken_ahead_and_doubles_as_it_fills():
    cache = CacheLayer(capacity=4)
    with torch.no_grad():
        append(cache, 1)
        place = cache.read()[0].data_ptr()
        for number in (2, 3, 4):
            append(cache, number)
            assert cache.read()[0].data_ptr() == place  # written in place
        append(cache, 5)
        larger = cache.read()[0].data_ptr()
        assert larger != place
        for number in (6, 7, 8):
            append(cache, number)
            assert cache.read()[0].data_ptr() == larger  # room for twice as many
    assert held(cache) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_forward_pass_that_does_not_go_on_copies_nothing():
    key = tokens(1, 2)
    cache = CacheLayer()
    assert cache.update(key, -key)[0].data_ptr() == key.data_ptr()


def test_gradients_flow_to_every_token():
    keys = [tokens(n).clone().requires_grad_() for n in (1, 2, 3)]
    cache = CacheLayer()
    for key in keys:
        cache.update(key, -key)
    (cache.read()[0] * torch.tensor([1.0, 2.0, 3.0])[:, None]).sum().backward()
    assert [key.grad.unique().tolist() for key in keys] == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("last", ["no_grad", "grad"])
def test_a_step_without_gradients_does_not_break_those_of_earlier_steps(last):
    key = tokens(1, 2).clone().requires_grad_()
    cache = CacheLayer(capacity=10)
    first, _ = cache.update(key, -key)
    result = first.square().sum()
    with MODES[last]():
        cache.crop(1)
        append(cache, 9)
    result.backward()
    assert_close(key.grad, 2 * key.detach())


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_modes_may_change_between_steps(first, second):
    cache = CacheLayer(capacity=5)
    for mode, numbers in ((first, (1, 2)), (second, (3,)), (first, (4,)), (second, (5, 6))):
        with MODES[mode]():
            append(cache, *numbers)
    assert held(cache) == [1, 2, 3, 4, 5, 6]


def test_crop_forgets_the_end_and_never_makes_longer():
    cache = CacheLayer()
    append(cache, 1, 2, 3, 4)
    cache.crop(10)
    assert held(cache) == [1, 2, 3, 4]
    cache.crop(2)
    assert held(cache) == [1, 2]
    append(cache, 7)
    assert held(cache) == [1, 2, 7]


@pytest.mark.parametrize("mode", MODES)
def test_reorder_takes_rows_some_twice_and_more_than_there_were(mode):
    cache = CacheLayer(capacity=8)
    with MODES[mode]():
        append(cache, 1, 2)
        cache.reorder(torch.tensor([1, 1, 0]))
        assert cache.read()[0][:, 0, 0, 0].tolist() == pytest.approx([1.1, 1.1, 1.0])
        append(cache, 3, batch=3)
        cache.reorder(torch.tensor([2]))
        assert cache.read()[0].shape == (1, 1, 3, 1)
        assert cache.read()[0].flatten().tolist() == pytest.approx([1.0, 2.0, 3.2])


def test_an_empty_cache():
    cache = CacheLayer()
    assert cache.length == 0
    with pytest.raises(InputError, match="empty"):
        cache.read()
    cache.reorder(torch.tensor([0]))
    cache.crop(3)
    assert cache.length == 0


@pytest.mark.parametrize("mode", MODES)
def test_another_batch_is_refused(mode):
    cache = CacheLayer()
    with MODES[mode]():
        append(cache, 1)
        with pytest.raises(InputError, match="2 sequences and the input 3"):
            append(cache, 2, batch=3)
        assert held(cache) == [1]


# ---- of a whole model ------------------------------------------------------------------------------------------------


def test_a_model_has_a_cache_for_each_layer():
    cache = EncoderDecoderCache(DynamicCache(capacity=9), DynamicCache())
    assert cache.get_seq_length() == 0
    for index in range(3):
        append(cache.self_layer(index), 1, 2)
    append(cache.cross_layer(0), 7, 8, 9)
    assert (len(cache), cache.get_seq_length(), cache.is_updated) == (3, 2, {0: True})
    assert [layer.keys.shape[2] for layer in cache.self_attention_cache.layers] == [2, 2, 2]
    cache.crop(1)
    assert cache.get_seq_length() == 1
    assert cache.cross_layer(0).length == 3  # the context stays
    cache.reorder_cache(torch.tensor([1]))
    assert [key.shape[0] for key, *_ in cache.self_attention_cache] == [1, 1, 1]
    assert cache.cross_layer(0).read()[0].shape == (1, 1, 3, 1)
    cache.reset()
    assert (cache.get_seq_length(), len(cache), cache.is_updated) == (0, 3, {0: False})


def test_an_empty_cache_has_no_tokens():
    assert DynamicCache().get_seq_length() == 0
    assert list(DynamicCache()) == []


def test_it_answers_as_the_reference_does():
    """The same calls on our cache and on transformers': the same keys, values and lengths."""
    ours, theirs = DynamicCache(), transformers.DynamicCache()
    for step, numbers in enumerate([(1, 2, 3), (4,), (5, 6)]):
        for layer in range(2):
            new = tokens(*numbers) + layer
            for mine, other in zip(ours.update(new, -new, layer), theirs.update(new, -new, layer), strict=True):
                assert_close(mine, other)
        if step == 1:
            for cache in (ours, theirs):
                cache.batch_repeat_interleave(2)
                cache.crop(-1)
                cache.batch_select_indices(torch.tensor([0, 2]))
    for cache in (ours, theirs):
        cache.reorder_cache(torch.tensor([1, 0]))
        cache.crop(-1)
    assert ours.get_seq_length() == theirs.get_seq_length() == 4
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert_close((mine.keys, mine.values), (other.keys, other.values))


def test_a_cache_of_the_reference_is_taken_over():
    theirs = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
    theirs.self_attention_cache.update(tokens(1, 2), -tokens(1, 2), 0)
    theirs.cross_attention_cache.update(tokens(7), -tokens(7), 0)
    ours = as_cache(theirs)
    assert isinstance(ours, EncoderDecoderCache)
    assert (held(ours.self_layer(0)), held(ours.cross_layer(0))) == ([1, 2], [7])
    assert held(as_cache(theirs.self_attention_cache).self_layer(0)) == [1, 2]
    with pytest.raises(InputError, match="past_key_values must be the cache"):
        as_cache("cache")


def test_as_a_pytree_it_comes_back_as_it_was():
    cache = EncoderDecoderCache()
    append(cache.self_layer(0), 1, 2)
    append(cache.self_layer(1), 3, 4)
    append(cache.cross_layer(1), 5)
    leaves, spec = pytree.tree_flatten(cache)
    assert len(leaves) == 6
    again = pytree.tree_unflatten([2 * leaf for leaf in leaves], spec)
    assert isinstance(again, EncoderDecoderCache)
    assert again.get_seq_length() == 2
    assert again.is_updated == {0: False, 1: True}
    assert_close(again.self_layer(1).read(), tuple(2 * t for t in cache.self_layer(1).read()))
    with torch.no_grad():
        append(again.self_layer(0), 9)  # and it goes on
    assert again.self_layer(0).length == 3
