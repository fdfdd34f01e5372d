import sys
from itertools import product

import pytest
import torch
from helpers.layers import CHUNKED, EVERY_LAYER, VARIANTS, layer, parts, run, same

from snnconv.engine.dispatch import compiled, fire
from snnconv.engine.layer_output import LayerOutput, Wants
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF, Params

T, B, C = 9, 3, 5


def images(channels_last=False):
    currents = torch.randn(T * B, C, 3, 7)
    if channels_last:
        currents = currents.contiguous(memory_format=torch.channels_last)
    return currents.unflatten(0, (T, B))


CURRENTS = {
    "flat": lambda: torch.randn(T, B, C),
    "odd": lambda: torch.randn(T, 1, 37),
    "line": lambda: torch.randn(T, B, C, 11),
    "images": images,
    "channels-last": lambda: images(channels_last=True),
    "constant": lambda: images()[:1].expand(T, -1, -1, -1, -1),
    "constant, channels-last": lambda: images(channels_last=True)[:1].expand(T, -1, -1, -1, -1),
    "every other sample": lambda: torch.randn(T, 2 * B, C, 4)[:, ::2],
    "transposed": lambda: torch.randn(T, B, 4, C).transpose(2, 3),
    "double": lambda: torch.randn(T, B, C, dtype=torch.float64),
}


@pytest.fixture(params=EVERY_LAYER, ids=str)
def kind(request):
    return request.param


chunked = pytest.mark.parametrize("kind", CHUNKED, ids=str)
UNMOVED = [(k, False) for k in EVERY_LAYER if list(layer(k[0], **k[1]).parameters())]
"""Layers that learn something, where it starts."""


def pair(kind, currents, moved=True):
    """The layer, with a threshold a channel, and what it learns away from where it starts."""
    name, params = kind
    theta = torch.rand(currents.shape[2]) + 0.3
    neurons = layer(name, theta, currents.dtype, len(currents), **params)
    with torch.no_grad():
        for parameter in neurons.parameters():
            parameter += 0.3 * moved * torch.randn(parameter.shape)
    return neurons


def plain(neurons, currents, state, keep):
    """As the neuron's own file says."""
    return neurons.run(currents, neurons.initial(currents[0]) if state is None else state, keep)


def test_every_neuron_with_a_kernel_is_compiled():
    fast = {name for name in NEURONS.names() if compiled(NEURONS.load(name), False) is not None}
    assert fast >= {"if", "lif", "lm-h", "lm-ht", "msat"}
    assert fast >= {name for name in NEURONS.names() if NEURONS.load(name).KERNEL}
    assert sorted(VARIANTS) == NEURONS.names()


CASES = list(product(CURRENTS, (False, True)))
"""Currents, and whether some neurons may not fire: in one test of each layer, as tests are many."""


def case(name, masked):
    """Currents, and a mask of those that may fire."""
    currents = CURRENTS[name]()
    return currents, (torch.rand(currents.shape) < 0.6).to(currents.dtype) if masked else None


def test_a_kernel_gives_what_the_neuron_gives(kind):
    for name, masked in CASES:
        currents, keep = case(name, masked)
        neurons = pair(kind, currents)
        expected = plain(neurons, currents, None, keep)
        with torch.no_grad():
            found = run(neurons, currents, None, keep)
        assert same(found, expected), (name, masked)
        assert expected[0].counts.any(), (name, masked)


@pytest.mark.parametrize(("kind", "moved"), [*((k, True) for k in EVERY_LAYER), *UNMOVED], ids=str)
def test_the_mean_over_time_is_that_of_the_values(kind, moved):
    for name, masked in CASES:
        currents, keep = case(name, masked)
        neurons = pair(kind, currents, moved)
        spikes, state = plain(neurons, currents, None, keep)
        with torch.no_grad():
            output, after = fire(neurons, currents, None, keep, Wants(mean=True))
        mean = sum(spikes.values[1:], spikes.values[0]) / len(spikes.values)
        assert output.mean.shape == (1, *currents.shape[1:])
        wanted = LayerOutput(counts=spikes.counts, mean=mean[None]), state
        assert same((output, after), wanted), (name, masked)
        assert mean.any(), (name, masked)


@pytest.mark.parametrize("masked", [False, True])
def test_a_kernel_fires_where_the_neuron_fires_right_at_its_bounds(kind, masked):
    """Currents, thresholds and v0 that float32 adds up exactly: potentials meet what they pass."""
    currents = torch.randint(-12, 17, (2 * T, B, C, 40)) / 8
    name, params = kind
    neurons = layer(name, 2.0 ** torch.randint(-1, 2, (C,)), steps=len(currents), **params)
    keep = (torch.rand(currents.shape) < 0.6).float() if masked else None
    expected = plain(neurons, currents, None, keep)
    with torch.no_grad():
        assert same(run(neurons, currents, None, keep), expected)


