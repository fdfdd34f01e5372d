"""Multiply-accumulates that spikes do not replace, against sums by hand."""

import pytest
from helpers.nets import Calls, randomised
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis, MacCount, Signal


def count_of(module, shape, source=Signal.CONSTANT):
    return Analysis.of(*capture(randomised(module), shape, analog=True)[:2], source).mac_count


def test_a_network_of_spikes_has_no_share_that_does_not():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    assert count_of(net, (5,)) == MacCount(total=56, first=35, once=0, each_step=0)
    assert count_of(net, (5,)).non_spiking_share == 0


def test_a_function_of_spikes_and_what_it_feeds_count_at_every_step():
    net = nn.Sequential(
        *(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)),
    )
    found = count_of(net, (5,))
    assert found == MacCount(total=35 + 28 + 4 + 12, first=35, once=0, each_step=4 + 12)
    assert found.non_spiking_share == pytest.approx(16 / (28 + 16))


def test_a_function_of_a_constant_input_counts_once_and_does_not_spike():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = count_of(net, (5,))
    assert found == MacCount(total=35 + 7 + 28 + 12, first=35 + 7 + 28, once=7, each_step=0)
    assert found.non_spiking_share == pytest.approx(7 / (7 + 12))


def test_a_recurrence_of_a_constant_input_is_nearly_all_of_its_network():
    parts = {"part": nn.LSTM(3, 4, batch_first=True), "end": nn.Linear(4, 2)}
    net = Calls(lambda n, x: n.end(n.part(x)[0][:, -1].relu()), **parts)
    found, macs = count_of(net, (6, 3)), 6 * 4 * (4 * (3 + 4) + 8)
    assert found == MacCount(total=macs + 8, first=macs, once=macs, each_step=0)
    assert found.non_spiking_share == pytest.approx(macs / (macs + 8))


def test_a_function_of_frames_changes_at_every_step_and_so_does_what_it_feeds():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = count_of(net, (5,), Signal.FRAMES)
    assert found == MacCount(total=82, first=35, once=0, each_step=7 + 28)
    assert found.non_spiking_share == pytest.approx(35 / (35 + 12))


def test_a_maximum_of_frames_feeds_analog_values_at_every_step():
    net = nn.Sequential(
        nn.MaxPool1d(2), nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    graph, *_ = capture(randomised(net), (1, 8))
    assert Analysis(graph, {}).fed_by_analog == set()
    assert Analysis(graph, {}, Signal.FRAMES).fed_by_analog == {"1"}
    assert Analysis(graph, {}, Signal.FRAMES).signals["0"] is Signal.CURRENT


def test_a_network_of_a_first_layer_alone_has_no_share():
    assert count_of(nn.Linear(5, 3), (5,)).non_spiking_share == 0
