"""The helper that all laws end in: it asserts, and it says what differs."""

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.errors import InputError
from minitransformers.nn.cache import DynamicCache
from minitransformers.outputs import MaskedLMOutput
from minitransformers.testing.comparing import TOLERANCES, assert_close, assert_gradients_close, named_tensors
from minitransformers.testing.weights import draw_weights

DTYPES = sorted(TOLERANCES, key=str)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(st.data())
def test_a_difference_beyond_the_tolerance_anywhere_fails(dtype, data):
    values = torch.tensor(data.draw(st.lists(st.floats(-1, 1), min_size=1, max_size=20))).to(dtype)
    values[0] = 1.0  # so that the tolerance is relative to 1
    place = data.draw(st.integers(0, len(values) - 1))
    other = values.clone()
    assert_close(other, values)
    other[place] += 3 * TOLERANCES[dtype]
    with pytest.raises(AssertionError, match=rf"output\[{place}\] is "):
        assert_close(other, values)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rounding_is_allowed_and_relative_to_the_largest_number(dtype):
    values = torch.tensor([100.0, 0.0], dtype=dtype)
    near = values + torch.tensor([0.0, 50 * TOLERANCES[dtype]], dtype=dtype)
    assert_close(near, values)
    with pytest.raises(AssertionError):
        assert_close(near, values, scale=1.0)
    with pytest.raises(AssertionError):
        assert_close(near, values, tolerance=0.0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool], ids=str)
def test_whole_numbers_and_bools_must_be_equal(dtype):
    assert_close(torch.tensor([1, 0], dtype=dtype), torch.tensor([1, 0], dtype=dtype))
    with pytest.raises(AssertionError, match="1 of 2 numbers differ"):
        assert_close(torch.tensor([1, 1], dtype=dtype), torch.tensor([1, 0], dtype=dtype))


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (torch.zeros(2), torch.zeros(3), r"shape \(2,\), expected \(3,\)"),
        (torch.zeros(1), torch.zeros(()), r"shape \(1,\)"),  # no broadcasting
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64), "float32, expected torch.float64"),
        (torch.tensor([torch.nan]), torch.tensor([0.0]), "nan, expected 0.0"),
        (torch.tensor([0.0]), torch.tensor([torch.nan]), "0.0, expected nan"),
        (torch.tensor([torch.nan]), torch.tensor([torch.nan]), "nan, expected nan"),
        (torch.tensor([torch.inf]), torch.tensor([-torch.inf]), "inf, expected -inf"),
        (torch.tensor([1e30]), torch.tensor([torch.inf]), "expected inf"),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, r"actual one has \['output.a'\]"),
        ((torch.zeros(1),), (torch.zeros(1), torch.zeros(1)), r"expected one has \['output\[1\]'\]"),
        (MaskedLMOutput(logits=torch.zeros(1)), MaskedLMOutput(logits=torch.ones(1)), r"output\.logits\[0\] is 0.0"),
    ],
)
def test_everything_that_differs_fails(actual, expected, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected)


def test_the_same_infinity_is_equal_and_nan_where_it_is_asked_for():
    assert_close(torch.tensor([torch.inf, -torch.inf, 1.0]), torch.tensor([torch.inf, -torch.inf, 1.0]))
    assert_close(torch.tensor([torch.nan, 1.0]), torch.tensor([torch.nan, 1.0]), equal_nan=True)
    with pytest.raises(AssertionError):
        assert_close(torch.tensor([torch.nan, 1.0]), torch.tensor([1.0, torch.nan]), equal_nan=True)


def test_the_worst_place_is_named():
    with pytest.raises(AssertionError, match=r"output\[1, 0\] is 5.0, expected 0.0 within .*; 2 of 4 numbers differ"):
        assert_close(torch.tensor([[1.0, 0.0], [5.0, 0.0]]), torch.zeros(2, 2))


@pytest.mark.parametrize("nothing", [None, (), {}, {"loss": None}, 3.0, MaskedLMOutput()])
def test_comparing_nothing_is_an_error(nothing):
    with pytest.raises(InputError, match="no tensor"):
        assert_close(nothing, nothing)


def test_what_nobody_can_look_into_is_an_error():
    with pytest.raises(InputError, match=r"output\.model is a object"):
        list(named_tensors({"model": object()}))


def test_tensors_are_found_in_outputs_sequences_and_caches():
    cache = DynamicCache()
    cache.self_layer(0).update(torch.zeros(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
    found = dict(
        named_tensors({"a": [torch.zeros(1), None], "cache": cache, "b": MaskedLMOutput(loss=torch.zeros(()))})
    )
    assert list(found) == ["output.a[0]", "output.cache[0][0]", "output.cache[0][1]", "output.b.loss"]
    assert found["output.cache[0][1]"].all()


def test_gradients_are_compared_in_units_of_the_largest():
    expected = {"query": torch.tensor([1000.0]), "key": torch.tensor([1e-8]), "unused": None}
    assert_gradients_close({**expected, "key": torch.tensor([-1e-8]), "unused": torch.zeros(1)}, expected)
    for wrong in ({**expected, "key": torch.tensor([1.0])}, {**expected, "unused": torch.ones(1)}, {"query": None}):
        with pytest.raises(AssertionError, match="gradient"):
            assert_gradients_close(wrong, expected)
    with pytest.raises(AssertionError, match="gradient of query"):
        assert_gradients_close({**expected, "query": None}, expected)
    with pytest.raises(InputError, match="no gradient"):
        assert_gradients_close({"a": None}, {"a": None})


def test_gradients_that_are_rounding_noise_are_equal():
    noise = {"query": torch.tensor([3e-21]).double(), "key": torch.tensor([-2e-19]).double()}
    assert_gradients_close({"query": torch.tensor([-4e-21]).double(), "key": torch.zeros(1).double()}, noise)
    with pytest.raises(AssertionError, match="gradient of query"):
        assert_gradients_close({**noise, "query": torch.tensor([1e-11]).double()}, noise)


def test_drawn_weights_are_the_same_for_a_seed_and_show_every_parameter():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    drawn = [parameter.clone() for parameter in draw_weights(module, seed=5, scale=0.1).parameters()]
    assert all(parameter.abs().min() > 0 for parameter in drawn)
    assert (drawn[2] - 1).abs().max() < 0.6  # the weight of the norm is around 1
    again = draw_weights(module.double(), seed=5, scale=0.1)
    assert all(torch.equal(a, b.float()) for a, b in zip(drawn, again.parameters(), strict=True))
    other = draw_weights(module, seed=6, scale=0.1)
    assert not any(torch.equal(a, b.float()) for a, b in zip(drawn, other.parameters(), strict=True))
