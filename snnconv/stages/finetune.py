"""``snnconv finetune``: train the spiking network through its neurons (STBP)."""

from dataclasses import replace

import torch

from snnconv.checkpoint import Checkpoint
from snnconv.config import FinetuneConfig
from snnconv.core import runtime
from snnconv.core.kinds import READS, SPIKING
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import discordant, interval, mcnemar, unpacked
from snnconv.data.frames import frames_per_run
from snnconv.reports import Difference, FinetuneReport
from snnconv.simulation.build import learned, spiking_network, timesteps
from snnconv.simulation.corrected import without_weights
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.stages.session import (
    Session,
    correction_rows,
    data_use,
    files_named,
    lineage_step,
    load_data,
    plan_batches,
    read_once,
    report_file,
    report_files,
    subset_use,
    training_files,
)
from snnconv.training.held_out_score import ACCURACY_OF
from snnconv.training.history import History, fit
from snnconv.training.loop import Training, hold_out
from snnconv.training.losses.base import named_loss
from snnconv.training.norm import named_norm, with_norm
from snnconv.training.objective import SpikingLoss, ValidationSet, slice_of
from snnconv.training.surrogate import named_surrogate
from snnconv.training.task import trained_task
from snnconv.training.teacher import teacher_of


def run(config: FinetuneConfig, progress: Progress | None = None) -> FinetuneReport:
    """Fine-tune a network, and write the best and the last epoch, of kind ``finetuned``.

    The network as it came counts as epoch 0, so the validation accuracy never falls. If several
    epochs are equally good, the last one is kept.
    """
    progress = progress or Quiet()
    session = Session(config)
    kinds = SPIKING if config.checkpoint else READS["finetune"]  # a named one may be fine-tuned
    file, checkpoint = session.open_checkpoint(config.checkpoint, kinds)
    surrogate = named_surrogate(config, [site.name for site in checkpoint.graph.sites])
    session.inputs += files_named(config.surrogate or "") + files_named(config.norm or "")
    T = timesteps(checkpoint, config.timesteps)
    checkpoint = with_norm(checkpoint, named_norm(config), T, trained=True)
    info = checkpoint.conversion
    shown = frames_per_run(checkpoint.data.frames, T, info.hold)
    dataset = read_once(session, load_data(session, config, checkpoint.data))
    task, score = trained_task(config, dataset, checkpoint, taught=True)
    loss = named_loss(config.loss, config.loss_param)
    data = checkpoint.data.model_copy(update={"task": dataset.info.task})
    if task.supervised:  # what it learns without labels serves the task that it has
        checkpoint = replace(checkpoint, data=data)
    snn = spiking_network(checkpoint, folded=False, engine=config.engine)
    if surrogate is not None:
        info = info.model_copy(update={"surrogate": surrogate})
        for site, neuron in snn.neurons.items():
            neuron.train_by(surrogate, site)
    snn = snn.to(session.device).eval()
    with torch.autocast(session.device.type, torch.bfloat16, enabled=config.bf16):
        ways = snn.paths(learns=True)
    parts = hold_out(dataset.train, config.validation, config.limit, config.seed)
    slice_steps = slice_of(snn, T, config.slice)
    # training in slices is measured in slices, so that memory does not grow with T
    at_once = plan_batches(session, snn, BatchPlan(config.batch_size, slice_steps))
    objective = SpikingLoss(
        snn,
        task,
        T,
        slice_steps,
        loss,
        config.label_smoothing,
        ValidationSet(dataset.train, data, parts.validation, at_once, shown),
        session.device,
        progress,
        config.release,
        updates=config.update == "slice",
        sampled=config.sample_slices,
        teacher=teacher_of(checkpoint, session.device)
        if loss.taught or not task.supervised
        else None,
    )
    training = Training(objective, dataset.train, data, config, parts, session.device, progress)
    out = config.out or config.run / "finetuned.safetensors"
    traces = training_files(session, config, report_file(config, "finetune", config.out), out)
    history = fit(training, traces, from_start=True, progress=progress, score=score)
    made = replace(
        without_weights(checkpoint),
        kind="finetuned",
        # the ANN that was converted; a network trained with its neurons has none
        reference={} if checkpoint.trained_directly else checkpoint.reference or checkpoint.network,
        spiking=info.model_copy(update={"timesteps": T}),
        lineage=(*checkpoint.lineage, lineage_step("finetune", file, config)),
    )
    last = _holding(made, snn)
    snn.load_state_dict(history.best)
    files = session.save(_holding(made, snn), progress, last)
    assert history.start is not None
    rows, held_out = history.rows, len(parts.validation)
    scores = (history.start.score, history.best_score, history.last_score)
    before, best, at_end = scores if dataset.info.task == ACCURACY_OF else (None, None, None)
    report = session.report(
        FinetuneReport,
        report_files(config, "finetune", config.out, files),
        files,
        data=data_use(dataset),
        subset=subset_use(dataset.train, parts.train, config.seed),
        held_out=subset_use(dataset.train, parts.validation, config.seed),
        corrections=correction_rows(made),
        neuron=info.neuron,
        norm=info.norm.name if info.norm else None,
        timesteps=T,
        latency_steps=snn.latency(T),
        **made.analysis.shares,
        task=data.task,
        headline=score,
        score_epoch0=scores[0],
        score_best=scores[1],
        score_last=scores[2],
        score_kinds=task.scores(checkpoint.analysis.outputs),
        scores_epoch0=history.start.scores,
        scores_best=history.best_scores,
        accuracy_epoch0=before,
        accuracy_epoch0_interval=interval(before, held_out),
        firing_rate_epoch0=history.start.firing_rate,
        accuracy_best=best,
        accuracy_best_interval=interval(best, held_out),
        before_and_after=_difference(history, held_out),
        epoch_best=history.best_epoch,
        accuracy_last=at_end,
        accuracy_last_interval=interval(at_end, held_out),
        resumed_after=history.resumed_after,
        engine=ways,
        epochs=rows,
        peak_memory_mib=runtime.peak_memory_mib(session.device),
    )
    traces.resume.unlink(missing_ok=True)
    return report


def _difference(history: History, samples: int) -> Difference | None:
    """Compare the kept epoch with the start; None if an older training file lacks the numbers."""
    texts = (history.start.right if history.start else "", history.best_right)
    if not all(texts):
        return None
    alone = discordant(*(unpacked(text, samples) for text in texts))
    return Difference(only_this_right=alone[0], only_other_right=alone[1], p=mcnemar(*alone))


def _holding(checkpoint: Checkpoint, snn: SpikingNetwork) -> Checkpoint:
    """Return the checkpoint with what the network has learned so far."""
    return replace(checkpoint, network=snn.network.tensors(), neurons=learned(snn))
