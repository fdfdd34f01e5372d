"""What an export is: a spiking network as the files of another program, and a referee for them.

A format is one file of this room. It says what it has no words for, it gives the files' bytes, and
it runs what was written, so that the stage can hold every logit against this tool's own. It touches
no other file: ``--to torch`` is ``exports/torch.py``, and formats come from outside as neurons do.

Shape:
    Logits ``[T, B, classes]`` float64, averaged over steps 1..t.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import Parameters, SpikingInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.errors import Obstacle
from snnconv.neurons.base import NeuronParams
from snnconv.simulation.corrected import without_weights
from snnconv.simulation.network import SpikingNetwork


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        checkpoint: a checkpoint of a kind that has neurons.
        network: the same with BatchNorm folded, dense, in evaluation mode, on the CPU.
        called: what it is, in a line.
        sha256: the SHA-256 of the checkpoint's file.
        samples: training samples, normalised ``[f, B, *input]``, if the format wants any.
    """

    checkpoint: Checkpoint
    network: SpikingNetwork
    called: str
    sha256: str
    samples: Tensor | None = None

    @property
    def info(self) -> SpikingInfo:
        """The facts of its neurons."""
        return self.checkpoint.conversion

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of a sample's outputs."""
        analysis = self.network.analysis
        return analysis.shapes[analysis.graph.output]

    @property
    def params(self) -> NeuronParams:
        """The parameters of the neurons at the sites, which the coding may have chosen."""
        return next(iter(self.network.neurons.values())).params


@dataclass(frozen=True)
class RunResult:
    """What a referee has run.

    Attributes:
        logits: ``[T, B, classes]``, averaged over steps 1..t.
        spikes: values by site ``[T, B, *N]``, as far as the format shows them.
        counted: what else the report says, as sums over samples.
    """

    logits: Tensor
    spikes: Mapping[str, Tensor]
    counted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """What another program makes of the files.

    Attributes:
        name: the program's, with its version.
        result: what it has run; None if it can't read the files.
        cause: why it differs, if it does; or why it can't read them.
    """

    name: str
    result: RunResult | None
    cause: str


class Export(ABC):
    """A format.

    Args:
        params: its options.

    Attributes:
        params_type: the type of its options.
        suffix: the suffix of the file that is named.
        referee: what runs the files, in a line.
        tolerance: largest difference of a logit from this tool's, as a share of the largest logit;
            0 is bit for bit. None if the format is another network by intent, such as one of whole
            numbers.
        steps_at_once: steps that this tool has to compute together for the same bits; None for
            as many as it likes.
    """

    params_type: ClassVar[type[Parameters]] = Parameters
    suffix: ClassVar[str]
    referee: ClassVar[str]
    tolerance: ClassVar[float | None] = 0.0
    steps_at_once: ClassVar[int | None] = None

    def __init__(self, params: Parameters) -> None:
        self.params = params

    @abstractmethod
    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return everything that the format can't express, with the nearest thing that works."""

    @abstractmethod
    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the files' content by suffix, the named file first; equal subjects: equal bytes.

        Args:
            subject: one without obstacles.
            stem: the files' name without a suffix.
        """

    @abstractmethod
    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run what was written.

        Args:
            file: the named file; the others are in the same folder.
            subject: what it was made of.
            x: frames ``[f, B, *input]``, normalised.
            samples: their numbers ``[B]``.
            timesteps: T.
            chunk: steps to compute at once, if the format can.

        Raises:
            CheckFailedError: it does not run.
        """

    @property
    def samples(self) -> int:
        """How many training samples :meth:`files` simulates."""
        return 0

    def timesteps(self, subject: Subject) -> int:
        """Return the steps that the referee runs."""
        return subject.info.timesteps

    def peers(self, file: Path, subject: Subject, x: Tensor, timesteps: int) -> Iterable[Peer]:
        """Run the files in other programs that read the format, if they are installed.

        They may have rules of their own, so they fail no export: the report says what differs.

        Args:
            file: the named file.
            subject: what it was made of.
            x: frames ``[f, B, *input]``, normalised.
            timesteps: T.
        """
        return ()


def corrections(checkpoint: Checkpoint) -> list[Obstacle]:
    """Return corrections that no format has words for: all but those of weights."""
    left = without_weights(checkpoint).corrected
    found = "currents, potentials or amplitudes in addition to the weights"
    return [
        Obstacle(f"correction '{made.method}'", found, f"snnconv correct --remove {made.method}")
        for made in left
    ]


def _fault(found: object) -> str:
    """Say what is wrong with a format from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Export)):
        return f"{found!r:.40}, which is no subclass of snnconv.exports.base.Export"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    if lacking := [name for name in ("suffix", "referee") if not hasattr(found, name)]:
        return f"a class without {', '.join(lacking)}"
    return ""


EXPORTS: Registry[type[Export]] = replace(REGISTRIES["exports"], fault=_fault)
