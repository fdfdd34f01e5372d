"""ONNX files for the tests, made by hand or by PyTorch's exporters."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from snnconv.frontends.onnx.importer import import_onnx
from snnconv.graph.network import Network

IMAGE = (2, 6, 6)
NEWEST = onnx.defs.onnx_opset_version()


def node(op, inputs, outputs="y", **attrs):
    """A node from names with spaces between them; the one that gives ``y`` is called "the Op"."""
    name = f"the {op}" if outputs[0] == "y" else f"{op} {outputs.split(' ')[0]}"
    inputs = inputs.split(" ") if inputs else []
    return helper.make_node(op, inputs, outputs.split(" "), name=name, **attrs)


def floats(*shape, seed=0):
    """Weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values):
    """A constant of shapes and axes."""
    return np.array(values, dtype=np.int64)


def proto(nodes, tensors=None, shape=IMAGE, opset=17, batch="N", flat=True, kind=TensorProto.FLOAT):
    """A model from ``x`` to ``y``, which a flatten at the end makes logits."""
    nodes = list(nodes)
    if flat:
        nodes.append(helper.make_node("Flatten", ["y"], ["logits"], name="the end", axis=1))
    output = "logits" if flat else "y"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", kind, [batch, *shape])],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    # a shape of unknown sizes: the checker wants one
    graph.output[0].type.tensor_type.shape.dim.add()
    graph.output[0].type.tensor_type.shape.dim.add()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def saved(model, folder):
    """The file."""
    file = Path(folder) / "network.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def run(file, x):
    """What onnxruntime makes of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    whole = given.type in ("tensor(int64)", "tensor(int32)")
    value = x.numpy().astype(given.type[len("tensor(") : -1]) if whole else x.numpy()
    return torch.from_numpy(session.run(None, {given.name: value})[0])


def imported(file, shape=IMAGE, batches=(1, 5), ending=None, analog=False, tokens=None):
    """The import, after checking that it gives what onnxruntime gives."""
    found = import_onnx(file, shape, analog, tokens)
    assert found.verdict.referee == "onnxruntime"
    assert found.verdict.difference <= 1e-5  # one that is not a number is not
    network = Network(found.graph, found.tensors).eval()
    for batch in batches:
        x = 2 * torch.randn(batch, *shape)
        if tokens is not None:
            x = torch.randint(tokens, (batch, *shape)).float()
        with torch.no_grad():
            got = network(x)
        got = got if ending is None else ending(got, 1)
        torch.testing.assert_close(got, run(file, x).reshape(got.shape), rtol=1e-4, atol=1e-5)
    return found


def ops(found):
    """The operations in order, without the flatten at the end."""
    return [n.op for n in found.graph.nodes][:-1]


def exported(module, shape, folder, dynamo, opset, batch=None, x=None):
    """A module's file by one of PyTorch's exporters; without a batch, that is left open."""
    file, x = Path(folder) / "exported.onnx", torch.randn(batch or 2, *shape) if x is None else x
    options = {"opset_version": opset, "input_names": ["images"], "dynamo": dynamo}
    if dynamo:
        options |= {"verbose": False}
    if batch is None and dynamo:
        options |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    elif batch is None:
        options |= {"dynamic_axes": {"images": {0: "batch"}}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (x,), file, **options)
    return file
