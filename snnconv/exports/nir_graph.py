"""The graph of NIR that says what a spiking network does, see :mod:`snnconv.exports.nir`.

Shape:
    ``[*input] -> [classes]`` at each step.
"""

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from snnconv.exports.base import Subject
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.network import Shape, attributes, node_tensors
from snnconv.graph.operations.pooling import Adaptive, AvgPool, Mean
from snnconv.graph.operations.weighted import Conv
from snnconv.neurons.lif import LIF
from snnconv.neurons.lif import Params as LIFParams

NOTHING = ("dropout", "identity")
"""Operations that are nothing in inference."""


def node_names(subject: Subject) -> dict[str, str]:
    """A name in the file for each node: what torch takes for a module."""
    found: dict[str, str] = {INPUT: "input"}
    for node in subject.network.network.graph.nodes:
        name = "".join(c if c.isascii() and c.isalnum() else "_" for c in node.name)
        name = name if name[:1].isalpha() else f"{node.op}_{name}"
        while name in found.values() or name == "output":
            name += "_"
        found[node.name] = name
    return found


def window(node: Node, given: Shape) -> tuple[list[int], list[int], list[int]] | None:
    """Kernel, stride and padding of an average pooling; None if no one window does it."""
    sizes = list(given[1:])
    if len(sizes) not in (1, 2):
        return None
    match node.op:
        case "avg_pool":
            pool = attributes(node, AvgPool)
            padded = any(pool.padding) and not pool.count_include_pad
            fits = zip(sizes, pool.padding, pool.kernel, pool.stride, strict=True)
            if padded or (pool.ceil_mode and any((n + 2 * p - k) % s for n, p, k, s in fits)):
                return None
            return list(pool.kernel), list(pool.stride), list(pool.padding)
        case "adaptive_avg_pool":
            bins = attributes(node, Adaptive).output
            if any(size % count for size, count in zip(sizes, bins, strict=True)):
                return None
            kernel = [size // count for size, count in zip(sizes, bins, strict=True)]
            return kernel, kernel, [0] * len(kernel)
    mean = attributes(node, Mean)
    if sorted(mean.dims) != list(range(2, len(given) + 1)):
        return None
    return sizes, sizes, [0] * len(sizes)


class Writer:
    """Writes one graph.

    Every value of the network has a factor ``[]`` or ``[C]`` by which the file's value is larger: 1
    by theta behind neurons, and what the next threshold asks for behind weights.

    Args:
        nir: the package.
        subject: one without obstacles.
        pool: ``average`` or ``sum``.
        dt: seconds of a step.
    """

    def __init__(self, nir: Any, subject: Subject, pool: str, dt: float) -> None:
        self.nir, self.subject, self.pool, self.dt = nir, subject, pool, dt
        network = subject.network
        self.source = network.network.graph
        self.analysis, self.neurons = network.analysis, network.neurons
        self.tensors = network.network.tensors()
        self.names = node_names(subject)
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.sources: dict[str, list[str]] = {INPUT: ["input"]}
        self.factors: dict[str, Tensor] = {INPUT: torch.ones(())}

    def graph(self) -> Any:
        """The whole graph."""
        nir, info, data = self.nir, self.subject.info, self.subject.checkpoint.data
        self.nodes["input"] = nir.Input(_array(self.analysis.shapes[INPUT]))
        for node in self.source.nodes:
            self._add(node)
        end = self._scaled(self.source.output, torch.ones(()), "logits")
        self.nodes["output"] = nir.Output(_array(self.analysis.shapes[self.source.output]))
        self.edges += [(name, "output") for name in end]
        metadata = {
            "made_by": f"snnconv {version('snnconv')}",
            "checkpoint": self.subject.sha256,
            "timesteps": info.timesteps,
            "steps_a_frame": self.subject.network.hold or info.timesteps,
            "reset": "zero" if self._hard() else "subtract",
            "output": "mean over steps of the output are the logits",
            "mean": _array(data.mean, "float32"),
            "std": _array(data.std, "float32"),
            "scale": data.scale or 1.0,
        }
        return nir.NIRGraph(self.nodes, self.edges, metadata=metadata)

    def _add(self, node: Node) -> None:
        """Write a node; an addition is two edges into whatever reads it."""
        if node.name in self.neurons:
            theta = self.neurons[node.name].threshold
            given = self._scaled(node.inputs[0], 1 / theta, node.name)
            self._put(node, self._neuron(node), given, 1 / theta)
        elif node.op in ("conv", "linear"):
            self._weighted(node)
        elif node.op == "add":
            wanted = self._wanted(node.name)
            parts = [self._scaled(name, wanted, node.name) for name in node.inputs]
            self.sources[node.name] = [name for part in parts for name in part]
            self.factors[node.name] = wanted
        elif node.op in NOTHING:
            self.sources[node.name] = self.sources[node.inputs[0]]
            self.factors[node.name] = self.factors[node.inputs[0]]
        elif node.op == "reshape":
            self._flatten(node)
        else:
            self._pool(node)

    def _put(self, node: Node, made: Any, given: list[str], factor: Tensor) -> None:
        """Place a node behind others."""
        name = self.names[node.name]
        self.nodes[name] = made
        self.edges += [(source, name) for source in given]
        self.sources[node.name], self.factors[node.name] = [name], factor

    def _wanted(self, name: str) -> Tensor:
        """The factor that a value should have: what the neurons ask for that it goes to."""
        readers = self.analysis.readers[name]
        if len(readers) != 1:
            return torch.ones(())
        (reader,) = readers
        if reader.name in self.neurons:
            return 1 / self.neurons[reader.name].threshold
        if reader.op in ("add", *NOTHING):
            return self._wanted(reader.name)
        return torch.ones(())

    def _scaled(self, name: str, wanted: Tensor, before: str) -> list[str]:
        """The nodes whose sum is a value at a factor; a convolution of one place makes it so."""
        has, shape = self.factors[name], self.analysis.shapes[name]
        if torch.equal(*torch.broadcast_tensors(has, wanted)):
            return self.sources[name]
        share = (wanted / has).expand(shape[0])
        made = f"{self.names[name]}_to_{self.names.get(before, before)}"
        diagonal = torch.diag(share)
        self.nodes[made] = self._layer(shape, diagonal.reshape(*diagonal.shape, *_ones(shape)))
        self.edges += [(source, made) for source in self.sources[name]]
        return [made]

    def _layer(
        self, shape: Shape, weight: Tensor, bias: Tensor | None = None, conv: Conv | None = None
    ) -> Any:
        """A layer with weights on a value of this shape, as NIR states it."""
        bias = torch.zeros(weight.shape[0]) if bias is None else bias
        if len(shape) == 1:
            return self.nir.Affine(_numpy(weight), _numpy(bias))
        axes = len(shape) - 1
        where = [[1] * axes, [0] * axes, [1] * axes]
        if conv is not None:
            where = [list(conv.stride), list(conv.padding), list(conv.dilation)]
        if axes == 1:
            numbers = [each[0] for each in where]
            return self.nir.Conv1d(shape[1], _numpy(weight), *numbers, 1, _numpy(bias))
        pairs = [tuple(each) for each in where]
        return self.nir.Conv2d(tuple(shape[1:]), _numpy(weight), *pairs, 1, _numpy(bias))

    def _weighted(self, node: Node) -> None:
        """A convolution or matrix: its weights take up both factors."""
        found, (name,) = node_tensors(node, self.tensors), node.inputs
        weight, bias = found["weight"].detach(), found.get("bias")
        wanted = self._wanted(node.name)
        conv = attributes(node, Conv) if node.op == "conv" else None
        if conv is not None:
            weight = _ungrouped(weight, conv.groups)
        given = self.factors[name].expand(weight.shape[1])
        out = wanted.expand(weight.shape[0])
        weight = weight / given.reshape(1, -1, *_ones(weight.shape[1:]))
        weight = weight * out.reshape(-1, *_ones(weight.shape))
        bias = None if bias is None else bias.detach() * out
        made = self._layer(self.analysis.shapes[name], weight, bias, conv)
        self._put(node, made, self.sources[name], wanted)

    def _flatten(self, node: Node) -> None:
        """All numbers of a sample in a row; channels are blocks of them."""
        (name,) = node.inputs
        shape, factor = self.analysis.shapes[name], self.factors[name]
        if len(shape) == 1:
            self.sources[node.name], self.factors[node.name] = self.sources[name], factor
            return
        places = torch.Size(shape).numel() // shape[0]
        row = factor if factor.numel() == 1 else factor.repeat_interleave(places)
        self._put(node, self.nir.Flatten(_array(shape), 0, -1), self.sources[name], row)

    def _pool(self, node: Node) -> None:
        """An average pooling, or a sum whose divisor the next weights take up."""
        (name,) = node.inputs
        shape, factor = self.analysis.shapes[name], self.factors[name]
        found = window(node, shape)
        assert found is not None
        places = torch.Size(found[0]).numel()
        flat = len(self.analysis.shapes[node.name]) == 1
        if len(shape) == 2:
            weight = torch.diag(torch.full((shape[0],), 1 / places))
            weight = weight[..., None].expand(-1, -1, places).contiguous()
            _, stride, padding = found
            made = self.nir.Conv1d(
                shape[1], _numpy(weight), stride[0], padding[0], 1, 1, _numpy(torch.zeros(shape[0]))
            )
        else:
            kind = self.nir.SumPool2d if self.pool == "sum" else self.nir.AvgPool2d
            made = kind(*(_array(each) for each in found))
            factor = factor * places if self.pool == "sum" else factor
        self._put(node, made, self.sources[name], factor)
        if flat:  # a mean that drops its axes
            inner, name = [1] * (len(shape) - 1), f"{self.names[node.name]}_flat"
            self.nodes[name] = self.nir.Flatten(_array([shape[0], *inner]), 0, -1)
            self.edges.append((self.names[node.name], name))
            self.sources[node.name] = [name]

    def _hard(self) -> bool:
        params = self.subject.params
        return isinstance(params, LIFParams) and params.reset == "hard"

    def _neuron(self, node: Node) -> Any:
        """Neurons with a threshold of 1."""
        one = _numpy(torch.ones(self.analysis.shapes[node.name]))
        neuron = self.neurons[node.name]
        reset: dict[str, Any] = {"reset": "zero" if self._hard() else "subtract"}
        if not isinstance(neuron, LIF):
            return self.nir.IF(one, one, 0 * one, metadata=reset)
        decay, dt = neuron.params.decay, self.dt
        if decay == 1:
            return self.nir.IF(one * neuron.scale, one, 0 * one, metadata=reset)
        tau = dt / (1 - decay)
        return self.nir.LIF(
            one * tau,
            one * (neuron.scale * tau / dt),
            0 * one,
            one,
            0 * one,
            metadata=reset | {"dt": dt},
        )


def _ones(shape: Shape | torch.Size) -> list[int]:
    """A 1 for each axis behind the first."""
    return [1] * (len(shape) - 1)


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """The weight of one group ``[D, C, *K]``, with zeros where groups do not see each other."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    whole = weight.new_zeros(weight.shape[0], inputs * groups, *weight.shape[2:])
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        whole[rows, g * inputs : (g + 1) * inputs] = weight[rows]
    return whole


def _numpy(tensor: Tensor) -> Any:
    return tensor.detach().float().contiguous().numpy()


def _array(numbers: Any, dtype: str = "int64") -> Any:
    import numpy as np

    return np.array(list(numbers), dtype)
