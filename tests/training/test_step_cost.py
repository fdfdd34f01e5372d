"""What a training step costs: its memory is counted tensor by tensor."""

import pytest
import torch
from helpers.runs import training

from snnconv.training.step_cost import StepCost, least, peak_bytes, timed

CPU = torch.device("cpu")
MIB = 2**20 // 4
"""Values of float32 in a MiB."""


def test_what_is_alive_at_one_time_counts():
    """One MiB that goes before two others come; a view and a change in place take nothing."""

    def work():
        first = torch.ones(MIB)
        del first
        second = torch.ones(MIB)
        third = second.view(4, -1).add_(1) + 1
        del second, third
        torch.ones(MIB)

    assert peak_bytes(work, CPU) == 2 * 2**20


def test_what_was_there_before_does_not_count():
    before = torch.ones(MIB)
    assert peak_bytes(lambda: before.add_(1), CPU) == 0


def test_the_backward_pass_counts():
    """It holds what the forward pass kept, and makes as much again."""
    weight = torch.ones(MIB, requires_grad=True)
    assert peak_bytes(lambda: weight.exp().sum().backward(), CPU) >= 2 * 2**20


def test_the_least_of_each_cost():
    costs = [StepCost(3.0, 2.0), StepCost(None, None, 7.0), StepCost(4.0, 1.0)]
    assert least(costs) == StepCost(3.0, 1.0, 7.0)
    assert least([]) == StepCost()
    assert timed(lambda: None, CPU).step_memory_mib is None
    assert timed(lambda: None, CPU, weigh=True).step_seconds is None


def memory(folder, **options):
    report = training(
        folder,
        model="cnn?width=0.25",
        epochs=1,
        limit=34,
        batch_size=15,
        neuron="lif",
        step_memory=True,
        **options,
    )
    return report.epochs[0].step_memory_mib


def test_memory_is_flat_in_t_for_sltt_and_grows_through_all_steps(tmp_path):
    """SLTT goes back through one step at a time."""
    sltt = {"slice": 1, "update": "batch"}
    flat = [memory(tmp_path, timesteps=T, **sltt) for T in (2, 8)]
    assert flat[1] == pytest.approx(flat[0], rel=0.05)
    grown = [memory(tmp_path, timesteps=T) for T in (2, 8)]
    assert grown[1] > 2.5 * grown[0]
