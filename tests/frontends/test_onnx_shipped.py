"""The networks that the onnx package ships for its own tests: architectures of the real ones."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
IMAGE = (3, 224, 224)


def randomised(network, folder):
    """The file with random weights instead of one number each, scaled to keep values in range."""
    model, random = onnx.load(LIGHT / f"light_{network}.onnx"), np.random.default_rng(0)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made = {}
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        shape = tuple(shapes[node.input[0]])
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        made[node.output[0]] = (random.normal(size=shape) * spread).astype(np.float32)
        model.graph.node.remove(node)
    for node in [n for n in model.graph.node if n.op_type == "BatchNormalization"]:
        for name in {node.input[1], node.input[4]} & set(made):  # scale and variance
            made[name] = np.abs(made[name]) + 0.5
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in made.items())
    model.ir_version = 8  # older ones want every initialiser among the inputs
    file = folder / "network.onnx"
    onnx.save(model, file)
    return file


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("squeezenet", 26),
        *[
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                *(("resnet50", 49), ("inception_v2", 69), ("shufflenet", 33)),
                *(("densenet121", 121), ("vgg19", 18)),
            )
        ],
    ],
)
def test_those_of_known_operators(name, sites):
    found = import_onnx(LIGHT / f"light_{name}.onnx", IMAGE)
    assert len(found.graph.sites) == sites
    assert found.verdict.difference <= 1e-5


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("resnet50", "inception_v2")),
    ],
)
def test_with_weights_that_differ(name, tmp_path):
    """The shipped weights are one number a tensor, which hides a transposed axis."""
    found = import_onnx(randomised(name, tmp_path), IMAGE)
    assert found.verdict.difference <= 1e-4


@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "zfnet512"])
def test_those_with_local_response_normalisation_are_taken_on_request(name):
    found = import_onnx(LIGHT / f"light_{name}.onnx", IMAGE, analog=True)
    assert [node.op for node in found.graph.nodes].count("local_response_norm") == 2
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(LIGHT / f"light_{name}.onnx", IMAGE)
    assert caught.value.problem.startswith("2 operations of")
    assert caught.value.found.count("(LRN)") == 2
