"""Differential coding: by hand, beside the paper's own form, and as a coding of whole networks."""

import pytest
import torch
from helpers.networks import NETS, images, layered, measured, recorded, spiking
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.errors import UsageError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.ir import INPUT
from snnconv.graph.network import ann_inputs
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.if_ import IF
from snnconv.neurons.if_ import Params as IFParams
from snnconv.neurons.msat import MSAT
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.codings.differential import DifferentialCoding, DifferentialNeuron
from snnconv.simulation.codings.rate import RateCoding
from snnconv.testing import laws
from snnconv.testing.networks import with_neurons

T, COUNT, THETA = 8, 3, 0.5371
CODING = DifferentialCoding()
SIGN = "counts are integers up to the levels"
"""A law that holds for amplitudes of counts; a change has a sign of its own."""


def changing(theta=1.0, ceiling=None, **params):
    neuron = Signed(Params(**params), torch.tensor([theta], dtype=torch.float64))
    neuron.ceiling = None if ceiling is None else torch.tensor(ceiling, dtype=torch.float64)
    return CODING.neuron(neuron)


def sequence(currents):
    return torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1)


# One neuron


def test_a_trace_by_hand():
    """theta = 1, v0 = 1/2, one spike a step, and 5/8 at every step.

    t   v before firing            s   sent y       mean r
    1   1/2 + 5/8 - 0   = 9/8      1   0 + 1        1
    2   1/8 + 5/8 - 1   = -1/4    -1   1 - 1        1/2     (2*r = 2 spikes may be taken back)
    3   3/4 + 5/8 - 1/2 = 7/8      0   1/2          1/2
    4   7/8 + 5/8 - 1/2 = 1        1   1/2 + 1      3/4
    5   0 + 5/8 - 3/4   = -1/8    -1   3/4 - 1      11/20   (5*r = 3.75 spikes, three whole ones)
    """
    neuron = CODING.neuron(IF(IFParams(), torch.ones(1, dtype=torch.float64)))
    (counts, values), state = neuron(sequence([0.625] * 5))
    assert counts.flatten().tolist() == [1, -1, 0, 1, -1]
    assert values.flatten().tolist() == [1, 0, 0.5, 1.5, -0.25]
    torch.testing.assert_close(values.sum().item() / 5, 11 / 20)
    torch.testing.assert_close((state.potential.item(), state.sent.item()), (0.875, 11 / 20))


def test_what_was_not_sent_is_not_taken_back():
    """r by step: 1, 1/2, 1/2, 1/4, 1/20; 5/4 of a spike lets one go, 6/20 of one lets none."""
    counts, _ = changing(hysteresis=0)(sequence([1.0, 0, 0, -9, -9, -9]))[0]
    assert counts.flatten().tolist() == [1, -1, 0, -1, -1, 0]


@pytest.mark.parametrize("g", [1, 3])
def test_what_is_sent_stays_between_zero_and_a_ceiling(g):
    currents = torch.randn(40, 50, 4, dtype=torch.float64, generator=torch.manual_seed(0)) * 3
    (_, values), _ = changing(0.3, 0.75, spikes=g, hysteresis=0)(currents)
    means = values.cumsum(0) / torch.arange(1, 41).view(-1, 1, 1)
    assert means.min() >= -1e-12
    assert 0.7 < means.max() <= 0.75 + 1e-12


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-1, 2),
    st.integers(1, 4),
    st.sampled_from([(0.0, 0.5), (0.25, 0.375), (0.5, 0.25), (1.0, 0.0)]),
    st.sampled_from([8, 64]),
)
def test_a_constant_current_is_decoded_to_a_spike_of_a_step(current, g, waits, steps):
    """The mean sent differs from the activation by what the potential holds, over T."""
    h, v0 = waits
    (_, values), state = changing(spikes=g, hysteresis=h, v0=v0)(sequence([current] * steps))
    mean = values.sum().item() / steps
    assert mean >= 0
    if current < 0:
        assert mean == 0
    elif current <= 1:
        assert -h - 1e-9 <= state.potential.item() < 1 + 1e-9
        assert abs(mean - current) <= (1 + h) / 2 / steps + 1e-9


