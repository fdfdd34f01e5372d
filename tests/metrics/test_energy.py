import pytest
import torch
from helpers.networks import context_of, images, measured, spiking, vgg

from snnconv.metrics.base import Figures
from snnconv.metrics.energy import Energy

T = 4
OPERATIONS = {
    "sops_per_sample": 1000.0,
    "sops_per_sample_steps": [100.0, 300.0, 600.0, 1000.0],
    "first_layer_macs_per_sample": 50.0,
    "analog_macs_per_sample": 10.0,
    "ann_macs_per_sample": 400.0,
}


def energy():
    return Energy(context_of(spiking(vgg()), T)).figures(Figures(dict(OPERATIONS))).totals


def pj(value):
    return pytest.approx(value * 1e-9)


def test_synaptic_energy_is_accumulates_only():
    assert energy()["energy_synaptic_mj"] == pj(0.9 * 1000)


def test_the_anns_is_multiply_accumulates():
    assert energy()["energy_ann_mj"] == pj(4.6 * 400)


def test_the_total_computes_the_first_layer_once_and_what_currents_feed_at_every_step():
    assert energy()["energy_total_mj"] == pj(0.9 * 1000 + 4.6 * (50 + 4 * 10))
    assert energy()["energy_total_every_step_mj"] == pj(0.9 * 1000 + 4.6 * 4 * (50 + 10))


def test_up_to_each_step():
    expected = [
        0.9 * sops + 4.6 * (50 + 10 * t) for t, sops in enumerate((100, 300, 600, 1000), start=1)
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
