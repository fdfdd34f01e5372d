"""``snnconv finetune``: train the spiking network through its neurons (STBP)."""

from dataclasses import replace

from torch import Tensor

from snnconv.checkpoint import load, save
from snnconv.config import FinetuneConfig
from snnconv.conversion import free, learned, spiking_network, timesteps
from snnconv.dataset import batches
from snnconv.frames import showings
from snnconv.kinds import SPIKING
from snnconv.progress import Progress, Quiet
from snnconv.reports import FinetuneReport
from snnconv.simulate import simulate
from snnconv.stages.common import (
    Session,
    checkpoint_file,
    data_use,
    lineage_step,
    open_data,
    report_file,
)
from snnconv.training import cross_entropy, fit, hold_out


def run(config: FinetuneConfig, progress: Progress | None = None) -> FinetuneReport:
    """Fine-tune, and write a checkpoint of kind ``finetuned``: the best epoch by validation.

    Epoch 0, the network as it came, is a candidate too, so the validation accuracy never falls. Of
    epochs that are equally good the last is kept.
    """
    progress = progress or Quiet()
    session = Session(config)
    file = checkpoint_file(config.checkpoint, config.run, ("converted",), "snnconv convert")
    checkpoint = load(file, SPIKING)
    session.inputs.append(file)
    facts = checkpoint.spiking
    assert facts is not None
    T = timesteps(facts, config.timesteps)
    shown = showings(checkpoint.data.frames, T, facts.hold)
    dataset = open_data(session, config, checkpoint.data)
    snn = spiking_network(checkpoint, folded=False).to(session.device).eval()
    parts = hold_out(dataset.train, config.validation, config.limit)

    def loss(samples: Tensor, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        currents, _ = snn(x, T, samples.to(session.device))
        value = cross_entropy(currents, labels, config.loss, config.label_smoothing)
        return value, currents.mean(0)

    def validate() -> float:
        right = 0
        drawn = batches(
            dataset.train, checkpoint.data, parts.validation, config.batch_size, showings=shown
        )
        with progress.task("validate", len(parts.validation)) as advance:
            for indices, x, labels in drawn:
                samples = indices.to(session.device)
                average = simulate(snn, x.to(session.device), samples, T, T)
                right += int((average[-1].argmax(1).cpu() == labels).sum())
                advance(len(labels))
        return right / len(parts.validation)

    start = validate()
    progress.say(f"epoch   0  validation {start:.2%}  (as converted, T = {T})")
    best, best_epoch, rows = start, 0, []
    network, neurons = snn.network.tensors(), learned(snn)
    free(snn, config.release == 0)
    for row in fit(
        snn,
        loss,
        dataset.train,
        checkpoint.data,
        config,
        parts,
        validate,
        session.device,
        progress,
        shown,
    ):
        rows.append(row)
        free(snn, row.epoch >= config.release)
        if row.accuracy >= best:  # of equals the later: its loss is lower
            best, best_epoch = row.accuracy, row.epoch
            network, neurons = snn.network.tensors(), learned(snn)
        progress.say(
            f"epoch {row.epoch:3d}  loss {row.loss:.4f}  validation {row.accuracy:.2%}  "
            f"({row.seconds:.1f} s)"
        )
    finetuned = replace(
        checkpoint,
        kind="finetuned",
        network=network,
        neurons=neurons,
        reference=checkpoint.reference or checkpoint.network,
        spiking=facts.model_copy(update={"timesteps": T}),
        lineage=(*checkpoint.lineage, lineage_step("finetune", file, config)),
    )
    out = config.out or config.run / "finetuned.safetensors"
    save(finetuned, out)
    return session.report(
        FinetuneReport,
        report_file(config, "finetune", config.out),
        [out],
        data=data_use(dataset),
        neuron=facts.neuron,
        timesteps=T,
        accuracy_epoch0=start,
        accuracy_best=best,
        epoch_best=best_epoch,
        accuracy_last=rows[-1].accuracy if rows else start,
        epochs=rows,
    )
