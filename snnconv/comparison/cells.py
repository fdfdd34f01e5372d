"""The cells of a comparison: run what is left to run, divided over processes, and read the rest.

Each process takes every n-th piece of work and does it alone, so a cell does not depend on the
process that makes it. All pieces of one kind are done before the next kind begins: calibrations,
which several cells share; each method's cell with the most steps, from which cells of fewer steps
may follow; the other cells. If a method does not work on a network, or needs more memory than there
is, the others go on.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from snnconv.comparison import grid
from snnconv.config import CalibrateConfig, ConvertConfig, CorrectConfig, EvaluateConfig
from snnconv.core import distributed
from snnconv.core.progress import Advance, Progress, Quiet
from snnconv.errors import SnnconvError, UnforeseenError
from snnconv.neurons.base import NEURONS
from snnconv.render import units
from snnconv.reports import ConvertReport, EvaluateReport, ReportType, read
from snnconv.stages.advance import advance

Name = TypeVar("Name")
Piece = TypeVar("Piece")
Key = tuple[str, int]
"""A method and T."""


@dataclass(frozen=True)
class Evaluated:
    """A cell's evaluation, with the files behind it."""

    plan: grid.Plan
    report: EvaluateReport
    file: Path

    def tells(self, timesteps: int) -> bool:
        """Whether its evaluation says all that one of fewer steps would.

        Which samples are right, by which networks are tested against each other, is kept at T and
        at powers of two alone.
        """
        kept = (self.report.outcomes, self.report.headline_parts)
        return self._begins_alike and all(each is None or timesteps in each.steps for each in kept)

    @property
    def _begins_alike(self) -> bool:
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
        """Return the report of the one stage of this name."""
        (file,) = self.beside(stage)
        return read(file, kind)

    def beside(self, stage: str) -> list[Path]:
        """Return the reports of the stages of one name."""
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
        """Note a cell that cost nothing, because it was there or another process made it."""
        self.done += 1
        self._advance(1)

    def failed(self, cell: str, error: SnnconvError) -> None:
        """Note a cell that could not be made, and say why."""
        self.kept()
        self.progress.say(f"{cell}: failed: {error.problem}: {error.found}")

    def ran(self, cell: str, seconds: float) -> None:
        """Note an evaluated cell; say what is left, at most, at the mean pace so far."""
        self.kept()
        self.run, self.seconds = self.run + 1, self.seconds + seconds
        left = (self.total - self.done) * self.seconds / self.run / distributed.size()
        until = f", at most {units.seconds(left)} left" if self.done < self.total else ""
        self.progress.say(f"{cell}: done ({self.done} of {self.total}{until})")


@dataclass(frozen=True)
class Cells:
    """The results of all cells of a comparison.

    Attributes:
        evaluated: those that were measured.
        failed: the others, with what was in the way.
    """

    evaluated: dict[Key, Evaluated]
    failed: dict[Key, SnnconvError]


def evaluate_cells(plans: Mapping[Key, grid.Plan], clock: Clock) -> Cells:
    """Evaluate every cell that has no evaluation yet, and return all cells.

    Raises:
        SnnconvError: no cell could be evaluated, or none of those that are left.
    """
    calibrations = {config.model_dump_json(): config for (_, config), *_ in plans.values()}
    uncalibrated = divided(
        calibrations,
        lambda config: _advance([("calibrate", config)]),
        lambda config: None,
        lambda config, error: None,  # it is said of each cell
    )
    failed: dict[Key, SnnconvError] = {}
    for key, ((_, config), *_) in plans.items():
        if error := uncalibrated.get(config.model_dump_json()):
            failed[key] = error
            clock.failed(grid.cell(*key), error)
    most = max(timesteps for _, timesteps in plans)
    left = {key: plan for key, plan in plans.items() if key not in failed}
    found = _evaluated({key: left[key] for key in left if key[1] == most}, clock, failed)
    follow = {
        key: found[key[0], most]
        for key in left
        if key[1] < most and (key[0], most) in found and found[key[0], most].tells(key[1])
    }
    for _ in follow:
        clock.kept()
    rest = {key: left[key] for key in left if key[1] < most and key not in follow}
    found |= follow | _evaluated(rest, clock, failed)
    if not found:
        raise next(iter(failed.values()))
    return Cells(found, failed)


def _evaluated(
    plans: Mapping[Key, grid.Plan], clock: Clock, failed: dict[Key, SnnconvError]
) -> dict[Key, Evaluated]:
    """Evaluate cells; add those that can't be evaluated to ``failed``."""
    errors = divided(
        plans,
        lambda plan: _run(plan, clock),
        lambda plan: clock.kept(),
        lambda key, error: clock.failed(grid.cell(*key), error),
    )
    failed |= errors
    return {key: _read(plan) for key, plan in plans.items() if key not in errors}


def divided(
    pieces: Mapping[Name, Piece],
    work: Callable[[Piece], object],
    other: Callable[[Piece], object],
    failing: Callable[[Name, SnnconvError], object],
) -> dict[Name, SnnconvError]:
    """Do this process's share of some work, wait for the others, and return what failed.

    Args:
        pieces: the pieces of the work, by name.
        work: does one, as if this were the only process.
        other: is told of one that another process does.
        failing: is told of one that failed in this process.

    Raises:
        SnnconvError: what was in the way of one is in the way of all, or nobody knows.
    """
    rank, size, failed = distributed.rank(), distributed.size(), dict[Name, SnnconvError]()
    for number, (name, piece) in enumerate(pieces.items()):
        if number % size != rank:
            other(piece)
            continue
        try:
            with distributed.alone():
                work(piece)
        except SnnconvError as error:
            # a file that the system refuses, for example because the disk is full
            if isinstance(error, UnforeseenError) or isinstance(error.__cause__, OSError):
                raise
            failing(name, error)
            failed[name] = error
    return distributed.gathered(failed)


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
    """Return the report of a cell's evaluation."""
    return Path(getattr(plan[-1][1], "out"))  # noqa: B009 - the config's type does not say it
