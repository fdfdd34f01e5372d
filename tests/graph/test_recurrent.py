"""Lookups, LSTM and GRU: captured from PyTorch's modules, and with clipped-linear gates."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, ops
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconv
from snnconv.errors import ObstaclesError, UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS
from snnconv.graph.own_gates import with_own_gates
from snnconv.graph.remedies import ANALOG, HARD_GATES, of_function
from snnconv.graph.signals import Signal
from snnconv.graph.transfer import with_transfer_sites
from snnconv.graph.unroll import SLOPE, unroll

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}
LENGTH, WIDTH, HIDDEN = 5, 3, 4


def module(kind, layers=2, both=True, bias=True, batch_first=True, dropout=0.0, scale=4.0):
    torch.manual_seed(0)
    made = KINDS[kind](WIDTH, HIDDEN, layers, bias, batch_first, dropout, both)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.mul_(scale)  # into the parts where gates are at their ends
    return made


def graph_of(forward, parts, shape=(LENGTH, WIDTH), **how):
    """The graph, after comparing it with the module on inputs that capture has not seen."""
    net = Calls(forward, **parts).eval()
    graph, tensors, _ = capture(net, shape, analog=True, **how)
    x = torch.randn(7, *shape) if not how else torch.randint(how["tokens"], (7, *shape)).float()
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors).eval()(x), net(x))
    return graph, tensors


# Lookups


@pytest.mark.parametrize("functional", [False, True])
def test_a_lookup(functional):
    table = nn.Embedding(6, 4, padding_idx=0)

    def forward(n, x):
        rows = F.embedding(x.long(), n.table.weight) if functional else n.table(x.long())
        return rows.flatten(1)

    graph, tensors = graph_of(forward, {"table": table}, (5,), tokens=6)
    assert ops(graph) == ["identity", "embedding", "reshape"]
    assert set(Analysis(graph, {}).signals.values()) == {Signal.CONSTANT}
    assert Analysis.of(graph, tensors).macs == {}


@pytest.mark.parametrize("token", [-1, 6, 2.5, float("nan")])
def test_a_token_that_is_none_is_refused(token):
    with pytest.raises(UnsupportedError, match=r"token \S+, where tokens are whole numbers 0\.\.5"):
        OPS["embedding"].run({}, {"weight": torch.zeros(6, 2)}, [torch.tensor([[1.0, token]])])


@pytest.mark.parametrize(
    ("forward", "text"),
    [
        (
            lambda n, x: n.table((x + 0).long()).flatten(1),
            "whole numbers of something other than tokens",
        ),
        (lambda n, x: n.normed(x.long()).flatten(1), "embedding that changes its weights"),
    ],
)
def test_lookups_that_are_refused(forward, text):
    parts = {"table": nn.Embedding(6, 2), "normed": nn.Embedding(6, 2, max_norm=1.0)}
    with pytest.raises(UnsupportedError, match=text):
        capture(Calls(forward, **parts), (5,), analog=True, tokens=6)


def test_an_embedding_s_reach_is_its_row():
    x = torch.ones(1, 3, requires_grad=True)
    reached = OPS["embedding"].wire({}, {"weight": torch.zeros(6, 4)}, [x])
    assert torch.autograd.grad(reached.sum(), x)[0].tolist() == [[4, 4, 4]]


# Recurrences


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_whole_sequence(kind, layers, both, bias):
    part = module(kind, layers, both, bias)
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": part})
    assert ops(graph) == [kind, "reshape"]
    assert Analysis.of(graph, tensors).shapes["part"] == (LENGTH, (2 if both else 1) * HIDDEN)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "forward",
    [
        lambda n, x: n.last(n.part(x))[-1],
        lambda n, x: torch.cat([n.last(n.part(x))[-1], n.last(n.part(x))[-2]], 1),
        lambda n, x: n.last(n.part(x))[2] - n.last(n.part(x))[3],
    ],
)
def test_the_last_states(kind, forward):
    def net(n, x):
        n.last = (lambda found: found[1][0]) if kind == "lstm" else (lambda found: found[1])
        return forward(n, x)

    graph, _ = graph_of(net, {"part": module(kind)})
    assert {kind, "slice", "reshape"} <= set(ops(graph))


def test_one_recurrence_is_computed_once_for_all_its_values():
    def forward(n, x):
        sequence, (states, _) = n.part(x)
        return torch.cat([sequence.mean(1), states[-1], states[-2]], 1)

    graph, _ = graph_of(forward, {"part": module("lstm")})
    assert ops(graph).count("lstm") == 1


@pytest.mark.parametrize(
    ("forward", "text"),
    [
        (lambda n, x: n.lstm(x)[1][1][-1], "or an LSTM's cells"),
        (lambda n, x: n.lstm(x)[1][0][0], "a layer's below"),
        (lambda n, x: n.lstm(x)[1][0].mean(0), "all values of a call at once"),
        (lambda n, x: n.last_dim(x)[0].mean(1), "without batch_first=True"),
        (lambda n, x: n.projected(x)[0].mean(1), "an LSTM with proj_size"),
        (lambda n, x: n.gru(x, n.start.expand(-1, len(x), -1).contiguous())[0].mean(1), "start at"),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_is_refused(forward, text):
    parts = {"lstm": module("lstm"), "gru": module("gru")}
    parts |= {"last_dim": nn.LSTM(WIDTH, HIDDEN), "start": nn.Parameter(torch.ones(4, 1, HIDDEN))}
    parts["projected"] = nn.LSTM(WIDTH, HIDDEN, batch_first=True, proj_size=2)
    with pytest.raises(UnsupportedError, match=text):
        capture(Calls(forward, **parts), (LENGTH, WIDTH), analog=True)


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_recurrence_that_is_refused_there_are_no_false_obstacles(kind):
    def forward(n, x):
        sequence, last = n.part(x)
        states = last[0] if kind == "lstm" else last
        return torch.cat([torch.tanh(sequence.mean(1)), states[-1], states[-2]], 1)

    with pytest.raises(ObstaclesError) as caught:
        capture(Calls(forward, part=module(kind)), (LENGTH, WIDTH))
    found = {(obstacle.place, obstacle.remedy) for obstacle in caught.value.obstacles}
    assert found == {("part", of_function(kind)), ("tanh", ANALOG)}
    assert HARD_GATES in of_function(kind)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_hangs_on_a_call_that_is_not_known_is_not_looked_at():
    part = nn.LSTM(WIDTH, HIDDEN, batch_first=True, proj_size=2)
    net = Calls(lambda n, x: n.part(x)[1][0][-1] + n.part(x)[0].sum(1), part=part)
    with pytest.raises(ObstaclesError) as caught:
        capture(net, (LENGTH, WIDTH), analog=True)
    assert {obstacle.place for obstacle in caught.value.obstacles} == {"part"}


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_it_is_refused_by_name(kind):
    net = Calls(lambda n, x: n.part(x)[0].flatten(1), part=module(kind))
    with pytest.raises(UnsupportedError, match=rf"part: module {kind.upper()}(.|\n)*analog"):
        capture(net, (LENGTH, WIDTH))


def test_dropout_between_layers_is_for_training():
    part = module("lstm", dropout=0.5)
    net = Network(*graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": part}))
    x = torch.randn(2, LENGTH, WIDTH)
    assert net.eval()(x).equal(net(x))
    assert not net.train()(x).equal(net(x))


@pytest.mark.parametrize("kind", KINDS)
def test_multiplications_are_counted_by_hand(kind):
    """One layer: rows of both matrices and the unit's own; the second has twice the inputs."""
    rows, products, lookups = (4, 3, 5) if kind == "lstm" else (3, 3, 3)
    units = 2 * HIDDEN
    first, second = (units * rows * (width + HIDDEN) for width in (WIDTH, 2 * HIDDEN))
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": module(kind)})
    analysis = Analysis.of(graph, tensors)
    for counted in (analysis.macs, analysis.exact_macs):
        assert counted["part"] == LENGTH * (first + second + 2 * units * products)
    found = analysis.work["part"]
    assert found.weights == LENGTH * (first + second)
    assert found.lookups == LENGTH * 2 * units * lookups


