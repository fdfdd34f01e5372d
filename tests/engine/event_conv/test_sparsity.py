import pytest
import torch
import torch.nn.functional as F
from helpers.networks import checkpoint, images, recorded, rounded
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from snnconv.engine.event_conv.sparsity import (
    ASSUMED,
    assumed_rate,
    expected_rate,
    node_rates,
    share_inside,
)
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.simulation.build import spiking_network


def histogram(values):
    positive = values[values > 0]
    counts, edges = torch.histogram(positive, 4000, range=(0.0, float(values.max())))
    return edges, counts, float((values == 0).double().mean())


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_it_is_the_mean_of_the_clipped_activation(levels):
    values = torch.randn(20000, dtype=torch.float64).relu()
    theta = torch.tensor(2.0)
    found = expected_rate(*histogram(values), theta, levels)
    wanted = (values * levels / theta).clamp(max=1).mean()
    assert found == pytest.approx(float(wanted), abs=1e-3)


@given(st.floats(0.01, 10), st.integers(1, 8), st.floats(0, 1))
def test_it_is_a_share_and_rises_with_levels(theta, levels, zeros):
    edges, counts = torch.linspace(0, 3, 31, dtype=torch.float64), torch.rand(30).double()
    shares = [
        expected_rate(edges, counts, zeros, torch.tensor(theta), n) for n in (levels, levels + 1)
    ]
    assert 0 <= shares[0] <= shares[1] <= 1


def test_a_dead_layer_is_expected_to_be_silent():
    assert expected_rate(torch.linspace(0, 1, 5), torch.zeros(4), 1.0, torch.tensor(1.0), 1) == 0


def test_pools_are_silent_where_their_window_is():
    window = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "ceil_mode": False}
    window |= {"count_include_pad": True}
    nodes = (
        Node("one", "relu", (INPUT,), {}, {}),
        Node("two", "relu", (INPUT,), {}, {}),
        Node("pool", "avg_pool", ("one",), window, {}),
        Node("both", "concat", ("pool", "two"), {"dim": 1}, {}),
        Node("flat", "dropout", ("both",), {}, {}),
        Node("sum", "add", ("both", INPUT), {}, {}),
    )
    graph = Graph((1, 4, 4), nodes, "sum")
    found = node_rates(Analysis(graph, {}), {}, {"one": assumed_rate(1), "two": assumed_rate(2)})
    shares = {name: rate(1) for name, rate in found.items()}
    assert shares["pool"] == pytest.approx(1 - 0.9**4)
    assert shares["both"] == shares["flat"] == shares["pool"]
    assert shares[INPUT] == shares["sum"] == 1.0
    assert found["both"](3) == pytest.approx(1 - 0.9**12)


@pytest.mark.parametrize(("shift", "share"), [(0.0, 0.1), (0.5, 1.0)])
def test_what_is_shifted_is_never_silent(shift, share):
    nodes = (
        Node("one", "relu", (INPUT,), {}, {}),
        Node("line", "affine", ("one",), {}, {"scale": "a", "shift": "b"}),
        Node("sum", "add", ("line", "one"), {}, {}),
    )
    graph, tensors = (
        Graph((1, 4, 4), nodes, "sum"),
        {"a": torch.ones(1), "b": torch.tensor([shift])},
    )
    found = node_rates(Analysis(graph, {}), tensors, {"one": assumed_rate(1)})
    assert found["line"](1) == pytest.approx(share)
    assert found["sum"](1) == pytest.approx(min(1, share + 0.1))


@given(st.integers(1, 9), st.floats(0.1, 4))
def test_of_a_group_one_spikes_as_the_mean_over_neurons_says(group, theta):
    values = torch.randn(20000, dtype=torch.float64).relu()
    found = expected_rate(*histogram(values), torch.tensor(theta), 1, group)
    wanted = (1 - (1 - (values / theta).clamp(max=1)) ** group).mean()
    assert found == pytest.approx(float(wanted), abs=1e-2)


windows = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(1, 3))


@given(st.lists(st.integers(3, 7), min_size=1, max_size=2), windows)
def test_inside_counts_the_products_that_are_not_with_padding(size, window):
    stride, padding, dilation, kernel = window
    assume(min(size) + 2 * padding > dilation * (kernel - 1))
    attrs = {
        key: [value] * len(size)
        for key, value in zip(("stride", "padding", "dilation"), window, strict=False)
    }
    node = Node("conv", "conv", (INPUT,), attrs | {"groups": 1}, {})
    weight = torch.ones(1, 1, *[kernel] * len(size))
    convolve = (F.conv1d, F.conv2d)[len(size) - 1]
    products = convolve(torch.ones(1, 1, *size), weight, None, stride, padding, dilation)
    wanted = float(products.sum()) / (products.numel() * weight.numel())
    assert share_inside(node, weight, (1, *size)) == pytest.approx(wanted)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def test_a_simulation_is_about_as_active_as_expected():
    snn = spiking_network(checkpoint(rounded(net()), theta=2.0)).eval()
    _, spikes = recorded(snn, images(3), 32)
    (site,) = spikes.values()
    first = snn.network.graph.nodes[0]
    with torch.no_grad():
        values = snn.network.compute(first, [images(3)]).relu().double()
    share = expected_rate(*histogram(values), torch.tensor(2.0), 1)
    assert float(site.counts.mean()) == pytest.approx(share, abs=0.02)


def test_without_calibration_it_is_assumed_by_levels():
    for kind, params in (("if", {}), ("lm-ht", {"levels": 4})):
        made = checkpoint(rounded(net()), neuron=kind, theta=2.0, params=params)
        snn = spiking_network(made).eval()
        *_, last = snn.network.graph.nodes
        assert snn.input_rates[last.name] == pytest.approx(ASSUMED * params.get("levels", 1))
