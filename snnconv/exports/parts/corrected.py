"""Corrections that a network has words of its own for, so that every format has them.

A current ``[C]`` at every step adds to the biases of what gives it: of the convolution, of the
matrix or of the BatchNorm before the neurons; before an addition, to those of one summand. If
nothing there has a bias for each channel, the current becomes an affine map right before the
neurons. An increased amplitude becomes an affine map right behind them. Currents of single steps
and initial potentials stay corrections.

Shape:
    Currents and amplitudes ``[C]``.

Reference:
    Methods: "Corrections".

Deviations:
    A current in a bias is added before other currents in place of after them, so numbers change by
    rounding.
"""

from dataclasses import replace

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.checkpoint.corrections import keeping, place
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import has_channels_first
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.simulation.corrected import summed, weights


def stated(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with these corrections, and those of weights, in the network itself."""
    given = checkpoint.corrections
    said = {
        key: tensor
        for key, tensor in given.items()
        if place(key).part in ("current", "amplitude") and tensor.dim() == 1
    }
    if not said:
        return checkpoint
    network = _Network(checkpoint.graph, weights(checkpoint))
    for site, amplitude in summed(said, "amplitude").items():
        network.put_behind(site, amplitude)
    for site, current in summed(said, "current").items():
        network.add_before(site, current)
    left = [key for key in given if key not in said and place(key).part != "weight"]
    made, corrections = keeping(checkpoint.corrected, given, left)
    return replace(
        checkpoint,
        graph=network.graph(),
        network=network.tensors,
        reference={},
        corrected=made,
        corrections=corrections,
    )


class _Network:
    """A network that takes up corrections."""

    def __init__(self, graph: Graph, tensors: dict[str, Tensor]) -> None:
        self._analysis = Analysis.of(graph, tensors)
        self._given = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._before: dict[str, Node] = {}  # by the site that comes next
        self._behind: dict[str, Node] = {}
        self.tensors = dict(tensors)

    def graph(self) -> Graph:
        """Return the graph."""
        nodes = []
        for name, node in self._nodes.items():
            inputs = [self._behind.get(each) for each in node.inputs]
            read = zip(inputs, node.inputs, strict=True)
            node = replace(node, inputs=tuple(each.name if each else old for each, old in read))
            if (before := self._before.get(name)) is not None:
                nodes.append(replace(before, inputs=node.inputs))
                node = replace(node, inputs=(before.name,))
            nodes.append(node)
            if name in self._behind:
                nodes.append(self._behind[name])
        output = self._behind.get(self._given.output)
        return Graph(
            self._given.input_shape, tuple(nodes), output.name if output else self._given.output
        )

    def put_behind(self, site: str, amplitude: Tensor) -> None:
        """Put an affine map behind a site."""
        nothing = torch.zeros_like(amplitude)
        self._behind[site] = self._affine(f"{site}.amplitude", site, 1 + amplitude, nothing)

    def add_before(self, site: str, current: Tensor) -> None:
        """Add a current before a site."""
        source = self._given[site].inputs[0]
        if not self._taken_up(source, current):
            same = torch.ones_like(current)
            self._before[site] = self._affine(f"{site}.current", source, same, current)

    def _taken_up(self, name: str, current: Tensor) -> bool:
        """Add a current to the biases of a node, or of one before it; say whether it has some."""
        readers = self._analysis.readers[name]
        alone = len(readers) == 1 and readers[0].inputs.count(name) == 1
        if name in (INPUT, self._given.output) or not alone:
            return False
        node, shapes = self._nodes[name], self._analysis.shapes
        if node.op == "batch_norm" or has_channels_first(node, self._analysis):
            made, known = f"{name}.corrected.bias", node.tensors.get("bias")
            self.tensors[made] = current if known is None else self.tensors[known] + current
            self._nodes[name] = replace(node, tensors={**node.tensors, "bias": made})
            return True
        if node.op in ("add", "dropout", "identity"):
            same = [each for each in node.inputs if shapes[each] == shapes[name]]
            return any(self._taken_up(each, current) for each in same)
        return False

    def _affine(self, name: str, source: str, scale: Tensor, shift: Tensor) -> Node:
        """Return a node that multiplies channels and adds to them."""
        roles = {"scale": f"{name}.scale", "shift": f"{name}.shift"}
        self.tensors |= {roles["scale"]: scale, roles["shift"]: shift}
        return Node(name, "affine", (source,), {}, roles)
