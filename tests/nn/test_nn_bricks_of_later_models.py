"""Bricks of models after BERT and GPT-2: gated networks, norms without a mean, shared heads, rotary positions."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.nn import (
    CacheLayer,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    rms_norm,
    rotary_frequencies,
    rotary_positions,
    rotate,
)
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights

SEEDS = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- norms and networks ----------------------------------------------------------------------------------------------


def test_rms_norm_by_hand():
    x = torch.tensor([3.0, 4.0])  # mean square 12.5
    assert_close(rms_norm(x, torch.tensor([1.0, 2.0]), 0.0), torch.tensor([3.0, 8.0]) / 12.5**0.5)


@given(
    seed=SEEDS, width=st.integers(1, 9), eps=st.sampled_from([1e-12, 1e-6, 1e-2]), scale=st.sampled_from([1e-3, 1e3])
)
def test_the_fused_rms_norm_is_the_formula(seed, width, eps, scale):
    norm = RMSNorm(width, eps=eps).double()
    draw_weights(norm, seed)
    x = scale * normal(seed, 2, 3, width)
    assert_close(norm(x), rms_norm(x, norm.weight, eps))


def test_rms_norm_does_not_care_about_length_and_layer_norm_not_about_the_mean_either():
    x = normal(0, 4, 8)
    assert_close(RMSNorm(8, eps=0.0).double()(7 * x), RMSNorm(8, eps=0.0).double()(x))
    assert_close(LayerNorm(8, eps=0.0).double()(7 * x + 3), LayerNorm(8, eps=0.0).double()(x))
    assert not torch.allclose(RMSNorm(8).double()(x + 3), RMSNorm(8).double()(x))


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_the_gated_network_is_its_formula(activation):
    network = GatedFeedForward(4, 6, activation=activation).double()
    draw_weights(network, 0)
    x = normal(0, 2, 3, 4)
    gate, up, down = network.gate.weight, network.intermediate.weight, network.output.weight
    assert_close(network(x), (getattr(F, activation)(x @ gate.T) * (x @ up.T)) @ down.T)
    assert not any("bias" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("network", [FeedForward, GatedFeedForward])
def test_dropout_inside_the_network_acts_while_training(network):
    torch.manual_seed(0)
    network = network(4, 400, dropout=0.5)
    x = torch.ones(1, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


# ---- shared heads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_shared_keys_and_values_are_those_of_repeated_heads(kernel):
    """Grouped-query attention is ordinary attention whose key and value heads are equal within a group."""
    grouped = MultiHeadAttention(8, 4, num_key_value_heads=2).double()
    draw_weights(grouped, 0)
    ordinary = MultiHeadAttention(8, 4).double()
    state = grouped.state_dict()
    for name in ("key.weight", "key.bias", "value.weight", "value.bias"):
        state[name] = state[name].unflatten(0, (2, 2)).repeat_interleave(2, dim=0).flatten(0, 1)
    ordinary.load_state_dict(state)
    x = normal(1, 2, 5, 8)
    assert_close(grouped(x, kernel=kernel), ordinary(x, kernel=kernel))


def test_the_cache_holds_shared_heads_once():
    attention = MultiHeadAttention(8, 4, num_key_value_heads=1, causal=True).double()
    draw_weights(attention, 0)
    x, cache = normal(1, 2, 5, 8), CacheLayer()
    pieces = [attention(piece, cache=cache)[0] for piece in x.split([2, 3], dim=1)]
    assert cache.read()[0].shape == (2, 1, 5, 2)
    assert_close(torch.cat(pieces, dim=1), attention(x)[0])


def test_a_number_of_shared_heads_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match="num_heads=4 is not a multiple of num_key_value_heads=3"):
        MultiHeadAttention(8, 4, num_key_value_heads=3)


# ---- rotary positions ------------------------------------------------------------------------------------------------


def turns(positions, width=8):
    return rotary_positions(torch.as_tensor(positions)[None], rotary_frequencies(width), dtype=torch.float64)


def test_a_quarter_turn_by_hand():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, None, None]
    quarter = Rotary(cos=torch.zeros(1, 1, 4), sin=torch.ones(1, 1, 4))
    assert rotate(x, quarter).flatten().tolist() == [-3.0, -4.0, 1.0, 2.0]


def test_the_frequencies_fall_from_1_to_1_over_the_base():
    assert_close(rotary_frequencies(4, base=100.0), torch.tensor([1.0, 0.1]))


@given(seed=SEEDS, query=st.integers(0, 500), key=st.integers(0, 500), shift=st.integers(0, 500))
def test_scores_depend_on_the_distance_alone(seed, query, key, shift):
    q, k = normal(seed, 2, 1, 1, 1, 8)
    near = rotate(q, turns([query])) * rotate(k, turns([key]))
    far = rotate(q, turns([query + shift])) * rotate(k, turns([key + shift]))
    assert_close(near.sum(), far.sum(), tolerance=1e-3, scale=1.0)  # angles have the precision of float32


def test_turning_changes_no_length_and_position_0_nothing():
    x = normal(0, 2, 3, 4, 8)
    assert_close(rotate(x, turns(range(4))).norm(dim=-1), x.norm(dim=-1), tolerance=1e-6, scale=1.0)
    assert torch.equal(rotate(x, turns([0, 0, 0, 0])), x)


def test_features_beyond_the_turned_ones_stay():
    x = normal(0, 1, 2, 3, 8)
    turned = rotate(x, turns(range(3), width=4))
    assert torch.equal(turned[..., 4:], x[..., 4:])
    assert torch.equal(turned[..., :4], rotate(x[..., :4], turns(range(3), width=4)))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_rotated_attention_continues_from_its_cache(kernel):
    """The cache holds rotated keys, in which shared heads stand once."""
    attention = MultiHeadAttention(16, 4, num_key_value_heads=2, bias=False, causal=True).double()
    draw_weights(attention, 0)
    x, rotary, cache = normal(1, 2, 6, 16), turns(range(6), width=4), CacheLayer()
    whole, _ = attention(x, rotary=rotary, kernel=kernel)
    pieces = []
    for start, stop in ((0, 3), (3, 4), (4, 6)):
        now = Rotary(*(wave[:, start:stop] for wave in rotary))
        pieces.append(attention(x[:, start:stop], rotary=now, cache=cache, kernel=kernel)[0])
    assert_close(torch.cat(pieces, dim=1), whole)
    assert not torch.allclose(whole, attention(x, kernel=kernel)[0])
