"""Whether a data set's labels fit the task and the network's output."""

from snnconv.checkpoint import Checkpoint
from snnconv.data.dataset import Dataset
from snnconv.tasks.base import refuse_misfit


def refuse_labels(dataset: Dataset, network: Checkpoint) -> None:
    """Refuse labels that do not fit the task or the network's output.

    Raises:
        UnsupportedError: labels of the wrong shape or type, targets that are no numbers, or classes
            beyond the outputs.
    """
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        if split.labels is not None:
            out = network.analysis.shapes[network.graph.output]
            refuse_misfit(dataset.info.task, split.labels, out, dataset.info.spec, part)
