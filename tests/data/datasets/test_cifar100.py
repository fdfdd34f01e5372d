from pathlib import Path

import pytest
import torch
from torchvision.datasets import CIFAR100

from snnconv.data.dataset import load_dataset
from snnconv.errors import UsageError

CLASSES = [f"kind {k}" for k in range(100)]
FOLDER = "cifar-100-python"


def test_pixels_fine_labels_and_facts_are_those_of_the_files(write_cifar):
    pixels, labels = write_cifar(CIFAR100, Path("sets") / FOLDER, "fine_labels", CLASSES)

    data = load_dataset("cifar100", Path("sets"))

    for split, name in ((data.train, "train"), (data.test, "test")):
        assert split.labels.tolist() == labels[name]
        expected = torch.from_numpy(pixels[name]).float() / 255
        assert torch.equal(split.images(torch.arange(7)), expected)
    assert data.info.spec == "cifar100"
    assert data.info.shape == (3, 32, 32)
    assert data.info.classes == tuple(CLASSES)
    assert data.info.mean == (0.5071, 0.4865, 0.4409)
    assert data.info.std == (0.2673, 0.2564, 0.2762)


def test_where_it_was_looked_for_and_how_to_get_it():
    with pytest.raises(UsageError) as caught:
        load_dataset("cifar100", Path("sets"))
    assert caught.value.problem == "data set 'cifar100' is not here"
    assert caught.value.found == f"no train in: sets/{FOLDER}, sets"
    assert "cifar-100-python.tar.gz in DIR" in caught.value.remedy
