import pytest
import torch
from helpers.layers import layer

from snnconv.calibration.histogram import Histogram
from snnconv.calibration.statistics.mse import Params, _errors, threshold

DATA = {
    "half-normal": lambda noise: noise.relu(),
    "log-normal": lambda noise: noise.exp(),
    "outlier": lambda noise: torch.where(torch.arange(len(noise)) == 0, 40.0, noise.relu()),
}


def found(activations, bits=10, **params):
    histogram = Histogram(1, bits)
    histogram.update(activations[:, None])
    return threshold(histogram, Params(**params)).item()


def error(activations, theta, timesteps, v0):
    """Of the raw activations, with the formula of methods.md; theta may be many, ``[n, 1]``."""
    a = activations.double()
    quantised = theta / timesteps * (a * timesteps / theta + v0).floor().clamp(0, timesteps)
    return ((a - quantised) ** 2).mean(-1)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(
    ("timesteps", "bits", "v0", "within"),
    [
        (1, 6, 0, 0.01),
        (1, 6, 0.5, 0.01),
        (4, 6, 0, 0.03),  # bins of 1.6 %, and counts that jump where an activation meets theta
        (4, 6, 0.5, 0.01),
        (32, 10, 0, 0.01),
        (32, 10, 0.5, 0.01),
        (128, 10, 0, 0.03),  # bins of 0.1 % against spikes of 0.8 %
        (128, 10, 0.5, 0.01),
    ],
)
def test_no_threshold_is_better(kind, timesteps, bits, v0, within):
    activations = DATA[kind](torch.randn(8000))
    theta = found(activations, bits, timesteps=timesteps, v0=v0)
    candidates = torch.linspace(0, activations.max().item(), 2001)[1:, None].double()
    others = [error(activations, some, timesteps, v0) for some in candidates.split(40)]
    assert torch.cat(others).min() >= (1 - within) * error(activations, theta, timesteps, v0)


DENSE = {
    "half-normal": lambda n, seeded: torch.randn(n, generator=seeded).relu(),
    "exponential": lambda n, seeded: -torch.rand(n, generator=seeded).clamp(min=1e-6).log(),
    "uniform": lambda n, seeded: torch.rand(n, generator=seeded),
    "a tenth below 1": lambda n, seeded: 0.9 + 0.1 * torch.rand(n, generator=seeded),
    "a fiftieth below 1": lambda n, seeded: 0.98 + 0.02 * torch.rand(n, generator=seeded),
    "heavy tails": lambda n, seeded: torch.randn(n, generator=seeded).mul(1.5).exp(),
}


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("timesteps", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("v0", [0, 0.5])
def test_of_a_layer_the_error_is_within_two_percent_of_the_least(kind, timesteps, v0):
    activations = DENSE[kind](1500, torch.Generator().manual_seed(0))
    theta = found(activations, timesteps=timesteps, v0=v0)
    top = activations.max().item()
    grids = (torch.linspace(0, top, 1501)[1:], torch.linspace(0.9 * top, top, 501))
    candidates = torch.cat(grids).double()[:, None]
    others = [error(activations, some, timesteps, v0) for some in candidates.split(100)]
    assert error(activations, theta, timesteps, v0) <= 1.02 * torch.cat(others).min()


@pytest.mark.parametrize("v0", [0, 0.3, 0.5])
@pytest.mark.parametrize("theta", [0.3, 1.0, 2.5])
def test_the_integral_over_a_bin_is_that_of_many_activations_in_it(theta, v0):
    low, high = 0.4, 1.7
    edges, weights = torch.tensor([high, low]).double(), torch.tensor([1.0, -1.0]).double()
    many = torch.linspace(low, high, 400_001, dtype=torch.float64)
    given = torch.tensor([theta], dtype=torch.float64), Params(timesteps=4, v0=v0)
    (integral,) = _errors(edges, weights, *given) / (edges[0] - edges[1])
    torch.testing.assert_close(integral, error(many, theta, 4, v0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("v0", [0, 0.5])
def test_the_error_is_that_of_if_neurons(v0):
    activations = torch.randint(0, 64, (500,)) / 16
    theta, timesteps = 2.5, 8
    spikes, _ = layer("if", theta, v0=v0)(activations.expand(timesteps, 1, -1))
    mean = spikes.values.double().mean(0).flatten()
    expected = ((activations.double() - mean) ** 2).mean()
    torch.testing.assert_close(error(activations, theta, timesteps, v0), expected)


def test_more_steps_clip_less():
    activations = torch.randn(6000).exp()
    thetas = [found(activations, timesteps=t) for t in (1, 4, 16, 64, 256)]
    assert thetas == sorted(thetas)
    assert thetas[0] < 0.5 * thetas[-1]


def test_one_value_is_met_exactly():
    activations = torch.full((100,), 1.0)
    theta = found(activations, timesteps=4)
    assert error(activations, theta, 4, 0.5) < 1e-6


def test_the_defaults():
    assert Params() == Params(timesteps=32, v0=0.5)