def test_a_recurrence_that_spikes_reach_counts_at_every_step():
    def forward(n, x):
        return n.part(n.linear(x).relu())[0].flatten(1)

    graph, _ = graph_of(forward, {"part": module("lstm"), "linear": nn.Linear(WIDTH, WIDTH)})
    assert Analysis(graph, {}).fed_by_analog == {"part"}
    assert Analysis(graph, {}).signals["part"] is Signal.CURRENT


# Clipped-linear gates


def hard_sigmoid(x, slope):
    return (slope * x + 0.5).clamp(0, 1)


def hard_tanh(x, slope):
    return 2 * hard_sigmoid(2 * x, slope) - 1


def reference(part, x, slope):
    """PyTorch's equations with hard gates, as its documentation has them."""
    for layer in range(part.num_layers):
        ways = []
        for way in ["", "_reverse"][: 2 if part.bidirectional else 1]:
            own = [getattr(part, f"weight_{kind}_l{layer}{way}") for kind in ("ih", "hh")]
            bias = [getattr(part, f"bias_{kind}_l{layer}{way}", 0) for kind in ("ih", "hh")]
            hidden = cell = x.new_zeros(len(x), part.hidden_size)
            places = range(x.shape[1])[:: -1 if way else 1]
            found = {}
            for t in places:
                a, b = x[:, t] @ own[0].T + bias[0], hidden @ own[1].T + bias[1]
                if isinstance(part, nn.LSTM):
                    i, f, g, o = (a + b).chunk(4, 1)
                    cell = hard_sigmoid(f, slope) * cell
                    cell = cell + hard_sigmoid(i, slope) * hard_tanh(g, slope)
                    hidden = hard_sigmoid(o, slope) * hard_tanh(cell, slope)
                else:
                    (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
                    r, z = hard_sigmoid(ar + br, slope), hard_sigmoid(az + bz, slope)
                    hidden = (1 - z) * hard_tanh(an + r * bn, slope) + z * hidden
                found[t] = hidden
            ways.append(torch.stack([found[t] for t in range(x.shape[1])], 1))
        x = torch.cat(ways, 2)
    return x


@settings(max_examples=15)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    layers=st.integers(1, 3),
    both=st.booleans(),
    bias=st.booleans(),
    slope=st.sampled_from([0.25, SLOPE]),
)
def test_hard_gates_are_what_they_are_said_to_be(kind, layers, both, bias, slope):
    part = module(kind, layers, both, bias)
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": part})
    hard = Network(*unroll(graph, tensors, slope)).eval()
    x = torch.randn(6, LENGTH, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(hard(x), reference(part, x, slope).flatten(1))
    ways = 2 if both else 1
    assert len(hard.graph.sites) == 3 * layers * ways * LENGTH
    assert all(site.attrs["ceiling"] == 1 for site in hard.graph.sites)
    assert hard.graph.output == graph.output


def test_the_slope_is_the_best_one():
    x = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    distance = {
        slope: float((torch.sigmoid(x) - hard_sigmoid(x, slope)).abs().max())
        for slope in (0.25, 0.2, 1 / 6, SLOPE - 0.002, SLOPE, SLOPE + 0.002)
    }
    assert min(distance, key=distance.get) == SLOPE
    assert distance[SLOPE] == pytest.approx(0.056, abs=1e-3)
    assert distance[0.25] == pytest.approx(0.119, abs=1e-3)


def test_matrices_see_spikes_and_only_products_are_analog():
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": module("lstm")})
    graph, tensors = unroll(graph, tensors)
    assert {graph[name].op for name in Analysis(graph, {}).fed_by_analog} == {"multiply"}
    macs, analog = Analysis.of(graph, tensors).macs, Analysis(graph, {}).fed_by_analog
    steps = 2 * 2 * LENGTH  # of layers and directions
    assert sum(macs[name] for name in analog) == HIDDEN * (3 * steps - 4)  # no f*c at the first


def test_weights_are_shared_and_constants_are_not_trained():
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": module("gru")})
    hard = Network(*unroll(graph, tensors))
    trained = sum(p.numel() for p in hard.parameters())
    assert trained == sum(tensor.numel() for tensor in tensors.values())
    hard(torch.randn(2, LENGTH, WIDTH)).sum().backward()
    assert all(p.grad is not None for p in hard.parameters())


# Own gates


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("bias", "both"), [(True, True), (False, False)])
def test_own_gates_are_the_same_function(kind, bias, both):
    """Written out step by step, with sites before every matrix that reads a state."""
    made = module(kind, 2, both, bias, scale=1.0)
    graph, tensors = graph_of(lambda n, x: n.part(x)[0].flatten(1), {"part": made})
    unrolled, own = with_own_gates(graph, tensors)
    x = torch.randn(6, LENGTH, WIDTH)
    expected = Network(graph, tensors).eval()(x)
    torch.testing.assert_close(Network(unrolled, own).eval()(x), expected)
    placed = with_transfer_sites(unrolled, own)
    torch.testing.assert_close(Network(placed, own).eval()(x), expected)
    analysis = Analysis.of(placed, own)
    matrices = [node for node in placed.nodes if node.op == "linear"]
    states = [node for node in matrices if analysis.signals[node.inputs[0]] is Signal.SPIKES]
    assert len(states) == len(matrices) - (2 if both else 1)  # the first layer reads the input


def test_a_network_without_recurrences_stays_as_it_is():
    graph, tensors, _ = capture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,))
    assert with_own_gates(graph, tensors) == (graph, tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_states_by_signed_spikes_are_near_those_of_the_module(kind):
    torch.manual_seed(0)
    parts = {"part": KINDS[kind](WIDTH, HIDDEN, batch_first=True), "last": nn.Linear(HIDDEN, 3)}
    net = Calls(lambda n, x: n.last(n.part(x)[0][:, -1]), **parts).eval()
    x = torch.randn(32, LENGTH, WIDTH)
    found = []
    for T in (4, 64):
        snn = snnconv.convert_module(net, x, neuron="signed", timesteps=T, non_relu="spike")
        with torch.no_grad():
            found.append(float((snn(x) - net(x)).norm() / net(x).norm()))
    assert found[1] < min(0.02, found[0])
