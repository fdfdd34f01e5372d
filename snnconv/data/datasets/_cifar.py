"""Both CIFAR data sets through torchvision, which unpickles no file but one of published MD5."""

from typing import Any

import torch

from snnconv.core.metadata import DataInfo
from snnconv.core.packages import imported
from snnconv.data.dataset import Dataset
from snnconv.data.locate import Source, locate_files
from snnconv.data.split import ArraySplit
from snnconv.errors import UnsupportedError

Figures = tuple[float, float, float]
"""Of red, green and blue."""


def read(source: Source, kind_name: str, name: str, mean: Figures, std: Figures) -> Dataset:
    """Find and read one of them.

    Args:
        source: where to look.
        kind_name: of torchvision's class, which knows files, checksums and address.
        name: the data set's.
        mean: per channel.
        std: per channel.

    Raises:
        UsageError: torchvision can't be imported.
        UnsupportedError: files that are not the published ones.
    """
    kind = getattr(imported("torchvision.datasets", f"data set '{name}'"), kind_name)
    files = locate_files(
        source,
        name=name,
        folder=kind.base_folder,
        layouts=[[*(file for file, _ in kind.train_list + kind.test_list), kind.meta["filename"]]],
        fetch=lambda root: kind(str(root), download=True),
        how_to_get=f"unpack {kind.url} in DIR and give --data-root DIR, or --download",
    )
    folder = files[0].parent.resolve()
    # where --data-root is that folder itself, it may have been renamed
    here = type(kind.__name__, (kind,), {"base_folder": folder.name})
    try:
        train, test = (here(str(folder.parent), train=part) for part in (True, False))
    except RuntimeError as error:  # of a checksum
        raise UnsupportedError(
            f"data set '{name}' in {folder} can't be used",
            "files that are not the published ones, by their MD5",
            f"remove {folder}, and get it again with --download",
        ) from error
    info = DataInfo(spec=name, shape=(3, 32, 32), classes=tuple(train.classes), mean=mean, std=std)
    return Dataset(info, _split(train), _split(test), 255.0)


def _split(part: Any) -> ArraySplit:
    pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2)  # [n, H, W, C] -> [n, C, H, W]
    return ArraySplit(pixels.contiguous(), torch.tensor(part.targets), 255.0)
