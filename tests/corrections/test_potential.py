"""Potential correction: what a neuron's output lacks over T steps, given to it at the start."""

import pytest
import torch
from helpers.corrections import (
    activations,
    after,
    converted,
    fitted,
    given_inputs,
    line,
    samples,
    simulated,
    with_parts,
)
from helpers.networks import IMAGE, NETS, TwoLevels, captured

from snnconv.corrections.base import CORRECTIONS
from snnconv.errors import UsageError
from snnconv.graph.network import Network
from snnconv.simulation.network import SpikingNetwork


def test_by_hand():
    """theta = 1, v0 = 1/2, T = 4, two samples.

    Currents 1/4 and 3/8 give ``floor(1/2 + 4/4) = 1`` and ``floor(1/2 + 12/8) = 2`` spikes: means
    of 1/4 and 1/2, where the ANN has 1/4 and 3/8. So the potential is 4*(5/16 - 3/8) = -1/4, and
    the counts are ``floor(1/4 + 1) = 1`` and ``floor(1/4 + 3/2) = 1``.
    """
    network, given = line(1.0), given_inputs(0.25, 0.375)
    assert fitted(network, "potential", given)[("potential", "2")].tolist() == [-0.25]
    values, _ = simulated(after(network, "potential", given), given)
    assert values["2"].sum(0).flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("neuron", ["if", "msat", "lm-h", "lm-ht"])
@pytest.mark.parametrize("net", NETS)
def test_it_is_what_the_first_site_lacks(net, neuron):
    network, given = converted(NETS[net](), IMAGE, 0.5, neuron), samples(12, IMAGE)
    found = fitted(network, "potential", given)
    values, _ = simulated(network, given)
    first = next(iter(values))
    lacks = activations(network, given)[first].double() - values[first].double().mean(0)
    expected = network.spiking.timesteps * lacks.mean(0)
    assert torch.allclose(found[("potential", first)].double(), expected, atol=1e-5)
    assert {name for _, name in found} == {site.name for site in network.graph.sites}


def test_sites_behind_see_what_sites_before_give():
    """The second site's potential is measured with the first one's in place."""
    network, given = converted(NETS["vgg"](), IMAGE, 0.5), samples(12, IMAGE)
    found = fitted(network, "potential", given)
    first, second = (site.name for site in network.graph.sites)
    half = {("potential", first): found[("potential", first)]}
    values, _ = simulated(with_parts(network, half), given)
    lacks = activations(network, given)[second].double() - values[second].double().mean(0)
    expected = network.spiking.timesteps * lacks.mean(0)
    assert torch.allclose(found[("potential", second)].double(), expected, atol=1e-5)


def test_neurons_without_a_potential_are_refused():
    network = converted(NETS["mlp"](), IMAGE)
    kind = CORRECTIONS.load("potential")
    neurons = {
        site.name: TwoLevels(TwoLevels.params_type(), torch.ones(1)) for site in network.graph.sites
    }
    snn = SpikingNetwork(Network(*captured(NETS["mlp"]())), neurons, 0, None)
    with pytest.raises(UsageError, match="initial potential"):
        kind(kind.params_type()).refuse(network, snn)
