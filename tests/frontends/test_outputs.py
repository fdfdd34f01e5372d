"""Networks with several outputs, from modules, exported programs and ONNX files."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls
from torch import nn

from snnconv.errors import ObstaclesError, UnsupportedError, UsageError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.outputs import choose, leaves
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network


@dataclass
class Found:
    logits: Any
    aux: Any = None


Pair = namedtuple("Pair", "mean logits")

KINDS = {
    "tuple": (lambda a, b: (b, a), "1"),
    "named tuple": (lambda a, b: Pair(b, a), "logits"),
    "dict": (lambda a, b: {"aux": b, "out": a}, "out"),
    "dataclass": (Found, "logits"),
    "nested": (lambda a, b: {"aux": b, "heads": [b, (a, b)]}, "heads.1.0"),
}


def two(gather):
    """A network with logits, and another output that no neuron can stand for."""

    def forward(net, x):
        x = F.relu(net.conv(x))
        return gather(net.fc(x.flatten(1)), torch.fft.rfft(x).abs())

    torch.manual_seed(0)
    return Calls(forward, conv=nn.Conv2d(2, 3, 3), fc=nn.Linear(108, 4)).eval()


def plain(net, x):
    return net.fc(F.relu(net.conv(x)).flatten(1))


def computes(found, net):
    x = torch.randn(5, *IMAGE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got = Network(found.graph, found.tensors).eval()(x)
        assert torch.allclose(got, plain(net, x), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_modules_output_is_chosen_and_the_rest_is_cut_away(kind):
    gather, name = KINDS[kind]
    net = two(gather)
    found = capture(net, IMAGE, output=name)
    computes(found, net)
    assert [node.op for node in found.graph.nodes] == ["conv", "relu", "reshape", "linear"]
    assert set(found.tensors) == {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}
    number = list(leaves(gather("a", "b")).values()).index("a")
    assert capture(net, IMAGE, output=str(number)).graph == found.graph


def test_the_output_that_can_not_be_converted_is_refused_alone():
    with pytest.raises(ObstaclesError, match="fft"):
        capture(two(KINDS["tuple"][0]), IMAGE, output="0")


def test_without_a_choice_all_outputs_are_named():
    with pytest.raises(UnsupportedError, match=r"2 outputs \(aux, out\)(.|\n)*--output aux"):
        capture(two(KINDS["dict"][0]), IMAGE)
    with pytest.raises(UsageError, match="did you mean 'out'"):
        capture(two(KINDS["dict"][0]), IMAGE, output="outt")
    with pytest.raises(UsageError, match="'2' of 2 outputs"):
        capture(two(KINDS["tuple"][0]), IMAGE, output="2")
    with pytest.raises(UsageError, match="drop --output"):
        capture(two(lambda a, b: a), IMAGE, output="logits")


def test_one_output_in_a_dict_needs_no_choice():
    net = two(lambda a, b: {"out": a, "aux": None})
    computes(capture(net, IMAGE), net)


def exported(file, gather):
    net = two(gather)
    torch.export.save(torch.export.export(net, (torch.randn(3, *IMAGE),)), file)
    return net


def test_a_programs_output_is_chosen(tmp_path):
    file = tmp_path / "net.pt2"
    net = exported(file, KINDS["dict"][0])
    computes_file = import_exported(file, IMAGE, output="out")
    computes(computes_file, net)
    assert import_exported(file, IMAGE, output="1").graph == computes_file.graph
    with pytest.raises(UnsupportedError, match=r"2 outputs \(aux, out\)"):
        import_exported(file, IMAGE)


def test_an_onnx_files_output_is_chosen(tmp_path):
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Flatten", ["r"], ["logits"]),
        helper.make_node("NonSuch", ["r"], ["aux"], domain="no.such.domain"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "k"])
        for name in ("aux", "logits")
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *IMAGE])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("no.such.domain", 1)]
    graph = helper.make_graph(nodes, "net", [source], outputs)
    file = tmp_path / "net.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    found = import_onnx(file, IMAGE, output="logits")
    assert [node.op for node in found.graph.nodes] == ["relu", "reshape"]
    assert import_onnx(file, IMAGE, output="1").graph == found.graph
    with pytest.raises(UnsupportedError, match=r"2 outputs \(aux, logits\)"):
        import_onnx(file, IMAGE)


def test_a_feature_extractor_of_torchvision():
    from torchvision.models.feature_extraction import create_feature_extractor

    parts = create_feature_extractor(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), ["0", "1"])
    found = capture(parts, IMAGE, output="1")
    assert [node.op for node in found.graph.nodes] == ["conv", "relu"]


def test_names_come_before_numbers():
    assert choose(["1", "0"], "0", "it") == "0"
    assert choose(["a", "b"], "0", "it") == "a"
