from dataclasses import replace

import pytest
import torch
from helpers.networks import checkpoint, images, maxed, mlp, recorded, rounded, vgg
from torch import nn

from snnconv.checkpoint.contents import neuron_params
from snnconv.core.metadata import SpikingInfo
from snnconv.errors import CheckpointError, ExitCode, UsageError
from snnconv.simulation.build import (
    ann_inputs,
    confident_sites,
    learned,
    measure_confidence,
    spiking_network,
)

CPU = torch.device("cpu")


def normed():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),  # behind a site: an affine
        nn.Flatten(),
        nn.Linear(64, 4),
    )
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return net


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


# From a checkpoint to a network


@pytest.mark.parametrize("module", [vgg, maxed, mlp, normed])
def test_folded_or_not_the_logits_are_the_same(module):
    converted, x = checkpoint(module(), theta=0.5), images(3)
    kept, folded = (spiking_network(converted, folded=f).eval() for f in (False, True))
    ann, _ = ann_inputs(kept.network, x)
    torch.testing.assert_close(ann_inputs(folded.network, x)[0], ann, rtol=1e-4, atol=1e-4)
    expected, _ = recorded(kept, x, 8)
    torch.testing.assert_close(recorded(folded, x, 8)[0], expected, rtol=1e-4, atol=1e-4)


def test_only_what_runs_is_folded():
    ops = [
        [node.op for node in spiking_network(checkpoint(normed()), folded=f).network.graph.nodes]
        for f in (False, True)
    ]
    assert "batch_norm" in ops[0]
    assert ops[1] == ["conv", "relu", "affine", "reshape", "linear"]


def test_images_run_in_channels_last_memory():
    weight = spiking_network(checkpoint(vgg())).network.tensor("3.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_thresholds_and_parameters_reach_the_neurons():
    converted = checkpoint(vgg(), theta=0.75, params={"v0": 0.25})
    assert neuron_params(converted.spiking).v0 == 0.25
    snn = spiking_network(converted)
    assert {float(neuron.threshold) for neuron in snn.neurons.values()} == {0.75}
    assert {neuron.params.v0 for neuron in snn.neurons.values()} == {0.25}


def test_neurons_without_learned_parameters_save_none():
    assert learned(spiking_network(checkpoint(vgg()))) == {}


def test_ann_inputs_are_what_stands_before_the_sites():
    net, x = vgg(), images(2)
    logits, inputs = ann_inputs(spiking_network(checkpoint(net)).network, x)
    torch.testing.assert_close(inputs["1"], net[0](x).detach())
    torch.testing.assert_close(logits, net(x).detach())


@pytest.mark.parametrize("kind", ["ann", "calibrated"])
def test_a_checkpoint_without_neurons_cannot_run(kind):
    with pytest.raises(CheckpointError, match="no neurons") as caught:
        spiking_network(replace(checkpoint(vgg()), kind=kind, spiking=None))
    assert caught.value.code == ExitCode.CHECKPOINT
    assert caught.value.remedy == "snnconv convert"


def test_parameters_a_neuron_does_not_have():
    info = SpikingInfo(neuron="if", params={"leak": 1}, timesteps=4, seed=0)
    with pytest.raises(UsageError, match="neuron 'if' has no such parameter"):
        neuron_params(info)
