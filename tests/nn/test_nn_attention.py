"""Attention as text books work it out, and as a user builds with it."""

import math

import pytest
import torch
from torch import nn

from minitransformers.errors import InputError, UnknownNameError
from minitransformers.nn.attention import (
    KERNELS,
    MultiHeadAttention,
    attend,
    attention_kernel,
    eager_attention,
    fused_attention,
    merge_heads,
    split_heads,
)
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.masks import AttentionMask, causal_mask
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights

BOTH = pytest.mark.parametrize("kernel", [eager_attention, fused_attention])


def heads(rows):
    """A matrix as one head of one text."""
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- worked examples -------------------------------------------------------------------------------------------------

QUERY, KEY, VALUE = heads([[1, 0], [0, 1]]), heads([[1, 0], [0, 1]]), heads([[1, 2], [3, 4]])


@BOTH
def test_two_tokens_by_hand(kernel):
    """Scores 1 and 0: weights e/(e+1) = 0.731… and 1/(e+1) = 0.268…"""
    near, far = math.e / (math.e + 1), 1 / (math.e + 1)
    output, weights = kernel(QUERY, KEY, VALUE, scale=1.0)
    expected = heads([[near * 1 + far * 3, near * 2 + far * 4], [far * 1 + near * 3, far * 2 + near * 4]])
    assert_close(output, expected)
    assert output[0, 0, 0].tolist() == pytest.approx([1.5378828427, 2.5378828427])
    if weights is not None:
        assert_close(weights, heads([[near, far], [far, near]]))


@BOTH
def test_the_scale_is_one_over_the_root_of_the_width(kernel):
    near = 1 / (1 + math.exp(-1 / math.sqrt(2)))
    expected = heads(
        [[near + 3 * (1 - near), near * 2 + 4 * (1 - near)], [1 - near + 3 * near, 2 * (1 - near) + 4 * near]]
    )
    assert_close(kernel(QUERY, KEY, VALUE).output, expected)
    assert_close(kernel(QUERY, KEY, VALUE).output, kernel(QUERY, KEY, VALUE, scale=2**-0.5).output)


@BOTH
def test_a_causal_row_sees_itself_and_what_came_before(kernel):
    near, far = math.e / (math.e + 1), 1 / (math.e + 1)
    output, weights = kernel(QUERY, KEY, VALUE, scale=1.0, is_causal=True)
    assert_close(output, heads([[1, 2], [far * 1 + near * 3, far * 2 + near * 4]]))
    if weights is not None:
        assert_close(weights, heads([[1, 0], [far, near]]))


def test_equal_scores_give_the_triangle_that_text_books_draw():
    zeros = torch.zeros(1, 1, 4, 2)
    assert eager_attention(zeros, zeros, zeros, is_causal=True).weights[0, 0].tolist() == [
        [1, 0, 0, 0],
        [1 / 2, 1 / 2, 0, 0],
        [pytest.approx(1 / 3)] * 3 + [0],
        [1 / 4] * 4,
    ]


@BOTH
def test_a_bias_is_added_to_the_scores(kernel):
    """log 3 more for the second key makes it three times as heavy."""
    zeros = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    keys = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    bias = heads([[0.0, math.log(3)]])
    assert_close(kernel(zeros, keys, VALUE, bias=bias).output, heads([[1 / 4 * 1 + 3 / 4 * 3, 1 / 4 * 2 + 3 / 4 * 4]]))


@BOTH
def test_a_query_that_may_attend_to_nothing_gets_zeros(kernel):
    mask = torch.tensor([[True, False], [False, False]])[None, None]
    output, weights = kernel(QUERY, KEY, VALUE, mask=mask)
    assert_close(output, heads([[1, 2], [0, 0]]))
    if weights is not None:
        assert_close(weights, heads([[1, 0], [0, 0]]))


@BOTH
def test_a_query_before_all_keys_gets_zeros(kernel):
    """Three queries aligned to the lower right of two keys: the first comes before both."""
    output = kernel(random(1, 1, 3, 2), KEY, VALUE, is_causal=True).output
    assert_close(output[0, 0, 0], torch.zeros(2, dtype=torch.float64))
    assert_close(output[0, 0, 1], VALUE[0, 0, 0])


@BOTH
def test_one_new_query_sees_all_cached_keys(kernel):
    """Where PyTorch's own is_causal, aligned to the upper left, sees the first key only."""
    query, key, value = random(1, 2, 1, 4, seed=1), random(1, 2, 6, 4, seed=2), random(1, 2, 6, 4, seed=3)
    assert_close(kernel(query, key, value, is_causal=True).output, kernel(query, key, value).output)


@BOTH
def test_values_may_be_of_another_width(kernel):
    assert kernel(random(2, 3, 4, 5), random(2, 3, 6, 5), random(2, 3, 6, 7)).output.shape == (2, 3, 4, 7)


