"""``snnconv export``: write a spiking network as files for another program, and compare them."""

import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from snnconv.checkpoint import sha256
from snnconv.config import ExportConfig
from snnconv.core.files import write_together
from snnconv.core.progress import Progress, Quiet
from snnconv.core.validation import parameters
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.engine.layer_output import EVERYTHING, LayerOutput
from snnconv.errors import CheckFailedError, ObstaclesError, UsageError
from snnconv.exports.base import EXPORTS, Export, Peer, RunResult, Subject, corrections
from snnconv.exports.parts.corrected import stated
from snnconv.reports import ExportReport, PeerRow
from snnconv.simulation.build import spiking_network
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.simulate import simulate
from snnconv.stages.outputs import refuse_lost
from snnconv.stages.run_folder import describe
from snnconv.stages.samples import training_samples
from snnconv.stages.session import (
    Session,
    data_use,
    files_named,
    load_data,
    plan_batches,
    subset_use,
)

_SAME = 1e-4
"""Values of spikes that differ by less are of the same spike, in another order of summation."""

_STRAY = 0.05
"""The share of samples that may differ by more than a format allows, unless it allows nothing.

A potential within rounding of its threshold fires a step earlier or later in another order of
summation, and what follows can move all logits of that sample: of two images in a hundred, in a
VGG-11.
"""


