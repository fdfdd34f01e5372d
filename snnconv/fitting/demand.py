"""What a network requires of a chip: layers of neurons, and the synapses before them.

A layer is the neurons of a site, and every matrix and kernel whose currents reach them without
other neurons between. The last layer is the output, which has no neurons. Any other operation, such
as a function or a concatenation, is listed by itself.

Shape:
    Shapes are those of one sample, without the batch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from snnconv.errors import Obstacle
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.network import Shape, attributes
from snnconv.graph.operations.pooling import Adaptive, MaxPool, Mean, Pool
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.base import Neuron
from snnconv.simulation.network import SpikingNetwork

OUTPUT = "output"
_NORM = "train with a norm that is folded into the weights: --norm tdbn"
THROUGH = ("add", "dropout", "identity", "reshape")


@dataclass(frozen=True)
class Pooling:
    """A pooling between a layer's spikes and the weights behind it.

    Attributes:
        node: the name of the node.
        kind: whether it adds up, takes the largest, or averages whole maps.
        kernel: the size of the window, one number for each axis.
        stride: the stride of the window.
        padding: the padding.
    """

    node: str
    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]


@dataclass(frozen=True)
class Synapses:
    """A matrix or kernel, or the identity of a shortcut.

    Attributes:
        node: the name of the node.
        kind: whether it is a matrix, a kernel or an identity.
        sources: the layers whose spikes it reads, and ``input``.
        given: the shape that it reads; that of the map, for a matrix behind a flattened map.
        gives: the shape of its currents.
        weights: the number of stored weights.
        biases: the number of stored biases.
        kernel: the size of the kernel, one number for each axis; empty for a matrix.
        stride: the stride of the kernel.
        padding: the padding of the kernel.
        dilation: the dilation of the kernel.
        groups: the groups of the kernel.
        fan_in: the synapses of one neuron.
        pools: the poolings between its sources and it.
    """

    node: str
    kind: str
    sources: tuple[str, ...]
    given: Shape
    gives: Shape
    weights: int
    biases: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    fan_in: int = 1
    pools: tuple[Pooling, ...] = ()

    @property
    def synapses(self) -> int:
        """The number of connections, with those to padding."""
        return math.prod(self.gives) * self.fan_in


@dataclass(frozen=True)
class Layer:
    """The neurons of a site, or the output.

    Attributes:
        name: the name of the site, or ``output``.
        shape: the shape of its neurons.
        neuron: the neurons; None at the output.
        synapses: everything whose currents reach them.
    """

    name: str
    shape: Shape
    neuron: Neuron[object] | None
    synapses: tuple[Synapses, ...]

    @property
    def first(self) -> bool:
        """Whether it reads the network's input."""
        return any(INPUT in each.sources for each in self.synapses)

    @property
    def neurons(self) -> int:
        """How many."""
        return math.prod(self.shape)

    @property
    def weights(self) -> int:
        """How many are stored."""
        return sum(each.weights for each in self.synapses)

    @property
    def sources(self) -> frozenset[str]:
        """The layers that it reads."""
        return frozenset(name for each in self.synapses for name in each.sources)


@dataclass(frozen=True)
class Demand:
    """What a network requires.

    Attributes:
        layers: the layers, in the order of the graph.
        neuron: the neuron, as ``--neuron`` names it.
        frames: whether the input comes as frames of events.
        others: the operations that belong to no layer.
    """

    layers: tuple[Layer, ...]
    neuron: str
    frames: bool
    others: tuple[Obstacle, ...] = ()

    def readers(self, name: str) -> int:
        """Return how many layers read one."""
        return sum(name in layer.sources for layer in self.layers)


def demand(network: SpikingNetwork, neuron: str) -> Demand:
    """Return what a network requires.

    Args:
        network: the network, with BatchNorm folded.
        neuron: the neuron, as ``--neuron`` names it.
    """
    return _Reader(network).demand(neuron)


@dataclass
class _Found:
    """What lies on the way back from the input of weights."""

    sources: list[str] = field(default_factory=list)
    pools: list[Pooling] = field(default_factory=list)


