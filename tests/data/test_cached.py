import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.metadata import DataInfo
from snnconv.data.cached import CachedSplit, cached
from snnconv.data.split import ArraySplit

FACTS = DataInfo(spec="x", shape=(2, 3), classes=("a", "b"), mean=(0.0,), std=(1.0,))


class Files:
    """Ten samples; remembers which were read."""

    def __init__(self):
        self.labels = torch.arange(10) % 2
        self.read = []

    def images(self, indices):
        self.read += indices.tolist()
        return indices.float()[:, None, None].expand(-1, 2, 3)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=6))
def test_every_sample_is_read_once_and_always_the_same(asked):
    files = Files()
    split = CachedSplit(files)
    for indices in asked:
        indices = torch.tensor(indices, dtype=torch.int64)
        assert torch.equal(split.images(indices), Files().images(indices))
    assert sorted(files.read) == sorted({index for indices in asked for index in indices})


def test_what_does_not_fit_is_read_again():
    files = Files()
    enough = 10 * 2 * 3 * 4
    assert isinstance(cached(files, FACTS, enough), CachedSplit)
    assert cached(files, FACTS, enough - 1) is files
    assert cached(files, FACTS.model_copy(update={"frames": 2}), enough) is files
    held = ArraySplit(torch.zeros(1, 2, 3), torch.zeros(1, dtype=torch.int64), 1.0)
    assert cached(held, FACTS, enough) is held


def test_samples_of_another_shape_reach_whoever_asked():
    files = Files()
    split = CachedSplit(files)
    split.images(torch.tensor([1]))
    files.images = lambda indices: torch.zeros(len(indices), 5)
    assert split.images(torch.tensor([1])).shape == (1, 2, 3)
    assert split.images(torch.tensor([1, 2])).shape == (2, 5)


def test_an_error_keeps_nothing():
    files = Files()
    split = CachedSplit(files)
    good, files.images = files.images, None
    with pytest.raises(TypeError):
        split.images(torch.tensor([3]))
    files.images = good
    assert float(split.images(torch.tensor([3]))[0, 0, 0]) == 3
