"""Networks whose neurons wait: what runs before the T steps, what is drawn, and the latency."""

import pytest
import torch
from helpers.networks import NETS, images, measured, recorded, spiking
from torch import nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.engine.layer_output import ObserverNeeds
from snnconv.graph.network import ann_inputs
from snnconv.neurons.base import NEURONS
from snnconv.neurons.cos import COS
from snnconv.neurons.if_ import IF
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.srp import SRP
from snnconv.neurons.tpp import TPP
from snnconv.simulation.simulate import simulate

T, TAU, COUNT = 8, 3, 3
every_net = pytest.mark.parametrize("net", NETS)
every_kind = pytest.mark.parametrize("kind", [SRP, COS, TPP])


def network(net, kind, theta=0.5, **given):
    params = kind.params_type(tau=TAU) if kind is SRP else kind.params_type()
    return spiking(NETS[net](), kind=kind, params=params, theta=theta, **given)


def seen_by(snn, x, timesteps=T, chunk=None, samples=None):
    """Logits, and ``{node: (first step, counts, values)}``, with the steps before the T steps."""
    parts = {}
    samples = torch.arange(len(x)) if samples is None else samples

    def observe(name, start, output):
        parts.setdefault(name, []).append((start, output.counts, output.values_or_mean))

    needs = ObserverNeeds(lead=True)
    logits = simulate(snn, x[None], samples, timesteps, chunk or timesteps, observe, needs)
    found = {}
    for name, rows in parts.items():
        starts, counts, values = zip(*rows, strict=True)
        found[name] = (starts[0], torch.cat(counts), torch.cat(values))
    return logits, found


@every_net
def test_an_observer_sees_the_steps_before_and_chunks_change_none(net):
    snn, x = network(net, SRP), images(COUNT)
    logits, whole = seen_by(snn, x)
    for start, counts, _ in whole.values():
        assert (start, len(counts)) == (-TAU, TAU + T)
    for chunk in (1, 2, 5):
        again, parts = seen_by(snn, x, chunk=chunk)
        assert torch.equal(again, logits)
        for name, (start, counts, values) in whole.items():
            assert parts[name][0] == start
            assert torch.equal(parts[name][1], counts)
            assert torch.equal(parts[name][2], values)


def test_who_does_not_ask_for_the_steps_before_does_not_see_them():
    snn, x = network("vgg", SRP), images(COUNT)
    logits, seen = recorded(snn, x, T)
    whole, parts = seen_by(snn, x)
    assert torch.equal(logits, whole)
    for name, spikes in seen.items():
        assert torch.equal(spikes.counts, parts[name][1][TAU:])


@every_net
@every_kind
def test_samples_do_not_see_each_other(net, kind):
    snn, x = network(net, kind), images(COUNT)
    logits, _ = seen_by(snn, x)
    alone = [seen_by(snn, x[i : i + 1], samples=torch.tensor([i]))[0] for i in range(COUNT)]
    assert torch.equal(torch.cat(alone, 1), logits)
    assert logits.std() > 0


def srp(weights, x, tau, theta=0.25):
    """The paper's network of two layers, one sample, in plain loops over steps."""
    (w1, b1), (w2, b2), (w3, b3) = weights

    def run(steps, masks):
        potentials = [torch.full((len(b),), theta / 2) for b in (b1, b2)]
        logits = torch.zeros(len(b3))
        for _ in range(steps):
            given = x.flatten()
            for layer, (w, b) in enumerate(((w1, b1), (w2, b2))):
                potentials[layer] = potentials[layer] + (w @ given + b)
                spikes = (potentials[layer] >= theta) * theta
                potentials[layer] = potentials[layer] - spikes
                given = spikes * masks[layer]
            logits = logits + w3 @ given + b3
        return logits / steps, potentials

    _, left = run(tau, [torch.ones(len(b)) for b in (b1, b2)])
    return run(T, [(v > 1e-3 * theta).float() for v in left])[0]


def wide():
    torch.manual_seed(0)
    sites = nn.Linear(72, 50), nn.ReLU(), nn.Linear(50, 40), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *sites, nn.Linear(40, 4))


def test_an_srp_network_is_the_papers():
    x, silenced = images(10), []
    plain, _ = seen_by(spiking(wide(), kind=IF, theta=0.25), x)
    for tau in (1, 2, 5):
        snn = spiking(wide(), kind=SRP, params=SRP.params_type(tau=tau), theta=0.25)
        tensors = snn.network.tensors()
        weights = [(tensors[f"{n}.weight"], tensors[f"{n}.bias"]) for n in ("1", "3", "5")]
        logits, _ = seen_by(snn, x)
        for i, sample in enumerate(x):
            torch.testing.assert_close(logits[-1, i].float(), srp(weights, sample, tau))
        silenced.append(not torch.equal(plain[-1], logits[-1]))
    assert any(silenced)


@every_net
def test_a_tpp_layer_puts_out_its_clipped_sum_rounded_down_or_up(net):
    snn, x = network(net, TPP), images(COUNT)
    _, seen = seen_by(snn, x)
    site = next(iter(snn.neurons))  # its currents do not change over time
    _, inputs = ann_inputs(snn.network, x)
    wanted = (inputs[site] * T / 0.5).clamp(0, T)
    total = seen[site][1].sum(0)
    assert ((total - wanted).abs() < 1).all()
    assert (total != wanted).any()