def run(config: ExportConfig, progress: Progress | None = None) -> ExportReport:
    """Write the files, compare them with the dense engine, and move them to their place.

    Raises:
        UsageError: an unknown format, or a file that the stage did not write would be lost.
        ObstaclesError: the format can't express a part of the network.
        CheckFailedError: the files compute something else, and are removed.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = session.open_checkpoint(config.checkpoint)
    kind = EXPORTS.load(config.to)
    format_ = kind(parameters(kind.params_type, config.param, f"format '{config.to}'"))
    session.inputs += files_named(config.to)
    called = f"{describe(checkpoint).label} network"
    said = stated(checkpoint)
    network = spiking_network(said, engine="dense").eval()
    subject = Subject(said, network, called, sha256(file))
    obstacles = (*corrections(said), *format_.obstacles(subject))
    if obstacles:
        raise ObstaclesError(str(file), obstacles, f"be exported to {config.to}", "part")
    out = _file(config, format_, describe(checkpoint).stem(checkpoint.kind, subject.info.timesteps))
    dataset = load_data(session, config, checkpoint.data)
    refuse_lost([out], out.with_suffix(".json"), ExportReport)  # before a long correction
    count, seed = format_.samples, config.seed
    seen = training_samples(session, checkpoint, network, dataset, count, seed)
    with progress.task("correct biases" if count else "write", 1) as advance:
        files = format_.files(replace(subject, samples=seen), out.stem)
        advance(1)
    outputs = [out.with_suffix(suffix) for suffix in files]
    refuse_lost(outputs, out.with_suffix(".json"), ExportReport)

    T = format_.timesteps(subject)
    shown = frames_per_run(checkpoint.data.frames, T, subject.info.hold)
    order = subset(strata(dataset.test), config.limit, config.seed)
    wanted = BatchPlan(config.batch_size, format_.steps_at_once or T)
    at_once = plan_batches(session, network, wanted, share=4)  # two networks
    compared, others = _Comparison(), _Peers()
    with tempfile.TemporaryDirectory() as folder, progress.task("compare", len(order)) as advance:
        written = [Path(folder, f"{out.stem}{suffix}") for suffix in files]
        for path, content in zip(written, files.values(), strict=True):
            path.write_bytes(content)
        for indices, x, y in batches(
            dataset.test, checkpoint.data, order, at_once.samples, frames_per_run=shown
        ):
            own = _own(subject, x, indices, T, at_once.steps)
            compared.add(own, format_.run(written[0], subject, x, indices, T, at_once.steps), y)
            others.add(own, lambda few: format_.peers(written[0], subject, few, T), x)
            advance(len(indices))
    beyond = 0 if format_.tolerance is None else compared.beyond(format_.tolerance)
    if beyond > (_STRAY * compared.samples if format_.tolerance else 0):
        raise CheckFailedError(
            f"the network exported from {file} differs from it",
            f"{beyond} of {compared.samples} samples have logits that differ by up to "
            f"{compared.difference:.2g} of the largest, where {format_.tolerance:g} is allowed "
            f"({format_.referee}); nothing is written",
            "report it with the checkpoint and the versions that snnconv doctor shows",
        )
    write_together(dict(zip(outputs, files.values(), strict=True)))
    found = [out.with_suffix(".json")] + ([] if config.out else [config.run / "export.json"])
    return session.report(
        ExportReport,
        found,
        outputs,
        data=data_use(dataset),
        subset=subset_use(dataset.test, order, config.seed),
        **checkpoint.analysis.shares,
        format=config.to,
        params=format_.params.model_dump(),
        neuron=subject.info.neuron,
        timesteps=subject.info.timesteps,
        latency_steps=subject.network.latency(subject.info.timesteps),
        referee=format_.referee,
        samples=compared.samples,
        steps=T,
        difference=compared.difference,
        tolerance=format_.tolerance,
        samples_beyond=None if format_.tolerance is None else beyond,
        classes_equal=compared.classes_equal,
        spikes_compared=compared.spikes or None,
        spikes_differing=compared.differing if compared.spikes else None,
        accuracy=compared.right / compared.labelled if compared.labelled else None,
        accuracy_before=compared.own_right / compared.labelled if compared.labelled else None,
        counted=dict(compared.counted),
        peers=others.rows(),
    )


def _file(config: ExportConfig, format_: Export, stem: str) -> Path:
    """Return the file to write: the one that the user named, or one named after its content.

    Raises:
        UsageError: it lacks the suffix of the format.
    """
    if config.out is None:
        # letters that Python's import takes, too
        name = re.sub(r"\W", "_", f"{config.to.rpartition(':')[2]}_{stem}", flags=re.ASCII)
        return config.run / "export" / f"{name}{format_.suffix}"
    if config.out.suffix != format_.suffix:
        raise UsageError(
            "option --out can't be used",
            f"'{config.out}', and {config.to} writes {format_.suffix}",
            f"name a file that ends with {format_.suffix}",
        )
    return config.out


def _own(subject: Subject, x: Tensor, samples: Tensor, T: int, chunk: int) -> RunResult:
    """Return the outputs of the dense engine."""
    values: dict[str, list[Tensor]] = {}

    def observe(name: str, start: int, output: LayerOutput) -> None:
        if output.values is not None:
            values.setdefault(name, []).append(output.values)

    logits = simulate(subject.network, x, samples, T, chunk, observe, EVERYTHING)
    return RunResult(logits, {name: torch.cat(parts) for name, parts in values.items()})


@dataclass
class _Comparison:
    """Two runs on the same samples, and how they differ."""

    samples: int = 0
    largest: float = 0.0
    apart: list[Tensor] = field(default_factory=list)
    classes_equal: int = 0
    spikes: int = 0
    differing: int = 0
    counts: int = 0
    counts_differing: int = 0
    labelled: int = 0
    right: int = 0
    own_right: int = 0
    counted: Counter[str] = field(default_factory=Counter)

    def add(self, own: RunResult, other: RunResult, labels: Tensor | None = None) -> None:
        """Add a batch; its labels, if there are any, are classes."""
        self.samples += own.logits.shape[1]
        self.counted.update(other.counted)
        if labels is not None and labels.dim() == 1 and not labels.is_floating_point():
            self.labelled += len(labels)
            self.right += int((other.logits[-1].argmax(1) == labels).sum())
            self.own_right += int((own.logits[-1].argmax(1) == labels).sum())
        self.largest = max(self.largest, float(own.logits.abs().max()))
        mine = own.logits[-len(other.logits) :]  # a whole network gives its last only
        apart = (mine - other.logits).abs().transpose(0, 1).flatten(1).amax(1)
        self.apart.append(apart.where(apart.isfinite(), math.inf))
        same = own.logits[-1].argmax(1) == other.logits[-1].argmax(1)
        self.classes_equal += int(same.reshape(len(same), -1).all(1).sum())  # at all places
        for name, values in other.spikes.items():
            self.spikes += values.numel()
            same = torch.isclose(values, own.spikes[name], rtol=_SAME, atol=_SAME)
            self.differing += int((~same).sum())
            sums = torch.isclose(values.sum(0), own.spikes[name].sum(0), rtol=_SAME, atol=_SAME)
            self.counts += sums.numel()
            self.counts_differing += int((~sums).sum())

    @property
    def difference(self) -> float:
        """Return the largest difference of a logit, as a share of the largest logit."""
        return max(float(batch.max()) for batch in self.apart) / (self.largest or 1.0)

    def beyond(self, tolerance: float) -> int:
        """Return how many samples have a logit that differs by more than this share of the largest.

        If a logit is not finite, it is all samples.
        """
        if not math.isfinite(self.difference):
            return self.samples
        allowed = tolerance * (self.largest or 1.0)
        return sum(int((batch > allowed).sum()) for batch in self.apart)


@dataclass
class _Peers:
    """Other programs that run the first samples."""

    left: int = 100
    found: dict[str, tuple[_Comparison, str]] = field(default_factory=dict)

    def add(self, own: RunResult, run: Callable[[Tensor], Iterable[Peer]], x: Tensor) -> None:
        """Add a batch, as long as the other programs run further samples.

        Args:
            own: the outputs of the dense engine.
            run: runs the other programs on samples ``[f, B, *input]``.
            x: the batch.
        """
        if (few := min(self.left, x.shape[1])) == 0:
            return
        self.left -= few
        logits = own.logits[:, :few]
        mine = RunResult(logits, {name: values[:, :few] for name, values in own.spikes.items()})
        for peer in run(x[:, :few]):
            compared, _ = self.found.setdefault(peer.name, (_Comparison(), peer.cause))
            if peer.result is not None:
                compared.add(mine, peer.result)

    def rows(self) -> list[PeerRow]:
        """Return their rows in the report."""
        return [
            PeerRow(
                name=name,
                samples=compared.samples,
                cause=cause,
                difference=compared.difference if compared.samples else None,
                classes_equal=compared.classes_equal if compared.samples else None,
                counts_compared=compared.counts or None,
                counts_differing=compared.counts_differing if compared.counts else None,
                spikes_differing=compared.differing if compared.counts else None,
            )
            for name, (compared, cause) in self.found.items()
        ]
