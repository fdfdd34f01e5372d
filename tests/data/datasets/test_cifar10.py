import pickle
import re
from pathlib import Path

import pytest
import torch
from torchvision.datasets import CIFAR10

from snnconv.data.dataset import load_dataset
from snnconv.errors import UnsupportedError, UsageError

CLASSES = [f"kind {k}" for k in range(10)]
FOLDER = "cifar-10-batches-py"


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize(
    ("folder", "root"),
    [
        (f"sets/{FOLDER}", "sets"),
        (f"sets/{FOLDER}", f"sets/{FOLDER}"),
        ("renamed", "renamed"),
        (f"data/{FOLDER}", None),
        (f"home/.cache/snnconv/{FOLDER}", None),
    ],
)
def test_pixels_labels_and_facts_are_those_of_the_files(write_cifar, folder, root):
    pixels, labels = write_cifar(CIFAR10, Path(folder), "labels", CLASSES)

    data = load_dataset("cifar10", Path(root) if root else None)

    train = [f"data_batch_{k}" for k in range(1, 6)]
    assert data.train.labels.tolist() == [label for name in train for label in labels[name]]
    assert data.test.labels.tolist() == labels["test_batch"]
    images = data.train.images(torch.arange(35))
    assert images.dtype == torch.float32
    for k, name in enumerate(train):
        expected = torch.from_numpy(pixels[name]).float() / 255
        assert torch.equal(images[7 * k : 7 * k + 7], expected)
    expected = torch.from_numpy(pixels["test_batch"][[2, 0]]).float() / 255
    assert torch.equal(data.test.images(torch.tensor([2, 0])), expected)
    assert data.info.spec == "cifar10"
    assert data.info.shape == (3, 32, 32)
    assert data.info.classes == tuple(CLASSES)
    assert data.info.mean == (0.4914, 0.4822, 0.4465)
    assert data.info.std == (0.2470, 0.2435, 0.2616)


def test_where_it_was_looked_for_and_how_to_get_it():
    with pytest.raises(UsageError) as caught:
        load_dataset("cifar10")
    cache = Path.home() / ".cache" / "snnconv"
    assert caught.value.problem == "data set 'cifar10' is not here"
    assert caught.value.found == (
        f"no data_batch_1 in: data/{FOLDER}, data, {cache}/{FOLDER}, {cache}"
    )
    assert caught.value.remedy == (
        "unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz in DIR "
        "and give --data-root DIR, or --download"
    )


def test_a_given_root_is_the_only_place_searched(write_cifar):
    write_cifar(CIFAR10, Path("data") / FOLDER, "labels", CLASSES)
    with pytest.raises(UsageError, match=f"no data_batch_1 in: other/{FOLDER}, other\n"):
        load_dataset("cifar10", Path("other"))


def test_the_missing_file_is_named(write_cifar):
    write_cifar(CIFAR10, Path("data") / FOLDER, "labels", CLASSES)
    (Path("data") / FOLDER / "data_batch_4").unlink()
    with pytest.raises(UsageError, match=f"no data_batch_4 in: data/{FOLDER}; no data_batch_1 in:"):
        load_dataset("cifar10")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_files_other_than_the_published_are_not_unpickled(write_cifar, name):
    write_cifar(CIFAR10, Path("data") / FOLDER, "labels", CLASSES)
    trap = pickle.dumps(Trap())
    pickle.loads(trap)
    Path("sprung").unlink()
    (Path("data") / FOLDER / name).write_bytes(trap)
    with pytest.raises(UnsupportedError, match="not the published ones, by their MD5") as caught:
        load_dataset("cifar10")
    assert "--download" in caught.value.remedy
    assert not Path("sprung").exists()


@pytest.mark.parametrize("root", [Path("sets"), None])
def test_download_goes_to_the_root_and_only_where_nothing_is(write_cifar, monkeypatch, root):
    target = root or Path.home() / ".cache" / "snnconv"
    fetched = []

    def download(self):
        fetched.append(Path(self.root))
        write_cifar(CIFAR10, Path(self.root) / FOLDER, "labels", CLASSES)

    monkeypatch.setattr(CIFAR10, "download", download)
    for _ in range(2):
        assert len(load_dataset("cifar10", root, download=True).test.labels) == 7
    assert fetched == [target]


def test_a_download_that_fails(monkeypatch):
    def download(self):
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", download)
    with pytest.raises(UsageError, match=re.escape("'cifar10' can't be downloaded")) as caught:
        load_dataset("cifar10", Path("sets"), download=True)
    assert caught.value.found == "no route to host"


def test_nothing_is_downloaded_unasked(monkeypatch):
    monkeypatch.setattr(CIFAR10, "download", lambda self: pytest.fail("downloaded"))
    with pytest.raises(UsageError, match="is not here"):
        load_dataset("cifar10", Path("sets"))
