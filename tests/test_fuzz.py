"""Made-up files of every format: read, or refused with words; never another exception.

What reads a file is called itself, without the command line's guard: an exception that only the
guard would catch fails the test. Time and memory of each file are bounded.
"""

import gzip
import io
import os
import random
import resource
import signal
import struct
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from helpers.checkpoints import MADE
from helpers.mutations import some_bytes, some_json, some_safetensors, some_text, some_zip
from helpers.onnx_models import proto
from PIL import Image
from torch import nn

from snnconv import checkpoint, pipeline, reports
from snnconv.config import ReportConfig
from snnconv.core.progress import Quiet
from snnconv.data import dataset
from snnconv.errors import ExitCode, SnnconvError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.weights import read_weights
from snnconv.stages import report

CODES = (ExitCode.USAGE, ExitCode.UNSUPPORTED, ExitCode.CHECK_FAILED, ExitCode.CHECKPOINT)
SECONDS = 20  # of a file
MEMORY = 768 * 2**20  # bytes that reading all files of a format may add to the process
MORE = 9 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 2
"""How many times as many files the long tests read: they are the same at every run."""

ALL = torch.arange


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))


def written(write):
    """What a function writes into a file."""
    content = io.BytesIO()
    write(content)
    return content.getvalue()


# A format: good files, a way to change them, and what reads one


def checkpoints(folder):
    for make in MADE.values():
        checkpoint.save(make(), folder / "x")
        yield (folder / "x").read_bytes()


def arrays(folder):
    x, y = np.arange(6 * 8, dtype=np.uint8).reshape(6, 2, 4), np.arange(6) % 2
    base = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    more = {"mean": [0.5], "std": [0.5], "classes": ["a", "b"], "layout": "CL"}
    for content in (
        base,
        base | more,
        {k: v / 300.0 for k, v in base.items()} | {"y_train": y, "y_test": y},
    ):
        yield written(lambda file, content=content: np.savez(file, **content))
        yield written(lambda file, content=content: np.savez_compressed(file, **content))


def read_arrays(file):
    dataset.load_dataset(f"npz:{file}").train.images(ALL(1))


def images(folder):
    rng = np.random.default_rng(0)
    for mode, shape in (("L", (8, 8)), ("RGB", (8, 8, 3))):
        image = Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8), mode)
        for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"):
            yield written(lambda file, image=image, kind=kind: image.save(file, kind))


def read_image(file):
    for part in ("train", "test"):
        place = file.parent / "images" / part / "c"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(place / "a.png")
    (place.parent.parent / "train" / "c" / "b.png").write_bytes(file.read_bytes())
    dataset.load_dataset(f"folder:{file.parent}/images?size=8").train.images(ALL(2))


def sounds(folder):
    for kind, bits, values in ((1, 16, b"\1\2" * 40), (3, 32, struct.pack("<40f", *[0.5] * 40))):
        form = struct.pack("<HHIIHH", kind, 1, 8000, 8000 * bits // 8, bits // 8, bits)
        body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(values))
        yield b"RIFF" + struct.pack("<I", len(body) + len(values)) + body + values


def read_sound(file):
    for word in ("no", "yes"):
        place = file.parent / "words" / word
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.wav").write_bytes(file.read_bytes())
    (place.parent / "testing_list.txt").write_text("yes/a.wav\n")
    dataset.load_dataset(f"speech-commands:{place.parent}?rate=8000").train.images(ALL(1))


def recordings(folder):
    rng = np.random.default_rng(0)
    for kind in (np.int64, np.uint8, np.float32, ">i2"):
        rows = rng.integers(0, 100, (20, 4)).astype(kind)
        yield written(lambda file, rows=rows: np.save(file, rows))


def read_recording(file):
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        place = file.parent / "gestures" / part / "user01_led"
        place.mkdir(parents=True, exist_ok=True)
        (place / "0.npy").write_bytes(file.read_bytes())
    dataset.load_dataset(f"events:{place.parent.parent}").train.images(ALL(1))


def texts(folder):
    yield b"It's raining, and the sun doesn't shine.\n" * 3
    yield "Füße im Schnee, naïve café".encode()


def read_text(file):
    for part in ("train", "test"):
        place = file.parent / "texts" / part / "c"
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.txt").write_bytes(file.read_bytes())
    dataset.load_dataset(f"textfolder:{file.parent}/texts").train.images(ALL(1))


def clothes(folder):
    yield gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 6, *range(6)]))


def read_clothes(file):
    place = file.parent / "FashionMNIST" / "raw"
    place.mkdir(parents=True, exist_ok=True)
    good = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(6 * 784))
    for part in ("train", "t10k"):
        (place / f"{part}-images-idx3-ubyte.gz").write_bytes(good)
        (place / f"{part}-labels-idx1-ubyte.gz").write_bytes(file.read_bytes())
    dataset.load_dataset("fashion-mnist", file.parent)


