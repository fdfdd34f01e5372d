"""Fashion-MNIST: 70,000 grey 28x28 images of clothes (Debian's package, or torchvision's layout).

Shape:
    ``[1, 28, 28]``, 10 classes; 60,000 train and 10,000 test samples.

Reference:
    Xiao, Rasul & Vollgraf 2017, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms*.

Deviations:
    None.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.packages import imported
from snnconv.data.dataset import Dataset
from snnconv.data.locate import Source, locate_files
from snnconv.data.split import ArraySplit
from snnconv.errors import UnsupportedError

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_LARGEST = 2**26  # bytes of a file, unpacked; those of the data set have up to 47,040,016
_BYTES = 8  # idx's code for unsigned bytes


def _load(source: Source) -> Dataset:
    files = locate_files(
        source,
        name="fashion-mnist",
        folder="FashionMNIST/raw",
        # torchvision keeps the unpacked files and the archives, Debian ships only the archives
        layouts=[_FILES, [f"{name}.gz" for name in _FILES]],
        fetch=_fetch,
        how_to_get="apt-get install dataset-fashion-mnist, or give --data-root DIR with "
        "torchvision's layout, or --download",
        package="fashion-mnist",  # Debian's
    )
    info = DataInfo(
        spec="fashion-mnist", shape=(1, 28, 28), classes=_CLASSES, mean=(0.2860,), std=(0.3530,)
    )
    return Dataset(info, _split(*files[:2]), _split(*files[2:]), 255.0)


def _fetch(root: Path) -> None:
    datasets = imported("torchvision.datasets", "a download of 'fashion-mnist'")
    datasets.FashionMNIST(str(root), download=True)


def _split(images: Path, labels: Path) -> ArraySplit:
    pixels, classes = _idx(images), _idx(labels)
    if pixels.shape != (len(classes), 28, 28) or classes.dim() != 1:
        raise UnsupportedError(
            f"{images} can't be used",
            f"images {list(pixels.shape)}, labels {list(classes.shape)} in {labels.name}",
            "get both files again",
        )
    return ArraySplit(pixels.unsqueeze(1), classes.long(), 255.0)


def _idx(file: Path) -> Tensor:
    """Read an idx file of bytes: two zero bytes, type 8, rank, big-endian sizes, values."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            raw = stream.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
        if raw[:3] != bytes((0, 0, _BYTES)):
            raise ValueError(f"starts with bytes {list(raw[:3])}, not as an idx file of bytes")
        rank = raw[3]
        sizes = np.frombuffer(raw, dtype=">u4", count=rank, offset=4)
        values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * rank)
        return torch.from_numpy(values.reshape(tuple(int(n) for n in sizes)).copy())
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise UnsupportedError(f"{file} can't be read", str(error), "get the file again") from error


DATASET = _load
