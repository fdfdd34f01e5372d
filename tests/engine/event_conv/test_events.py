import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from snnconv.engine.event_conv.events import laid_out
from snnconv.engine.event_conv.gather import SCRATCH, lists_at_once
from snnconv.engine.event_conv.values import Window


def sparse(*shape, rate=0.2):
    return (torch.rand(shape) < rate) * torch.randint(1, 9, shape) / 8


def eighths(*shape):
    """Numbers whose products and sums are exact: the order of additions can't matter."""
    return torch.randint(-16, 17, shape) / 8


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def convolve(x, weight, bias, *window, way=None):
    return laid_out(weight, bias, Window(*window), way=way)(x)


@pytest.mark.parametrize("way", ["gather", "scatter"])
@given(
    st.integers(1, 3),
    st.sampled_from([(1, 16), (3, 32), (16, 48), (20, 64), (70, 96), (64, 128), (5, 7), (2, 1)]),
    st.sampled_from([1, 1, 2, 3]),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    pairs,
    pairs,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pairs,
    st.floats(0, 1),
    st.booleans(),
)
def test_it_is_the_convolution(
    way, number, channels, groups, size, kernel, stride, padding, dilation, rate, with_bias
):
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(w <= s + 2 * p for w, s, p in zip(spans, size, padding, strict=True)))
    of_group, out = channels[0], channels[1] * groups
    x, weight = sparse(number, of_group * groups, *size, rate=rate), eighths(out, of_group, *kernel)
    bias = eighths(out) if with_bias else None
    window = (stride, padding, dilation, groups)
    expected = F.conv2d(x, weight, bias, *window)
    if groups > 1 or out % 16:  # outputs can't gather
        assert laid_out(weight, bias, Window(*window)).way == "scatter"
        way = "scatter"
    assert torch.equal(convolve(x, weight, bias, *window, way=way), expected)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolve(last, weight, bias, *window, way=way), expected)


@given(
    st.sampled_from([(5, 64), (64, 64), (65, 80), (130, 144)]),
    pairs,
    pairs,
    pairs,
    st.floats(0.05, 0.5),
)
def test_all_ways_give_the_same_bits(channels, kernel, stride, dilation, rate):
    inputs, outputs = channels
    x, bias = sparse(2, inputs, 9, 9, rate=rate), torch.randn(outputs)
    weight = torch.randn(outputs, inputs, *kernel)
    found = []
    for way in ("gather", "scatter"):
        found.append(convolve(x, weight, bias, stride, (1, 1), dilation, way=way))
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("outputs", "inputs", "stride", "groups", "way"),
    [
        (128, 64, (1, 1), 1, "gather"),
        (64, 128, (2, 2), 1, "gather"),
        (64, 32, (2, 2), 1, "gather"),
        (64, 32, (1, 1), 1, "scatter"),
        (130, 64, (1, 1), 1, "scatter"),
        (128, 64, (1, 1), 2, "scatter"),
    ],
)
def test_the_way_is_a_fact_of_the_shape(outputs, inputs, stride, groups, way):
    found = laid_out(
        torch.zeros(outputs, inputs, 3, 3), None, Window(stride, (1, 1), (1, 1), groups)
    )
    assert found.way == way


def test_some_samples_at_all_steps():
    steps, batch = 3, 4
    x = sparse(steps * batch, 8, 6, 5)
    for out, stride in ((20, (1, 1)), (32, (2, 2)), (128, (1, 1))):
        convolution = laid_out(torch.randn(out, 8, 3, 3), torch.randn(out), Window(stride, (1, 1)))
        whole = convolution(x).unflatten(0, (steps, batch))
        rows = torch.empty(steps * 2, *convolution.places((6, 5)), out)
        convolution.images(x)(1, 3, 0, steps, rows.numpy())
        assert torch.equal(rows.permute(0, 3, 1, 2).unflatten(0, (steps, 2)), whole[:, 1:3])


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("steps", [1, 31, 32, 33, 70])
def test_steps_are_taken_in_portions(steps, rate):
    x = sparse(steps * 3, 130, 5, 6, rate=rate)
    convolution = laid_out(torch.randn(80, 130, 3, 3), torch.randn(80), Window(padding=(1, 1)))
    assert convolution.way == "gather"
    rows = torch.empty(steps * 2, 5, 6, 80)
    convolution.images(x)(1, 3, 0, steps, rows.numpy())
    alone = torch.stack([convolution(image[None])[0] for image in x]).unflatten(0, (steps, 3))
    assert torch.equal(rows.permute(0, 3, 1, 2).unflatten(0, (steps, 2)), alone[:, 1:])


