"""Look at an ANN and its data before the work begins, and warn if something looks wrong."""

from typing import NamedTuple

from torch import Tensor

from snnconv.calibration.data_summary import DataSummary, summarise_data
from snnconv.checkpoint import Checkpoint
from snnconv.config import CalibrateConfig
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress
from snnconv.core.uncertainty import ALPHA, at_least
from snnconv.data.dataset import Dataset
from snnconv.data.split import strata, subset
from snnconv.frontends import ann_accuracy
from snnconv.frontends.ann_accuracy import Seen
from snnconv.graph.network import Network
from snnconv.stages.session import Session
from snnconv.tasks.base import TASKS

TRIED = 128  # samples on which other normalisations are tried
GOOD = 0.9  # an ANN that is right as often has the normalisation that it needs


class Watched(NamedTuple):
    """What a calibration watches.

    Attributes:
        ann: the checkpoint of the network.
        network: itself, folded.
        dataset: its data.
    """

    ann: Checkpoint
    network: Network
    dataset: Dataset


def look(
    session: Session, config: CalibrateConfig, watched: Watched, progress: Progress
) -> DataSummary:
    """Look at the data before the work begins, and report what they look like."""
    ann, network, dataset = watched
    options = (config.seed, config.batch_size, session.device)
    found = summarise_data(network, dataset.train, ann.data, *options)
    progress.say(found.in_words(len(ann.data.classes)))
    for note in dataset.notes:
        progress.say(f"data: {note}")
    return found


def warn(
    session: Session,
    config: CalibrateConfig,
    watched: Watched,
    chosen: Tensor,
    seen: Seen,
    progress: Progress,
) -> None:
    """Warn if the ANN or its input looks wrong."""
    ann = watched.ann
    if wrong := ann_accuracy.misfit(seen, ann.data):
        session.warn(progress, wrong)
    if seen.accuracy is None:
        return
    accuracy = f"{seen.accuracy:.2%} of {seen.samples} samples"
    lucky = ann_accuracy.near_chance(seen, len(ann.data.classes))
    better = None
    if not trained_here(ann) and ann.data.tokens is None:
        better = _better(session, config, watched, chosen, progress)
    if lucky:
        session.warn(
            progress,
            f"the ANN classifies {accuracy} correctly, which is near chance for "
            f"{len(ann.data.classes)} classes. Look at the normalisation (--mean, --std, --scale), "
            "at the weights (--weights), and at the order of the classes",
        )
    if better:
        session.warn(progress, better)
    wanted = config.expect_accuracy
    if wanted is not None and seen.accuracy < wanted:
        session.warn(
            progress, f"the ANN classifies {accuracy} correctly, and {wanted:.2%} were expected"
        )


def lost(session: Session, config: CalibrateConfig, watched: Watched, found: DataSummary) -> str:
    """Return the warning for an ANN near chance, with a normalisation that helps if one does."""
    ann, network, dataset = watched
    kind = found.score
    assert kind is not None

    def told(each: DataSummary) -> str:
        return "undefined" if each.ann_score is None else kind.shown(each.ann_score)

    text = f"the ANN's {kind.words} of {found.samples} samples is {told(found)}, which is near "
    text += f"chance: {TASKS.recall(ann.data.task).chance}. "
    options = (config.seed, config.batch_size, session.device)
    known = trained_here(ann) or ann.data.tokens is not None
    others = {} if known else ann_accuracy.candidates(ann.data, dataset.scale)
    for given, info in others.items():
        other = summarise_data(network, dataset.train, info, *options)
        if not other.near_chance and other.ann_score is not None:
            return f"{text}With {given} it is {told(other)}. Try these options"
    return (
        f"{text}Look at the normalisation (--mean, --std, --scale), at the weights (--weights), at "
        "the order of the labels, and at the task (--task)"
    )


def _better(
    session: Session,
    config: CalibrateConfig,
    watched: Watched,
    chosen: Tensor,
    progress: Progress,
) -> str | None:
    """Return another normalisation with which the network is right more often, if there is one."""
    ann, network, dataset = watched
    few = subset(strata(dataset.train), min(len(chosen), TRIED), config.seed)

    def right(info: DataInfo) -> int:
        given = (info, few, config.batch_size, session.device, progress)
        return round(ann_accuracy.accuracy(network, dataset.train, *given) * len(few))

    now = right(ann.data)
    if now >= GOOD * len(few):
        return None
    tried = {
        options: right(info)
        for options, info in ann_accuracy.candidates(ann.data, dataset.scale).items()
    }
    options = max(tried, key=lambda each: tried[each])
    chance = max(now / len(few), 1 / len(ann.data.classes))
    if at_least(tried[options], len(few), chance) >= ALPHA:
        return None
    return (
        f"with {options} the ANN classifies {tried[options] / len(few):.2%} of {len(few)} of these "
        f"samples correctly, and {now / len(few):.2%} with the normalisation it has. Try these "
        "options"
    )


def trained_here(ann: Checkpoint) -> bool:
    """Whether snnconv trained a network itself."""
    return any(step.stage == "train" for step in ann.lineage)
