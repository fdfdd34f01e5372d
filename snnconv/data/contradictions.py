"""What can't be in a data set: splits and metadata that contradict each other."""

from collections.abc import Sized

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.data.split import Split, count, is_class
from snnconv.errors import UnsupportedError


def _kind(labels: Tensor | None) -> str:
    """Say what labels are."""
    if labels is None:
        return "none"
    if is_class(labels):
        return "classes"
    return f"values of shape {list(labels.shape[1:])} of {labels.dtype}"


def refuse_contradictions(info: DataInfo, train: Split, test: Split, classes: bool) -> None:
    """Refuse splits and metadata that contradict each other.

    Args:
        info: of the data set.
        train: its training split.
        test: its test split.
        classes: whether whole numbers, one a sample, have to be classes.

    Raises:
        UnsupportedError: it says what contradicts what.
    """
    problem = f"data set '{info.spec}' can't be used"
    kinds = [_kind(split.labels) for split in (train, test)]
    if kinds[0] != kinds[1]:
        raise UnsupportedError(
            problem,
            f"train labels {kinds[0]}, test labels {kinds[1]}",
            "give both splits labels of one kind and shape, or none",
        )
    for part, split in (("train", train), ("test", test)):
        labels = split.labels
        if labels is None and not isinstance(split, Sized):
            raise UnsupportedError(
                problem,
                f"a {part} split ({type(split).__name__}) without labels that has no __len__",
                "give it a __len__: how many samples it has",
            )
        if labels is not None and labels.dim() == 0:
            raise UnsupportedError(
                problem, f"{part} labels of shape []", "give one label for each sample"
            )
        if isinstance(split, Sized) and labels is not None and len(split) != len(labels):
            raise UnsupportedError(
                problem,
                f"{len(split)} samples and {len(labels)} labels in the {part} split",
                "give one label for each sample",
            )
        if count(split) == 0:
            raise UnsupportedError(problem, f"an empty {part} split", "fill it")
        if labels is None:
            continue
        finite = torch.isfinite(labels).reshape(len(labels), -1).all(1)
        if not finite.all():
            raise UnsupportedError(
                problem,
                f"NaN or Inf among the {part} labels, the first of sample "
                f"{int(finite.int().argmin())}",
                "repair or remove them",
            )
        if not classes or not is_class(labels):
            continue
        if int(labels.min()) < 0 or int(labels.max()) >= len(info.classes):
            raise UnsupportedError(
                problem,
                f"labels {int(labels.min())}..{int(labels.max())} in the {part} split for "
                f"{len(info.classes)} classes",
                "number the labels from 0 and name every class; if they are values, not classes: "
                "--task regression",
            )
    channels = (*info.shape, 1)[0]
    if not info.shape or {len(info.mean), len(info.std)} - {1, channels} or min(info.std) <= 0:
        raise UnsupportedError(
            problem,
            f"mean {list(info.mean)} and std {list(info.std)} for samples of shape "
            f"{list(info.shape)}",
            f"give one of each, or {channels}, and every std above 0",
        )
