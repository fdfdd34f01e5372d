import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from snnconv.engine.event_conv.training import convolve
from snnconv.engine.event_conv.values import Window

WINDOW = Window((1, 1), (1, 1), (1, 1), 1)
PYTORCH = ((1, 1), (1, 1), (1, 1), 1)


def operands(channels=20, outputs=32, rate=0.2):
    """Numbers whose products and sums are exact."""
    x = (torch.rand(3, channels, 6, 5) < rate) * torch.randint(1, 9, (3, channels, 6, 5)) / 8
    weight, bias = (
        torch.randint(-16, 17, shape) / 8 for shape in ((outputs, channels, 3, 3), (outputs,))
    )
    return x, weight, bias


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.booleans())
def test_value_and_gradients_are_those_of_pytorch(needs, with_bias):
    """Of whatever needs one."""
    x, weight, bias = operands()
    given = [x, weight, bias if with_bias else None]
    for one, needed in zip(given, needs, strict=True):
        if one is not None:
            one.requires_grad_(needed)
    found, expected = convolve(given[0], given[1], WINDOW, given[2]), F.conv2d(*given, *PYTORCH)
    assert torch.equal(found, expected)
    asked = [one for one in given if one is not None and one.requires_grad]
    assert found.requires_grad == bool(asked)
    if asked:
        below = torch.randint(-8, 9, found.shape) / 8
        pairs = (torch.autograd.grad(of, asked, below) for of in (found, expected))
        for ours, theirs in zip(*pairs, strict=True):
            assert torch.equal(ours, theirs)


def test_weights_may_change_between_two_ways_forth():
    x, weight, bias = operands()
    weight.requires_grad_()
    first = convolve(x, weight, WINDOW, bias)
    with torch.no_grad():
        weight.mul_(2)
    assert torch.equal(convolve(x, weight, WINDOW, bias), F.conv2d(x, weight, bias, *PYTORCH))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first.sum().backward()


def test_there_is_no_second_derivative():
    x, weight, bias = operands()
    weight.requires_grad_()
    y = convolve(x, weight, WINDOW, bias).square().sum()
    (first,) = torch.autograd.grad(y, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate"):
        first.sum().backward()
