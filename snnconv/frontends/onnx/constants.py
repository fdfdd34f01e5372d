"""Values that do not depend on the input, computed at import: weights, and the shapes of reshapes.

ONNX's own reference evaluator computes them, one operator at a time, after their size was bounded:
a few bytes of a file must not ask for all memory.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from snnconv.errors import one_line
from snnconv.frontends.lowering.contract import Refused
from snnconv.frontends.onnx.file import Operator
from snnconv.frontends.onnx.tensors import LARGEST, read

_NO_LARGER = (
    *("Abs", "Cast", "Ceil", "Clip", "Concat", "Cos", "CumSum", "Erf", "Exp", "Flatten", "Floor"),
    *("IsNaN", "Log", "Neg", "Not", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round", "ScatterND", "Shape"),
    *("Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Tanh"),
    *("Transpose", "Trilu", "Unsqueeze"),
)
_ELEMENTWISE = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where"),
)
FOLDED = frozenset(
    (
        *_NO_LARGER,
        *_ELEMENTWISE,
        "Constant",
        "ConstantOfShape",
        "Expand",
        "Gather",
        "GatherND",
        "Identity",
        "MatMul",
        "Range",
    )
)
"""The operators whose value is computed if all operands are constant."""


def evaluate(
    operator: Operator, operands: Sequence[Tensor | None], opset: int, folder: Path
) -> list[Tensor]:
    """Return an operator's values from constant operands.

    Args:
        folder: the folder in which tensors among its attributes may have their data.

    Raises:
        Refused: it is none of :data:`FOLDED`, gives a gigantic value, or can't be computed.
        UnsupportedError: a tensor among its attributes can't be read.
    """
    if operator.op not in FOLDED:
        raise Refused("an operator on constants that snnconv does not compute at import")
    if operator.op == "Constant":
        return [_constant(operator, folder)]
    given = [x for x in operands if x is not None]
    try:
        count = _bound(operator.op, given)
        if not 0 <= count <= LARGEST:
            raise Refused(f"a constant of {count} values: at most {LARGEST} are taken")
        if operator.op == "ConstantOfShape":
            fill = operator.attrs.get("value")
            value = torch.zeros(1) if fill is None else read(fill, folder)
            return [value.reshape(()).expand(given[0].tolist())]  # one number in memory
        return _referred(operator, operands, opset)
    except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise Refused(f"constants that it can't be computed from ({one_line(error)})") from error


def _constant(operator: Operator, folder: Path) -> Tensor:
    for name, value in operator.attrs.items():
        if name == "value":
            return read(value, folder)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise Refused(f"a constant given as {', '.join(operator.attrs)}")


def _bound(op: str, given: Sequence[Tensor]) -> int:
    """Return the largest number of values that can come out."""
    if op == "ConstantOfShape":
        return math.prod(given[0].tolist())
    if op == "Range":
        start, limit, delta = (float(x) for x in given)
        return max(math.ceil((limit - start) / delta), 0)
    if op == "MatMul":
        matrices = (x.to("meta") for x in given)
        return torch.matmul(*matrices).numel()
    if op in ("Gather", "GatherND"):
        return given[0].numel() * given[1].numel()
    if op == "Expand":
        return math.prod(torch.broadcast_shapes(given[0].shape, tuple(given[1].tolist())))
    if op in _ELEMENTWISE:
        return math.prod(torch.broadcast_shapes(*(x.shape for x in given)))
    return sum(x.numel() for x in given)


def _referred(operator: Operator, operands: Sequence[Tensor | None], opset: int) -> list[Tensor]:
    """Return the values that ONNX's reference evaluator computes."""
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    pairs = zip(operator.inputs, operands, strict=True)
    feeds = {name: x.numpy() for name, x in pairs if x is not None}
    names = [name for name in operator.outputs if name]
    given = [onnx.ValueInfoProto(name=name) for name in feeds]
    wanted = [onnx.ValueInfoProto(name=name) for name in names]
    graph = onnx.helper.make_graph([operator.proto], "constants", given, wanted)
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(graph, opsets={"": opset}).run(None, feeds)
    return [torch.from_numpy(np.array(value)) for value in values]
