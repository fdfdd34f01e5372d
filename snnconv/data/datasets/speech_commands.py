"""Spoken words, ``speech-commands:DIR`` or ``speech-commands:DIR?rate=16000`` (Google's layout).

``DIR/WORD/*.wav``, a second of one word each; a folder whose name begins with an underscore, as
``_background_noise_`` does, is no word. A relative DIR lies below ``--data-root``, if that is
given. Files are decoded batch by batch. Samples are in the order of the files' names, which begin
with the speaker: the first of them have all words.

``DIR/testing_list.txt`` names the clips of the test split, ``DIR/validation_list.txt`` those that
are in neither split. Clips listed there but missing from DIR are skipped: remove a word's folder to
do without the word. If there is no ``testing_list.txt``, clips go by the rule that made Google's
lists, 10 % to the test and 10 % to the validation part: by a hash of the speaker, who is named
before ``_nohash_`` in the file's name, so that no speaker is in two parts.

Shape:
    ``[1, rate]``: a second at ``rate`` samples a second (8,000), the mean of the channels,
    resampled, cut or filled up with silence at its end. A waveform x in -1..1 is handed out as
    ``(1 + x) / 2``, in 0..1 as all samples are: silence is 0.5, and 0 again after normalisation.

Reference:
    Warden 2018, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*. 8 kHz is
    the rate of Dai et al. 2017, whose networks on waveforms the zoo's ``m5`` is of.

Deviations:
    mean 0.5 and std 0.05, a waveform of RMS 0.1, are set for all and measured on none; Dai et al.
    standardise by their data's own. Google's validation part is left alone, so that training is on
    the part that published results are trained on; ``--validation`` holds out a share of that part.
    Values that floating point or resampling put outside -1..1 are clipped.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._options import whole_number
from snnconv.data.datasets._sound import RATES, decoder, read_wav, second
from snnconv.data.locate import Source, resolve
from snnconv.errors import UnsupportedError, UsageError

_RATE = 8_000
_TEST, _VALIDATION = "testing_list.txt", "validation_list.txt"
_SHARE = 10  # per cent of the speakers for each of the two parts
_HASHES = 2**27  # different values that the hash of a speaker can have


@dataclass(frozen=True)
class ClipSplit:
    """A split that holds paths and decodes what is asked for.

    Args:
        files: one a sample.
        labels: ``[n]``.
        rate: samples a second that every clip is brought to.
    """

    files: tuple[Path, ...]
    labels: Tensor
    rate: int

    def images(self, indices: Tensor) -> Tensor:
        """Return the clips at these indices, ``[n, 1, rate]`` in 0..1.

        Raises:
            UnsupportedError: a file that can't be read.
        """
        clips = [self._clip(self.files[index]) for index in indices.tolist()]
        return (1 + torch.stack(clips)) / 2

    def _clip(self, file: Path) -> Tensor:
        rate, wave = read_wav(file)
        return torch.from_numpy(second(wave, rate, self.rate)).float().clamp(-1, 1)[None]


def _load(source: Source) -> Dataset:
    decoder()  # its lack is said before anything else is done
    directory, _, query = source.argument.partition("?")
    rate = _rate(query)
    folder = resolve(source, directory)
    words = _words(folder)
    part = _parts(folder)
    labels = {word: label for label, word in enumerate(words)}
    clips: dict[str, list[tuple[Path, int]]] = {"train": [], "test": [], "validation": []}
    for file in sorted(chain(*words.values()), key=lambda file: (file.name, file.parent.name)):
        clips[part(file)].append((file, labels[file.parent.name]))
    for name in ("train", "test"):
        if not clips[name]:
            raise UnsupportedError(
                f"the clips in {folder} can't be used",
                f"none of them is in the {name} part, "
                + (f"by {_TEST}" if (folder / _TEST).is_file() else "by the hash of speakers"),
                f"name the clips to test on in {folder / _TEST}, WORD/FILE.wav a line, and leave "
                "others to train on",
            )
    info = DataInfo(
        spec=f"speech-commands:{source.argument}",
        shape=(1, rate),
        classes=tuple(words),
        mean=(0.5,),
        std=(0.05,),
    )
    return Dataset(info, _split(clips["train"], rate), _split(clips["test"], rate))


def _rate(query: str) -> int:
    """Return the option behind the question mark."""
    remedy = f"give {RATES[0]} to {RATES[-1]} samples a second: speech-commands:DIR?rate=16000"
    problem = "the rate of waveforms"
    rate = whole_number("speech-commands", query, "rate", problem, RATES[-1], remedy) or _RATE
    if rate not in RATES:
        raise UsageError(f"{problem} can't be used", f"'{rate}'", remedy)
    return rate


def _words(folder: Path) -> dict[str, list[Path]]:
    """Return every word with its files, words in alphabetical order."""
    words = {
        place.name: [
            file
            for file in place.iterdir()
            if file.suffix.lower() == ".wav" and not file.name.startswith(".")
        ]
        for place in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if place.is_dir() and not place.name.startswith(("_", "."))
    }
    if not words:
        raise UsageError(
            f"there are no spoken words in {folder}",
            "no folder of a word in it" if folder.is_dir() else "no such folder",
            "lay them out as DIR/WORD/*.wav, as Google's speech_commands_v0.02.tar.gz is, and give "
            "speech-commands:DIR",
        )
    if silent := [word for word, files in words.items() if not files]:
        raise UnsupportedError(
            f"the words in {folder} can't be used",
            f"no WAV file for: {', '.join(silent)}",
            "put WAV files into every word's folder, or take the folder away",
        )
    return words


def _parts(folder: Path) -> Callable[[Path], str]:
    """Return which part a file is of: ``train``, ``test`` or ``validation``."""
    if not (folder / _TEST).is_file():
        return _by_speaker
    test, validation = _listed(folder / _TEST), _listed(folder / _VALIDATION)

    def part(file: Path) -> str:
        entry = f"{file.parent.name}/{file.name}"
        if entry in test:
            return "test"
        return "validation" if entry in validation else "train"

    return part


def _listed(file: Path) -> set[str]:
    """Return the entries of a list, ``WORD/FILE.wav`` a line; none without a list."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return {line.strip() for line in text.splitlines()}


def _by_speaker(file: Path) -> str:
    """Return the part by the rule of Speech Commands, a hash of the speaker."""
    speaker, _, _ = file.name.partition("_nohash_")
    digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
    percentile = int(digest, 16) % _HASHES * 100 / (_HASHES - 1)
    if percentile < _SHARE:
        return "validation"
    return "test" if percentile < 2 * _SHARE else "train"


def _split(clips: list[tuple[Path, int]], rate: int) -> ClipSplit:
    files, labels = zip(*clips, strict=True)
    return ClipSplit(files, torch.tensor(labels), rate)


DATASET = _load
