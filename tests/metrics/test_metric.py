from dataclasses import replace

import pytest
import torch
from helpers.networks import context_of, images, maxed, recorded, spiking, vgg

from snnconv.config import EvaluateConfig
from snnconv.engine.layer_output import EVERYTHING, NOTHING
from snnconv.graph.ops import OPS, Role
from snnconv.metrics.base import METRICS, Batch, Figures, Metric, Watch
from snnconv.simulation import network as engine
from snnconv.simulation.simulate import simulate

T, COUNT = 5, 4
LEAN = ["accuracy", "firing-rate", "synops", "energy", "conversion-error"]


class Loudest(Metric):
    """As a plug-in may be: it knows nothing of sums."""

    def __init__(self, context):
        super().__init__(context)
        self.seen = {}

    def observe(self, name, start, output):
        self.seen.setdefault(name, []).append(output.counts)

    def figures(self, found):
        return Figures({"loudest": max(float(torch.cat(x).max()) for x in self.seen.values())})


def watching(snn, kinds):
    metrics = [kind(context_of(snn, T)) for kind in kinds]
    for metric in metrics:
        metric.begin(Batch(torch.zeros(COUNT, dtype=torch.int64), torch.zeros(COUNT, 4), {}))
    return metrics, Watch(metrics)


def simulated(snn, watch, monkeypatch, needs=None):
    """Simulate, and return what the sites gave."""
    seen, inner = [], engine.fire

    def spy(*args):
        found = inner(*args)
        seen.append(found[0])
        return found

    monkeypatch.setattr(engine, "fire", spy)
    x = images(COUNT)[None]
    simulate(snn, x, torch.arange(COUNT), T, 2, watch, needs or watch.needs)
    monkeypatch.setattr(engine, "fire", inner)
    return seen


USUAL = EvaluateConfig().metric
"""What an evaluation measures by itself; what these do not read costs nothing."""


def test_which_usual_metrics_read_counts():
    assert [name for name in USUAL if METRICS.load(name).counted] == ["sin"]


def test_which_usual_metrics_read_values():
    assert [name for name in USUAL if METRICS.load(name).valued] == ["conversion-error"]


def test_who_observes_anew_is_given_all_there_is():
    """Whatever it inherits from can do without, unless it says so itself."""
    lean = METRICS.load("firing-rate")
    assert not lean.counted
    assert not lean.valued

    class Reads(lean):
        def observe(self, name, start, spikes):
            pass

    class ReadsCounts(Reads):
        valued = False

        def observe(self, name, start, spikes):
            pass

    class Renamed(lean):
        pass

    assert (Reads.counted, Reads.valued) == (True, True)
    assert (ReadsCounts.counted, ReadsCounts.valued) == (True, False)
    assert (Renamed.counted, Renamed.valued) == (False, False)


@pytest.mark.compiled
def test_where_sums_suffice_no_counts_are_written(monkeypatch):
    snn = spiking(maxed())
    _, watch = watching(snn, map(METRICS.load, LEAN))
    seen = simulated(snn, watch, monkeypatch)
    assert len(seen) == 2 * 3
    for output in seen:
        assert output.counts is None
        assert output.sums.shape == (len(output.values), COUNT, 2)
    assert any(output.sums.any() for output in seen)


@pytest.mark.compiled
def test_what_nobody_needs_is_not_added_up(monkeypatch):
    snn = spiking(vgg())
    _, watch = watching(snn, [METRICS.load("accuracy")])
    for output in simulated(snn, watch, monkeypatch):
        assert output.counts is None
        assert output.sums is None


@pytest.mark.compiled
@pytest.mark.parametrize("needs", [NOTHING, EVERYTHING])
def test_poolings_count_what_they_emit_if_somebody_needs_it(needs):
    snn, seen = spiking(maxed()), {}

    def observe(name, start, output):
        seen[name] = (output.counts is not None, len(output.values))

    simulate(snn, images(COUNT)[None], torch.arange(COUNT), T, T, observe, needs)
    assert {OPS[snn.network.graph[name].op].role for name in seen} == {Role.SITE, Role.MAX}
    assert set(seen.values()) == {(needs.counts, T)}


def test_a_plug_in_gets_counts_and_the_others_their_sums(monkeypatch):
    snn, kinds = spiking(maxed()), [METRICS.load(name) for name in LEAN[:3]]
    metrics, watch = watching(snn, [*kinds, Loudest])
    simulated(snn, watch, monkeypatch)
    _, expected = recorded(snn, images(COUNT), T)
    assert metrics[-1].seen.keys() == expected.keys()
    for name, parts in metrics[-1].seen.items():
        assert torch.equal(torch.cat(parts), expected[name].counts)
    alone, watch = watching(snn, kinds)
    simulated(snn, watch, monkeypatch)
    for one, other in zip(metrics[1:], alone[1:], strict=False):
        assert one.figures(Figures()) == other.figures(Figures())


@pytest.mark.parametrize("summed", [True, False])
def test_sums_are_made_of_counts_if_the_simulation_gives_none(monkeypatch, summed):
    """As for a caller who simulates with a watch and does not say what it needs."""
    snn, kinds = spiking(maxed()), [METRICS.load(name) for name in ("firing-rate", "synops")]
    metrics, watch = watching(snn, kinds)
    needs = replace(watch.needs, counts=True)
    simulated(snn, watch, monkeypatch, needs if summed else replace(needs, sums={}))
    alone, watch = watching(snn, kinds)
    simulated(snn, watch, monkeypatch)
    for one, other in zip(metrics, alone, strict=True):
        assert one.figures(Figures()) == other.figures(Figures())


def test_no_metrics_need_nothing():
    watch = Watch([])
    assert not watch.needs.counts
    assert watch.needs.sums == {}
