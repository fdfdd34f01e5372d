"""A part of a data set that a program holds: its raw samples by index, and their labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from snnconv.data.objects.values import Pair, labels, pair, refusal, tensor
from snnconv.errors import SnnconvError

Prepare = Callable[[Tensor], Tensor]
"""Brings raw samples ``[n, ...]`` to the layout and the size of a network's input."""


class Part(Protocol):
    """Raw samples, as a program has them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, if they are known."""
        ...

    @property
    def note(self) -> str:
        """What is to be said of it; empty if nothing is."""
        ...

    def __len__(self) -> int:
        """Return how many samples there are."""
        ...

    @property
    def labels(self) -> Tensor | None:
        """Theirs, ``[n, ...]``; none where there are none."""
        ...

    def samples(self, indices: Tensor, prepare: Prepare) -> Tensor:
        """Return the samples at these indices, prepared: ``[len(indices), ...]``."""
        ...


@dataclass(frozen=True)
class ArrayPart:
    """Samples ``[n, ...]`` in memory."""

    x: Tensor
    labels: Tensor | None
    classes: tuple[str, ...] = ()
    note: str = ""

    def __len__(self) -> int:
        return len(self.x)

    def samples(self, indices: Tensor, prepare: Prepare) -> Tensor:
        """See :class:`Part`."""
        return prepare(self.x[indices])


class IndexedPart:
    """Samples that an object gives by index, read when they are asked for.

    Args:
        get: gives the item of an index: a pair, a mapping, or values alone.
        indices: of the samples, in the order of the part.
        known: labels by index of the object, where it tells them without reading samples. If they
            differ from those of the items, as after a ``target_transform``, they are not used.
        classes: names of the classes, if they are known.
        note: what is to be said of it.
    """

    def __init__(
        self,
        get: Callable[[int], Any],
        indices: Sequence[int],
        known: Sequence[Any] | Tensor | None = None,
        classes: tuple[str, ...] = (),
        note: str = "",
    ) -> None:
        self.classes, self.note = classes, note
        self._get, self._indices = get, indices
        self.labels = self._labels(known) if len(indices) else None

    def __len__(self) -> int:
        return len(self._indices)

    def samples(self, indices: Tensor, prepare: Prepare) -> Tensor:
        """See :class:`Part`.

        Raises:
            UnsupportedError: samples that can't be read, or differ in shape once they are prepared.
        """
        found: list[Tensor] = []
        for k in indices.tolist():
            value = prepare(tensor(self._item(k).x, f"sample {k}")[None])[0]
            if found and value.shape != found[0].shape:
                raise other_shape(tuple(found[0].shape), k, tuple(value.shape))
            found.append(value)
        return torch.stack(found)

    def _item(self, k: int) -> Pair:
        index = self._indices[k]
        try:
            return pair(self._get(index))
        except (SnnconvError, MemoryError):
            raise
        except Exception as error:  # whatever the user's data set raises
            raise refusal(
                f"sample {index} can't be read: {type(error).__name__}: {error}",
                "check what the data set gives for that index",
            ) from error

    def _labels(self, known: Sequence[Any] | Tensor | None) -> Tensor | None:
        """Return the labels that are known, if the items say the same; else those of all items."""
        n = len(self)
        if known is not None:
            order = list(self._indices)
            if isinstance(known, Tensor):
                told = labels(known[order])
            else:
                told = labels([known[index] for index in order])
            few = labels([self._item(k).y for k in sorted({0, n // 2, n - 1})])
            if told is not None and few is not None and few.shape[1:] == told.shape[1:]:
                same = told[sorted({0, n // 2, n - 1})]
                if same.dtype == few.dtype and torch.equal(same, few):
                    return told
        if self._item(0).y is None:
            return None
        return labels([self._item(k).y for k in range(n)])


def other_shape(
    first: tuple[int, ...], index: int, shape: tuple[int, ...], what: str = "samples"
) -> SnnconvError:
    """Return the error for samples of different shapes."""
    return refusal(
        f"{what} of shape {list(first)} and, at index {index}, {list(shape)}",
        "bring all samples to one shape before: resize or crop images, pad sequences",
    )


@dataclass(frozen=True)
class PartSplit:
    """A part as a split (:class:`snnconv.data.split.Split`): prepared, and divided by a scale."""

    part: Part
    prepare: Prepare
    scale: float

    def __len__(self) -> int:
        return len(self.part)

    @property
    def labels(self) -> Tensor | None:
        """Those of the part."""
        return self.part.labels

    def images(self, indices: Tensor) -> Tensor:
        """Return the samples at these indices."""
        found = self.part.samples(indices, self.prepare)
        return found.float() / self.scale
