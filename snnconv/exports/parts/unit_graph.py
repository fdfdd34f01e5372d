"""A spiking network whose thresholds are 1 and whose spikes carry 1, as a list of layers.

Other programs' neurons have one threshold for a layer, and spikes without an amplitude. So the
weights say both: if theta_in and theta_out are the thresholds of the neurons before and behind a
layer, its weight is ``W * theta_in / theta_out`` and its bias ``b / theta_out``. An identity
shortcut between neurons of other thresholds becomes a convolution of one place. A sum is no layer:
a layer reads the sum of its sources.

Shape:
    Layers compute ``[B, *N] -> [B, *M]`` at each step; weights are ``[D, C, *K]`` without groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.errors import Obstacle
from snnconv.exports.base import RunResult, Subject
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.network import Shape, attributes, node_tensors
from snnconv.graph.operations.pooling import Adaptive, AvgPool, Mean
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.base import Neuron
from snnconv.neurons.if_ import IF
from snnconv.neurons.lif import LIF

NOTHING = ("dropout", "identity")
"""Operations that are nothing in inference."""

_EVERYTHING = "export with --to onnx or --to torch, which take every operation"
_NORMED = f"{_EVERYTHING}; or train with a norm that is folded into the weights: --norm tdbn"


@dataclass(frozen=True)
class Window:
    """Kernel, stride, padding and dilation of a layer, one number an axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: a name of Python's, of its own.
        kind: what it is; a ``sum`` is a pooling that does not divide.
        sources: the layers whose sum it reads; ``input`` is the network's input.
        shape: the shape of its input, for one sample.
        site: the node of the network, if these are neurons.
        weight: the weights of a convolution or matrix.
        gain: of a convolution of one place that only scales, one for each channel; its weight says
            so too.
        bias: its bias, ``[D]``.
        window: the window of a convolution or pooling.
    """

    name: str
    kind: Literal["neurons", "conv", "linear", "average", "sum", "flatten"]
    sources: tuple[str, ...]
    shape: Shape
    site: str = ""
    weight: Tensor | None = None
    gain: Tensor | None = None
    bias: Tensor | None = None
    window: Window | None = None


@dataclass(frozen=True)
class UnitGraph:
    """The layers, each behind those that it reads, and the layers whose sum is the output."""

    layers: tuple[Layer, ...]
    output: tuple[str, ...]

    @property
    def sites(self) -> dict[str, str]:
        """The layers of neurons by the nodes of the network."""
        return {layer.site: layer.name for layer in self.layers if layer.site}


def obstacles(
    subject: Subject, called: str, initial: bool, neurons: tuple[type, ...] = (IF, LIF)
) -> Iterator[Obstacle]:
    """Return what can't be expressed with these layers and neurons.

    Args:
        subject: what is exported.
        called: the format's name, as users write it.
        initial: whether its neurons may start with a potential.
        neurons: those that it has.
    """
    yield from _of_neurons(subject, called, initial, neurons)
    yield from _of_graph(subject, called)


def _of_neurons(
    subject: Subject, called: str, initial: bool, kinds: tuple[type, ...]
) -> Iterator[Obstacle]:
    """Return what the neurons do that the format's do not."""
    network, neurons = subject.network, f"neuron '{subject.info.neuron}'"
    for site, neuron in network.neurons.items():
        if neuron.norm is not None:
            found = f"a threshold of normalised potentials; {called} resets by what it compares"
            yield Obstacle(site, found, _NORMED)
    for neuron in network.neurons.values():
        if type(neuron) not in kinds:
            levels = f"spikes of several levels or of both signs, which {called} does not have"
            other = f"other equations than those of {called}'s neurons"
            found = levels if neuron.levels > 1 or neuron.signed else other
            yield Obstacle(neurons, found, _other(neuron))
            return
    if (v0 := getattr(subject.params, "v0", 0)) and not initial:
        found = f"an initial potential of {v0:g} theta; {called} starts at 0"
        yield Obstacle(neurons, found, "convert with --param v0=0")
    if (coding := subject.info.coding) != "rate":
        found = "spikes that are changes of what a neuron sends"
        yield Obstacle(f"coding '{coding}'", found, "convert with --coding rate")
    if network.confidence is not None:
        yield Obstacle("spike confidence", "random numbers", "convert with --confidence off")


def _other(neuron: Neuron[object]) -> str:
    """Return what to do with a neuron that is neither IF nor LIF."""
    if neuron.single_threshold() is not None:
        return "make it one of single thresholds first: snnconv reparameterize --vanilla"
    return "convert to neurons that it has: snnconv convert --neuron if --param v0=0"


