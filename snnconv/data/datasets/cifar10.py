"""CIFAR-10: 60,000 colour 32x32 images of animals and vehicles (torchvision's layout).

Shape:
    ``[3, 32, 32]``, 10 classes; 50,000 train and 10,000 test samples.

Reference:
    Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.

Deviations:
    The std is that of all training pixels. Much published code has (0.2023, 0.1994, 0.2010), the
    mean of the single images' stds: networks trained under that are not under this.
"""

from snnconv.data.dataset import Dataset
from snnconv.data.datasets._cifar import read
from snnconv.data.locate import Source


def _load(source: Source) -> Dataset:
    return read(
        source,
        "CIFAR10",
        "cifar10",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


DATASET = _load
