"""The course of a training for TensorBoard: scalars by epoch, in a folder that the user names.

A training that is taken up again goes on in the same folder: what a killed process wrote of later
epochs is purged, as is what an earlier training left there.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from snnconv.core import distributed
from snnconv.core.packages import imported
from snnconv.errors import UsageError
from snnconv.reports import EpochRow

_LEFT_OUT = ("epoch", "accuracy_interval", "neuron_parameters", "scores")


def needed() -> None:
    """Look for TensorBoard before any work.

    Raises:
        UsageError: it is not installed.
    """
    imported("tensorboard", "--tensorboard")


class Board:
    """A writer of scalars; of several processes the first one writes.

    Args:
        folder: where; None writes nothing.
        epoch: the first that is to come.

    Raises:
        UsageError: the folder can't be written.
    """

    def __init__(self, folder: Path | None, epoch: int) -> None:
        self._folder = folder
        self._writer: Any = None
        if folder is None or distributed.rank() > 0:
            return
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder), purge_step=epoch)
        except OSError as error:
            raise self._refusal(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def start(self, score: float, firing_rate: float | None) -> None:
        """Write what was measured before any training, as epoch 0."""
        self._write(0, {"score": score, "firing_rate": firing_rate})

    def add(self, row: EpochRow) -> None:
        """Write an epoch."""
        values = row.model_dump(exclude=set(_LEFT_OUT)) | {"score": row.measured}
        scores = {f"scores/{name}": value for name, value in row.scores.items()}
        parameters = {f"neurons/{name}": value for name, value in row.neuron_parameters.items()}
        self._write(row.epoch, values | scores | parameters)

    def _write(self, epoch: int, values: dict[str, float | None]) -> None:
        if self._writer is None:
            return
        try:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, epoch)
            self._writer.flush()
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self._folder} can't be written (--tensorboard)",
            error.strerror or str(error),
            "name a folder with room that you may write to",
        )
