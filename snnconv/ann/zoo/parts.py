"""What the zoo's networks share."""

from torch import nn

from snnconv.errors import UsageError


def pooling(pool: str, kernel: int = 2) -> nn.Module:
    """``avg`` converts exactly; ``max`` converts by the cumulative rule.

    Raises:
        UsageError: neither.
    """
    match pool:
        case "avg":
            return nn.AvgPool2d(kernel)
        case "max":
            return nn.MaxPool2d(kernel)
    raise UsageError("there is no pooling of that name", f"pool={pool}", "use pool=avg or pool=max")


def scaled(channels: int, width: float) -> int:
    """A hidden channel count under the width factor, at least 1."""
    return max(1, round(channels * width))


def initialise(network: nn.Module) -> nn.Module:
    """He initialisation for convolutions (He et al. 2015), as the papers' networks use."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
