"""A network of any function through the stages: it converts, and obstacles are named."""

import json

import pytest
import torch
from helpers.runs import calibrating, converting, evaluating
from torch import nn

import snnconv
from snnconv.errors import ObstaclesError, UsageError
from snnconv.render.describe import describe
from snnconv.render.plain import plain

NET = """
from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.GELU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 2), nn.ReLU(),
        nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 10),
    )
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "net.py").write_text(NET)
    return folder


def test_functions_are_refused_with_a_remedy_that_works(run):
    model = f"{run / 'net.py'}:net"
    with pytest.raises(ObstaclesError) as caught:
        calibrating(run, model=model)
    assert {obstacle.place for obstacle in caught.value.obstacles} == {"1", "6"}
    assert all("--non-relu spike" in obstacle.remedy for obstacle in caught.value.obstacles)
    found = calibrating(run, model=model, non_relu="spike", samples=100)
    assert [site.name for site in found.sites] == ["1.spikes", "4", "6.spikes"]
    assert found.non_spiking_share > 0  # the bottleneck in the middle
    found = calibrating(run, model=model, spike_everything=True, samples=100)
    everything = ["1.spikes", "2.spikes", "4", "6.spikes"]
    assert [site.name for site in found.sites] == everything
    shown = snnconv.inspect(model, data="digits", spike_everything=True)
    assert [node.name for node in shown.nodes if node.role == "site"] == everything
    assert shown.non_spiking_share == found.non_spiking_share == 0


def test_it_is_measured_as_others_are(run):
    model = f"{run / 'net.py'}:net"
    calibrating(run, model=model, spike_everything=True, samples=100)
    converting(run, neuron="signed", param={"spikes": 4}, timesteps=32)
    found = evaluating(run, limit=60)
    assert found.agreement[-1] > 0.9
    report = json.loads((run / "evaluate.json").read_text())
    rows = {row["name"]: row for row in report["layers"]}
    assert list(rows) == ["1.spikes", "2.spikes", "4", "6.spikes"]
    assert rows["1.spikes"]["firing_rate"] > 0
    # nobody is inactivated where the activation may be negative
    sin = [row["sin_ratio"] is None for row in rows.values()]
    assert sin == [True, True, False, True]


def test_functions_are_counted_by_kind_and_shown_apart(run):
    """GELU of 8 x 3 x 3 values and a LayerNorm of 32, recomputed by hand; the second is watched."""
    model, T = f"{run / 'net.py'}:net", 4
    calibrating(run, model=model, spike_everything=True, samples=100)
    converting(run, neuron="signed", param={"spikes": 4}, timesteps=T)
    found = evaluating(run, limit=20, energy_lookup_pj=5.0)
    assert found.non_spiking_share == 0
    gelu, norm = found.functions
    # the input is constant up to GELU, whose 72 values are looked up once
    assert (gelu.operation, gelu.times, gelu.changed_share) == ("gelu", 1, 1)
    assert (gelu.lookups, gelu.macs, gelu.additions) == (72, 0, 0)
    # products: 32 means of spikes, the mean and its variance, squares, 32 scaled and 32 weighted,
    # and 32 with t; additions: 32 sums of spikes, 31 for the mean, 32 differences
    assert (norm.operation, norm.times) == ("layer_norm", T)
    assert (norm.lookups, norm.macs, norm.additions) == (1, 32 * 5 + 2, 32 * 3 - 1)
    every = found.function_work.every_step
    assert (every.lookups, every.macs, every.additions) == (72 + T, T * 162, T * 95)
    assert found.energy_functions_mj == pytest.approx(
        (5 * (72 + T) + 4.6 * T * 162 + 0.9 * T * 95) * 1e-9
    )
    assert found.energy_ann_functions_mj == pytest.approx(
        (5 * 73 + 4.6 * (162 - 64) + 0.9 * (95 - 32)) * 1e-9
    )
    macs = found.first_layer_macs_per_sample
    spent = 0.9 * found.sops_per_sample + 4.6 * macs
    assert found.energy_total_mj == pytest.approx(spent * 1e-9 + found.energy_functions_mj)
    assert 0.9 < norm.changed_share <= 1  # a mean changes at nearly every step
    shown = " ".join(plain(describe(found)).split())
    assert "a chip would have to compute gelu, layer_norm: 76 look-ups" in shown
    assert "functions, where an input changed" in shown


def test_neurons_without_signs_are_refused_before_anything_is_written(run):
    model = f"{run / 'net.py'}:net"
    calibrating(run, model=model, non_relu="spike", samples=100)
    before = sorted(run.iterdir())
    for neuron, param in (("if", {}), ("msat", {}), ("signed", {"preset": "burst"})):
        with pytest.raises(UsageError, match="transfer sites"):
            converting(run, neuron=neuron, param=param, timesteps=4)
    assert sorted(run.iterdir()) == before


def test_a_live_module_converts_in_memory():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3)).eval()
    x = torch.randn(200, 6)
    snn = snnconv.convert_module(
        net, x, neuron="signed", param={"spikes": 4}, timesteps=64, non_relu="spike"
    )
    error = (snn(x) - net(x)).norm() / net(x).norm()
    assert error < 0.05


def test_changes_are_sent_from_transfer_sites_too():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
    ).eval()
    x = torch.randn(200, 6)
    snn = snnconv.convert_module(
        net,
        x,
        neuron="signed",
        param={"spikes": 4},
        timesteps=64,
        non_relu="spike",
        coding="differential",
    )
    assert (snn(x) - net(x)).norm() / net(x).norm() < 0.05
