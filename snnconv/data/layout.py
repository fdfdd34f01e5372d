"""Layouts: which axis of raw samples is which, and how they come to the order of networks.

A layout names the axes of a sample by a letter each: ``T`` frames, ``C`` channels, ``H`` and ``W``
places of an image, ``L`` places of a signal, ``F`` features. ``N``, the axis of samples, may stand
before them: ``NHWC`` is ``HWC``.

Shape:
    ``[n, *raw] -> [n, T?, C, H, W]``, ``[n, T?, C, L]`` or ``[n, T?, F]``; a sample without ``C``
    has one channel.

Reference:
    The letters of ONNX's and TensorFlow's documents.

Deviations:
    None.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.errors import UnsupportedError, UsageError

_PLACES = ({"H", "W"}, {"L"}, {"F"})
_ORDER = "TCHWLF"
_ALPHA = 4  # most channels that an image has: red, green, blue, opacity
EXAMPLES = "NCHW, NHWC, NHW, NCL, NLC, NF, NTCHW or NTHWC"
OTHER_SAMPLES = (
    "give the data set this network was trained on (--data), bring images to its size (--size), "
    "or say which axis of arrays is which (--layout)"
)
"""What helps a network that can't take samples of their shape."""


@dataclass(frozen=True)
class Form:
    """How raw samples become a network's: what the user says of it.

    Attributes:
        layout: of raw samples; none for what the data set takes them for.
        size: that images are scaled and cut to; none to leave them.
    """

    layout: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Layout:
    """The axes of a raw sample, without ``N``."""

    axes: str

    @property
    def frames(self) -> bool:
        """Whether samples are frames, an input that changes over time."""
        return "T" in self.axes

    def __call__(self, x: Tensor) -> Tensor:
        """Bring samples ``[n, *raw]`` to the order of networks.

        Raises:
            UnsupportedError: they have another number of axes.
        """
        if x.dim() != len(self.axes) + 1:
            raise UnsupportedError(
                "samples do not have the given layout",
                f"{x.dim() - 1} axes, {list(x.shape[1:])}, for {self.axes}",
                f"give one that fits: --layout {EXAMPLES}",
            )
        order = sorted(range(len(self.axes)), key=lambda k: _ORDER.index(self.axes[k]))
        x = x.permute(0, *(1 + k for k in order))
        if "C" not in self.axes and "F" not in self.axes:
            x = x.unsqueeze(2 if self.frames else 1)
        return x


def layout(text: str) -> Layout:
    """Read a layout, ``NHWC`` or ``HWC``, in letters of any case.

    Raises:
        UsageError: there is none of that name.
    """
    axes = text.upper().removeprefix("N")
    places = set(axes) - {"T", "C"}
    if len(set(axes)) != len(axes) or places not in _PLACES or (places == {"F"} and "C" in axes):
        raise UsageError("there is no layout of that name", f"'{text}'", f"take {EXAMPLES}")
    return Layout(axes)


def guessed(x: Tensor) -> Layout | None:
    """Guess the layout of samples ``[n, ...]`` if nothing is said; None for that of networks.

    Bytes of three axes are grey images without an axis of channels.
    """
    return Layout("HW") if x.dim() == 3 and x.dtype == torch.uint8 else None


def channels_last(shape: Sequence[int]) -> bool:
    """Whether samples ``[n, ...]`` must be square images with their channels last."""
    return len(shape) == 4 and shape[1] == shape[2] > _ALPHA >= shape[3]


@dataclass(frozen=True)
class Size:
    """How images come to one size: the shorter side is scaled, then the middle is cut out.

    Attributes:
        resize: the shorter side, in pixels; none to scale nothing.
        crop: height and width of the middle; none to cut nothing.
    """

    resize: int | None
    crop: tuple[int, int] | None

    def __call__(self, x: Tensor) -> Tensor:
        """Bring images ``[..., H, W]`` in floats to the size, bilinear and antialiased.

        Raises:
            UnsupportedError: they are no images, or too small to be cut.
        """
        if x.dim() < 4:
            raise UnsupportedError(
                "the size of samples can't be changed",
                f"samples of shape {list(x.shape[1:])}, which are no images [C, H, W]",
                "drop --size",
            )
        if self.resize is not None and min(x.shape[-2:]) != self.resize:
            height, width = x.shape[-2:]
            shorter = min(height, width)
            to = [self.resize * height // shorter, self.resize * width // shorter]
            flat = x.flatten(0, -4) if x.dim() > 4 else x
            scaled = F.interpolate(flat, to, mode="bilinear", antialias=True, align_corners=False)
            x = scaled.reshape(*x.shape[:-2], *to)
        if self.crop is None:
            return x
        height, width = self.crop
        top, left = x.shape[-2] - height, x.shape[-1] - width
        if min(top, left) < 0:
            raise UnsupportedError(
                "images can't be cut to this size",
                f"{x.shape[-2]} x {x.shape[-1]} pixels, where {height} x {width} are wanted",
                "scale them before: ?resize=N&crop=N, or --size N",
            )
        top, left = round(top / 2), round(left / 2)
        return x[..., top : top + height, left : left + width]