CASES = [case for case in laws(DifferentialNeuron, "neurons") if not str(case).startswith(SIGN)]


@pytest.mark.parametrize("law", CASES, ids=str)
def test_the_laws_of_neurons_hold_for_those_that_send_changes(law):
    assert not law.broken()


def test_counts_are_whole_and_no_more_than_the_spikes_of_a_step():
    currents = torch.randn(20, 50, 4, generator=torch.manual_seed(0)) * 3
    counts, _ = changing(spikes=3)(currents.double())[0]
    assert torch.equal(counts, counts.round())
    assert (counts.min(), counts.max()) == (-3, 3)


# The paper's form: edges carry changes, biases are in r[0], what is not linear decodes


def by_changes(snn, x, steps):
    """Spikes by site ``[T, B, *N]`` and decoded logits ``[T, B, classes]``, edge by edge."""
    graph, compute, x = snn.network.graph, snn.network.compute, x[None]

    def over(node, inputs):
        return compute(node, [value[0] for value in inputs])[None]

    bends = {n.name for n in graph.nodes if OPS[n.op].role in (Role.SITE, Role.MAX, Role.ANALOG)}
    silent = {INPUT: torch.zeros_like(x)}  # a pass of zeros: r[0], where the biases are
    for node in graph.nodes:
        rest = over(node, [silent[source] for source in node.inputs])
        silent[node.name] = torch.zeros_like(rest) if node.name in bends else rest
    mean = dict(silent)
    potential, memory, spikes, logits = {}, {}, {name: [] for name in snn.neurons}, []
    for t in range(1, steps + 1):
        before = dict(mean)
        changes = {INPUT: x if t == 1 else torch.zeros_like(x)}
        mean[INPUT] = before[INPUT] + changes[INPUT] / t
        for node in graph.nodes:
            name, role = node.name, OPS[node.op].role
            inputs = [changes[source] for source in node.inputs]
            if role is Role.SITE:
                (source,), theta = node.inputs, snn.neurons[name].threshold
                v = potential.get(name, torch.full_like(inputs[0], THETA / 2))
                v = v + before[source] + inputs[0] - before[name]
                m = memory.get(name, torch.zeros_like(v)) + before[name]
                g = snn.neurons[name].levels
                s = (v / theta).floor().clamp(-g, g)
                s = torch.maximum(s, -(m / theta + 1e-9).floor())
                potential[name], memory[name] = v - s * theta, m + s * theta
                spikes[name].append(s[0])
                change = s * theta
            elif role in (Role.MAX, Role.ANALOG):
                now = over(node, [mean[source] for source in node.inputs])
                start = torch.zeros_like(now)
                if t > 1:
                    start = over(node, [before[source] for source in node.inputs])
                change = t * (now - start)
            else:
                nothing = [torch.zeros_like(value) for value in inputs]
                change = over(node, inputs) - over(node, nothing)
            changes[name] = change
            mean[name] = before[name] + change / t
        logits.append(mean[graph.output][0])
    return {name: torch.stack(found) for name, found in spikes.items()}, torch.stack(logits)


class Gated(nn.Module):
    """A product of two layers of spikes, and a function."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.three, self.out = nn.Conv2d(3, 3, 3), nn.Linear(48, 4)

    def forward(self, x):
        gate = torch.sigmoid(self.two(torch.relu(self.one(x)).mean((2, 3), keepdim=True)[:, :2]))
        return self.out(torch.relu(self.three(torch.relu(self.one(x)) * gate)).flatten(1))


def batch_normed():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    norm.running_mean.uniform_(-1, 1)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), norm, nn.ReLU6(), nn.Flatten(), nn.Linear(48, 4)
    )


MORE = {"gated": Gated, "a BatchNorm that can't be folded": batch_normed}


def floats(module, **given):
    """The network in float64, whose thresholds and weights meet at no fraction."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data.mul_(2 + torch.rand(()))
    graph, tensors = fold(*capture(module.eval(), (2, 6, 6), analog=True)[:2])
    return with_neurons(graph, dict(tensors), THETA, coding=CODING, **given).double()


