"""Objects that a Python program gave as data, held under a name for as long as the process runs."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from snnconv.data.dataset import Dataset
from snnconv.data.objects.loaders import (
    is_hugging_face,
    of_dataset,
    of_hugging_face,
    of_loader,
    streamed,
)
from snnconv.data.objects.parts import ArrayPart, Part
from snnconv.data.objects.values import SAMPLES, is_numbers, labels, pair, refusal, tensor
from snnconv.data.split import Split, count
from snnconv.errors import UsageError

TEST = ("test", "validation", "val", "valid")
"""Names of the part to measure on, in the order in which they are looked for."""
_LOOKED_AT = 8  # samples by which two objects are told apart
_TAKEN = (
    "give an array or a tensor, a pair (x, y) of them, a Dataset or a DataLoader of PyTorch, a "
    "data set of Hugging Face's, batches, or {'train': ..., 'test': ...} of these"
)


@dataclass(frozen=True)
class Held:
    """What a program gave, ready to be read: parts to train and to measure on, maybe the same."""

    train: Part
    test: Part


HELD: dict[str, Held | Dataset] = {}
"""By what stands behind ``python:``."""


def hold(data: object) -> str:
    """Hold data for this process.

    Args:
        data: as :func:`part_of` takes it; a mapping of ``train`` and ``test`` to these; or a
            :class:`snnconv.Dataset`.

    Returns:
        What ``--data`` takes: ``python:KIND-HASH``, where equal data have equal names.

    Raises:
        UsageError: it is nothing that data can be, or it has no samples.
        UnsupportedError: it can't be used, as arrays of different lengths.
    """
    with torch.random.fork_rng(devices=()):  # loaders draw
        held = data if isinstance(data, Dataset) else _held(data)
    digest = hashlib.sha256()
    if isinstance(held, Dataset):
        digest.update(held.info.model_dump_json().encode())
    for part in (held.train, held.test):
        n = count(part) if isinstance(held, Dataset) else len(part)  # type: ignore[arg-type]
        digest.update(str(n).encode())
        if part.labels is not None:
            digest.update(part.labels.contiguous().numpy().tobytes())
        for k in torch.linspace(0, n - 1, min(n, _LOOKED_AT)).long().unique():
            digest.update(_one(part, k[None]).contiguous().numpy().tobytes())
    name = f"{type(data).__name__.lower()}-{digest.hexdigest()[:12]}"
    HELD[name] = held
    return f"python:{name}"


def _one(part: Part | Split, index: Tensor) -> Tensor:
    if isinstance(part, Split):
        return part.images(index)
    return part.samples(index, lambda x: x)


def _held(data: object) -> Held:
    if isinstance(data, Mapping) and not any(name in data for name in SAMPLES):
        parts = {name: part_of(part) for name, part in data.items() if name in ("train", *TEST)}
        test = next((parts[name] for name in TEST if name in parts), None)
        train = parts.get("train", test)
        if train is None:
            raise UsageError(
                "data can't be used",
                f"a mapping of {', '.join(map(repr, data)) or 'nothing'}",
                "give {'train': ..., 'test': ...}, or {'x': ..., 'y': ...}",
            )
        return Held(train, test or train)
    part = part_of(data)
    return Held(part, part)


def part_of(data: Any) -> Part:
    """Read an object as samples with labels, or without.

    Args:
        data: samples ``[n, ...]`` in an array or tensor; a pair ``(x, y)`` or ``[x, y]``, or a
            mapping of ``x`` and ``y`` to them; a ``Dataset`` or ``DataLoader`` of PyTorch; a data
            set of Hugging Face's; or an iterable of batches ``[B, ...]`` or of pairs of them.

    Raises:
        UsageError: it is none of these, or it has no samples.
        UnsupportedError: it can't be used, as arrays of different lengths.
    """
    if is_hugging_face(data):
        part = of_hugging_face(data)
    elif isinstance(data, DataLoader):
        part = of_loader(data)
    elif isinstance(data, TorchDataset | IterableDataset):
        part = of_dataset(data)
    elif _is_array(data) or isinstance(data, tuple | Mapping) or is_numbers(data) or _pair(data):
        part = _of_arrays(*pair(data))
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, list):
        part = of_dataset(data)
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        part = streamed(data)
    else:
        raise UsageError("data can't be used", f"a {type(data).__name__}", _TAKEN)
    if not len(part):
        raise UsageError("data can't be used", "no samples", "give some as data")
    return part


def _is_array(data: object) -> bool:
    return isinstance(data, Tensor) or hasattr(data, "__array__")


def _pair(data: object) -> bool:
    """Whether a list is ``[x, y]``: two arrays of one length that can't be two batches."""
    if not isinstance(data, list) or len(data) != 2 or not all(map(_is_array, data)):
        return False
    x, y = (tuple(array.shape) for array in data)
    return x[:1] == y[:1] and x[1:] != y[1:]


def _of_arrays(x: Any, y: Any) -> Part:
    samples, told = tensor(x, "x"), labels(y)
    if samples.dim() < 2:
        raise refusal(
            f"x of shape {list(samples.shape)}", "give samples along its first axis: [n, ...]"
        )
    if told is not None and len(told) != len(samples):
        raise refusal(
            f"{len(samples)} samples in x and {len(told)} labels in y",
            "give one label for each sample",
        )
    if samples.is_floating_point():
        finite = torch.isfinite(samples).flatten(1).all(1)
        if not finite.all():
            raise refusal(
                f"NaN or Inf in {int((~finite).sum())} samples of x, the first at index "
                f"{int(finite.int().argmin())}",
                "repair or remove them",
            )
    return ArrayPart(samples, told)