@BOTH
def test_dropout_acts_on_the_weights(kernel):
    """Values of one-hot rows show the weights: each is dropped or doubled, whole, in every feature of a value."""
    torch.manual_seed(0)
    query, key = torch.zeros(1, 1, 50, 2), torch.zeros(1, 1, 40, 2)
    value = torch.eye(40)[None, None]
    output = kernel(query, key, value, dropout=0.5).output
    kept = output == 2 / 40
    assert (kept | (output == 0)).all()
    assert 0.4 < kept.double().mean() < 0.6
    assert_close(kernel(query, key, value, dropout=0.0).output, torch.full((1, 1, 50, 40), 1 / 40))


def test_the_returned_weights_are_the_undropped():
    torch.manual_seed(0)
    weights = eager_attention(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 4, 2), random(1, 1, 4, 2).float(), dropout=0.5)
    assert_close(weights.weights, torch.full((1, 1, 3, 4), 0.25))


def test_upcast_keeps_scores_that_half_precision_cannot_hold():
    """Scores of 300 · 300 overflow in float16; computed in float32 the largest wins."""
    query = torch.full((1, 1, 1, 1), 300.0, dtype=torch.float16)
    key = torch.tensor([300.0, 301.0], dtype=torch.float16)[None, None, :, None]
    value = torch.tensor([1.0, 2.0], dtype=torch.float16)[None, None, :, None]
    upcast = eager_attention(query, key, value, upcast=True)
    assert upcast.output.item() == 2.0
    assert upcast.output.dtype == upcast.weights.dtype == torch.float16
    assert fused_attention(query, key, value, upcast=True).output.item() == 2.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert eager_attention(query.float(), key.float(), value.float(), upcast=True).output.item() == 2.0


def test_kernels_are_chosen_by_name():
    assert attention_kernel("eager") is eager_attention
    assert attention_kernel("sdpa") is fused_attention
    with pytest.raises(UnknownNameError, match=r"no attention kernel 'sdp'.*Did you mean 'sdpa'\?"):
        attention_kernel("sdp")
    with pytest.raises(KeyError):  # what a caller would catch
        attention_kernel("flash_attention_2")


# ---- heads -----------------------------------------------------------------------------------------------------------


def test_heads_are_pieces_of_the_vector_side_by_side():
    vectors = torch.arange(12.0).view(1, 2, 6)  # two tokens of width 6
    split = split_heads(vectors, 3)
    assert split.shape == (1, 3, 2, 2)
    assert split[0, 0].tolist() == [[0, 1], [6, 7]]
    assert split[0, 2].tolist() == [[4, 5], [10, 11]]
    assert torch.equal(merge_heads(split), vectors)


