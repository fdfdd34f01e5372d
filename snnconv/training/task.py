"""What a network is trained for: its task, and the options that have a meaning for it."""

from snnconv.checkpoint import Checkpoint
from snnconv.config import OptimiserConfig
from snnconv.core.scores import Score
from snnconv.data.dataset import Dataset
from snnconv.errors import UsageError
from snnconv.tasks.base import TASKS, Task, refuse_labels


def trained_task(
    config: OptimiserConfig, dataset: Dataset, network: Checkpoint, taught: bool = False
) -> tuple[Task, Score]:
    """Return the task that a network is trained for, and the score that decides.

    Args:
        config: the options.
        dataset: whose labels say what outputs should be, or none.
        network: what is trained.
        taught: whether it can learn from the ANN that was converted, and so without labels.

    Raises:
        UsageError: nothing says what outputs should be, or options have no meaning for the task.
        UnsupportedError: labels that do not fit.
    """
    task = TASKS.load(dataset.info.task)
    if not task.supervised and not (taught and not network.trained_directly):
        raise _without_targets(dataset, taught)
    _refuse_options(config, task, dataset.info.task)
    refuse_labels(dataset.info, dataset.labels, network.analysis.outputs)
    return task, task.scores(network.analysis.outputs)[0]


def _without_targets(dataset: Dataset, taught: bool) -> UsageError:
    """Return the error for a training without labels and without an ANN, which lacks a target."""
    spec, name = dataset.info.spec, dataset.info.task
    found = f"data set '{spec}', which has none"
    if dataset.train.labels is not None:
        found = f"--task {name}, which does not use those of data set '{spec}'"
    if taught:
        found += ", and a network that was trained with its neurons, so it has no ANN to learn from"
        return UsageError("training needs labels", found, _GIVE)
    remedy = (
        f"{_GIVE}. A converted network learns from its ANN, without labels: snnconv calibrate "
        "MODEL, snnconv convert, snnconv finetune"
    )
    return UsageError("training needs labels", found, remedy)


_GIVE = "give data with labels (--data), and if the labels do not say it, their task (--task)"


def _refuse_options(config: OptimiserConfig, task: Task, name: str) -> None:
    """Refuse options that have no meaning for a task."""
    reasons: dict[str, str] = {}
    if not task.smooths:
        given = {"--mix": config.mix, "--label-smoothing": config.label_smoothing}
        reasons |= {option: "there are no classes to blur" for option in given if given[option]}
    if task.placed and config.augment:
        reasons["--augment"] = "it would move samples, and their labels would stay"
    if reasons:
        raise UsageError(
            f"{' and '.join(reasons)} can't be used for the task '{name}'",
            "; ".join(f"{option}: {why}" for option, why in reasons.items()),
            f"drop {' and '.join(reasons)}",
        )
