"""Values whose batch is not the first axis in the file, as sequences have it for ONNX's LSTM.

In the graph the batch always comes first. A permutation that only moves the batch makes no node:
the value stays as it is, and a note says which axis is the batch in the file.
"""

from collections.abc import Sequence
from dataclasses import replace

from snnconv.frontends.lowering.call import Call, OnnxResult, Operand, along, batch_first, file_dims
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    BatchMoved,
    NodeSpec,
    Refused,
    Stored,
)
from snnconv.frontends.lowering.table import OfOperator
from snnconv.graph.remedies import BATCH_FIRST


def moves_batch(operands: Sequence[Operand]) -> bool:
    """Whether one of them has its batch elsewhere."""
    return any(isinstance(x, BatchMoved) for x in operands)


def made(call: Call, operator: OfOperator) -> OnnxResult | Sequence[OnnxResult]:
    """The value of an operator on operands whose batch is not the first axis.

    Raises:
        Refused: it mixes samples, or is not known for such operands.
    """
    found: OnnxResult | Sequence[OnnxResult]
    if operator.onnx.moved is not None:
        found = operator.onnx.moved(call)
    elif operator.onnx.axes is not None:
        found = along(call, operator.onnx.make, operator.onnx.axes)
    else:
        found = _by_number(call, operator)
    return found


def _by_number(call: Call, operator: OfOperator) -> BatchMoved:
    """The value of an operator that changes each number by itself."""
    rule = operator.lowering.batch_axis
    if rule not in (BatchAxis.EACH, BatchAxis.CHANNELS, BatchAxis.BROADCASTS):
        raise Refused("it stands behind a permutation that moves the batch", BATCH_FIRST)
    batches = {x.batch for x in call.operands if isinstance(x, BatchMoved)}
    batches |= {0 for x in call.operands if isinstance(x, Activation)}
    if len(batches) > 1:
        raise Refused("operands whose batch is not the same axis", BATCH_FIRST)
    (batch,) = batches
    (x, *_) = (x for x in call.operands if isinstance(x, BatchMoved))
    constants = [x.value for x in call.operands if isinstance(x, Stored)]
    by_row = rule is BatchAxis.BROADCASTS and batch < len(file_dims(x)) - 1
    if any(c.numel() > 1 and not (by_row and c.dim() == 1) for c in constants):
        raise Refused("constants that the batch stands between", BATCH_FIRST)
    made = operator.onnx.make(replace(call, operands=[batch_first(x) for x in call.operands]))
    assert isinstance(made, NodeSpec)
    return BatchMoved(made, batch)
