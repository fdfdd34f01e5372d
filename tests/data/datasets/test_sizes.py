"""Data files whose sizes lie, or are too large: refused before anything is allocated."""

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnconv.data.dataset import load_dataset
from snnconv.data.datasets import _npz
from snnconv.errors import UnsupportedError, UsageError

X, Y = np.arange(40 * 8, dtype=np.uint8).reshape(40, 8), np.arange(40) % 4
GOOD = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
FEW = 32 * 2**20  # bytes that Python and NumPy may allocate for what is refused


def npy(header, body=b""):
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def header(shape, descr="|u1"):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


def write(**raw):
    """The good arrays, some of them replaced by these bytes."""
    content = io.BytesIO()
    np.savez(content, **{name: array for name, array in GOOD.items() if name not in raw})
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, body in raw.items():
            archive.writestr(f"{name}.npy", body)
    with Path("own.npz").open("wb") as file:
        file.write(content.getvalue())


def refused(found, spec="npz:own.npz"):
    """Loading is refused with this text, and takes few bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedError, match=found):
            load_dataset(spec).train.images(torch.arange(2))
        assert tracemalloc.get_traced_memory()[1] < FEW
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (npy(header((2**40,), "<f4")), "x_train .* takes 4398046511104 bytes, and has 0"),
        (npy(header((40, 8)), b"x" * 319), "takes 320 bytes, and has 319"),
        (npy(header((40, 8)), b"x" * 321), "takes 320 bytes, and has 321"),
        (npy("(" * 300), "x_train is no .npy array"),
        (npy("{'descr': '|u1'"), "x_train is no .npy array"),
        (npy(header("(True, 2)"), b"xx"), "x_train has the shape"),
        (npy(header("(-40, -8)"), b"x" * 320), "x_train has the shape"),
        (npy(header("(40, 8.0)"), b"x" * 320), "x_train is no .npy array"),
        (npy(header((2,), "|O"), b"x" * 16), "allow_pickle=False"),
        (b"hello", "x_train is no .npy array"),
        (b"\x93NUMPY\x07\x00" + b"x" * 99, "version"),
        (npy(header((2**20, 8)), bytes(2**23)), "1048576 samples in x_train, 40 labels"),
    ],
)
def test_a_header(body, found):
    write(x_train=body)
    refused(found)


def test_an_array_larger_than_memory(monkeypatch):
    monkeypatch.setattr(_npz, "free_memory", lambda: 1000)
    write()
    refused("arrays of 0 MiB, where 0 MiB are free")


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        (10, b"\x63\x00", "compression"),
        (8, b"\x01\x00", "encrypted|password"),
        (6, b"m\x00", "zip file version 10"),
    ],
)
def test_an_entry_of_an_archive(place, value, found):
    write()
    with Path("own.npz").open("rb") as file:
        raw = bytearray(file.read())
    start = raw.index(b"PK\x01\x02")
    raw[start + place : start + place + 2] = value
    with Path("own.npz").open("wb") as file:
        file.write(raw)
    refused(found)


def test_orders_of_memory_are_kept():
    turned = np.asfortranarray(X)
    np.savez_compressed("own.npz", **(GOOD | {"x_train": turned}))
    assert torch.equal(load_dataset("npz:own.npz").train.pixels, torch.from_numpy(X))


def png(width, height, told=None):
    """A grey PNG of zeros; told another size in its header."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    sides = struct.pack(">IIBBBBB", *(told or (width, height)), 8, 0, 0, 0, 0)
    body = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sides) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (png(8, 8, (100_000, 100_000)), "DecompressionBomb"),
        (png(8, 8, (10_000, 9_000)), "DecompressionBomb"),
        (png(20_000, 2), "20000 x 2 pixels"),
        (png(8, 8)[:40], "can't be decoded"),
        (b"", "can't be decoded"),
    ],
)
def test_an_image(content, found, tmp_path):
    for part in ("train", "test"):
        folder = tmp_path / part / "c"
        folder.mkdir(parents=True)
        for k in range(2):
            Image.new("L", (8, 8)).save(folder / f"{k}.png")
    (tmp_path / "train" / "c" / "1.png").write_bytes(content)
    refused(found, f"folder:{tmp_path}?size=128")


def test_a_recording_of_events(tmp_path):
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        (tmp_path / part / "user01_led").mkdir(parents=True)
        np.save(tmp_path / part / "user01_led" / "0.npy", np.ones((3, 4), int))
    file = tmp_path / "ibmGestureTrain" / "user01_led" / "0.npy"
    file.write_bytes(npy(header((2**40, 4), "<i8")))
    refused("takes 35184372088832 bytes, and has 0", f"events:{tmp_path}")
    for time, found in (
        ([0, 2**62], "too far apart"),
        ([0.0, 1e300], "1e\\+300"),
        ([0, np.nan], "NaN"),
    ):
        np.save(file, np.column_stack([np.ones((2, 3)).astype(type(time[1])), time]))
        refused(found, f"events:{tmp_path}")


def test_an_archive_of_clothes_that_is_a_bomb(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(bytes(2**27), 1))
    with pytest.raises(UnsupportedError, match="more than 67108864 bytes"):
        load_dataset("fashion-mnist", tmp_path)


@pytest.mark.parametrize("spec", ["textfolder:t?length=99999999999", "folder:t?size=99999"])
def test_an_option_of_a_data_set(spec, tmp_path):
    for part in ("train", "test"):
        folder = tmp_path / "t" / part / "c"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("rain")
    with pytest.raises(UsageError, match="9999") as caught:
        load_dataset(spec, tmp_path)
    assert "(1 to " in caught.value.remedy
