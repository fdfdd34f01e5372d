import pytest
import torch
from helpers.networks import context_of, images, measured, spiking, vgg

from snnconv.graph.operations.work import Work, WorkCount
from snnconv.metrics.base import Figures
from snnconv.metrics.energy import Energy

T = 4
OPERATIONS = {
    "sops_per_sample": 1000.0,
    "sops_per_sample_steps": [100.0, 300.0, 600.0, 1000.0],
}
WORK = WorkCount(
    total=Work(weights=380, macs=20, lookups=8, additions=30),
    first=Work(weights=40, macs=10),
    once=Work(macs=10),
    each_step=Work(macs=10, lookups=3, additions=5),
)


def energy():
    context = context_of(spiking(vgg()), T)
    vars(context.analysis)["work_count"] = WORK
    return Energy(context).figures(Figures(dict(OPERATIONS))).totals


def pj(value):
    return pytest.approx(value * 1e-9)


def test_synaptic_energy_is_accumulates_only():
    assert energy()["energy_synaptic_mj"] == pj(0.9 * 1000)


def test_the_anns_is_multiply_accumulates_and_its_functions():
    assert energy()["energy_ann_mj"] == pj(4.6 * 400 + 10 * 8 + 0.9 * 30)


def test_the_total_computes_the_first_layer_once_and_what_currents_feed_at_every_step():
    step = 4.6 * 10 + 10 * 3 + 0.9 * 5
    assert energy()["energy_total_mj"] == pj(0.9 * 1000 + 4.6 * 50 + 4 * step)
    assert energy()["energy_total_every_step_mj"] == pj(0.9 * 1000 + 4 * (4.6 * 50 + step))


def test_up_to_each_step():
    step = 4.6 * 10 + 10 * 3 + 0.9 * 5
    expected = [
        0.9 * sops + 4.6 * 50 + step * t for t, sops in enumerate((100, 300, 600, 1000), start=1)
    ]
    assert energy()["energy_total_mj_steps"] == [pj(value) for value in expected]
    assert energy()["energy_total_mj_steps"][-1] == energy()["energy_total_mj"]


@pytest.mark.parametrize("which", ["synaptic", "total", "total_every_step"])
def test_ratios_are_to_the_ann(which):
    found = energy()
    expected = found[f"energy_{which}_mj"] / found["energy_ann_mj"]
    assert found[f"energy_{which}_ratio"] == pytest.approx(expected)


def test_of_a_network():
    labels = torch.zeros(3, dtype=torch.int64)
    found = measured(spiking(vgg()), images(3), labels, T, ["energy", "synops"]).totals
    assert found["sops_per_sample"] > 0
    assert found["energy_total_mj"] == pj(
        0.9 * found["sops_per_sample"] + 4.6 * found["first_layer_macs_per_sample"]
    )


def test_it_needs_the_operations():
    assert Energy.needs == ("synops",)
