"""``snnconv predict``: the class of every sample, and the logits, as a table."""

import csv
import io

import torch
from torch import Tensor

from snnconv.checkpoint import load
from snnconv.config import PredictConfig
from snnconv.core.files import write_atomically
from snnconv.core.kinds import SPIKING
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import interval
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import is_class, strata, subset
from snnconv.engine.memory import BatchPlan
from snnconv.errors import CheckFailedError
from snnconv.reports import PredictReport
from snnconv.simulation.build import spiking_network, timesteps
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
    info = checkpoint.spiking
    assert info is not None
    session.inputs += [file, *files_named(info.neuron), *files_named(info.coding)]
    out = config.out or config.run / "predict.csv"
    report = report_file(config, "predict", config.out)
    refuse_lost([out], report, PredictReport)
    T = timesteps(checkpoint, config.timesteps)
    shown = frames_per_run(checkpoint.data.frames, T, info.hold)
    dataset = load_data(session, config, checkpoint.data)
    split = dataset.test if config.split == "test" else dataset.train

    snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
    order = subset(strata(split), config.limit, config.seed)
    wanted = BatchPlan(config.batch_size, T if not snn.causal else min(T, config.chunk))
    at_once = plan_batches(session, snn, wanted, config.memory_bytes(), progress=progress)
    found = []
    with progress.task("predict", len(order)) as advance:
        for indices, x, _ in batches(
            split, checkpoint.data, order, at_once.samples, frames_per_run=shown
        ):
            x, samples = x.to(session.device), indices.to(session.device)
            found.append(simulate(snn, x, samples, T, at_once.steps)[-1].float().cpu())
            advance(len(indices))
    say_breach(session, progress)
    logits = torch.cat(found)
    if not torch.isfinite(logits).all():
        raise CheckFailedError(
            f"the simulation of {file} gives no numbers",
            "NaN or Inf among its logits",
            "look at the weights and the data: snnconv inspect",
        )
    labels = split.labels[order] if is_class(split.labels) else None
    write_atomically(out, _table(checkpoint.data, order, labels, logits).encode())
    accuracy = None if labels is None else float((logits.argmax(1) == labels).double().mean())
    return session.report(
        PredictReport,
        [report],
        [out],
        data=data_use(dataset),
        subset=subset_use(split, order, config.seed),
        **checkpoint.analysis.shares,
        neuron=info.neuron,
        timesteps=T,
        latency_steps=snn.latency(T),
        split=config.split,
        samples=len(order),
        accuracy=accuracy,
        accuracy_interval=None if accuracy is None else interval(accuracy, len(order)),
    )


def _table(data: DataInfo, order: Tensor, labels: Tensor | None, logits: Tensor) -> str:
    """A row a sample: its number in the split, its label, the class found, and all logits.

    Where no class is known, the column of labels is empty.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = data.classes
    table.writerow(["sample", "label", "prediction", *(f"logit {name}" for name in names)])
    known = [""] * len(order) if labels is None else [names[label] for label in labels.tolist()]
    rows = zip(order.tolist(), known, logits.argmax(1).tolist(), logits, strict=True)
    for sample, label, found, row in rows:
        numbers = [f"{value:.9g}" for value in row.tolist()]
        table.writerow([sample, label, names[found], *numbers])
    return text.getvalue()
