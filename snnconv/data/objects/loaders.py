"""Data sets and loaders of PyTorch and of Hugging Face, and streams of batches, as parts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
)

from snnconv.core.runtime import free_memory
from snnconv.data.objects.parts import ArrayPart, IndexedPart, Part, other_shape
from snnconv.data.objects.values import LABELS, Pair, labels, pair, refusal, tensor
from snnconv.errors import SnnconvError, UsageError, one_line


def is_hugging_face(data: object) -> bool:
    """Whether it is a data set of the package ``datasets``, which need not be installed."""
    return type(data).__module__.partition(".")[0] == "datasets"


def of_hugging_face(data: Any) -> Part:
    """Return a data set from one of the package ``datasets``: a table, or a stream of samples."""
    names = tuple(data.column_names or ())
    label = next((name for name in LABELS if name in names), None)
    classes = tuple(getattr((data.features or {}).get(label), "names", None) or ())
    if not hasattr(data, "__len__"):
        return streamed(map(_batch_of_one, data), classes=classes)
    image = label is not None and type(data.features[label]).__name__ == "Image"
    known = None if label is None or image else list(data[label])
    return IndexedPart(data.__getitem__, range(len(data)), known, classes)


def of_dataset(data: Any) -> Part:
    """Return a data set from a ``torch.utils.data.Dataset``, or from what is used like one.

    Raises:
        UnsupportedError: it has no length.
    """
    if isinstance(data, IterableDataset):
        return streamed(map(_batch_of_one, data), _length(data), unit="samples")
    n = _length(data)
    if n is None:
        raise refusal(
            f"a {type(data).__name__} without a length",
            "give it a __len__, or give an iterable of batches",
        )
    return IndexedPart(data.__getitem__, range(n), _targets(data), _classes(data))


def of_loader(loader: DataLoader[Any]) -> Part:
    """Return a data set of all samples of a ``DataLoader``, each once, ordered by their indices.

    Its order, ``shuffle`` and ``drop_last`` change nothing: a stage draws samples itself.
    """
    data = loader.dataset
    if isinstance(data, IterableDataset):
        if loader.batch_size is None:
            return streamed(map(_batch_of_one, loader), _length(loader), unit="samples")
        return streamed(loader, _length(loader))
    drawn = _indices(loader)
    order = sorted(set(drawn))
    note = ""
    if order != drawn:
        note = "the DataLoader shuffles: its samples are taken by their indices, each once"
    collate = loader.collate_fn

    def get(index: int) -> Pair:
        if loader.batch_size is None and loader.batch_sampler is None:
            return pair(collate(data[index]))
        x, y = pair(collate([data[index]]))
        return Pair(tensor(x, "a batch")[0], None if y is None else tensor(y, "labels")[0])

    return IndexedPart(get, order, _targets(data), _classes(data), note)


def _told(batches: Iterable[Any], unit: str) -> Iterator[Any]:
    """Yield the batches; if their source fails, the error says after how many."""
    stream, count = iter(batches), 0
    while True:
        try:
            batch = next(stream)
        except StopIteration:
            return
        except (SnnconvError, MemoryError):
            raise
        except Exception as error:  # whatever the user's generator raises
            raise refusal(
                f"the data broke off after {count} {unit}: {one_line(error)}",
                "look at what gives them",
            ) from error
        yield batch
        count += 1


def streamed(
    batches: Iterable[Any],
    promised: int | None = None,
    classes: tuple[str, ...] = (),
    unit: str = "batches",
) -> Part:
    """Return a data set of batches, read to their end: a generator, a list, a loader of a stream.

    Args:
        batches: of values ``[B, ...]``, of pairs, or of mappings.
        promised: how many there should be.
        classes: names of the classes, if they are known.
        unit: what is counted, in words.

    Raises:
        UsageError: there are none.
        UnsupportedError: they do not end before half of the memory is full, differ in shape, or
            break off with an error.
    """
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    size, count, most = 0, 0, free_memory() // 2
    for batch in _told(batches, unit):
        item = pair(batch)
        x, y = tensor(item.x, f"batch {count}"), labels(item.y)
        if x.dim() == 0:
            raise refusal("batches that are single numbers", "give batches [B, ...]")
        if y is not None and len(y) != len(x):
            raise refusal(
                f"{len(x)} samples and {len(y)} labels in batch {count}",
                "give one label for each sample",
            )
        if xs and x.shape[1:] != xs[0].shape[1:]:
            shapes = tuple(xs[0].shape[1:]), count, tuple(x.shape[1:])
            raise other_shape(*shapes, "batches of samples")
        if xs and (y is None) is bool(ys):
            raise refusal(
                f"batches of which some have labels and some, for example number {count}, do not",
                "label all of them, or none",
            )
        xs.append(x)
        ys += [] if y is None else [y]
        size, count = size + x.nbytes, count + 1
        if size > most:
            raise refusal(
                f"batches that have not ended after {count}, when half of the memory was full "
                f"({size / 2**20:,.0f} MiB)",
                "bound them, for example by itertools.islice(batches, 100), or give a Dataset with "
                "indices, which is read when it is needed",
            )
    if not sum(map(len, xs)):
        raise UsageError("data can't be used", "no samples", "give some as data")
    note = ""
    if promised is not None and count < promised:
        note = f"the data ended after {count} of {promised} {unit}"
    if len({y.shape[1:] for y in ys}) > 1:
        raise refusal("labels of different shapes", "give labels of one shape")
    return ArrayPart(torch.cat(xs), torch.cat(ys) if ys else None, classes, note)


def _batch_of_one(item: Any) -> Pair:
    x, y = pair(item)
    return Pair(tensor(x, "a sample")[None], None if y is None else tensor(y, "a label")[None])


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _indices(loader: DataLoader[Any]) -> list[int]:
    """Return the indices that a loader goes through; its own generator stays as it is."""
    own = loader.generator
    state = own.get_state() if own is not None else None
    sampler: Any = loader.batch_sampler
    if sampler is None or type(sampler) is BatchSampler:  # without what drop_last drops
        found = [int(index) for index in loader.sampler]
    else:
        found = [int(index) for index in chain.from_iterable(sampler)]
    if own is not None and state is not None:
        own.set_state(state)
    return found


def _targets(data: Any) -> Any:
    """Return labels that a data set knows without reading samples."""
    if isinstance(data, TensorDataset):
        return data.tensors[1] if len(data.tensors) > 1 else None
    if isinstance(data, Subset):
        inner = _targets(data.dataset)
        return None if inner is None else [inner[index] for index in data.indices]
    if isinstance(data, ConcatDataset):
        parts = [_targets(part) for part in data.datasets]
        return None if any(part is None for part in parts) else list(chain(*parts))
    found = getattr(data, "targets", None)
    return found if isinstance(found, Sequence | torch.Tensor) and len(found) == len(data) else None


def _classes(data: Any) -> tuple[str, ...]:
    """Return names of the classes that a data set knows, as torchvision's do."""
    if isinstance(data, Subset):
        return _classes(data.dataset)
    if isinstance(data, ConcatDataset):
        names = {_classes(part) for part in data.datasets}
        return names.pop() if len(names) == 1 else ()
    found = getattr(data, "classes", None)
    known = isinstance(found, list | tuple) and all(isinstance(name, str) for name in found)
    return tuple(found) if known and found else ()
