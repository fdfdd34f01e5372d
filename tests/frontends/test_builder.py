import pytest
import torch

from snnconv.frontends.lowering.builder import GraphBuilder, shape_of
from snnconv.frontends.lowering.contract import Activation, NodeSpec, Refused, Stored
from snnconv.graph.ir import INPUT
from snnconv.graph.operations.normalisation import Affine
from snnconv.graph.operations.wiring import Permute

X = Activation(INPUT, (3, 4))


def linear(name, value, source=X):
    return NodeSpec("linear", [source], None, {"weight": Stored(name, value), "bias": None})


def test_a_node_has_the_attributes_of_its_own_operation():
    builder = GraphBuilder()
    for op, attrs in (("reshape", Permute(dims=[1])), ("reshape", None)):
        with pytest.raises(Refused, match="reshape with an attribute that is not valid"):
            builder.add(NodeSpec(op, [X], attrs), "a")
    builder.add(NodeSpec("affine", [X], Affine(fixed=True)), "given")
    builder.add(NodeSpec("affine", [X]), "usual")
    assert [node.attrs for node in builder.nodes.values()] == [{"fixed": True}, {}]


def test_names_are_free():
    builder = GraphBuilder()
    assert [builder.add(NodeSpec("identity", [X]), base) for base in ("a", "a", INPUT, "a")] == [
        *("a", "a@2", "input@2", "a@3")
    ]
    assert list(builder.nodes) == ["a", "a@2", "input@2", "a@3"]


def test_what_a_node_is_made_of_comes_first():
    builder = GraphBuilder()
    assert builder.add(NodeSpec("add", [X, NodeSpec("identity", [X])]), "a") == "a@2"
    assert builder.nodes["a@2"].inputs == (INPUT, "a")


def test_a_tensor_is_kept_once():
    builder, weight = GraphBuilder(), torch.randn(4, 4, dtype=torch.float64)
    for _ in range(2):
        builder.add(linear("w", weight), "fc")
    assert [node.tensors for node in builder.nodes.values()] == [{"weight": "w"}] * 2
    assert builder.tensors["w"].dtype == torch.float32
    assert torch.equal(builder.tensors["w"], weight.float())
    assert builder.tensors["w"].data_ptr() != weight.data_ptr()


def test_tensors_of_one_name_are_two():
    builder = GraphBuilder()
    builder.add(linear("", torch.ones(4, 4)), "fc")
    builder.add(linear("fc.weight", torch.zeros(4, 4)), "out")
    assert builder.nodes["fc"].tensors == {"weight": "fc.weight"}
    assert builder.nodes["out"].tensors == {"weight": "fc.weight@2"}
    assert not builder.tensors["fc.weight@2"].any()


def test_tensors_may_come_later():
    builder = GraphBuilder()
    builder.add(linear("w", torch.ones(4, 4)), "fc")
    builder.give("fc", {"bias": Stored("b", torch.ones(4))})
    assert builder.nodes["fc"].tensors == {"weight": "w", "bias": "b"}


def test_shapes():
    hidden = linear("w", torch.ones(5, 4))
    assert shape_of(X) == (3, 4)
    assert shape_of(hidden) == (3, 5)
    assert shape_of(linear("v", torch.ones(2, 5), hidden)) == (3, 2)
    with pytest.raises(
        Refused, match=r"inputs of shape \[\[5\]\] that do not fit the operation \(RuntimeError"
    ):
        shape_of(linear("v", torch.ones(2, 4), hidden))
