"""Small networks for the tests of the graph."""

import pytest
import torch
from torch import nn

from snnconv.errors import ExitCode, UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS

IMAGE = (2, 8, 8)


class Calls(nn.Module):
    """A network from a function of itself and its input, and the modules that it uses."""

    def __init__(self, function, **members):
        super().__init__()
        self.function = function
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, x):
        return self.function(self, x)


def flattened(part):
    """A part that gives images, as a network."""
    return Calls(lambda n, x: n.part(x).flatten(1), part=part)


def fcs(n):
    """Two layers for a network of calls."""
    return {"fc": nn.Linear(n, n), "out": nn.Linear(n, n)}


def randomised(module, seed=0):
    """The module in evaluation mode, with BatchNorm statistics and weights as after training."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            if part.affine:
                with torch.no_grad():
                    part.weight.normal_(1, 0.3, generator=generator)  # of either sign
                    part.bias.normal_(0, 0.3, generator=generator)
    return module.eval()


def captured(module, shape, batches=(1, 2, 5)):
    """The graph, after checking that it gives what the module gives, for batches of any size."""
    graph, tensors, _ = capture(randomised(module), shape)
    for node in graph.nodes:  # a file may hold it
        assert OPS[node.op].misfit(node.attrs, node.inputs, node.tensors) is None
    network = Network(graph, tensors).eval()
    for batch in batches:
        x = 3 * torch.randn(batch, *shape)
        with torch.no_grad():
            expected = module(x.clone())
            torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
    return graph


def ops(graph):
    """The operations in order."""
    return [node.op for node in graph.nodes]


def refused(module, shape):
    """The error of a network that can't be captured."""
    with pytest.raises(UnsupportedError) as caught:
        capture(module, shape)
    assert caught.value.code == ExitCode.UNSUPPORTED
    return caught.value
