"""Data sets of the room obey the laws of :mod:`snnconv.testing.datasets`, on small files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snnconv.testing import check
from snnconv.testing.__main__ import main


def arrays(*shape):
    rng, labels = np.random.default_rng(0), np.array([0, 1, 2, 1])
    x = rng.integers(0, 256, (4, *shape), dtype=np.uint8)
    np.savez("own.npz", x_train=x, y_train=labels, x_test=x[:3], y_test=labels[:3])


def photos():
    rng = np.random.default_rng(0)
    for file in (f"{p}/{name}/{k}.png" for p in ("train", "test") for name in "ab" for k in "01"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).save(file)


def reviews():
    for k, file in enumerate(f"{p}/{name}/1.txt" for p in ("train", "test") for name in "ab"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(f"one two three {k}")


@pytest.mark.parametrize(
    ("spec", "write"),
    [
        ("digits", lambda: None),
        ("npz:own.npz", lambda: arrays(3, 4, 4)),
        ("npz:own.npz", lambda: arrays(2, 3, 4, 4)),
        ("folder:.", photos),
        ("textfolder:.", reviews),
    ],
    ids=["digits", "npz", "npz with frames", "folder", "textfolder"],
)
def test_the_laws_of_data_sets_hold(spec, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write()
    check(spec)


FACTORY = """
import torch
from snnconv import ArraySplit, DataInfo, Dataset


def noise(n=3):
    info = DataInfo(spec="", shape=(2,), classes=("a",), mean=(0.0,), std=(1.0,))
    split = ArraySplit(torch.rand(n, 2), torch.zeros(n).long(), 1.0)
    return Dataset(info, split, split)
"""


def test_a_factory_is_asked_with_its_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("noisy.py").write_text(FACTORY)
    assert main(["noisy.py:noise?n=4"]) == 4
    assert "BROKEN    reading again gives the same" in capsys.readouterr().out
