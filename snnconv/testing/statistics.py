"""The laws of statistics.

Each law is asked of activations of several kinds: most of them small, a few large, very few at all,
two values, and a single one.

Shape:
    Activations ``[n, channels]``, thresholds ``[channels]``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconv.calibration.histogram import STATISTICS, Histogram, Statistic
from snnconv.core.metadata import Parameters
from snnconv.testing.base import Kind, Law, described, in_words, variants


@dataclass(frozen=True)
class Thresholds:
    """Finds thresholds by a statistic with one setting of its parameters."""

    statistic: Statistic
    params: Mapping[str, Any]

    def __call__(self, activations: Tensor, bits: int = 10) -> Tensor:
        """The thresholds; ``bits`` says how fine the histogram is."""
        histogram = Histogram(activations.shape[1], bits)
        for batch in activations.split(700):
            histogram.update(batch)
        return self.statistic.threshold(histogram, self.statistic.params(**self.params))


def subjects(statistic: Statistic) -> Iterator[tuple[str, Thresholds]]:
    """A statistic with each of its settings."""
    params = statistic.params
    chosen = variants(params) if issubclass(params, Parameters) else [{}]
    for setting in chosen:
        yield in_words(setting), Thresholds(statistic, setting)


def activations(n: int = 2000, channels: int = 3) -> dict[str, Tensor]:
    """Activations of each kind, by its name."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, channels, generator=generator)
    rare = torch.rand(n, channels, generator=generator) < 0.001
    return {
        "half-normal": noise.relu(),
        "log-normal": noise.exp(),
        "sparse": torch.where(rare, noise.abs() + 0.1, 0),
        "two values": (noise > 0).float() * 0.3,
        "one outlier": torch.cat([torch.zeros(n, channels), torch.ones(1, channels)]),
    }


def every_parameter_has_a_default_and_a_description(find: Thresholds) -> None:
    """Thresholds can be found without a parameter, and help says what each parameter is."""
    described(find.statistic.params)


def thresholds_are_positive_and_at_most_the_maximum(find: Thresholds) -> None:
    """One threshold a channel, in float64, above 0 and at most the largest activation."""
    for kind, rows in activations().items():
        theta = find(rows)
        assert theta.shape == rows.shape[1:], kind
        assert theta.dtype == torch.float64, kind
        assert (theta > 0).all(), kind
        assert (theta <= rows.amax(0)).all(), kind


def a_scaled_site_has_a_scaled_threshold(find: Thresholds) -> None:
    """Exactly for a power of two, within the width of a bin for another scale."""
    for kind, rows in activations().items():
        assert torch.equal(find(rows * 2**-12), find(rows) * 2**-12), kind
    rows = activations()["half-normal"]
    ratio = find(rows * 3) / find(rows)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3), rtol=5e-3, atol=0)


def the_order_of_activations_does_not_matter(find: Thresholds) -> None:
    """The same thresholds, bit by bit, for the same activations in another order."""
    generator = torch.Generator().manual_seed(1)
    for kind, rows in activations().items():
        order = torch.randperm(len(rows), generator=generator)
        assert torch.equal(find(rows[order]), find(rows)), kind


def channels_do_not_see_each_other(find: Thresholds) -> None:
    """A channel's threshold is that of the channel alone, bit by bit, with any others."""
    for kind, rows in activations().items():
        scaled = rows * torch.tensor([1, 5, 0.01])
        wide = torch.linspace(-20, 10, len(rows)).exp2()[:, None]
        alone = torch.cat([find(scaled[:, [c]]) for c in range(3)])
        assert torch.equal(find(torch.cat([scaled, wide], 1))[:3], alone), kind


def a_dead_channel_has_no_threshold(find: Thresholds) -> None:
    """0 for a channel without any activation, and no effect on the others."""
    rows = activations()["half-normal"]
    rows[:, 1] = 0
    theta = find(rows)
    assert theta[1] == 0
    assert (theta[[0, 2]] > 0).all()


def what_is_exact_does_not_depend_on_bins(find: Thresholds) -> None:
    """The same thresholds from a fine histogram and from a coarse one."""
    for kind, rows in activations().items():
        assert torch.equal(find(rows, bits=4), find(rows, bits=10)), kind


def _is_exact(find: Thresholds) -> str:
    return "" if find.statistic.exact else "it is not exact"


_LAWS: tuple[Law[Thresholds], ...] = (
    Law(every_parameter_has_a_default_and_a_description),
    Law(thresholds_are_positive_and_at_most_the_maximum),
    Law(a_scaled_site_has_a_scaled_threshold),
    Law(the_order_of_activations_does_not_matter),
    Law(channels_do_not_see_each_other),
    Law(a_dead_channel_has_no_threshold),
    Law(what_is_exact_does_not_depend_on_bins, unless=_is_exact),
)

KIND = Kind(STATISTICS, _LAWS, subjects)
