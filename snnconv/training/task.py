"""What a network is trained for: its task, and the options that have a meaning for it."""

from snnconv.checkpoint import Checkpoint
from snnconv.config import OptimiserConfig
from snnconv.core.scores import Score
from snnconv.data.dataset import Dataset
from snnconv.errors import UsageError
from snnconv.tasks.base import TASKS, Task, refuse_labels


def trained_task(
    config: OptimiserConfig, dataset: Dataset, network: Checkpoint
) -> tuple[Task, Score]:
    """The task that a network is trained for, and the score that decides.

    Raises:
        UsageError: data without labels, or options that have no meaning for the task.
        UnsupportedError: labels that do not fit.
    """
    name = dataset.info.task
    task = TASKS.load(name)
    if not task.supervised:
        raise UsageError(
            "training needs labels",
            f"data set '{dataset.info.spec}' for the task '{name}'",
            "give data with labels (--data), and the task, if they do not say it: --task",
        )
    given = {"--mix": config.mix, "--label-smoothing": config.label_smoothing}
    without = [] if task.smooths else [option for option, value in given.items() if value]
    if task.placed and config.augment:
        without.append("--augment")  # it moves samples, and labels would stay
    if without:
        raise UsageError(
            f"{' and '.join(without)} can't be used for the task '{name}'",
            "labels that would not follow the samples",
            f"drop {' and '.join(without)}",
        )
    refuse_labels(dataset.info, dataset.labels, network.analysis.outputs)
    return task, task.scores(network.analysis.outputs)[0]
