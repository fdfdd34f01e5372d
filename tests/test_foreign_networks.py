"""Networks that can't be used, as the user of a command meets them: one error, nothing written."""

import json
from pathlib import Path

import pytest
import torch
from helpers.commands import files, here, refused
from onnx import TensorProto, helper
from torch import nn

from snnconv.errors import ExitCode

NETS = """
import torch
from torch import nn

class Two(nn.Module):
    def forward(self, x, y):
        return (x + y).flatten(1)

class Outputs(nn.Module):
    def forward(self, x):
        return x.flatten(1), x

class Branch(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

def tokens(): return nn.Sequential(nn.Flatten(), nn.Embedding(10, 4))
def broken(): raise RuntimeError("no such thing")
two, outputs, branch = Two, Outputs, Branch
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    return tmp_path


def unchanged(folder, *words):
    """Run a command; what was there stays, and nothing comes beside it."""
    before = files(folder)
    result = here(*words)
    after = {name: content for name, content in files(folder).items() if "__pycache__" not in name}
    assert after == before
    return result


@pytest.mark.parametrize(
    ("factory", "found"),
    [
        ("two", "can't take an input of shape [1, 8, 8]"),
        ("outputs", "2 outputs (0, 1)"),
        ("branch", "can't be traced"),
        ("tokens", "can't take an input of shape [1, 8, 8]"),
        ("broken", "RuntimeError: no such thing"),
    ],
)
def test_live_networks(factory, found, folder):
    result = unchanged(folder, "calibrate", f"nets.py:{factory}")
    refused(result, ExitCode.UNSUPPORTED, "", "", "")
    assert found in result.err


def onnx_file(nodes, inputs=("x",), outputs=("y",), kind=TensorProto.FLOAT):
    """A file of nodes ``(op, inputs, output)`` for the digits."""
    graph = helper.make_graph(
        [helper.make_node(op, ins, [out]) for op, ins, out in nodes],
        "network",
        [helper.make_tensor_value_info(name, kind, ["N", 1, 8, 8]) for name in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    Path("net.onnx").write_bytes(model.SerializeToString())
    return "net.onnx"


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ({"nodes": [("Relu", ["z"], "y"), ("Relu", ["y"], "z")]}, "not a valid ONNX file"),
        ({"nodes": [("Add", ["x", "w"], "y")], "inputs": ("x", "w")}, "2 inputs (x, w)"),
        ({"nodes": [("Relu", ["x"], "y"), ("Neg", ["x"], "z")], "outputs": ("y", "z")}, "2 outp"),
        ({"nodes": [("Relu", ["x"], "y")], "kind": TensorProto.INT64}, "of type INT64"),
    ],
)
def test_onnx_files(made, found, folder):
    result = unchanged(folder, "calibrate", onnx_file(**made))
    refused(result, ExitCode.UNSUPPORTED, "net.onnx")
    assert found in result.err
    assert ("--output y" if found == "2 outp" else "export") in result.err


def test_exported_programs(folder):
    Path("net.pt2").write_bytes(b"PK\x03\x04 cut off")
    result = unchanged(folder, "calibrate", "net.pt2")
    refused(
        result,
        ExitCode.UNSUPPORTED,
        "net.pt2 can't be read as an exported program",
        "",
        "torch.export.save",
    )
    result = unchanged(folder, "calibrate", "lost.pt2")
    refused(result, ExitCode.USAGE, "lost.pt2 can't be read", "no such file", "check the path")
    result = unchanged(folder, "calibrate", "net.pt2", "--weights", "net.pt")
    refused(
        result,
        ExitCode.USAGE,
        "an exported program takes only ?output=NAME, and no --weights",
    )


def test_an_exported_program_is_calibrated_and_named_in_the_report(folder):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    torch.export.save(torch.export.export(net, (torch.randn(1, 1, 8, 8),)), "net.pt2")
    result = here("calibrate", "net.pt2", "--samples", 50, "--json")
    assert result.code == ExitCode.DONE, result.err
    assert '"net.pt2"' in result.out


BENDS = """
import torch
from torch import nn
from torch.nn import functional as F

class Bends(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.slope = nn.Conv2d(1, 6, 3), nn.PReLU(6)
        self.second, self.last = nn.Conv2d(6, 8, 3), nn.Linear(128, 10)

    def forward(self, x):
        x = F.leaky_relu(self.second(self.slope(self.first(x))), 0.2)
        x = torch.maximum(x, x.flip(3)) + F.hardtanh(x)
        return self.last(F.hardsigmoid(x).flatten(1))
"""


def test_a_network_of_bends_and_no_relu_spikes_as_a_whole(folder):
    """Its neurons estimate it: the logits of 128 steps are within 2 % of the network's own."""
    Path("bends.py").write_text(BENDS)
    thetas, spiking = "thetas.safetensors", "spiking.safetensors"
    calibrated = here("calibrate", "bends.py:Bends", "--samples", 200, "--out", thetas)
    how = ("--neuron", "if", "--timesteps", 128, "--out", spiking)
    assert (calibrated.code, here("convert", thetas, *how).code) == (ExitCode.DONE, ExitCode.DONE)
    report = json.loads(here("evaluate", spiking, "--limit", 50, "--json").out)
    assert len(report["layers"]) == 2 + 2 + 1 + 1 + 1
    assert report["non_spiking_share"] == 0
    assert report["logits_relative_error"] < 0.02


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_a_side_of_a_bend_that_is_never_reached_takes_the_other_side_s_threshold(
    granularity, folder
):
    Path("bends.py").write_text(
        BENDS
        + """
def above():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(144, 10))
    nn.init.constant_(net[0].bias, 50.0)
    return net
"""
    )
    how = ("--granularity", granularity, "--samples", 100, "--out", "thetas.safetensors", "--json")
    result = here("calibrate", "bends.py:above", *how)
    assert result.code == ExitCode.DONE, result.err
    above, below = json.loads(result.out)["sites"]
    assert above["zero_share"] == 0
    assert below["zero_share"] == 1
    assert below["threshold"] == above["threshold"]
    assert here("convert", "thetas.safetensors", "--neuron", "if", "--timesteps", 4).code == 0