@chunked
def test_a_kernel_in_chunks(kind):
    currents = images(channels_last=True)
    neurons = pair(kind, currents)
    keep = (torch.rand(currents.shape) < 0.6).float()
    expected = plain(neurons, currents, None, keep)
    state, pieces = None, []
    with torch.no_grad():
        for part, kept in zip(currents.split(2), keep.split(2), strict=True):
            spikes, state = run(neurons, part, state, kept)
            pieces.append(spikes)
    assert same(tuple(map(torch.cat, zip(*pieces, strict=True))), tuple(expected[0]))
    assert same(state, expected[1])


@chunked
def test_a_kernel_and_the_neuron_may_take_turns(kind):
    currents = images()
    neurons = pair(kind, currents)
    expected = plain(neurons, currents, None, None)
    with torch.no_grad():
        first, state = run(neurons, currents[:4], None, None)
    second, state = plain(neurons, currents[4:6], state, None)
    with torch.no_grad():
        third, state = run(neurons, currents[6:], state, None)
    assert same(torch.cat([first.values, second.values, third.values]), expected[0].values)
    assert same(state, expected[1])


def test_a_kernel_changes_nothing_that_is_given(kind):
    currents = images()
    neurons = pair(kind, currents)
    keep = (torch.rand(currents.shape) < 0.6).float()
    with torch.no_grad():
        state = neurons.initial(currents[0])
        given = [currents, keep, neurons.threshold]
        before = [x.clone() for x in given], parts(state)
        first = run(neurons, currents, state, keep)
        assert same((given, parts(state)), before)
        assert same(run(neurons, currents, state, keep), first)


def test_a_neuron_without_a_kernel_runs_as_its_file_says():
    class Twice(IF):
        def step(self, current, state, keep):
            return super().step(2 * current, state, keep)

    currents, theta = images() / 4, torch.tensor(1.0)
    with torch.no_grad():
        found = run(Twice(Params(), theta), currents, None, None)
        assert same(found, run(IF(Params(), theta), 2 * currents, None, None))


def test_training_runs_the_neuron_itself(kind):
    currents = images().requires_grad_()
    spikes, _ = run(pair(kind, currents), currents, None, None)
    spikes.values.sum().backward()
    assert currents.grad.abs().sum() > 0


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.usefixtures("smallest_pieces")
def test_threads_change_no_spike(kind, threads):
    currents = torch.randn(T, 4, C, 31, 33)
    neurons = pair(kind, currents)
    expected = plain(neurons, currents, None, None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            assert same(run(neurons, currents, None, None), expected)
    finally:
        torch.set_num_threads(before)


def test_images_keep_their_order_in_memory(kind):
    for channels_last in (False, True):
        currents = images(channels_last)
        with torch.no_grad():
            spikes, _ = run(pair(kind, currents), currents, None, None)
        assert [x.stride() for x in spikes] == [currents.stride()] * 2


def test_without_numba_the_neuron_runs_itself(kind, monkeypatch):
    currents = images()
    neurons = pair(kind, currents)
    with torch.no_grad():
        expected = plain(neurons, currents, None, None)
        compiled.cache_clear()
        monkeypatch.setitem(sys.modules, "numba", None)
        try:
            assert compiled(type(neurons), False) is None
            assert same(run(neurons, currents, None, None), expected)
        finally:
            compiled.cache_clear()


# What compiled code is given


def test_thresholds_of_another_type_are_refused():
    """Read as float32, they once gave 11 % of the samples in place of 99 %."""
    neuron = IF(Params(), torch.ones(C, dtype=torch.float64))
    with torch.no_grad(), pytest.raises(TypeError, match="float64 on cpu: give float32"):
        run(neuron, torch.randn(T, B, C, 11), None, None)


@pytest.mark.parametrize(
    ("keep", "error", "says"),
    [
        (torch.ones(T, B, C, dtype=torch.bool), TypeError, "torch.bool on cpu: give float32"),
        (torch.ones(T, B, C, dtype=torch.float64), TypeError, "torch.float64 on cpu"),
        (torch.ones(T - 1, B, C), ValueError, "9 steps of 3 samples"),
        (torch.ones(T, 1, C), ValueError, "9 steps of 3 samples"),
        (torch.ones(T, B, C - 1), ValueError, r"shape \[4\], where the layer has \[5\]"),
    ],
)
def test_a_mask_of_another_type_or_shape_is_refused(keep, error, says):
    with torch.no_grad(), pytest.raises(error, match=says):
        run(IF(Params(), torch.ones(1)), torch.randn(T, B, C), None, keep)
