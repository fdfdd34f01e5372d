"""The history of a training: its log, the epoch that is kept, and how it is taken up again.

After every epoch the log (JSON, a row for each line) and the state that the next epoch depends on
are written, each file whole or not at all. A resumed training ends in the same bits as one that
never stopped.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from snnconv.core import distributed
from snnconv.core.files import write_atomically
from snnconv.core.progress import Progress
from snnconv.core.scores import ACCURACY, Score
from snnconv.core.uncertainty import unpacked
from snnconv.errors import CheckFailedError
from snnconv.render.units import seconds
from snnconv.reports import EpochRow
from snnconv.tasks.base import Values
from snnconv.training.loop import Training
from snnconv.training.objective import Measured
from snnconv.training.resume import Saved, Standing, check_tensors, read, refuse, write
from snnconv.training.tensorboard import Board, needed


@dataclass
class History:
    """A training as it goes.

    Attributes:
        start: measured before any training; none if that says nothing.
        rows: an epoch each.
        score: what says which is better.
        best_epoch: the epoch with the best score, the later of equals; 0 for the start.
        best: the module's tensors then.
        best_right: which validation samples were right then (:attr:`.Measured.right`).
        resumed_after: epochs done before it was taken up again.
    """

    score: Score
    start: Measured | None = None
    rows: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    best_right: str = ""
    resumed_after: int | None = None

    @property
    def best_score(self) -> float | None:
        """Of the best epoch, the start included."""
        if self.best_epoch:
            return self.rows[self.best_epoch - 1].measured
        return self.start.score if self.start else None

    @property
    def best_scores(self) -> Values:
        """Every score of the best epoch, the start included."""
        if self.best_epoch:
            return self.rows[self.best_epoch - 1].scores
        return self.start.scores if self.start else {}

    @property
    def last_score(self) -> float | None:
        """Of the last epoch, or of the start."""
        if self.rows:
            return self.rows[-1].measured
        return self.start.score if self.start else None

    def best_or_equal(self, score: float) -> bool:
        """Whether no epoch before was better."""
        return self.best_score is None or not self.score.better(self.best_score, score)


@dataclass(frozen=True)
class TrainingFiles:
    """The files of a history.

    Attributes:
        log: a row an epoch, JSONL.
        resume: the state to resume from; removed when the training is done.
        setting: what must be the same then.
        taken_up: whether to go on from there, if it is there.
        good: checkpoints that a training which fails leaves as they are.
        board: the folder for TensorBoard; none if nobody looks.
    """

    log: Path
    resume: Path
    setting: Mapping[str, Any]
    taken_up: bool
    good: tuple[Path, ...] = ()
    board: Path | None = None


def fit(
    training: Training,
    files: TrainingFiles,
    from_start: bool,
    progress: Progress,
    score: Score = ACCURACY,
) -> History:
    """Train to the end, or from where an interrupted training stood.

    Args:
        training: at its start.
        files: its log, and what it goes on from.
        from_start: whether the network as it came is measured and is a candidate for the best.
        progress: told of every epoch.
        score: that says which epoch is better.

    Raises:
        CheckFailedError: it diverged.
        UsageError: it is to go on with other options.
    """
    if files.board is not None:
        needed()
    there = files.taken_up and files.resume.exists()
    distributed.wait()  # for all to have looked before it is written
    if there:
        history = _taken_up(training, read(files.resume, files.setting), files.resume, score)
        progress.say(f"going on after epoch {history.resumed_after}")
    else:
        if files.taken_up:
            progress.say(f"there is no {files.resume}: from the beginning")
        history = History(score)
        if from_start:
            training.module.eval()
            history.start = training.objective.measure()
            history.best, history.best_right = _module(training), history.start.right
            progress.say(f"epoch   0  {_told(score, history.start.score)}  (as it came)")
        _keep(training, history, files)
    try:
        with Board(files.board, training.epoch + 1 if there else 0) as board:
            if history.start and not there:
                board.start(history.start.score, history.start.firing_rate)
            _epochs(training, history, files, board, progress)
    except KeyboardInterrupt as error:
        error.add_note(
            f"{files.resume} holds {len(history.rows)} epochs: to go on, give the same command "
            "--resume, or a recipe --set STAGE.resume=true"
        )
        raise
    except CheckFailedError as error:  # it would diverge again, so no state is left to resume from
        files.log.unlink(missing_ok=True)
        files.resume.unlink(missing_ok=True)
        if not files.good:
            raise
        good = " and ".join(str(file) for file in files.good)
        remedy = f"{error.remedy}; {good} {'is' if len(files.good) == 1 else 'are'} as before"
        raise CheckFailedError(error.problem, error.found, remedy) from error
    return history


def _epochs(
    training: Training, history: History, files: TrainingFiles, board: Board, progress: Progress
) -> None:
    for row in training.epochs():
        history.rows.append(row)
        if history.best_or_equal(row.measured):  # of equals the later: its loss is lower
            history.best_epoch, history.best = row.epoch, _module(training)
            history.best_right = training.measured.right
        _keep(training, history, files)
        board.add(row)
        progress.say(
            f"epoch {row.epoch:3d}  loss {row.loss:.4f}  "
            f"{_told(history.score, row.measured)}  "
            f"({row.seconds:.1f} s{_left(history.rows, training.config.epochs)})"
        )


def _told(score: Score, value: float) -> str:
    """Return a score of the validation samples, in words; an accuracy goes without saying."""
    name = "" if score == ACCURACY else f"{score.words} "
    return f"validation {name}{score.shown(value)}"


def _left(rows: list[EpochRow], epochs: int) -> str:
    """Return how long the epochs to come will take, at the pace of the last three."""
    last, left = rows[-3:], epochs - rows[-1].epoch
    expected = left * sum(row.seconds for row in last) / len(last)
    return f", about {seconds(expected)} left" if left else ""


def _module(training: Training) -> dict[str, Tensor]:
    return {name: t.detach().cpu().clone() for name, t in training.module.state_dict().items()}


def _lines(rows: Iterable[EpochRow]) -> bytes:
    return "".join(json.dumps(row.model_dump(), sort_keys=True) + "\n" for row in rows).encode()


def _keep(training: Training, history: History, files: TrainingFiles) -> None:
    standing = Standing(
        epoch=training.epoch,
        start=history.start and history.start[:2],
        best_epoch=history.best_epoch,
        rows=tuple(history.rows),
        right=(history.start.right, history.best_right) if history.start else None,
        scores=history.start.scores if history.start else {},
    )
    best = {f"best/{name}": tensor for name, tensor in history.best.items()}
    write(Saved(files.setting, standing, training.state() | best), files.resume)
    write_atomically(files.log, _lines(history.rows))


def _taken_up(training: Training, saved: Saved, file: Path, score: Score) -> History:
    best = {n.removeprefix("best/"): t for n, t in saved.tensors.items() if n.startswith("best/")}
    rest = {name: t for name, t in saved.tensors.items() if not name.startswith("best/")}
    standing = saved.standing
    kept = standing.best_epoch > 0 or standing.start is not None
    try:
        training.restore(rest, standing.epoch)
        if kept or best:
            check_tensors(best, training.module.state_dict())
        for text in filter(None, standing.right or ()):
            unpacked(text, len(training.parts.validation))
    except ValueError as error:
        raise refuse(file, str(error)) from error
    training.module.eval()
    before, kept_right = standing.right or ("", "")
    return History(
        score,
        start=Measured(*standing.start, before, standing.scores) if standing.start else None,
        rows=list(standing.rows),
        best_epoch=standing.best_epoch,
        best=best,
        best_right=kept_right,
        resumed_after=standing.epoch,
    )
