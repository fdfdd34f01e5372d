"""What spikes do not replace, by kind, against sums by hand."""

import pytest
from helpers.nets import Calls, randomised
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.operations.work import Work, WorkCount
from snnconv.graph.signals import Signal
from snnconv.graph.transfer import with_transfer_sites

NOTHING = Work()


def analysed(module, shape, source=Signal.CONSTANT):
    return Analysis.of(*capture(randomised(module), shape, analog=True)[:2], source)


def count_of(module, shape, source=Signal.CONSTANT):
    return analysed(module, shape, source).work_count


def test_a_network_of_spikes_has_no_share_that_does_not():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    found = count_of(net, (5,))
    assert found == WorkCount(Work(56), Work(35), NOTHING, NOTHING)
    assert found.non_spiking_share == found.function_share == 0


def test_a_function_of_currents_and_what_it_feeds_count_at_every_step():
    net = nn.Sequential(
        *(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)),
    )
    found = count_of(net, (5,))
    assert found.total == Work(weights=35 + 28 + 12, lookups=4)
    # four means, four look-ups, four products with t
    assert found.each_step == Work(weights=12, macs=4 + 4, lookups=4)
    assert found.non_spiking_share == pytest.approx(12 / (28 + 12))
    assert found.function_share == pytest.approx(4 / (75 + 4))


def test_a_function_of_a_constant_input_counts_once():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = count_of(net, (5,))
    first = Work(weights=35 + 28, lookups=7)
    assert found == WorkCount(first + Work(12), first, Work(lookups=7), NOTHING, idle=28)
    assert found.non_spiking_share == pytest.approx(28 / (28 + 12))


def test_a_recurrence_of_a_constant_input_is_nearly_all_of_its_network():
    parts = {"part": nn.LSTM(3, 4, batch_first=True), "end": nn.Linear(4, 2)}
    net = Calls(lambda n, x: n.end(n.part(x)[0][:, -1].relu()), **parts)
    units = 6 * 4
    part = Work(weights=units * 4 * (3 + 4), macs=units * 3, lookups=units * 5)
    found = count_of(net, (6, 3))
    assert found == WorkCount(part + Work(8), part, part, NOTHING, idle=672)
    assert found.non_spiking_share == pytest.approx(672 / (672 + 8))


def test_a_function_of_frames_changes_at_every_step_and_so_does_what_it_feeds():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = count_of(net, (5,), Signal.FRAMES)
    # what the first layer gives is summed up, as no synapse adds a frame to a membrane
    each_step = Work(weights=28, macs=7 + 7, lookups=7, additions=7)
    assert found == WorkCount(Work(75, 0, 7), Work(35), NOTHING, each_step)
    assert found.non_spiking_share == pytest.approx(28 / (28 + 12))


def test_a_maximum_of_frames_feeds_analog_values_at_every_step():
    net = nn.Sequential(
        nn.MaxPool1d(2), nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    graph, tensors, _ = capture(randomised(net), (1, 8))
    assert Analysis(graph, {}).fed_by_analog == set()
    assert Analysis(graph, {}, Signal.FRAMES).fed_by_analog == {"1"}
    assert Analysis(graph, {}, Signal.FRAMES).signals["0"] is Signal.CURRENT
    found = Analysis.of(graph, tensors, Signal.FRAMES).work_count
    assert found.each_step == Work(weights=8, additions=4)  # a comparison in each window


def test_a_network_of_a_first_layer_alone_has_no_share():
    assert count_of(nn.Linear(5, 3), (5,)).non_spiking_share == 0


def test_attention_by_hand():
    """One head of three tokens, four wide, behind a LayerNorm, on a residual stream."""

    def compute(n, x):
        h = n.norm(x + n.a(n.b(x).relu()))
        q, k, v = n.q(h), n.k(h), n.v(h)
        found = (q @ k.transpose(1, 2) / 2).softmax(-1) @ v
        return n.end(found.mean(1))

    layers = {name: nn.Linear(4, 4) for name in ("a", "b", "q", "k", "v", "end")}
    net = Calls(compute, norm=nn.LayerNorm(4), **layers)
    graph, tensors, _ = capture(randomised(net), (3, 4), analog=True)
    analysis = Analysis.of(with_transfer_sites(graph, tensors), tensors)
    found, n = analysis.work_count, 3 * 4
    kinds = {node.op: analysis.work[node.name] for node in analysis.functions}
    assert kinds["add"] == Work(additions=n)
    assert kinds["affine"] == Work(macs=9)
    # of a row of 4: the mean, 4 differences, 4 squares, 1/sqrt of their mean, 4 products, weights
    assert kinds["layer_norm"] == Work(macs=3 * (1 + 4 + 1 + 4 + 4), lookups=3, additions=3 * 7)
    # of a row of 3: the maximum and the sum, 3 differences, 3 of exp, 1/sum, 3 products
    assert kinds["softmax"] == Work(macs=9, lookups=3 * (3 + 1), additions=3 * (2 + 3 + 2))
    products = [analysis.work[x.name] for x in analysis.functions if x.op == "matmul"]
    assert products == [Work(macs=3 * 3 * 4), Work(macs=3 * 4 * 3)]
    # means of what a, q, k and v give; t times what the norm and attention give
    assert sum(analysis.running.values(), Work()) == Work(macs=4 * n + 2 * n)
    assert found.non_spiking_share == 0
    assert found.total.weights == 5 * 3 * 16 + 16
    functions = sum((analysis.work[x.name] for x in analysis.functions), Work())
    assert found.each_step == functions + Work(macs=6 * n)
