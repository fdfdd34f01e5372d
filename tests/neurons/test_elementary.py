import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.neurons.exact_math import LARGEST, exp, log1p, softplus

ULP = 2**-23


def every(low, high, count=200_001):
    return torch.linspace(low, high, count, dtype=torch.float64).float()


@pytest.mark.parametrize(
    ("ours", "exact", "x"),
    [
        (exp, torch.exp, every(-LARGEST, LARGEST)),
        (exp, torch.exp, every(-1e-3, 1e-3)),
        (log1p, torch.log1p, every(0, 1)),
        (log1p, torch.log1p, every(0, 1e-6)),
        (softplus, torch.nn.functional.softplus, every(-LARGEST, LARGEST)),
    ],
)
def test_within_three_units_of_the_last_place(ours, exact, x):
    expected = exact(x.double())
    error = ((ours(x).double() - expected) / expected.clamp(min=1e-30)).abs().max()
    assert error < 3 * ULP


def test_points_that_are_exact():
    assert exp(torch.zeros(1)).item() == 1
    assert log1p(torch.zeros(1)).item() == 0
    ends = exp(torch.tensor([-math.inf, -1e9, 1e9, math.inf]))
    assert ends[0] == ends[1] == exp(torch.tensor([-LARGEST]))
    assert ends[2] == ends[3] == exp(torch.tensor([LARGEST]))
    assert (1 + ends[0]).item() == 1
    assert exp(torch.tensor([math.nan])).isnan()


@pytest.mark.parametrize("function", [exp, log1p, softplus])
def test_double_takes_the_library_s(function):
    x = every(0, 1, 11).double()
    expected = {exp: torch.exp, log1p: torch.log1p, softplus: torch.nn.functional.softplus}
    torch.testing.assert_close(function(x), expected[function](x), rtol=1e-14, atol=0)


@given(st.integers(0, 40), st.integers(1, 70))
def test_the_bits_do_not_depend_on_where_a_number_lies(start, length):
    x = torch.linspace(-9, 9, 128)
    for function in (exp, softplus):
        piece = x[start : start + length]
        assert torch.equal(function(piece), function(x)[start : start + length])
        assert torch.equal(function(piece[::2]), function(x)[start : start + length : 2])


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("ours", "x"),
    [
        (exp, every(-70, 70, 20_001)),
        (log1p, every(0, 1, 20_001)),
        (softplus, every(-70, 70, 20_001)),
    ],
)
def test_the_compiled_twin_gives_the_same_bits(ours, x):
    from snnconv.neurons import exact_math_kernel

    plain = ours(x.clone().requires_grad_()).detach()  # gradients need torch's own functions
    assert torch.equal(ours(x), plain)
    compiled = getattr(exact_math_kernel, ours.__name__)
    assert torch.equal(torch.tensor([float(compiled(value)) for value in x.numpy()]), plain)