@pytest.mark.parametrize("name", [*NETS, *MORE])
@pytest.mark.parametrize("given", [{}, {"kind": Signed, "params": Params(spikes=3, hysteresis=0)}])
def test_edges_that_carry_changes_give_the_same_spikes(name, given):
    snn = floats((NETS | MORE)[name](), **given)
    x = torch.rand(COUNT, 2, 6, 6, dtype=torch.float64)
    logits, seen = recorded(snn, x, T)
    spikes, decoded = by_changes(snn, x, T)
    for site, counts in spikes.items():
        assert torch.equal(seen[site].counts, counts), site
        assert counts.any()
    assert any((counts < 0).any() for counts in spikes.values())
    torch.testing.assert_close(logits, decoded)


# A network


def network(name="max", g=1, module=None, **given):
    params = Params(spikes=g, hysteresis=0)
    module = module or NETS[name]()
    return spiking(module, kind=Signed, params=params, coding=CODING, **given)


def in_smallest_pieces(*given):
    """As many threads would share the work, if there is compiled code."""
    try:
        from snnconv.core.jit import pieces_of
    except ImportError:
        return recorded(*given)
    with pieces_of(1):
        return recorded(*given)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("g", [1, 3])
def test_chunks_batches_and_threads_change_no_spike(name, g):
    snn, x = layered(network(name, g, theta=THETA)), images(COUNT)
    logits, whole = recorded(snn, x, T)
    runs = [recorded(snn, x, T, chunk) for chunk in (1, 3)]
    runs.append(in_smallest_pieces(snn, x, T))
    for again, parts in runs:
        torch.testing.assert_close(again, logits, rtol=0, atol=1e-5)  # small layers round apart
        for node, spikes in whole.items():
            assert torch.equal(parts[node].counts, spikes.counts)
    for i in range(COUNT):
        _, alone = recorded(snn, x[i : i + 1], T, samples=torch.tensor([i]))
        for node, spikes in whole.items():
            assert torch.equal(alone[node].counts, spikes.counts[:, i : i + 1])


@pytest.mark.parametrize("name", NETS)
def test_logits_come_near_the_anns_as_t_grows(name):
    snn, x = network(name, theta=0.25), images(COUNT)
    ann, _ = ann_inputs(snn.network, x)
    logits, _ = recorded(snn, x, 256)
    errors = [float((logits[t - 1] - ann).norm() / ann.norm()) for t in (16, 64, 256)]
    assert errors[2] < 0.02
    assert errors[2] < errors[0]


def test_what_has_settled_is_silent():
    """A potential that waits between both thresholds lets no mean jump back and forth."""
    rates = []
    for coding in (CODING, RateCoding()):
        params = Params(hysteresis=0.5, v0=0.25)
        snn = spiking(NETS["vgg"](), kind=Signed, params=params, coding=coding)
        counts = [spikes.counts.abs() for spikes in recorded(snn, images(COUNT), 64)[1].values()]
        rates.append(sum(float(each[48:].sum()) for each in counts))
    assert 0 < rates[0] < rates[1] / 3


