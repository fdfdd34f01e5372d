"""Write out a trained LSTM or GRU with clipped-linear gates, which neurons can compute.

The hard sigmoid is ``clip(s*x + 1/2, 0, 1)`` and the hard tanh ``2*clip(2*s*x + 1/2, 0, 1) - 1``:
each is a site of the graph with a ceiling of 1, and constants. A site's neuron sends no negative
values; the bias of 1/2 shifts them, so that half of its range means negative ones. A hidden state
lies within -1..1 and passes a site of the same kind, which changes nothing in the ANN and makes
spikes for the matrices. So matrices see spikes, and only the products of two activations (three of
H numbers a step in an LSTM, two in a GRU) are computed outside the spiking domain. The network is
as long as the sequence: 19 nodes for each step, layer and direction of an LSTM.

With ``h~ = h/2 + 1/2``, ``d = c/2``, and the slopes in the weights, a step of an LSTM is::

    u = clip(W x[t] + U h~[t-1], 0, 1)            i, f, g, o are the four parts of u
    d[t] = f*d[t-1] + i*(g - 1/2)
    h~[t] = clip(o*(clip(4*s*d[t] + 1/2, 0, 1) - 1/2) + 1/2, 0, 1)

and one of a GRU, with ``k = h/2`` and ``r, z, n`` the three parts::

    n = clip(W_n x[t] + r*(U_n h~[t-1]), 0, 1)
    k[t] = (n - 1/2) + z*(k[t-1] - (n - 1/2));    h~[t] = clip(k[t] + 1/2, 0, 1)

Shape:
    The nodes of a step are ``[B, 1, H]``, or ``[B, 1, 4*H]``; the result is that of the recurrence.

Reference:
    Hard gates: Courbariaux et al. 2015 (*BinaryConnect*) for the sigmoid; the GRU and LSTM are
    PyTorch's.

Deviations:
    ``s`` is :data:`SLOPE` and not the tangent's 1/4. Dropout between layers is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import attributes
from snnconv.graph.operations.activation import Relu
from snnconv.graph.operations.base import Along, Attributes
from snnconv.graph.operations.normalisation import Affine
from snnconv.graph.operations.sequence import GATES, Recurrent, names
from snnconv.graph.operations.wiring import Slice

SLOPE = 0.1775
"""The slope at which the hard sigmoid is nearest to the sigmoid: 0.056 apart (1/4: 0.119)."""


def unroll(
    graph: Graph, tensors: Mapping[str, Tensor], slope: float = SLOPE
) -> tuple[Graph, dict[str, Tensor]]:
    """Return the network with every recurrence as sites and products.

    Args:
        graph: the network.
        tensors: the tensors of the network.
        slope: the slope of the hard sigmoid, in 0..1/2.
    """
    sizes, builder = Analysis.of(graph, tensors).shapes, Builder(dict(tensors))
    for node in graph.nodes:
        if node.op in GATES:
            direction = partial(_lstm if node.op == "lstm" else _gru, slope)
            length = sizes[node.inputs[0]][0]
            states = recurrence(builder, node, tensors, length, direction)
            builder.scaled(node.name, states, 2.0, -1.0)
        else:
            builder.nodes.append(node)
    return finished(graph, builder)


def finished(graph: Graph, builder: "Builder") -> tuple[Graph, dict[str, Tensor]]:
    """Return the graph of a builder's nodes, with the tensors that they use."""
    unrolled = Graph(graph.input_shape, tuple(builder.nodes), graph.output)
    return unrolled, {name: builder.tensors[name] for name in sorted(unrolled.tensor_names())}


@dataclass(frozen=True)
class Direction:
    """One direction of one layer of a recurrence.

    Attributes:
        place: the name of the direction.
        below: the sequence that it reads, ``[B, L, F]``.
        own: PyTorch's tensors, in float64.
        order: the order of the places.
        layer: the number of the layer; from 1 on it reads states.
    """

    place: str
    below: str
    own: Mapping[str, Tensor]
    order: range
    layer: int


