"""Image files in folders, ``folder:DIR`` or ``folder:DIR?resize=256&crop=224`` (ImageFolder).

``DIR/train/CLASS/*`` and ``DIR/test/CLASS/*``; ``DIR/val`` is read if there is no ``DIR/test``.
If there is one of these only, as ImageNet's ``val``, or ``DIR/CLASS/*``, its images are divided.
A relative DIR lies below ``--data-root``, if that is given. Files are decoded batch by batch.

Shape:
    ``[3, H, W]`` or ``[1, H, W]`` in 8 bit, as the first training image is. If that is RGB, other
    images become RGB; if it is grey, colour is refused. ``resize=N`` scales the shorter side to N
    (bilinear, antialiased), ``crop=N`` cuts the middle N x N out, and ``size=N`` (``--size N``) is
    both. Without a crop every image must have the first one's size.

Reference:
    torchvision.datasets.ImageFolder; mean and std of RGB are ImageNet's.

Deviations:
    Common ImageNet evaluation is ``resize=256&crop=224``; ``size=224`` cuts nothing off the shorter
    side. Images that are divided: a fifth of each class, drawn at random by seed 0 whatever
    ``--seed`` is, is the test split. Grey images have mean 0.5 and std 0.25: set for all, measured
    on none.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from snnconv.core.bounds import SIDE
from snnconv.core.metadata import DataInfo
from snnconv.core.packages import imported
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._options import whole_numbers
from snnconv.data.locate import Source, resolve
from snnconv.data.split import Split, divided
from snnconv.errors import SnnconvError, UnsupportedError, UsageError, one_line

_WORK = "data set 'folder'"
_PIXELS = 2**26  # of a scaled image before it is cut
_COLOURS = {1: "L", 3: "RGB"}
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_NORMALISATION = {1: ((0.5,), (0.25,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


class _Size(NamedTuple):
    """How images are scaled and cut, in pixels.

    Attributes:
        resize: the shorter side after scaling; none to scale nothing.
        crop: the side of the middle that is cut out; none to cut nothing.
    """

    resize: int | None
    crop: int | None


@dataclass(frozen=True)
class FolderSplit:
    """A split that holds paths and decodes what is asked for.

    Args:
        files: one a sample.
        labels: ``[n]``.
        shape: ``(C, H, W)`` that every image must come to.
        size: how images are scaled and cut.
    """

    files: tuple[Path, ...]
    labels: Tensor
    shape: tuple[int, ...]
    size: _Size

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
                "bring all images to one size: --size N, or folder:DIR?resize=256&crop=224",
            )
        return image


def _load(source: Source) -> Dataset:
    directory, _, query = source.argument.partition("?")
    size, folder = _size(query, source.size), resolve(source, directory)
    parts = _parts(folder)
    found = [_scan(part) for part in parts]
    only = {
        part: set(one.classes) - set(other.classes)
        for part, one, other in zip(parts, found, reversed(found), strict=True)
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
    shape = tuple(_decode(Path(found[0].samples[0][0]), None, size).shape)
    mean, std = _NORMALISATION[shape[0]]
    info = DataInfo(
        spec=f"folder:{source.argument}",
        shape=shape,
        classes=tuple(found[0].classes),
        mean=mean,
        std=std,
    )
    splits: list[Split] = [_split(one, shape, size) for one in found]
    if len(splits) == 2:
        return Dataset(info, splits[0], splits[1], 255.0)
    train, test, note = divided(splits[0])
    return Dataset(info, train, test, 255.0, notes=(note,))


def _size(query: str, option: int | None) -> _Size:
    """Return how images are scaled and cut, from behind the question mark or from ``--size``.

    Raises:
        UsageError: options that do not go together.
    """
    known = {
        name: (what, SIDE, f"give pixels: folder:DIR?{name}=224")
        for name, what in (
            ("size", "the size of images"),
            ("resize", "the shorter side of images"),
            ("crop", "the side of the middle that is cut out"),
        )
    }
    given = whole_numbers("folder", query, known)
    both = given.pop("size", None)
    if option is not None and (given or both not in (None, option)):
        raise UsageError(
            "images have one size", f"--size {option} and '?{query}'", "drop one of them"
        )
    both = option or both
    if both is not None and given:
        raise UsageError(
            "images have one size", f"'?{query}'", "drop resize and crop, or drop size"
        )
    resized, cropped = given.get("resize", both), given.get("crop", both)
    if resized and cropped and cropped > resized:
        raise UsageError(
            "images can't be cut to more than they are scaled to",
            f"resize={resized} and crop={cropped}",
            "give a crop of at most resize",
        )
    return _Size(resized, cropped)


def _parts(folder: Path) -> list[Path]:
    """Return the folders of the splits: two, or the one whose images are divided.

    Raises:
        UsageError: there are no class folders.
    """
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    named = [part for part in (folder / "train", test) if part is not None and part.is_dir()]
    if named:
        return named
    if folder.is_dir() and any(child.is_dir() for child in folder.glob("[!._]*")):
        return [folder]
    raise UsageError(
        f"there is no data set in {folder}",
        "no folders in it" if folder.is_dir() else "no such folder",
        "lay it out as DIR/train/CLASS/* and DIR/test/CLASS/*, or as DIR/CLASS/*, and give "
        "folder:DIR",
    )


def _scan(part: Path) -> Any:
    """Return torchvision's ImageFolder for a split."""
    datasets = imported("torchvision.datasets", _WORK)
    try:
        return datasets.ImageFolder(str(part))
    except FileNotFoundError as error:  # no class folder, or one without images
        raise UnsupportedError(
            f"the images in {part} can't be used", str(error), "put images in every class folder"
        ) from error


