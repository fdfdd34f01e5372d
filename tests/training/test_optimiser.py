import pytest
import torch
from helpers.networks import checkpoint, rounded, vgg
from pydantic import ValidationError
from torch import nn

from snnconv.config import OptimiserConfig
from snnconv.simulation.build import spiking_network
from snnconv.training.optimiser import Average, by_group, optimiser


def test_groups_have_every_parameter_once():
    snn = spiking_network(checkpoint(rounded(vgg()), neuron="lm-h"), folded=False)
    groups = by_group(snn)
    ids = [id(p) for group in groups.values() for p in group]
    assert sorted(ids) == sorted(id(p) for p in snn.parameters() if p.requires_grad)
    assert all(p.dim() > 1 for p in groups["weights"])
    assert {id(p) for p in groups["neurons"]} == {
        id(p) for neuron in snn.neurons.values() for p in neuron.parameters()
    }
    config = OptimiserConfig(
        decay_on=("weights", "neurons"), weight_decay=0.5, lr=0.2, neuron_lr=0.05
    )
    chosen = optimiser(snn, config).param_groups
    assert [(g["weight_decay"], g["pace"]) for g in chosen] == [(0.5, 1), (0, 1), (0.5, 0.25)]
    assert [g["params"] for g in chosen] == list(groups.values())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_is_that_of_the_papers(name):
    """Of one weight, with its decay: Nesterov's momentum, or Adam's first step."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    config = OptimiserConfig(optimiser=name, lr=0.1, momentum=0.5, weight_decay=0.25,
                             nesterov=name == "sgd")  # fmt: skip
    descent = optimiser(net, config)
    net.weight.grad = torch.tensor([[3.0]])
    descent.step()
    nesterov = 2 - 0.1 * ((3 + 0.5) + 0.5 * (3 + 0.5))
    adam = 2 * (1 - 0.1 * 0.25) - 0.1
    assert net.weight.item() == pytest.approx(nesterov if name == "sgd" else adam)


@pytest.mark.parametrize(
    "options",
    [
        {"nesterov": True, "optimiser": "adamw"},
        {"nesterov": True, "momentum": 0},
        {"decay_on": "x"},
    ],
)
def test_options_that_do_not_fit(options):
    with pytest.raises(ValidationError):
        OptimiserConfig(**options)


def test_the_average_is_the_sum_of_what_was():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, weights = Average(net, 0.75), [net[0].weight.detach().clone()]
    for _ in range(3):
        with torch.no_grad():
            net[0].weight += torch.randn(2, 3)
        weights.append(net[0].weight.detach().clone())
        average.update()
    shares = [0.75**3, 0.25 * 0.75**2, 0.25 * 0.75, 0.25]
    expected = sum(share * weight for share, weight in zip(shares, weights, strict=True))
    average.swap()
    torch.testing.assert_close(net[0].weight.detach(), expected)
    average.swap()
    assert torch.equal(net[0].weight, weights[-1])
