import pytest
import torch
from helpers.nets import IMAGE, Calls, captured, flattened, ops
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.network import Network


class Normalise(nn.Module):
    """As networks carry their data's normalisation with them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4]))
        self.register_buffer("std", torch.tensor([0.25, 0.2]))

    def forward(self, x):
        return (x - self.mean[:, None, None]) / self.std.view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (lambda x: x + 1, ["affine"]),
        (lambda x: 1.5 + x, ["affine"]),
        (lambda x: x - 2, ["affine"]),
        (lambda x: 2 - x, ["affine"]),
        (lambda x: torch.rsub(x, 1), ["affine"]),
        (lambda x: torch.sub(x, 3, alpha=0.5), ["affine"]),
        (lambda x: torch.add(x, 3, alpha=0.5), ["affine"]),
        (lambda x: -x, ["affine"]),
        (torch.neg, ["affine"]),
        (lambda x: 3 * x, ["affine"]),
        (lambda x: x * 0.1, ["affine"]),
        (lambda x: x.mul(2).add(1), ["affine", "affine"]),
        (lambda x: x / 4, ["affine"]),
        (lambda x: x.div(4), ["affine"]),
        (lambda x: x + torch.arange(128.0).view(1, 2, 8, 8), ["affine"]),
        (lambda x: torch.arange(64.0).view(8, 8) - x, ["affine"]),
        (lambda x: x * torch.arange(8.0), ["affine"]),
        (lambda x: x / torch.arange(1.0, 17).view(2, 8, 1), ["affine"]),
        (lambda x: x + x, ["add"]),
        (lambda x: x - x.clamp(0), ["relu", "affine", "add"]),
        (lambda x: torch.add(x, x.relu(), alpha=2), ["relu", "affine", "add"]),
        (Normalise(), ["affine", "affine"]),
    ],
)
def test_sums_and_products_with_constants(part, expected):
    assert ops(captured(flattened(part), IMAGE))[:-1] == expected


class OneNumber(nn.Module):
    """A line on one number a sample."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = self.first(x).relu()
        return self.last(h) + (h.mean(1) * 2 - 0.1)[:, None]


def test_a_line_on_one_number_a_sample():
    net, x = OneNumber().eval(), torch.randn(5, 6)
    graph, tensors, _ = capture(net, (6,))
    assert "affine" in ops(graph)
    torch.testing.assert_close(Network(graph, tensors).eval()(x), net(x))


def test_a_constant_for_every_place_costs_a_spike_no_more():
    net = flattened(lambda x: x.relu() + torch.arange(64.0).view(8, 8))
    graph, tensors, _ = capture(net, IMAGE)
    assert [str(x) for x in Analysis(graph, {}).signals.values()] == ["constant", *["spikes"] * 3]
    assert (Analysis.of(graph, tensors).fan_out[graph.sites[0].name] == 1).all()


def test_a_change_in_place_by_a_constant_is_seen_by_later_readers():
    def forward(n, x):
        y = n.fc(x)
        y *= 2
        y += 1
        return n.out(y)

    net = Calls(forward, fc=nn.Linear(4, 4), out=nn.Linear(4, 4))
    assert ops(captured(net, (4,))) == ["linear", "affine", "affine", "linear"]


def test_a_constant_that_is_computed():
    net = Calls(lambda n, x: n.fc(x) * torch.exp(n.log_scale), fc=nn.Linear(4, 4))
    net.log_scale = nn.Parameter(torch.randn(4))
    assert ops(captured(net, (4,))) == ["linear", "affine"]
