import pytest
import torch
from helpers.networks import IMAGE, NETS, captured, dyadic, images, recorded, spiking, vgg
from torch import nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network, ann_inputs
from snnconv.graph.rewrite import with_qcfs
from snnconv.neurons.if_ import IF, Params
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.neurons.msat import MSAT
from snnconv.neurons.msat import Params as MSATParams
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate


def run(snn, x, timesteps, state=None, samples=None):
    samples = torch.arange(x.shape[1]) if samples is None else samples
    with torch.no_grad():
        return snn(x, timesteps, samples, state)


# Max pooling by the cumulative rule


POOLS = [
    (nn.MaxPool2d(2), (2, 6, 6)),
    (nn.MaxPool2d(3, 2, 1), (2, 7, 7)),
    (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 6, 6)),
    (nn.MaxPool2d(2, 1, dilation=2), (1, 6, 5)),
    (nn.MaxPool1d(3, 2, 1), (2, 9)),
    (nn.MaxPool3d(2), (1, 4, 4, 4)),
    (nn.AdaptiveMaxPool1d(4), (2, 9)),
    (nn.AdaptiveMaxPool2d((3, 1)), (2, 5, 7)),
    (nn.AdaptiveMaxPool3d(2), (1, 3, 4, 5)),
]


@pytest.mark.parametrize(("pool", "shape"), POOLS, ids=str)
@pytest.mark.parametrize("chunks", [(8,), (1,) * 8, (3, 5)])
def test_the_mean_of_a_max_pooling_is_the_pool_of_the_mean(pool, shape, chunks):
    snn = spiking(nn.Sequential(nn.ReLU(), pool, nn.Flatten()), shape)
    x, out, into, state = images(3, shape), [], [], None

    def observe(name, start, spikes):
        if name == snn.network.graph.sites[0].name:
            into.append(spikes.values)

    for steps in chunks:
        currents, state = snn(x[None], steps, torch.arange(3), state, observe)
        out.append(currents)
    mean = torch.cat(into).mean(0)
    assert 0 < mean.mean() < 0.5
    assert torch.equal(torch.cat(out).mean(0), pool(mean).flatten(1))


def test_the_pool_of_every_running_mean_too():
    pool = nn.MaxPool2d(3, 2, 1)
    snn = spiking(nn.Sequential(nn.ReLU(), pool, nn.Flatten()), (2, 7, 7))
    logits, seen = recorded(snn, images(2, (2, 7, 7)), 16)
    totals = seen[snn.network.graph.sites[0].name].values.cumsum(0)
    steps = torch.arange(1, 17).double()[:, None, None]
    assert torch.equal(logits, pool(totals.flatten(0, 1)).unflatten(0, (16, 2)).flatten(2) / steps)


def logit_error(snn, x, timesteps):
    ann, _ = ann_inputs(snn.network, x)
    logits, _ = recorded(snn, x, timesteps)
    return float((logits[-1] - ann).norm() / ann.norm())


def largest(module, x):
    """Each site's largest activation."""
    snn = spiking(module)
    _, inputs = ann_inputs(snn.network, x)
    return [float(inputs[site.name].max()) for site in snn.network.graph.sites]


@pytest.mark.parametrize("name", sorted(NETS))
def test_with_enough_threshold_the_logits_tend_to_the_anns(name):
    x = images(4)
    snn = spiking(NETS[name](), theta=largest(NETS[name](), x))
    errors = [logit_error(snn, x, timesteps) for timesteps in (4, 32, 256)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def analog_pool():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.ReLU(),
        nn.Conv2d(3, 3, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def test_a_max_pooling_of_currents_is_cumulative_too_but_no_source():
    x = images(4)
    snn = spiking(analog_pool(), theta=largest(analog_pool(), x))
    _, seen = recorded(snn, x, 8)
    assert set(seen) == {site.name for site in snn.network.graph.sites}
    assert logit_error(snn, x, 256) < 0.02 < logit_error(snn, x, 4)


def test_a_max_pooling_before_the_first_site_is_computed_once_and_is_no_source():
    net = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten())
    snn = spiking(nn.Sequential(*net, nn.Linear(3, 4)), theta=8.0)
    _, seen = recorded(snn, images(2), 4)
    assert list(seen) == [snn.network.graph.sites[0].name]


# Time


def test_what_no_neuron_has_touched_is_computed_once_a_chunk(monkeypatch):
    snn, calls = spiking(vgg()), []
    compute = snn.network.compute

    def watched(node, inputs):
        calls.append((node.name, len(inputs[0])))
        return compute(node, inputs)

    monkeypatch.setattr(snn.network, "compute", watched)
    recorded(snn, images(3), 8, chunk=4)
    first, second = (node.name for node in snn.network.graph.nodes if node.op == "conv")
    assert [size for name, size in calls if name == first] == [3, 3]
    assert [size for name, size in calls if name == second] == [12, 12]


@pytest.mark.parametrize("hold", [1, 2])
@pytest.mark.parametrize("name", sorted(NETS))
def test_frames_are_shown_a_step_each_or_held_and_then_again(name, hold):
    net, frames = NETS[name](), images(9).unflatten(0, (3, 3))
    snn = spiking(net, hold=hold)
    whole, _ = run(snn, frames, 12)
    order = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2] if hold == 1 else [0, 0, 1, 1, 2, 2] * 2
    state, parts = None, []
    for t in order:  # one step at a time
        current, state = run(snn, frames[[t]], 1, state)
        parts.append(current)
    assert torch.equal(whole, torch.cat(parts))


