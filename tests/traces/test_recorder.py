"""Looking into neurons: no spike changes, and potentials obey the neuron's own equation."""

import numpy as np
import pytest
import torch
from helpers.networks import NETS, images, recorded, spiking

from snnconv.core.metadata import ConfidenceInfo
from snnconv.core.shapes import per_neuron
from snnconv.neurons.base import NEURONS
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.codings.differential import DifferentialCoding
from snnconv.simulation.simulate import simulate
from snnconv.traces.arrays import Array, of_sites
from snnconv.traces.recorder import Recorder
from snnconv.traces.store import Store

T, N = 4, 3  # a power of two: means of dyadic numbers are exact
RECORD = ("spikes", "potentials", "thresholds", "activations", "currents")
KINDS = [*NEURONS.names(), "differential"]


def network(name):
    """A max pooling, a shortcut, and spike confidence at a site."""
    keep = ConfidenceInfo(early=3, keep={"1": 0.5})
    if name == "differential":
        given = {"kind": Signed, "params": Params(spikes=2), "coding": DifferentialCoding()}
    else:
        kind = NEURONS.load(name)
        given = {"kind": kind, "params": kind.params_type(), "confidence": keep}
    return spiking(
        NETS["max" if name in ("if", "signed") else "identity"](), theta=0.5, T=T, **given
    )


def traced(snn, x, folder, batch, chunk):
    """The logits, and every array by its name."""
    arrays = of_sites(snn.neurons, snn.analysis.shapes, RECORD, len(x), T)
    folder.mkdir()
    store = Store(folder, arrays)
    recorder, logits = Recorder(store, snn.neurons), []
    for first in range(0, len(x), batch):
        part = x[first : first + batch]
        samples = torch.arange(first, first + len(part))
        recorder.begin(first, {})
        steps = simulate(snn, part[None], samples, T, chunk, recorder, recorder.needs)
        logits.append(steps)
        recorder.end()
    found = {array.name: np.array(store.read(array.name)) for array in arrays}
    return torch.cat(logits, 1), found, recorder


@pytest.mark.parametrize("name", KINDS)
def test_spikes_are_those_of_an_evaluation_whatever_the_batch(name, tmp_path):
    snn, x = network(name), images(N)
    plain, own = recorded(snn, x, T)
    for k, (batch, chunk) in enumerate([(N, T), (2, 2), (1, 1)]):
        logits, found, recorder = traced(snn, x, tmp_path / str(k), batch, chunk)
        torch.testing.assert_close(logits, plain, rtol=1e-6, atol=1e-6)
        for site in snn.neurons:
            counts = own[site].counts.transpose(0, 1)
            assert np.array_equal(found[f"{site}/spikes"], counts.numpy()), (site, batch)
            assert recorder.spikes[site] == int(counts.abs().sum())
            assert recorder.fired[site] == int((counts != 0).any(1).sum())
            mean = found[f"{site}/activations"][:, -1]
            sent = own[site].values.sum(0) / len(own[site].values)  # or the mean, of one row
            np.testing.assert_allclose(mean, sent.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_a_potential_is_what_came_in_less_what_went_out(name, tmp_path):
    """Sum of charges - sum of values = potential - v0; for IF, sum of currents - theta*spikes."""
    snn = network(name)
    _, found, _ = traced(snn, images(N), tmp_path / "trace", N, T)
    for site, neuron in snn.neurons.items():
        if f"{site}/potentials" not in found:
            pytest.fail(f"{name} has no potential")
        if name == "glif":  # its reset acts a step later, so no charge balances
            assert neuron.membrane(neuron.initial(images(1)[0])) is None
            continue
        currents, potentials, means = (
            torch.from_numpy(found[f"{site}/{what}"].swapaxes(0, 1))
            for what in ("currents", "potentials", "activations")
        )
        sums = means * torch.arange(1, T + 1).view(-1, *[1] * (means.dim() - 1))
        values = torch.cat([sums[:1], sums[1:] - sums[:-1]])
        before = neuron.held(neuron.initial(currents[0]))
        with torch.no_grad():
            kept = neuron.retention().float().expand(T)
            charges = neuron.charge(currents)
        expected = []
        for share, charge, value in zip(kept, charges, values, strict=True):
            before = share * before + charge - value
            expected.append(before)
        torch.testing.assert_close(potentials, torch.stack(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["if", "msat"])
def test_a_neuron_fires_where_its_potential_reaches_the_threshold(name, tmp_path):
    snn = network(name)
    snn.confidence = None
    _, found, _ = traced(snn, images(N), tmp_path / "trace", N, T)
    for site in snn.neurons:
        spikes, after, thresholds = (
            found[f"{site}/{what}"] for what in ("spikes", "potentials", "thresholds")
        )
        assert (thresholds.shape[:2] == (1, 1)) is (name == "if")
        assert np.array_equal(after + spikes * thresholds >= thresholds - 1e-6, spikes > 0)
        if name == "msat":  # what a spike carries is the threshold of its step
            assert len(np.unique(thresholds)) > N


def test_arrays_and_their_sizes():
    neuron = Signed(Params(spikes=200), torch.ones(4))
    named = {"conv": neuron}
    found = of_sites(named, {"conv": (4, 2, 3)}, ("spikes", "thresholds", "ann"), 5, 6)
    assert found[0] == Array(
        "conv/spikes",
        ("sample", "step", "channel", "row", "column"),
        (5, 6, 4, 2, 3),
        "<i2",
        found[0].unit,
    )
    assert (found[1].shape, found[2].axes[1]) == ((1, 1, 4, 1, 1), "channel")
    assert [array.size for array in found] == [2 * 720, 4 * 4, 4 * 120]
    assert torch.equal(
        neuron.firing_threshold(torch.zeros(1, 4), None), per_neuron(torch.ones(4), 2)
    )
