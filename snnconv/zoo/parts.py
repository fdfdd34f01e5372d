"""Parts that the zoo's networks share."""

from collections.abc import Callable

from torch import nn

from snnconv.errors import UsageError

_POOLINGS: dict[str, dict[int, Callable[[int], nn.Module]]] = {
    "avg": {1: nn.AvgPool1d, 2: nn.AvgPool2d},
    "max": {1: nn.MaxPool1d, 2: nn.MaxPool2d},
}


def pooling(pool: str, kernel: int = 2, rank: int = 2) -> nn.Module:
    """Return the pooling: ``avg`` converts exactly, ``max`` by the cumulative rule.

    Args:
        pool: which.
        kernel: its side, and its stride.
        rank: 2 for images, 1 for signals.

    Raises:
        UsageError: neither of the two.
    """
    if pool not in _POOLINGS:
        raise UsageError(
            "there is no pooling of that name", f"pool={pool}", "use pool=avg or pool=max"
        )
    return _POOLINGS[pool][rank](kernel)


def scaled(channels: int, width: float) -> int:
    """Return a hidden channel count under the width factor, at least 1."""
    return max(1, round(channels * width))


def initialise(network: nn.Module) -> nn.Module:
    """Initialise convolutions by He et al. 2015, as the papers' networks do."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
