"""Weight correction: each layer is trained alone, towards the ANN's activation."""

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
from helpers.networks import IMAGE, NETS, rounded
from torch import nn


def test_the_first_step_by_hand():
    """Adam's first step is its rate, against the gradient's sign.

    theta = 1, T = 4, v0 = 1/2: currents 3/8 and 5/8 are rounded up to 1/2 and 3/4. Both errors
    are positive, and so are the inputs: the weight falls by the rate.
    """
    network, given = line(1.0), given_inputs(0.375, 0.625)
    found = fitted(network, "weights", given, iterations=1, lr=0.01)
    weight = network.graph["1"].tensors["weight"]
    assert found.keys() == {("weight", weight)}  # what is behind the last site is not trained
    assert found["weight", weight].item() == pytest.approx(-0.01, rel=1e-4)


def distance(network, corrected, given):
    """By site: how far the mean outputs are from the ANN's activations."""
    values, _ = simulated(corrected, given)
    return {
        name: float((values[name].mean(0) - activation).square().mean())
        for name, activation in activations(network, given).items()
    }


@pytest.mark.parametrize("net", NETS)
def test_outputs_come_nearer(net):
    network, given = converted(NETS[net](), IMAGE, 0.5), samples(64, IMAGE)
    corrected = after(network, "weights", given, iterations=60, lr=0.01)
    before, now = (distance(network, each, given) for each in (network, corrected))
    assert sum(now.values()) < sum(before.values())
    for name, tensor in network.network.items():
        assert torch.equal(corrected.network[name], tensor)


def test_the_same_every_time():
    network, given = converted(NETS["vgg"](), IMAGE, 0.5), samples(40, IMAGE)
    first, second = (fitted(network, "weights", given, iterations=5) for _ in range(2))
    assert all(torch.equal(tensor, second[where]) for where, tensor in first.items())


def test_it_goes_on_from_other_corrections():
    """Outputs that are exact with a current in place leave nothing to learn."""
    network, given = line(1.0), given_inputs(0.25, 0.5)
    moved = after(network, "bias", given)
    assert moved.corrections["1/current/2"].tolist() == [0.0]
    found = fitted(moved, "weights", given, iterations=3, lr=0.01)
    assert all((tensor == 0).all() for tensor in found.values())  # outputs are exact already
    again = after(after(network, "weights", given_inputs(0.375, 0.625), lr=0.01), "bias", given)
    assert [made.method for made in again.corrected] == ["weights", "bias"]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.twice, self.last = (nn.Linear(*size) for size in ((8, 6), (6, 6), (6, 4)))

    def forward(self, x):
        x = torch.relu(self.first(x.flatten(1)))
        return self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))


def test_a_shared_weight_is_left():
    network, given = converted(Shared(), (2, 2, 2), 0.5), samples(20, (2, 2, 2))
    found = fitted(network, "weights", given, iterations=2)
    assert {name for _, name in found} == {"first.weight"}


def test_batch_norm_stays():
    """The weight before a BatchNorm is trained, the BatchNorm is not; folding happens behind it."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
    )
    network, given = converted(rounded(module), IMAGE, 0.5), samples(20, IMAGE)
    corrected = after(network, "weights", given, iterations=5, lr=0.01)
    assert set(corrected.corrections) == {"1/weight/0.weight"}
    before, now = (simulated(each, given)[1] for each in (network, corrected))
    assert not torch.equal(before, now)
