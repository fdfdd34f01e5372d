import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import snnconv
from snnconv.data.dataset import load_dataset, normalise
from snnconv.data.datasets._sound import read_wav
from snnconv.errors import UnsupportedError, UsageError

ALL = torch.arange
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(sound, rate=8000, kind=PCM, bits=16, channels=1, extensible=False, before=b""):
    """The bytes of a WAV file; ``sound`` holds its samples as bytes, channel by channel."""
    frame = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", EXTENSIBLE if extensible else kind, channels, rate, rate * frame, frame, bits
    )
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, kind)
        form += bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE" + chunk(b"fmt ", form) + before + chunk(b"data", sound)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pcm(values, bits=16):
    """Values in -1..1 as signed integers, little-endian."""
    whole = (np.asarray(values) * 2 ** (bits - 1)).round().clip(-(2 ** (bits - 1)), None)
    whole = np.minimum(whole, 2 ** (bits - 1) - 1).astype("<i8")
    return whole.view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()


def save(file, content=None, value=0.25):
    """A file of a constant second, or of this content."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(wav(pcm([value] * 8000)) if content is None else content)


def one(content, rate=8000):
    """The only clip of a set, a waveform in -1..1."""
    save("sets/yes/a_nohash_0.wav", content)
    save("sets/yes/b_nohash_0.wav")
    Path("sets/testing_list.txt").write_text("yes/a_nohash_0.wav\n")
    clips = load_dataset(f"speech-commands:sets?rate={rate}").test.images(ALL(1))
    assert clips.shape == (1, 1, rate)
    assert clips.dtype == torch.float32
    return 2 * clips[0, 0].double().numpy() - 1


def tone(hertz, rate, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def speakers(count):
    """Names as Google's, eight hexadecimal digits."""
    return [hashlib.md5(bytes([k])).hexdigest()[:8] for k in range(count)]


# Record, and the order of samples


def layout():
    """Three words by three speakers, each clip of its own value."""
    for w, word in enumerate(("yes", "no", "up")):
        for s, speaker in enumerate(("aa", "bb", "cc")):
            save(f"sets/{word}/{speaker}_nohash_0.wav", value=(1 + w + 3 * s) / 16)
    save("sets/_background_noise_/rain.wav", b"not looked at")
    save("sets/.cache/x.wav", b"not looked at")
    save("sets/yes/._aa_nohash_0.wav", b"not looked at")
    save("sets/yes/notes.txt", b"not looked at")
    for file in ("LICENSE", "README.md"):
        Path("sets", file).touch()
    Path("sets/testing_list.txt").write_text("up/bb_nohash_0.wav\nyes/bb_nohash_0.wav\n")
    Path("sets/validation_list.txt").write_text("no/cc_nohash_0.wav\r\nzero/cc_nohash_0.wav\r\n")


def test_facts_and_samples():
    layout()
    data = load_dataset("speech-commands:sets")
    assert data.info.spec == "speech-commands:sets"
    assert data.info.shape == (1, 8000)
    assert data.info.classes == ("no", "up", "yes")
    train = [str(file.relative_to("sets").with_suffix("")) for file in data.train.files]
    assert train == [
        *("no/aa_nohash_0", "up/aa_nohash_0", "yes/aa_nohash_0"),
        *("no/bb_nohash_0", "up/cc_nohash_0", "yes/cc_nohash_0"),
    ]
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test.labels.tolist() == [1, 2]
    clips = data.train.images(torch.tensor([5, 0]))
    assert clips.shape == (2, 1, 8000)
    assert [set(clip.flatten().tolist()) for clip in clips] == [
        {(1 + 7 / 16) / 2},  # yes by cc
        {(1 + 2 / 16) / 2},  # no by aa
    ]


def test_a_word_without_a_folder_is_left_out_of_the_lists():
    layout()
    for file in Path("sets/up").iterdir():
        file.unlink()
    Path("sets/up").rmdir()
    data = load_dataset("speech-commands:sets")
    assert data.info.classes == ("no", "yes")
    assert (len(data.train.labels), len(data.test.labels)) == (4, 1)


def test_without_a_validation_list_all_else_is_for_training():
    layout()
    Path("sets/validation_list.txt").unlink()
    data = load_dataset("speech-commands:sets")
    assert (len(data.train.labels), len(data.test.labels)) == (7, 2)


