import numpy as np
import pytest
import torch
from helpers.layers import layer
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.calibration.histogram import Histogram
from snnconv.calibration.memory import CHANNEL_BITS, LAYER_BITS
from snnconv.calibration.statistics.mse import Params, errors, search, spread, threshold


def found(activations, bits=10, **params):
    histogram = Histogram(1, bits)
    histogram.update(activations[:, None])
    return threshold(histogram, Params(**params)).item()


def error(activations, theta, timesteps, v0):
    """Of the raw activations, with the formula of methods.md; theta may be many, ``[n, 1]``."""
    a = activations.double()
    quantised = theta / timesteps * (a * timesteps / theta + v0).floor().clamp(0, timesteps)
    return ((a - quantised) ** 2).mean(-1)


def least(activations, timesteps, v0, number):
    """The least error by brute force: many thresholds up to the maximum, and more below it."""
    top = activations.max().item()
    grids = torch.linspace(0, top, number + 1)[1:], torch.linspace(0.9 * top, top, number // 2)
    candidates = torch.cat(grids).double()[:, None]
    return min(error(activations, some, timesteps, v0).min() for some in candidates.split(100))


def distinct(*values):
    """Of these values each equally often, in no order."""
    return lambda n, seeded: torch.tensor(values)[
        torch.randint(len(values), (n,), generator=seeded)
    ]


KINDS = {
    "half-normal": lambda n, seeded: torch.randn(n, generator=seeded).relu(),
    "exponential": lambda n, seeded: -torch.rand(n, generator=seeded).clamp(min=1e-6).log(),
    "uniform": lambda n, seeded: torch.rand(n, generator=seeded),
    "log-normal": lambda n, seeded: torch.randn(n, generator=seeded).mul(1.5).exp(),
    "an outlier": lambda n, seeded: torch.randn(n, generator=seeded).relu().index_fill(0, ZERO, 40),
    "2 % nonzero": lambda n, seeded: (
        torch.randn(n, generator=seeded).abs() * (torch.rand(n, generator=seeded) < 0.02)
    ),
    "a fiftieth below 1": lambda n, seeded: 0.98 + 0.02 * torch.rand(n, generator=seeded),
    "a tenth below 1": lambda n, seeded: 0.9 + 0.1 * torch.rand(n, generator=seeded),
    "256 steps": lambda n, seeded: (torch.rand(n, generator=seeded) * 256).round() / 256,
    "seven values": distinct(0.11, 0.5, 0.7, 1.31, 1.3, 2.2, 2.9),
    "two values": distinct(0.3, 0.83),
    "two values in one bin": distinct(1.0, 1.003),
    "one value": distinct(0.77),
}
ZERO = torch.tensor([0])
FEW = 1500, 1000  # activations, and thresholds tried by brute force


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timesteps", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("v0", [0, 0.5])
@pytest.mark.parametrize("bits", [CHANNEL_BITS, LAYER_BITS])
def test_the_error_is_within_two_percent_of_the_least(kind, timesteps, v0, bits):
    n, number = FEW
    activations = KINDS[kind](n, torch.Generator().manual_seed(0))
    theta = found(activations, bits, timesteps=timesteps, v0=v0)
    rounding = 1e-9 * (activations.double() ** 2).mean()
    allowed = 1.02 * least(activations, timesteps, v0, number) + rounding
    assert error(activations, theta, timesteps, v0) <= allowed


def near_the_least(channels, timesteps, v0, bits):
    """Each channel of a site has a threshold within 2 % of the least error."""
    histogram = Histogram(len(channels), bits)
    histogram.update(torch.nn.utils.rnn.pad_sequence(channels))
    thetas = threshold(histogram, Params(timesteps=timesteps, v0=v0))
    for number, (activations, theta) in enumerate(zip(channels, thetas, strict=True)):
        rounding = 1e-9 * (activations.double() ** 2).mean()
        allowed = 1.02 * least(activations, timesteps, v0, 400) + rounding
        assert error(activations, theta, timesteps, v0) <= allowed, number


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(2.0**-6, 2.0**6, width=32), min_size=1, max_size=12),
    st.lists(st.integers(1, 400), min_size=12, max_size=12),
    st.sampled_from([1, 2, 3, 8, 32, 64]),
    st.sampled_from([0, 0.5]),
    st.sampled_from([CHANNEL_BITS, LAYER_BITS]),
)
def test_few_values_however_often(values, often, timesteps, v0, bits):
    values, often = torch.tensor(values), torch.tensor(often[: len(values)])
    near_the_least([values.repeat_interleave(often)], timesteps, v0, bits)


