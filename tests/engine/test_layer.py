from itertools import product

import pytest
import torch
from helpers.layers import EVERY_LAYER, layer, same

from snnconv.engine.dispatch import compiled, fire
from snnconv.engine.event_conv.events import laid_out
from snnconv.engine.event_conv.values import Deferred, Window, unpacked
from snnconv.engine.layer_output import Wants
from snnconv.engine.neurons import layer as layers

T, B, C = 6, 5, 16


@pytest.fixture(params=EVERY_LAYER, ids=str)
def neurons(request):
    name, params = request.param
    return layer(name, torch.rand(C) + 0.3, torch.float32, T, **params)


def currents(others=1, samples=B):
    values = (torch.rand(T * samples, 4, 7, 5) < 0.2).float().unflatten(0, (T, samples))
    convolution = laid_out(torch.randn(C, 4, 3, 3) / 2, torch.randn(C) / 4, Window(padding=(1, 1)))
    pending = Deferred(convolution, values)
    if others:
        pending = pending.plus(torch.randn(T * samples, C, 7, 5).unflatten(0, (T, samples)) / 4)
    if others > 1:
        pending = pending.plus(torch.randn(1, samples, C, 7, 5) / 4)  # constant over time
    return pending


@torch.no_grad()
def test_sample_by_sample_is_the_same(neurons):
    run = compiled(type(neurons), learns=False)
    if run is None:
        pytest.skip("these neurons have no kernel")
    for others, at_once in product((0, 1, 2), (1, 1 << 12, 1 << 20)):
        pending = currents(others)
        whole = pending.tensor()
        assert whole.shape == pending.shape == pending.like().shape
        keep = (torch.rand(whole.shape) < 0.9).float()
        start = neurons.initial(pending.like()[0])
        for mask in (None, keep):
            found = run(neurons, pending, start, mask, Wants(), cached=at_once)
            assert same(found, fire(neurons, whole, None, mask)), (others, at_once)


@pytest.mark.parametrize("samples", [1, 2, B])
@torch.no_grad()
@pytest.mark.usefixtures("smallest_pieces")
def test_threads_change_nothing(neurons, samples, monkeypatch):
    """Threads share images, and the lines of one."""
    pending = currents(samples=samples)
    one = neurons.amplitude() is not None and neurons.levels == 1 and not neurons.signed
    sites = {"packed": True} if one else {}
    whole = neurons.remembers or compiled(type(neurons), learns=False) is None
    slices = []

    def ranges(*given):
        for each in original(*given):
            slices.append(each)
            yield each

    original = layers.line_ranges
    monkeypatch.setattr(layers, "line_ranges", ranges)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected, end = fire(neurons, pending.tensor(), None, None)
    try:
        for threads in (1, 2, 3, 9):
            slices.clear()
            torch.set_num_threads(threads)
            for given in ({}, sites):
                found, state = fire(neurons, pending, None, None, Wants(**given))
                assert torch.equal(unpacked(found.carried), expected.values)
                assert torch.equal(found.counts, expected.counts)
                assert same(state, end)
            lines = sum((last - first) * (bottom - top) for first, last, top, bottom in slices)
            assert whole or lines == 2 * samples * 7
            assert whole or len(slices) >= 2 * min(threads, samples * 7)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_counts_are_left_out_where_nobody_wants_them(neurons):
    for given in (currents(), currents().tensor()):
        counted, _ = fire(neurons, given, None, None)
        output, _ = fire(neurons, given, None, None, Wants(counts=False))
        assert torch.equal(output.values, counted.values)
        assert output.counts is None


def test_in_training_currents_are_computed_as_a_whole(neurons):
    pending = currents()
    found, _ = fire(neurons, pending, None, None)
    expected, _ = fire(neurons, pending.tensor(), None, None)
    assert torch.equal(found.values, expected.values)
