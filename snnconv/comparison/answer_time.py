"""Measure the time until a spiking network's answer, in forward passes of its ANN.

Both run on the same images, in the same process, in turns: the simulation without metrics, with all
steps before the T steps, and one forward pass of the ANN with BatchNorm folded. The first round
compiles and does not count. Of the others, the fastest of each counts, because other work on the
machine makes a run slower, never faster.

Shape:
    Images ``[f, B, *input]``, a batch as in ``evaluate``.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from snnconv.checkpoint import load
from snnconv.comparison.cells import Evaluated, Key
from snnconv.config import CompareConfig
from snnconv.core import distributed, runtime
from snnconv.core.kinds import SPIKING
from snnconv.data.dataset import Dataset, batches
from snnconv.data.frames import frames_per_run, mean_frame
from snnconv.data.split import strata, subset
from snnconv.reports import MethodRow
from snnconv.simulation.build import spiking_network
from snnconv.simulation.corrected import uncorrected
from snnconv.simulation.simulate import simulate
from snnconv.stages.session import Session, load_data

ROUNDS = 5
ENOUGH = 10.0  # seconds after which no other round begins


def paced(
    rows: list[MethodRow], cells: Mapping[Key, Evaluated], session: Session, config: CompareConfig
) -> list[MethodRow]:
    """Return the rows with the time to the first answer within one point of the ANN.

    Only the process that writes the report measures.
    """
    near = {row.method: row.within_1_point for row in rows if row.within_1_point is not None}
    if not near or distributed.rank() != 0:
        return rows
    first = cells[next(iter(near.items()))]
    dataset = load_data(session, config, load(first.checkpoint, SPIKING).data)
    taken = {name: _passes(cells[name, T], T, dataset, session, config) for name, T in near.items()}
    return [
        row.model_copy(update={"forward_passes_to_1_point": taken.get(row.method)}) for row in rows
    ]


@torch.no_grad()
def _passes(
    cell: Evaluated, timesteps: int, dataset: Dataset, session: Session, config: CompareConfig
) -> float:
    """Return the time of a simulation of T steps, divided by that of a forward pass of the ANN."""
    checkpoint, report = load(cell.checkpoint, SPIKING), cell.report
    assert report.samples_at_once is not None
    assert report.steps_at_once is not None
    snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
    ann = (uncorrected(checkpoint) or snn.network).to(session.device).eval()
    order = subset(strata(dataset.test), config.limit, config.seed)[: report.samples_at_once]
    shown = frames_per_run(checkpoint.data.frames, timesteps, checkpoint.conversion.hold)
    drawn = batches(dataset.test, checkpoint.data, order, len(order), frames_per_run=shown)
    ((indices, x, _),) = drawn
    x, samples = x.to(session.device), indices.to(session.device)
    steps = min(report.steps_at_once, timesteps) if snn.causal else timesteps
    simulation, forward_pass = fastest(
        partial(simulate, snn, x, samples, timesteps, steps),
        partial(ann, mean_frame(x)),
        clock=partial(runtime.clock, session.device),
    )
    return simulation / forward_pass


def fastest(*work: Callable[[], object], clock: Callable[[], float]) -> list[float]:
    """Return the least time of each piece of work over some rounds, in the unit of the clock."""
    for each in work:
        each()
    least, started = [float("inf")] * len(work), clock()
    for _ in range(ROUNDS):
        for number, each in enumerate(work):
            before = clock()
            each()
            least[number] = min(least[number], clock() - before)
        if clock() - started > ENOUGH:
            break
    return least