def test_lines_are_listed_in_bands():
    """More lines than are listed at a time, each under its own stride and dilation."""
    for stride, dilation in ((1, 1), (2, 1), (1, 2), (3, 2)):
        x, weight = sparse(32, 64, 40, 24), eighths(80, 64, 3, 3)
        convolution = laid_out(weight, None, Window((stride, 1), (1, 1), (dilation, 1)))
        rows = torch.empty(32, *convolution.places((40, 24)), 80)
        convolution.images(x)(0, 1, 0, 32, rows.numpy())
        expected = F.conv2d(x, weight, None, (stride, 1), (1, 1), (dilation, 1))
        assert torch.equal(rows.permute(0, 3, 1, 2), expected)


def test_lists_of_wide_windows_are_of_fewer_steps():
    """As many as fit: no window takes memory for all steps of all that it spans."""
    lists = 81 * 10 * 3
    steps = lists_at_once.py_func(32, lists, 64)
    assert 1 < steps < 32
    for depth in (16, 64):
        most = [lists_at_once.py_func(32, n, depth) * n for n in (1, 100, lists, 20000)]
        assert max(most[:-1]) * 8 * depth <= SCRATCH
        assert most[-1] < 32 * 20000
    x, weight = sparse(64, 130, 90, 10), eighths(16, 130, 3, 1)
    convolution = laid_out(weight, None, Window(dilation=(40, 1)))
    assert convolution.way == "gather"
    rows = torch.empty(32, *convolution.places((90, 10)), 16)
    convolution.images(x)(1, 2, 0, 32, rows.numpy())
    expected = F.conv2d(x[1::2], weight, dilation=(40, 1))
    assert torch.equal(rows.permute(0, 3, 1, 2), expected)


def test_no_images():
    for outputs in (64, 5):
        convolution = laid_out(torch.randn(outputs, 64, 3, 3), None, Window())
        assert convolution(torch.zeros(0, 64, 6, 5)).shape == (0, outputs, 4, 3)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bool])
def test_other_types_are_refused(kind):
    """A kernel reads memory as float32."""
    convolution = laid_out(torch.randn(16, 3, 3, 3), None, Window())
    with pytest.raises(TypeError, match="events are float32"):
        convolution(sparse(2, 3, 6, 5).to(kind))


ONE = ((1, 1), (1, 1), (1, 1))  # stride, padding, dilation


def test_signed_and_unequal_values():
    x = torch.randn(3, 32, 7, 7) * (torch.rand(3, 32, 7, 7) < 0.3)
    weight, bias = torch.randn(64, 32, 3, 3), torch.randn(64)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    torch.testing.assert_close(
        convolve(x, weight, bias, *ONE).double(), expected, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("way", ["gather", "scatter"])
@pytest.mark.usefixtures("smallest_pieces")
def test_neither_batch_nor_threads_change_a_bit(number, way):
    x, weight, bias = sparse(number, 32, 9, 9), torch.randn(64, 32, 3, 3), torch.randn(64)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    together = convolve(x, weight, bias, *ONE, way=way)
    alone = torch.cat([convolve(image[None], weight, bias, *ONE, way=way) for image in x])
    assert torch.equal(alone, together)
    try:
        for threads in (2, 3, 20):  # more than there are lines of one image
            torch.set_num_threads(threads)
            for stride in (1, 2):
                found = convolve(x, weight, bias, (stride, 1), *ONE[1:], way=way)
                assert torch.equal(found, together[:, :, ::stride])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("way", ["gather", "scatter"])
@given(
    st.sampled_from([(3, 16, 1), (20, 64, 1), (70, 96, 1), (64, 128, 1), (5, 7, 1), (4, 6, 2)]),
    st.sampled_from([1, 3, 33]),
    pairs,
    pairs,
    pairs,
    st.integers(0, 2),
    st.data(),
)
def test_some_lines_of_some_samples(way, channels, steps, kernel, stride, dilation, padding, data):
    inputs, outputs, groups = channels
    assume(all(d * (k - 1) < 9 for d, k in zip(dilation, kernel, strict=True)))
    x, weight = sparse(steps * 3, inputs, 9, 9), torch.randn(outputs, inputs // groups, *kernel)
    window = (stride, (padding, padding), dilation, groups)
    way = "scatter" if groups > 1 or outputs % 16 else way  # outputs can't gather
    convolution = laid_out(weight, torch.randn(outputs), Window(*window), way=way)
    whole = convolution(x).unflatten(0, (steps, 3))
    top = data.draw(st.integers(0, whole.shape[-2] - 1))
    bottom = data.draw(st.integers(top + 1, whole.shape[-2]))
    rows = torch.empty(steps * 2, bottom - top, whole.shape[-1], outputs)
    convolution.images(x)(1, 3, top, steps, rows.numpy())
    found = rows.permute(0, 3, 1, 2).unflatten(0, (steps, 2))
    assert torch.equal(found, whole[:, 1:3, :, top:bottom])


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


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="9 channels in 2 groups"):
        laid_out(torch.randn(9, 4, 3, 3), None, Window(*ONE, 2))
    with pytest.raises(ValueError, match="8 channels for"):
        convolve(sparse(1, 8, 5, 5), torch.randn(16, 4, 3, 3), None, *ONE)
