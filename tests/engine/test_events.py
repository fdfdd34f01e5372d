import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from snnconv.engine.events import convolve


def sparse(*shape, rate=0.2):
    return (torch.rand(shape) < rate) * torch.randint(1, 9, shape) / 8


def eighths(*shape):
    """Numbers whose products and sums are exact: the order of additions can't matter."""
    return torch.randint(-16, 17, shape) / 8


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    st.integers(1, 3),
    st.sampled_from([1, 3, 16, 20]),
    st.sampled_from([16, 32, 48, 64, 96, 128]),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    pairs,
    pairs,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pairs,
    st.floats(0, 1),
    st.booleans(),
)
def test_it_is_the_convolution(
    number, channels, out, size, kernel, stride, padding, dilation, rate, with_bias
):
    window = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(w <= s + 2 * p for w, s, p in zip(window, size, padding, strict=True)))
    x, weight = sparse(number, channels, *size, rate=rate), eighths(out, channels, *kernel)
    bias = eighths(out) if with_bias else None
    expected = F.conv2d(x, weight, bias, stride, padding, dilation)
    assert torch.equal(convolve(x, weight, bias, stride, padding, dilation), expected)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolve(last, weight, bias, stride, padding, dilation), expected)


ONE = ((1, 1), (1, 1), (1, 1))  # stride, padding, dilation


def test_signed_and_unequal_values():
    x = torch.randn(3, 32, 7, 7) * (torch.rand(3, 32, 7, 7) < 0.3)
    weight, bias = torch.randn(64, 32, 3, 3), torch.randn(64)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    torch.testing.assert_close(
        convolve(x, weight, bias, *ONE).double(), expected, atol=2e-5, rtol=0
    )


def test_neither_batch_nor_threads_change_a_bit():
    x, weight, bias = sparse(64, 32, 9, 9), torch.randn(64, 32, 3, 3), torch.randn(64)
    together = convolve(x, weight, bias, *ONE)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(convolve(x, weight, bias, *ONE), together)
    finally:
        torch.set_num_threads(before)
    alone = torch.cat([convolve(image[None], weight, bias, *ONE) for image in x])
    assert torch.equal(alone, together)


def test_the_order_of_additions_is_the_stated_one():
    x, weight, bias = sparse(1, 3, 4, 4, rate=0.6), torch.randn(16, 3, 3, 3), torch.randn(16)
    expected = bias.clone()
    for dy in range(3):
        for dx in range(3):
            for channel in range(3):
                amount = x[0, channel, dy, dx]
                if amount != 0:
                    expected = expected + weight[:, channel, dy, dx] * amount
    assert torch.equal(convolve(x, weight, bias, (1, 1), (0, 0), (1, 1))[0, :, 0, 0], expected)


@pytest.mark.parametrize("shape", [(17, 8, 3, 3), (16, 4, 3, 3)])
def test_what_does_not_fit(shape):
    with pytest.raises(ValueError, match="no event-driven convolution"):
        convolve(sparse(1, 8, 5, 5), torch.randn(shape), None, *ONE)
