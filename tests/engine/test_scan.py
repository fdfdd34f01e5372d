"""Sums that scans add up, against the counts."""

import pytest
import torch
from helpers.layers import EVERY_LAYER, layer, same
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core import jit
from snnconv.engine.dispatch import fire
from snnconv.engine.event_conv.events import laid_out
from snnconv.engine.event_conv.values import Deferred, Window
from snnconv.engine.layer_output import Wants, WeightedSum
from snnconv.engine.neurons.layer import summable
from snnconv.engine.neurons.scan import BLOCK, LEAST

every_kind = pytest.mark.parametrize("kind", EVERY_LAYER, ids=str)


def made(kind, currents):
    """Neurons that fire often, a threshold a channel."""
    name, params = kind
    theta = torch.rand(currents.shape[2]) / 4 + 0.1
    return layer(name, theta, torch.float32, len(currents), **params)


def weighing(shape, largest, rows, levels):
    weights = torch.randint(0, largest + 1, (rows, *shape)).float()
    weights.flatten()[0] = largest
    return WeightedSum(weights, levels)


def by_hand(output, weights):
    """In int64, which is exact; spikes of either sign count."""
    return torch.stack(
        [(output.counts.abs().long() * w.long()).flatten(2).sum(2) for w in weights], 2
    )


def check(neurons, currents, keep, weighted, counted=False, mean=False):
    """A scan with sums gives what one with counts does."""
    expected, end = fire(neurons, currents, None, keep, Wants(mean=mean))
    found, state = fire(neurons, currents, None, keep, Wants(counted, weighted, mean))
    assert torch.equal(found.sums, by_hand(expected, weighted.weights))
    assert same((found.values, found.mean), (expected.values, expected.mean))
    assert same(state, end)
    assert same(found.counts, expected.counts if counted else None)
    return found.sums


@every_kind
@given(
    shape=st.sampled_from([(1,), (7,), (BLOCK,), (3, 5, 4), (64, 3, 3), (5, 11, 13), (2, 9)]),
    T=st.integers(1, 5),
    B=st.integers(1, 4),
    order=st.sampled_from(["rows", "channels-last", "constant"]),
    masked=st.booleans(),
    threads=st.integers(1, 4),
    largest=st.sampled_from([1, 10, 4608, 2**15 + 1]),
    rows=st.integers(1, 3),
    counted=st.booleans(),
    mean=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sums_are_those_of_the_counts(
    kind, shape, T, B, order, masked, threads, largest, rows, counted, mean, seed
):
    torch.manual_seed(seed)
    currents = torch.randn(T, B, *shape)
    if order == "channels-last":
        currents = currents.movedim(2, -1).contiguous().movedim(-1, 2)
    if order == "constant":
        currents = currents[:1].expand(T, *currents.shape[1:])
    keep = (torch.rand(currents.shape) < 0.7).float() if masked else None
    neurons = made(kind, currents)
    weighted = weighing(shape, largest, rows, neurons.levels)
    before = torch.get_num_threads()
    with torch.no_grad(), jit.pieces_of(1):  # slices of any size
        torch.set_num_threads(threads)
        try:
            check(neurons, currents, keep, weighted, counted, mean)
        finally:
            torch.set_num_threads(before)


@every_kind
@torch.no_grad()
def test_sums_beyond_float32(kind):
    currents = torch.ones(3, 5, 7, 23, 29)
    neurons = made(kind, currents)
    largest = 2**24 // (LEAST * neurons.levels)  # as much as a scan can take
    weighted = weighing(currents.shape[2:], largest, 2, neurons.levels)
    weighted.weights[1] = largest - 1 + largest % 2
    sums = check(neurons, currents, None, weighted)
    assert int(sums.max()) > 2**32


@every_kind
@torch.no_grad()
def test_what_a_scan_cannot_add_up_is_made_of_counts(kind):
    currents = torch.ones(3, 2, 7, 11)
    neurons = made(kind, currents)
    weighted = weighing(currents.shape[2:], 2**24 // (LEAST - 1), 2, neurons.levels)
    assert not summable(weighted)
    check(neurons, currents, None, weighted)
    assert fire(neurons, currents, None, None, Wants(False, weighted))[0].sums.all()


@every_kind
@torch.no_grad()
def test_sums_of_currents_that_come_sample_by_sample(kind):
    T, B, C = 4, 5, 16
    values = (torch.rand(T * B, 4, 7, 5) < 0.2).float().unflatten(0, (T, B))
    convolution = laid_out(torch.randn(C, 4, 3, 3) / 2, torch.randn(C) / 4, Window(padding=(1, 1)))
    pending = Deferred(convolution, values)
    neurons = made(kind, pending.tensor())
    check(neurons, pending, None, weighing((C, 7, 5), 577, 2, neurons.levels))


@every_kind
@pytest.mark.parametrize("learns", [False, True])
def test_without_a_scan_in_simulation_sums_are_made_of_counts(kind, learns):
    """In float64, and in training."""
    currents = torch.randn(4, 2, 5, 7)
    neurons = made(kind, currents)
    weighted = weighing((5, 7), 99, 2, neurons.levels)
    with torch.set_grad_enabled(learns):
        given = currents if learns else currents.double()
        check(neurons, given, None, weighted)
