"""The cells of a comparison: run what is left to run, divided over processes, and read the rest.

Each process takes every n-th piece of work and does it alone, so a cell does not depend on who
makes it. All pieces of one kind are done before the next kind begins: calibrations, which several
cells share; each method's cell with the most steps, from which cells of fewer steps may follow; the
other cells.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from snnconv.comparison import grid
from snnconv.config import CalibrateConfig, ConvertConfig, CorrectConfig, EvaluateConfig
from snnconv.core import distributed
from snnconv.core.progress import Advance, Progress, Quiet
from snnconv.neurons.base import NEURONS
from snnconv.render import units
from snnconv.reports import ConvertReport, EvaluateReport, ReportType, read
from snnconv.stages.advance import advance

Piece = TypeVar("Piece")
Key = tuple[str, int]
"""A method and T."""


@dataclass(frozen=True)
class Evaluated:
    """A cell's evaluation, with the files behind it."""

    plan: grid.Plan
    report: EvaluateReport
    file: Path

    @property
    def has_all_steps(self) -> bool:
        """Whether a simulation of T steps begins as those of fewer steps do.

        It does if thresholds and neurons do not depend on T, nothing was corrected for it, and the
        network has an answer after every step.
        """
        if any(stage == "correct" for stage, _ in self.plan) or self.report.first_answer_step != 1:
            return False
        kind = NEURONS.load(self.report.neuron)
        fixed = kind.params_type.model_validate(self.report.params).fixed
        return not fixed and self.report_of("convert", ConvertReport).thresholds != "derived"

    @property
    def checkpoint(self) -> Path:
        """The network; its T may be longer than the cell's."""
        (*_, (_, last)) = self.plan
        assert isinstance(last, EvaluateConfig)
        assert last.checkpoint is not None
        return last.checkpoint

    def report_of(self, stage: str, kind: type[ReportType]) -> ReportType:
        """The report of the one stage of this name."""
        (file,) = self.beside(stage)
        return read(file, kind)

    def beside(self, stage: str) -> list[Path]:
        """The reports of the stages of one name."""
        return [
            config.out.with_suffix(".json")
            for name, config in self.plan
            if name == stage
            and isinstance(config, CalibrateConfig | ConvertConfig | CorrectConfig)
            and config.out is not None
        ]


class Clock:
    """How far a comparison is, and how long the rest may take.

    Args:
        total: cells.
        done: called with each number of cells done.
        progress: told after each evaluation.
    """

    def __init__(self, total: int, done: Advance, progress: Progress) -> None:
        self.total, self.progress = total, progress
        self.run, self.done, self.seconds = 0, 0, 0.0
        self._advance = done

    def kept(self) -> None:
        """A cell cost nothing: it was there, came with another one, or another process ran it."""
        self.done += 1
        self._advance(1)

    def ran(self, cell: str, seconds: float) -> None:
        """A cell was evaluated; say what is left, at most, at the mean pace so far."""
        self.kept()
        self.run, self.seconds = self.run + 1, self.seconds + seconds
        left = (self.total - self.done) * self.seconds / self.run / distributed.size()
        until = f", at most {units.seconds(left)} left" if self.done < self.total else ""
        self.progress.say(f"{cell}: done ({self.done} of {self.total}{until})")


def evaluated(plans: Mapping[Key, grid.Plan], clock: Clock) -> dict[Key, Evaluated]:
    """All cells, each made or found."""
    calibrations = {config.model_dump_json(): config for (_, config), *_ in plans.values()}
    _divided(
        calibrations.values(),
        lambda config: _advance([("calibrate", config)]),
        lambda config: None,
    )
    most = max(timesteps for _, timesteps in plans)
    longest = [key for key in plans if key[1] == most]
    found = _made({key: plans[key] for key in longest}, clock)
    follow = {
        key: found[key[0], most]
        for key in plans
        if key not in found and found[key[0], most].has_all_steps
    }
    for _ in follow:
        clock.kept()
    found |= follow
    return found | _made({key: plans[key] for key in plans if key not in found}, clock)


def _made(plans: Mapping[Key, grid.Plan], clock: Clock) -> dict[Key, Evaluated]:
    """Cells that have evaluations of their own."""
    _divided(plans.values(), lambda plan: _run(plan, clock), lambda plan: clock.kept())
    return {key: _read(plan) for key, plan in plans.items()}


def _divided(
    pieces: Iterable[Piece], work: Callable[[Piece], object], other: Callable[[Piece], object]
) -> None:
    """Do this process's share of some work, and wait for the others.

    Args:
        pieces: of the work.
        work: does one, as if this were the only process.
        other: is told of one that another process does.
    """
    rank, size = distributed.rank(), distributed.size()
    for number, piece in enumerate(pieces):
        if number % size == rank:
            with distributed.alone():
                work(piece)
        else:
            other(piece)
    distributed.wait()


def _advance(plan: grid.Plan) -> list[str]:
    """Run what is left to run of some stages, and say of each whether it was run."""
    return [advance(stage, config, Quiet()) for stage, config in plan]


def _run(plan: grid.Plan, clock: Clock) -> None:
    """Run what is left to run of a cell."""
    started = time.perf_counter()
    if _advance(plan)[-1] == "run":
        clock.ran(_file(plan).stem, time.perf_counter() - started)
    else:
        clock.kept()


def _read(plan: grid.Plan) -> Evaluated:
    return Evaluated(plan, read(_file(plan), EvaluateReport), _file(plan))


def _file(plan: grid.Plan) -> Path:
    """The report of a cell's evaluation."""
    return Path(getattr(plan[-1][1], "out"))  # noqa: B009 - the config's type does not say it
