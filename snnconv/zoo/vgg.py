"""VGG with BatchNorm in its CIFAR form: convolutions, five poolings, one hidden linear stage.

Shape:
    ``[B, channels, size, size] -> [B, classes]``.

Reference:
    Simonyan & Zisserman 2014, configurations A, B, D.

Deviations:
    The CIFAR form has 512-wide linear layers in place of 4096. A pooling that would meet a 1x1 map
    is left out, so sizes below 32 work.
"""

from collections import OrderedDict

from torch import nn

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
) -> nn.Module:
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
    hidden = scaled(512, width)
    classifier = [
        nn.Flatten(),
        nn.Linear(channels * size * size, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    ]
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)}
    return initialise(nn.Sequential(OrderedDict(parts)))


def vgg11(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Module:
    """Configuration A: 8 convolutions."""
    return _vgg(_A, channels, size, classes, pool, width, dropout)


def vgg13(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Module:
    """Configuration B: 10 convolutions."""
    return _vgg(_B, channels, size, classes, pool, width, dropout)


def vgg16(
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Module:
    """Configuration D: 13 convolutions."""
    return _vgg(_D, channels, size, classes, pool, width, dropout)
