"""NIR, the Neuromorphic Intermediate Representation: a graph for other simulators and chips.

Thresholds are 1 in the file. What a spike carries, and what a threshold was, is in the weights: if
theta_in and theta_out are those of the neurons before and behind a layer, its weight is ``W *
theta_in / theta_out`` and its bias ``b / theta_out``. An identity shortcut between neurons of other
thresholds becomes a convolution of one place. BatchNorm is folded. The graph's input is a
normalised sample at each step, and its output is the current of the last layer, whose mean over T
steps are the logits.

Shape:
    ``[*input] -> [classes]`` at each step; NIR has no batch.

Reference:
    Pedersen et al. 2024, *Neuromorphic intermediate representation*: the nodes and their equations.
    The ``nir`` package reads the file back, and its nodes are run step by step.

Deviations:
    NIR states a reset to ``v_reset``, and has no word for the soft reset that keeps what lies above
    the threshold. As sinabs does, ``IF`` is written for a neuron of soft reset; the metadata of
    each node says ``reset = subtract``, and the referee subtracts. A leak is an Euler step, ``decay
    = 1 - dt/tau``. Groups of convolutions are written as zeros, because the reader's check of types
    knows no groups.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from snnconv.core.metadata import Parameters
from snnconv.core.shapes import per_neuron
from snnconv.errors import Obstacle
from snnconv.exports import nir_peers, nir_run
from snnconv.exports.base import Export, Peer, RunResult, Subject
from snnconv.exports.nir_graph import Writer, node_names, window
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.if_ import IF
from snnconv.neurons.lif import LIF


class Params(Parameters):
    """Of the format."""

    pool: Literal["average", "sum"] = Field(
        "average", description="the pooling node: snnTorch reads AvgPool2d, sinabs SumPool2d"
    )
    dt: float = Field(
        1e-4, gt=0, description="seconds of a step, for the tau of leaky neurons; snnTorch's"
    )


class Nir(Export):
    """Writes a NIR graph."""

    params_type = Params
    params: Params
    suffix = ".nir"
    referee = "the graph as the nir package reads it back, with soft reset"
    tolerance: ClassVar[float] = 1e-3

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """What NIR has no nodes for."""
        return [*_of_neurons(subject), *_of_graph(subject)]

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """The graph, as HDF5."""
        nir = nir_run.package("nir", "a NIR file can't be written")
        writer = Writer(nir, subject, self.params.pool, self.params.dt)
        content = io.BytesIO()
        nir.write(content, writer.graph())
        return {self.suffix: content.getvalue()}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the graph that is read back."""
        hold = subject.network.hold or timesteps
        found = nir_run.run(nir_run.read(file), node_names(subject), x, timesteps, hold)
        return _valued(found, subject)

    def peers(self, file: Path, subject: Subject, x: Tensor, timesteps: int) -> Iterable[Peer]:
        """Run the file in sinabs and snnTorch, if they are there."""
        hold = subject.network.hold or timesteps
        for peer in nir_peers.peers(file, node_names(subject), x, timesteps, hold):
            result = None if peer.result is None else _valued(peer.result, subject)
            yield replace(peer, result=result)


def _valued(result: RunResult, subject: Subject) -> RunResult:
    """The same with what a spike carries in the network, where it carries 1 in the file."""
    neurons = subject.network.neurons
    spikes = {
        name: counts * per_neuron(neurons[name].threshold, counts.dim() - 1)
        for name, counts in result.spikes.items()
    }
    return replace(result, spikes=spikes)


def _of_neurons(subject: Subject) -> Iterator[Obstacle]:
    """What the neurons do that IF and LIF of NIR do not."""
    network, called = subject.network, f"neuron '{subject.info.neuron}'"
    for neuron in network.neurons.values():
        if type(neuron) not in (IF, LIF):
            levels = "spikes of several levels or of both signs"
            found = levels if neuron.levels > 1 or neuron.signed else "other equations"
            other = "convert to neurons that NIR has: snnconv convert --neuron if --param v0=0"
            if neuron.single_threshold() is not None:
                other = "make it one of single thresholds first: snnconv reparameterize --vanilla"
            yield Obstacle(called, f"{found} than NIR's neurons have", other)
            return
    if v0 := getattr(subject.params, "v0", 0):
        remedy = "convert with --param v0=0"
        yield Obstacle(called, f"an initial potential of {v0:g} theta; NIR starts at 0", remedy)
    if (coding := subject.info.coding) != "rate":
        found = "spikes that are changes of what a neuron sends"
        yield Obstacle(f"coding '{coding}'", found, "convert with --coding rate")
    if network.confidence is not None:
        yield Obstacle("spike confidence", "random numbers", "convert with --confidence off")


def _of_graph(subject: Subject) -> Iterator[Obstacle]:
    """Operations without a node of NIR."""
    pool = "replace it by an average pooling, train for an epoch, and convert that"
    dense = "export with --to onnx or --to torch, which take every operation"
    shapes = subject.network.analysis.shapes
    for node in subject.network.network.graph.nodes:
        given = shapes[node.inputs[0]]
        match OPS[node.op].role:
            case Role.SITE:
                continue
            case Role.MAX:
                yield Obstacle(node.name, "a max pooling, which NIR has no node for", pool)
                continue
            case Role.ANALOG:
                yield Obstacle(node.name, f"the function {node.op}, outside the neurons", dense)
                continue
        match node.op:
            case "conv" if len(given) in (2, 3):
                continue
            case "linear" if len(given) == 1:
                continue
            case "add" | "dropout" | "identity":
                continue
            case "reshape" if len(shapes[node.name]) == 1:
                continue
            case "avg_pool" | "adaptive_avg_pool" | "mean" if window(node, given) is not None:
                continue
        yield Obstacle(node.name, f"the operation {node.op} of {list(given)}", dense)


EXPORT = Nir
