"""ONNX's piecewise-linear operators, against onnxruntime; all of them spike."""

import numpy as np
import pytest
from helpers.onnx_models import IMAGE, NEWEST, floats, imported, node, ops, proto, saved

from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx


@pytest.fixture
def converted(tmp_path):
    """``nodes -> the import``, after the comparison for batches of 1 and 5."""

    def convert(nodes, tensors=None, shape=IMAGE, opset=17):
        nodes = nodes if isinstance(nodes, list) else [nodes]
        return imported(saved(proto(nodes, tensors, shape, opset), tmp_path), shape, (1, 5))

    return convert


@pytest.fixture
def refused(tmp_path):
    """``nodes -> what was found``."""

    def refuse(nodes, tensors=None, shape=IMAGE, opset=17):
        nodes = nodes if isinstance(nodes, list) else [nodes]
        with pytest.raises(UnsupportedError) as caught:
            import_onnx(saved(proto(nodes, tensors, shape, opset), tmp_path), shape)
        return caught.value.found

    return refuse


def sites(found):
    return [n.attrs for n in found.graph.sites]


@pytest.mark.parametrize("opset", [9, 10])
def test_a_clip_by_attributes(converted, opset):
    found = converted(node("Clip", "x", min=0.0, max=1.5), opset=opset)
    assert found.graph["the Clip"].attrs == {"ceiling": 1.5}
    assert sites(converted(node("Clip", "x", min=0.0), opset=opset)) == [{"ceiling": None}]
    assert ops(converted(node("Clip", "x", max=1.0), opset=opset)) == ["affine", "relu", "affine"]
    assert ops(converted(node("Clip", "x"), opset=opset)) == ["identity"]
    behind = converted([node("Relu", "x", "r"), node("Clip", "r", max=1.0)], opset=opset)
    assert sites(behind) == [{"ceiling": 1.0}]


@pytest.mark.parametrize("opset", [11, 13, NEWEST])
def test_a_clip_by_operands(converted, refused, opset):
    bounds = {"low": np.float32(0), "high": np.float32(1.5), "below": np.float32(-1)}
    bounds = {name: np.array(value) for name, value in bounds.items()}
    found = converted(node("Clip", "x low high"), bounds, opset=opset)
    assert found.graph["the Clip"].attrs == {"ceiling": 1.5}
    assert converted(node("Clip", "x low"), bounds, opset=opset).graph["the Clip"].op == "relu"
    around = converted(node("Clip", "x below high"), bounds, opset=opset)
    assert ops(around) == ["affine", "relu", "affine"]
    assert sites(around) == [{"ceiling": 2.5}]
    assert "leaves one number" in refused(node("Clip", "x high below"), bounds, opset=opset)


def test_extremes(converted, refused):
    bounds = {
        "zero": np.array(np.float32(0)),
        "one": np.array(np.float32(1)),
        "many": floats(2, 6, 6),
    }
    assert ops(converted(node("Max", "x zero"), bounds)) == ["relu"]
    assert ops(converted(node("Max", "zero x"), bounds)) == ["relu"]
    assert ops(converted(node("Relu", "x"))) == ["relu"]
    assert ops(converted(node("Max", "x"))) == ["identity"]
    for op in ("Max", "Min"):
        for operand in ("one", "many"):
            found = converted(node(op, f"x {operand}"), bounds)
            assert ops(found) == ["affine", "relu", "affine"]
        other = node("Neg", "x", "n")
        assert len(sites(converted([other, node(op, "x n")]))) == 1
        assert len(sites(converted([other, node(op, "x n one x")], bounds))) == 3
        assert "constants" in refused(node(op, "one zero x"), bounds)
    assert "expanded" in refused(node("Max", "x one"), {"one": floats(1, 3, 6, 6)}, (1, 6, 6))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_extremes_and_sums_along_axes(converted, axis):
    for op, opset in (("ReduceMin", 13), ("ReduceMax", 13), ("ReduceSum", 11)):
        found = converted(node(op, "x", axes=[axis], keepdims=0), opset=opset)
        assert not found.graph.sites
    both = {"a": np.array([axis])}
    for op in ("ReduceMin", "ReduceMax", "ReduceSum"):
        assert not converted(node(op, "x a"), both, opset=18).graph.sites


@pytest.mark.parametrize(("opset", "attrs"), [(9, {}), (16, {"alpha": 0.2}), (16, {"alpha": -1.0})])
def test_leaky_relus(converted, opset, attrs):
    found = converted(node("LeakyRelu", "x", **attrs), opset=opset)
    assert ops(found) == ["relu", "affine", "relu", "affine", "add"]


@pytest.mark.parametrize("shape", [(1,), (2, 1, 1), (1, 1, 1), (1, 2, 1, 1)])
def test_slopes_that_were_learned(converted, refused, shape):
    found = converted(node("PRelu", "x s"), {"s": floats(*shape)})
    assert len(found.graph.sites) == 2
    assert "slopes of shape [6]" in refused(node("PRelu", "x s"), {"s": floats(6)})


def test_others(converted):
    assert len(sites(converted(node("Abs", "x")))) == 2
    for attrs in ({}, {"alpha": 1 / 6, "beta": 0.5}, {"alpha": -0.3, "beta": 1.2}):
        assert sites(converted(node("HardSigmoid", "x", **attrs))) == [{"ceiling": 1.0}]
