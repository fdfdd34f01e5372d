"""Multiply-accumulates that spikes do not replace, against sums by hand."""

import pytest
from helpers.nets import Calls, randomised
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.roles import Carries, by_macs, carried
from snnconv.graph.work import Work, work


def work_of(module, shape, source=Carries.CONSTANT):
    return work(*capture(randomised(module), shape, analog=True)[:2], source)


def test_a_network_of_spikes_has_no_share_that_does_not():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    assert work_of(net, (5,)) == Work(total=56, first=35, once=0, each_step=0)
    assert work_of(net, (5,)).non_spiking_share == 0


def test_a_function_of_spikes_and_what_it_feeds_count_at_every_step():
    net = nn.Sequential(
        *(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)),
    )
    found = work_of(net, (5,))
    assert found == Work(total=35 + 28 + 4 + 12, first=35, once=0, each_step=4 + 12)
    assert found.non_spiking_share == pytest.approx(16 / (28 + 16))


def test_a_function_of_a_constant_input_counts_once_and_does_not_spike():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = work_of(net, (5,))
    assert found == Work(total=35 + 7 + 28 + 12, first=35 + 7 + 28, once=7, each_step=0)
    assert found.non_spiking_share == pytest.approx(7 / (7 + 12))


def test_a_recurrence_of_a_constant_input_is_nearly_all_of_its_network():
    parts = {"part": nn.LSTM(3, 4, batch_first=True), "end": nn.Linear(4, 2)}
    net = Calls(lambda n, x: n.end(n.part(x)[0][:, -1].relu()), **parts)
    found, macs = work_of(net, (6, 3)), 6 * 4 * (4 * (3 + 4) + 8)
    assert found == Work(total=macs + 8, first=macs, once=macs, each_step=0)
    assert found.non_spiking_share == pytest.approx(macs / (macs + 8))


def test_a_function_of_frames_changes_at_every_step_and_so_does_what_it_feeds():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    found = work_of(net, (5,), Carries.FRAMES)
    assert found == Work(total=82, first=35, once=0, each_step=7 + 28)
    assert found.non_spiking_share == pytest.approx(35 / (35 + 12))


def test_a_maximum_of_frames_feeds_analog_values_at_every_step():
    net = nn.Sequential(
        nn.MaxPool1d(2), nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    graph, *_ = capture(randomised(net), (1, 8))
    assert by_macs(graph) == set()
    assert by_macs(graph, Carries.FRAMES) == {"1"}
    assert carried(graph, Carries.FRAMES)["0"] is Carries.CURRENT


def test_a_network_of_a_first_layer_alone_has_no_share():
    assert work_of(nn.Linear(5, 3), (5,)).non_spiking_share == 0
