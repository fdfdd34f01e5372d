"""``snnconv predict``: what the network says of every sample, as a table."""

import torch

from snnconv.checkpoint import load
from snnconv.config import PredictConfig
from snnconv.core.files import write_atomically
from snnconv.core.kinds import SPIKING
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import interval
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.errors import CheckFailedError
from snnconv.reports import PredictReport
from snnconv.simulation.build import spiking_network, timesteps
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.simulate import simulate
from snnconv.stages.outputs import refuse_lost
from snnconv.stages.session import (
    Session,
    checkpoint_file,
    data_use,
    files_named,
    load_data,
    plan_batches,
    report_file,
    say_breach,
    subset_use,
)
from snnconv.tasks.base import refuse_labels
from snnconv.tasks.table import arrays, scores, table


def run(config: PredictConfig, progress: Progress | None = None) -> PredictReport:
    """Run the network on a split, and write what it says of every sample.

    Raises:
        UsageError: a file of another's that would be lost.
        CheckFailedError: NaN or Inf among the logits; nothing is written.
    """
    progress = progress or Quiet()
    session = Session(config)
    file = checkpoint_file(config.checkpoint, config.run, SPIKING, "snnconv convert")
    checkpoint = load(file, SPIKING)
    info = checkpoint.conversion
    session.inputs += [file, *files_named(info.neuron), *files_named(info.coding)]
    out = config.out or config.run / "predict.csv"
    report = report_file(config, "predict", config.out)
    dense = len(checkpoint.analysis.outputs) > 1
    maps = [out.with_suffix(".npz")] if dense else []
    refuse_lost([out, *maps], report, PredictReport)
    T = timesteps(checkpoint, config.timesteps)
    shown = frames_per_run(checkpoint.data.frames, T, info.hold)
    dataset = load_data(session, config, checkpoint.data)
    split = dataset.test if config.split == "test" else dataset.train

    snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
    order = subset(strata(split), config.limit, config.seed)
    wanted = BatchPlan(config.batch_size, T if not snn.causal else min(T, config.chunk))
    memory = config.memory_bytes()
    at_once = plan_batches(session, snn, wanted, memory, progress=progress, timesteps=T)
    parts = []
    with progress.task("predict", len(order)) as advance:
        for indices, x, _ in batches(
            split, checkpoint.data, order, at_once.samples, frames_per_run=shown
        ):
            x, samples = x.to(session.device), indices.to(session.device)
            parts.append(simulate(snn, x, samples, T, at_once.steps)[-1].float().cpu())
            advance(len(indices))
    say_breach(session, progress)
    outputs = torch.cat(parts)
    if not torch.isfinite(outputs).all():
        raise CheckFailedError(
            f"the simulation of {file} does not give numbers",
            "NaN or Inf among its logits",
            "look at the weights and the data: snnconv inspect",
        )
    task = dataset.info.task
    refuse_labels(dataset.info, dataset.labels, checkpoint.analysis.outputs)
    labels = None if split.labels is None else split.labels[order]
    names = checkpoint.data.classes
    write_atomically(out, table(task, names, order, labels, outputs).encode())
    if maps:
        write_atomically(maps[0], arrays(task, order, outputs))
    found = scores(task, labels, outputs)
    accuracy = found.get("top-1")
    return session.report(
        PredictReport,
        [report],
        [out, *maps],
        data=data_use(dataset),
        subset=subset_use(split, order, config.seed),
        **checkpoint.analysis.shares,
        neuron=info.neuron,
        timesteps=T,
        latency_steps=snn.latency(T),
        split=config.split,
        samples=len(order),
        task=task,
        scores=found,
        accuracy=accuracy,
        accuracy_interval=None if accuracy is None else interval(accuracy, len(order)),
    )
