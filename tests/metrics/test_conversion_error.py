import math

import pytest
import torch
from helpers.networks import images, measured, recorded, spiking, vgg
from torch import nn

from snnconv.graph.network import ann_inputs
from snnconv.neurons import lm_ht

T, COUNT, V0 = 8, 4, 0.5
LABELS = torch.zeros(COUNT, dtype=torch.int64)


def vectors(snn, x, ceiling=math.inf):
    """By site: activation, clipped, rounded and mean output of each neuron, one at a time."""
    _, seen = recorded(snn, x, T)
    _, inputs = ann_inputs(snn.network, x)
    for name, spikes in seen.items():
        theta = float(snn.neurons[name].threshold)
        rows = []
        for current, total in zip(
            inputs[name].flatten().tolist(), spikes.values.sum(0).flatten().tolist(), strict=True
        ):
            activation = min(max(current, 0), ceiling)
            clipped = min(activation, theta)
            grid = min(max(math.floor(activation * T / theta + V0), 0), T) * theta / T
            rows.append((activation, clipped, grid, total / T))
        yield name, rows


def norm(values):
    return math.sqrt(sum(value * value for value in values))


@pytest.mark.parametrize("theta", [0.25, 1.0])
def test_against_numbers_of_single_neurons(theta):
    snn, x = spiking(vgg(), theta=theta), images(COUNT)
    found = measured(snn, x, LABELS, T, ["conversion-error"]).layers
    for name, rows in vectors(snn, x):
        size = norm(a for a, *_ in rows)
        parts = {
            "conversion_error": norm(mean - a for a, _, _, mean in rows) / size,
            "error_clipping": norm(clipped - a for a, clipped, _, _ in rows) / size,
            "error_rounding": norm(grid - clipped for _, clipped, grid, _ in rows) / size,
            "error_rest": norm(mean - grid for _, _, grid, mean in rows) / size,
        }
        assert found[name] == pytest.approx(parts)
        # vectors add up, so norms obey the triangle inequality
        assert found[name]["conversion_error"] <= sum(list(found[name].values())[1:]) + 1e-12


def test_under_a_constant_current_there_is_clipping_and_rounding_only():
    snn = spiking(vgg())
    first = snn.network.graph.sites[0].name
    row = measured(snn, images(COUNT), LABELS, T, ["conversion-error"]).layers[first]
    assert row["error_rest"] == 0
    assert row["error_clipping"] > 0
    assert row["error_rounding"] > 0


def test_a_clip_of_the_activation_belongs_to_the_activation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.Hardtanh(0, 0.5), nn.Linear(5, 4))
    snn, x = spiking(net, theta=0.5), images(COUNT)
    ((_, row),) = measured(snn, x, LABELS, T, ["conversion-error"]).layers.items()
    ((_, rows),) = vectors(snn, x, 0.5)
    assert row["error_clipping"] == 0
    size = norm(a for a, *_ in rows)
    assert row["conversion_error"] == pytest.approx(norm(m - a for a, _, _, m in rows) / size)


def test_a_site_without_activations_has_no_relative_error():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 3), nn.ReLU(), nn.Linear(3, 4))
    nn.init.zeros_(net[1].weight)
    nn.init.constant_(net[1].bias, -1)
    found = measured(spiking(net), images(COUNT), LABELS, T, ["conversion-error"]).layers
    assert set(found["2"].values()) == {None}


@pytest.mark.parametrize("mixing", ["uniform", "identity"])
def test_neurons_that_give_their_mean_over_time_only(mixing):
    """Levels and steps make one grid, which a constant current meets exactly."""
    snn = spiking(vgg(), kind=lm_ht.LMHT, params=lm_ht.Params(levels=4, omega=mixing), T=T)
    first, *_ = snn.network.graph.sites
    row = measured(snn, images(COUNT), LABELS, T, ["conversion-error"]).layers[first.name]
    assert row["error_rest"] < 1e-6
    assert 0 < row["error_rounding"] < 0.1
