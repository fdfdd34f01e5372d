import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from snnconv.engine.event_conv.training import of_weight
from snnconv.engine.event_conv.values import Window

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def eighths(*shape):
    """Numbers whose products and sums are exact: the order of additions can't matter."""
    return torch.randint(-8, 9, shape) / 8


def sparse(*shape, rate=0.2):
    return (torch.rand(shape) < rate) * torch.randint(1, 9, shape) / 8


def wanted(x, weight, below, *window):
    weight.requires_grad_()
    return torch.autograd.grad(F.conv2d(x, weight, None, *window), weight, below)[0]


@given(
    st.sampled_from([0, 1, 2, 5, 17, 33]),
    st.sampled_from([(1, 16), (3, 32), (16, 16), (20, 64), (70, 96), (130, 16), (5, 7), (2, 1)]),
    st.sampled_from([1, 1, 2, 3]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pairs,
    pairs,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pairs,
    st.floats(0, 1),
    st.sampled_from([1, 1 << 12, 1 << 18]),
    st.sampled_from([1, 1 << 16]),
    st.booleans(),
)
def test_it_is_the_gradient_of_the_weight(
    number, channels, groups, size, kernel, stride, padding, dilation, rate, partial, cached, last
):
    """However images and channels are divided."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(w <= s + 2 * p for w, s, p in zip(spans, size, padding, strict=True)))
    x = sparse(number, channels[0] * groups, *size, rate=rate)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    weight = eighths(channels[1] * groups, channels[0], *kernel)
    window = (stride, padding, dilation, groups)
    below = eighths(*F.conv2d(x, weight, None, *window).shape)
    divided = {"partial": partial, "cached": cached}
    found = of_weight(weight.shape, Window(*window), x, below, **divided)
    assert torch.equal(found, wanted(x, weight, below, *window))


@pytest.mark.parametrize("channels", [(16, 16), (64, 48), (144, 32)])
@pytest.mark.usefixtures("smallest_pieces")
def test_threads_change_no_bit(channels):
    inputs, outputs = channels
    x, weight = sparse(7, inputs, 6, 5), torch.randn(outputs, inputs, 3, 3)
    window, below = ((1, 1), (1, 1), (1, 1), 1), torch.randn(7, outputs, 6, 5)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 9):
            torch.set_num_threads(threads)
            found.append(of_weight(weight.shape, Window(*window), x, below))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)
    exact = wanted(x.double(), weight.double(), below.double(), *window)
    torch.testing.assert_close(found[0].double(), exact, atol=1e-4, rtol=0)


def test_other_types_are_refused():
    """A kernel reads memory as float32."""
    x, below = sparse(1, 16, 5, 5), eighths(1, 16, 3, 3)
    window = Window((1, 1), (0, 0), (1, 1), 1)
    for operands in ((x.double(), below), (x, below.double()), (x.half(), below)):
        with pytest.raises(TypeError, match="events are float32"):
            of_weight(torch.Size((16, 16, 3, 3)), window, *operands)
