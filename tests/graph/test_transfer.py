"""Where transfer sites go: a site for each matrix that reads a function, and none too many."""

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import IMAGE, NETS, captured, images
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import TRANSFER
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites


class Lines(nn.Module):
    """Functions of one forward method, with the layers that it names."""

    def __init__(self, compute, **layers):
        super().__init__()
        self.compute = compute
        for name, each in layers.items():
            self.add_module(name, each)

    def forward(self, x):
        return self.compute(self, x)


def placed(module, shape=IMAGE, **how):
    """The graph with its sites, and the one without; they compute the same."""
    torch.manual_seed(0)
    graph, tensors, _ = capture(module.eval(), shape, analog=True)
    found = with_transfer_sites(graph, tensors, **how)
    x = torch.randn(3, *shape)
    assert torch.equal(Network(graph, tensors)(x), Network(found, tensors)(x))
    again = with_transfer_sites(found, tensors, **how)
    assert again == found  # what is fed by spikes needs no other site
    return found, tensors


def sites(graph):
    return [(site.name, site.inputs[0]) for site in graph.sites if site.op == TRANSFER]


def silent_matrices(graph, tensors):
    """The matrices behind the first layer that analog values feed."""
    analysis = Analysis.of(graph, tensors)
    return [n.name for n in graph.nodes if n.name in analysis.fed_by_analog and n.op in MATRICES]


MATRICES = ("linear", "conv", "conv_transpose")


@pytest.mark.parametrize("net", NETS)
def test_a_network_of_relus_gets_none(net):
    graph, tensors = captured(NETS[net]())
    assert with_transfer_sites(graph, tensors) == graph


@pytest.mark.parametrize("act", [nn.GELU(), nn.SiLU(), nn.Mish(), nn.ELU(), nn.Hardswish()])
def test_a_function_before_a_convolution_gets_one_a_channel(act):
    net = nn.Sequential(nn.Conv2d(2, 4, 3), act, nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten())
    graph, _ = placed(nn.Sequential(*net, nn.Linear(20, 4)))
    assert sites(graph) == [("1.spikes", "1")]


def test_tokens_have_their_channels_last():
    net = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 4), nn.Flatten())
    graph, tensors = placed(nn.Sequential(*net, nn.Linear(12, 3)), (3, 6))
    assert [node.name for node in graph.nodes][1:5] == ["1", "1.channels", "1.spikes", "1.tokens"]
    assert Analysis.of(graph, tensors).shapes["1.spikes"] == (8, 3)
    assert graph["2"].inputs == ("1.tokens",)


def test_several_matrices_share_one():
    def compute(m, x):
        y = F.gelu(m.a(x))
        return m.b(y) + m.c(y)

    layers = {name: nn.Linear(4, 4) for name in "abc"}
    graph, _ = placed(Lines(compute, **layers), (4,))
    ((site, _),) = sites(graph)
    assert graph["b"].inputs == graph["c"].inputs == (site,)


def test_functions_and_sums_that_feed_functions_have_none():
    def compute(m, x):
        y = m.a(x)
        y = y + m.b(m.norm(y))
        return m.c(m.last(y).tanh())

    layers = {name: nn.Linear(4, 4) for name in "abc"}
    graph, tensors = placed(
        Lines(compute, norm=nn.LayerNorm(4), last=nn.LayerNorm(4), **layers), (4,)
    )
    assert [value for _, value in sites(graph)] == ["norm", "tanh"]
    assert silent_matrices(graph, tensors) == []


def test_a_sum_of_functions_is_a_sum_of_spikes():
    def compute(m, x):
        y = F.silu(m.a(x))
        return m.c(F.silu(m.b(y)) + y)

    graph, _ = placed(Lines(compute, **{name: nn.Linear(4, 4) for name in "abc"}), (4,))
    assert [value for _, value in sites(graph)] == ["silu", "silu_1"]
    add = next(node for node in graph.nodes if node.op == "add")
    assert set(add.inputs) == {name for name, _ in sites(graph)}


def test_the_site_stands_before_an_average_and_before_an_expansion():
    pooled = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.AvgPool2d(2), nn.Conv2d(4, 3, 1))
    graph, _ = placed(nn.Sequential(*pooled, nn.Flatten(), nn.Linear(12, 4)))
    assert [value for _, value in sites(graph)] == ["1"]
    wide = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Upsample(scale_factor=2))
    graph, _ = placed(nn.Sequential(*wide, nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(72, 4)))
    assert [value for _, value in sites(graph)] == ["1"]


def test_channels_are_told_before_they_are_flattened():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(64, 4))
    graph, tensors = placed(net)
    assert [value for _, value in sites(graph)] == ["1"]
    assert Analysis.of(graph, tensors).shapes["1.spikes"][0] == 4


def test_a_bottleneck_has_one_only_if_everything_spikes():
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64, 4)),
    )
    graph, tensors = placed(net)
    assert sites(graph) == []
    assert silent_matrices(graph, tensors) == ["3"]
    graph, tensors = placed(net, everything=True)
    assert [value for _, value in sites(graph)] == ["2"]
    assert silent_matrices(graph, tensors) == []
    assert Analysis.of(graph, tensors).work_count.non_spiking_share == 0


def test_the_input_has_one_if_it_is_asked_for():
    graph, _ = placed(nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU()), of_input=True)
    assert [value for _, value in sites(graph)] == ["input"]
    assert graph.nodes[0].name == "input.spikes"


def test_names_that_are_taken_are_left_alone():
    def compute(m, x):
        return m.c(F.silu(m.get_submodule("silu")(x)))

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.silu = nn.ModuleDict({"spikes": nn.Linear(4, 4)})
            self.c = nn.Linear(4, 4)

        def forward(self, x):
            return self.c(F.silu(self.silu["spikes"](x)))

    graph, _ = placed(Odd(), (4,))
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)


def test_pooled_maxima_of_functions_count_as_a_function():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1))
    graph, tensors = placed(nn.Sequential(*net, nn.Flatten(), nn.Linear(12, 4)))
    assert [value for _, value in sites(graph)] == ["2"]
    assert silent_matrices(graph, tensors) == ["5"]  # it reads the currents of a convolution


def test_images_are_the_size_of_the_helpers():
    assert images(1).shape[1:] == IMAGE