@every_kind
def test_a_max_pooling_pools_sums(kind):
    torch.manual_seed(0)
    sites = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU()
    net = nn.Sequential(*sites, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(27, 4))
    snn = spiking(net, kind=kind)
    lead = snn.lead
    _, seen = seen_by(snn, images(COUNT))
    _, (_, _, site), (_, _, pool) = seen.values()
    pooled = torch.nn.functional.max_pool2d(site[lead:].sum(0), 3, 2, 1)
    assert torch.equal(pool[lead:].sum(0), pooled)  # that of the T steps, whatever was before
    assert pooled.any()


def test_operations_and_energy_count_every_step_that_is_simulated():
    """Fully connected: each spike reaches all neurons of the next layer."""
    snn, x = network("mlp", SRP), images(COUNT)
    labels = torch.zeros(COUNT, dtype=torch.int64)
    found = measured(snn, x, labels, T, ["synops", "energy", "firing-rate", "sin", "accuracy"])
    _, seen = seen_by(snn, x)
    fan_out = dict(zip(seen, (7, 4), strict=True))
    steps = sum(counts.sum((1, 2)) * fan_out[name] for name, (_, counts, _) in seen.items())
    assert steps[:TAU].sum() > 0
    up_to = (steps.cumsum(0)[TAU:].double() / COUNT).tolist()
    totals = found.totals
    assert totals["sops_per_sample_steps"] == up_to
    assert totals["sops_per_sample"] == up_to[-1]
    first = 72 * 9
    assert totals["energy_total_mj"] == pytest.approx((0.9 * up_to[-1] + 4.6 * first) * 1e-9)
    every = (0.9 * up_to[-1] + 4.6 * first * (TAU + T)) * 1e-9
    assert totals["energy_total_every_step_mj"] == pytest.approx(every)
    spikes = [counts.sum((1, 2)) for _, counts, _ in seen.values()]
    assert totals["spikes_per_sample"] == pytest.approx(float(sum(spikes).sum()) / COUNT)
    rates = (sum(spikes)[TAU:].double() / COUNT / 16).tolist()
    assert totals["firing_rate_steps"] == pytest.approx(rates)
    assert len(totals["sin_ratio_steps"]) == len(totals["accuracy"]) == T


@every_kind
def test_spike_confidence_acts(kind):
    keep = ConfidenceInfo(early=T, keep={"2": 0.5})
    x = images(COUNT)
    _, whole = seen_by(network("mlp", kind), x)
    _, fewer = seen_by(network("mlp", kind, confidence=keep), x)
    lead = TAU if kind is SRP else 0
    assert 0 < fewer["2"][1][lead:].sum() < whole["2"][1][lead:].sum()


def test_what_is_drawn_hangs_on_the_seed():
    x = images(COUNT)
    one, same, other = (seen_by(network("mlp", TPP, seed=seed), x)[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


# Latency, by hand. The first layer's currents do not change over time: it need not wait for them.


def made(net, neuron, T, **params):
    kind = NEURONS.load(neuron)
    return spiking(NETS[net](), kind=kind, params=kind.params_type(**params), T=T)


@pytest.mark.parametrize(
    ("net", "neuron", "params", "steps"),
    [
        ("mlp", "if", {}, 4),
        ("mlp", "signed", {}, 4),
        ("mlp", "srp", {"tau": 5}, 5 + 4),
        ("identity", "srp", {"tau": 0}, 4),
        ("mlp", "tpp", {}, 2 * 4),  # two spiking layers, of T steps each
        ("mlp", "cos", {"rho": 1}, 2 * 4),
        ("mlp", "lm-ht", {}, 2 * 4),
        ("mlp", "lm-ht", {"omega": "identity"}, 4),
        ("mlp", "lm-ht", {"omega": "causal"}, 4),
        ("vgg", "tpp", {}, 2 * 4),
        ("max", "cos", {}, 2 * 4),
        ("identity", "tpp", {}, 3 * 4),  # the longer way: stem, block, sum
        ("shortcut", "lm-ht", {}, 3 * 4),
        ("concat", "cos", {}, 2 * 4),  # two branches side by side
    ],
)
def test_latency(net, neuron, params, steps):
    assert made(net, neuron, 4, **params).latency(4) == steps


@pytest.mark.parametrize("neuron", ["tpp", "lm-ht"])
def test_a_layer_of_one_step_waits_for_nothing(neuron):
    assert made("identity", neuron, 1).latency(1) == 1


def test_a_layer_waits_for_as_long_as_its_windows_are():
    snn = made("mlp", "lm-ht", 6)
    windows = torch.eye(3).repeat_interleave(2, 0).repeat_interleave(2, 1) / 2
    for neuron in snn.neurons.values():
        assert isinstance(neuron, LMHT)
        neuron.omega.data.copy_(windows)
    assert snn.answers(6) == (2, 4, 6)
    assert snn.latency(6) == 6 + 2


def test_where_the_input_changes_over_time_the_first_layer_waits_too():
    snn = spiking(NETS["mlp"](), kind=TPP, hold=1)
    assert snn.latency(4) == 3 * 4
