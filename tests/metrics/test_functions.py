"""What functions cost where an input has changed, against traces by hand."""

import pytest
import torch
from helpers.networks import measured
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.codings.differential import DifferentialCoding
from snnconv.simulation.codings.rate import RateCoding
from snnconv.simulation.network import SpikingNetwork

T = 5


def snn_of(net, shape, coding):
    graph, tensors, _ = capture(net.eval(), shape, analog=True)
    graph = with_transfer_sites(graph, tensors)
    params = Params(hysteresis=0)
    neurons = {
        site.name: coding.neuron(Signed(params, torch.tensor([1.0]))) for site in graph.sites
    }
    return SpikingNetwork(Network(graph, tensors), neurons, 0, None, coding=coding).eval()


def figures(snn, x, **options):
    labels = torch.zeros(len(x), dtype=torch.int64)
    return measured(snn, x, labels, T, ["functions"], **options).totals


@pytest.mark.parametrize(
    ("coding", "changed"),
    [
        # the third neuron fires 0 1 0 0 0: its mean changes at every step, the others' never
        (RateCoding(), 1 + 4 / 3),
        # it sends changes 0 1 -1 0 0, and its mean stays at 1/6
        (DifferentialCoding(), 1 + 2 / 3),
    ],
)
def test_a_function_is_computed_anew_where_a_mean_has_changed(coding, changed):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Tanh(), nn.Linear(3, 2))
    net[0].weight.data = torch.eye(3)
    found = figures(snn_of(net, (3,), coding), torch.tensor([[1.0, 1.0, 0.25]]))
    (row,) = found["functions"]
    assert row["changed_share"] == pytest.approx(changed / T)
    assert (row["lookups"], row["times"]) == (3, T)
    assert found["function_work"]["where_changed"]["lookups"] == pytest.approx(3 * changed)
    assert found["function_work"]["every_step"]["lookups"] == 3 * T
    assert found["function_work"]["ann"] == {"lookups": 3, "macs": 0, "additions": 0}
    ratio = found["energy_functions_changed_mj"] / found["energy_functions_mj"]
    assert ratio == pytest.approx(changed / T)


def test_energy_with_memory_has_running_means_at_every_step():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Tanh(), nn.Linear(3, 2))
    snn, labels = snn_of(net, (3,), RateCoding()), torch.zeros(1, dtype=torch.int64)
    found = measured(snn, torch.ones(1, 3), labels, T, ["synops", "events", "energy-memory"])
    rows = sum(row["energy_memory_terms_mj"]["operations"] for row in found.layers.values())
    (running,) = snn.analysis.running.values()
    assert running.additions > 0
    each_step = 3.2 * running.products + 0.1 * running.additions
    others = found.totals["energy_memory_terms_mj"]["operations"] - rows
    assert others == pytest.approx((3.2 * 9 + T * each_step) * 1e-9)


def test_a_product_and_a_sum_count_what_reaches_them():
    """A product of two values is done anew if either changes; a sum adds up what comes in."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.end = (nn.Linear(2, 2, bias=False) for _ in range(3))
            for layer in (self.a, self.b):
                layer.weight.data = torch.eye(2)

        def forward(self, x):
            x = self.a(x).relu()
            y = self.b(x)
            return self.end((y + y.mean(1, keepdim=True)) * y)

    # 1 is sent at every step; 0.25 at the second alone, where its mean changes from then on
    snn = snn_of(Net(), (2,), RateCoding())
    rows = {row["operation"]: row for row in figures(snn, torch.tensor([[1.0, 0.25]]))["functions"]}
    assert list(rows) == ["mean", "add", "multiply"]
    # two additions' worth of inputs: both come in at the second step, one at the others
    assert rows["mean"]["changed_share"] == pytest.approx((2 + 4 * 1) / (2 * T))
    assert rows["add"]["changed_share"] == 1  # the mean is never zero
    assert rows["multiply"]["changed_share"] == 1  # one factor has the mean in it


@pytest.mark.parametrize("chunk", [1, 2])
def test_chunks_and_batches_change_nothing(chunk):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4), nn.LayerNorm(4))
    snn = snn_of(nn.Sequential(*net, nn.Linear(4, 2)), (4,), DifferentialCoding())
    x = torch.randn(6, 4).mul(8).round() / 8
    whole = figures(snn, x)
    parts = figures(snn, x, chunk=chunk, batches=[torch.arange(2), torch.arange(2, 6)])
    assert parts == whole
    assert 1 / T < whole["functions"][0]["changed_share"] <= 1


def test_a_network_without_functions_says_nothing():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert figures(snn_of(net, (3,), RateCoding()), torch.ones(1, 3)) == {}
