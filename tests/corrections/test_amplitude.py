"""Amplitude correction: psi brings mean currents to the ANN's, phi what a spike carries."""

import pytest
import torch
from helpers.corrections import (
    activations,
    after,
    converted,
    fitted,
    given_inputs,
    line,
    means,
    samples,
    simulated,
)
from helpers.networks import IMAGE, NETS

from snnconv.simulation.build import spiking_network


def test_by_hand():
    """One neuron of two levels at theta = 1, T = 2, uniform Omega; currents 1/2 and 1/8.

    The first site's currents are the ANN's, so psi = 0. Its counts, in halves, are
    ``floor(1/2 + t) - floor(...)``: of 1/2 one a step, and of 1/8, 1/4 of a level, from a half on:
    3/4, 1: one at step 2. Means are 1/2 and 1/4, where the ANN has 1/2 and 1/8: 3/8 against 5/16.
    phi = (5/16 - 3/8)/(1 + 3/8) = -1/22.
    """
    network, given = line(1.0, T=2, neuron="lm-ht", levels=2), given_inputs(0.5, 0.125)
    found = fitted(network, "amplitude", given)
    assert found[("current", "2")].tolist() == [0.0]
    assert found[("amplitude", "2")].item() == pytest.approx(-1 / 22)
    values, _ = simulated(after(network, "amplitude", given), given)
    expected = torch.tensor([[0.5, 0.0], [0.5, 0.5]]) * (1 - 1 / 22)
    assert torch.allclose(values["2"].flatten(1), expected)


@pytest.mark.parametrize("neuron", ["if", "msat", "lm-h", "lm-ht"])
@pytest.mark.parametrize("net", NETS)
def test_the_equation_of_phi_holds(net, neuron):
    """``mean(q)*(theta + phi) = mean(a) - phi`` at every site of the corrected network."""
    network, given = converted(NETS[net](), IMAGE, 0.5, neuron), samples(16, IMAGE)
    found = fitted(network, "amplitude", given)
    values, _ = simulated(after(network, "amplitude", given), given)
    for name, activation in activations(network, given).items():
        phi = 0.5 * found[("amplitude", name)].double()
        given_now = means(values[name].mean(0) if len(values[name]) > 1 else values[name][0])
        assert torch.allclose(given_now, means(activation) - phi, atol=1e-5), name


def test_psi_makes_mean_currents_equal():
    network, given = converted(NETS["vgg"](), IMAGE, 0.5), samples(16, IMAGE)
    corrected = after(network, "amplitude", given)
    values, _ = simulated(corrected, given)
    snn = spiking_network(network)
    first, second = (site.name for site in network.graph.sites)
    conv = next(node for node in network.graph.nodes if node.name == "3")
    pool = next(node for node in network.graph.nodes if node.op == "avg_pool")
    mean = snn.network.compute(pool, [values[first].mean(0)])
    given_now = means(snn.network.compute(conv, [mean]).detach())
    ann = snn.network.compute(pool, [activations(network, given)[first]])
    wanted = means(snn.network.compute(conv, [ann]).detach())
    psi = corrected.corrections[f"1/current/{second}"].double()
    assert torch.allclose(given_now + psi, wanted, atol=1e-5)
