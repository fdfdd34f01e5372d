"""Gates of spikes: what becomes one, what passes, what is counted."""

from dataclasses import replace

import pytest
import torch
from helpers.commands import done, here, refused
from spikingjelly.activation_based.model.sew_resnet import sew_function
from torch import nn

from snnconv.checkpoint import load
from snnconv.errors import ExitCode, UsageError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.rewrite import with_gates
from snnconv.metrics.synops import Synops
from snnconv.simulation.build import spiking_network
from snnconv.testing.networks import images, measured, rounded, with_neurons
from snnconv.zoo.resnet import SewBlock

THETA, T = 0.5, 6


def graph_of(join):
    torch.manual_seed(0)
    stem = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()
    blocks = SewBlock(3, 3, 1, join), SewBlock(3, 3, 1, join)
    module = nn.Sequential(*stem, *blocks, nn.Flatten(), nn.Linear(108, 4))
    return capture(rounded(module), (2, 6, 6), analog=True)[:2]


@pytest.mark.parametrize("join", ["and", "iand"])
def test_what_passes_and_what_it_drives(join):
    """They are SpikingJelly's function of spikes; only spikes that pass drive synapses."""
    graph, tensors = with_gates(*graph_of(join), THETA)
    gates = [node for node in graph.nodes if node.op.startswith("spike_")]
    assert [node.op for node in gates] == [f"spike_{join}"] * 2
    assert not {"multiply", "affine"} & {node.op for node in graph.nodes}
    snn = with_neurons(graph, tensors, THETA)
    spikes, x = {}, images(4)
    snn(x[None], T, torch.arange(4), None, lambda name, start, out: spikes.update({name: out}))
    for gate in gates:
        inner, beside = (graph[name] for name in gate.inputs)
        beside = graph[beside.inputs[0]] if beside.op == "identity" else beside
        a, s = (spikes[node.name].values / THETA for node in (inner, beside))
        assert torch.equal(spikes[gate.name].values / THETA, sew_function(s, a, join.upper()))
        assert torch.equal(spikes[gate.name].counts, spikes[gate.name].values / THETA)
        assert 0 < spikes[gate.name].counts.mean() < 1
    whole = measured(snn, x, torch.zeros(4, dtype=torch.long), T, {"synops": Synops})
    last = whole.layers[gates[-1].name]["sops_per_sample"]
    assert last == 4 * spikes[gates[-1].name].counts.sum() / 4  # to four classes, of four samples
    inner = gates[-1].inputs[0]
    assert whole.layers[inner]["sops_per_sample"] == 0
    parts = measured(snn, x, torch.zeros(4, dtype=torch.long), T, {"synops": Synops}, chunk=2)
    assert parts.totals == whole.totals


def test_other_products_stay():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return (2 - self.one(x)) * self.two(x)

    graph, _ = with_gates(*capture(Scaled(), (4,), analog=True)[:2], 1.0)
    assert [node.op for node in graph.nodes] == ["relu", "affine", "relu", "multiply"]


def test_it_is_trained_and_measured(tmp_path):
    """By command, with neurons of one threshold; spikes of several levels are refused."""
    model = "resnet20?block=sew-iand&width=0.125"
    small = ("--limit", 17, "--batch-size", 8, "--epochs", 1, "--timesteps", 2, "--run", tmp_path)
    done("train", model, "--neuron", "if", "--theta", 0.5, *small)
    made = load(tmp_path / "trained.safetensors")
    gates = [node for node in made.graph.nodes if node.op == "spike_iand"]
    assert [node.attrs["unit"] for node in gates] == [0.5] * 9
    done("evaluate", "--limit", 10, "--metric", "accuracy", "--run", tmp_path)
    levels = made.spiking.model_copy(update={"neuron": "lm-ht", "params": {"levels": 2}})
    with pytest.raises(UsageError, match="can't be used with gates"):
        spiking_network(replace(made, spiking=levels, neurons={}))
    export = here("export", "--to", "nir", "--run", tmp_path)
    refused(export, ExitCode.UNSUPPORTED, "can't be", "spike_iand")