@pytest.mark.parametrize(
    ("spec", "root"), [("speech-commands:sets", "."), ("speech-commands:../sets", "elsewhere")]
)
def test_relative_to_the_root(spec, root):
    layout()
    Path("elsewhere").mkdir()
    data = load_dataset(spec, Path(root))
    assert data.info.spec == spec
    assert len(data.train.labels) == 6


def test_nothing_is_decoded_on_loading():
    layout()
    save("sets/yes/aa_nohash_0.wav", b"no sound")
    data = load_dataset("speech-commands:sets")
    data.train.images(torch.tensor([0, 1, 3, 4, 5]))
    with pytest.raises(UnsupportedError, match=r"^sets/yes/aa_nohash_0\.wav can't be read"):
        data.train.images(torch.tensor([2]))


# Waveforms


VALUES = np.array([0.0, 0.5, -0.5, -1.0, 0.25, 1.0, -0.75])
FORMATS = {
    "8 bits": (np.minimum(VALUES * 128 + 128, 255).astype(np.uint8).tobytes(), {"bits": 8}),
    **{f"{n} bits": (pcm(VALUES, n), {"bits": n}) for n in (16, 24, 32)},
    **{
        f"float{n}": (VALUES.astype(f"<f{n // 8}").tobytes(), {"bits": n, "kind": FLOAT})
        for n in (32, 64)
    },
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("extensible", [False, True])
def test_every_format(name, extensible):
    sound, form = FORMATS[name]
    got = one(wav(sound, **form, extensible=extensible))
    step = 2.0 ** (1 - form["bits"]) if form.get("kind") != FLOAT else 0  # full scale lacks a step
    np.testing.assert_allclose(got[: len(VALUES)], VALUES, rtol=0, atol=step + 1e-7)
    assert (got[len(VALUES) :] == 0).all()


def test_the_whole_range_is_in_0_to_1_and_silence_normalises_to_0():
    loud = np.array([4.0, -4.0, 0.0], "<f4").tobytes()
    assert one(wav(loud, bits=32, kind=FLOAT))[:3].tolist() == [1, -1, 0]
    data = load_dataset("speech-commands:sets")
    clips = data.test.images(ALL(1))
    assert (clips.min(), clips.max()) == (0, 1)
    assert normalise(clips, data.info)[0, 0, 2:].count_nonzero() == 0
    wave = one(wav(pcm([0.1, -0.1])))
    got = normalise(load_dataset("speech-commands:sets").test.images(ALL(1)), data.info)
    np.testing.assert_allclose(got[0, 0], 10 * wave, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_are_averaged(channels):
    values = np.random.default_rng(0).uniform(-1, 1, (50, channels)).astype("<f4")
    got = one(wav(values.tobytes(), bits=32, kind=FLOAT, channels=channels))
    np.testing.assert_allclose(got[:50], values.mean(1), atol=1e-6)


def test_chunks_of_other_kinds_are_passed_over():
    before = chunk(b"LIST", b"INFOodd") + chunk(b"fact", struct.pack("<I", 2))
    got = one(wav(pcm([0.5, 0.25]), before=before) + chunk(b"id3 ", b"title"))
    assert got[:3].tolist() == [0.5, 0.25, 0]


def test_what_is_short_is_followed_by_silence_and_what_is_long_is_cut():
    ramp = np.arange(9000) / 16384
    assert one(wav(pcm(ramp[:100]))).tolist() == [*ramp[:100], *[0] * 7900]
    assert one(wav(pcm(ramp))).tolist() == ramp[:8000].tolist()


@pytest.mark.parametrize("source", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 7919])
@pytest.mark.parametrize("rate", [8000, 16_000, 8001])
@pytest.mark.parametrize("hertz", [440, 3000])
def test_resampling_keeps_a_tone(source, rate, hertz):
    sound = (0.5 * tone(hertz, source)).astype("<f4").tobytes()
    got = one(wav(sound, source, FLOAT, 32), rate)
    np.testing.assert_allclose(got, 0.5 * tone(hertz, rate), atol=1e-6)


def test_resampling_removes_what_the_rate_can_not_hold():
    high = (0.5 * tone(5000, 16_000) + 0.25).astype("<f4").tobytes()
    np.testing.assert_allclose(one(wav(high, 16_000, FLOAT, 32)), 0.25, atol=1e-6)


def test_a_short_sound_is_where_it_was_after_resampling():
    sound = (0.5 * tone(500, 16_000, 0.25) * np.hanning(4000)).astype("<f4").tobytes()
    got = one(wav(sound, 16_000, FLOAT, 32))
    expected = 0.5 * tone(500, 8000, 0.25) * np.hanning(4000)[::2]
    np.testing.assert_allclose(got[:2000], expected, atol=1e-4)
    assert np.abs(got[2000:]).max() < 1e-4


# Speakers, where there are no lists


def test_the_rule_is_that_of_googles_lists():
    """Speakers of the published lists of version 0.02."""
    testing = ["2aa787cf", "ffa76c4a", "24ad3ebe", "d7467392", "5828dfa2", "022cd682", "0ea0e2f4"]
    validation = ["026290a7", "060cd039"]
    training = ["00176480"]
    for speaker in testing + validation + training:
        save(f"sets/cat/{speaker}_nohash_3.wav")
    data = load_dataset("speech-commands:sets")
    assert {file.name[:8] for file in data.test.files} == set(testing)
    assert {file.name[:8] for file in data.train.files} == set(training)


def test_no_speaker_is_in_both_parts():
    for speaker in speakers(100):
        for k, word in enumerate(("yes", "no", "no")):
            save(f"sets/{word}/{speaker}_nohash_{k}.wav", b"not decoded")
    data = load_dataset("speech-commands:sets")
    train, test = ({file.name[:8] for file in part.files} for part in (data.train, data.test))
    assert not train & test
    assert 65 <= len(train) <= 90
    assert 4 <= len(test) <= 18
    assert len(data.test.files) == 3 * len(test)


# What can't be used


@pytest.mark.parametrize(
    ("folders", "found"),
    [([], "no such folder"), (["sets/_background_noise_"], "no folder of a word in it")],
)
def test_no_words(folders, found):
    for folder in folders:
        Path(folder).mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        load_dataset("speech-commands:sets")
    assert caught.value.problem == "there are no spoken words in sets"
    assert caught.value.found == found
    assert "DIR/WORD/*.wav" in caught.value.remedy


def test_words_without_clips():
    layout()
    for word in ("left", "go"):
        Path(f"sets/{word}").mkdir()
    with pytest.raises(UnsupportedError, match="no WAV file for: go, left"):
        load_dataset("speech-commands:sets")


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("", "none of them is in the test part, by testing_list.txt"),
        ("up/zz_nohash_0.wav", "none of them is in the test part, by testing_list.txt"),
        (b"\xff\xfe", "none of them is in the test part, by testing_list.txt"),
        (None, "none of them is in the test part, by the hash of speakers"),
        ("all", "none of them is in the train part, by testing_list.txt"),
    ],
)
def test_a_part_without_clips(listed, found):
    layout()
    file = Path("sets/testing_list.txt")
    if listed is None:
        file.unlink()
        for clip in Path("sets").glob("*/aa_nohash_0.wav"):  # for tests by its hash, alone
            clip.unlink()
    elif listed == "all":
        clips = Path("sets").glob("*/*.wav")
        file.write_text("".join(f"{clip.parent.name}/{clip.name}\n" for clip in clips))
    else:
        file.write_bytes(listed if isinstance(listed, bytes) else listed.encode())
    with pytest.raises(UnsupportedError) as caught:
        load_dataset("speech-commands:sets")
    assert caught.value.problem == "the clips in sets can't be used"
    assert caught.value.found == found
    assert "sets/testing_list.txt" in caught.value.remedy


