"""Networks for formats that have average pooling, IF and LIF neurons, and what runs them."""

from dataclasses import replace

import torch
from torch import nn

from helpers.networks import IMAGE, checkpoint, dyadic
from snnconv.core.metadata import NormInfo
from snnconv.exports.base import Subject
from snnconv.graph.rewrite import with_gates
from snnconv.neurons.norms.base import NORMS
from snnconv.simulation.build import learned, spiking_network
from snnconv.simulation.simulate import simulate

T, BATCH = 6, 3
IF = {"neuron": "if", "params": {"v0": 0}}
LEAKY = {"neuron": "lif", "params": {"v0": 0, "decay": 0.75, "reset": "hard"}}
SCALED = {"neuron": "lif", "params": {"v0": 0, "decay": 0.5, "input": "scaled"}}


class Residual(nn.Module):
    """Shortcuts by identity and by convolution, groups, both kinds of average pooling."""

    def __init__(self):
        super().__init__()
        self.first, self.relu0 = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.conv1, self.relu1 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ReLU()
        self.pool, self.conv3 = nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.shortcut, self.relu3 = nn.Conv2d(4, 6, 1, stride=2), nn.ReLU()
        self.mean, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu0(self.first(x))
        x = self.pool(self.relu2(self.conv2(self.relu1(self.conv1(x))) + x))
        x = self.relu3(self.conv3(x) + self.shortcut(x))
        return self.last(self.mean(x).flatten(1))


def wave():
    """A network of one axis."""
    return nn.Sequential(
        nn.Conv1d(1, 4, 5, stride=2),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Conv1d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


PLACES = (1, 16, 16)


def over_places():
    """A network whose sums have so many summands that their order shows."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    ).eval()


class Gated(nn.Module):
    """A gate of spikes between layers with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv0, self.norm0, self.relu0 = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
        self.last = nn.Linear(48, 4)

    def forward(self, x):
        x = self.relu0(self.norm0(self.conv0(x)))
        gate = 1 - self.relu1(self.norm1(self.conv1(x)))
        return self.last((gate * x).flatten(1))


def trained_stepwise(neuron="lif"):
    """What training may leave: factors of steps, gates, and thresholds of normalised potentials."""
    theta = 0.375
    made = checkpoint(Gated(), theta=theta, timesteps=T, neuron=neuron, analog=True)
    graph, tensors = with_gates(made.graph, made.network, theta)
    graph, tensors = NORMS.load("tebn")(None).placed(graph, tensors, {}, T)
    tensors |= {name: torch.rand(T) + 0.5 for name in tensors if name.endswith("step_scale")}
    norm = NormInfo(name="mpbn", params={}) if neuron == "lif" else None
    spiking = made.spiking.model_copy(update={"norm": norm})
    made = replace(made, graph=graph, network=tensors, spiking=spiking)
    kept = learned(spiking_network(made, folded=False))
    moved = {name: x + 0.5 * torch.rand_like(x) for name, x in kept.items()}
    for weight in (x for name, x in moved.items() if name.endswith("norm.weight")):
        weight[0] *= -1  # fires where the potential is low
    return replace(made, kind="trained", neurons=moved)


def subject_of(made):
    """What is exported, as it is."""
    return Subject(made, spiking_network(made, engine="dense").eval(), "A network", "0" * 64)


def subject(module, shape=IMAGE, **how):
    """What is exported, with other thresholds at each site and channel."""
    made = checkpoint(module.eval(), theta=0.375, timesteps=T, shape=shape, **how)
    network = spiking_network(made, engine="dense").eval()
    sizes = network.analysis.shapes
    for k, (name, neuron) in enumerate(network.neurons.items()):
        neuron.threshold = dyadic((sizes[name][0],), seed=k, low=2, high=9)
    return Subject(made, network, "A network", "0" * 64)


def both(form, one, folder, shape=IMAGE):
    """Logits and spikes of snnconv, and of the file; and the file with its input."""
    assert form.obstacles(one) == []
    content = form.files(one, "net")
    for suffix, each in content.items():
        (folder / f"net{suffix}").write_bytes(each)
    file = folder / f"net{next(iter(content))}"
    x, values = torch.rand(1, BATCH, *shape), {}

    def observe(name, start, output):
        values[name] = output.values

    own = simulate(one.network, x, torch.arange(BATCH), T, T, observe)
    return own, values, form.run(file, one, x, torch.arange(BATCH), T, T), (file, x)


def same(own, values, found):
    """Every spike is the same; weights and inputs are no multiples, so none is at a threshold."""
    torch.testing.assert_close(found.logits, own, rtol=1e-5, atol=1e-5)
    assert set(found.spikes) == set(values)
    assert own.abs().max() > 0
    for name, each in found.spikes.items():
        torch.testing.assert_close(each, values[name], rtol=1e-5, atol=1e-5)
