"""Sequences ``[T, B, *N]`` as arrays ``[T, n]`` in their order in memory, and back.

Convolutions give channels-last memory. Neurons take any order, so a sequence is copied only if it
is neither contiguous nor channels-last.
"""

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

_CHANNEL = 2  # of [T, B, C, ...]
Scalar = TypeVar("Scalar", bound=np.generic)


def checked(
    array: NDArray[Scalar],
    shape: tuple[int | Container[int], ...],
    kind: DTypeLike = np.float32,
    writeable: bool = False,
) -> NDArray[Scalar]:
    """Check an array for compiled code, which checks nothing itself.

    Args:
        array: the array to check.
        shape: for each dimension, the right size or a container of the right sizes.
        kind: the type of its numbers.
        writeable: whether compiled code writes to it.

    Returns:
        The same array.

    Raises:
        TypeError: its numbers have another type, it is not contiguous, or it is read-only.
        ValueError: it has another shape.
    """
    flags = array.flags
    if array.dtype != kind or not flags.c_contiguous:
        lies = "contiguous" if flags.c_contiguous else "not contiguous"
        wanted = np.dtype(kind).name
        raise TypeError(f"compiled code reads {wanted}, contiguous; not {array.dtype}, {lies}")
    if writeable and not flags.writeable:
        raise TypeError("compiled code can't write to an array that is read-only")
    if array.ndim != len(shape) or not all(map(_fits, array.shape, shape)):
        raise ValueError(f"compiled code wants an array of {shape}, not of {array.shape}")
    return array


def _fits(size: int, wanted: int | Container[int]) -> bool:
    return size == wanted if isinstance(wanted, int) else size in wanted


class Memory(NamedTuple):
    """One piece of memory, as a tensor and as the array that a kernel takes.

    Attributes:
        tensor: ``[T, B, *N]`` or ``[B, *N]``.
        array: ``[T, n]`` or ``[n]``.
    """

    tensor: Tensor
    array: NDArray[np.float32]


@dataclass(frozen=True)
class Flat:
    """The order in memory of one layer's sequences.

    Attributes:
        shape: ``B, *N``.
        channels_last: whether ``C`` is the fastest dimension.
    """

    shape: torch.Size
    channels_last: bool

    @classmethod
    def of(cls, currents: Tensor) -> "Flat":
        """Return the order of ``[T, B, *N]``."""
        last = currents.dim() > 3 and currents[0].movedim(1, -1).is_contiguous()
        return cls(currents.shape[1:], last and not currents[0].is_contiguous())

    @property
    def size(self) -> int:
        """The number of neurons in all samples."""
        return math.prod(self.shape)

    def array(self, sequence: Tensor) -> NDArray[np.float32]:
        """Reorder ``[T, B, *N] -> [T, n]``; a sequence that already has this order is not copied.

        Raises:
            TypeError: the sequence is not float32, or not on the CPU.
            ValueError: its neurons have another shape.
        """
        if sequence.dtype is not torch.float32 or sequence.device.type != "cpu":
            given = f"{sequence.dtype} on {sequence.device.type}"
            raise TypeError(f"a compiled layer of neurons can't take {given}: give float32 on cpu")
        if sequence.shape[2:] != self.shape[1:]:
            shapes = f"{list(sequence.shape[2:])}, where the layer has {list(self.shape[1:])}"
            raise ValueError(f"a compiled layer of neurons can't take neurons of shape {shapes}")
        if self.channels_last:
            sequence = sequence.movedim(_CHANNEL, -1)
        found: NDArray[np.float32] = sequence.detach().contiguous().flatten(1).numpy()
        return found

    def steps(self, sequence: Tensor, steps: int) -> NDArray[np.float32]:
        """Return the :meth:`array` of a sequence that must have this many steps, and this batch."""
        if sequence.shape[:2] != (steps, self.shape[0]):
            wanted = f"{steps} steps of {self.shape[0]} samples"
            raise ValueError(
                f"a compiled layer of neurons wants {wanted}, not shape {list(sequence.shape)}"
            )
        return self.array(sequence)

    def rows(self, sequence: Tensor) -> NDArray[np.float32]:
        """Reorder ``[T, B, *N] -> [1 or T, n]``: one row if a single step was expanded."""
        return self.array(sequence[:1] if sequence.stride(0) == 0 else sequence)

    def neurons(self, step: Tensor, few: int) -> NDArray[np.float32]:
        """Return a tensor that broadcasts to ``[B, *N]`` as ``[n]``; ``[few]`` if all are equal."""
        if (number := _only(step)) is not None:
            return np.full(few, number, np.float32)
        found: NDArray[np.float32] = self.array(step.expand(self.shape)[None])[0]
        return found

    def own(self, step: Tensor) -> Memory:
        """Copy a tensor that broadcasts to ``[B, *N]``; its array is ``[n]``."""
        tensor, array = self.memory(1)
        if (number := _only(step)) is not None:
            array.fill(number)
        else:
            tensor.copy_(step.detach())
        return Memory(tensor[0], array[0])

    def memory(self, steps: int) -> Memory:
        """Return new memory of any content for ``[T, B, *N]`` in this order."""
        rows = torch.empty(steps, math.prod(self.shape))  # aligned, as numpy.s is not
        if not self.channels_last:
            return Memory(rows.view(steps, *self.shape), rows.numpy())
        batch, channels, *places = self.shape
        tensor = rows.view(steps, batch, *places, channels).movedim(-1, _CHANNEL)
        return Memory(tensor, rows.numpy())


def _only(step: Tensor) -> float | None:
    """Return the number that all neurons share, if the tensor's strides show only one."""
    if any(step.stride()) and step.numel() != 1:
        return None
    return step.as_strided((), ()).item() if step.numel() else None
