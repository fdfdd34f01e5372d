"""Local tandem learning: each layer is trained alone, through the steps of its neurons."""

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
)
from helpers.networks import IMAGE, NETS

from snnconv.corrections._layers import Layer
from snnconv.corrections.base import CORRECTIONS
from snnconv.errors import UsageError

MODES = ["offline", "online"]


@pytest.mark.parametrize("mode", MODES)
def test_the_first_step_by_hand(mode):
    """Adam's first step is its rate, against the gradient's sign.

    theta = 1, T = 4, v0 = 1/2: currents 3/8 and 5/8 give 2 and 3 spikes, means of 1/2 and 3/4. Both
    errors are positive, and so are the inputs: the weight falls by the rate.
    """
    network, given = line(1.0), given_inputs(0.375, 0.625)
    found = fitted(network, "ltl", given, iterations=1, lr=0.01, mode=mode, warm=3)
    weight = network.graph["1"].tensors["weight"]
    assert found.keys() == {("weight", weight)}  # what is behind the last site is not trained
    assert found["weight", weight].item() == pytest.approx(-0.01, rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_that_are_exact_leave_nothing_to_learn(mode):
    """1/4 and 1/2 in 4 steps; what lies above theta counts as theta."""
    network, given = line(1.0), given_inputs(0.25, 0.5, 1.75)
    found = fitted(network, "ltl", given, iterations=3, lr=0.01, mode=mode, warm=3)
    assert all((tensor == 0).all() for tensor in found.values())


def distance(network, corrected, given):
    """How far the mean outputs are from the ANN's activations, of all sites."""
    values, _ = simulated(corrected, given)
    return sum(
        float((values[name].mean(0) - activation.clamp(max=0.5)).square().mean())
        for name, activation in activations(network, given).items()
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", NETS)
def test_outputs_come_nearer(net, mode):
    network, given = converted(NETS[net](), IMAGE, 0.5), samples(64, IMAGE)
    # online the mean at the last step alone, which is what the distance is of
    corrected = after(network, "ltl", given, iterations=40, lr=0.003, mode=mode, warm=3)
    assert distance(network, corrected, given) < distance(network, network, given)
    for name, tensor in network.network.items():
        assert torch.equal(corrected.network[name], tensor)


@pytest.mark.parametrize("neuron", ["signed", "lm-ht"])
def test_every_neuron(neuron):
    network, given = converted(NETS["vgg"](), IMAGE, 0.5, neuron), samples(20, IMAGE)
    found = fitted(network, "ltl", given, iterations=3, lr=0.01)
    assert found
    assert all(torch.isfinite(tensor).all() and tensor.any() for tensor in found.values())


@pytest.mark.parametrize("net", NETS)
def test_the_loss_is_that_of_the_simulation(net):
    """But for neurons that reach theta exactly, where a third of three steps is rounded."""
    network, given = converted(NETS[net](), IMAGE, 0.5), samples(12, IMAGE)
    values, _ = simulated(network, given)
    kind = CORRECTIONS.load("ltl")
    method, wanted = kind(kind.params_type()), activations(network, given)
    for place in network.graph.sites:
        layer = Layer(network.graph, place)
        seen, site = method._seen(network, given, place.name, layer)
        loss = method.loss(site, layer, network.network, seen)
        error = values[place.name].mean(0) - wanted[place.name].clamp(max=0.5)
        assert float(loss) == pytest.approx(float(error.square().mean()), rel=3e-3)


def test_it_follows_other_corrections_and_is_the_same_every_time():
    network, given = converted(NETS["vgg"](), IMAGE, 0.5), samples(40, IMAGE)
    moved = after(network, "bias", given)
    first, second = (fitted(moved, "ltl", given, iterations=5) for _ in range(2))
    assert all(torch.equal(tensor, second[where]) for where, tensor in first.items())
    again = after(after(moved, "ltl", given, iterations=2), "potential", given)
    assert [made.method for made in again.corrected] == ["bias", "ltl", "potential"]


def test_neurons_that_wait_do_not_learn_online():
    network = converted(NETS["mlp"](), IMAGE, 0.5, "lm-ht")
    with pytest.raises(UsageError, match="lm-ht neurons can't be corrected by this method"):
        fitted(network, "ltl", samples(4, IMAGE), mode="online")
