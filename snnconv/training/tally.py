"""The score that decides, of samples held out, whose outputs come batch by batch.

Shape:
    Outputs ``[B, *out]``, labels ``[B, ...]``.

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
from snnconv.tasks.base import TASKS

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
        self._task, self._name, self._device = TASKS.recall(task), task, device
        self._rows: list[Tensor] = []
        self._mine = distributed.share(torch.arange(samples))
        self._samples = samples
        self._outputs: tuple[int, ...] = ()

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Add the next batch of this process's samples."""
        self._outputs = tuple(outputs.shape[1:])
        self._rows.append(self._task.rows(outputs[None], labels)[0].cpu())

    def score(self) -> float:
        """The score that decides, of all processes' samples.

        Raises:
            CheckFailedError: these samples leave it undefined.
        """
        rows = self._all()
        name = self._task.scores(self._outputs)[0].name
        found = self._task.values(rows)[name]
        if found is None:
            raise CheckFailedError(
                f"the {name} of the held-out samples is undefined",
                f"{len(rows)} samples whose labels or outputs do not vary",
                "hold out more of them: --validation",
            )
        return found

    def right(self) -> str:
        """Which samples are right, a bit each; empty for tasks other than classification."""
        return packed(self._all()[:, 1] > 0) if self._name == ACCURACY_OF else ""

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
    """The score that decides of an ANN, in evaluation mode."""
    network.eval()
    tally, mine = Tally(info.task, len(order), device), distributed.share(order)
    with progress.task("validate", len(mine)) as advance:
        for _, x, labels in batches(split, info, mine, batch_size):
            assert labels is not None
            tally.add(network(x.to(device)), labels.to(device))
            advance(len(x))
    return tally.score()
