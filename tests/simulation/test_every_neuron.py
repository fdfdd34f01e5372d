"""Every neuron and coding in one network: what IF can, each can, by discovery.

The network has max pooling, residual sums, a concatenation, and a ceiling at every activation.
Weights, thresholds and inputs are dyadic, so what chunks and batches may not change is equal bit by
bit.
"""

import functools
from dataclasses import replace

import pytest
import torch
from torch import nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.errors import CheckpointError
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import spiking_network
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.simulate import simulate
from snnconv.testing.networks import checkpoint, images, mixed, rounded

T, COUNT, CEILING = 5, 3, 0.5
PUBLISHED = [("signed", {"preset": "snm"}), ("signed", {"preset": "burst"})]
SUBJECTS = [
    (neuron, params, coding)
    for neuron, params in [*((name, {}) for name in NEURONS.own()), *PUBLISHED]
    for coding in CODINGS.own()
]


@functools.cache
def clipped():
    """A checkpoint of the network without neurons."""
    net = rounded(mixed())
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Hardtanh(0, CEILING))
    made = checkpoint(net, theta=CEILING, timesteps=T)
    assert all(site.attrs["ceiling"] == CEILING for site in made.graph.sites)
    return made


@functools.cache
def network(neuron, params, coding, confident):
    """The network with neurons at its sites; none if they can't have that coding."""
    made, keep = clipped(), {site.name: 0.75 for site in clipped().graph.sites[-2:]}
    info = made.spiking.model_copy(
        update={
            "neuron": neuron,
            "params": dict(params),
            "coding": coding,
            "confidence": ConfidenceInfo(keep=keep, early=3) if confident else None,
        }
    )
    try:
        return spiking_network(replace(made, spiking=info)).eval()
    except CheckpointError as error:
        assert coding == "differential"
        assert "neurons, which are neither" in error.found or "without negative" in error.found
        assert error.remedy
        return None


def outputs(snn, x, samples, chunk=T):
    """Logits, and spikes and values by site ``[T, N, *N]``."""
    parts = {}

    def observe(name, start, output):
        parts.setdefault(name, []).append((output.counts, output.values_or_mean))

    logits = simulate(snn, x[None], samples, T, chunk, observe)
    found = {name: tuple(map(torch.cat, zip(*rows, strict=True))) for name, rows in parts.items()}
    return logits, {name: found[name] for name in snn.neurons}


def same(one, other):
    (logits, found), (logits_, found_) = one, other
    assert torch.equal(logits, logits_)
    for name, tensors in found.items():
        assert all(map(torch.equal, tensors, found_[name])), name


@pytest.mark.parametrize(
    ("neuron", "params", "coding"),
    SUBJECTS,
    ids=lambda given: given if isinstance(given, str) else "-".join(map(str, given.values())),
)
def test_all_that_if_can(neuron, params, coding):
    """Chunks, batches, ceilings, spike confidence; or a refusal that names the neuron."""
    given = neuron, tuple(params.items()), coding
    snn, x, samples = network(*given, True), images(COUNT), torch.arange(COUNT)
    if snn is None:
        return
    whole = outputs(snn, x, samples)
    for chunk in (1, 2):
        same(outputs(snn, x, samples, chunk), whole)
    alone = [outputs(snn, x[n : n + 1], samples[n : n + 1]) for n in range(COUNT)]
    joined = {
        name: tuple(
            torch.cat(rows, 1) for rows in zip(*(each[name] for _, each in alone), strict=True)
        )
        for name in snn.neurons
    }
    same((torch.cat([logits for logits, _ in alone], 1), joined), whole)
    assert whole[0].isfinite().all()
    plain = outputs(network(*given, False), x, samples)
    last = list(snn.neurons)[-2:]
    assert any(not torch.equal(whole[1][name][0], plain[1][name][0]) for name in last)
    steps = torch.arange(1, T + 1).float()
    for name, (counts, values) in plain[1].items():
        assert counts.any(), f"{name} is silent"
        # whatever the coding: the values of all steps so far have the mean that is sent
        means = values.cumsum(0) / steps.reshape(-1, *[1] * (values.dim() - 1))
        assert means.max() <= CEILING + 1e-6, name
