import pytest
import torch
from sklearn.datasets import load_digits

from snnconv.data.dataset import load_dataset


def test_sizes_and_facts():
    data = load_dataset("digits")
    assert (len(data.train.labels), len(data.test.labels)) == (1442, 355)
    assert data.info.shape == (1, 8, 8)
    assert data.info.classes == tuple("0123456789")
    images = data.train.images(torch.arange(1442))
    assert (images.min().item(), images.max().item()) == (0, 1)
    assert images.mean().item() == pytest.approx(data.info.mean[0], abs=1e-3)
    assert images.std().item() == pytest.approx(data.info.std[0], abs=1e-3)


def test_every_fifth_sample_of_each_class_is_in_the_test_split():
    data = load_dataset("digits")
    train, test = (split.labels.bincount() for split in (data.train, data.test))
    assert torch.equal(test, (train + test) // 5)


def rows(labels, images):
    """A sample's label and pixels as one tuple."""
    flat = images.reshape(len(images), -1).tolist()
    return [(label, *image) for label, image in zip(labels.tolist(), flat, strict=True)]


def test_the_splits_are_a_partition_of_the_real_data_and_always_the_same():
    data, again = load_dataset("digits"), load_dataset("digits")
    bunch = load_digits()
    original = rows(bunch.target, bunch.images)
    parts = []
    for split, same in ((data.train, again.train), (data.test, again.test)):
        assert torch.equal(split.labels, same.labels)
        assert torch.equal(split.pixels, same.pixels)
        images = split.images(torch.arange(len(split.labels)))
        parts.append(rows(split.labels.numpy(), images.numpy() * 16))
    assert len(set(original)) == 1797  # no sample is there twice, so equal contents are one sample
    assert not set(parts[0]) & set(parts[1])
    assert sorted(parts[0] + parts[1]) == sorted(original)
