"""``snnconv trace``: write what every neuron does at every step, as arrays."""

import math
import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint, sha256
from snnconv.config import TraceConfig
from snnconv.core import distributed, runtime
from snnconv.core.files import refuse_unwritable, scratch, whole
from snnconv.core.progress import Progress, Quiet
from snnconv.data.dataset import Dataset
from snnconv.data.frames import mean_frame
from snnconv.errors import UsageError, did_you_mean
from snnconv.exports.parts.nir_run import package
from snnconv.graph.network import Network, ann_inputs
from snnconv.reports import TracedSiteRow, TraceReport
from snnconv.simulation.corrected import uncorrected
from snnconv.simulation.memory import BatchPlan, bytes_per_sample
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import refuse_not_finite, simulate
from snnconv.stages.samples import Samples, spiking_checkpoint
from snnconv.stages.session import Session, plan_batches, report_file, say_breach
from snnconv.traces.arrays import SAMPLE, STEP, Array, of_sites, places
from snnconv.traces.nir_form import write_nir
from snnconv.traces.reader import is_trace
from snnconv.traces.recorder import Recorder
from snnconv.traces.store import Store, refuse_too_large, shown


def run(config: TraceConfig, progress: Progress | None = None) -> TraceReport:
    """Run the network on some samples, and write what its neurons do.

    Raises:
        UnsupportedError: nir is wanted, and not installed or too old.
        UsageError: there is no such site, or nothing to record; the trace is too large for memory
            or disk; or a file that is no trace would be lost.
        CheckFailedError: NaN or Inf is among the logits; nothing is written.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = spiking_checkpoint(session, config)
    if config.form == "nir":
        package("NIRData can't be written")
    out = config.out or config.run / f"trace.{config.form}"
    report = report_file(config, "trace", config.out)
    _refuse_lost(out)
    chosen = Samples.of(session, config, checkpoint, config.limit)
    snn, T, order, labels = chosen.snn, chosen.timesteps, chosen.order, chosen.labels
    ann = None
    if not checkpoint.trained_directly and "ann" in config.record:
        ann = (uncorrected(checkpoint) or snn.network).to(session.device).eval()
    sites = _chosen(snn, config.sites)
    arrays = _arrays(config, snn, sites, len(order), T, ann is not None)
    size = refuse_too_large(arrays, out.parent)
    progress.say(f"trace: {len(arrays)} arrays of {shown(size)}, before they are compressed")
    at_once = _plan(session, config, chosen, progress)

    with scratch(out.parent) as folder:
        store = Store(folder, [*arrays, *_of_samples(labels, snn, len(order), T)])
        store.put("samples", order.numpy())
        if labels is not None:
            store.put("labels", labels.numpy())
        recorder = Recorder(store, sites)
        done = 0
        with progress.task("trace", len(order)) as advance:
            for x, indices in chosen.batches(at_once.samples):
                recorder.begin(done, {} if ann is None else _activations(ann, mean_frame(x), sites))
                logits = simulate(snn, x, indices, T, at_once.steps, recorder, recorder.needs)
                refuse_not_finite(file, logits)
                recorder.end()
                store.put("logits", logits.transpose(0, 1).cpu().numpy(), done)
                done += len(indices)
                advance(len(indices))
        say_breach(session, progress)
        if distributed.rank() == 0:
            _write(
                out, folder, store, config, snn, sites, _index(checkpoint, file, T, chosen.dataset)
            )
    return session.report(
        TraceReport,
        [report],
        [out],
        **chosen.keys,
        coding=checkpoint.conversion.coding,
        form=config.form,
        file=str(out),
        trace_mib=size / 2**20,
        sites=[_row(name, snn, recorder, arrays, len(order) * T) for name in sites],
    )


def _refuse_lost(out: Path) -> None:
    """Refuse to replace a file that is no trace.

    Raises:
        UsageError: there is such a file.
    """
    refuse_unwritable(out)
    if out.exists() and not is_trace(out):
        raise UsageError(
            f"{out} would be lost",
            "an existing file that is not a trace",
            "name another file: --out",
        )


def _chosen(snn: SpikingNetwork, wanted: Sequence[str]) -> list[str]:
    """Return the named sites, in the order of the network.

    Raises:
        UsageError: a name fits no site.
    """
    every = [node.name for node in snn.network.graph.sites]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise UsageError(
                "there is no such site to trace (--sites)",
                f"'{pattern}'",
                did_you_mean(pattern, every),
            )
    return [n for n in every if not wanted or any(fnmatchcase(n, each) for each in wanted)]


def _arrays(
    config: TraceConfig,
    snn: SpikingNetwork,
    sites: Sequence[str],
    samples: int,
    timesteps: int,
    has_ann: bool,
) -> list[Array]:
    """Return the arrays that the trace has of the sites.

    Raises:
        UsageError: there are none.
    """
    record = [what for what in config.record if what != "ann" or has_ann]
    neurons = {name: snn.neurons[name] for name in sites}
    found = of_sites(neurons, snn.analysis.shapes, record, samples, timesteps)
    if not found:
        raise UsageError(
            "there is nothing to trace",
            f"--record {','.join(config.record)}, which this network does not have",
            "record its spikes: --record spikes",
        )
    return found


def _of_samples(
    labels: Tensor | None, snn: SpikingNetwork, samples: int, timesteps: int
) -> list[Array]:
    """Return the arrays that a trace has for each sample, in addition to those of its sites."""
    shape = snn.analysis.outputs
    axes = (SAMPLE, STEP, *(("class",) if len(shape) == 1 else places(len(shape))))
    found = [
        Array("samples", (SAMPLE,), (samples,), "<i8", "number in the split"),
        Array("logits", axes, (samples, timesteps, *shape), "<f4", "mean over steps 1..t"),
    ]
    if labels is not None:
        dtype = "<f4" if labels.is_floating_point() else "<i8"
        named = (SAMPLE, *(f"axis {k}" for k in range(1, labels.dim())))
        found.append(Array("labels", named, (samples, *labels.shape[1:]), dtype))
    return found


def _plan(session: Session, config: TraceConfig, chosen: Samples, progress: Progress) -> BatchPlan:
    """Return how much to simulate at once.

    Raises:
        UsageError: the given memory has no room for one sample.
    """
    snn, timesteps = chosen.snn, chosen.timesteps
    given = config.memory_bytes()
    told = None if given else progress
    kept: dict[str, Any] = {"traced": True, "timesteps": timesteps}  # all logits are written
    found = plan_batches(session, snn, chosen.wanted, given, progress=told, **kept)
    confident = snn.confidence is not None or snn.draws
    counted = bytes_per_sample(snn.analysis, found.steps, confident, **kept)
    if given and counted > given:
        many = "" if snn.causal else f" over all {timesteps} steps, which its neurons need at once"
        raise UsageError(
            "the trace does not fit into the given memory",
            f"{shown(counted)} for one sample{many}, where --memory gives {shown(given)}",
            f"give --memory {runtime.mib(counted)}"
            + ("" if snn.causal else ", or fewer --timesteps"),
        )
    return found


def _activations(ann: Network, x: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
    """Return the activations of the ANN by site, ``[B, *N]``."""
    _, inputs = ann_inputs(ann, x)
    nodes = {node.name: node for node in ann.graph.sites}
    with torch.no_grad():
        return {name: ann.compute(nodes[name], [inputs[name]]) for name in sites}


def _index(checkpoint: Checkpoint, file: Path, timesteps: int, dataset: Dataset) -> dict[str, Any]:
    """Return what a reader of the arrays has to know."""
    info = checkpoint.conversion
    return {
        "checkpoint": sha256(file),
        "neuron": info.neuron,
        "params": info.params,
        "coding": info.coding,
        "timesteps": timesteps,
        "data": dataset.info.spec,
        "classes": list(checkpoint.data.classes),
    }


def _write(
    out: Path,
    folder: Path,
    store: Store,
    config: TraceConfig,
    snn: SpikingNetwork,
    sites: Sequence[str],
    index: dict[str, Any],
) -> None:
    """Write the trace in its form, completely or not at all."""
    neurons, shapes = snn.neurons, snn.analysis.shapes
    if config.form == "nir":
        binary = [n for n in sites if neurons[n].levels == 1 and not neurons[n].signed]
        made = folder / "trace.nir"
        write_nir(made, store, sites, binary, config.dt)
        with made.open("rb") as source, whole(out) as handle:
            shutil.copyfileobj(source, handle, 1 << 20)
        return
    described = [
        {
            "name": name,
            "shape": list(shapes[name]),
            "levels": neurons[name].levels,
            "signed": neurons[name].signed,
        }
        for name in sites
    ]
    with whole(out) as handle:
        store.write_npz(handle, {**index, "sites": described})


def _row(
    name: str, snn: SpikingNetwork, recorder: Recorder, arrays: Sequence[Array], cells: int
) -> TracedSiteRow:
    """Return a site in the report; ``cells`` are the samples times T."""
    shape = snn.analysis.shapes[name]
    neurons = math.prod(shape)
    return TracedSiteRow(
        name=name,
        shape=list(shape),
        neurons=neurons,
        spikes=recorder.spikes[name],
        firing_rate=recorder.spikes[name] / (neurons * cells),
        silent_share=1 - recorder.fired[name] / (neurons * recorder.samples),
        arrays=[array.name for array in arrays if array.name.rpartition("/")[0] == name],
    )
