"""Networks with transfer sites: what their neurons must do, whatever the function is."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.layers import run
from helpers.networks import recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.errors import UsageError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.if_ import IF
from snnconv.neurons.if_ import Params as IFParams
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.build import check_transfers
from snnconv.simulation.network import SpikingNetwork

TOKENS, WIDTH = 5, 8


class Attention(nn.Module):
    """A block of a transformer without positions: what it does to tokens it does to all alike."""

    def __init__(self, heads=2):
        super().__init__()
        self.heads = heads
        self.norm, self.middle, self.last = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        B = x.shape[0]
        parts = self.qkv(self.norm(x)).reshape(B, TOKENS, 3, self.heads, WIDTH // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.project(attended.reshape(B, TOKENS, WIDTH))
        x = x + self.down(F.gelu(self.up(self.middle(x))))
        return self.head(self.last(x).mean(1))


def spiking(module, shape, theta=0.125, g=4, h=0.0, **how):
    torch.manual_seed(0)
    graph, tensors, _ = capture(module.eval(), shape, analog=True)
    graph = with_transfer_sites(graph, tensors, **how)
    params = Params(spikes=g, hysteresis=h)
    neurons = {site.name: Signed(params, torch.tensor([theta])) for site in graph.sites}
    return SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval()


def attention():
    torch.manual_seed(0)
    return Attention()


def tokens(n=3, seed=1):
    return torch.randn(n, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))


def identity(n):
    layer = nn.Linear(n, n, bias=False)
    layer.weight.data = torch.eye(n)
    return layer


eighths = st.integers(-40, 40).map(lambda k: k / 8)


@pytest.mark.parametrize(
    ("function", "rounding"),
    [
        (F.silu, 1e-5),
        (F.gelu, 1e-5),
        (torch.square, 0.0),  # dyadic, as are its values: exact in float32
        (lambda x: x * x * x, 0.0),
    ],
)
@given(values=st.lists(eighths, min_size=1, max_size=6), steps=st.integers(1, 12))
@settings(deadline=None, max_examples=10)
def test_a_constant_is_rounded_to_half_a_theta_at_every_step(function, rounding, values, steps):
    """The sum of spikes follows t*f, of either sign."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = identity(len(values)), identity(len(values))

        def forward(self, x):
            return self.b(function(self.a(x)))

    snn = spiking(Net(), (len(values),), theta=0.5, g=256)
    x = torch.tensor([values])
    _, seen = recorded(snn, x, steps)
    ((_, spikes),) = seen.items()
    t = torch.arange(1, steps + 1)[:, None]
    wanted = t * function(x[0])
    error = spikes.values[:, 0].cumsum(0) - wanted
    assert error.abs().max() <= 0.25 + rounding


class Steps(nn.Module):
    """A function of what changes over time: of the spikes of a ReLU."""

    def __init__(self, function):
        super().__init__()
        random = torch.Generator().manual_seed(2)
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))
        for parameter in self.parameters():  # in eighths, so that sums are exact
            parameter.data = torch.randint(-8, 9, parameter.shape, generator=random) / 8
        self.function = function

    def forward(self, x):
        return self.c(self.function(self.b(F.relu(self.a(x)))))


@pytest.mark.parametrize("function", [F.silu, F.gelu, torch.square, nn.Softmax(1)])
@pytest.mark.parametrize("chunk", [12, 5])
def test_of_a_mean_that_changes_it_is_as_near(function, chunk):
    """The sum of spikes follows t*f of the mean of the currents so far."""
    net = Steps(function).eval()
    snn = spiking(net, (6,), theta=0.5, g=256)
    x = torch.randint(-16, 17, (20, 6), generator=torch.Generator().manual_seed(3)) / 8
    _, seen = recorded(snn, x, 12, chunk)
    relu, spikes = seen.values()
    t = torch.arange(1, 13)[:, None, None]
    currents = relu.values.cumsum(0) / t
    assert (currents.diff(dim=0) != 0).any()
    error = spikes.values.cumsum(0) - t * function(net.b(currents).flatten(0, 1)).view_as(currents)
    assert error.abs().max() <= 0.25 + 1e-3


def test_a_function_that_is_a_relu_gives_the_spikes_of_a_relu():
    """Bit by bit, in a network; no potential is just at a threshold, where rounding decides."""
    x = torch.randint(-16, 17, (20, 6), generator=torch.Generator().manual_seed(3)) / 8
    found = []
    for function, h in ((F.relu, 0.0), (partial(F.elu, alpha=0.0), 0.25)):
        graph, tensors, _ = capture(Steps(function).eval(), (6,), analog=True)
        graph = with_transfer_sites(graph, tensors)
        first, second = (site.name for site in graph.sites)
        neurons = {
            name: Signed(Params(spikes=2, hysteresis=own, v0=0.3), torch.tensor([0.5]))
            for name, own in ((first, 0.0), (second, h))  # a transfer site has no hysteresis
        }
        snn = SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval()
        assert snn.neurons[second].two_sided is (h > 0)
        found.append(recorded(snn, x, 12)[1].values())
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours.counts, theirs.counts)
        assert torch.equal(ours.values, theirs.values)
    assert (ours.counts < 0).any()


