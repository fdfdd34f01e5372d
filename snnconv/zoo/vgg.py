"""VGG with BatchNorm in its CIFAR form: convolutions, five poolings, one hidden linear stage.

Shape:
    ``[B, channels, size, size] -> [B, classes]``.

Reference:
    Simonyan & Zisserman 2014, configurations A, B, D.

Deviations:
    The CIFAR form has one hidden linear layer of 512 in place of two of 4096; ``hidden=4096`` and
    ``linear=2`` give those of the paper, as the LM-H paper's VGG-13 for 64x64 images has them. A
    pooling that would meet a 1x1 map is left out, so sizes below 32 work.
"""

from collections import OrderedDict

from torch import nn

from snnconv.errors import UsageError
from snnconv.zoo.parts import initialise, pooling, scaled

_A = [[64], [128], [256] * 2, [512] * 2, [512] * 2]
_B = [[64] * 2, [128] * 2, [256] * 2, [512] * 2, [512] * 2]
_D = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]


def _vgg(
    stages: list[list[int]],
    channels: int,
    size: int,
    classes: int,
    pool: str,
    width: float,
    dropout: float,
    hidden: int,
    linear: int,
) -> nn.Module:
    if linear < 1:
        raise UsageError("a VGG has hidden linear layers", f"linear={linear}", "use linear=1 or 2")
    features: list[nn.Module] = []
    for stage in stages:
        for full in stage:
            out = scaled(full, width)
            features += [
                nn.Conv2d(channels, out, 3, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels = out
        if size > 1:
            features.append(pooling(pool))
            size //= 2
    classifier: list[nn.Module] = [nn.Flatten()]
    given, hidden = channels * size * size, scaled(hidden, width)
    for _ in range(linear):
        classifier += [nn.Linear(given, hidden), nn.ReLU(), nn.Dropout(dropout)]
        given = hidden
    classifier.append(nn.Linear(hidden, classes))
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)}
    return initialise(nn.Sequential(OrderedDict(parts)))


def vgg11(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
    hidden: int = 512,
    linear: int = 1,
) -> nn.Module:
    """Configuration A: 8 convolutions."""
    return _vgg(_A, channels, size, classes, pool, width, dropout, hidden, linear)


def vgg13(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
    hidden: int = 512,
    linear: int = 1,
) -> nn.Module:
    """Configuration B: 10 convolutions."""
    return _vgg(_B, channels, size, classes, pool, width, dropout, hidden, linear)


def vgg16(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
    hidden: int = 512,
    linear: int = 1,
) -> nn.Module:
    """Configuration D: 13 convolutions."""
    return _vgg(_D, channels, size, classes, pool, width, dropout, hidden, linear)
