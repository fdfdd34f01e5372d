"""Networks, samples and corrections of them, for tests."""

from dataclasses import replace

import torch
from torch import nn

from helpers.networks import checkpoint, rounded
from snnconv.core.metadata import CorrectionInfo
from snnconv.corrections.base import CORRECTIONS, Samples, corrected
from snnconv.graph.network import ann_inputs
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

T = 4


def converted(module, shape, theta=1.0, neuron="if", T=T, **params):
    """A converted network of dyadic weights."""
    return checkpoint(rounded(module), shape, theta, neuron, params, T)


def samples(count, shape, seed=1, unit=None):
    """Random inputs in 0..1; multiples of ``unit``, if one is given."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, count, *shape, generator=generator)
    return Samples(x if unit is None else (x / unit).round() * unit, torch.arange(count))


def fitted(network, method, given, **params):
    """What a correction finds, by part and name."""
    kind = CORRECTIONS.load(method)
    made = kind(kind.params_type(**params))
    made.refuse(network, spiking_network(network))
    return made.fit(network, given, lambda sites: None)


def after(network, method, given, **params):
    """The corrected network."""
    return with_parts(network, fitted(network, method, given, **params), method)


def with_parts(network, found, method="bias"):
    """The network with these tensors as a correction, ``{(part, name): tensor}``."""
    made = CorrectionInfo(method=method, params={}, samples=1, timesteps=network.spiking.timesteps)
    return corrected(network, found, made)


def zeros(network, parts=("current", "currents", "potential", "amplitude")):
    """A correction of zero at every site and every synapse, of every part."""
    snn = spiking_network(network)
    x = torch.zeros(1, *network.graph.input_shape)
    found = {}
    for name, inputs in ann_inputs(snn.network, x)[1].items():
        channels = inputs.shape[1]
        found[("current", name)] = torch.zeros(channels)
        found[("potential", name)] = torch.zeros(inputs.shape[1:])
        found[("amplitude", name)] = torch.zeros(channels)
    for node in network.graph.nodes:
        if node.op in ("conv", "linear"):
            weight = node.tensors["weight"]
            found[("weight", weight)] = torch.zeros_like(network.network[weight])
    return found


def step_by_step(network):
    """A current of zero at every step and site."""
    found = {where: tensor for where, tensor in zeros(network).items() if where[0] == "current"}
    T = network.spiking.timesteps
    return {where: tensor.expand(T, -1).clone() for where, tensor in found.items()}


def simulated(network, given, batch=None, chunk=None, engine="auto", needs=None):
    """Values by site ``[T, N, *N]``, or their mean ``[1, N, *N]``, and logits by step."""
    snn = spiking_network(network, engine=engine).eval()
    T, seen, logits = network.spiking.timesteps, {}, []
    for indices in torch.arange(given.x.shape[1]).split(batch or given.x.shape[1]):
        parts = {}

        def observe(name, start, output, parts=parts):
            if output.packed is None:
                parts.setdefault(name, []).append(output.values_or_mean.clone())

        needed = () if needs is None else (needs,)
        logits.append(simulate(snn, given.x[:, indices], indices, T, chunk or T, observe, *needed))
        for name, chunks in parts.items():
            seen.setdefault(name, []).append(torch.cat(chunks))
    return {name: torch.cat(each, 1) for name, each in seen.items()}, torch.cat(logits, 1)


def activations(network, given):
    """The ANN's activations by site."""
    snn = spiking_network(replace(network, corrected=(), corrections={}))
    _, inputs = ann_inputs(snn.network, given.x[0])
    return {
        site.name: snn.network.compute(site, [inputs[site.name]]).detach()
        for site in snn.network.graph.sites
    }


def means(values):
    """Of each channel, ``[..., C, *places] -> [C]`` of the last ones after samples."""
    return values.double().transpose(0, 1).flatten(1).mean(1)


LARGE = (2, 12, 12)


def deep():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


def line(weight, theta=1.0, T=4, neuron="if", **params):
    """One neuron whose current is its input times a weight."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        for layer in (module[1], module[3]):
            layer.weight.fill_(weight / 2)  # the helper doubles
            layer.bias.zero_()
    return converted(module, (1, 1, 1), theta, neuron, T, **params)


def given_inputs(*values):
    given = samples(len(values), (1, 1, 1))
    given.x[0].view(-1)[:] = torch.tensor(values)
    return given