@given(st.lists(st.lists(eighths, min_size=4, max_size=4), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_behind_a_relu_it_is_the_signed_neuron_bit_by_bit(currents):
    given_ = torch.tensor(currents)[:, None]  # [T, 1, 4], in eighths: exact
    theta = torch.tensor([1.0])  # a quarter of it is more than an eighth
    relu = Signed(Params(spikes=2, hysteresis=0), theta)
    behind = Signed(Params(spikes=2, hysteresis=0.25), theta)  # which there is none of here
    behind.two_sided = True
    increases = given_.cumsum(0).clamp(min=0).diff(dim=0, prepend=torch.zeros(1, 1, 4))
    wanted, _ = run(relu, given_, None, None)
    found, _ = run(behind, increases, None, None)
    assert torch.equal(found.counts, wanted.counts)
    assert torch.equal(found.values, wanted.values)


def test_every_matrix_of_a_transformer_sees_spikes():
    snn = spiking(attention(), (TOKENS, WIDTH))
    count = snn.analysis.work_count
    matrices = {n.name for n in snn.analysis.graph.nodes if n.op == "linear"}
    assert not matrices & snn.analysis.fed_by_analog
    assert count.non_spiking_share == 0
    assert count.function_share > 0
    logits, seen = recorded(snn, tokens(), 4)
    assert len(logits) == 4
    assert len(seen) == len(snn.neurons) == 5
    for spikes in seen.values():
        assert (spikes.counts < 0).any()
        assert (spikes.counts > 0).any()


def test_it_tends_to_the_network():
    module = attention()
    x = tokens()
    wanted = module(x).detach()
    errors = []
    for steps in (2, 8, 32, 128):
        snn = spiking(module, (TOKENS, WIDTH), theta=1 / 4, g=16)
        logits, _ = recorded(snn, x, steps)
        errors.append(float((logits.mean(0) - wanted).norm() / wanted.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_and_batches_change_nothing(chunk):
    snn, x = spiking(attention(), (TOKENS, WIDTH), h=0.25), tokens()
    logits, whole = recorded(snn, x, 7)
    again, parts = recorded(snn, x, 7, chunk)
    assert torch.allclose(logits, again, atol=1e-5)
    for name, spikes in whole.items():
        assert torch.equal(spikes.counts, parts[name].counts)
    alone = [recorded(snn, x[i : i + 1], 7, samples=torch.tensor([i]))[1] for i in range(3)]
    for name, spikes in whole.items():
        assert torch.equal(spikes.counts, torch.cat([each[name].counts for each in alone], 1))


def test_permuted_tokens_have_permuted_spikes():
    snn, x = spiking(attention(), (TOKENS, WIDTH)), tokens()
    order = torch.tensor([3, 0, 4, 1, 2])
    _, plain = recorded(snn, x, 6)
    _, moved = recorded(snn, x[:, order], 6)
    for name, spikes in plain.items():
        # sites of tokens have channels first; the last one stands behind the mean over tokens
        there = spikes.counts[..., order] if spikes.counts.dim() == 4 else spikes.counts
        assert (there != moved[name].counts).float().mean() < 1e-3  # sums in another order


def test_permuted_heads_have_permuted_spikes():
    module, x, order = attention(), tokens(), [1, 0]
    places = torch.arange(WIDTH).view(2, -1)[order].flatten()
    other = copy.deepcopy(module)
    rows = torch.cat([places + k * WIDTH for k in range(3)])
    other.qkv.weight.data, other.qkv.bias.data = module.qkv.weight[rows], module.qkv.bias[rows]
    other.project.weight.data = module.project.weight[:, places]
    _, plain = recorded(spiking(module, (TOKENS, WIDTH)), x, 6)
    _, moved = recorded(spiking(other, (TOKENS, WIDTH)), x, 6)
    attended = list(plain)[1]  # what the projection reads
    for name, spikes in plain.items():
        there = spikes.counts[:, :, places] if name == attended else spikes.counts
        assert (there != moved[name].counts).float().mean() < 1e-3  # sums in another order
    assert (plain[attended].counts != moved[attended].counts).any()


def test_threads_change_nothing():
    snn, x = spiking(attention(), (TOKENS, WIDTH)), tokens()
    _, wanted = recorded(snn, x, 4)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        _, found = recorded(snn, x, 4)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[name].counts, wanted[name].counts) for name in wanted)


def test_one_way_or_the_other_it_learns():
    snn = spiking(attention(), (TOKENS, WIDTH)).train()
    logits, _ = snn(tokens()[None], 4, torch.arange(3))
    logits.mean(0).square().sum().backward()
    missing = [
        name
        for name, parameter in snn.network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum())
    ]
    assert not missing


def test_other_neurons_are_refused():
    graph, tensors, _ = capture(attention().eval(), (TOKENS, WIDTH), analog=True)
    graph = with_transfer_sites(graph, tensors)
    one_sided = Signed(Params(negative=False), torch.ones(()))
    for name, neuron in (("if", IF(IFParams(), torch.ones(()))), ("signed", one_sided)):
        with pytest.raises(UsageError, match="transfer") as caught:
            check_transfers(name, neuron, graph)
        assert "--neuron signed" in caught.value.remedy
    check_transfers("signed", Signed(Params(), torch.ones(())), graph)
