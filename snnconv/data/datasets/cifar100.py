"""CIFAR-100: 60,000 colour 32x32 images of a hundred kinds of things (torchvision's layout).

Shape:
    ``[3, 32, 32]``, 100 classes (the fine labels); 50,000 train and 10,000 test samples.

Reference:
    Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.

Deviations:
    None; mean and std are those of all training pixels.
"""

from snnconv.data.dataset import Dataset
from snnconv.data.datasets._cifar import read
from snnconv.data.locate import Source


def _load(source: Source) -> Dataset:
    return read(
        source,
        "CIFAR100",
        "cifar100",
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )


DATASET = _load
