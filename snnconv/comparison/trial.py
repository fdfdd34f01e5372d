"""Measure one network on held-out samples, and give up as soon as it can't win.

Shape:
    Logits ``[T, B, classes]`` of batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.comparison.held_out import HeldOut
from snnconv.config import ConvertConfig
from snnconv.core.scores import ACCURACY, Score
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.errors import UsageError
from snnconv.metrics.base import METRICS, Batch, Figures, Metric, Watch
from snnconv.simulation.build import metric_context, spiking_network
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.simulate import simulate
from snnconv.stages.evaluate import CPU_BATCH, GPU_BATCH
from snnconv.stages.session import Session, plan_batches

CHUNK = 32  # steps at once
ENOUGH = 50  # number of samples whose mean cost estimates that of all samples
DEARER = 1.1  # and is not by chance so much larger than another network's


@dataclass(frozen=True)
class Costs:
    """The mean cost of an answer.

    Attributes:
        latency: the steps until the answer.
        energy_mj: the energy of a sample, with the first layer.
        energy_ann_mj: the energy of the ANN.
        spikes: the spikes of a sample.
    """

    latency: int
    energy_mj: float
    energy_ann_mj: float
    spikes: float

    def key(self, by: Literal["energy", "latency", "spikes"]) -> tuple[float, float]:
        """Return the costs by which networks are ordered: the wanted one, then another one."""
        return {
            "energy": (self.energy_mj, self.latency),
            "latency": (self.latency, self.energy_mj),
            "spikes": (self.spikes, self.energy_mj),
        }[by]


@dataclass(frozen=True)
class Trial:
    """The measurement of one network.

    Attributes:
        method: the name of the preset.
        timesteps: T.
        samples: the number of measured samples.
        right: how many of them have the wanted class.
        ann_right: how many of them get that class from the ANN.
        score: the share of right samples, or the score of another task.
        ann_score: the score of the ANN on the same samples.
        kind: the kind of score.
        costs: the costs on these samples.
        gave_up: why not all samples were measured; empty if they were.
    """

    method: str
    timesteps: int
    samples: int
    right: int
    ann_right: int
    score: float
    ann_score: float
    kind: Score
    costs: Costs
    gave_up: Literal["", "below", "dearer"]

    @property
    def below(self) -> float:
        """How much worse the score is than the ANN's, in its unit; times 100 for an ANN at 0."""
        ahead = self.kind.ahead(self.score, self.ann_score)
        return 100 * abs(self.score) if ahead is None else -ahead


def measure(
    checkpoint: Checkpoint,
    method: str,
    held: HeldOut,
    session: Session,
    config: ConvertConfig,
    enough: Callable[[int, int | None, Costs], Literal["", "below", "dearer"]],
) -> Trial:
    """Simulate batch by batch, until all samples are measured or the network is given up.

    Args:
        checkpoint: a checkpoint with neurons.
        method: the name of the preset.
        held: the samples.
        session: the session, with its device and memory.
        config: the options of the search.
        enough: decides whether to give up, from the samples that are done, how many of them are
            right, if that is measured, and the costs so far.
    """
    info = checkpoint.conversion
    T = info.timesteps
    snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
    context = metric_context(checkpoint, snn, T)
    metrics: dict[str, Metric] = {
        name: METRICS.load(name)(context) for name in ("synops", "firing-rate", "energy")
    }
    watch = Watch(metrics.values(), session.device)
    size = CPU_BATCH if session.device.type == "cpu" else GPU_BATCH
    wanted = BatchPlan(size, min(CHUNK, T) if snn.causal else T)
    at_once = plan_batches(session, snn, wanted, config.memory_bytes(), timesteps=T)
    shown = frames_per_run(checkpoint.data.frames, T, info.hold)
    done = right = 0
    task, rows = held.task, list[Tensor]()
    gave_up: Literal["", "below", "dearer"] = ""
    drawn = batches(held.split, checkpoint.data, held.order, at_once.samples, frames_per_run=shown)
    for indices, x, labels in drawn:
        for metric in metrics.values():
            metric.begin(Batch(labels, None, {}, indices))
        x, samples = x.to(session.device), indices.to(session.device)
        average = simulate(snn, x, samples, T, at_once.steps, watch, watch.needs)
        outputs = average[-1].cpu()
        targets = held.wanted[done : done + len(outputs)]
        if task is None:
            right += int((outputs.argmax(1) == targets).sum())
        else:
            rows.append(task.rows(outputs[None], targets)[0])
        done += len(outputs)
        costs = _costs(metrics, snn.latency(T))
        known = right if task is None else None
        if done < len(held.order) and (gave_up := enough(done, known, costs)):
            break
    ann_right = int(held.ann_right[:done].sum())
    if task is None:
        scores, kind = (right / done, ann_right / done), ACCURACY
    else:
        assert held.ann_rows is not None
        kind = task.scores(snn.analysis.outputs)[0]
        both = (torch.cat(rows), held.ann_rows[:done])
        one, other = (task.values(each)[kind.name] for each in both)
        if one is None or other is None:
            raise UsageError(
                f"the {kind.name} of the held-out samples is undefined",
                f"{done} samples whose labels or outputs do not vary",
                "hold out more of them: --held-out",
            )
        scores = (one, other)
    return Trial(method, T, done, right, ann_right, *scores, kind, costs, gave_up)


def _costs(metrics: dict[str, Metric], latency: int) -> Costs:
    found = Figures()
    for metric in metrics.values():
        found.totals |= metric.figures(found).totals
    totals = found.totals
    return Costs(
        latency=latency,
        energy_mj=totals["energy_total_mj"],
        energy_ann_mj=totals["energy_ann_mj"],
        spikes=totals["spikes_per_sample"],
    )
