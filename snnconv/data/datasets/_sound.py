"""Sound: WAV files as waveforms, and a second of a waveform at another rate.

The reader is this short one because Python's ``wave`` knows no floating point, and because a file
that is cut short, or compressed, should say so.
"""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnconv.errors import UnsupportedError

Wave = NDArray[np.float64]

RATES = range(1_000, 192_001)
"""Samples a second that sound comes in: beyond them a header is broken."""

_EXTENSIBLE = 0xFFFE
_HEADER = 12  # bytes: RIFF, a size, WAVE


def read_wav(file: Path) -> tuple[int, Wave]:
    """Samples a second, and the waveform ``[n]``, full scale -1..1: the mean of its channels.

    PCM of 8, 16, 24 or 32 bits, and floating point of 32 or 64.

    Raises:
        UnsupportedError: no such file; empty, cut short, compressed, or with NaN or Inf.
    """
    try:
        return _decode(file.read_bytes())
    except (OSError, ValueError, struct.error) as error:
        raise UnsupportedError(
            f"{file} can't be read as sound", str(error), "repair or remove the file"
        ) from error


def second(wave: Wave, rate: int, wanted: int) -> Wave:
    """The first second of a waveform at another rate, ``[n] -> [wanted]``.

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


def _decode(raw: bytes) -> tuple[int, Wave]:
    chunks = _chunks(raw)
    if missing := {b"fmt ", b"data"} - chunks.keys():
        raise ValueError(f"a WAV file without a chunk '{min(missing).decode()}'")
    kind, channels, rate, _, frame, _ = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if kind == _EXTENSIBLE:  # the kind stands at the head of a 16-byte name
        (kind,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
    sound = chunks[b"data"]
    if not channels or not frame or frame % channels or len(sound) % frame:
        raise ValueError(f"{len(sound)} bytes of {channels} channels, {frame} bytes a frame")
    if not sound:
        raise ValueError("no samples in it")
    if rate not in RATES:
        raise ValueError(f"{rate} samples a second")
    samples = _samples(sound, kind, frame // channels).reshape(-1, channels)
    if not np.isfinite(samples).all():
        raise ValueError("NaN or Inf among its samples")
    return rate, samples.mean(1)


def _chunks(raw: bytes) -> dict[bytes, bytes]:
    """The chunks of a RIFF file by name, of several the first."""
    if raw[:4] != b"RIFF" or raw[8:_HEADER] != b"WAVE":
        raise ValueError("empty" if not raw else "no WAV file: it starts in another way")
    found: dict[bytes, bytes] = {}
    place = _HEADER
    while place + 8 <= len(raw):
        name, size = struct.unpack_from("<4sI", raw, place)
        body = raw[place + 8 : place + 8 + size]
        if len(body) < size and name in (b"fmt ", b"data"):
            raise ValueError(f"cut short: {len(body)} of {size} bytes of '{name.decode()}'")
        found.setdefault(name, body)
        place += 8 + size + size % 2  # a chunk begins at an even byte
    return found


def _samples(sound: bytes, kind: int, width: int) -> Wave:
    """Samples of so many bytes each, full scale -1..1; kind 1 is PCM, 3 is floating point."""
    match kind, width:
        case (1, 1):  # the only one without a sign
            return np.frombuffer(sound, np.uint8) / 128 - 1
        case (1, 2 | 3 | 4):  # the upper bytes of four
            four = np.zeros((len(sound) // width, 4), np.uint8)
            four[:, 4 - width :] = np.frombuffer(sound, np.uint8).reshape(-1, width)
            whole: NDArray[np.int32] = four.view("<i4")[:, 0]
            return whole / 2**31
        case (3, 4 | 8):
            return np.frombuffer(sound, f"<f{width}").astype(np.float64)
    raise ValueError(
        f"samples of kind {kind} and {width} bytes, neither PCM (1) nor floating point (3)"
    )
