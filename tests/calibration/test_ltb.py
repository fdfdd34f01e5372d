"""Local learning of thresholds, on the histogram of all samples."""

import pytest
import torch

from snnconv.calibration.histogram import Histogram
from snnconv.calibration.statistics.ltb import Params, threshold


def found(rows, **params):
    histogram = Histogram(rows.shape[1], 10)
    histogram.update(rows)
    return threshold(histogram, Params(**params))


def test_by_hand():
    """Of 0, 0, 1 and 3: 2 * 4/4 = 2; then 2 + 2 * (3 - 2)/4 = 2.5; then 2.5 + 2 * 0.5/4 = 2.75."""
    rows = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    assert [found(rows, steps=n).item() for n in (1, 2, 3)] == [2, 2.5, 2.75]
    assert found(rows, steps=1, lr=0.5).item() == 1


@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_it_is_the_loop_over_the_activations(steps):
    rows = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).exp() - 1
    rows = rows.relu() * torch.tensor([1, 0.01, 30])
    theta = torch.zeros(3, dtype=torch.float64)
    for _ in range(steps):
        theta = theta + 2 * (rows.double() - theta).clamp(min=0).mean(0)
    torch.testing.assert_close(found(rows, steps=steps), theta, rtol=1e-3, atol=0)


def test_it_never_exceeds_the_maximum():
    assert found(torch.full((50, 1), 0.75)).item() == 0.75


def test_more_steps_clip_less():
    rows = torch.randn(4000, 1, generator=torch.Generator().manual_seed(1)).relu()
    thetas = [found(rows, steps=n).item() for n in (1, 10, 100, 1000, 5000)]
    assert thetas == sorted(thetas)
    assert thetas[-1] < rows.max().item()