class _Reader:
    """Reads a graph backwards, from each site and from the output."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.network, self.analysis = network, network.analysis
        self.graph = network.network.graph
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.others: dict[str, Obstacle] = {}

    def demand(self, neuron: str) -> Demand:
        layers = []
        for node in self.graph.nodes:
            if node.name in self.network.neurons:
                if self.network.neurons[node.name].norm is not None:
                    self._other(node, "a threshold of potentials that were normalised", _NORM)
                layers.append(self._layer(node.name, node.inputs[0]))
        layers.append(self._layer(OUTPUT, self.graph.output))
        frames = self.network.hold is not None
        return Demand(tuple(layers), neuron, frames, tuple(self.others.values()))

    def _layer(self, name: str, end: str) -> Layer:
        found = tuple(self._synapses(end))
        neuron = self.network.neurons.get(name)
        return Layer(name, self.analysis.shapes[name if neuron else end], neuron, found)

    def _synapses(self, name: str) -> Iterator[Synapses]:
        """Return the synapses whose currents add up to a value."""
        node = self.nodes.get(name)
        if node is not None and OPS[node.op].role is Role.SYNAPSE:
            yield from self._weighted(node)
        elif node is not None and node.op in THROUGH and node.name not in self.network.neurons:
            for each in node.inputs:
                yield from self._synapses(each)
        elif node is not None and OPS[node.op].role is Role.STEPWISE:
            self._other(node, "a factor for each step", _NORM)
            yield from self._synapses(node.inputs[0])
        else:
            sources = _Found()
            self._behind(name, sources)
            shape = self.analysis.shapes[name]
            yield Synapses(
                f"{name} as it is",
                "identity",
                tuple(dict.fromkeys(sources.sources)),
                shape,
                shape,
                weights=shape[0],
                biases=0,
                pools=tuple(sources.pools),
            )

    def _weighted(self, node: Node) -> Iterator[Synapses]:
        (name, *_), shapes = node.inputs, self.analysis.shapes
        if node.op not in ("conv", "linear") or (node.op == "linear" and len(shapes[name]) > 1):
            self._other(node, f"the operation {node.op} of {list(shapes[name])}")
            return
        found = _Found()
        self._behind(name, found)
        tensors = self.analysis.tensor_shapes
        weight = tensors[node.tensors["weight"]]
        bias = tensors[node.tensors["bias"]][0] if "bias" in node.tensors else 0
        where = {}
        if node.op == "conv":
            conv = attributes(node, Conv)
            where = {
                "kernel": weight[2:],
                "stride": tuple(conv.stride),
                "padding": tuple(conv.padding),
                "dilation": tuple(conv.dilation),
            }
        yield Synapses(
            node.name,
            node.op,
            tuple(dict.fromkeys(found.sources)),
            shapes[self._map(name)],
            shapes[node.name],
            math.prod(weight),
            bias,
            groups=attributes(node, Conv).groups if node.op == "conv" else 1,
            fan_in=math.prod(weight[1:]),
            pools=tuple(found.pools),
            **where,
        )

    def _map(self, name: str) -> str:
        """Return the value that was flattened into a row."""
        node = self.nodes.get(name)
        while node is not None and node.op in ("reshape", "dropout", "identity"):
            name = node.inputs[0]
            node = self.nodes.get(name)
        return name

    def _behind(self, name: str, found: _Found) -> None:
        """Continue to the layers whose spikes a value carries."""
        node = self.nodes.get(name)
        if node is None or node.name in self.network.neurons:
            found.sources.append(name)
            return
        role = OPS[node.op].role
        if pooling := self._pooling(node):
            found.pools.append(pooling)
        elif role is Role.SYNAPSE:
            found.sources.append(name)
            other = "put an activation between them, or multiply them into one matrix"
            self._other(node, "weights behind weights, with no neurons between", other)
            return
        elif role is Role.ANALOG:
            self._other(node, f"the function {node.op}, no neuron")
        elif node.op not in THROUGH:
            self._other(node, f"the operation {node.op}")
        for each in node.inputs:
            self._behind(each, found)

    def _pooling(self, node: Node) -> Pooling | None:
        """Return the window of a pooling."""
        given = self.analysis.shapes[node.inputs[0]]
        sides, none = given[1:], (0,) * len(given[1:])
        match node.op:
            case "avg_pool" | "max_pool":
                typed: Pool = attributes(node, MaxPool if node.op == "max_pool" else Pool)
                kind = "max" if node.op == "max_pool" else "sum"
                kernel = tuple(typed.kernel)
                kind = "global-average" if kind == "sum" and kernel == sides else kind
                return Pooling(node.name, kind, kernel, tuple(typed.stride), tuple(typed.padding))
            case "adaptive_avg_pool" | "adaptive_max_pool":
                bins = attributes(node, Adaptive).output
                kernel = tuple(-(-n // b) for n, b in zip(sides, bins, strict=True))
                if any(n % b for n, b in zip(sides, bins, strict=True)):
                    return None
                largest = node.op == "adaptive_max_pool"
                kind = "max" if largest else "global-average" if set(bins) == {1} else "sum"
                return Pooling(node.name, kind, kernel, kernel, none)
            case "mean" if sides and sorted(attributes(node, Mean).dims) == [
                *range(2, len(given) + 1)
            ]:
                return Pooling(node.name, "global-average", sides, sides, none)
        return None

    def _other(self, node: Node, found: str, remedy: str = "") -> None:
        remedy = remedy or "compute it outside the chip, or train a network of ReLUs without it"
        self.others.setdefault(node.name, Obstacle(node.name, found, remedy))
