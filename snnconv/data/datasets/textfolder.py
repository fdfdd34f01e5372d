"""Text files in class folders, ``textfolder:DIR`` or ``textfolder:DIR?length=32&words=2000``.

``DIR/train/CLASS/*.txt`` and ``DIR/test/CLASS/*.txt``, or ``DIR/CLASS/*.txt``. A relative DIR lies
below ``--data-root``, if that is given. Classes are numbered in alphabetical order. If DIR has no
parts, a fifth of each class's texts is the test split: those whose words have the smallest hash, so
that texts with the same words are on one side, whatever their class and name. Samples are a text of
each class in turn: the first of them have all classes.

Shape:
    ``[length]``: token numbers as float32, whole ones (64 unless told otherwise); mean 0 and std 1
    leave them as they are. Words, tokens and the vocabulary are those of all text data sets: the
    5,000 most frequent words of the training texts, or ``words``.

Reference:
    None: the layout of image folders, with texts in it.

Deviations:
    None.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from snnconv.data.dataset import Dataset
from snnconv.data.datasets._text import Text, dataset, files, read
from snnconv.data.locate import Source, resolve
from snnconv.errors import UnsupportedError, UsageError

_PARTS = ("train", "test")
_SHARE = 5  # one text of so many is for tests
_LAYOUT = (
    "lay it out as DIR/train/CLASS/*.txt and DIR/test/CLASS/*.txt, or as DIR/CLASS/*.txt, and give "
    "textfolder:DIR"
)


def _load(source: Source) -> Dataset:
    directory, _, query = source.argument.partition("?")
    folder = resolve(source, directory)
    given = [part for part in _PARTS if (folder / part).is_dir()]
    if len(given) == 1:
        (missing,) = set(_PARTS) - set(given)
        raise UsageError(
            f"there is no data set in {folder}", f"{given[0]}/, and no {missing}/", _LAYOUT
        )
    if not given:
        classes = _classes(folder)
        train, test = divided(_texts(folder, classes))
        if not test:
            raise UnsupportedError(
                f"the texts in {folder} can't be used",
                "too few to divide: a fifth of a class is none",
                "give more texts, or DIR/train and DIR/test",
            )
    else:
        classes, others = (_classes(folder / part) for part in _PARTS)
        if classes != others:
            only = [
                f"only in {part}/: {', '.join(names)}"
                for part, a, b in (("train", classes, others), ("test", others, classes))
                if (names := sorted(set(a) - set(b)))
            ]
            raise UnsupportedError(
                f"the data set in {folder} can't be used",
                "; ".join(only),
                "give both the same class folders",
            )
        train, test = (_texts(folder / part, classes) for part in _PARTS)
    return dataset(source, "textfolder", query, classes, train, test)


def divided(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """Return texts to train and to test on, a fifth of each class; equal texts are on one side.

    Args:
        texts: class by class; one that an earlier class has, too, is on the side it is on there.
    """
    for_test: dict[str, bool] = {}
    for label in dict.fromkeys(text.label for text in texts):
        own = sorted({_digest(text) for text in texts if text.label == label})
        free = len(own) // _SHARE - sum(for_test.get(digest, False) for digest in own)
        for digest in own:
            if digest not in for_test:
                for_test[digest] = free > 0
                free -= 1
    sides: tuple[list[Text], list[Text]] = ([], [])
    for text in texts:
        sides[for_test[_digest(text)]].append(text)
    return sides


def _digest(text: Text) -> str:
    return hashlib.sha1(" ".join(text.words).encode(), usedforsecurity=False).hexdigest()


def _classes(folder: Path) -> list[str]:
    """Return the names of a part's class folders, each of which has a text."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [place.name for place in found if place.is_dir() and place.name[0] != "."]
    if not names:
        what = "no folder of a class in it" if folder.is_dir() else "no such folder"
        raise UsageError(f"there are no texts in {folder}", what, _LAYOUT)
    if empty := [name for name in names if not files(folder / name)]:
        raise UnsupportedError(
            f"the texts in {folder} can't be used",
            f"no .txt file for: {', '.join(empty)}",
            "put texts into every class's folder, or take the folder away",
        )
    return names


def _texts(folder: Path, classes: Sequence[str]) -> list[Text]:
    return [
        read(file, label) for label, name in enumerate(classes) for file in files(folder / name)
    ]


DATASET = _load
