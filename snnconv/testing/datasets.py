"""The laws of data sets.

A data set is checked on its own files: ``check("npz:mine.npz")``, ``check("mine.py:stripes")``.
Each law reads a few samples of both splits.

Shape:
    Samples ``[n, *shape]``, or ``[n, frames, *shape]`` if they have frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from snnconv.data.dataset import DATASETS, Dataset, load_dataset
from snnconv.data.split import Split, count, is_class
from snnconv.testing.base import Kind, Law

FEW = 8

Read = Callable[[], Dataset]
"""Reads a data set anew at each call."""


def subjects(read: Read) -> Iterator[tuple[str, Read]]:
    """A data set has no settings but what stands behind its colon."""
    yield "", read


def _splits(data: Dataset) -> Iterator[tuple[str, Split, Tensor]]:
    """Each split with its name and the places ``[n]`` of a few samples, the last one included."""
    for name, split in (("train", data.train), ("test", data.test)):
        last = count(split) - 1
        yield name, split, torch.linspace(0, last, min(FEW, last + 1)).long()


def reading_again_gives_the_same(read: Read) -> None:
    """Equal metadata, labels and samples the second time, whatever torch's random state is."""
    first = read()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        second = read()
        for (name, one, few), (_, other, _) in zip(_splits(first), _splits(second), strict=True):
            assert count(one) == count(other), f"{name}: {count(one)} and {count(other)} samples"
            assert torch.equal(one.images(few), other.images(few)), f"{name}: other samples"
            if one.labels is not None and other.labels is not None:
                assert torch.equal(one.labels, other.labels), f"{name}: other labels"
        assert torch.equal(torch.get_rng_state(), state), "torch's random state has changed"
    assert first.info == second.info, "other metadata"


def samples_are_as_the_metadata_say(read: Read) -> None:
    """Finite float32 of the shape that the network is made for, frames included."""
    data = read()
    frames = () if data.info.frames is None else (data.info.frames,)
    for name, split, few in _splits(data):
        x, wanted = split.images(few), (len(few), *frames, *data.info.shape)
        assert x.dtype == torch.float32, f"{name}: samples of {x.dtype}"
        assert tuple(x.shape) == wanted, f"{name}: {list(x.shape)}, not {list(wanted)}"
        assert x.isfinite().all(), f"{name}: NaN or Inf"


def a_sample_does_not_depend_on_the_others(read: Read) -> None:
    """The same sample alone, in a batch, in another order, and read twice at once."""
    for name, split, few in _splits(read()):
        x = split.images(few)
        assert torch.equal(split.images(few.flip(0)).flip(0), x), f"{name}: in another order"
        for place, sample in zip(few, x, strict=True):
            twice = split.images(place.repeat(2))
            assert torch.equal(twice, torch.stack([sample, sample])), f"{name}, sample {place}"


def samples_can_be_overwritten(read: Read) -> None:
    """A caller that changes the samples that it was given changes no later ones."""
    for name, split, few in _splits(read()):
        before = split.images(few).clone()
        split.images(few).fill_(-1)
        assert torch.equal(split.images(few), before), f"{name}: the samples have changed"


def classes_have_names(read: Read) -> None:
    """A label is the place of its class in the list of names."""
    data = read()
    for name, split, _ in _splits(data):
        if is_class(labels := split.labels):
            low, high, names = int(labels.min()), int(labels.max()), len(data.info.classes)
            assert 0 <= low <= high < names, f"{name}: labels {low}..{high} for {names} classes"


def tokens_are_numbers_of_words(read: Read) -> None:
    """A text consists of whole numbers below the size of the vocabulary."""
    data = read()
    for name, split, few in _splits(data):
        x = split.images(few)
        assert torch.equal(x, x.floor()), f"{name}: a token is no whole number"
        assert 0 <= x.min() <= x.max() < (data.info.tokens or 0), f"{name}: a token is out of range"


def _is_text(read: Read) -> str:
    return "" if read().info.tokens else "its samples are no texts"


_LAWS: tuple[Law[Read], ...] = (
    Law(reading_again_gives_the_same),
    Law(samples_are_as_the_metadata_say),
    Law(a_sample_does_not_depend_on_the_others),
    Law(samples_can_be_overwritten),
    Law(classes_have_names),
    Law(tokens_are_numbers_of_words, unless=_is_text),
)


def _load(spec: str) -> Read:
    """What reads a data set, from what ``--data`` takes."""
    return partial(load_dataset, spec)


def _fault(found: object) -> str:
    if isinstance(found, type) or not callable(found):
        return f"{found!r:.40}, which is no function that returns a data set"
    return ""


KIND = Kind(replace(DATASETS, fault=_fault), _LAWS, subjects, _load)
