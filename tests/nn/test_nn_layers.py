"""LayerNorm, activations, feed-forward and the two blocks: each against its formula written out."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from minitransformers.errors import InputError, UnknownNameError
from minitransformers.nn.attention import KERNELS
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.feed_forward import (
    ACTIVATIONS,
    FeedForward,
    activation_function,
    gelu_formula,
    gelu_tanh_formula,
)
from minitransformers.nn.masks import causal_mask, padding_mask
from minitransformers.nn.normalization import LayerNorm, layer_norm
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- LayerNorm -------------------------------------------------------------------------------------------------------


def test_layer_norm_by_hand():
    """Of 1, 3: mean 2, variance 1 (divided by 2, not by 1)."""
    ones, zeros = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    x = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert_close(layer_norm(x, ones, zeros, eps=0.0), torch.tensor([[-1.0, 1.0]], dtype=torch.float64))
    weight, bias = torch.tensor([2.0, 3.0]).double(), torch.tensor([10.0, 20.0]).double()
    assert_close(layer_norm(x, weight, bias, eps=3.0), torch.tensor([[10 - 2 / 2, 20 + 3 / 2]], dtype=torch.float64))


@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 9),
    st.sampled_from([1e-12, 1e-5, 0.5]),
    st.integers(0, 99),
    st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_the_fused_layer_norm_is_the_formula(batch, width, eps, seed, magnitude):
    norm = draw_weights(LayerNorm(width, eps=eps).double(), seed)
    x = random(*batch, width, seed=seed) * magnitude
    assert_close(norm(x), layer_norm(x, norm.weight, norm.bias, eps))


def test_the_epsilons_of_the_papers():
    assert LayerNorm(4).eps == 1e-5
    assert EncoderBlock(4, 2, 8).feed_forward_norm.eps == 1e-12
    assert DecoderBlock(4, 2, 8).feed_forward_norm.eps == 1e-5


# ---- activations and feed-forward ------------------------------------------------------------------------------------

POINTS = torch.linspace(-12, 12, 241, dtype=torch.float64)


@pytest.mark.parametrize("name", ["gelu", "gelu_python"])
def test_gelu_is_the_formula(name):
    assert_close(activation_function(name)(POINTS), gelu_formula(POINTS))
    x = 1.3
    expected = x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    assert gelu_formula(torch.tensor(x)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"])
def test_the_tanh_gelu_is_the_formula(name):
    assert_close(activation_function(name)(POINTS), gelu_tanh_formula(POINTS))
    x = -0.7
    expected = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert gelu_tanh_formula(torch.tensor(x)).item() == pytest.approx(expected, rel=1e-6)


def test_the_two_gelus_differ_by_up_to_half_a_thousandth():
    """Why a model must have the one that it was trained with."""
    difference = (gelu_formula(POINTS) - gelu_tanh_formula(POINTS)).abs().max().item()
    assert 4e-4 < difference < 5e-4


BY_HAND = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / 2**0.5)),
    "gelu_10": lambda x: min(max(x * 0.5 * (1 + math.erf(x / 2**0.5)), -10), 10),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "linear": lambda x: x,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_activations_by_hand(name):
    expected = torch.tensor([BY_HAND[name](x) for x in POINTS.tolist()], dtype=torch.float64)
    assert_close(activation_function(name)(POINTS), expected)


def test_every_activation_is_tested():
    tanh_gelus = {"gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"}
    assert ACTIVATIONS.keys() == BY_HAND.keys() | tanh_gelus | {"gelu_python"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_feed_forward_network_is_its_formula(name):
    network = draw_weights(FeedForward(6, 10, activation=name).double(), 0)
    x = random(2, 3, 6)
    inner = activation_function(name)(x @ network.intermediate.weight.T + network.intermediate.bias)
    assert_close(network(x), inner @ network.output.weight.T + network.output.bias)


def test_the_feed_forward_network_treats_every_position_alike():
    network = draw_weights(FeedForward(6, 10, bias=False).double(), 0)
    x = random(2, 3, 6)
    assert_close(network(x)[1, 2], network(x[1, 2]))
    assert [name for name, _ in network.named_parameters()] == ["intermediate.weight", "output.weight"]


@pytest.mark.parametrize("build", [activation_function, lambda name: FeedForward(4, 8, activation=name)])
def test_an_unknown_activation_is_refused_with_the_nearest_name(build):
    with pytest.raises(UnknownNameError, match=r"no activation 'gelu_nwe'.*Did you mean 'gelu_new'\?"):
        build("gelu_nwe")


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("block_class", [EncoderBlock, DecoderBlock])
def test_post_norm_is_norm_of_x_plus_f_of_x(block_class, kernel):
    block = draw_weights(block_class(6, 2, 9, pre_norm=False).double(), 0)
    x = random(2, 4, 6)
    after_attention = block.self_attention_norm(x + block.self_attention(x)[0])
    expected = block.feed_forward_norm(after_attention + block.feed_forward(after_attention))
    output = block(x, kernel=kernel)
    assert_close(output.hidden_states, expected)
    assert output.cross_attention is None
    assert (output.attention is not None) == (kernel == "eager")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("block_class", [EncoderBlock, DecoderBlock])
def test_pre_norm_is_x_plus_f_of_norm_of_x(block_class, kernel):
    block = draw_weights(block_class(6, 2, 9, pre_norm=True).double(), 0)
    x = random(2, 4, 6)
    after_attention = x + block.self_attention(block.self_attention_norm(x))[0]
    expected = after_attention + block.feed_forward(block.feed_forward_norm(after_attention))
    assert_close(block(x, kernel=kernel).hidden_states, expected)


def test_the_orders_of_the_papers_are_the_defaults():
    assert not EncoderBlock(4, 2, 8).pre_norm
    assert DecoderBlock(4, 2, 8).pre_norm


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_decoder_block_attends_to_a_context_between_the_two(pre_norm):
    block = DecoderBlock(6, 2, 9, pre_norm=pre_norm, cross_attention=True, context_size=5).double()
    draw_weights(block, 0)
    x, context = random(2, 4, 6), random(2, 3, 5, seed=1)
    mask = padding_mask(torch.tensor([[1, 1, 1], [1, 1, 0]]))

    def sub_layer(norm, function, hidden):
        return hidden + function(norm(hidden)) if pre_norm else norm(hidden + function(hidden))

    expected = sub_layer(block.self_attention_norm, lambda h: block.self_attention(h)[0], x)
    expected = sub_layer(
        block.cross_attention_norm, lambda h: block.cross_attention(h, context=context, mask=mask)[0], expected
    )
    expected = sub_layer(block.feed_forward_norm, block.feed_forward, expected)
    output = block(x, context=context, context_mask=mask, kernel="eager")
    assert_close(output.hidden_states, expected)
    assert output.attention.shape == (2, 2, 4, 4)
    assert output.cross_attention.shape == (2, 2, 4, 3)
    assert not output.cross_attention[1, ..., 2].any()


def test_without_a_context_cross_attention_is_left_out():
    block = draw_weights(DecoderBlock(6, 2, 9, cross_attention=True).double(), 0)
    plain = DecoderBlock(6, 2, 9).double()
    plain.load_state_dict({n: w for n, w in block.state_dict().items() if not n.startswith("cross_attention")})
    assert_close(block(random(2, 4, 6)).hidden_states, plain(random(2, 4, 6)).hidden_states)


def test_an_encoder_block_sees_both_sides_and_a_decoder_block_one():
    x = random(1, 4, 6)
    encoder, decoder = (draw_weights(block(6, 2, 9).double(), 0) for block in (EncoderBlock, DecoderBlock))
    assert (encoder(x, kernel="eager").attention > 0).all()
    weights = decoder(x, kernel="eager").attention
    assert torch.equal(weights, weights.tril())


def test_a_mask_adds_to_causality():
    block, x = draw_weights(DecoderBlock(6, 2, 9).double(), 0), random(1, 3, 6)
    mask = padding_mask(torch.tensor([[1, 0, 1]]))
    weights = block(x, mask, kernel="eager").attention
    assert_close((weights > 0)[0, 0], torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 1]]).bool())


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_decoder_block_continues_from_its_caches(pre_norm):
    block = draw_weights(DecoderBlock(6, 2, 9, pre_norm=pre_norm, cross_attention=True).double(), 0)
    x, context = random(2, 4, 6), random(2, 3, 6, seed=1)
    cache, cross_cache = CacheLayer(), CacheLayer()
    steps = [
        block(x[:, i : i + 1], context=context, cache=cache, cross_cache=cross_cache).hidden_states for i in range(4)
    ]
    assert_close(torch.cat(steps, dim=1), block(x, context=context).hidden_states)
    assert (cache.length, cross_cache.length) == (4, 3)


@pytest.mark.parametrize("block_class", [EncoderBlock, DecoderBlock])
def test_dropout_acts_after_each_sub_layer_while_training(block_class):
    block = draw_weights(block_class(6, 2, 9, dropout=0.5, attention_dropout=0.25, pre_norm=True).double(), 0)
    assert block.self_attention.dropout.p == 0.25
    x = random(2, 4, 6)
    torch.manual_seed(0)
    changed = block.train()(x).hidden_states - x
    assert (changed == 0).double().mean() > 0.1  # both updates dropped: a quarter of the numbers
    assert torch.equal(block.eval()(x).hidden_states, block(x).hidden_states)


def test_a_stack_of_blocks_is_a_model_of_ones_own():
    """An encoder with a classifier on top, made of bricks alone; it learns which half of the text is larger."""
    torch.manual_seed(0)
    embed, head = nn.Linear(1, 8), nn.Linear(8, 2)
    blocks = nn.ModuleList(EncoderBlock(8, 2, 16, pre_norm=True) for _ in range(2))
    positions = nn.Parameter(torch.randn(6, 8) * 0.5)
    parameters = [*embed.parameters(), *head.parameters(), *blocks.parameters(), positions]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    numbers = torch.randn(64, 6, 1)
    labels = (numbers[:, :3].sum((1, 2)) > numbers[:, 3:].sum((1, 2))).long()

    def run():
        hidden = embed(numbers) + positions
        for block in blocks:
            hidden = block(hidden).hidden_states
        return head(hidden.mean(1))

    for _ in range(80):
        loss = nn.functional.cross_entropy(run(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (run().argmax(-1) == labels).double().mean() > 0.95


def test_a_context_without_cross_attention_is_refused():
    with pytest.raises(InputError, match="cross_attention=True"):
        DecoderBlock(6, 2, 9)(torch.zeros(1, 2, 6), context=torch.zeros(1, 3, 6))


def test_causal_mask_is_what_the_block_uses():
    block, x = draw_weights(DecoderBlock(6, 2, 9).double(), 0), random(1, 3, 6)
    assert_close(block(x, causal_mask(3)).hidden_states, block(x).hidden_states)
