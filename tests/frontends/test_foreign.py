"""Files of other kinds are told by their first bytes, and each way to bring them works."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from snnconv.core.metadata import DataInfo
from snnconv.errors import SnnconvError, UsageError
from snnconv.frontends.foreign import recognised
from snnconv.frontends.open import open_model

FACTS = DataInfo(spec="digits", shape=(4,), classes=("a", "b"), mean=(0.5,), std=(0.25,))
NET = """
raise_if_run = 1 / RUN
import torch
from torch import nn

class Helper: pass
def _inner(): pass
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    def forward(self, x): return self.net(x)
def make(): return Net()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET.replace("RUN", "1"))


def network():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()


def refused(spec, weights=None):
    with pytest.raises(UsageError) as caught:
        open_model(spec, weights, FACTS)
    assert spec in caught.value.problem
    return caught.value


def archive(*names):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for name in names:
            made.writestr(name, b"{}")
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "found", "remedy"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "a Keras or HDF5 file", "--keras file"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite file", "--tflite file"),
        (b"TFL3", "a TensorFlow Lite file", "--tflite file"),
        (bytes(40) + bytes.fromhex("57fb808b247547db"), "a checkpoint of TensorFlow", "ONNX"),
        (b"GGUF\3\0\0\0", "a GGUF file of quantized weights", "--weights FILE"),
        (b"\x93NUMPY\1\0", "one NumPy array", "torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a page of HTML", "download the file again"),
        (b"\x1f\x8b\x08" + bytes(40), "a packed archive", "tar -xf file"),
        (b"\x80\x04\x95", "a file of torch.save or pickle", "--weights file"),
        (archive("config.json", "metadata.json", "model.weights.h5"), "a Keras file", "--keras"),
        (archive("MAR-INF/MANIFEST.json", "net.pt"), "an archive of TorchServe", "unzip file"),
        (archive("net/data.pkl", "net/code/a.py", "net/constants.pkl"), "TorchScript", "jit.load"),
        (archive("net/data.pkl", "net/data/0"), "a file of torch.save", "--weights file"),
        (archive("a.npy", "b.npy"), "an archive of NumPy arrays (npz)", "numpy.load('file')"),
        (archive("net/archive_format"), "an exported program", "file.pt2"),
    ],
)
def test_marks(content, found, remedy):
    for name in ("file", "file.onnx"):  # whatever the suffix says
        Path(name).write_bytes(content)
        error = refused(name)
        assert found in error.found
        assert remedy.replace("file", name) in error.remedy or remedy in error.remedy


def test_folders():
    Path("saved").mkdir()
    assert refused("saved").found == "a folder"
    Path("saved/saved_model.pb").touch()
    assert refused("saved").found == "a SavedModel of TensorFlow"
    assert "--saved-model saved" in refused("saved").remedy


def test_what_is_not_known_is_said_to_be_a_file():
    Path("net.xyz").write_bytes(b"whatever")
    assert "not known" in refused("net.xyz").found
    assert refused("gone.h5").found == "no such file"


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"{", bytes(9)])
def test_files_without_a_mark(content):
    Path("file").write_bytes(content)
    assert recognised(Path("file")) is None
    assert recognised(Path("gone")) is None


def test_a_real_file_of_hdf5():
    h5py = pytest.importorskip("h5py")
    with h5py.File("net.h5", "w") as file:
        file["weights"] = np.ones(3)
    assert refused("net.h5").found == "a Keras or HDF5 file"


def test_weights_in_the_place_of_a_network():
    """The remedy, followed: the network's factory, with the file as its weights."""
    state = {f"net.{key}": value for key, value in network().state_dict().items()}
    torch.save(state, "net.pt")
    safetensors.torch.save_file(state, "net.bin")
    assert "net.py:factory" not in refused("net.pt").remedy
    for name in ("net.pt", "net.bin"):
        assert refused(name).remedy.endswith(f"file.py:factory --weights {name}")
    opened = open_model("net.py:Net", Path("net.pt"), FACTS)
    assert torch.equal(opened.network.network["net.0.weight"], state["net.0.weight"])


def test_an_exported_program_under_another_suffix():
    program = torch.export.export(network(), (torch.rand(2, 4),))
    torch.export.save(program, "program.pt2")
    Path("program.pt2").rename("program.pt")
    (named,) = re.findall(r"\S+\.pt2$", refused("program.pt").remedy)
    Path("program.pt").rename(named)
    assert open_model(named, None, FACTS).network.graph.sites


def test_a_file_of_python_lists_what_may_be_meant_without_running_it():
    Path("net.py").write_text(NET.replace("RUN", "0"))
    error = refused("net.py")
    assert error.found.endswith("in it: Net, make, Helper")
    (spec,) = re.findall(r"\S+:\w+$", error.remedy)
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        open_model(spec, None, FACTS)
    Path("net.py").write_text(NET.replace("RUN", "1"))
    assert open_model(spec, None, FACTS).network.graph.sites


@pytest.mark.parametrize("text", ["", "x = 1", "def f(:", "\0"])
def test_python_without_a_network(text):
    Path("net.py").write_text(text)
    with pytest.raises(SnnconvError):
        open_model("net.py", None, FACTS)