def test_a_network_for_constant_input_takes_no_frames():
    with pytest.raises(ValueError, match="4 frames, and the network was made for constant input"):
        run(spiking(vgg()), images(12).unflatten(0, (4, 3)), 4)


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_state_given_twice_gives_the_same_twice(name):
    snn, x = spiking(NETS[name]()), images(2)[None]
    _, state = run(snn, x, 3)
    assert state.steps == 3
    again = [run(snn, x, 2, state)[0] for _ in range(2)]
    assert torch.equal(*again)


def test_a_module_at_two_sites_has_two_states():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.fc = nn.ReLU(), nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(self.relu(self.fc(self.relu(x))))

    snn = spiking(Shared(), (4,))
    _, state = run(snn, dyadic((1, 2, 4)), 4)
    assert len(snn.neurons) == len(state.nodes) == 2
    a, b = (node.potential for node in state.nodes.values())
    assert not torch.equal(a, b)


def test_the_neurons_are_known_by_their_sites_names():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

        def forward(self, x):
            return self.part(x)

    assert list(spiking(Nested(), (4,)).neurons) == ["part.1"]


# Spike confidence


def confident(seed=0, keep=None, early=3):
    first, second = (site.name for site in spiking(vgg()).network.graph.sites)
    info = ConfidenceInfo(early=early, keep=keep or {second: 0.5})
    return spiking(vgg(), seed=seed, confidence=info, theta=0.25), first, second


def test_confidence_acts_at_its_sites_and_in_early_steps_only():
    snn, first, second = confident()
    snn.confidence = None
    _, plain = recorded(snn, images(4), 8)
    snn, *_ = confident()
    _, with_it = recorded(snn, images(4), 8)
    assert torch.equal(plain[first].counts, with_it[first].counts)
    before, after = plain[second].counts, with_it[second].counts
    assert 0.4 < after[:1].sum() / before[:1].sum() < 0.6
    # nothing is lost: what was suppressed stays in the potential, and comes out in later steps
    assert (with_it[second].counts.cumsum(0) <= plain[second].counts.cumsum(0)).all()
    firing = before.mean(0) == 1
    assert (after[3:][:, firing] == 1).all()


def test_certainty_changes_nothing():
    snn, *_ = confident(keep={site.name: 1.0 for site in spiking(vgg()).network.graph.sites})
    logits, _ = recorded(snn, images(4), 8)
    snn.confidence = None
    assert torch.equal(logits, recorded(snn, images(4), 8)[0])


