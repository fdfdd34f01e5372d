"""Values whose batch is not the first axis in the file: sequences, heads and windows of attention.

In the graph the batch always comes first. A permutation that only moves the batch makes no node:
the value stays as it is, and a note says which axis is the batch in the file, and which places of a
sample share it.
"""

from collections.abc import Sequence
from dataclasses import replace

from snnconv.frontends.lowering.batch_axis import Again, beside, keeps_samples, moved
from snnconv.frontends.lowering.call import (
    Call,
    OnnxResult,
    Operand,
    along,
    batch_first,
    file_dims,
    one_place,
)
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

Lowered = OnnxResult | Activation | Sequence[OnnxResult | Activation]


def lowered(call: Call, operator: OfOperator, again: Again) -> Lowered:
    """Lower an operator, whichever axis the batch of its operands is.

    Args:
        call: it in the file.
        operator: what is known of it.
        again: the same operator, run on other numbers in place of its first operand.

    Raises:
        Refused: it mixes samples, or is not known for these operands.
    """
    onnx, x = operator.onnx, call.operand(0)
    moves = operator.lowering.batch_axis is BatchAxis.MOVES
    if not moves_batch(call.operands):
        try:
            found: Lowered = onnx.make(call)
        except Refused as refusal:
            if not moves or refusal.remedy != BATCH_FIRST or not isinstance(x, Activation):
                raise
            try:
                return _moved(call, operator, again)
            except Refused:  # the first refusal explains better what is mixed
                raise refusal from None
        return found
    if onnx.axes is not None and not (moves and one_place(call.operands).folded > 1):
        found = along(call, onnx.make, onnx.axes)
    elif moves:
        found = _moved(call, operator, again)
    elif onnx.moved is not None:
        found = onnx.moved(call)
    else:
        found = _by_number(call, operator)
    return found


def moves_batch(operands: Sequence[Operand]) -> bool:
    """Whether the batch of an operand is not the first axis."""
    return any(isinstance(x, BatchMoved) for x in operands)


def _moved(call: Call, operator: OfOperator, again: Again) -> Lowered:
    """Return the value of an operator that moves numbers and changes none."""
    if operator.onnx.moved is not None:
        found: Lowered = operator.onnx.moved(call)
        return found
    return moved(one_place(call.operands[:1]), again)


def _by_number(call: Call, operator: OfOperator) -> OnnxResult:
    """Return the value of an operator that changes each number, row or matrix by itself."""
    x, rule = one_place(call.operands), operator.lowering.batch_axis
    axes_behind = len(file_dims(x)) - 1 - x.batch
    constants = [one.value for one in call.operands if isinstance(one, Stored)]
    if not keeps_samples(rule, constants, axes_behind=axes_behind):
        raise Refused("it stands behind a permutation that moves the batch", BATCH_FIRST)
    operands = [batch_first(one) for one in call.operands]
    if rule is BatchAxis.BROADCASTS:
        operands = [beside(one, x) if isinstance(one, Stored) else one for one in operands]
    found = operator.onnx.make(replace(call, operands=operands))
    assert isinstance(found, NodeSpec)
    return replace(x, x=found)
