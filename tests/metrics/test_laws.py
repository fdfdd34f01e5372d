"""What holds for every metric, whatever it measures."""

import json
import math

import pytest
import torch
from helpers.networks import NETS, TwoLevels, captured, dyadic, images, layered, measured, spiking

from snnconv.core.metadata import ConfidenceInfo
from snnconv.engine.layer_output import EVERYTHING
from snnconv.metrics.base import METRICS
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF

PARAMS = {"if": {}, "msat": {}, "lm-ht": {"levels": 4}, "lm-h": {}, "signed": {"spikes": 2}}
NAMES = ["accuracy", "conversion-error", "energy", "firing-rate", "sin", "synops"]
COUNT, T = 6, 8


def figures(net="vgg", kind=IF, change=lambda snn: snn, **options):
    snn = change(spiking(NETS[net](), kind=kind))
    labels = dyadic((COUNT,), 5, 0, 4, 1).long()
    found = measured(snn, images(COUNT), labels, T, NAMES, **options)
    return found.totals, found.layers


def figures_of(kind, net, names, needs=None, **options):
    """As :func:`figures`, with neurons of a kind in the room, all layers by events."""
    kind, params = NEURONS.load(kind), PARAMS[kind]
    params = kind.params_type(**params)
    snn = layered(spiking(NETS[net](), kind=kind, params=params, T=T, **options))
    snn.engine = "event"
    labels = dyadic((COUNT,), 5, 0, 4, 1).long()
    chunk = 3 if snn.causal else T
    found = measured(snn, images(COUNT), labels, T, names, chunk=chunk, needs=needs)
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
    assert METRICS.names() == NAMES


@pytest.mark.parametrize("net", sorted(NETS))
def test_figures_are_finite_and_can_be_written(net):
    found = figures(net)
    assert json.loads(json.dumps(found, allow_nan=False))
    for place, value in leaves(found):
        assert value is None or type(value) in (int, float), place
        assert value is None or (math.isfinite(value) and value >= 0), place


def test_these_neurons_there_are():
    assert sorted(PARAMS) == NEURONS.names()


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("kind", sorted(PARAMS))
@pytest.mark.parametrize("confident", [False, True])
def test_figures_are_the_same_of_sums_and_of_counts(net, kind, confident):
    options = {}
    if confident:
        keep = {site.name: 0.75 for site in captured(NETS[net]())[0].sites}
        options["confidence"] = ConfidenceInfo(early=4, keep=keep)
    lean = [name for name in NAMES if name != "sin"]
    of_sums = figures_of(kind, net, lean, **options)
    assert of_sums == figures_of(kind, net, lean, EVERYTHING, **options)
    totals, layers = figures_of(kind, net, NAMES, **options)  # of sums, beside counts
    assert {key: totals[key] for key in of_sums[0]} == of_sums[0]
    for name, row in of_sums[1].items():
        assert {key: layers[name][key] for key in row} == row
    assert of_sums[0]["sops_per_sample"] > 0


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
