"""Film reviews, ``imdb:DIR`` or ``imdb:DIR?length=200&words=10000`` (the layout of aclImdb).

``DIR/train/pos/*.txt``, ``DIR/train/neg/*.txt``, ``DIR/test/pos/*.txt`` and ``DIR/test/neg/*.txt``,
as aclImdb_v1.tar.gz is unpacked; ``unsup``, reviews without a class, is skipped. A relative DIR
lies below ``--data-root``, if that is given.

Shape:
    ``[length]``: token numbers as float32, whole ones (64 unless told otherwise); mean 0 and std 1
    leave them as they are. Words, tokens and the vocabulary are those of all text data sets: the
    5,000 most frequent words of the training texts, or ``words``.

Reference:
    Maas et al. 2011, *Learning Word Vectors for Sentiment Analysis*.

Deviations:
    The vocabulary is not the one that ``imdb.vocab`` in the archive lists, which is of the training
    texts as well as the unlabelled ones. ``<br />`` between lines is no word.
"""

from pathlib import Path

from snnconv.data.dataset import Dataset
from snnconv.data.datasets._text import Text, dataset, files, read
from snnconv.data.locate import Source, resolve
from snnconv.errors import UsageError

_CLASSES = ("neg", "pos")
_MARKUP = "<br />"


def _load(source: Source) -> Dataset:
    directory, _, query = source.argument.partition("?")
    folder = resolve(source, directory)
    places = [folder / part / name for part in ("train", "test") for name in _CLASSES]
    if missing := [place for place in places if not files(place)]:
        raise UsageError(
            f"there are no film reviews in {folder}",
            f"no .txt file in {', '.join(str(place.relative_to(folder)) for place in missing)}"
            if folder.is_dir()
            else "no such folder",
            "unpack aclImdb_v1.tar.gz and give imdb:aclImdb",
        )
    train, test = (_texts(folder / part) for part in ("train", "test"))
    return dataset(source, "imdb", query, _CLASSES, train, test)


def _texts(part: Path) -> list[Text]:
    return [
        read(file, label, _MARKUP)
        for label, name in enumerate(_CLASSES)
        for file in files(part / name)
    ]


DATASET = _load
