"""Image files in folders, ``folder:DIR`` or ``folder:DIR?size=224`` (torchvision's ImageFolder).

``DIR/train/CLASS/*`` and ``DIR/test/CLASS/*``; ``DIR/val`` is read if there is no ``DIR/test``.
A relative DIR lies below ``--data-root``, if that is given. Files are decoded batch by batch.

Shape:
    ``[3, H, W]`` or ``[1, H, W]`` in 8 bit, as the first training image is. If that is RGB, other
    images become RGB; if it is grey, colour is refused. Without ``size`` every image must
    have the first one's size; ``size=N`` scales the shorter side to N (bilinear, antialiased) and
    cuts the middle N x N out.

Reference:
    torchvision.datasets.ImageFolder; mean and std of RGB are ImageNet's.

Deviations:
    Common ImageNet evaluation scales to 256 before it cuts out 224; here nothing is cut off the
    shorter side. Grey images have mean 0.5 and std 0.25: set for all, measured on none.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.packages import imported
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._options import whole_number
from snnconv.data.locate import Source, resolve
from snnconv.errors import SnnconvError, UnsupportedError, UsageError, one_line

_WORK = "data set 'folder'"
_SIDE = 4096  # of images that are scaled
_PIXELS = 2**26  # of a scaled image before it is cut
_COLOURS = {1: "L", 3: "RGB"}
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_NORMALISATION = {1: ((0.5,), (0.25,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


@dataclass(frozen=True)
class FolderSplit:
    """A split that holds paths and decodes what is asked for.

    Args:
        files: one a sample.
        labels: ``[n]``.
        shape: ``(C, H, W)`` that every image must come to.
        size: scale and cut to this side; none to take images as they are.
    """

    files: tuple[Path, ...]
    labels: Tensor
    shape: tuple[int, ...]
    size: int | None

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices.

        Raises:
            UnsupportedError: a file that can't be decoded, or an image of another size.
        """
        chosen = [self.files[index] for index in indices.tolist()]
        return torch.stack([self._image(file) for file in chosen]).float() / 255.0

    def _image(self, file: Path) -> Tensor:
        image = _decode(file, self.shape[0], self.size)
        if tuple(image.shape) != self.shape:
            raise UnsupportedError(
                f"{file} does not fit its data set",
                f"height x width {image.shape[1]} x {image.shape[2]}, where the first training "
                f"image has {self.shape[1]} x {self.shape[2]}",
                "bring all images to one size: folder:DIR?size=N",
            )
        return image


def _load(source: Source) -> Dataset:
    directory, _, query = source.argument.partition("?")
    size = whole_number(
        "folder", query, "size", "the size of images", _SIDE, "give pixels: folder:DIR?size=224"
    )
    folder = resolve(source, directory)
    parts = (folder / "train", folder / "test" if (folder / "test").is_dir() else folder / "val")
    for part in parts:
        if not part.is_dir():
            wanted = "train/" if part.name == "train" else "test/ or val/"
            raise UsageError(
                f"there is no data set in {folder}",
                f"no folder {wanted} in it" if folder.is_dir() else "no such folder",
                "lay it out as DIR/train/CLASS/* and DIR/test/CLASS/*, and give folder:DIR",
            )
    train, test = (_scan(part) for part in parts)
    only = {
        part: set(a.classes) - set(b.classes)
        for part, a, b in ((parts[0], train, test), (parts[1], test, train))
    }
    if any(only.values()):
        raise UnsupportedError(
            f"the data set in {folder} can't be used",
            "; ".join(
                f"only in {part.name}/: {', '.join(sorted(names))}"
                for part, names in only.items()
                if names
            ),
            "give both the same class folders",
        )
    shape = tuple(_decode(Path(train.samples[0][0]), None, size).shape)
    mean, std = _NORMALISATION[shape[0]]
    info = DataInfo(
        spec=f"folder:{source.argument}",
        shape=shape,
        classes=tuple(train.classes),
        mean=mean,
        std=std,
    )
    return Dataset(info, _split(train, shape, size), _split(test, shape, size), 255.0)


def _scan(part: Path) -> Any:
    """Return torchvision's ImageFolder for a split."""
    datasets = imported("torchvision.datasets", _WORK)
    try:
        return datasets.ImageFolder(str(part))
    except FileNotFoundError as error:  # no class folder, or one without images
        raise UnsupportedError(
            f"the images in {part} can't be used", str(error), "put images in every class folder"
        ) from error


def _split(found: Any, shape: tuple[int, ...], size: int | None) -> FolderSplit:
    files = tuple(Path(file) for file, _ in found.samples)
    return FolderSplit(files, torch.tensor(found.targets), shape, size)


def _decode(file: Path, channels: int | None, size: int | None) -> Tensor:
    """Return an image file as uint8 ``[C, H, W]``; with its own channels if none are given."""
    try:
        with (
            # Pillow knows an image's size before it unpacks it, and warns if it is a bomb
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(file) as opened,
        ):
            mode = opened.mode
            _check_mode(file, mode, channels)
            _check_sides(file, opened.size, size)
            channels = channels or (1 if mode in _GREY else 3)
            image = opened.convert(_COLOURS[channels])
    except SnnconvError:
        raise
    except Exception as error:  # whatever a broken file makes Pillow's readers raise
        raise UnsupportedError(
            f"{file} can't be decoded", one_line(error), "repair or remove the file"
        ) from error
    functional = imported("torchvision.transforms.v2.functional", _WORK)
    if size is not None:
        image = functional.center_crop(functional.resize(image, [size]), [size])
    pixels: Tensor = functional.pil_to_tensor(image)
    return pixels


def _check_sides(file: Path, sides: tuple[int, int], size: int | None) -> None:
    """Refuse a long strip: scaled by its shorter side, it has more pixels than memory."""
    shorter, longer = sorted(sides)
    if size is not None and size * size * longer > shorter * _PIXELS:
        raise UnsupportedError(
            f"{file} can't be used",
            f"{sides[0]} x {sides[1]} pixels, which scaled to size={size} are more than {_PIXELS}",
            "cut the image, or remove the file",
        )


def _check_mode(file: Path, mode: str, channels: int | None) -> None:
    if mode not in _GREY + _COLOUR:
        raise UnsupportedError(
            f"{file} can't be used",
            f"pixels of Pillow's mode '{mode}', more than 8 bit a channel",
            "save the images in 8 bit",
        )
    if channels == 1 and mode not in _GREY:
        raise UnsupportedError(
            f"{file} does not fit its data set",
            "a colour image, where the first training image is grey",
            "make all images grey, or the first one RGB",
        )


DATASET = _load
