"""A token of the network's own before those of a sample, from every front end: the same spikes."""

import pytest
import torch
from helpers.networks import recorded
from torch import nn

from snnconv.errors import ObstaclesError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.network import SpikingNetwork

SHAPE = (5, 4)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 6, 8))
        self.embed, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.block = nn.Sequential(
            nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.LayerNorm(8)
        )
        for parameter in (*self.block[0].parameters(), *self.block[4].parameters()):
            nn.init.normal_(parameter, mean=1.0, std=0.2)  # a new one scales by 1 and adds 0

    def forward(self, x):
        x = self.embed(x)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.block(x).mean(1))


def exported(module, file, dynamo):
    names = {"input_names": ["x"], "dynamo": dynamo}
    axes = {"dynamic_shapes": {"x": {0: "batch"}}} if dynamo else {"dynamic_axes": {"x": {0: "b"}}}
    torch.onnx.export(module, (torch.randn(2, *SHAPE),), file, **names, **axes)
    return import_onnx(file, SHAPE, analog=True)


def program(module, file):
    batch = {"x": {0: torch.export.Dim("batch")}}
    example = (torch.randn(2, *SHAPE),)
    torch.export.save(torch.export.export(module, example, dynamic_shapes=batch), file)
    return import_exported(file, SHAPE, analog=True)


def spikes(found, x):
    graph, tensors = found[:2]
    graph = with_transfer_sites(graph, tensors)
    params = Params(spikes=4)
    neurons = {site.name: Signed(params, torch.tensor([1.0])) for site in graph.sites}
    logits, seen = recorded(SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval(), x, 32)
    return logits, [each.counts for each in seen.values()]


@pytest.mark.filterwarnings("ignore")
def test_every_front_end_gives_the_same_spikes(tmp_path):
    net, x = Tokens().eval(), torch.randn(3, *SHAPE)
    graph, tensors, _ = capture(net, SHAPE, analog=True)
    assert torch.allclose(Network(graph, tensors).eval()(x), net(x), atol=1e-5)
    logits, wanted = spikes((graph, tensors), x)
    assert (logits.mean(0) - net(x)).norm() / net(x).norm() < 0.05
    for name, found in {
        "pt2": program(net, tmp_path / "net.pt2"),
        "onnx": exported(net, tmp_path / "a.onnx", dynamo=False),
        "dynamo": exported(net, tmp_path / "b.onnx", dynamo=True),
    }.items():
        assert torch.allclose(Network(*found[:2]).eval()(x), net(x), atol=1e-5), name
        others, seen = spikes(found, x)
        assert torch.allclose(others.mean(0), logits.mean(0), atol=0.05), name
        assert len(seen) == len(wanted), name
        for ours, theirs in zip(wanted, seen, strict=True):
            assert (ours != theirs).float().mean() < 0.02, name  # sums in another order


def test_what_is_longer_than_the_value_is_named():
    class Long(Tokens):
        def forward(self, x):
            x = self.embed(x)
            return self.head(torch.cat([self.position.expand(x.shape[0], -1, -1), x], 1)[:, 0])

    with pytest.raises(ObstaclesError) as caught:
        capture(Long().eval(), SHAPE)
    assert "longer" in str(caught.value)
