from dataclasses import replace

import pytest
import torch
from helpers.networks import checkpoint, images, maxed, mlp, recorded, vgg
from torch import nn

from snnconv.checkpoint.contents import neuron_params
from snnconv.core.metadata import SpikingInfo
from snnconv.errors import CheckpointError, ExitCode, UsageError
from snnconv.graph.network import ann_inputs
from snnconv.simulation.build import learned, spiking_network

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