GOOD = wav(pcm([0.5] * 100))
BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"no sound at all, but some text", "no WAV file: it starts in another way"),
    "only a header": (GOOD[:12], "cut short: 12 of 244 bytes"),
    "no data": (GOOD[:36], "cut short: 36 of 244 bytes"),
    "no format": (b"RIFF\x10\0\0\0WAVE" + chunk(b"data", b"1234"), "Error opening"),
    "a short format": (
        b"RIFF\x18\0\0\0WAVE" + chunk(b"fmt ", b"12") + chunk(b"data", b"12"),
        "Error opening",
    ),
    "cut in its data": (GOOD[:-60], "cut short: 184 of 244 bytes"),
    "cut in its format": (GOOD[:30], "cut short: 30 of 244 bytes"),
    "no samples": (wav(b""), "no samples in it"),
    "no channels": (wav(b"1234", channels=0), "Error opening"),
    "no rate": (wav(pcm([0.5]), rate=0), "Error opening"),
    "no possible rate": (wav(pcm([0.5]), rate=2**32 - 1 >> 1), "samples a second"),
    "an unknown coding": (wav(b"1234", kind=99, bits=8), "Error opening"),
    "16-bit floats": (wav(b"1234", kind=FLOAT), "Error opening"),
    "NaN": (wav(np.array([0, np.nan], "<f4").tobytes(), kind=FLOAT, bits=32), "NaN or Inf"),
    "Inf": (wav(np.array([0, -np.inf], "<f8").tobytes(), kind=FLOAT, bits=64), "NaN or Inf"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name):
    content, found = BROKEN[name]
    with pytest.raises(UnsupportedError) as caught:
        one(content)
    assert caught.value.problem == "sets/yes/a_nohash_0.wav can't be read as sound"
    assert found in caught.value.found
    assert caught.value.remedy == "repair or remove the file"


