"""What holds for every metric, whatever it measures."""

import json
import math

import pytest
import torch
from networks import NETS, TwoLevels, dyadic, images, layered, measured, spiking

from snnconv.metric import ROOM
from snnconv.neurons.if_ import IF

NAMES = ["accuracy", "conversion-error", "energy", "firing-rate", "sin", "synops"]
COUNT, T = 6, 8


def figures(net="vgg", kind=IF, change=lambda snn: snn, **options):
    snn = change(spiking(NETS[net](), kind=kind))
    labels = dyadic((COUNT,), 5, 0, 4, 1).long()
    found = measured(snn, images(COUNT), labels, T, NAMES, **options)
    return found.totals, found.layers


def assert_same(one, other):
    flat = [dict(leaves(found)) for found in (one, other)]
    assert flat[0] == pytest.approx(flat[1], rel=1e-12, nan_ok=False)


def leaves(value, path=()):
    """Every number in nested figures, with its place."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def test_these_metrics_there_are():
    assert ROOM.names() == NAMES


@pytest.mark.parametrize("net", sorted(NETS))
def test_figures_are_finite_and_can_be_written(net):
    found = figures(net)
    assert json.loads(json.dumps(found, allow_nan=False))
    for place, value in leaves(found):
        assert value is None or type(value) in (int, float), place
        assert value is None or (math.isfinite(value) and value >= 0), place


@pytest.mark.parametrize("net", sorted(NETS))
def test_batches_change_no_figure(net):
    whole = figures(net)
    for size in (1, 4):
        assert_same(figures(net, batches=torch.arange(COUNT).split(size)), whole)


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_no_figure(net, chunk):
    assert_same(figures(net, chunk=chunk), figures(net))


def test_the_order_of_samples_changes_no_figure():
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    assert_same(figures(batches=order.split(2)), figures())


@pytest.mark.parametrize("net", ["vgg", "max", "identity", "concat"])
def test_the_memory_layout_changes_no_figure(net):
    assert_same(figures(net, change=layered), figures(net))


def test_batches_change_no_figure_of_neurons_with_levels():
    whole = figures(kind=TwoLevels)
    split = figures(kind=TwoLevels, chunk=3, batches=torch.arange(COUNT).split(2))
    assert_same(split, whole)