def test_the_seed_decides():
    runs = [recorded(confident(seed)[0], images(4), 8)[0] for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("chunk", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_neither_batches_nor_chunks_change_a_random_spike(chunk, size):
    snn, *_ = confident(early=5)
    x, samples = images(5), torch.tensor([3, 14, 15, 9, 2])
    whole, _ = recorded(snn, x, 8, samples=samples)
    parts = [
        recorded(snn, part, 8, chunk, samples=own)[0]
        for part, own in zip(x.split(size), samples.split(size), strict=True)
    ]
    assert torch.equal(whole, torch.cat(parts, 1))


# Training


def trainable(kind=IF, params=None, hold=None):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    graph, tensors, _ = capture(net, (2, 6, 6))
    neurons = {site.name: kind(params or Params(), torch.tensor([0.5])) for site in graph.sites}
    return SpikingNetwork(Network(graph, tensors), neurons, 0, None, hold).train()


def test_batch_norm_uses_statistics_of_time_and_batch_together():
    snn = trainable(hold=1)
    x = torch.randn(4, 5, 2, 6, 6)  # [f, B], a frame a step
    snn(x, 4, torch.arange(5))
    tensors = snn.network.tensors()
    before = nn.functional.conv2d(x.flatten(0, 1), tensors["0.weight"])
    torch.testing.assert_close(tensors["1.running_mean"], 0.1 * before.mean((0, 2, 3)))
    expected = 0.9 + 0.1 * before.transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(tensors["1.running_var"], expected)


@pytest.mark.parametrize(("kind", "params"), [(IF, Params()), (MSAT, MSATParams())])
def test_gradients_reach_every_weight(kind, params):
    snn = trainable(kind, params)
    currents, _ = snn(torch.randn(1, 8, 2, 6, 6), 4, torch.arange(8))
    currents.mean(0).square().sum().backward()
    for name, parameter in snn.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", sorted(NETS))
def test_training_and_inference_give_the_same_spikes(name):
    snn, x = spiking(NETS[name]()), images(3)[None]
    with_gradients, _ = snn(x, 6, torch.arange(3))
    assert torch.equal(with_gradients, run(snn, x, 6)[0])


def even(name, **params):
    """LM-HT neurons of whose currents only the mean over time matters, at the start."""
    return spiking(NETS[name](), kind=LMHT, params=LMHTParams(**params), T=4)


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("params", [{}, {"levels": 4}, {"omega": "identity"}])
def test_the_mean_of_spikes_stands_for_the_mean_of_currents(name, params):
    snn, x, seen = even(name, **params), images(3)[None], []

    def observe(node, _, spikes):
        seen[-1][node] = spikes.counts.detach()

    seen.append({})
    stepwise, _ = snn(x, 4, torch.arange(3), None, observe)  # training wants every step
    seen.append({})
    with torch.no_grad():
        found, _ = snn(x, 4, torch.arange(3), None, observe)
    assert torch.equal(found, stepwise)
    assert seen[0].keys() == seen[1].keys()
    assert all(torch.equal(seen[0][node], seen[1][node]) for node in seen[0])
    assert all(counts.any() for counts in seen[0].values())


def test_what_is_wanted_in_the_mean_only_is_computed_once(monkeypatch):
    snn, computed = even("vgg"), []
    compute = snn.network.compute

    def counted(node, inputs):
        computed.append((node.op, len(inputs[0])))
        return compute(node, inputs)

    monkeypatch.setattr(snn.network, "compute", counted)
    run(snn, images(3)[None], 4)
    assert [n for op, n in computed if op == "conv"] == [3, 3]
    assert [n for op, n in computed if op == "linear"] == [4 * 3]
    assert list(snn.paths().values()) == ["once", "mean", "dense"]
    computed.clear()
    with torch.no_grad():
        list(snn.neurons.values())[-1].omega[0, 0] += 0.25
    run(snn, images(3)[None], 4)
    assert [n for op, n in computed if op == "conv"] == [3, 4 * 3]
    assert list(snn.paths().values()) == ["once", "dense", "dense"]


# QCFS networks in spiking neurons


@pytest.mark.parametrize(("L", "T"), [(4, 1), (2, 2), (1, 4), (4, 2)])
@pytest.mark.parametrize("name", sorted(set(NETS) - {"max"}))
def test_lm_ht_of_as_many_levels_is_the_qcfs_network(name, L, T):
    """Theorem 4.4 where L*T is the number of levels: not in the mean, but of every image."""
    graph, tensors = captured(NETS[name]())
    thetas = {site.name: torch.tensor([0.5]) for site in graph.sites}
    quantized_graph, quantized_tensors = with_qcfs(graph, tensors, thetas, L * T)
    snn = spiking(NETS[name](), kind=LMHT, params=LMHTParams(levels=L), T=T)
    x = images(4)
    with torch.no_grad():
        expected = Network(quantized_graph, quantized_tensors)(x)
    assert torch.equal(run(snn, x[None], T)[0].mean(0), expected)
    assert expected.std() > 0


# Constants of any shape


class Placed(nn.Module):
    """Positions are added to currents and to spikes, and scale them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = (
            nn.Conv2d(2, 3, 3),
            nn.Conv2d(3, 3, 1),
            nn.Linear(48, 4),
        )
        self.here, self.there = (nn.Parameter(torch.rand(3, 4, 4)) for _ in range(2))

    def forward(self, x):
        x = torch.relu(self.first(x) + self.here) + self.there
        return self.last(torch.relu(self.second(x * self.here)).flatten(1))


def test_constants_of_any_shape_keep_the_mean():
    snn, x = spiking(Placed(), theta=8.0), images(5)
    assert [node.op for node in snn.network.graph.nodes].count("affine") == 3
    with torch.no_grad():
        expected = snn.network(x).double()
        averages = simulate(snn, x[None], torch.arange(5), 512, 16)
    errors = [(averages[t - 1] - expected).norm() / expected.norm() for t in (1, 16, 512)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


# What no neuron stands for


class Gated(nn.Module):
    """A squeeze-and-excitation block: functions and a product, fed by spikes and by currents."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.Sigmoid())
        self.last = nn.Linear(48, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last((nn.functional.silu(self.second(x)) * self.gate(x)).flatten(1))


def analog_network():
    torch.manual_seed(0)
    module = Gated().eval()
    graph, tensors, _ = capture(module, IMAGE, analog=True)
    neurons = {site.name: IF(Params(), torch.tensor([2.0])) for site in graph.sites}
    return SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval(), module


def test_functions_outside_the_spiking_domain_keep_the_mean():
    snn, module = analog_network()
    x = torch.randn(5, *IMAGE)
    with torch.no_grad():
        expected = module(x).double()
        averages = simulate(snn, x[None], torch.arange(5), 256, 16)
    errors = [(averages[t - 1] - expected).norm() / expected.norm() for t in (1, 16, 256)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_functions_outside_the_spiking_domain_are_those_of_the_mean_so_far():
    """By definition: the sum of what comes out is t times the function of the mean."""
    snn, _ = analog_network()
    x = torch.randn(5, *IMAGE)
    seen = {}

    def spy(node, inputs, compute=snn.network.compute):
        value = compute(node, inputs)
        seen[node.name] = [each.clone() for each in inputs], value.clone()  # changed in place
        return value

    snn.network.compute = spy
    with torch.no_grad():
        snn(x[None], 8, torch.arange(5))
    (silu,) = [n for n in snn.network.graph.nodes if n.attrs.get("function") == "silu"]
    (means,), values = seen[silu.name]
    currents = seen[silu.inputs[0]][1].unflatten(0, (8, 5))
    t = torch.arange(1, 9).view(8, 1, 1, 1, 1)
    torch.testing.assert_close(means.unflatten(0, (8, 5)), currents.cumsum(0) / t)
    torch.testing.assert_close(values, nn.functional.silu(means))


FUNCTIONS = {
    "softmax": lambda x: x.softmax(2),
    "log_softmax": lambda x: -x.log_softmax(1),
    "lrn": nn.LocalResponseNorm(3, alpha=0.5),
    "square": lambda x: x**2,
    "quotient": lambda x: x / (1 + x**2),
    "matmul": lambda x: x @ x.transpose(2, 3),
}


class Between(nn.Module):
    """A function between neurons and logits."""

    def __init__(self, name):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1)
        self.last, self.part = nn.Linear(48, 4), FUNCTIONS[name]

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(torch.relu(self.part(self.second(x))).flatten(1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_several_numbers_keep_the_mean_in_any_chunks(name):
    torch.manual_seed(0)
    module = Between(name).eval()
    graph, tensors, _ = capture(module, IMAGE, analog=True)
    x = torch.randn(4, *IMAGE)
    with torch.no_grad():
        largest = {n: float(v.max()) for n, v in ann_inputs(Network(graph, tensors), x)[1].items()}
        neurons = {n: IF(Params(), torch.tensor([max(v, 0.1)])) for n, v in largest.items()}
        snn = SpikingNetwork(Network(graph, tensors), neurons, 0, None).eval()
        expected = module(x).double()
        averages = simulate(snn, x[None], torch.arange(4), 512, 64)
        parts = simulate(snn, x[None], torch.arange(4), 9, 2)
    errors = [float((averages[t - 1] - expected).norm() / expected.norm()) for t in (8, 512)]
    assert errors[1] < min(0.02, errors[0])
    torch.testing.assert_close(parts, averages[:9], rtol=1e-4, atol=1e-5)


def test_functions_outside_the_spiking_domain_in_chunks():
    snn, _ = analog_network()
    x = torch.randn(3, *IMAGE)
    whole = simulate(snn, x[None], torch.arange(3), 9, 9)
    parts = simulate(snn, x[None], torch.arange(3), 9, 2)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
