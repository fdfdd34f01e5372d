"""A graph with its tensors as a network that runs, and the walk through a graph."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.core import distributed
from snnconv.errors import UnsupportedError, one_line
from snnconv.graph.ir import INPUT, SITES, Graph, Node
from snnconv.graph.operations.activation import Relu
from snnconv.graph.operations.base import A
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.operations.normalisation import Affine, BatchNorm, factor
from snnconv.graph.ops import OPS

Value = TypeVar("Value")
Shape = tuple[int, ...]
IMAGE = 3  # dimensions of a sample that is an image


class Walk(Generic[Value]):
    """The values of a graph's nodes, in its order; each is dropped after its last reader.

    Iterate over the nodes with the values of their inputs, and set each node's value before the
    next one.

    Args:
        graph: the graph.
        source: the value of the input.
    """

    def __init__(self, graph: Graph, source: Value) -> None:
        self._graph = graph
        self._values: dict[str, Value] = {INPUT: source}

    def __iter__(self) -> Iterator[tuple[Node, list[Value]]]:
        values, output = self._values, self._graph.output
        last_reader = {name: node.name for node in self._graph.nodes for name in node.inputs}
        for node in self._graph.nodes:
            yield node, [values[name] for name in node.inputs]
            for name in set(node.inputs):
                if last_reader[name] == node.name and name != output:
                    del values[name]

    def __setitem__(self, node: Node, value: Value) -> None:
        self._values[node.name] = value

    @property
    def output(self) -> Value:
        """Return the value of the output, when all nodes have a value."""
        return self._values[self._graph.output]


def walk(graph: Graph, source: Value, evaluate: Callable[[Node, list[Value]], Value]) -> Value:
    """Evaluate a graph node by node, and return the output's value.

    Args:
        graph: the graph.
        source: the value of the input.
        evaluate: computes a node's value from the values of its inputs.
    """
    values = Walk(graph, source)
    for node, inputs in values:
        values[node] = evaluate(node, inputs)
    return values.output


COPIES = 3
"""Of a node's value while it is computed: itself, and as libraries need it in memory's order."""


def most_alive(graph: Graph, held: Callable[[str], int], taken: Callable[[Node], int]) -> int:
    """Return the most numbers that exist at one time while a graph is walked.

    Args:
        graph: the network.
        held: how many a value has, by the name of its node or of the input.
        taken: how many a node takes while it is computed, without the values that are there.
    """
    last = {name: k for k, node in enumerate(graph.nodes) for name in node.inputs}
    most, alive = 0, {INPUT}
    for k, node in enumerate(graph.nodes):
        most = max(most, sum(map(held, alive)) + taken(node))
        alive = {name for name in alive | {node.name} if last.get(name, -1) > k}
    return most


def attributes(node: Node, kind: type[A]) -> A:
    """Return a node's attributes with their types.

    Args:
        node: a node that fits its operation.
        kind: the class of its operation's attributes.

    Raises:
        TypeError: the operation has attributes of another class.
    """
    found = OPS[node.op].typed(node.attrs)
    if not isinstance(found, kind):
        raise TypeError(f"{node.op} has {type(found).__name__}, not {kind.__name__}")
    return found


def ceiling(site: Node) -> float | None:
    """Return the value at which a site clips its ReLU; None if it does not, or has no ReLU."""
    return attributes(site, Relu).ceiling if site.op == "relu" else None


def function_name(node: Node) -> str:
    """Return the name of the function that a node computes."""
    return attributes(node, Pointwise).function if node.op == "pointwise" else node.op


def is_fixed(node: Node) -> bool:
    """Whether training leaves a node's tensors as they are."""
    return node.op == "affine" and attributes(node, Affine).fixed


