"""Spoken commands, made by eSpeak NG, in the layout of Google Speech Commands.

apt-get install espeak-ng
python docs/results/spoken_commands.py OUT      # minutes on one core, 225 MB
snnconv train m5 --data speech-commands:OUT

Ten words by thirteen voices in six accents, at three pitches and three speeds: 7,020 clips of a
second at 16 kHz. A voice is a speaker, whatever its accent. Three of the voices are the test split:
no network hears them before. The same version of eSpeak NG makes the same files.
"""

import hashlib
import itertools
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snnconv.data.datasets._sound import Wave, read_wav, second

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
TEST_VOICES = ("m3", "m6", "f4")
ACCENTS = ("en-gb", "en-us", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp")
PITCHES = (35, 50, 65)  # 0 to 99
SPEEDS = (130, 160, 190)  # words a minute
RATE = 16_000

Speak = Callable[[str, str, str, int, int], tuple[int, Wave]]
"""Word, voice, accent, pitch and speed; samples a second and the waveform."""


def espeak(word: str, voice: str, accent: str, pitch: int, speed: int) -> tuple[int, Wave]:
    """One word, spoken by eSpeak NG."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "word.wav"
        how = ["-v", f"{accent}+{voice}", "-p", str(pitch), "-s", str(speed), "-w", str(file)]
        subprocess.run(["espeak-ng", *how, word], check=True)
        return read_wav(file)


def check_voices(voices: Sequence[str]) -> None:
    """Stop where one is missing: eSpeak NG would speak with another without a word."""
    command = ["espeak-ng", "--voices=variant"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if missing := [voice for voice in voices if f"!v/{voice}" not in known]:
        sys.exit(f"this version of espeak-ng lacks the voices {', '.join(missing)}")


def speaker(voice: str) -> str:
    """Eight digits, as the names of Google's files begin with."""
    return hashlib.sha1(voice.encode(), usedforsecurity=False).hexdigest()[:8]


def save(file: Path, sound: Wave) -> None:
    """A second as 16-bit PCM, one channel."""
    samples = (sound * 32_767).round().clip(-32_768, 32_767).astype("<i2")
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(samples.itemsize)
        out.setframerate(RATE)
        out.writeframes(np.ascontiguousarray(samples).tobytes())


def make(
    out: Path,
    words: Sequence[str] = WORDS,
    voices: Sequence[str] = VOICES,
    accents: Sequence[str] = ACCENTS,
    speak: Speak = espeak,
) -> None:
    """Write the clips ``out/WORD/SPEAKER_nohash_NUMBER.wav`` and ``out/testing_list.txt``."""
    tests = []
    for word in words:
        (out / word).mkdir(parents=True, exist_ok=True)
        for voice in voices:
            ways = itertools.product(accents, PITCHES, SPEEDS)
            for number, (accent, pitch, speed) in enumerate(ways):
                rate, sound = speak(word, voice, accent, pitch, speed)
                file = out / word / f"{speaker(voice)}_nohash_{number}.wav"
                save(file, second(sound, rate, RATE))
                if voice in TEST_VOICES:
                    tests.append(f"{word}/{file.name}\n")
    (out / "testing_list.txt").write_text("".join(tests), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/results/spoken_commands.py OUT")
    check_voices(VOICES)
    make(Path(sys.argv[1]))
