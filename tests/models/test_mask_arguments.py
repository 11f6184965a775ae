"""The `attention_mask` argument in all its forms: what it allows, and what is refused."""

import pytest
import torch

from minitransformers.errors import InputError
from minitransformers.models.base.checks import can_read_values
from minitransformers.models.base.masks import read_attention_mask
from minitransformers.nn.masks import AttentionMask, causal_mask, padding_mask


def drawing(mask):
    """A mask as text books draw it."""
    return [[int(may) for may in row] for row in mask]


def read(attention_mask, queries=3, keys=3, batch=2, is_causal=False, name="attention_mask"):
    return read_attention_mask(
        attention_mask,
        (batch, 4, queries, keys),
        is_causal=is_causal,
        dtype=torch.float64,
        device=torch.device("cpu"),
        name=name,
    )


def allowed(mask, queries=3, keys=3):
    """The rule that an `AttentionMask` stands for, whatever its form, as (batch, heads, query, key)."""
    rule = torch.ones(2, 1, queries, keys, dtype=torch.bool)
    if mask.is_causal:
        rule = rule & causal_mask(queries, keys)
    return rule if mask.allowed is None else rule & mask.allowed


def test_no_mask_is_none_to_the_kernel():
    assert read(None) == AttentionMask()
    assert read(None, is_causal=True) == AttentionMask(is_causal=True)  # the kernel's own causality needs no memory
    assert read(None, queries=1, keys=5, is_causal=True) == AttentionMask()  # one new token sees everything
    assert torch.equal(read(None, queries=2, keys=5, is_causal=True).allowed, causal_mask(2, 5))


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.uint8, torch.bool, torch.float32])
@pytest.mark.parametrize("is_causal", [False, True])
def test_two_dimensions_are_padding(dtype, is_causal):
    padded = torch.tensor([[1, 1, 0], [0, 1, 1]]).to(dtype)
    expected = padding_mask(padded).expand(2, 1, 3, 3)
    expected = expected & causal_mask(3) if is_causal else expected
    mask = read(padded, is_causal=is_causal)
    assert mask.bias is None
    assert torch.equal(allowed(mask), expected)


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_mask_of_ones_is_no_mask(is_causal):
    assert read(torch.ones(2, 3), is_causal=is_causal) == read(None, is_causal=is_causal)


def test_two_dimensions_reach_back_into_the_cache():
    padded = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    mask = read(padded, queries=2, keys=5, is_causal=True)
    assert drawing(allowed(mask, 2, 5)[1, 0]) == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (2, 1, 3, 3), (2, 4, 3, 3), (2, 1, 1, 3)])
def test_four_dimensions_of_bool_are_the_complete_rule(shape):
    rule = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = read(rule, is_causal=True)
    assert mask.bias is None
    assert not mask.is_causal  # taken as it is: causality is not added
    assert torch.equal(mask.allowed, rule)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("forbidden", ["finfo.min", "-inf"])
def test_four_dimensions_of_numbers_are_added_and_the_smallest_forbid(dtype, forbidden):
    smallest = torch.finfo(dtype).min if forbidden == "finfo.min" else -torch.inf
    numbers = torch.tensor([[0.0, 0.5, smallest], [-1.0, 0.0, 0.0], [smallest] * 3], dtype=dtype)[None, None]
    mask = read(numbers, is_causal=True)
    assert not mask.is_causal
    assert drawing(mask.allowed[0, 0]) == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert mask.bias.dtype == torch.float64
    assert mask.bias[0, 0].tolist() == [[0.0, 0.5, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_the_mask_that_is_passed_in_stays_as_it_was():
    numbers = torch.tensor([[0.0, torch.finfo(torch.float32).min, 0.0]]).repeat(3, 1)[None, None]
    padded = torch.tensor([[1, 1, 0], [0, 1, 1]])
    copies = numbers.clone(), padded.clone()
    read(numbers)
    read(padded, is_causal=True)
    assert torch.equal(numbers, copies[0])
    assert torch.equal(padded, copies[1])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 4), r"attention_mask has shape \(2, 4\); expected \(2, 3\)"),
        (torch.ones(3), r"shape \(3,\)"),
        (torch.ones(1, 3), r"expected \(2, 3\)"),
        (torch.ones(2, 3, 3), r"shape \(2, 3, 3\)"),
        (torch.full((2, 3), 2), "values other than 0 .padding. and 1"),
        (torch.tensor([[0.0, -1e9, 0.0]] * 2), "four dimensions"),
        (torch.ones(2, 1, 3, 3, dtype=torch.long), r"dtype torch.int64.*pass bool"),
        (torch.ones(3, 1, 3, 3, dtype=torch.bool), r"batch 2 or 1"),
        (torch.ones(2, 1, 2, 3, dtype=torch.bool), r"query 3 or 1"),
        (torch.ones(2, 1, 3, 1, dtype=torch.bool), r"key 3"),
    ],
)
def test_what_could_mean_something_else_is_refused(mask, message):
    with pytest.raises(InputError, match=message):
        read(mask)


def test_the_error_names_the_argument_and_counts_the_cache():
    with pytest.raises(InputError, match=r"encoder_attention_mask has shape"):
        read(torch.ones(2, 9), name="encoder_attention_mask")
    with pytest.raises(InputError, match=r"expected \(2, 5\) \(3 cached and 2 new tokens\)"):
        read(torch.ones(2, 2), queries=2, keys=5)


def test_values_are_looked_at_where_there_are_any():
    assert can_read_values(torch.ones(1))
    assert can_read_values(torch.nn.Parameter(torch.ones(1)))
    assert not can_read_values(torch.ones(1, device="meta"))
    seen = []
    torch.func.vmap(lambda row: (seen.append(can_read_values(row)), row)[1])(torch.ones(2, 1))
    assert seen == [False]