def _of_graph(subject: Subject, called: str) -> Iterator[Obstacle]:
    """Return operations that are not one of these layers."""
    average = "train with average pooling: snnconv train MODEL --activation qcfs --pool average"
    gates = f"{_EVERYTHING}; or train with blocks that add spikes: block=sew"
    shapes = subject.network.analysis.shapes
    for node in subject.network.network.graph.nodes:
        given = shapes[node.inputs[0]]
        match OPS[node.op].role:
            case Role.SITE:
                continue
            case Role.MAX:
                yield Obstacle(node.name, f"a max pooling, which {called} does not have", average)
                continue
            case Role.ANALOG:
                yield Obstacle(node.name, f"the function {node.op}, no neuron", _EVERYTHING)
                continue
            case Role.STEPWISE:
                yield Obstacle(node.name, f"a factor for each step ({node.op})", _NORMED)
                continue
            case Role.GATE:
                yield Obstacle(node.name, f"a gate of spikes ({node.op})", gates)
                continue
        match node.op:
            case "conv" if len(given) in (2, 3):
                continue
            case "linear" if len(given) == 1:
                continue
            case "add" | "dropout" | "identity":
                continue
            case "affine" if _scales_channels(subject, node):
                continue
            case "reshape" if len(shapes[node.name]) == 1:
                continue
            case "avg_pool" | "adaptive_avg_pool" | "mean" if pooling(node, given) is not None:
                continue
        yield Obstacle(node.name, f"the operation {node.op} of {list(given)}", _EVERYTHING)


def _scales_channels(subject: Subject, node: Node) -> bool:
    """Whether an affine map gives each channel a scale above zero, and adds nothing."""
    found = node_tensors(node, subject.network.network.tensors())
    scale, shift = found["scale"], found["shift"]
    return scale.dim() == 1 and bool((scale > 0).all()) and not shift.any()


def pooling(node: Node, given: Shape) -> Window | None:
    """Return the window of an average pooling of a value; None if no one window does it."""
    sizes = given[1:]
    if len(sizes) not in (1, 2):
        return None
    none = (0,) * len(sizes)
    match node.op:
        case "avg_pool":
            pool = attributes(node, AvgPool)
            padded = any(pool.padding) and not pool.count_include_pad
            fits = zip(sizes, pool.padding, pool.kernel, pool.stride, strict=True)
            if padded or (pool.ceil_mode and any((n + 2 * p - k) % s for n, p, k, s in fits)):
                return None
            return Window(tuple(pool.kernel), tuple(pool.stride), tuple(pool.padding))
        case "adaptive_avg_pool":
            bins = attributes(node, Adaptive).output
            if any(size % count for size, count in zip(sizes, bins, strict=True)):
                return None
            kernel = tuple(size // count for size, count in zip(sizes, bins, strict=True))
            return Window(kernel, kernel, none)
    if sorted(attributes(node, Mean).dims) != list(range(2, len(given) + 1)):
        return None
    return Window(sizes, sizes, none)


def unit_graph(subject: Subject, sums: bool = False) -> UnitGraph:
    """Return the layers of a network without :func:`obstacles`.

    Args:
        subject: what is exported.
        sums: whether pooling adds up, and the next weights take up the divisor.
    """
    return _Reader(subject, sums).graph()


def valued(result: RunResult, subject: Subject) -> RunResult:
    """Return the layers with the amplitude of a spike in their weights: it is 1 in the file."""
    neurons = subject.network.neurons
    spikes = {
        name: counts * per_neuron(neurons[name].threshold, counts.dim() - 1)
        for name, counts in result.spikes.items()
    }
    return replace(result, spikes=spikes)


def layer_name(wanted: str, op: str, taken: set[str]) -> str:
    """Return a name of Python's that no layer has, and take it.

    Args:
        wanted: what it is to be like.
        op: what stands before a name that begins with no letter.
        taken: the names that there are.
    """
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in wanted)
    name = name if name[:1].isalpha() else f"{op}_{name}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


