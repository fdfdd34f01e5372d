"""``snnconv correct``: add a correction that is found on samples, or remove one."""

import math
from dataclasses import replace

import torch

from snnconv.checkpoint import Checkpoint
from snnconv.checkpoint.corrections import place, without
from snnconv.config import CorrectConfig
from snnconv.core.kinds import READS
from snnconv.core.metadata import CorrectionInfo
from snnconv.core.progress import Progress, Quiet
from snnconv.core.validation import parameters
from snnconv.corrections.base import CORRECTIONS, Correction, Samples, corrected, mean_errors
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.errors import UsageError, did_you_mean
from snnconv.reports import CorrectedSiteRow, CorrectReport
from snnconv.simulation.build import spiking_network
from snnconv.simulation.memory import BatchPlan, bytes_per_sample
from snnconv.simulation.network import SpikingNetwork
from snnconv.stages.session import (
    Session,
    correction_rows,
    data_use,
    files_named,
    lineage_step,
    load_data,
    plan_batches,
    report_files,
    say_breach,
    subset_use,
)

DEFAULT = "bias"


def run(config: CorrectConfig, progress: Progress | None = None) -> CorrectReport:
    """Correct a network, and write a checkpoint of kind ``corrected``; the ANN's tensors stay.

    Raises:
        UsageError: the method can't correct these neurons, memory does not hold the samples, or
            the network lacks the correction to remove.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = session.open_checkpoint(config.checkpoint, READS["correct"])
    step = lineage_step("correct", file, config)
    checkpoint = replace(checkpoint, lineage=(*checkpoint.lineage, step))
    if config.remove is not None:
        return _remove(session, config, checkpoint, progress)
    return _add(session, config, checkpoint, progress)


def _add(
    session: Session, config: CorrectConfig, checkpoint: Checkpoint, progress: Progress
) -> CorrectReport:
    """Add one correction to the network."""
    name = config.method or DEFAULT
    kind = CORRECTIONS.load(name)
    params = parameters(kind.params_type, config.param, f"correction '{name}'")
    session.inputs += files_named(name)
    info, method = checkpoint.conversion, kind(params)
    snn = spiking_network(checkpoint, engine=config.engine)
    if snn.lead:
        raise UsageError(
            f"{info.neuron} neurons can't be corrected",
            f"they run {snn.lead} steps before the T steps, which corrections do not see",
            "convert to other neurons, for example signed: snnconv convert --neuron signed",
        )
    method.refuse(checkpoint, snn)
    dataset = load_data(session, config, checkpoint.data)
    chosen = subset(strata(dataset.train), config.samples, config.seed)
    at_once = _at_once(session, config, method, snn, BatchPlan(len(chosen), info.timesteps))
    shown = frames_per_run(checkpoint.data.frames, info.timesteps, info.hold)
    drawn = list(
        batches(dataset.train, checkpoint.data, chosen, config.batch_size, frames_per_run=shown)
    )
    samples = Samples(
        torch.cat([x for _, x, _ in drawn], 1).to(session.device),
        torch.cat([indices for indices, _, _ in drawn]).to(session.device),
        config.engine,
        config.seed,
        at_once,
    )
    with progress.task("correct", len(checkpoint.graph.sites)) as advance:
        found = method.fit(checkpoint, samples, advance)
    made = CorrectionInfo(
        method=name,
        params=params.model_dump(),
        samples=len(chosen),
        timesteps=info.timesteps if method.of_one_timesteps else None,
    )
    after = corrected(checkpoint, found, made)
    errors = [mean_errors(each, samples) for each in (checkpoint, after)]
    say_breach(session, progress)
    files = session.save(after, progress)
    return session.report(
        CorrectReport,
        report_files(config, "correct", config.out, files),
        files,
        data=data_use(dataset),
        subset=subset_use(dataset.train, chosen, config.seed),
        neuron=info.neuron,
        timesteps=info.timesteps,
        latency_steps=snn.latency(info.timesteps),
        method=name,
        params=made.params,
        samples=made.samples,
        removed=False,
        corrections=correction_rows(after),
        parts=_parts(after, len(after.corrected)),
        **after.analysis.shares,
        sites=[
            CorrectedSiteRow(
                name=name, mean_error_before=errors[0][name], mean_error_after=errors[1][name]
            )
            for name in errors[0]
        ],
    )


def _at_once(
    session: Session,
    config: CorrectConfig,
    method: Correction,
    network: SpikingNetwork,
    wanted: BatchPlan,
) -> int:
    """Return how many samples to simulate at once, so that memory holds them; 0 for all.

    Raises:
        UsageError: memory does not even hold what reaches a site of all samples.
    """
    # memory also holds the values that a correction tries, and those of the ANN
    if plan_batches(session, network, wanted, config.memory_bytes(), share=4) == wanted:
        return 0
    assert session.bound is not None
    memory, confident = session.bound.bytes, network.confidence is not None or network.draws
    each = bytes_per_sample(network.analysis, wanted.steps, confident)
    held, most = method.held(network, wanted.steps), memory // each
    if held is not None:
        held *= torch.float32.itemsize
        if (found := (memory - wanted.samples * held) // each) > 0:
            return found
        most = max(most, (memory - each) // held)
    needed = math.ceil((each + (held or 0)) / 2**20)
    fewer = f"take fewer, --samples {most}, or " if most > 0 else ""
    raise UsageError(
        f"memory does not hold what a correction sees of {wanted.samples} samples",
        f"{memory / 2**20:.3g} MiB, where one sample over {wanted.steps} steps takes up to "
        f"{needed} MiB",
        f"{fewer}give more: --memory SIZE",
    )


def _remove(
    session: Session, config: CorrectConfig, checkpoint: Checkpoint, progress: Progress
) -> CorrectReport:
    """Remove the last correction by a method."""
    if config.method is not None or config.param:
        raise UsageError(
            "--remove can't be used",
            "--method or --param, which add a correction",
            "give one of them: add and remove by a command each",
        )
    methods = [made.method for made in checkpoint.corrected]
    if config.remove not in methods:
        raise UsageError(
            "there is no such correction to remove",
            f"'{config.remove}', where the network has {', '.join(methods) or 'none'}",
            did_you_mean(str(config.remove), methods) if methods else "snnconv correct",
        )
    number = max(n for n, method in enumerate(methods, start=1) if method == config.remove)
    made, parts = checkpoint.corrected[number - 1], _parts(checkpoint, number)
    if later := methods[number:]:
        session.warn(
            progress,
            f"{', '.join(later)}: measured with {made.method} in place; to measure again, "
            "remove and correct",
        )
    after = replace(
        checkpoint,
        kind="corrected",
        corrected=(*checkpoint.corrected[: number - 1], *checkpoint.corrected[number:]),
        corrections=without(checkpoint.corrections, number),
    )
    info, files = checkpoint.conversion, session.save(after, progress)
    return session.report(
        CorrectReport,
        report_files(config, "correct", config.out, files),
        files,
        neuron=info.neuron,
        timesteps=info.timesteps,
        latency_steps=spiking_network(after).latency(info.timesteps),
        method=made.method,
        params=made.params,
        removed=True,
        corrections=correction_rows(after),
        parts=parts,
        **after.analysis.shares,
    )


def _parts(checkpoint: Checkpoint, number: int) -> dict[str, int]:
    """Return how many numbers a correction adds, by part."""
    found: dict[str, int] = {}
    for key, tensor in checkpoint.corrections.items():
        at = place(key)
        if at.number == number:
            found[at.part] = found.get(at.part, 0) + tensor.numel()
    return found