def test_without_soundfile_the_error_says_what_to_install(monkeypatch):
    layout()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UsageError) as caught:
        load_dataset("speech-commands:sets")
    assert "needs the package soundfile" in caught.value.problem
    assert caught.value.remedy == "pip install --upgrade soundfile"


def test_16_bits_are_decoded_exactly():
    whole = np.arange(-(2**15), 2**15, 3).astype("<i2")
    content = wav(whole.tobytes(), rate=8000)
    Path("every.wav").write_bytes(content)
    rate, wave = read_wav(Path("every.wav"))
    assert rate == 8000
    assert np.array_equal(wave, whole / 2**15)


def test_a_folder_in_the_place_of_a_file():
    layout()
    Path("sets/no/zz.wav").mkdir()
    data = load_dataset("speech-commands:sets")
    with pytest.raises(UnsupportedError, match=r"sets/no/zz\.wav can't be read as sound"):
        data.train.images(ALL(len(data.train.labels)))


def test_whatever_bytes_are_changed_it_is_read_or_refused():
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(300):
        content = bytearray(wav(pcm([0.5] * 20), extensible=True))
        for place in rng.integers(0, 80, 2):
            content[place] = rng.integers(0, 256)
        try:
            assert np.isfinite(one(bytes(content[: rng.integers(60, 130)]))).all()
            read += 1
        except UnsupportedError:
            pass
    assert 0 < read < 300


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("speech-commands", "needs a path\n.*\n.*speech-commands:DIR"),
        ("speech-commands:", "needs a path"),
        ("speech-commands:?rate=8000", "needs a path"),
        ("speech-commands:sets?hertz=8000", "no such option\n  found: 'hertz'\n  next:  .*rate"),
        ("speech-commands:sets?rate=0", "rate of waveforms can't be used\n  found: '0'"),
        ("speech-commands:sets?rate=999", "found: '999'\n  next:  give 1000 to 192000"),
        ("speech-commands:sets?rate=192001", "found: '192001'"),
        ("speech-commands:sets?rate=8k", "found: '8k'"),
        ("speech-commands:sets?rate=8000.5", "found: '8000.5'"),
        ("speech-commands:sets?rate", "write it as NAME=VALUE"),
    ],
)
def test_specs_that_can_not_be_taken(spec, text):
    layout()
    with pytest.raises(UsageError, match=text):
        load_dataset(spec)


# To spikes


def test_from_words_to_spikes():
    """Two tones for two words: M5 tells them apart, and so does what it is converted to."""
    for word, hertz in (("high", 300), ("low", 100)):
        for k in range(20):
            sound = (0.1 + 0.02 * k) * tone(hertz, 1000, 0.5 + 0.02 * k)
            save(f"sets/{word}/{k:02}_nohash_0.wav", wav(pcm(sound), rate=1000))
    tests = [f"{word}/{k:02}_nohash_0.wav\n" for word in ("high", "low") for k in range(0, 20, 4)]
    Path("sets/testing_list.txt").write_text("".join(tests))
    data, model = "speech-commands:sets?rate=1000", "m5?width=0.0625"
    trained = snnconv.train(model, data=data, epochs=5, batch_size=10, lr=0.05, run="out")
    assert trained.accuracy == 1
    snnconv.calibrate(run="out")
    snnconv.convert(neuron="if", timesteps=32, run="out")
    found = snnconv.evaluate(run="out")
    assert found.data.spec == data
    assert found.samples == 10
    assert found.accuracy[-1] == found.ann_accuracy == 1
