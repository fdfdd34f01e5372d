import pytest
import torch
from helpers.networks import IMAGE, captured, forked, images, maxed, residual, vgg
from torch import nn

from snnconv.errors import UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.network import Network
from snnconv.graph.rewrite import qcfs_thresholds, with_average_pools, with_qcfs


def thetas(graph, value=2.0):
    return {site.name: torch.tensor([value]) for site in graph.sites}


@pytest.mark.parametrize("net", [vgg, residual, forked])
def test_at_many_levels_and_a_high_theta_it_is_the_network(net):
    graph, tensors = captured(net())
    changed, more = with_qcfs(graph, tensors, thetas(graph, 2.0**6), 2**16)
    assert [site.op for site in changed.sites] == ["qcfs"] * len(graph.sites)
    assert [site.name for site in changed.sites] == [site.name for site in graph.sites]
    x = images(3)
    plain, fine = Network(graph, tensors)(x), Network(changed, more)(x)
    assert torch.allclose(plain, fine, atol=0.05)
    assert not torch.equal(plain, fine)


def test_theta_is_a_tensor_that_learns():
    graph, tensors = captured(vgg())
    changed, more = with_qcfs(graph, tensors, thetas(graph, 0.5), 4)
    network = Network(changed, more)
    network(images(4)).square().sum().backward()
    found = qcfs_thresholds(changed, network.tensors())
    assert {name: theta.tolist() for name, theta in found.items()} == {
        site.name: [0.5] for site in graph.sites
    }
    for site in changed.sites:
        assert network.tensor(site.tensors["threshold"]).grad.abs().sum() > 0


def test_once_more_it_takes_other_thetas_and_levels():
    graph, tensors = captured(vgg())
    once, more = with_qcfs(graph, tensors, thetas(graph), 4)
    again, last = with_qcfs(once, more, thetas(once, 3.0), 8)
    assert {site.attrs["levels"] for site in again.sites} == {8}
    assert {float(theta) for theta in qcfs_thresholds(again, last).values()} == {3.0}
    assert last.keys() == more.keys()


def test_a_clip_caps_theta():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU6(), nn.Linear(5, 4))
    graph, tensors, _ = capture(net.eval(), IMAGE)
    _, more = with_qcfs(graph, tensors, thetas(graph, 8.0), 4)
    assert [float(t) for n, t in more.items() if n.endswith("threshold")] == [6.0]


def test_average_pooling_takes_the_place_of_max_pooling():
    graph, tensors = captured(maxed())
    changed, names = with_average_pools(graph)
    assert names == [node.name for node in graph.nodes if node.op == "max_pool"] != []
    assert Analysis.of(changed, tensors).shapes == Analysis.of(graph, tensors).shapes
    pool = changed[names[0]]
    x = torch.rand(2, 4, 6, 6)
    expected = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)(x)
    assert torch.equal(Network(changed, tensors).compute(pool, [x]), expected)


def test_a_network_without_max_pooling_stays():
    graph, _ = captured(vgg())
    assert with_average_pools(graph) == (graph, [])


def test_a_window_with_gaps_is_no_average():
    net = nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    graph, *_ = capture(net.eval(), IMAGE)
    with pytest.raises(UnsupportedError, match="dilation") as caught:
        with_average_pools(graph)
    assert "--pool keep" in caught.value.remedy
