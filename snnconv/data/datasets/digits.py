"""Handwritten digits: 1,797 real 8x8 grey images, embedded (scikit-learn's copy of UCI's test set).

Shape:
    ``[1, 8, 8]``, 10 classes; 1,442 train and 355 test samples.

Reference:
    Alpaydin & Kaynak 1998, *Optical Recognition of Handwritten Digits*, UCI repository.

Deviations:
    scikit-learn has no split: every fifth sample of each class, in the file's order, is the test
    split. The rule needs no random numbers, so it is the same for ever.
"""

import torch

from snnconv.core.metadata import DataFacts
from snnconv.data.dataset import ArraySplit, Dataset
from snnconv.data.locate import Source


def _load(source: Source) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)  # 0..16
    labels = torch.from_numpy(bunch.target).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        test[torch.nonzero(labels == digit).flatten()[4::5]] = True
    facts = DataFacts(
        spec="digits",
        shape=(1, 8, 8),
        classes=tuple(str(digit) for digit in range(10)),
        mean=(0.3051,),
        std=(0.3762,),
    )
    train_split = ArraySplit(pixels[~test], labels[~test], 16.0)
    return Dataset(facts, train_split, ArraySplit(pixels[test], labels[test], 16.0), 16.0)


DATASET = _load
