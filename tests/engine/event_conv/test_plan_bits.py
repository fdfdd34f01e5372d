"""Where spikes are bits, and that they change nothing."""

import pytest
import torch
from helpers.layers import EVERY_LAYER
from helpers.networks import checkpoint, images, rounded
from torch import nn

from snnconv.engine.event_conv import plan
from snnconv.engine.layer_output import EVERYTHING, NOTHING, ObserverNeeds
from snnconv.simulation import network as module
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

T, COUNT = 8, 3


class Everything(nn.Module):
    """A shortcut, a concatenation, a mean, and readers that do not take bits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(2, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 48, 3, padding=1)
        self.wide, self.pool = nn.Conv2d(64, 32, 3, 1, 1), nn.AvgPool2d(2)
        self.pooled, self.most = nn.Conv2d(32, 32, 3, 1, 1), nn.MaxPool2d(2, 1)
        self.last = nn.Linear(32 * 4, 4)

    def forward(self, x):
        a = torch.relu(self.first(x))
        b = torch.relu(self.second(a) + a)
        c = torch.cat([torch.relu(self.left(b)), torch.relu(self.right(b))], 1)
        d = torch.relu(self.wide(c))
        e = torch.relu(self.pooled(self.pool(d)))
        return self.last(self.most(e).flatten(1))


def made(kind="if", params=None, engine="event"):
    net = rounded(Everything())
    given = checkpoint(net, neuron=kind, theta=0.5, params=params or {}, timesteps=T)
    return spiking_network(given, engine=engine).eval()


def carried(snn, monkeypatch, needs):
    """Which sites gave bits, by their number."""
    seen, inner = [], module.fire

    def spy(*args):
        found = inner(*args)
        seen.append(found[0].packed is not None)
        return found

    monkeypatch.setattr(module, "fire", spy)
    simulate(snn, images(COUNT)[None], torch.arange(COUNT), T, T, lambda *_: None, needs)
    monkeypatch.setattr(module, "fire", inner)
    return seen


@torch.no_grad()
def test_sites_whose_readers_all_take_bits_give_them(monkeypatch):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    # all but the last two, whose spikes a mean over places and a maximum read
    assert carried(made(), monkeypatch, NOTHING) == [True] * 4 + [False] * 2
    assert not any(carried(made(engine="dense"), monkeypatch, NOTHING)[:3])
    assert not any(carried(made("msat"), monkeypatch, NOTHING))


@pytest.mark.parametrize("needs", [EVERYTHING, ObserverNeeds(counts=False)])
def test_who_needs_values_gets_them(needs, monkeypatch):
    snn = made()
    assert not any(carried(snn, monkeypatch, needs))
    sizes = []

    def observe(name, start, output):
        sizes.append(len(output.values))

    simulate(snn, images(COUNT)[None], torch.arange(COUNT), T, T, observe, needs)
    assert set(sizes) == {T}


@pytest.mark.parametrize(("kind", "params"), EVERY_LAYER, ids=str)
@pytest.mark.parametrize("chunk", [T, 3])
def test_bits_change_no_logit(kind, params, chunk):
    snn = made(kind, params)
    chunk = chunk if snn.causal else T
    given = (snn, images(COUNT)[None], torch.arange(COUNT), T, chunk)
    assert torch.equal(simulate(*given), simulate(*given, lambda *_: None, EVERYTHING))


class Broadcast(nn.Module):
    """Additions of an image and of one place, one line or one channel, on either side."""

    def __init__(self, shape, swapped):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(2, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        height, width = shape
        self.other, self.swapped = nn.Conv2d(32, 32, (7 - height, 7 - width)), swapped
        self.last = nn.Linear(32 * 36, 4)

    def forward(self, x):
        a = torch.relu(self.first(x))
        small, large = self.other(a), self.second(a)
        if self.swapped:
            b = torch.relu(small + torch.relu(large))
        else:
            b = torch.relu(large + torch.relu(small))
        return self.last(b.flatten(1))


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (1, 6), (6, 6)])
@pytest.mark.parametrize("swapped", [True, False])
def test_additions_that_broadcast(shape, swapped):
    given = checkpoint(rounded(Broadcast(shape, swapped)), theta=0.5)
    found = []
    for engine in ("dense", "event", "auto"):
        snn = spiking_network(given, engine=engine).eval()
        for needs in (NOTHING, EVERYTHING):
            x = images(COUNT)[None]
            found.append(simulate(snn, x, torch.arange(COUNT), T, T, lambda *_: None, needs))
    assert all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize("engine", ["auto", "event", "dense"])
def test_no_samples(engine):
    snn = made(engine=engine)
    logits = simulate(snn, images(COUNT)[None, :0], torch.arange(0), T, T)
    assert logits.shape == (T, 0, 4)