@dataclass
class Builder:
    """The nodes and tensors so far."""

    tensors: dict[str, Tensor]
    nodes: list[Node] = field(default_factory=list)

    def put(
        self,
        name: str,
        op: str,
        inputs: tuple[str, ...],
        attrs: Attributes | None = None,
        tensors: Mapping[str, str] | None = None,
    ) -> str:
        """Add a node, and return its name."""
        values = attrs.json_values() if attrs else {}
        self.nodes.append(Node(name, op, inputs, values, tensors or {}))
        return name

    def site(self, name: str, x: str) -> str:
        """Add a site that computes ``clip(x, 0, 1)``."""
        return self.put(name, "relu", (x,), Relu(ceiling=1.0))

    def scaled(self, name: str, x: str, scale: float, shift: float) -> str:
        """Add ``scale*x + shift``, which training leaves as it is."""
        roles = {"scale": f"constant {scale:g}", "shift": f"constant {shift:g}"}
        self.tensors |= {
            roles["scale"]: torch.tensor([scale]),
            roles["shift"]: torch.tensor([shift]),
        }
        return self.put(name, "affine", (x,), Affine(fixed=True), roles)

    def part(self, name: str, x: str, dim: int, start: int, size: int) -> str:
        """Add a slice: some places of an axis."""
        places = Slice(dim=dim, start=start, stop=start + size, step=1)
        return self.put(name, "slice", (x,), places)

    def linear(self, name: str, x: str, tensors: str) -> str:
        """Add a linear layer with the weights and biases of a name, which several steps share."""
        roles = {role: f"{tensors}.{role}" for role in ("weight", "bias")}
        return self.put(name, "linear", (x,), None, roles)

    def keep(self, name: str, weight: Tensor, bias: Tensor) -> str:
        """Keep weights and biases under a name, in float32; return the name."""
        self.tensors |= {f"{name}.weight": weight.float(), f"{name}.bias": bias.float()}
        return name


def recurrence(
    builder: Builder,
    node: Node,
    tensors: Mapping[str, Tensor],
    length: int,
    direction: Callable[[Builder, Direction], list[str]],
) -> str:
    """Write out all layers of a node, each direction by one function; return the last states."""
    (below,) = node.inputs
    for layer, parts in enumerate(names(attributes(node, Recurrent))):
        sequences = []
        for way, roles in enumerate(parts):
            own = {kind: tensors[node.tensors[role]].double() for kind, role in roles.items()}
            place = f"{node.name}.l{layer}" + (".reverse" if way else "")
            order = range(length - 1, -1, -1) if way else range(length)
            states = direction(builder, Direction(place, below, own, order, layer))
            states = states[::-1] if way else states
            sequences.append(builder.put(f"{place}.states", "concat", tuple(states), Along(dim=1)))
        below = sequences[0]
        if len(sequences) > 1:
            both = f"{node.name}.l{layer}.both"
            below = builder.put(both, "concat", tuple(sequences), Along(dim=2))
    return below


def _matrices(
    builder: Builder, place: str, own: Mapping[str, Tensor], scale: Tensor, coded: bool
) -> tuple[str, str]:
    """Add the two matrices of a direction, for states that are coded as ``h/2 + 1/2``.

    Args:
        builder: takes the tensors.
        place: the name of the matrices.
        own: PyTorch's tensors.
        scale: the slope at each row, ``[G*H]``.
        coded: whether the inputs are states, too.
    """
    rows = scale[:, None] * own["weight_ih"], scale[:, None] * own["weight_hh"]
    zero = torch.zeros_like(scale)
    inputs, states = (scale * own.get(f"bias_{kind}", zero) for kind in ("ih", "hh"))
    # W h = 2 W h~ - W 1
    given = builder.keep(
        f"{place}.input",
        2 * rows[0] if coded else rows[0],
        inputs + 0.5 - (rows[0].sum(1) if coded else 0),
    )
    return given, builder.keep(f"{place}.state", 2 * rows[1], states - rows[1].sum(1))


