"""The set of spoken commands that docs/results makes can be read, and holds out whole voices."""

import itertools
import runpy
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from snnconv.data.dataset import load_dataset

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "docs/results/spoken_commands.py"))
VOICES = ["m1", "m3", "f1", "f4"]  # of which two are for tests


def hum(word, voice, accent, pitch, speed):
    """A tone in the place of a voice, longer than a second, and too loud for 16 bits."""
    hertz = 100 + zlib.crc32(f"{word} {voice} {accent} {pitch} {speed}".encode()) / 2**20
    return 22_050, 1.5 * np.sin(2 * np.pi * hertz * np.arange(30_000) / 22_050)


# where eSpeak NG is installed, its voices, too
SPEAKERS = [hum, *([MAKER["espeak"]] if shutil.which("espeak-ng") else [])]


def made(out, speak):
    MAKER["make"](out, ["yes", "no"], VOICES, ["en-us"], speak)
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*.*"))}


@pytest.mark.parametrize("speak", SPEAKERS)
def test_what_is_made_can_be_read(tmp_path, speak):
    files = made(tmp_path / "made", speak)
    assert len(files) == 2 * len(VOICES) * 9 + 1

    data = load_dataset("speech-commands:made?rate=16000", tmp_path)

    assert data.info.classes == ("no", "yes")
    assert (len(data.train.labels), len(data.test.labels)) == (36, 36)
    clips = torch.cat([part.images(torch.arange(36)) for part in (data.train, data.test)])
    assert ((clips - 0.5).abs().amax((1, 2)) > 0.05).all()  # none is silent
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(clips, 2))


@pytest.mark.parametrize("speak", SPEAKERS)
def test_it_is_the_same_every_time(tmp_path, speak):
    assert made(tmp_path / "one", speak) == made(tmp_path / "two", speak)


def test_no_voice_is_in_both_parts(tmp_path):
    made(tmp_path, hum)
    data = load_dataset(f"speech-commands:{tmp_path}")
    train, test = ({file.name[:8] for file in part.files} for part in (data.train, data.test))
    assert train == {MAKER["speaker"](voice) for voice in ("m1", "f1")}
    assert test == {MAKER["speaker"](voice) for voice in ("m3", "f4")}


def test_the_whole_set_is_what_its_description_says():
    sizes = [len(MAKER[name]) for name in ("WORDS", "VOICES", "ACCENTS", "PITCHES", "SPEEDS")]
    assert np.prod(sizes) == 7020
    assert set(MAKER["TEST_VOICES"]) < set(MAKER["VOICES"])
    assert len({MAKER["speaker"](voice) for voice in MAKER["VOICES"]}) == len(MAKER["VOICES"])


def test_a_missing_voice_is_named(monkeypatch):
    listed = subprocess.CompletedProcess([], 0, stdout=" 5  variant  --/M  male1  !v/m1 \n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: listed)
    MAKER["check_voices"](["m1"])
    with pytest.raises(SystemExit, match=r"lacks the voices f1, f2$"):
        MAKER["check_voices"](["m1", "f1", "f2"])
