"""Sound: WAV files as waveforms, and a second of a waveform at another rate.

The package soundfile (libsndfile) decodes them. It is an extra: ``pip install 'snnconv[audio]'``.
"""

import struct
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from snnconv.core.packages import imported
from snnconv.errors import UnsupportedError, one_line

Wave = NDArray[np.float64]

RATES = range(1_000, 192_001)
"""Samples a second that sound comes in: beyond them a header is broken."""


def decoder() -> ModuleType:
    """Return the package that decodes sound.

    Raises:
        UsageError: it is missing.
    """
    return imported("soundfile", "sound")


def read_wav(file: Path) -> tuple[int, Wave]:
    """Return samples a second, and the waveform ``[n]`` in -1..1: the mean of its channels.

    Raises:
        UnsupportedError: no such file; empty, cut short, of a kind that libsndfile can't decode, or
            with NaN or Inf.
        UsageError: soundfile is not installed.
    """
    soundfile = decoder()
    try:
        _refuse_cut(file)
        with soundfile.SoundFile(file) as sound:
            if sound.samplerate not in RATES:
                raise ValueError(f"{sound.samplerate} samples a second")
            rate, samples = sound.samplerate, sound.read(dtype="float64", always_2d=True)
    except (OSError, ValueError, RuntimeError) as error:  # soundfile's are RuntimeErrors
        raise UnsupportedError(
            f"{file} can't be read as sound", one_line(error), "repair or remove the file"
        ) from error
    found = "no samples in it" if not len(samples) else ""
    if not np.isfinite(samples).all():
        found = "NaN or Inf among its samples"
    if found:
        raise UnsupportedError(f"{file} can't be read as sound", found, "repair or remove the file")
    return rate, samples.mean(1)


def _refuse_cut(file: Path) -> None:
    """Refuse a file that ends before its header says; libsndfile reads what there is.

    Raises:
        OSError: it can't be read.
        ValueError: it is cut short, or empty, or no WAV file.
    """
    with file.open("rb") as opened:
        head = opened.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("empty" if not head else "no WAV file: it starts in another way")
    wanted, size = struct.unpack_from("<I", head, 4)[0] + 8, file.stat().st_size
    if size < wanted:
        raise ValueError(f"cut short: {size} of {wanted} bytes")


def second(wave: Wave, rate: int, wanted: int) -> Wave:
    """Return the first second of a waveform at another rate, ``[n] -> [wanted]``.

    What is shorter is followed by silence. The frequencies that both rates can hold stay as they
    are, the others go: of a second, the Fourier coefficients are one a hertz, so those below half
    the lower rate are kept.

    Args:
        wave: ``[n]``.
        rate: its samples a second.
        wanted: samples a second of the result.
    """
    padded = np.zeros(rate)
    padded[: len(wave)] = wave[:rate]
    if rate == wanted:
        return padded
    kept = (min(rate, wanted) + 1) // 2
    return np.fft.irfft(np.fft.rfft(padded)[:kept], wanted) * (wanted / rate)