def by_hand(attention, hidden, context=None, rule=None):
    """Multi-head attention written out with one loop over heads (Vaswani et al., 2017, §3.2.2)."""
    context = hidden if context is None else context
    query, key, value = attention.query(hidden), attention.key(context), attention.value(context)
    width, collected = hidden.shape[-1] // attention.num_heads, []
    for head in range(attention.num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(width)
        if rule is not None:
            scores = scores.masked_fill(~rule, -torch.inf)
        collected.append(scores.softmax(-1) @ value[..., part])
    return attention.output(torch.cat(collected, dim=-1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_multi_head_attention_is_its_formula(kernel):
    attention = draw_weights(MultiHeadAttention(12, 3).double(), 0)
    hidden = random(2, 5, 12)
    output, weights = attention(hidden, kernel=kernel)
    assert_close(output, by_hand(attention, hidden))
    assert (weights is not None) == (kernel == "eager")
    if weights is not None:
        assert weights.shape == (2, 3, 5, 5)
        assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_causal_module_needs_no_mask_and_draws_a_triangle(kernel):
    attention = draw_weights(MultiHeadAttention(12, 3, causal=True).double(), 0)
    hidden = random(2, 5, 12)
    output, _ = attention(hidden, kernel=kernel)
    assert_close(output, by_hand(attention, hidden, rule=causal_mask(5)[0]))
    weights = attention(hidden, kernel="eager")[1]
    assert torch.equal(weights, weights.tril())
    assert (weights.tril() > 0).sum() == 2 * 3 * 15


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_mask_restricts_a_causal_module_further(kernel):
    attention = draw_weights(MultiHeadAttention(4, 2, causal=True).double(), 0)
    hidden = random(1, 3, 4)
    mask = torch.tensor([[[[True, False, True]]]])
    rule = torch.tensor([[True, False, False], [True, False, False], [True, False, True]])
    assert_close(attention(hidden, mask=mask, kernel=kernel)[0], by_hand(attention, hidden, rule=rule))
    assert_close(attention(hidden, mask=AttentionMask(mask), kernel=kernel)[0], by_hand(attention, hidden, rule=rule))
    assert_close(attention(hidden, mask=AttentionMask(), kernel=kernel)[0], attention(hidden)[0])


def test_causality_is_switched_by_one_flag():
    attention = draw_weights(MultiHeadAttention(4, 2, causal=True).double(), 0)
    attention.causal = False
    hidden = random(1, 3, 4)
    assert_close(attention(hidden)[0], by_hand(attention, hidden))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_context_may_have_another_width_and_length(kernel):
    attention = draw_weights(MultiHeadAttention(6, 2, context_size=9).double(), 0)
    hidden, context = random(2, 3, 6), random(2, 5, 9)
    output, weights = attention(hidden, context=context, kernel=kernel)
    assert_close(output, by_hand(attention, hidden, context))
    assert weights is None or weights.shape == (2, 2, 3, 5)


def test_a_context_is_read_from_the_cache_after_the_first_step():
    attention = draw_weights(MultiHeadAttention(6, 2).double(), 0)
    hidden, context = random(1, 3, 6), random(1, 4, 6, seed=1)
    cache = CacheLayer()
    first, _ = attention(hidden[:, :1], context=context, cache=cache)
    rest, _ = attention(hidden[:, 1:], context=torch.zeros_like(context), cache=cache)  # the cache decides
    assert cache.length == 4
    assert_close(torch.cat([first, rest], dim=1), attention(hidden, context=context)[0])


def test_self_attention_continues_from_its_cache():
    attention = draw_weights(MultiHeadAttention(6, 2, causal=True).double(), 0)
    hidden, cache = random(2, 4, 6), CacheLayer()
    steps = [attention(hidden[:, i : i + 1], cache=cache)[0] for i in range(4)]
    assert_close(torch.cat(steps, dim=1), attention(hidden)[0])


def test_projections_without_biases():
    attention = MultiHeadAttention(6, 2, bias=False)
    assert [name for name, _ in attention.named_parameters()] == [
        f"{name}.weight" for name in ("query", "key", "value", "output")
    ]


def test_cross_attention_is_not_causal_and_takes_a_mask_of_the_context():
    attention = draw_weights(MultiHeadAttention(6, 2).double(), 0)
    hidden, context = random(1, 2, 6), random(1, 4, 6, seed=1)
    mask = torch.tensor([[[[True, True, False, False]]]])
    assert_close(attention(hidden, context=context, mask=mask)[0], attention(hidden, context=context[:, :2])[0])


@pytest.mark.parametrize("kernel", KERNELS)
def test_dropout_is_on_while_training_and_off_in_evaluation(kernel):
    attention = draw_weights(MultiHeadAttention(6, 2, dropout=0.5).double(), 0)
    hidden = random(2, 4, 6)
    torch.manual_seed(0)
    first, second = (attention.train()(hidden, kernel=kernel)[0] for _ in range(2))
    assert not torch.equal(first, second)
    attention.dropout.p = 0.0
    assert_close(attention(hidden, kernel=kernel)[0], by_hand(attention, hidden))
    attention.dropout.p = 0.5
    first, second = (attention.eval()(hidden, kernel=kernel)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert_close(first, by_hand(attention, hidden))


def test_a_model_of_ones_own_can_be_built_from_it():
    """A bag of three lines: it trains."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 8)
            self.attention = MultiHeadAttention(8, 2, causal=True)
            self.head = nn.Linear(8, 5)

        def forward(self, ids):
            vectors = self.embedding(ids)
            return self.head(vectors + self.attention(vectors)[0])

    torch.manual_seed(0)
    model, ids = Tiny(), torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model(ids[:, :-1]).argmax(-1).tolist() == ids[:, 1:].tolist()


# ---- attend: the function under every model's attention --------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_attend_splits_heads_runs_the_kernel_and_merges(kernel):
    """Three heads of width 4, of values of width 5, whatever the width of the hidden states."""
    query, key, value = random(2, 3, 12), random(2, 5, 12, seed=1), random(2, 5, 15, seed=2)
    mask = torch.tensor([[[[True, True, False, True, True]]]])
    output, weights = attend(query, key, value, heads=3, mask=mask, scale=0.3, kernel=kernel)
    expected = eager_attention(*(split_heads(each, 3) for each in (query, key, value)), mask=mask, scale=0.3)
    assert_close(output, merge_heads(expected.output))
    assert weights is None or torch.equal(weights, expected.weights)


def test_attend_takes_float_masks_as_biases():
    query = key = value = random(1, 3, 4)
    bias = random(1, 2, 3, 3, seed=1)
    expected = attend(query, key, value, heads=2, mask=AttentionMask(bias=bias))
    assert_close(attend(query, key, value, heads=2, mask=bias).output, expected.output)


def test_attend_without_keys_reads_the_cache():
    query, key, value = random(1, 3, 4), random(1, 5, 4, seed=1), random(1, 5, 4, seed=2)
    cache = CacheLayer()
    first = attend(query, key, value, heads=2, cache=cache)
    assert_close(attend(query, None, None, heads=2, cache=cache).output, first.output)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_heads_that_do_not_divide_the_hidden_size_are_refused():
    with pytest.raises(InputError, match="hidden_size=10 is not a multiple of num_heads=3"):
        MultiHeadAttention(10, 3)


def test_attend_without_keys_and_without_a_filled_cache_is_refused():
    for cache in (None, CacheLayer()):
        with pytest.raises(InputError, match="needs a context"):
            attend(torch.zeros(1, 2, 6), None, None, heads=2, cache=cache)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(UnknownNameError, match="'flash'"):
        MultiHeadAttention(6, 2)(torch.zeros(1, 2, 6), kernel="flash")