def test_operations_by_hand():
    """Two neurons on two logits: a spike of either sign is two operations, a silent step none."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    snn = spiking(net, (1,), theta=1.0, coding=CODING)
    (site,) = snn.network.graph.sites
    (first,) = (node for node in snn.network.graph.nodes if node.name == site.inputs[0])
    with torch.no_grad():
        snn.network.tensor(first.tensors["bias"]).copy_(torch.tensor([0.625, -1.0]))
    # the first neuron's spikes are those of the trace by hand: 1, -1, 0, 1, -1; the other has none
    figures = measured(snn, torch.zeros(1, 1), torch.zeros(1).long(), 5, ["synops", "firing-rate"])
    assert figures.totals["sops_per_sample_steps"] == [2, 4, 4, 6, 8]
    assert figures.totals["spikes_per_sample"] == 4
    assert figures.layers[site.name]["firing_rate_steps"] == [0.5, 0.5, 0, 0.5, 0.5]


def test_a_max_pooling_emits_changes_of_the_largest_mean():
    """Spikes of two places, in one window: r by step, the largest, and t times its increase.

    t   first     second    largest   change    level
    1   1         0         1         1         1
    2   1/2       1         1         0         0
    3   1/2       2/3       2/3       -1        1
    4   1         2/3       1         4/3       1
    """
    counts = torch.tensor([[1.0, 0], [-1, 2], [0, -1], [2, 0]]).view(4, 1, 1, 2)

    def pool(inputs):
        return inputs[0].amax(-1, keepdim=True)

    levels, _ = CODING.emitted(pool, counts, None, 0, None)
    assert levels.flatten().tolist() == [1, 0, 1, 1]
    first, state = CODING.emitted(pool, counts[:3], None, 0, None)
    rest, _ = CODING.emitted(pool, counts[3:], None, 3, state)
    assert torch.equal(torch.cat([first, rest]), levels)


def test_poolings_count_and_cost_what_they_emit():
    snn, x = network("max", 2), images(COUNT)
    _, seen = recorded(snn, x, T)
    (pool,) = [node for node in snn.network.graph.nodes if node.op == "max_pool"]
    numbers = seen[pool.inputs[0]].counts
    means = (numbers / torch.arange(1, T + 1).view(-1, 1, 1, 1, 1)).cumsum(0)
    largest = nn.functional.max_pool2d(means.flatten(0, 1), 3, 2, 1).unflatten(0, (T, COUNT))
    changed = torch.diff(largest, dim=0, prepend=torch.zeros_like(largest[:1])) != 0
    emitted = seen[pool.name].counts
    assert torch.equal(emitted > 0, changed)
    assert torch.equal(emitted, emitted.round())
    fan = snn.analysis.fan_out[pool.name]
    figures = measured(snn, x, torch.zeros(COUNT).long(), T, ["synops"], chunk=3)
    assert figures.layers[pool.name]["sops_per_sample"] == float((emitted * fan).sum()) / COUNT


def test_frames_and_spike_confidence():
    x = torch.stack([images(COUNT), images(COUNT, seed=2)])
    snn = network("vgg", hold=2, theta=THETA)
    logits, _ = recorded(snn, x, T)
    torch.testing.assert_close(recorded(snn, x, T, chunk=3)[0], logits, rtol=0, atol=1e-5)
    site = next(iter(snn.neurons))
    never = ConfidenceInfo(early=4, keep={site: 0.0})
    _, seen = recorded(network("vgg", confidence=never), x[0], T)
    assert not seen[site].counts[:4].any()
    assert seen[site].counts[4:].any()


# What has no changes


def test_neurons_of_levels_send_changes_too():
    ones = torch.ones(1, dtype=torch.float64)
    neuron = CODING.neuron(Signed(Params(levels=3, hysteresis=0), ones))
    (counts, values), _ = neuron(sequence([0.6] * 32))
    assert set(counts.flatten().tolist()) <= {-4, -2, -1, 0, 1, 2, 4}
    assert values.mean().item() == pytest.approx(0.6, abs=1 / 32)


@pytest.mark.parametrize(
    ("neuron", "found"),
    [
        (MSAT(MSAT.params_type(), torch.ones(1)), "MSAT neurons, which are neither signed nor if"),
        (Signed(Params(preset="burst"), torch.ones(1)), "without negative spikes"),
    ],
    ids=["msat", "burst"],
)
def test_other_neurons_are_refused(neuron, found):
    with pytest.raises(UsageError) as caught:
        CODING.neuron(neuron)
    assert found in caught.value.found
    assert "--coding rate" in caught.value.remedy


def test_rate_coding_leaves_neurons_alone():
    neuron = IF(IFParams(), torch.ones(1))
    assert RateCoding().neuron(neuron) is neuron
    assert CODINGS.own() == ["differential", "rate"]
