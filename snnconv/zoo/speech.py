"""A network on raw waveforms.

Shape:
    ``[B, channels, size] -> [B, classes]``.

Reference:
    Dai, Dai, Qu, Li & Das 2017, *Very Deep Convolutional Neural Networks for Raw Waveforms*,
    table 1: 0.56 million parameters for ten classes.

Deviations:
    A pooling drops the rest of a length that is no multiple of four: 8,000 samples become 31 steps
    at the last one, where the paper rounds up. A pooling that would meet fewer than four steps is
    left out. Weights start by He's rule in place of Glorot's, as everywhere in the zoo.
"""

from collections import OrderedDict

from torch import nn

from snnconv.zoo.parts import initialise, pooling, scaled

_LAYERS = ((128, 80, 4), (128, 3, 1), (256, 3, 1), (512, 3, 1))  # channels, kernel, stride
_POOL = 4


def m5(
    channels: int = 1,
    size: int = 8000,
    classes: int = 10,
    pool: str = "max",
    width: float = 1.0,
) -> nn.Module:
    """For waveforms: four convolutions, a pooling after each, a global average, a linear layer.

    Pooling is by maximum unless told otherwise, as in the paper.
    """
    features: list[nn.Module] = []
    for full, kernel, stride in _LAYERS:
        out = scaled(full, width)
        padding = (kernel - stride + 1) // 2  # the length is divided by the stride
        features += [
            nn.Conv1d(channels, out, kernel, stride, padding, bias=False),
            nn.BatchNorm1d(out),
            nn.ReLU(),
        ]
        channels, size = out, size // stride
        if size >= _POOL:
            features.append(pooling(pool, _POOL, rank=1))
            size //= _POOL
    classifier = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes)]
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)}
    return initialise(nn.Sequential(OrderedDict(parts)))
