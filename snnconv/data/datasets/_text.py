"""Text: words, a vocabulary of them, and texts as rows of token numbers.

A word is a run of letters, digits and underscores, with apostrophes inside, in lower case. Token 0
is padding, 1 a word that the vocabulary lacks, k + 2 its word k. A text keeps its first words and
is filled up with padding at its end.

The vocabulary has the most frequent words of the training texts, counted in the parts that are
kept, so training sees each of them. Equally frequent words are in alphabetical order, so the same
texts give the same vocabulary. A network that is trained already brings its own vocabulary.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import torch
from torch import Tensor

from snnconv.core.bounds import COUNT
from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._options import whole_numbers
from snnconv.data.locate import Source
from snnconv.data.split import ArraySplit
from snnconv.errors import UnsupportedError

LENGTH, WORDS = 64, 5_000
"""Words kept of a text, and words of a vocabulary, unless told otherwise."""

MOST_WORDS = 2**16
"""Kept of a text: every sample takes as many numbers."""

_PADDING, _UNKNOWN, _FIRST = 0, 1, 2
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Text:
    """A text by its words, with its class."""

    words: tuple[str, ...]
    label: int


def read(file: Path, label: int, markup: str = "") -> Text:
    """Return a file's words.

    Args:
        file: UTF-8.
        label: its class.
        markup: what stands between lines, and is no word.

    Raises:
        UnsupportedError: a file that can't be read, or has no word.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedError(
            f"{file} can't be read as text", str(error), "save it as UTF-8, or remove it"
        ) from error
    words = tuple(_WORD.findall((text.replace(markup, " ") if markup else text).lower()))
    if not words:
        raise UnsupportedError(f"{file} can't be read as text", "no word in it", "remove it")
    return Text(words, label)


def files(folder: Path) -> list[Path]:
    """Return the text files of a class, by name, without hidden ones."""
    return sorted(file for file in folder.glob("*.txt") if not file.name.startswith("."))


def dataset(
    source: Source,
    name: str,
    query: str,
    classes: Sequence[str],
    train: Sequence[Text],
    test: Sequence[Text],
) -> Dataset:
    """Return texts as a data set, a text of each class in turn.

    Args:
        source: the vocabulary that a network has, if one has.
        name: of the data set.
        query: what stands behind the question mark: ``length=``, ``words=``.
        classes: their names.
        train: gives the vocabulary, if no network has one.
        test: the other texts.

    Raises:
        UsageError: another option, or another value.
    """
    options = whole_numbers(
        name,
        query,
        {
            "length": (
                "the length of texts",
                MOST_WORDS,
                f"give words of a text: {name}:DIR?length={LENGTH}",
            ),
            "words": ("the size of the vocabulary", COUNT, f"give words: {name}:DIR?words={WORDS}"),
        },
    )
    length, size = options.get("length", LENGTH), options.get("words", WORDS)
    words = source.vocabulary or _vocabulary(train, length, size)
    info = DataInfo(
        spec=f"{name}:{source.argument}",
        shape=(length,),
        classes=tuple(classes),
        mean=(0.0,),
        std=(1.0,),
        vocabulary=words,
    )
    numbers = {word: number for number, word in enumerate(words, start=_FIRST)}
    splits = [_split(_in_turn(part), numbers, length) for part in (train, test)]
    return Dataset(info, splits[0], splits[1])


def _in_turn(texts: Sequence[Text]) -> list[Text]:
    by_class: dict[int, list[Text]] = {}
    for text in texts:
        by_class.setdefault(text.label, []).append(text)
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return [text for text in turns if text is not None]


def _vocabulary(texts: Sequence[Text], length: int, size: int) -> tuple[str, ...]:
    counts = Counter(chain.from_iterable(text.words[:length] for text in texts))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, _ in ranked[:size])


def _split(texts: Sequence[Text], numbers: dict[str, int], length: int) -> ArraySplit:
    rows: Tensor = torch.full((len(texts), length), _PADDING, dtype=torch.int32)
    for row, text in zip(rows, texts, strict=True):
        kept = [numbers.get(word, _UNKNOWN) for word in text.words[:length]]
        row[: len(kept)] = torch.tensor(kept, dtype=torch.int32)
    return ArraySplit(rows, torch.tensor([text.label for text in texts]), 1.0)