def node_tensors(node: Node, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a node's tensors by role."""
    return {role: tensors[name] for role, name in node.tensors.items()}


def compute(node: Node, tensors: Mapping[str, Tensor], inputs: list[Tensor]) -> Tensor:
    """Return a node's value in inference, from inputs ``[B, *N]``."""
    return OPS[node.op].run(node.attrs, node_tensors(node, tensors), inputs)


_SAMPLES = 97  # no size of a layer, so that a node that takes samples for places does not fit
LARGEST_VALUE = 2**28
"""Numbers of a sample in one value: a gigabyte, which no network comes near to."""


def shapes(graph: Graph, tensor_shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of every node's value for one sample, without computing a value.

    :attr:`snnconv.graph.analysis.Analysis.shapes` keeps them.

    Raises:
        UnsupportedError: the attributes, tensors and inputs of a node do not fit.
    """
    found: dict[str, Shape] = {INPUT: graph.input_shape}
    meta = {name: torch.empty(shape, device="meta") for name, shape in tensor_shapes.items()}

    def unfit(node: Node, inputs: list[Tensor], found: str) -> UnsupportedError:
        return UnsupportedError(
            f"node '{node.name}' ({node.op}) can't be computed",
            f"{found}, for inputs of shape {[list(x.shape[1:]) for x in inputs]}",
            "look at its attributes and its tensors' shapes",
        )

    def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
        op, tensors = OPS[node.op], node_tensors(node, meta)
        try:
            value = op.outline(node.attrs, tensors, inputs)
        except Exception as error:  # whatever wrong attributes make an operation raise
            raise unfit(node, inputs, one_line(error)) from error
        wrong = op.rule(op.typed(node.attrs), [tuple(x.shape[1:]) for x in inputs], tensors)
        if wrong is None and (value.dim() < 1 or len(value) != _SAMPLES):
            wrong = "samples that it mixes"
        if wrong is None and value[0].numel() > LARGEST_VALUE:
            wrong = f"a value of {value[0].numel()} numbers a sample, more than {LARGEST_VALUE}"
        if wrong is not None:
            raise unfit(node, inputs, wrong)
        found[node.name] = tuple(value.shape[1:])
        return value

    try:
        source = torch.empty(_SAMPLES, *graph.input_shape, device="meta")
    except (RuntimeError, TypeError) as error:
        raise UnsupportedError(
            "the network's input can't be used",
            f"shape {list(graph.input_shape)}",
            "give it sizes above 0",
        ) from error
    walk(graph, source, evaluate)
    return found


_STATISTICS = ("mean", "var", "batches")


def _momentum(attrs: BatchNorm, roles: Mapping[str, Tensor]) -> float:
    """Return the share of a batch in the running statistics; without momentum, they are a mean."""
    if attrs.momentum is None:
        return 1 / float(roles["batches"].add_(1))
    return attrs.momentum


class Network(nn.Module):
    """A graph with its tensors: the ANN, to run or to train.

    Floating tensors are parameters, except for statistics of BatchNorm and tensors of a node with
    the attribute ``fixed``. In training mode, BatchNorm uses the statistics of the batch, and
    dropout acts.

    Attributes:
        synchronised: whether the batch is that of all processes together.

    Shape:
        ``[B, *input_shape] -> [B, classes]``.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.graph = graph
        self.synchronised = False
        self._attrs = {node.name: OPS[node.op].typed(node.attrs) for node in graph.nodes}
        statistics = {
            name
            for node in graph.nodes
            for role, name in node.tensors.items()
            if is_fixed(node) or (node.op == "batch_norm" and role in _STATISTICS)
        }
        # a module's attribute may have neither a name with a dot nor one of the module's own
        self._keys = {name: f"tensor {k}" for k, name in enumerate(sorted(graph.tensor_names()))}
        for name, key in self._keys.items():
            tensor = tensors[name].detach().clone()
            if name in statistics:
                self.register_buffer(key, tensor)
            else:
                self.register_parameter(key, nn.Parameter(tensor))

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its name in the graph."""
        value = getattr(self, self._keys[name])
        assert isinstance(value, Tensor)
        return value

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all tensors by their names in the graph, detached, on the CPU."""
        return {name: self.tensor(name).detach().cpu().contiguous().clone() for name in self._keys}

    def views(self) -> dict[str, Tensor]:
        """Return all tensors by their names in the graph, detached but not copied."""
        return {name: self.tensor(name).detach() for name in self._keys}

    def laid_out(self) -> "Network":
        """Bring weights for images into the layout that is fastest on a CPU; return the network.

        Weights of other convolutions stay as they are. ``to`` also sets the
        strides of weights with one input channel or a window of one place, by which a convolution
        chooses the layout of its output; ``contiguous`` would leave them.
        """
        if len(self.graph.input_shape) == IMAGE:
            for tensor in (*self.parameters(), *self.buffers()):
                if tensor.dim() == IMAGE + 1:
                    tensor.data = tensor.data.to(memory_format=torch.channels_last)
        return self

    def compute(self, node: Node, inputs: list[Tensor]) -> Tensor:
        """Return a node's value, in training or inference according to the module's mode."""
        roles = {role: self.tensor(name) for role, name in node.tensors.items()}
        if self.training and node.op == "batch_norm":
            statistics = roles["mean"], roles["var"]
            attrs = self._attrs[node.name]
            assert isinstance(attrs, BatchNorm)
            affine = factor(attrs, roles), roles.get("bias")
            momentum, eps = _momentum(attrs, roles), attrs.eps
            if self.synchronised:
                return distributed.batch_norm(inputs[0], *statistics, *affine, momentum, eps)
            return F.batch_norm(inputs[0], *statistics, *affine, True, momentum, eps)
        op = OPS[node.op]
        return (op.train if self.training else op.run)(self._attrs[node.name], roles, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return walk(self.graph, x, self.compute)


@torch.no_grad()
def ann_inputs(network: Network, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the ANN's logits ``[B, classes]``, and its pre-activations by site ``[B, *N]``."""
    inputs: dict[str, Tensor] = {}

    def evaluate(node: Node, values: list[Tensor]) -> Tensor:
        if node.op in SITES:
            inputs[node.name] = values[0]
        return network.compute(node, values)

    return walk(network.graph, x, evaluate), inputs
