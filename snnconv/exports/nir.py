"""NIR, the Neuromorphic Intermediate Representation: a graph for other simulators and chips.

Thresholds are 1 in the file, see :mod:`snnconv.exports.parts.unit_graph`. BatchNorm is folded. The
graph's input is a normalised sample at each step, and its output is the current of the last layer,
whose mean over T steps are the logits.

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
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from snnconv.core.metadata import Parameters
from snnconv.errors import Obstacle
from snnconv.exports.base import Export, Peer, RunResult, Subject
from snnconv.exports.parts import nir_peers, nir_run
from snnconv.exports.parts.nir_graph import nir_graph
from snnconv.exports.parts.unit_graph import obstacles, unit_graph, valued


class Params(Parameters):
    """Parameters of the format."""

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
    tolerance: ClassVar[float | None] = 1e-3

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return what NIR has no nodes for."""
        return list(obstacles(subject, "nir", initial=False))

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the graph, as HDF5."""
        nir = nir_run.package("a NIR file can't be written")
        content = io.BytesIO()
        nir.write(content, nir_graph(nir, subject, self.params.pool == "sum", self.params.dt))
        return {self.suffix: content.getvalue()}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the graph that is read back."""
        sites, hold = unit_graph(subject).sites, subject.network.hold or timesteps
        return valued(nir_run.run(nir_run.read(file), sites, x, timesteps, hold), subject)

    def peers(self, file: Path, subject: Subject, x: Tensor, timesteps: int) -> Iterable[Peer]:
        """Run the file in sinabs and snnTorch, if they are there."""
        sites, hold = unit_graph(subject).sites, subject.network.hold or timesteps
        for peer in nir_peers.peers(file, sites, x, timesteps, hold):
            result = None if peer.result is None else valued(peer.result, subject)
            yield replace(peer, result=result)


EXPORT = Nir
