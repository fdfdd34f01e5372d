"""Two small networks: for first trials, and for the embedded default.

Shape:
    ``[B, channels, size, size] -> [B, classes]``.

Reference:
    None: ordinary small networks.

Deviations:
    None.
"""

from torch import nn

from snnconv.zoo.parts import initialise, pooling, scaled


def mlp(
    channels: int = 1,
    size: int = 8,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
) -> nn.Module:
    """Two hidden layers of 128; no pooling, so ``pool`` changes nothing."""
    pooling(pool)  # refuses an unknown name
    hidden = scaled(128, width)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * size * size, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def cnn(
    channels: int = 1,
    size: int = 8,
    classes: int = 10,
    pool: str = "avg",
    width: float = 1.0,
) -> nn.Module:
    """Three 3x3 convolutions with BatchNorm, two poolings, two linear layers."""
    a, b, hidden = scaled(16, width), scaled(32, width), scaled(64, width)
    layers: list[nn.Module] = []
    for inputs, outputs, pools in ((channels, a, True), (a, b, False), (b, b, True)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        if pools:
            layers.append(pooling(pool))
    layers += [
        nn.Flatten(),
        nn.Linear(b * (size // 4) ** 2, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    ]
    return initialise(nn.Sequential(*layers))
