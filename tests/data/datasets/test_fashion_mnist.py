import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from snnconv.data.datasets.fashion_mnist import DATASET
from snnconv.data.locate import Source
from snnconv.errors import UnsupportedError, UsageError

COUNTS = {"train": 20, "t10k": 10}
SYSTEM = Path("/usr/share/datasets")
PLACES = ["unpacked", "packed", *(["debian"] if (SYSTEM / "fashion-mnist").exists() else [])]


def load(root=None, download=False, system=Path("system")):
    """The data set, on a system without a package of it."""
    return DATASET(Source("", root, download, system=system))


def idx(values):
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def write(folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = {}
    for part, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        written[part] = images
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            file = folder / f"{part}-{name}-ubyte"
            if packed:
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(idx(values), mtime=0))
            else:
                file.write_bytes(idx(values))
    return written


@pytest.mark.parametrize("form", PLACES)
def test_every_form_it_comes_in(form):
    sizes = (20, 10)
    if form == "debian":
        data, sizes = load(system=SYSTEM), (60_000, 10_000)
    else:
        written = write(Path("data/FashionMNIST/raw"), packed=form == "packed")
        data = load()

    assert (len(data.train.labels), len(data.test.labels)) == sizes
    assert data.info.shape == (1, 28, 28)
    assert len(data.info.classes) == 10
    assert (data.info.mean, data.info.std) == ((0.2860,), (0.3530,))
    if form == "debian":
        assert data.train.labels.bincount().tolist() == [6000] * 10
        pixels = data.train.pixels.double() / 255
        assert pixels.mean().item() == pytest.approx(0.2860, abs=5e-5)
        assert pixels.std().item() == pytest.approx(0.3530, abs=5e-5)
    else:
        for split, part in ((data.train, "train"), (data.test, "t10k")):
            expected = torch.from_numpy(written[part]).unsqueeze(1).float() / 255
            assert torch.equal(split.images(torch.arange(COUNTS[part])), expected)
            assert split.labels.tolist() == [k % 10 for k in range(COUNTS[part])]


@pytest.mark.parametrize("folder", ["sets/FashionMNIST/raw", "sets"])
def test_a_given_root(folder):
    write(Path(folder))
    assert len(load(Path("sets")).train.labels) == 20


def test_the_first_complete_place_is_taken_whatever_its_form():
    here = write(Path("data"), packed=True)
    there = Path.home() / ".cache/snnconv"
    write(there)
    (there / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((20, 28, 28), np.uint8)))
    images = load().train.images(torch.arange(20))
    assert torch.equal(images, torch.from_numpy(here["train"]).unsqueeze(1).float() / 255)


def test_where_it_was_looked_for_and_how_to_get_it():
    with pytest.raises(UsageError) as caught:
        load()
    cache = Path.home() / ".cache/snnconv"
    assert caught.value.problem == "data set 'fashion-mnist' is not here"
    assert caught.value.found == (
        "no train-images-idx3-ubyte in: data/FashionMNIST/raw, data, "
        f"{cache}/FashionMNIST/raw, {cache}, system/fashion-mnist"
    )
    assert "apt-get install dataset-fashion-mnist" in caught.value.remedy


def test_the_missing_file_is_named():
    write(Path("sets"), packed=True)
    Path("sets/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match=r"; no t10k-labels-idx1-ubyte\.gz in: sets\n"):
        load(Path("sets"))


@pytest.mark.parametrize("root", [Path("sets"), None])
def test_download_goes_to_the_root_and_only_where_nothing_is(monkeypatch, root):
    fetched = []

    def download(self):
        fetched.append(Path(self.root))
        write(Path(self.raw_folder))

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", download)
    for _ in range(2):
        assert len(load(root, download=True).test.labels) == 10
    assert fetched == [root or Path.home() / ".cache/snnconv"]


def test_a_download_that_fails(monkeypatch):
    def download(self):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", download)
    with pytest.raises(UsageError, match="'fashion-mnist' can't be downloaded") as caught:
        load(Path("sets"), download=True)
    assert caught.value.found == "Error downloading train-images-idx3-ubyte.gz"


CUT = idx(np.zeros((20, 28, 28), np.uint8))[:-1]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("train-images-idx3-ubyte", b"", r"starts with bytes \[\]"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d\x01", r"starts with bytes \[0, 0, 13\]"),
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00", "buffer"),
        ("train-images-idx3-ubyte", CUT, "cannot reshape"),
        ("train-images-idx3-ubyte.gz", b"no archive", "Not a gzipped file"),
        ("train-images-idx3-ubyte.gz", gzip.compress(CUT, mtime=0)[:-9], "ended before"),
        ("train-images-idx3-ubyte.gz", gzip.compress(CUT, mtime=0)[:10] + b"\xff" * 40, "invalid"),
    ],
)
def test_a_broken_file(name, content, found):
    write(Path("sets"), packed=name.endswith(".gz"))
    Path("sets", name).write_bytes(content)
    with pytest.raises(UnsupportedError, match=found) as caught:
        load(Path("sets"))
    assert caught.value.problem == f"sets/{name} can't be read"
    assert caught.value.remedy == "get the file again"


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("t10k-labels-idx1-ubyte", np.zeros(9), r"images \[10, 28, 28\], labels \[9\] in t10k"),
        ("t10k-labels-idx1-ubyte", np.zeros((10, 1)), r"labels \[10, 1\]"),
        ("t10k-images-idx3-ubyte", np.zeros((10, 32, 32)), r"images \[10, 32, 32\]"),
    ],
)
def test_files_that_do_not_belong_together(name, values, found):
    write(Path("sets"))
    Path("sets", name).write_bytes(idx(values.astype(np.uint8)))
    with pytest.raises(UnsupportedError, match=found):
        load(Path("sets"))