def _split(found: Any, shape: tuple[int, ...], size: _Size) -> FolderSplit:
    files = tuple(Path(file) for file, _ in found.samples)
    return FolderSplit(files, torch.tensor(found.targets), shape, size)


def _decode(file: Path, channels: int | None, size: _Size) -> Tensor:
    """Return an image file as uint8 ``[C, H, W]``; with its own channels if none are given."""
    try:
        with (
            # Pillow knows an image's size before it unpacks it, and warns if it is a bomb
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(file) as opened,
        ):
            # transparency is dropped, whatever it is
            warnings.filterwarnings("ignore", "Palette images with Transparency")
            mode = opened.mode
            _check_mode(file, mode, channels)
            _check_sides(file, opened.size, size.resize)
            channels = channels or (1 if mode in _GREY else 3)
            image = opened.convert(_COLOURS[channels])
    except SnnconvError:
        raise
    except Exception as error:  # whatever a broken file makes Pillow's readers raise
        raise UnsupportedError(
            f"{file} can't be decoded", one_line(error), "repair or remove the file"
        ) from error
    functional = imported("torchvision.transforms.v2.functional", _WORK)
    if size.resize is not None:
        image = functional.resize(image, [size.resize])
    if size.crop is not None:
        _check_crop(file, image.size, size.crop)
        image = functional.center_crop(image, [size.crop])
    pixels: Tensor = functional.pil_to_tensor(image)
    return pixels


def _check_crop(file: Path, sides: tuple[int, int], crop: int) -> None:
    """Refuse an image from which so much can't be cut out: it would be padded with black."""
    if min(sides) < crop:
        raise UnsupportedError(
            f"{file} can't be used",
            f"{sides[0]} x {sides[1]} pixels, of which crop={crop} can't be cut out",
            f"scale images before: folder:DIR?resize={crop}&crop={crop}",
        )


def _check_sides(file: Path, sides: tuple[int, int], side: int | None) -> None:
    """Refuse a long strip: scaled by its shorter side, it has more pixels than memory."""
    shorter, longer = sorted(sides)
    if side is not None and side * side * longer > shorter * _PIXELS:
        raise UnsupportedError(
            f"{file} can't be used",
            f"{sides[0]} x {sides[1]} pixels, which scaled to {side} are more than {_PIXELS}",
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