class _Reader:
    """A graph in the making.

    Every value of the network has a factor ``[]`` or ``[C]`` by which the layer's value is larger:
    1 by theta behind neurons, and what the next threshold asks for behind weights.
    """

    def __init__(self, subject: Subject, sums: bool) -> None:
        network = subject.network
        self.sums, self.source = sums, network.network.graph
        self.analysis, self.neurons = network.analysis, network.neurons
        self.tensors = network.network.tensors()
        self.taken = {INPUT, "output"}
        self.layers: list[Layer] = []
        self.sources: dict[str, tuple[str, ...]] = {INPUT: (INPUT,)}
        self.factors: dict[str, Tensor] = {INPUT: torch.ones(())}

    def graph(self) -> UnitGraph:
        """Return the whole graph."""
        for node in self.source.nodes:
            self._add(node)
        output = self._scaled(self.source.output, torch.ones(()))
        return UnitGraph(tuple(self.layers), output)

    def _put(self, node: Node, layer: Layer, factor: Tensor) -> None:
        """Place a layer that gives a node's value."""
        self.layers.append(layer)
        self.sources[node.name], self.factors[node.name] = (layer.name,), factor

    def _add(self, node: Node) -> None:
        name, *_ = node.inputs
        if node.name in self.neurons:
            factor = 1 / self.neurons[node.name].threshold
            given, shape = self._scaled(name, factor), self.analysis.shapes[name]
            made = Layer(
                layer_name(node.name, "neurons", self.taken), "neurons", given, shape, node.name
            )
            self._put(node, made, factor)
        elif node.op in ("conv", "linear"):
            self._weighted(node)
        elif node.op == "add":
            wanted = self._wanted(node.name)
            parts = [self._scaled(each, wanted) for each in node.inputs]
            self.sources[node.name] = tuple(source for part in parts for source in part)
            self.factors[node.name] = wanted
        elif node.op in (*NOTHING, "affine") or len(self.analysis.shapes[name]) == 1:
            scale = node_tensors(node, self.tensors).get("scale", torch.ones(()))
            self.sources[node.name] = self.sources[name]
            self.factors[node.name] = self.factors[name] / scale.detach()  # for the next weights
        elif node.op == "reshape":
            shape = self.analysis.shapes[name]
            self._put(node, self._flat(node, self.sources[name], shape), self._row(name))
        else:
            self._pool(node)

    def _wanted(self, name: str) -> Tensor:
        """Return the factor that a value should have, because neurons behind it ask for it."""
        readers = self.analysis.readers[name]
        if len(readers) != 1:
            return torch.ones(())
        (reader,) = readers
        if reader.name in self.neurons:
            return 1 / self.neurons[reader.name].threshold
        if reader.op in ("add", *NOTHING):
            return self._wanted(reader.name)
        return torch.ones(())

    def _scaled(self, name: str, wanted: Tensor) -> tuple[str, ...]:
        """Return the layers whose sum is a value at a factor; a 1x1 convolution makes it so."""
        has, shape = self.factors[name], self.analysis.shapes[name]
        if torch.equal(*torch.broadcast_tensors(has, wanted)):
            return self.sources[name]
        gain, axes = (wanted / has).expand(shape[0]), len(shape) - 1
        weight = torch.diag(gain).reshape(shape[0], shape[0], *_ones(shape))
        one, none = (1,) * axes, (0,) * axes
        made = Layer(
            layer_name(f"{name}_scaled", "scale", self.taken),
            "linear" if axes == 0 else "conv",
            self.sources[name],
            shape,
            weight=weight,
            gain=gain,
            bias=torch.zeros(shape[0]),
            window=Window(one, one, none, one),
        )
        self.layers.append(made)
        return (made.name,)

    def _weighted(self, node: Node) -> None:
        """Return a convolution or matrix whose weights take up both factors."""
        found, (name,) = node_tensors(node, self.tensors), node.inputs
        weight, bias = found["weight"].detach(), found.get("bias")
        wanted, window = self._wanted(node.name), None
        if node.op == "conv":
            conv = attributes(node, Conv)
            weight = _ungrouped(weight, conv.groups)
            where = (tuple(each) for each in (conv.stride, conv.padding, conv.dilation))
            window = Window(tuple(weight.shape[2:]), *where)
        given = self.factors[name].expand(weight.shape[1])
        out = wanted.expand(weight.shape[0])
        weight = weight / given.reshape(1, -1, *_ones(weight.shape[1:]))
        weight = weight * out.reshape(-1, *_ones(weight.shape))
        bias = torch.zeros(weight.shape[0]) if bias is None else bias.detach() * out
        made = Layer(
            layer_name(node.name, node.op, self.taken),
            "linear" if window is None else "conv",
            self.sources[name],
            self.analysis.shapes[name],
            weight=weight,
            bias=bias,
            window=window,
        )
        self._put(node, made, wanted)

    def _row(self, name: str) -> Tensor:
        """Return the factor of a flattened value, in which channels are blocks."""
        shape, factor = self.analysis.shapes[name], self.factors[name]
        places = torch.Size(shape).numel() // shape[0]
        return factor if factor.numel() == 1 else factor.repeat_interleave(places)

    def _flat(self, node: Node, sources: tuple[str, ...], shape: Shape) -> Layer:
        return Layer(
            layer_name(f"{node.name}_flat", "flatten", self.taken), "flatten", sources, shape
        )

    def _pool(self, node: Node) -> None:
        """Return an average pooling, or a sum whose divisor the next weights take up."""
        (name,) = node.inputs
        shape, factor = self.analysis.shapes[name], self.factors[name]
        window = pooling(node, shape)
        assert window is not None
        called, kind = layer_name(node.name, "pool", self.taken), "sum" if self.sums else "average"
        made = Layer(called, kind, self.sources[name], shape, window=window)  # type: ignore[arg-type]
        places = torch.Size(window.kernel).numel()
        self._put(node, made, factor * places if self.sums else factor)
        if len(self.analysis.shapes[node.name]) == 1:  # a mean that drops its axes
            flat = self._flat(node, (called,), (shape[0], *[1] * len(window.kernel)))
            self._put(node, flat, self.factors[node.name])


def _ones(shape: Shape | torch.Size) -> list[int]:
    """Return a 1 for each axis behind the first."""
    return [1] * (len(shape) - 1)


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Return the weight of one group ``[D, C, *K]``; 0 where groups do not see each other."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    whole = weight.new_zeros(weight.shape[0], inputs * groups, *weight.shape[2:])
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        whole[rows, g * inputs : (g + 1) * inputs] = weight[rows]
    return whole
