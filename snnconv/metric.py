"""What a metric is: sums that grow with every batch, and figures made of them at the end.

All metrics watch one simulation. Their sums are integers or float64, so figures do not depend on
the order of batches beyond rounding, and could be added up over processes.

Shape:
    Spikes ``[T, B, *N]`` of a chunk; logits ``[T, B, classes]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from snnconv.graph.ir import Graph
from snnconv.graph.roles import Carries
from snnconv.neuron import Spikes
from snnconv.plugins import Room


@dataclass(frozen=True)
class Setup:
    """What there is to measure.

    Attributes:
        graph: of the simulated network, BatchNorm folded.
        network: its tensors.
        shapes: a sample's shape at every node.
        thresholds: theta by site.
        v0: initial potential of the neurons, in units of theta/levels.
        levels: the most spikes of one neuron at one step.
        timesteps: T.
        energy_ac_pj: energy of an accumulate.
        energy_mac_pj: energy of a multiply-accumulate.
        hold: steps for which each frame of the input is shown; none where it is constant.
    """

    graph: Graph
    network: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    thresholds: Mapping[str, Tensor]
    v0: float
    levels: int
    timesteps: int
    energy_ac_pj: float
    energy_mac_pj: float
    hold: int | None = None

    @property
    def source(self) -> Carries:
        """What the input carries."""
        return Carries.CONSTANT if self.hold is None else Carries.FRAMES

    def passes(self, steps: int) -> int:
        """How often so many steps compute what hangs on the input alone."""
        return 1 if self.hold is None else -(-steps // self.hold)


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before it is simulated.

    Attributes:
        labels: ``[B]``.
        ann_logits: ``[B, classes]``; none where there is no ANN to compare with.
        ann_inputs: the ANN's pre-activations by site, ``[B, *N]``.
    """

    labels: Tensor
    ann_logits: Tensor | None
    ann_inputs: Mapping[str, Tensor]


@dataclass
class Figures:
    """What a metric found: keys of the evaluation, and of its rows by node name."""

    totals: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)


class Metric(ABC):
    """One measurement, over all batches.

    Attributes:
        needs: metrics whose figures it is made of.
        of_conversion: whether it asks how far neurons are from an ANN's activations, which a
            network that was trained with its neurons never had.
        added: attributes that grow with every batch, numbers, tensors or mappings of them: of
            several processes they are added up before the figures.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    of_conversion: ClassVar[bool] = False
    added: ClassVar[tuple[str, ...]] = ()

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.samples = 0

    def begin(self, batch: Batch) -> None:
        """A batch is about to be simulated."""
        self.samples += len(batch.labels)

    def observe(self, name: str, start: int, spikes: Spikes) -> None:
        """A node's spikes at the steps ``start + 1 ...`` of the present batch."""

    def finish(self, logits: Tensor) -> None:
        """The batch is done; ``logits`` are averages over steps 1..t."""

    def reduce(self, add_up: Callable[[Any], Any]) -> None:
        """Put the sums of all processes in the place of this one's own."""
        for name in ("samples", *self.added):
            setattr(self, name, add_up(getattr(self, name)))

    @abstractmethod
    def figures(self, found: Figures) -> Figures:
        """The result; ``found`` holds what metrics before this one found."""


ROOM: Room[type[Metric]] = Room("metrics", "metric", "METRIC")