def _lstm(slope: float, builder: Builder, way: Direction) -> list[str]:
    """Return the coded states ``[B, 1, H]`` of one direction, in the order of computation."""
    place, own, order = way.place, way.own, way.order
    hidden = own["weight_hh"].shape[1]
    scale = slope * torch.tensor([1.0, 1, 2, 1], dtype=torch.float64).repeat_interleave(hidden)
    if "bias_hh" in own:  # one bias is enough, because the first step has no other matrix
        both = {"bias_ih": own["bias_ih"] + own["bias_hh"], "bias_hh": 0 * own["bias_hh"]}
        own = {**own, **both}
    given, state = _matrices(builder, place, own, scale, way.layer > 0)
    inputs = builder.linear(f"{place}.inputs", way.below, given)
    states: list[str] = []
    cell = ""
    for t in order:
        at = f"{place}.t{t}"
        gates = builder.part(f"{at}.input", inputs, 1, t, 1)
        if states:
            back = builder.linear(f"{at}.back", states[-1], state)
            gates = builder.put(f"{at}.sum", "add", (gates, back))
        gates = builder.site(f"{at}.gates", gates)
        i, f, g, o = (
            builder.part(f"{at}.{name}", gates, 2, k * hidden, hidden)
            for k, name in enumerate("ifgo")
        )
        new = builder.scaled(f"{at}.new", g, 1.0, -0.5)
        new = builder.put(f"{at}.enters", "multiply", (i, new))
        if states:
            old = builder.put(f"{at}.stays", "multiply", (f, cell))
            new = builder.put(f"{at}.cell", "add", (old, new))
        cell = new
        out = builder.site(f"{at}.tanh", builder.scaled(f"{at}.slope", cell, 4 * slope, 0.5))
        out = builder.scaled(f"{at}.signed", out, 1.0, -0.5)
        out = builder.put(f"{at}.leaves", "multiply", (o, out))
        states.append(builder.site(f"{at}.state", builder.scaled(f"{at}.coded", out, 1.0, 0.5)))
    return states


def _gru(slope: float, builder: Builder, way: Direction) -> list[str]:
    """Return the coded states ``[B, 1, H]`` of one direction, in the order of computation."""
    place, own, order = way.place, way.own, way.order
    hidden = own["weight_hh"].shape[1]
    scale = slope * torch.tensor([1.0, 1, 2], dtype=torch.float64).repeat_interleave(hidden)
    given, state = _matrices(builder, place, own, scale, way.layer > 0)
    inputs = builder.linear(f"{place}.inputs", way.below, given)
    # before the first step h~ is 1/2 and k is 0
    first = builder.part(f"{place}.first", inputs, 1, order[0], 1)
    first = builder.part(f"{place}.width", first, 2, 0, hidden)
    nothing = builder.scaled(f"{place}.zero", first, 0.0, 0.0)
    coded_state, half = builder.scaled(f"{place}.half", nothing, 1.0, 0.5), nothing
    states: list[str] = []
    for t in order:
        at = f"{place}.t{t}"
        x = builder.part(f"{at}.input", inputs, 1, t, 1)
        back = builder.linear(f"{at}.back", coded_state, state)
        gates, new = (
            (
                builder.part(f"{at}.{name}.x", x, 2, start, size),
                builder.part(f"{at}.{name}.h", back, 2, start, size),
            )
            for name, start, size in (("gates", 0, 2 * hidden), ("new", 2 * hidden, hidden))
        )
        both = builder.site(f"{at}.gates", builder.put(f"{at}.gates.sum", "add", gates))
        r, z = (
            builder.part(f"{at}.{name}", both, 2, k * hidden, hidden) for k, name in enumerate("rz")
        )
        reset = builder.put(f"{at}.reset", "multiply", (r, new[1]))
        n = builder.site(f"{at}.new", builder.put(f"{at}.new.sum", "add", (new[0], reset)))
        less = builder.scaled(f"{at}.less", n, -1.0, 0.5)
        change = builder.put(f"{at}.change", "add", (half, less))
        change = builder.put(f"{at}.stays", "multiply", (z, change))
        signed = builder.scaled(f"{at}.signed", n, 1.0, -0.5)
        half = builder.put(f"{at}.half", "add", (signed, change))
        coded_state = builder.site(f"{at}.state", builder.scaled(f"{at}.coded", half, 1.0, 0.5))
        states.append(coded_state)
    return states