@st.composite
def nasty(draw, most=3):
    """Activations of a channel: clusters wide and narrow, few values, heavy tails, zeros."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    parts = []
    for _ in range(draw(st.integers(1, most))):
        n = draw(st.sampled_from([1, 5, 30, 60, 300, 600, 1500]))
        centre = 2.0 ** draw(st.floats(-3, 3))
        width = centre * draw(st.sampled_from([0, 1e-4, 1e-3, 0.01, 0.1, 0.3, 1]))
        even, normal = torch.rand(n, generator=generator), torch.randn(n, generator=generator)
        part = {
            "even": centre - width * even,
            "normal": centre + width / 3 * normal,
            "heavy tail": centre * (normal / even.clamp(min=1e-4)).abs().clamp(max=1e4),
            "log-normal": centre * (normal * draw(st.sampled_from([0.1, 1, 2]))).exp(),
        }[draw(st.sampled_from(["even", "normal", "heavy tail", "log-normal"]))]
        parts.append(part.abs().clamp(min=1e-9).repeat(draw(st.sampled_from([1, 1, 1, 3, 20]))))
    parts.append(torch.zeros(draw(st.sampled_from([0, 1000]))))
    return torch.cat(parts)


def test_a_site_of_narrow_channels_beside_a_wide_one():
    """Values within a hundredth of each other; 7.7 % above the least error once."""
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(1500, 20, generator=generator)
    narrow = 2 ** torch.linspace(-3, 3, 20) * (1 + 1e-3 * normal)
    wide = torch.linspace(-16, 4, 1500).exp2()
    near_the_least([*narrow.unbind(1), wide], 64, 0, CHANNEL_BITS)


@settings(deadline=None, max_examples=80)
@given(
    nasty(),
    st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
    st.sampled_from([0, 0.25, 0.5]),
    st.sampled_from([CHANNEL_BITS, LAYER_BITS]),
)
def test_a_channel_of_any_kind(activations, timesteps, v0, bits):
    near_the_least([activations], timesteps, v0, bits)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(nasty(), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 7, 32, 300]),
    st.sampled_from([0, 0.3, 0.5]),
)
def test_compiled_code_finds_the_same_thresholds(channels, timesteps, v0):
    histogram = Histogram(len(channels) + 1, CHANNEL_BITS)
    silent = torch.zeros(1)
    histogram.update(torch.nn.utils.rnn.pad_sequence([*channels, silent]))
    bins, params = histogram.bins(), Params(timesteps=timesteps, v0=v0)
    assert torch.equal(search(bins, params), search(bins, params, compiled=False))


@pytest.mark.parametrize("v0", [0, 0.5])
@pytest.mark.parametrize("timesteps", [1, 4, 16, 64])
def test_a_site_of_many_channels(timesteps, v0):
    """Some span twenty octaves, so that their bins are as wide as they get; others are not."""
    generator = torch.Generator().manual_seed(2)
    sixty = 0.9 + 0.1 * torch.rand(60, generator=generator)
    two = torch.rand(1000, generator=generator)
    channels = [
        sixty.repeat(25),
        torch.rand(12, generator=generator).repeat(100),
        torch.cat([0.2 + 0.001 * two, 0.9 + 0.001 * two[:400]]),
        torch.cat([0.5 + 0.1 * two, 3 * two[:200]]),
        *[kind(FEW[0], generator) for kind in KINDS.values()],
        torch.linspace(-16, 4, 300).exp2(),
    ]
    silent = torch.zeros(600 - len(channels), 1)
    histogram = Histogram(600, CHANNEL_BITS)
    histogram.update(torch.nn.utils.rnn.pad_sequence([*channels, *silent]))
    assert histogram.bits[len(channels) - 1] == CHANNEL_BITS
    near_the_least(channels, timesteps, v0, CHANNEL_BITS)


@pytest.mark.parametrize("bits", [CHANNEL_BITS, LAYER_BITS])
def test_channels_have_thresholds_of_their_own(bits):
    rows = torch.randn(500, 4).relu() * torch.tensor([1.0, 0.1, 0.0, 7.0])
    histogram = Histogram(4, bits)
    histogram.update(rows)
    together = threshold(histogram, Params(timesteps=8))
    assert together[2] == 0
    for channel in (0, 1, 3):
        assert together[channel] == found(rows[:, channel], bits, timesteps=8)


@pytest.mark.parametrize("v0", [0, 0.3, 0.5])
@pytest.mark.parametrize("theta", [0.3, 1.0, 2.5])
def test_the_integral_over_a_bin_is_that_of_many_activations_in_it(theta, v0):
    low, high = 0.4, 1.7
    many = torch.linspace(low, high, 400_001, dtype=torch.float64)
    bins = (np.array([float(x)]) for x in (len(many), many.sum(), low, high))
    (total,), _ = errors(spread(*bins), np.array([theta]), Params(timesteps=4, v0=v0))
    assert total / len(many) == pytest.approx(error(many, theta, 4, v0).item(), rel=1e-4)


@pytest.mark.parametrize("v0", [0, 0.5])
@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 1, 3], [3, 2, 1]])
def test_of_up_to_three_activations_a_bin_the_error_is_exact(counts, v0):
    values = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bins = [part + 2 * i for i, part in enumerate(values[: sum(counts)].split(counts))]
    of = [[float(f(part)) for part in bins] for f in (len, torch.sum, torch.min, torch.max)]
    theta = np.linspace(0.5, 6, 40)
    total, _ = errors(spread(*map(np.array, of)), theta, Params(timesteps=4, v0=v0))
    exact = error(torch.cat(bins), torch.from_numpy(theta)[:, None], 4, v0) * sum(counts)
    np.testing.assert_allclose(total, exact, rtol=1e-9)


def test_the_best_threshold_for_given_levels():
    """Of 1 and 2.4 at levels 1 and 2: u = (1 + 2 * 2.4) / (1 + 4) = 1.16."""
    bins = np.array([1.0, 1.0]), np.array([1.0, 2.4]), np.array([1.0, 2.4]), np.array([1.0, 2.4])
    _, best = errors(spread(*bins), np.array([2.0]), Params(timesteps=2))
    assert best == pytest.approx([2 * 1.16])


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
    assert (Params().timesteps, Params().v0) == (None, None)  # of the conversion
    assert (Params().levels, Params().start) == (32, 0.5)
