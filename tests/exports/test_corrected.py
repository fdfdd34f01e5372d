"""Corrections in the network's own words: the same spikes, and files in every format."""

from dataclasses import replace

import pytest
import torch
from helpers.exports import both, same, subject_of
from helpers.networks import NETS, checkpoint, images, recorded, rounded
from torch import nn

from snnconv.core.metadata import CorrectionInfo
from snnconv.exports.base import EXPORTS, corrections
from snnconv.exports.parts.corrected import stated
from snnconv.graph.analysis import Analysis
from snnconv.simulation.build import spiking_network

T = 6


class Twice(nn.Module):
    """A convolution that two sites read, a sum of one value with itself, and a BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(48, 4)
        self.relu0, self.relu1 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        y = self.norm(self.relu0(x) + x)
        return self.last(self.relu1(y + y).flatten(1))


def made(module, parts, **how):
    """A checkpoint with corrections of these parts at all sites, in multiples of 1/16."""
    file = checkpoint(module, timesteps=T, **how)
    shapes = Analysis.of(file.graph, file.network).shapes
    random = torch.Generator().manual_seed(1)
    tensors = {
        f"{1 + k}/{part}/{site.name}": torch.randint(-6, 7, shapes[site.name][:1], generator=random)
        / 16
        for k, part in enumerate(parts)
        for site in file.graph.sites
    }
    info = CorrectionInfo(method="bias", params={}, samples=1, timesteps=T)
    return replace(file, kind="corrected", corrected=(info,) * len(parts), corrections=tensors)


def simulated(file, x):
    logits, seen = recorded(spiking_network(file, engine="dense").eval(), x, T)
    return logits, {name: each.values for name, each in seen.items()}


@pytest.mark.parametrize("parts", [["current"], ["amplitude"], ["current", "amplitude"]])
@pytest.mark.parametrize("net", [*NETS, "twice"])
def test_the_network_is_the_same(net, parts):
    """Every number is a multiple of a small one, so no sum rounds, in whatever order."""
    file = made(rounded(Twice() if net == "twice" else NETS[net]()), parts)
    own = stated(file)
    assert (own.corrected, own.corrections) == ((), {})
    x = images(3)
    logits, values = simulated(file, x)
    others, spikes = simulated(own, x)
    assert not torch.equal(logits, simulated(replace(file, corrected=(), corrections={}), x)[0])
    torch.testing.assert_close(others, logits, rtol=1e-6, atol=1e-6)
    amplified = {name.removesuffix(".amplitude"): name for name in spikes}
    assert amplified.keys() >= values.keys()
    for name in file.graph.sites:
        factor = 1 + file.corrections.get(f"{len(parts)}/amplitude/{name.name}", torch.zeros(1))
        factor = factor.reshape(1, 1, -1, *[1] * (values[name.name].dim() - 3))
        torch.testing.assert_close(spikes[name.name] * factor, values[name.name])


def test_currents_go_into_biases():
    file = made(NETS["shortcut"](), ["current"])
    assert [node.op for node in stated(file).graph.nodes] == [node.op for node in file.graph.nodes]
    twice = stated(made(Twice(), ["current"]))
    assert [node.name for node in twice.graph.nodes if node.op == "affine"] == [
        "relu0.current",
        "relu1.current",
    ]


def test_without_corrections_it_is_the_checkpoint_itself():
    file = checkpoint(NETS["vgg"]())
    assert stated(file) is file


def test_what_has_no_words_stays():
    file = made(NETS["mlp"](), ["current", "current", "potential"])
    site = file.graph.sites[0].name
    one = CorrectionInfo(method="steps", params={}, samples=1, timesteps=T)
    size = file.corrections[f"1/current/{site}"].shape
    tensors = {
        f"1/current/{site}": torch.ones(size),
        f"2/current/{site}": torch.ones(T, *size),
        f"3/potential/{site}": torch.ones(size),
    }
    methods = "bias", "steps", "potential"
    infos = tuple(one.model_copy(update={"method": method}) for method in methods)
    own = stated(replace(file, corrected=infos, corrections=tensors))
    assert own.corrections.keys() == {f"1/current/{site}", f"2/potential/{site}"}
    assert [each.place for each in corrections(own)] == [
        "correction 'steps'",
        "correction 'potential'",
    ]


@pytest.mark.parametrize("net", ["identity", "mlp"])
@pytest.mark.parametrize("name", EXPORTS.own())
def test_every_format(name, net, tmp_path):
    """Amplitudes and currents behind each other, with a shortcut by identity, and of matrices."""
    file = made(NETS[net](), ["current", "amplitude"], theta=0.375, params={"v0": 0})
    form = EXPORTS.load(name)
    form = form(form.params_type())
    own, values, found, _ = both(form, subject_of(stated(file)), tmp_path)
    if form.tolerance is not None:
        same(own, {site: values[site] for site in found.spikes}, found)
    else:
        assert (found.logits - own).abs().max() < 0.1 * own.abs().max()
