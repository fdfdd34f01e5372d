"""Thresholds of a calibrated checkpoint, found again for a conversion, from what it keeps.

A statistic such as ``mse`` gives the threshold that is best for one T and one neuron. A calibration
does not know them; a conversion does, and needs no data to search again.

Shape:
    Thresholds ``[1]`` or ``[C]`` by site.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

from torch import Tensor

from snnconv.calibration.bins import Bins
from snnconv.calibration.calibrate import scaled, settled
from snnconv.calibration.histogram import STATISTICS
from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import SiteStats
from snnconv.core.registry import is_code
from snnconv.core.validation import parameters
from snnconv.graph.fold import fold
from snnconv.neurons.base import Grid

_KEPT = ("bins", "lengths")


class Refitted(NamedTuple):
    """A checkpoint, and how its thresholds came about.

    Attributes:
        checkpoint: without the bins.
        how: ``derived`` for the conversion, ``as-calibrated``, or ``trained``.
        lacks: whether the thresholds would be derived if the checkpoint had kept bins.
    """

    checkpoint: Checkpoint
    how: Literal["derived", "as-calibrated", "trained"]
    lacks: bool = False


def refitted(calibrated: Checkpoint, grid: Grid, wanted: bool = True) -> Refitted:
    """Return a calibrated checkpoint with thresholds for neurons whose mean lies on a grid.

    Args:
        calibrated: of kind ``calibrated``.
        grid: of the neurons in T steps.
        wanted: whether to derive thresholds; else they stay as calibrated.
    """
    info = calibrated.calibrated
    assert info is not None
    plain = replace(
        calibrated,
        calibration={
            key: tensor
            for key, tensor in calibrated.calibration.items()
            if key.rpartition("/")[2] not in _KEPT
        },
    )
    if info.method not in STATISTICS.names() or is_code(info.method):
        trained = info.method in ("qcfs", "given")
        return Refitted(plain, "trained" if trained else "as-calibrated")
    statistic = STATISTICS.load(info.method)
    if statistic.refit is None or not wanted:
        return Refitted(plain, "as-calibrated")
    before = parameters(statistic.params, info.params, f"statistic '{info.method}'")
    params = statistic.refit.params(before, grid.levels, grid.v0)
    if params == before:  # all of them were given
        return Refitted(plain, "as-calibrated")
    kept = _kept(calibrated)
    if len(kept) < len(info.sites):
        return Refitted(plain, "as-calibrated", lacks=True)
    search = statistic.refit.threshold
    graph, _ = fold(calibrated.graph, calibrated.network)
    silent = {site for site, of in kept.items() if not len(of.rows)}
    ends = settled(graph, lambda site: scaled(search(kept[site], params), params), silent, {})
    found = {site: end / grid.end for site, end in ends.items()}
    sites = {
        site: info.sites[site].model_copy(
            update={
                "threshold": float(theta.double().mean()),
                "clipped_share": _share_above(kept[site], ends[site], info.sites[site]),
            }
        )
        for site, theta in found.items()
    }
    return Refitted(
        replace(
            plain,
            calibrated=info.model_copy(update={"params": params.model_dump(), "sites": sites}),
            calibration=plain.calibration
            | {f"{site}/threshold": theta for site, theta in found.items()},
        ),
        "derived",
    )


def _kept(calibrated: Checkpoint) -> dict[str, Bins]:
    """Return the bins by site; none for a checkpoint of an older version."""
    tensors = calibrated.calibration
    return {
        site: Bins(tensors[f"{site}/bins"], tensors[f"{site}/lengths"])
        for site in calibrated.thresholds()
        if f"{site}/bins" in tensors
    }


def _share_above(bins: Bins, end: Tensor, info: SiteStats) -> float:
    """Return the share of a site's activations that a mean output can't reach, 0..1."""
    channels = list(bins.channels())
    ends = end.double().expand(len(channels)).tolist()
    above = sum(
        float(number[total > end * number].sum())
        for (number, total, *_), end in zip(channels, ends, strict=True)
    )
    positive = sum(float(number.sum()) for number, *_ in channels)
    return above / positive * (1 - (info.zero_share or 0.0)) if positive else 0.0
