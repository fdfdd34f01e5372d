"""``snnconv reparameterize``: turn L levels and T steps into one threshold and L*T steps.

Reference:
    LM-HT, Theorem 4.2 and the section on reparameterization.

Deviations:
    No weight or bias is rescaled: outputs are rates either way (Methods: "The one rule").
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.config import ReparameterizeConfig
from snnconv.core.kinds import READS
from snnconv.core.metadata import SpikingInfo
from snnconv.core.progress import Progress, Quiet
from snnconv.core.scores import Score
from snnconv.core.uncertainty import interval, mcnemar, paired
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.engine.layer_output import LayerOutput
from snnconv.errors import CheckFailedError, UsageError
from snnconv.metrics.base import Figures, Watch
from snnconv.metrics.synops import Synops
from snnconv.reports import Difference, ReparameterizeReport, WindowRow
from snnconv.simulation.build import learned, metric_context, spiking_network
from snnconv.simulation.corrected import slowed
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate
from snnconv.stages.session import (
    Session,
    correction_rows,
    data_use,
    lineage_step,
    load_data,
    plan_batches,
    report_files,
    subset_use,
)
from snnconv.tasks.base import GROUPS, TASKS, pseudo_values, refuse_labels
from snnconv.training.held_out_score import ACCURACY_OF


def run(config: ReparameterizeConfig, progress: Progress | None = None) -> ReparameterizeReport:
    """Reparameterize a network, run both on the test split, and write the new one.

    Raises:
        UsageError: the neurons have one threshold already.
        UnsupportedError: the labels do not fit the task.
        CheckFailedError: the score that decides differs by more than the tolerance, or is
            undefined; nothing is written.
    """
    progress = progress or Quiet()
    session = Session(config)
    file, checkpoint = session.open_checkpoint(
        config.checkpoint, READS["reparameterize"], "snnconv convert --neuron lm-ht"
    )
    info = checkpoint.conversion
    shown = frames_per_run(checkpoint.data.frames, info.timesteps, info.hold)  # of both networks
    dataset = load_data(session, config, checkpoint.data)
    refuse_labels(dataset.info, dataset.labels, checkpoint.analysis.outputs)
    after = replace(
        _single_threshold(checkpoint, config.vanilla),
        lineage=(*checkpoint.lineage, lineage_step("reparameterize", file, config)),
    )
    task = TASKS.load(dataset.info.task)
    both = [_Side(c, spiking_network(c).to(session.device).eval()) for c in (checkpoint, after)]
    L = both[0].network.levels
    # memory also holds the counts of all neurons of both networks
    wanted = BatchPlan(config.batch_size, both[1].timesteps)
    at_once = plan_batches(session, both[1].network, wanted, share=4)  # two networks
    order = subset(strata(dataset.test), config.limit, config.seed)
    differing: dict[str, int] = {}
    windows: dict[str, int] = {}
    with progress.task("compare", len(order)) as advance:
        drawn = batches(dataset.test, checkpoint.data, order, at_once.samples, frames_per_run=shown)
        for indices, x, labels in drawn:
            x, samples = x.to(session.device), indices.to(session.device)
            before, single = (side.simulated(x, samples) for side in both)
            # without labels, the earlier prediction counts as right
            targets = labels if task.supervised else before.outputs
            assert targets is not None
            for side, made in zip(both, (before, single), strict=True):
                side.rows.append(task.rows(made.outputs[None], targets)[0])
            for name, counts in before.counts.items():
                by_window = single.counts[name].unflatten(0, (len(counts), L)).sum(1)
                differ = int((by_window != counts).sum())
                differing[name] = differing.get(name, 0) + differ
                windows[name] = windows.get(name, 0) + counts.numel()
            advance(len(indices))

    found = _compared(dataset.info.task, both, order)
    kind, (was, now) = found.kind, found.scores
    if not config.vanilla and not all(
        kind.within(*pair, config.tolerance) for pair in ((was, now), (now, was))
    ):
        raise CheckFailedError(
            f"the network reparameterized from {file} differs from it",
            f"{kind.title} {kind.shown(now)}, where it was {kind.shown(was)}",
            "allow more with --tolerance POINTS, or convert with fewer levels",
        )
    files = session.save(after, progress)
    return session.report(
        ReparameterizeReport,
        report_files(config, "reparameterize", config.out, files),
        files,
        corrections=correction_rows(checkpoint),
        data=data_use(dataset),
        subset=subset_use(dataset.test, order, config.seed),
        neuron=after.conversion.neuron,
        levels=L,
        timesteps_before=info.timesteps,
        timesteps_after=after.conversion.timesteps,
        latency_steps_before=both[0].network.latency(both[0].timesteps),
        latency_steps_after=both[1].network.latency(both[1].timesteps),
        vanilla=config.vanilla,
        **after.analysis.shares,
        samples=len(order),
        task=dataset.info.task,
        headline=kind,
        score_before=was,
        score_after=now,
        before_against_after=found.p,
        accuracy_before=was if found.difference else None,
        accuracy_before_interval=interval(was, len(order)) if found.difference else None,
        accuracy_after=now if found.difference else None,
        accuracy_after_interval=interval(now, len(order)) if found.difference else None,
        before_and_after=found.difference,
        sops_before=both[0].sops(),
        sops_after=both[1].sops(),
        window_mismatch_share=sum(differing.values()) / sum(windows.values()),
        sites=[
            WindowRow(name=name, window_mismatch_share=count / windows[name])
            for name, count in differing.items()
        ],
    )


def _single_threshold(checkpoint: Checkpoint, vanilla: bool) -> Checkpoint:
    """Return the checkpoint with neurons of one level."""
    info = checkpoint.conversion
    snn = spiking_network(checkpoint)
    twins = {name: neuron.single_threshold() for name, neuron in snn.neurons.items()}
    found = {name: twin for name, twin in twins.items() if twin is not None}
    if not found:
        why = "which have one threshold already"
        if snn.signed:
            why = "whose negative spikes no neuron of one threshold puts out"
        elif snn.levels > 1:
            why = f"whose {snn.levels} spikes a step no neuron of one threshold is known to replace"
        raise UsageError(
            "the network can't be reparameterized",
            f"{info.neuron} neurons, {why}",
            "snnconv convert --neuron lm-ht, or evaluate it as it is",
        )
    one = next(iter(found.values()))
    L = one.timesteps // info.timesteps
    params: dict[str, Any] = one.params.model_dump()
    spiking = SpikingInfo(
        neuron="if" if vanilla else info.neuron,
        params={"v0": params["v0"]} if vanilla else params,
        timesteps=one.timesteps,
        seed=info.seed,
        # a window of L steps is shown what one step was shown
        hold=info.hold * L if checkpoint.data.frames else info.hold,
        norm=info.norm,
    )
    single = SpikingNetwork(snn.network, found, info.seed, None)
    return replace(
        slowed(checkpoint, L),
        kind="reparameterized",
        spiking=spiking,
        neurons={} if vanilla else learned(single),
    )


class _Compared(NamedTuple):
    """Both networks, measured by the score that decides.

    Attributes:
        kind: the kind of score.
        scores: before and after.
        difference: McNemar's test, for a classifier.
        p: the p of the paired t-test over the parts of a jackknife, for other scores with labels.
    """

    kind: Score
    scores: tuple[float, float]
    difference: Difference | None
    p: float | None


def _compared(name: str, both: "list[_Side]", order: Tensor) -> _Compared:
    """Score both networks on the same samples.

    Raises:
        CheckFailedError: these samples leave the score undefined.
    """
    task = TASKS.recall(name)
    network = both[0].network
    kind = task.scores(network.analysis.outputs)[0]
    rows = [torch.cat(side.rows).cpu() for side in both]
    was, now = (task.values(each)[kind.name] for each in rows)
    if was is None or now is None:
        raise CheckFailedError(
            f"the {kind.name} of these samples is undefined",
            f"{len(order)} samples whose labels or outputs do not vary",
            "compare on more of them: --limit",
        )
    if name == ACCURACY_OF:
        right = [(each[:, 1] > 0).tolist() for each in rows]
        pairs = list(zip(*right, strict=True))
        alone = pairs.count((True, False)), pairs.count((False, True))
        tested = Difference(only_this_right=alone[0], only_other_right=alone[1], p=mcnemar(*alone))
        return _Compared(kind, (was, now), tested, None)
    if not task.supervised:
        return _Compared(kind, (was, now), None, None)
    parts = [pseudo_values(task, each, order % GROUPS, kind.name) for each in rows]
    return _Compared(kind, (was, now), None, paired(*parts) if all(parts) else None)


class _Simulated(NamedTuple):
    """What a batch gives: outputs ``[B, *out]``, and counts by site ``[T, B, *N]``."""

    outputs: Tensor
    counts: dict[str, Tensor]


@dataclass
class _Side:
    """One of the two networks, with the sums of what it has done so far."""

    checkpoint: Checkpoint
    network: SpikingNetwork
    rows: list[Tensor] = field(default_factory=list)
    synops: Synops = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.synops = Synops(
            metric_context(self.checkpoint, self.network, self.checkpoint.conversion.timesteps)
        )
        self.watch = Watch([self.synops], next(self.network.parameters()).device)

    @property
    def timesteps(self) -> int:
        """T."""
        return self.synops.context.timesteps

    def simulated(self, x: Tensor, samples: Tensor) -> _Simulated:
        """Simulate a batch."""
        found: dict[str, Tensor] = {}

        def observe(name: str, start: int, output: LayerOutput) -> None:
            self.watch(name, start, output)
            if name in self.network.neurons:
                assert output.counts is not None
                found[name] = output.counts

        T, needs = self.timesteps, replace(self.watch.needs, counts=True)
        outputs = simulate(self.network, x, samples, T, T, observe, needs)[-1].cpu()
        self.synops.samples += len(samples)
        return _Simulated(outputs, found)

    def sops(self) -> float:
        """Return the synaptic operations per sample."""
        return float(self.synops.figures(Figures()).totals["sops_per_sample"])
