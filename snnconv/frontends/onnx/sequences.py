"""ONNX's forms of sequences: lookups of tokens, LSTM and GRU.

ONNX has the gates in another order than PyTorch, one layer to an operator, and, unless ``layout``
is 1, the batch as the second axis of sequences and states.

Shape:
    ``X [L, B, F]``, ``W [D, G*H, F]``, ``R [D, G*H, H]``, ``B [D, 2*G*H]`` for D directions and G
    gates; ``Y [L, D, B, H]`` and ``Y_h [D, B, H]`` come out.
"""

import torch
from torch import Tensor

from snnconv.frontends.lowering import sequences
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchMoved,
    NodeSpec,
    Refused,
    Stored,
    activation,
)
from snnconv.frontends.onnx import movement
from snnconv.frontends.onnx.batch_axis import Result
from snnconv.frontends.onnx.call import Call
from snnconv.graph.ops_recurrent import names
from snnconv.graph.remedies import BATCH_FIRST

_ORDER = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2)}  # of iofc as ifgo, of zrh as rzn
_ACTIVATIONS = {"lstm": ["sigmoid", "tanh", "tanh"], "gru": ["sigmoid", "tanh"]}
_PLAIN = "export it as PyTorch's own: nn.LSTM or nn.GRU"


def gather(call: Call) -> NodeSpec:
    """Rows of a table for tokens, or places of an axis."""
    table, index = call.operand(0), call.operand(1)
    if not (isinstance(table, Stored) and isinstance(index, Activation)):
        return movement.gather(call)
    if call.number("axis", 0) or table.value.dim() != 2:
        raise Refused(f"a lookup in a constant of shape {list(table.value.shape)}")
    return sequences.embedding((), index, table)


def recurrent(op: str, call: Call) -> list[Result]:
    """An LSTM or GRU of one layer: outputs, and last states; an LSTM's cells can't be had."""
    if call.read > 2:
        raise Refused("an LSTM's cells, which it keeps to itself", "use its outputs or last state")
    x, first = _input(call)
    length = x.shape[1]
    direction = call.attrs.get("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise Refused(f"the direction '{direction}'")
    ways = 2 if direction == "bidirectional" else 1
    _refuse_variants(op, call, ways, length)
    tensors = _tensors(op, call, ways)
    hidden = call.tensor(2, "R").value.shape[2]
    attrs = {
        "hidden": hidden,
        "layers": 1,
        "bias": "bias_ih_l0" in tensors,
        "bidirectional": ways == 2,
        "dropout": 0.0,
    }
    source = _backwards(x, length) if direction == "reverse" else x
    outputs, states = sequences.run(op, source, attrs, tensors)
    outputs = _backwards(outputs, length) if direction == "reverse" else outputs
    every = NodeSpec("reshape", [outputs], {"shape": [length, ways, hidden]})
    last = NodeSpec("reshape", [NodeSpec("concat", states, {"dim": 1})], {"shape": [ways, hidden]})
    found: list[Result] = [BatchMoved(every, 2), BatchMoved(last, 1)] if first else [every, last]
    return found


def _input(call: Call) -> tuple[Activation, bool]:
    """The sequences ``[B, L, F]``, and whether the file has their places before their batch."""
    x, layout = call.operand(0), call.number("layout", 0)
    second = isinstance(x, BatchMoved) and x.batch == 1
    if not (layout == 1 and isinstance(x, Activation)) and not (layout == 0 and second):
        raise Refused("sequences whose batch is not the axis behind their places", BATCH_FIRST)
    source = activation(x.x if isinstance(x, BatchMoved) else x)
    if len(source.shape) != 3:
        raise Refused(f"sequences of shape {list(source.shape[1:])}")
    return source, layout == 0


def _refuse_variants(op: str, call: Call, ways: int, length: int) -> None:
    """What ONNX's recurrences can do and PyTorch's can't."""
    given = [name.lower() for name in call.attrs.get("activations", _plain(op, ways))]
    if given != _plain(op, ways):
        raise Refused(f"the activations {', '.join(given)}", _PLAIN)
    if "clip" in call.attrs:
        raise Refused(f"a clip of what the gates see at {call.attrs['clip']}", _PLAIN)
    if op == "lstm" and call.number("input_forget", 0):
        raise Refused("input and forget gates that are one (input_forget)", _PLAIN)
    if op == "lstm" and call.operand(7) is not None:
        raise Refused("gates that see the cell (peepholes)", _PLAIN)
    if op == "gru" and not call.number("linear_before_reset", 0):
        raise Refused("a reset before the matrix (linear_before_reset=0)", _PLAIN)
    lengths = call.operand(4)
    if lengths is not None and not (
        isinstance(lengths, Stored) and bool((lengths.value == length).all())
    ):
        raise Refused("sequences of lengths of their own (sequence_lens)", "pad them to one length")
    sequences.start_at_0(call.operand(5), call.operand(6))


def _plain(op: str, ways: int) -> list[str]:
    return _ACTIVATIONS[op] * ways


def _tensors(op: str, call: Call, ways: int) -> dict[str, Stored | None]:
    """The weights by their roles, gates in PyTorch's order."""
    matrices = {"weight_ih": call.tensor(1, "W").value, "weight_hh": call.tensor(2, "R").value}
    bias, gates = call.optional(3, "B"), len(_ORDER[op])
    width, hidden = (matrix.shape[-1] for matrix in matrices.values())
    rows = gates * hidden
    wanted = [(ways, rows, width), (ways, rows, hidden), (ways, 2 * rows)]
    given = [*matrices.values(), *([] if bias is None else [bias.value])]
    if any(tuple(one.shape) != shape for one, shape in zip(given, wanted, strict=False)):
        raise Refused(f"weights of shape {', '.join(str(list(one.shape)) for one in given)}")
    if bias is not None:
        matrices["bias_ih"], matrices["bias_hh"] = bias.value.chunk(2, 1)
    roles = names({"bias": bias is not None, "bidirectional": ways == 2, "layers": 1})[0]
    return {
        role: Stored("", _in_order(op, matrices[kind][way]))
        for way, part in enumerate(roles)
        for kind, role in part.items()
    }


def _in_order(op: str, rows: Tensor) -> Tensor:
    """Blocks of rows as PyTorch has them."""
    blocks = rows.chunk(len(_ORDER[op]))
    return torch.cat([blocks[k] for k in _ORDER[op]])


def _backwards(x: Activation | NodeSpec, length: int) -> NodeSpec:
    return NodeSpec("slice", [x], {"dim": 1, "start": length - 1, "stop": -1, "step": -1})
