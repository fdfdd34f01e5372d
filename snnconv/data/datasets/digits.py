"""Handwritten digits: 1,797 real 8x8 grey images, inside the package (the test set of UCI's).

Shape:
    ``[1, 8, 8]``, 10 classes; 1,442 train and 355 test samples.

Reference:
    Alpaydin & Kaynak 1998, *Optical Recognition of Handwritten Digits*, UCI repository.

Deviations:
    UCI has another training set. scikit-learn ships these images without a split. Every fifth
    sample of each class, in the file's order, is the test split. The rule needs no random numbers,
    so it is the same for ever.

``digits.npz`` next to this file has the images, 0..16, and their labels. Their licence is CC BY
4.0: E. Alpaydin and C. Kaynak, https://doi.org/10.24432/C50P49.
"""

from pathlib import Path

import numpy as np
import torch

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.locate import Source
from snnconv.data.split import ArraySplit

_FILE = Path(__file__).with_name("digits.npz")


def _load(source: Source) -> Dataset:
    with np.load(_FILE) as arrays:
        pixels = torch.from_numpy(arrays["images"]).unsqueeze(1)  # uint8, 0..16
        labels = torch.from_numpy(arrays["labels"]).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        test[torch.nonzero(labels == digit).flatten()[4::5]] = True
    info = DataInfo(
        spec="digits",
        shape=(1, 8, 8),
        classes=tuple(str(digit) for digit in range(10)),
        mean=(0.3051,),
        std=(0.3762,),
    )
    train_split = ArraySplit(pixels[~test], labels[~test], 16.0)
    return Dataset(info, train_split, ArraySplit(pixels[test], labels[test], 16.0), 16.0)


DATASET = _load
