"""``snnconv predict``: write a table of what the network predicts for each sample."""

import torch

from snnconv.config import PredictConfig
from snnconv.core.files import write_together
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import interval
from snnconv.reports import PredictReport
from snnconv.simulation.simulate import refuse_not_finite, simulate
from snnconv.stages.outputs import refuse_lost
from snnconv.stages.samples import Samples, spiking_checkpoint
from snnconv.stages.session import Session, plan_batches, report_file, say_breach
from snnconv.tasks.table import arrays, scores, table


def run(config: PredictConfig, progress: Progress | None = None) -> PredictReport:
    """Run the network on a split, and write what it predicts for each sample.

    Raises:
        UsageError: a file that the stage did not write would be lost.
        CheckFailedError: NaN or Inf is among the logits; nothing is written.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = spiking_checkpoint(session, config)
    out = config.out or config.run / "predict.csv"
    report = report_file(config, "predict", config.out)
    dense = len(checkpoint.analysis.outputs) > 1
    maps = [out.with_suffix(".npz")] if dense else []
    refuse_lost([out, *maps], report, PredictReport)
    chosen = Samples.of(session, config, checkpoint, config.limit)
    snn, T, order, labels = chosen.snn, chosen.timesteps, chosen.order, chosen.labels

    memory = config.memory_bytes()
    at_once = plan_batches(session, snn, chosen.wanted, memory, progress=progress, timesteps=T)
    parts = []
    with progress.task("predict", len(order)) as advance:
        for x, indices in chosen.batches(at_once.samples):
            parts.append(simulate(snn, x, indices, T, at_once.steps)[-1].float().cpu())
            advance(len(indices))
    say_breach(session, progress)
    outputs = torch.cat(parts)
    refuse_not_finite(file, outputs)
    task, names = chosen.dataset.info.task, checkpoint.data.classes
    # samples without labels have no task of their own: the network answers for what it learned
    said = checkpoint.data.task if labels is None and config.task is None else task
    written = {out: table(said, names, order, labels, outputs).encode()}
    write_together(written | {file: arrays(said, order, outputs) for file in maps})
    found = scores(task, labels, outputs)
    accuracy = found.get("top-1")
    return session.report(
        PredictReport,
        [report],
        [out, *maps],
        **chosen.keys,
        task=task,
        scores=found,
        accuracy=accuracy,
        accuracy_interval=None if accuracy is None else interval(accuracy, len(order)),
    )
