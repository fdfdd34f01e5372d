"""Write out a trained LSTM or GRU step by step, with its own sigmoids and tanhs.

The network computes the same function. Its matrices read hidden states, which are functions like
any other: transfer sites make spikes of them (:mod:`snnconv.graph.transfer`). The gates and their
products are computed outside the spiking domain, from the means of their inputs up to each step.
The network is as long as the sequence: 16 nodes for each step, layer and direction of an LSTM, 19
for those of a GRU.

A step of an LSTM is, with ``i, f, g, o`` the four parts of ``W x[t] + U h[t-1] + b``::

    c[t] = sigmoid(f)*c[t-1] + sigmoid(i)*tanh(g);    h[t] = sigmoid(o)*tanh(c[t])

and one of a GRU, with ``r, z`` two parts and ``n`` the third::

    n' = tanh(W_n x[t] + b_n + sigmoid(r)*(U_n h[t-1] + d));    h[t] = n' + sigmoid(z)*(h[t-1] - n')

Shape:
    The nodes of a step are ``[B, 1, H]``, or ``[B, 1, 4*H]``; the result is that of the recurrence.

Reference:
    The GRU and LSTM are PyTorch's.

Deviations:
    Dropout between layers is left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Graph
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.operations.sequence import GATES
from snnconv.graph.unroll import Builder, Direction, finished, recurrence


def with_own_gates(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Return the network with every recurrence written out."""
    if not any(node.op in GATES for node in graph.nodes):
        return graph, dict(tensors)
    sizes, builder = Analysis.of(graph, tensors).shapes, Builder(dict(tensors))
    directions = {"lstm": _lstm, "gru": _gru}
    for node in graph.nodes:
        if node.op not in GATES:
            builder.nodes.append(node)
            continue
        length = sizes[node.inputs[0]][0]
        states = recurrence(builder, node, tensors, length, directions[node.op])
        builder.put(node.name, "identity", (states,))
    return finished(graph, builder)


def _given(builder: Builder, way: Direction, both: int) -> str:
    """Add the inputs of a direction at all places, with the biases that can be added there.

    Args:
        builder: takes the nodes.
        way: the direction.
        both: how many rows have both biases; the others have only that of the input.
    """
    own = way.own
    zero = torch.zeros(len(own["weight_ih"]), dtype=torch.float64)
    bias = own.get("bias_ih", zero).clone()
    bias[:both] += own.get("bias_hh", zero)[:both]
    builder.keep(f"{way.place}.input", own["weight_ih"], bias)
    return builder.linear(f"{way.place}.inputs", way.below, f"{way.place}.input")


def _function(builder: Builder, name: str, function: str, x: str) -> str:
    return builder.put(name, "pointwise", (x,), Pointwise(function=function, arguments=[]))


def _lstm(builder: Builder, way: Direction) -> list[str]:
    """Return the states ``[B, 1, H]`` of one direction, in the order in which they are computed."""
    place, own = way.place, way.own
    hidden = own["weight_hh"].shape[1]
    inputs = _given(builder, way, 4 * hidden)
    builder.keep(f"{place}.state", own["weight_hh"], torch.zeros(4 * hidden))
    states: list[str] = []
    cell = ""
    for t in way.order:
        at = f"{place}.t{t}"
        gates = builder.part(f"{at}.input", inputs, 1, t, 1)
        if states:
            back = builder.linear(f"{at}.back", states[-1], f"{place}.state")
            gates = builder.put(f"{at}.sum", "add", (gates, back))
        i, f, g, o = (
            _function(
                builder,
                f"{at}.{name}",
                "tanh" if name == "g" else "sigmoid",
                builder.part(f"{at}.{name}.sum", gates, 2, k * hidden, hidden),
            )
            for k, name in enumerate("ifgo")
        )
        new = builder.put(f"{at}.enters", "multiply", (i, g))
        if states:
            old = builder.put(f"{at}.stays", "multiply", (f, cell))
            new = builder.put(f"{at}.cell", "add", (old, new))
        cell = new
        out = _function(builder, f"{at}.tanh", "tanh", cell)
        states.append(builder.put(f"{at}.state", "multiply", (o, out)))
    return states


def _gru(builder: Builder, way: Direction) -> list[str]:
    """Return the states ``[B, 1, H]`` of one direction, in the order in which they are computed."""
    place, own = way.place, way.own
    hidden = own["weight_hh"].shape[1]
    inputs = _given(builder, way, 2 * hidden)
    late = own.get("bias_hh", torch.zeros(3 * hidden, dtype=torch.float64)).clone()
    late[: 2 * hidden] = 0
    builder.keep(f"{place}.state", own["weight_hh"], late)
    builder.tensors[f"{place}.late"] = late[None, 2 * hidden :].float()  # [1, H], as a state is
    builder.tensors["constant 0"] = torch.zeros(1)
    states: list[str] = []
    for t in way.order:
        at = f"{place}.t{t}"
        gates = builder.part(f"{at}.input", inputs, 1, t, 1)
        wanted = builder.part(f"{at}.n.input", gates, 2, 2 * hidden, hidden)
        back = builder.linear(f"{at}.back", states[-1], f"{place}.state") if states else None
        both = builder.part(f"{at}.rz.input", gates, 2, 0, 2 * hidden)
        if back:
            also = builder.part(f"{at}.rz.back", back, 2, 0, 2 * hidden)
            both = builder.put(f"{at}.rz.sum", "add", (both, also))
        both = _function(builder, f"{at}.rz", "sigmoid", both)
        r, z = (
            builder.part(f"{at}.{name}", both, 2, k * hidden, hidden) for k, name in enumerate("rz")
        )
        if back:
            past = builder.part(f"{at}.n.back", back, 2, 2 * hidden, hidden)
            reset = builder.put(f"{at}.reset", "multiply", (r, past))
        else:  # before the first step h is 0, and the bias is left
            roles = {"scale": f"{place}.late", "shift": "constant 0"}
            reset = builder.put(f"{at}.reset", "affine", (r,), None, roles)
        new = builder.put(f"{at}.n.sum", "add", (wanted, reset))
        new = _function(builder, f"{at}.n", "tanh", new)
        change = builder.scaled(f"{at}.less", new, -1.0, 0.0)
        if states:
            change = builder.put(f"{at}.change", "add", (states[-1], change))
        change = builder.put(f"{at}.stays", "multiply", (z, change))
        states.append(builder.put(f"{at}.state", "add", (new, change)))
    return states
