"""Networks that do not classify: a U-Net that segments, and one that finds an angle.

python docs/results/tasks.py [masks | angles]    # JSON lines on standard output

Both are trained on Fashion-MNIST here, and converted without training. The classes of a place are
the garment that is drawn there, or none. The angle is the one by which an image was turned.
"""

import json
import os
import sys
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snnconv
from snnconv.data.dataset import Dataset, load_dataset
from snnconv.data.split import ArraySplit

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "tasks"
TRAIN, TEST = 12_000, 1_000
DRAWN = 25
"""A pixel above belongs to the garment."""
LARGEST = 45.0
"""Degrees by which images are turned at most; targets are in this unit."""
STEPS = (1, 2, 4, 8, 16)
SETTINGS = ((1.0, 1), (1.0, 4), (0.5, 4))
"""What thresholds by mse are multiplied by, and the most spikes of a neuron and step."""


def _images() -> tuple[Dataset, ArraySplit, ArraySplit]:
    whole = load_dataset("fashion-mnist")
    parts = []
    for split, n in ((whole.train, TRAIN), (whole.test, TEST)):
        assert isinstance(split, ArraySplit)
        parts.append(ArraySplit(split.pixels[:n], split.labels[:n], split.scale))
    return whole, *parts


def masks() -> Dataset:
    """Masks [28, 28] of eleven classes: 0 where nothing is drawn, else the garment's, from 1."""
    whole, train, test = _images()

    def split(part: ArraySplit) -> ArraySplit:
        drawn = part.pixels[:, 0] > DRAWN
        return ArraySplit(part.pixels, drawn * (part.labels[:, None, None] + 1), part.scale)

    classes = ("nothing", *whole.info.classes)
    info = whole.info.model_copy(update={"classes": classes})
    return Dataset(info, split(train), split(test), whole.scale)


def angles() -> Dataset:
    """Images that are turned by a random angle, and that angle."""
    whole, train, test = _images()

    def split(part: ArraySplit, seed: int) -> ArraySplit:
        random = torch.Generator().manual_seed(seed)
        share = 2 * torch.rand(len(part.pixels), generator=random) - 1
        angle = torch.deg2rad(LARGEST * share)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        theta = torch.stack([cos, -sin, zero, sin, cos, zero], 1).reshape(-1, 2, 3)
        grid = F.affine_grid(theta, list(part.pixels.shape), align_corners=False)
        turned = F.grid_sample(part.pixels.float(), grid, align_corners=False)
        return ArraySplit(turned.round().to(torch.uint8), share, part.scale)

    info = whole.info.model_copy(update={"classes": ()})
    return Dataset(info, split(train, 0), split(test, 1), whole.scale)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Two poolings down, two up, and the maps of the way down beside those of the way up."""

    def __init__(self, width: int = 8, classes: int = 11) -> None:
        super().__init__()
        self.first, self.second = _block(1, width), _block(width, 2 * width)
        self.bottom = _block(2 * width, 4 * width)
        self.third, self.fourth = _block(6 * width, 2 * width), _block(3 * width, width)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``[B, classes, H, W]``."""
        one = self.first(x)
        two = self.second(F.avg_pool2d(one, 2))
        up = F.interpolate(self.bottom(F.avg_pool2d(two, 2)), scale_factor=2.0)
        up = self.third(torch.cat([up, two], 1))
        up = self.fourth(torch.cat([F.interpolate(up, scale_factor=2.0), one], 1))
        found: Tensor = self.last(up)
        return found


def regressor(width: int = 8) -> nn.Module:
    """Three convolutions and two linear layers, with one output."""
    return nn.Sequential(
        _block(1, width),
        nn.AvgPool2d(2),
        _block(width, 2 * width),
        nn.AvgPool2d(2),
        _block(2 * width, 4 * width),
        nn.Flatten(),
        nn.Linear(4 * width * 49, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
    )


NETWORKS = {"masks": ("UNet", 8, 0.1), "angles": ("regressor", 8, 0.02)}
"""The network of a data set, its epochs, and its learning rate."""


def measured(name: str) -> None:
    """Train, convert at each T, and print what was found."""
    network, epochs, lr = NETWORKS[name]
    run, here = REPORTS / name, Path(__file__)
    data = f"{here}:{name}"
    trained = snnconv.train(f"{here}:{network}", data=data, epochs=epochs, lr=lr, run=run)
    for scale, spikes in SETTINGS:
        snnconv.calibrate(run=run, data=data, method="mse", param={"scale": scale})
        for coding, T in product(("rate", "differential"), STEPS):
            param = {"spikes": spikes}
            snnconv.convert(run=run, neuron="signed", param=param, coding=coding, timesteps=T)
            report = snnconv.evaluate(
                run=run, data=data, metric=["scores", "firing-rate", "synops", "energy"]
            )
            row = {
                "data": name,
                "parameters": trained.parameters,
                "scale": scale,
                "coding": coding,
                "spikes": spikes,
                "timesteps": T,
                "samples": report.samples,
                "scores": {key: steps[-1] for key, steps in report.scores.items()},
                "ann_scores": report.ann_scores,
                "headline_error": report.headline_errors.get(T),
                "headline_against_ann": report.headline_against_ann,
                "firing_rate": report.firing_rate_mean,
                "non_spiking_share": report.non_spiking_share,
                "energy_total_ratio": report.energy_total_ratio,
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or NETWORKS:
        measured(wanted)
