"""The laws of metrics.

Each law is asked on small networks with average pooling, max pooling, residual sums, concatenation
and linear layers alone. Sums in them are exact, so that no batch, chunk or memory layout may change
a figure.

Shape:
    Samples ``[B, 2, 6, 6]``.
"""

import functools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconv.config.base import Engine
from snnconv.core.metadata import ConfidenceInfo
from snnconv.engine.layer_output import EVERYTHING
from snnconv.graph.ir import Graph
from snnconv.metrics.base import METRICS, Metric
from snnconv.neurons.base import NEURONS, Neuron, NeuronParams
from snnconv.neurons.if_ import IF
from snnconv.simulation.network import SpikingNetwork
from snnconv.testing.base import Kind, Law, variants
from snnconv.testing.networks import (
    NETS,
    TwoLevels,
    captured,
    channels_last,
    dyadic,
    images,
    measured,
    with_neurons,
)
from snnconv.testing.neurons import Layers

SAMPLES, STEPS = 6, 8

Found = tuple[dict[str, Any], dict[str, dict[str, Any]]]


def subjects(metric: type[Metric]) -> Iterator[tuple[str, type[Metric]]]:
    """A metric has no parameters."""
    yield "", metric


def with_needs(metric: type[Metric]) -> dict[str, type[Metric]]:
    """A metric with those whose figures it is made of."""
    found: dict[str, type[Metric]] = {}
    for name in metric.needs:
        found |= with_needs(METRICS.load(name))
    return found | {f"{metric.__module__}.{metric.__qualname__}": metric}


@functools.cache
def _ann(net: str) -> tuple[Graph, dict[str, Tensor]]:
    return captured(NETS[net]())


def figures(
    metric: type[Metric],
    net: str = "vgg",
    kind: type[Neuron[Any]] = IF,
    params: NeuronParams | None = None,
    change: Callable[[SpikingNetwork], SpikingNetwork] = lambda snn: snn,
    confidence: ConfidenceInfo | None = None,
    engine: Engine = "auto",
    **options: Any,
) -> Found:
    """The figures of a metric and of those it needs, on one of the networks."""
    snn = change(with_neurons(*_ann(net), kind=kind, params=params, confidence=confidence, T=STEPS))
    snn.engine = engine
    if not snn.causal:
        options.pop("chunk", None)
    labels = dyadic((SAMPLES,), 5, 0, 4, 1).long()
    found = measured(snn, images(SAMPLES), labels, STEPS, with_needs(metric), **options)
    return found.totals, found.layers


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every number in nested figures, with its place."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def _assert_same(one: Found, other: Found, where: str) -> None:
    first, second = (dict(leaves(found)) for found in (one, other))
    assert first.keys() == second.keys(), where
    for place, value in first.items():
        same = value == second[place]
        if isinstance(value, int | float) and isinstance(second[place], int | float):
            same = math.isclose(value, second[place], rel_tol=1e-12)
        assert same, f"{where}, {place}: {value} and {second[place]}"


def figures_are_finite_and_can_be_written(metric: type[Metric]) -> None:
    """A report holds numbers, texts and null, and no infinity."""
    for net in NETS:
        found = figures(metric, net)
        json.dumps(found, allow_nan=False)
        for place, value in leaves(found):
            known = value is None or type(value) in (int, float, str, bool)
            assert known, f"{net}, {place}: {type(value).__name__}"


def batches_change_no_figure(metric: type[Metric]) -> None:
    """The same figures for samples one by one, in batches, and all at once."""
    for net in NETS:
        whole = figures(metric, net)
        for size in (1, 4):
            parts = torch.arange(SAMPLES).split(size)
            _assert_same(figures(metric, net, batches=parts), whole, f"{net}, {size} at once")


def chunks_of_time_change_no_figure(metric: type[Metric]) -> None:
    """The same figures for a simulation in pieces."""
    for net in NETS:
        for chunk in (1, 3):
            found = figures(metric, net, chunk=chunk)
            _assert_same(found, figures(metric, net), f"{net}, {chunk} steps at once")


def the_order_of_samples_changes_no_figure(metric: type[Metric]) -> None:
    """The same figures for samples in another order."""
    order = torch.tensor([4, 1, 5, 0, 3, 2]).split(2)
    _assert_same(figures(metric, batches=order), figures(metric), "another order")


def the_memory_layout_changes_no_figure(metric: type[Metric]) -> None:
    """The same figures in channels-last memory."""
    for net in ("vgg", "max", "identity", "concat"):
        _assert_same(figures(metric, net, change=channels_last), figures(metric, net), net)


def batches_and_chunks_change_no_figure_of_neurons_with_levels(metric: type[Metric]) -> None:
    """The same figures for neurons that put out up to two spikes a step."""
    parts = torch.arange(SAMPLES).split(2)
    split = figures(metric, kind=TwoLevels, chunk=3, batches=parts)
    _assert_same(split, figures(metric, kind=TwoLevels), "two levels")


def figures_are_the_same_of_sums_and_of_counts(metric: type[Metric]) -> None:
    """A metric that reads sums finds what it finds when all counts are written, too."""
    for name in NEURONS.names():
        kind = NEURONS.load(name)
        params = _liveliest(kind)
        for net in NETS if kind is IF else ("max", "shortcut"):  # what neurons do is their own
            keep = {site.name: 0.75 for site in _ann(net)[0].sites}
            into = frozenset(keep) if "looks_into" in vars(metric) else frozenset[str]()
            for confidence in (None, ConfidenceInfo(early=4, keep=keep)):
                lean, full = (
                    figures(
                        metric,
                        net,
                        kind,
                        params,
                        channels_last,
                        confidence,
                        "event",
                        chunk=3,
                        needs=needs,
                    )
                    for needs in (None, replace(EVERYTHING, lead=True, membranes=into))
                )
                assert lean == full, f"{name}, {net}"


def _liveliest(kind: type[Neuron[Any]]) -> NeuronParams:
    """The setting with the most spikes at one step."""
    settings = [Layers(kind, params) for params in variants(kind.params_type)]
    most = max(settings, key=lambda layers: layers().levels)
    return kind.params_type(**most.params)


def _sums(metric: type[Metric]) -> str:
    return "it reads counts" if metric.counted else ""


_LAWS: tuple[Law[type[Metric]], ...] = (
    Law(figures_are_finite_and_can_be_written),
    Law(batches_change_no_figure),
    Law(chunks_of_time_change_no_figure),
    Law(the_order_of_samples_changes_no_figure),
    Law(the_memory_layout_changes_no_figure),
    Law(batches_and_chunks_change_no_figure_of_neurons_with_levels),
    Law(figures_are_the_same_of_sums_and_of_counts, unless=_sums),
)

KIND = Kind(METRICS, _LAWS, subjects)
