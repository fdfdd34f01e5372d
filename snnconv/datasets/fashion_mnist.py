"""Fashion-MNIST: 70,000 grey 28x28 images of clothes (Debian's package, or torchvision's layout).

Shape:
    ``[1, 28, 28]``, 10 classes; 60,000 train and 10,000 test samples.

Reference:
    Xiao, Rasul & Vollgraf 2017.

Deviations:
    None.
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnconv.dataset import ArraySplit, Dataset, Source, find_in
from snnconv.errors import UnsupportedError
from snnconv.facts import DataFacts

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_STEMS = {"train": "train", "test": "t10k"}
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


def _load(source: Source) -> Dataset:
    facts = DataFacts(
        spec="fashion-mnist", shape=(1, 28, 28), classes=_CLASSES, mean=(0.2860,), std=(0.3530,)
    )
    if source.download and source.root is not None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(str(source.root), download=True)
    roots = [source.root] if source.root else [Path("data"), Path.home() / ".cache" / "snnconv"]
    places = [place for r in roots for place in (r / "FashionMNIST" / "raw", r)]
    if source.root is None:
        places.append(_DEBIAN)
    # torchvision keeps the files unpacked beside the archives, Debian ships the archives only
    wanted = "train-images-idx3-ubyte"
    suffix = next(
        (end for end in ("", ".gz") for place in places if (place / (wanted + end)).exists()), ".gz"
    )
    folder = find_in(
        places,
        (wanted + suffix,),
        "fashion-mnist",
        "apt-get install dataset-fashion-mnist, or --data-root DIR with torchvision's layout, "
        "or --data-root DIR --download",
    )
    train, test = (
        ArraySplit(
            _idx(folder / f"{stem}-images-idx3-ubyte{suffix}").unsqueeze(1),
            _idx(folder / f"{stem}-labels-idx1-ubyte{suffix}").long(),
            255.0,
        )
        for stem in _STEMS.values()
    )
    return Dataset(facts, train, test)


def _idx(file: Path) -> Tensor:
    """An idx file of unsigned bytes: two zero bytes, type 8, rank, big-endian sizes, values."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        rank = raw[3]
        sizes = np.frombuffer(raw, dtype=">u4", count=rank, offset=4)
        values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * rank)
        return torch.from_numpy(values.reshape(tuple(int(n) for n in sizes)).copy())
    except (OSError, EOFError, IndexError, ValueError) as error:
        raise UnsupportedError(f"{file} can't be read", str(error), "get the file again") from error


DATASET = _load
