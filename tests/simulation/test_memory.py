import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.networks import IMAGE, NETS, captured, images, recorded, spiking
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.graph.analysis import Analysis
from snnconv.graph.signals import Signal
from snnconv.simulation.memory import BatchPlan, bytes_per_sample, plan_batch

WANTED = BatchPlan(64, 8)


def net(name):
    return Analysis.of(*captured(NETS[name]()))


def test_an_mlp_by_hand():
    # 72 inputs, sites of 9 and 7, 4 logits, T = 5. At the first site: its constant current and 10
    # copies of 9 at 5 steps, and its input expanded
    analysis = net("mlp")
    assert analysis.shapes["input"] == IMAGE
    kept = 12 * (9 + 7)
    assert bytes_per_sample(analysis, 5) == 4 * (kept + 9 + 10 * 9 * 5 + 9 * 5)
    with_hashes = kept + 9 + 18 * 9 * 5 + 9 * 5
    assert bytes_per_sample(analysis, 5, confident=True) == 4 * with_hashes


@pytest.mark.parametrize("name", NETS)
def test_more_steps_take_no_less_and_many_take_more(name):
    analysis = net(name)
    taken = [bytes_per_sample(analysis, steps) for steps in range(1, 20)]
    assert taken == sorted(taken)
    assert taken[-1] > 3 * taken[0]


@pytest.mark.parametrize("name", ["vgg", "max", "identity"])
@pytest.mark.parametrize("causal", [True, False])
@settings(deadline=None, max_examples=40)
@given(memory=st.integers(1, 4_000_000))
def test_a_portion_fits_and_no_larger_one_does(name, causal, memory):
    analysis = net(name)
    found = plan_batch(analysis, WANTED, memory, causal)
    assert 1 <= found.samples <= WANTED.samples
    assert 1 <= found.steps <= WANTED.steps
    taken = bytes_per_sample(analysis, found.steps)
    smallest = bytes_per_sample(analysis, 1 if causal else WANTED.steps)
    if memory < smallest:
        assert found == BatchPlan(1, 1 if causal else WANTED.steps)
        return
    assert taken * found.samples <= memory
    assert found.samples == WANTED.samples or taken * (found.samples + 1) > memory
    if found.steps < WANTED.steps:
        assert found.samples == 1
        assert bytes_per_sample(analysis, found.steps + 1) > memory


def test_portions_change_no_spike():
    snn, x = spiking(NETS["vgg"]()), images(6)
    whole, spikes = recorded(snn, x, 8)
    for memory in (2_000, 20_000, 10**9):
        at_once = plan_batch(snn.analysis, BatchPlan(6, 8), memory)
        parts = [
            recorded(snn, part, 8, at_once.steps, indices)
            for part, indices in zip(
                x.split(at_once.samples), torch.arange(6).split(at_once.samples), strict=True
            )
        ]
        assert torch.equal(torch.cat([logits for logits, _ in parts], 1), whole)
        for site, found in spikes.items():
            assert torch.equal(torch.cat([seen[site].counts for _, seen in parts], 1), found.counts)


MEASURE = """
import ctypes, sys
from pathlib import Path
import torch
from torch import nn
from helpers.layers import layer
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites
from snnconv.simulation.memory import bytes_per_sample
from snnconv.simulation.simulate import simulate
from snnconv.simulation.network import SpikingNetwork

torch.set_num_threads(1)
conv = lambda i, o: (nn.Conv2d(i, o, 3, padding=1), nn.ReLU())
NETS = {
    "classes": lambda: (*conv(2, 16), *conv(16, 32), nn.MaxPool2d(2), *conv(32, 64), nn.Flatten(),
                        nn.Linear(64 * 256, 4)),
    "maps": lambda: (*conv(2, 16), nn.Conv2d(16, 24, 1)),
    "tokens": lambda: (nn.Conv2d(2, 32, 4, 4), nn.Flatten(2), nn.Linear(64, 64), nn.GELU(),
                       nn.TransformerEncoderLayer(64, 8, 128, batch_first=True), nn.Flatten(),
                       nn.Linear(32 * 64, 4)),
}
name, kind, T, chunk, samples = *sys.argv[1:3], *map(int, sys.argv[3:])
graph, tensors, _ = capture(nn.Sequential(*NETS[name]()).eval(), (2, 32, 32), analog=True)
graph = with_transfer_sites(graph, tensors)
neurons = {s.name: layer(kind, 0.5, steps=T) for s in graph.sites}
snn = SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval()
snn = snn.to(memory_format=torch.channels_last)

def go(n):
    simulate(snn, torch.rand(1, n, 2, 32, 32), torch.arange(n), T, chunk)

def held(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) * 1024

go(1)
ctypes.CDLL(None).malloc_trim(0)  # what compiling has freed is not to be taken again
Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
before = held("VmRSS")
go(samples)
print(held("VmHWM") - before, samples * bytes_per_sample(snn.analysis, chunk, timesteps=T))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it in other ways")
@pytest.mark.parametrize(
    "given",
    ["classes msat 8 8 20", "classes lm-ht 8 8 20", "maps signed 64 4 5", "tokens signed 16 4 40"],
)
def test_what_is_counted_is_enough_and_not_far_too_much(given):
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, *given.split()],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    taken, counted = map(int, found.stdout.split())
    assert 5e6 < taken < counted < 8 * taken


def test_averages_of_all_steps_are_counted_whatever_is_computed_at_once():
    # 4 logits in float64 at 100 steps, and as much again for what a metric makes of them
    analysis = net("mlp")
    assert bytes_per_sample(analysis, 5, timesteps=100) - bytes_per_sample(analysis, 5) == 6400
    assert plan_batch(analysis, WANTED, 40_000).samples > 1
    assert plan_batch(analysis, WANTED, 40_000, timesteps=400).samples == 1


def test_frames_take_what_a_constant_input_does_not():
    analysis = replace(net("mlp"), source=Signal.FRAMES)
    # at the flattening: 72 inputs at each of 5 steps, alive and given, and three copies
    at_once = 4 * (12 * (9 + 7) + 5 * 72 * (1 + 1 + 3))
    assert bytes_per_sample(analysis, 5) == at_once
