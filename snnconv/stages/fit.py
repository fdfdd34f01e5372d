"""``snnconv fit``: check whether a spiking network fits a chip, by its published figures."""

from collections import Counter
from pathlib import Path

from snnconv.checkpoint import sha256
from snnconv.config import FitConfig
from snnconv.core.progress import Progress, Quiet
from snnconv.errors import UsageError
from snnconv.fitting.demand import OUTPUT, Demand, Layer, demand
from snnconv.fitting.mapping import Mapped, mapped
from snnconv.fitting.rules import Misfit, misfits, weight_bytes
from snnconv.fitting.target import FIGURES, TARGETS, Target
from snnconv.reports import (
    EvaluateReport,
    FigureRow,
    FitCoreRow,
    FitLayerRow,
    FitReport,
    MisfitRow,
    read,
)
from snnconv.simulation.build import spiking_network
from snnconv.stages import run_folder
from snnconv.stages.session import Session, report_file


def run(config: FitConfig, progress: Progress | None = None) -> FitReport:
    """Compare a network with the figures of a target, and write the report.

    Raises:
        UsageError: the target is unknown or can't be read, or the evaluation is of another network.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = session.open_checkpoint(config.checkpoint)
    target = TARGETS.load(config.target)
    info = checkpoint.conversion
    session.inputs += [Path(config.target)] if config.target.endswith(".toml") else []
    found = _evaluation(config, sha256(file))
    rates: dict[str, float] = {}
    if found is not None:
        session.inputs.append(found)
        rates = _spikes(read(found, EvaluateReport))
    asked = demand(spiking_network(checkpoint, engine="dense").eval(), info.neuron)
    places = mapped(target, asked)
    broken = [*misfits(target, asked), *places.misfits]
    if broken:
        counts = Counter(each.rule for each in broken)
        rules = ", ".join(f"{rule} ({count})" for rule, count in counts.items())
        session.warn(progress, f"the network does not fit {config.target}: {rules}")
    return session.report(
        FitReport,
        [report_file(config, "fit", config.out)],
        [],
        **checkpoint.analysis.shares,
        target=config.target,
        title=target.title,
        neuron=info.neuron,
        timesteps=info.timesteps,
        fits=not broken,
        figures={
            name: FigureRow(value=figure.value, source=target.sources[figure.source])
            for name, figure in target.figures.items()
        },
        not_checked=[name for name in FIGURES if name not in target.figures],
        misfits=[MisfitRow(**vars(each)) for each in broken],
        layers=[_layer(target, layer, places, broken, rates) for layer in asked.layers],
        cores=_cores(target, places, rates),
        mapping=places.how,
        evaluation=str(found) if found else None,
        notes=_notes(target, asked),
    )


def _evaluation(config: FitConfig, digest: str) -> Path | None:
    """Return the named evaluation, or this network's with the most samples in the run folder.

    Raises:
        UsageError: the named evaluation is of another network.
    """
    if config.evaluation is None:
        own = {
            file: report
            for file, report in run_folder.evaluations(config.run).items()
            if run_folder.subject(report) == digest and _spikes(report)
        }
        return max(own, key=lambda file: (own[file].samples, file.name), default=None)
    if run_folder.subject(read(config.evaluation, EvaluateReport)) != digest:
        raise UsageError(
            f"the spikes of {config.evaluation} can't be used",
            "an evaluation of another network",
            "evaluate this one: snnconv evaluate",
        )
    return config.evaluation


def _spikes(report: EvaluateReport) -> dict[str, float]:
    """Return the spikes of a layer at one step of one sample."""
    return {
        row.name: row.firing_rate * row.neurons
        for row in report.layers
        if row.firing_rate is not None
    }


def _layer(
    target: Target, layer: Layer, places: Mapped, broken: list[Misfit], rates: dict[str, float]
) -> FitLayerRow:
    parts = {layer.name, *(each.node for each in layer.synapses)}
    parts |= {pool.node for each in layer.synapses for pool in each.pools}
    bits = target.state_bits
    return FitLayerRow(
        name=layer.name,
        weighted=[each.node for each in layer.synapses],
        shape=list(layer.shape),
        neurons=layer.neurons,
        synapses=sum(each.synapses for each in layer.synapses),
        weights=layer.weights,
        weight_bytes=weight_bytes(target, layer),
        state_bytes=layer.neurons * bits.value / 8 if bits else None,
        cores=places.cores.get(layer.name, []),
        spikes_per_step=rates.get(layer.name),
        fits=not any(each.place in parts for each in broken),
    )


def _cores(target: Target, places: Mapped, rates: dict[str, float]) -> list[FitCoreRow]:
    rows = []
    for layer, cores in places.cores.items():
        for core in cores:
            used = places.used[core]
            of = {name: sizes[core] for name, sizes in target.memories.items()}
            if not of:
                most = {"neurons": target.neurons_per_core, "weights": target.synapses_per_core}
                of = {name: figure.value for name, figure in most.items() if figure}
            spikes = rates.get(layer)
            share = None if spikes is None else spikes / len(cores)
            kept = {name: used[name] for name in of}
            rows.append(FitCoreRow(core=core, layer=layer, used=kept, of=of, spikes_per_step=share))
    return sorted(rows, key=lambda row: row.core)


NARROW = 20
"""Potentials of fewer bits ask for an input of fewer bits than the 12 of the default."""


def _notes(target: Target, asked: Demand) -> list[str]:
    """Return remarks that a table of figures can't hold."""
    notes = []
    if asked.layers[-1].name == OUTPUT:
        notes.append(
            "the output layer has no neurons: read its potentials, or compute it outside the chip"
        )
    widths = {"bits": (target.weight_bits, 16), "state_bits": (target.state_bits, 32)}
    found = {
        name: figure.value
        for name, (figure, widest) in widths.items()
        if figure and figure.value <= widest
    }
    if found.get("state_bits", 32) < NARROW:  # its sums would hold few bits of the weights
        found["input_bits"] = max(2, found["state_bits"] - 8)
    chosen = " ".join(f"--integer {name}={bits}" for name, bits in found.items())
    if chosen:
        notes.append(f"what rounding to these widths costs: snnconv evaluate {chosen}")
    return notes
