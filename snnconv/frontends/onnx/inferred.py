"""The shapes that ONNX infers, for an operator that no lowering takes.

They let the translator look behind an operator that it refuses, so that it names every obstacle.
"""

from collections.abc import Sequence

from snnconv.frontends.lowering.call import Operand
from snnconv.frontends.lowering.contract import BATCH, Activation, Stored
from snnconv.frontends.onnx.file import Operator

_PARAMETERS = 64  # values of a constant operand that may be sizes or axes


def shapes(operator: Operator, operands: Sequence[Operand], opset: int) -> list[tuple[int, ...]]:
    """Return the shapes ``[B, ...]`` of an operator's outputs; none if ONNX can't tell all."""
    import onnx

    if not any(isinstance(operand, Activation) for operand in operands):
        return []  # its values, and their size, are constants that may be gigantic
    given, constants = [], []
    for name, operand in zip(operator.inputs, operands, strict=True):
        if isinstance(operand, Activation):
            kind, shape = onnx.TensorProto.FLOAT, operand.shape
        elif isinstance(operand, Stored):
            array = operand.value.numpy()
            if array.size <= _PARAMETERS:
                constants.append(onnx.numpy_helper.from_array(array, name))
                continue
            kind, shape = onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        elif operand is None:
            continue
        else:
            return []
        given.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    wanted = [onnx.ValueInfoProto(name=name) for name in operator.outputs if name]
    graph = onnx.helper.make_graph([operator.proto], "one", given, wanted, constants)
    domains = {operator.proto.domain: 1, "": opset}
    imports = [onnx.helper.make_opsetid(name, version) for name, version in domains.items()]
    try:
        proto = onnx.helper.make_model(graph, opset_imports=imports)
        found = onnx.shape_inference.infer_shapes(proto).graph.output
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return []
    sizes = [
        tuple(d.dim_value for d in value.type.tensor_type.shape.dim)  # 0 if a size is open
        for value in found
    ]
    known = all(shape and shape[0] == BATCH and min(shape) > 0 for shape in sizes)
    return sizes if known and len(sizes) == len(operator.outputs) else []
