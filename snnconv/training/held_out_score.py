"""The scores of samples held out, whose outputs come batch by batch.

Shape:
    Outputs ``[B, *out]``, targets ``[B, ...]``.

Reference:
    The scores: :mod:`snnconv.tasks`.

Deviations:
    None.
"""

import torch
from torch import Tensor, nn

from snnconv.core import distributed
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress
from snnconv.core.uncertainty import packed
from snnconv.data.dataset import batches
from snnconv.data.split import Split
from snnconv.errors import CheckFailedError
from snnconv.tasks.base import TASKS, Values

ACCURACY_OF = "classification"
"""The task whose deciding score is an accuracy."""


class Tally:
    """Adds up what a task is measured by.

    Args:
        task: its name.
        samples: how many are measured, by all processes together.
        device: of the processes.
    """

    def __init__(self, task: str, samples: int, device: torch.device) -> None:
        self._task, self._device = TASKS.recall(task), device
        self._rows: list[Tensor] = []
        self._mine = distributed.share(torch.arange(samples))
        self._samples = samples
        self._outputs: tuple[int, ...] = ()

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add the next batch of this process's samples."""
        self._outputs = tuple(outputs.shape[1:])
        self._rows.append(self._task.rows(outputs[None], targets)[0].cpu())

    def scores(self) -> Values:
        """Return every score of the task, over all processes; the one that decides comes first.

        Raises:
            CheckFailedError: these samples leave the one that decides undefined.
        """
        rows = self._all()
        values = self._task.values(rows)
        found = {kind.name: values[kind.name] for kind in self._task.scores(self._outputs)}
        name, first = next(iter(found.items()))
        if first is None:
            raise CheckFailedError(
                f"the {name} of the held-out samples is undefined",
                f"{len(rows)} samples whose labels or outputs do not vary",
                "hold out more of them: --validation",
            )
        return found

    def score(self) -> float:
        """Return the score that decides; see :meth:`scores`."""
        return next(value for value in self.scores().values() if value is not None)

    def right(self) -> str:
        """Return which samples are right, a bit each; empty for other scores than shares."""
        score = self._task.scores(self._outputs)[0]
        right = self._task.right(self._all()) if score.outcome else None
        return "" if right is None else packed(right)

    def _all(self) -> Tensor:
        mine = torch.cat(self._rows)
        every = mine.new_zeros(self._samples, mine.shape[1])
        every[self._mine] = mine
        return distributed.add(every, self._device)


@torch.no_grad()
def ann_score(
    network: nn.Module,
    split: Split,
    info: DataInfo,
    order: Tensor,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> float:
    """Return the score that decides for an ANN, in evaluation mode."""
    network.eval()
    tally, mine = Tally(info.task, len(order), device), distributed.share(order)
    with progress.task("validate", len(mine)) as advance:
        for _, x, labels in batches(split, info, mine, batch_size):
            assert labels is not None
            tally.add(network(x.to(device)), labels.to(device))
            advance(len(x))
    return tally.score()
