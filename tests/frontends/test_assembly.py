import pytest
import torch

from snnconv.frontends.lowering.builder import Assembly, shape_of
from snnconv.frontends.lowering.contract import Activation, Made, Refused, Stored
from snnconv.graph.ir import INPUT

X = Activation(INPUT, (3, 4))


def linear(name, value, source=X):
    return Made("linear", [source], {}, {"weight": Stored(name, value), "bias": None})


def test_names_are_free():
    assembly = Assembly()
    assert [assembly.add(Made("identity", [X]), base) for base in ("a", "a", INPUT, "a")] == [
        *("a", "a@2", "input@2", "a@3")
    ]
    assert list(assembly.nodes) == ["a", "a@2", "input@2", "a@3"]


def test_what_a_node_is_made_of_comes_first():
    assembly = Assembly()
    assert assembly.add(Made("add", [X, Made("identity", [X])]), "a") == "a@2"
    assert assembly.nodes["a@2"].inputs == (INPUT, "a")


def test_a_tensor_is_kept_once():
    assembly, weight = Assembly(), torch.randn(4, 4, dtype=torch.float64)
    for _ in range(2):
        assembly.add(linear("w", weight), "fc")
    assert [node.tensors for node in assembly.nodes.values()] == [{"weight": "w"}] * 2
    assert assembly.tensors["w"].dtype == torch.float32
    assert torch.equal(assembly.tensors["w"], weight.float())
    assert assembly.tensors["w"].data_ptr() != weight.data_ptr()


def test_tensors_of_one_name_are_two():
    assembly = Assembly()
    assembly.add(linear("", torch.ones(4, 4)), "fc")
    assembly.add(linear("fc.weight", torch.zeros(4, 4)), "out")
    assert assembly.nodes["fc"].tensors == {"weight": "fc.weight"}
    assert assembly.nodes["out"].tensors == {"weight": "fc.weight@2"}
    assert not assembly.tensors["fc.weight@2"].any()


def test_tensors_may_come_later():
    assembly = Assembly()
    assembly.add(linear("w", torch.ones(4, 4)), "fc")
    assembly.give("fc", {"bias": Stored("b", torch.ones(4))})
    assert assembly.nodes["fc"].tensors == {"weight": "w", "bias": "b"}


def test_shapes():
    hidden = linear("w", torch.ones(5, 4))
    assert shape_of(X) == (3, 4)
    assert shape_of(hidden) == (3, 5)
    assert shape_of(linear("v", torch.ones(2, 5), hidden)) == (3, 2)
    with pytest.raises(
        Refused, match=r"inputs of shape \[\[5\]\] that do not fit it \(RuntimeError"
    ):
        shape_of(linear("v", torch.ones(2, 4), hidden))
