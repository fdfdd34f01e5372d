"""Data sets are looked for in an empty home and an empty working folder only."""

import hashlib
import pickle

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path, monkeypatch):
    here = tmp_path / "somewhere"
    (here / "home").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here / "home"))


@pytest.fixture
def write_cifar(monkeypatch):
    """Writes a small data set in the real layout, and makes torchvision expect its checksums.

    torchvision's integrity check stays in force: it sees the MD5 of the files written here in the
    place of the published ones.
    """

    def write(kind, folder, key, classes, per_file=7):
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        pixels, labels = {}, {}

        def dump(name, content):
            raw = pickle.dumps(content, protocol=2)
            (folder / name).write_bytes(raw)
            return hashlib.md5(raw).hexdigest()

        for attribute in ("train_list", "test_list"):
            listed = []
            for name, _ in getattr(kind, attribute):
                data = rng.integers(0, 256, (per_file, 3 * 32 * 32), dtype=np.uint8)
                given = [int(label) for label in rng.integers(0, len(classes), per_file)]
                pixels[name], labels[name] = data.reshape(-1, 3, 32, 32), given
                listed.append([name, dump(name, {"data": data, key: given})])
            monkeypatch.setattr(kind, attribute, listed)
        digest = dump(kind.meta["filename"], {kind.meta["key"]: classes})
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": digest})
        return pixels, labels

    return write
