import pytest
import torch
from helpers.networks import checkpoint, images, recorded, rounded, vgg
from torch import nn

from snnconv.errors import UsageError
from snnconv.graph.network import ann_inputs
from snnconv.simulation.build import spiking_network
from snnconv.simulation.confidence import confident_sites, measure_confidence

CPU = torch.device("cpu")


# Where confidence acts

SITES = ["1", "4"]


@pytest.mark.parametrize(
    ("wanted", "sites"),
    [("off", []), ("last", ["4"]), ("all", SITES), ("1", ["1"]), ("4,1", ["4", "1"])],
)
def test_sites_of_confidence(wanted, sites):
    graph = checkpoint(vgg()).graph
    assert [site.name for site in graph.sites] == SITES
    assert confident_sites(graph, wanted) == sites


@pytest.mark.parametrize("wanted", ["lasst", "1,9", "2", ""])
def test_a_name_that_is_no_site(wanted):
    with pytest.raises(UsageError) as caught:
        confident_sites(checkpoint(vgg()).graph, wanted)
    assert "one of: 1, 4" in caught.value.remedy


def test_the_closest_name_is_suggested():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x):
            return self.relu(self.first(x))

    with pytest.raises(UsageError, match="did you mean 'relu'"):
        confident_sites(checkpoint(Named(), (4,)).graph, "rely")


# Its measurement


def in_batches(x, size):
    indices = torch.arange(len(x))
    return [
        (part, x[part][None], torch.zeros(len(part), dtype=torch.int64))
        for part in indices.split(size)
    ]


def confidence(size=6, early=4):
    converted = checkpoint(rounded(vgg()), theta=0.5)
    done = []
    info = measure_confidence(
        converted, SITES, early, in_batches(images(6), size), CPU, done.append
    )
    assert sum(done) == 6
    return info


def test_confidence_is_one_minus_the_share_of_inactivated_neurons_that_have_fired():
    snn, x = spiking_network(checkpoint(rounded(vgg()), theta=0.5)).eval(), images(6)
    _, inputs = ann_inputs(snn.network, x)
    _, seen = recorded(snn, x, 4)
    info = confidence()
    assert info.early == 4
    for site in SITES:
        fired = seen[site].counts.sum(0) > 0
        wrong = sum(
            bool(f) and float(a) < 0
            for f, a in zip(fired.flatten(), inputs[site].flatten(), strict=True)
        )
        assert info.keep[site] == pytest.approx(1 - wrong / fired.numel(), abs=1e-12)
    assert info.keep["1"] == 1  # constant currents never make an inactivated neuron fire
    assert 0 < info.keep["4"] < 1


def test_confidence_does_not_hang_on_batches():
    assert confidence(1) == confidence(4) == confidence(6)


def test_confidence_is_asked_for_some_sites_only():
    converted = checkpoint(rounded(vgg()), theta=0.5)
    info = measure_confidence(converted, ["4"], 4, in_batches(images(2), 2), CPU, lambda n: None)
    assert list(info.keep) == ["4"]