def pickles(folder):
    state = network().state_dict()
    wrapped = {"state_dict": state, "epoch": 3, "lr": 0.1}
    yield written(lambda file: torch.save(state, file))
    yield written(lambda file: torch.save(wrapped, file))
    yield written(lambda file: torch.save(state, file, _use_new_zipfile_serialization=False))


def safe(folder):
    import safetensors.torch

    yield safetensors.torch.save(network().state_dict())


def read_pickle(file):
    read_weights(network(), file.rename(file.with_suffix(".pt")))


def read_safe(file):
    read_weights(network(), file.rename(file.with_suffix(".safetensors")))


def onnx_files(folder):
    from onnx import helper

    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(3 * 4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "v"], ["y"], name="fc"),
    ]
    yield proto(nodes, tensors, flat=False).SerializeToString()


def read_onnx(file):
    import_onnx(file, (2, 6, 6))


def programs(folder):
    with warnings.catch_warnings(action="ignore"):
        made = torch.export.export(network().eval(), (torch.zeros(2, 1, 8, 8),))
        yield written(lambda file: torch.export.save(made, file))


def read_program(file):
    import_exported(file, (1, 8, 8))


def evaluations(folder):
    from helpers.examples import evaluation

    yield reports.canonical(evaluation()).encode()


def read_report(file):
    reports.read(file, reports.EvaluateReport)


def read_and_show(file):
    """Make tables, plots and a page of it."""
    place = file.rename(file.with_suffix(".json"))
    report.run(ReportConfig(evaluations=(place,), run=file.parent / "page"), Quiet())


def recipes(folder):
    yield b"""seed = 3
run = "out"
[train]
model = "cnn"
epochs = 1
lr = 0.5
augment = ["flip"]
[calibrate]
method = "percentile"
param = {percentile = 99.5}
[convert]
neuron = "msat"
timesteps = 8
[evaluate]
limit = 10
metric = ["accuracy"]
memory = "1GiB"
[report]
"""


def read_recipe(file):
    pipeline.plan(file, [], {})


FORMATS = {
    "checkpoint": (checkpoints, (some_safetensors,), checkpoint.load, 250),
    "npz": (arrays, (some_zip,), read_arrays, 250),
    "image": (images, (some_bytes,), read_image, 150),
    "sound": (sounds, (some_bytes,), read_sound, 100),
    "events": (recordings, (some_bytes, some_text), read_recording, 150),
    "text": (texts, (some_bytes,), read_text, 50),
    "idx": (clothes, (some_bytes,), read_clothes, 50),
    "pt": (pickles, (some_zip, some_bytes), read_pickle, 200),
    "safetensors": (safe, (some_safetensors,), read_safe, 100),
    "onnx": (onnx_files, (some_bytes,), read_onnx, 150),
    "pt2": (programs, (some_zip,), read_program, 100),
    "report": (evaluations, (some_json,), read_report, 150),
    "page of a report": (evaluations, (some_json,), read_and_show, 50),
    "recipe": (recipes, (some_text, some_bytes), read_recipe, 250),
}
"""By name: good files, ways to change one, what reads it, and how many are made up by default."""


def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def too_long(signum, frame):
    raise TimeoutError(f"a file takes longer than {SECONDS} s")


def made_up(name, numbers, folder):
    """Read the made-up files of these numbers; how many were taken, and how many were refused."""
    make, changes, read, _ = FORMATS[name]
    good = list(make(folder))
    before, taken, refused = peak(), 0, 0
    signal.signal(signal.SIGALRM, too_long)
    for k in numbers:
        rng = random.Random(f"{name} {k}")
        content = rng.choice(changes)(rng, rng.choice(good))
        file = folder / "x"
        for old in folder.glob("x*"):
            old.unlink()
        file.write_bytes(content)
        started = time.perf_counter()
        signal.alarm(SECONDS)
        try:
            with warnings.catch_warnings(action="ignore"):
                read(file)
            taken += 1
        except SnnconvError as error:
            assert error.code in CODES
            assert error.problem and error.found and error.remedy
            refused += 1
        except Exception as error:
            (folder / "bad").write_bytes(content)
            pytest.fail(
                f"{name} {k}: {type(error).__name__}: {error}"[:2000] + f"\n{folder / 'bad'}"
            )
        finally:
            signal.alarm(0)
        assert time.perf_counter() - started < SECONDS
    assert peak() - before < MEMORY
    return taken, refused


@pytest.mark.parametrize("name", FORMATS)
def test_made_up_files(name, tmp_path):
    make, _, read, count = FORMATS[name]
    for content in make(tmp_path):
        file = tmp_path / "x"
        file.write_bytes(content)
        read(file)  # as it was, it is good
    taken, refused = made_up(name, range(count), tmp_path)
    assert refused > count / 10
    assert taken or name in ("onnx", "pt2")


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_more_made_up_files(name, tmp_path):
    """4,000 others in all, or 18,000 by the profile that looks for more (see conftest.py)."""
    count = FORMATS[name][-1]
    made_up(name, range(count, (1 + MORE) * count), tmp_path)


def test_they_are_as_many_as_is_said():
    assert sum(count for *_, count in FORMATS.values()) == 2_000
