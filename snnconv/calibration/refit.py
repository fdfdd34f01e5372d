"""Find the thresholds of a calibrated checkpoint again for a conversion, without data.

A statistic such as ``mse`` gives the threshold that is best for one T and one neuron. A calibration
does not know these; a conversion does, and searches again in the bins that the checkpoint keeps.

Shape:
    Thresholds ``[1]`` or ``[C]`` by site.
"""

import hashlib
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

from snnconv.calibration.bins import Bins
from snnconv.calibration.calibrate import scaled, settled
from snnconv.calibration.histogram import STATISTICS, Refit
from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import CalibrationInfo, Record, SiteStats
from snnconv.core.registry import is_code
from snnconv.core.validation import parameters
from snnconv.errors import UsageError
from snnconv.graph.fold import fold
from snnconv.neurons.base import Grid

TRAINED = ("qcfs", "given")
"""The method's name in a checkpoint whose thresholds were trained, or given to a training."""

_KEPT = ("bins", "lengths")
_SEARCHES = 2**12  # of sites, whose thresholds are remembered: 8 bytes a channel
_SEARCHED: dict[tuple[Refit, str, bytes], Tensor] = {}


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


def refitted(
    calibrated: Checkpoint,
    grid: Grid,
    wanted: bool = True,
    granularity: Literal["layer", "channel"] | None = None,
) -> Refitted:
    """Return a calibrated checkpoint with thresholds for neurons whose mean lies on a grid.

    Args:
        calibrated: a checkpoint of kind ``calibrated``.
        grid: the values that neurons can give in T steps.
        wanted: whether to derive thresholds; else they stay as calibrated.
        granularity: one threshold for each layer or a channel; that of the calibration if none is
            given.

    Raises:
        UsageError: thresholds of this granularity can't be found without data.
    """
    info = calibrated.calibrated
    assert info is not None
    each = granularity or info.granularity
    together = each != info.granularity
    if together:
        _refuse_granularity(calibrated, info, each, wanted)
    plain = replace(
        calibrated,
        calibration={
            key: tensor
            for key, tensor in calibrated.calibration.items()
            if key.rpartition("/")[2] not in _KEPT
        },
    )
    if info.method not in STATISTICS.names() or is_code(info.method):
        return Refitted(plain, "trained" if info.method in TRAINED else "as-calibrated")
    statistic = STATISTICS.load(info.method)
    if statistic.refit is None or not wanted:
        return Refitted(plain, "as-calibrated")
    before = parameters(statistic.params, info.params, f"statistic '{info.method}'")
    params = statistic.refit.params(before, grid.levels, grid.v0)
    if params == before and not together:  # all of them were given
        return Refitted(plain, "as-calibrated")
    kept = kept_bins(calibrated)
    if len(kept) < len(info.sites):
        return Refitted(plain, "as-calibrated", lacks=True)
    if together:
        kept = {site: bins.pooled() for site, bins in kept.items()}
    search = partial(searched, statistic.refit)
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
            calibrated=info.model_copy(
                update={"params": params.model_dump(), "granularity": each, "sites": sites}
            ),
            calibration=plain.calibration
            | {f"{site}/threshold": theta for site, theta in found.items()},
        ),
        "derived",
    )


def _refuse_granularity(
    calibrated: Checkpoint, info: CalibrationInfo, granularity: str, wanted: bool
) -> None:
    """Refuse thresholds of another granularity that what is kept does not tell."""
    again = f"calibrate again: snnconv calibrate --granularity {granularity}"
    if info.method in TRAINED:
        found, remedy = "they were trained with the network", "drop --granularity"
    elif not wanted:
        found, remedy = "--thresholds as-calibrated keeps them", "drop one of the two options"
    elif info.method not in STATISTICS.names() or is_code(info.method):
        found, remedy = f"calibration by '{info.method}', which keeps no histograms for it", again
    elif STATISTICS.load(info.method).refit is None:
        found = f"calibration by '{info.method}', which keeps no histograms for it"
        remedy = f"{again} --method {info.method}"
    elif granularity == "channel":
        found, remedy = "calibration for each layer, whose histograms know no channels", again
    elif len(kept_bins(calibrated)) < len(info.sites):
        found, remedy = "a checkpoint of an older version, which keeps no histograms for it", again
    else:
        return
    raise UsageError(f"convert can't find one threshold for each {granularity}", found, remedy)


def searched(refit: Refit, bins: Bins, params: Record) -> Tensor:
    """Return what a statistic finds; it searches once for all conversions of this process.

    A comparison converts to many neurons, and several of them want the same thresholds.
    """
    content = hashlib.sha256()
    for tensor in (bins.rows, bins.lengths):
        content.update(tensor.contiguous().numpy().data)
    key = (refit, params.model_dump_json(), content.digest())
    if key not in _SEARCHED:
        if len(_SEARCHED) == _SEARCHES:
            del _SEARCHED[next(iter(_SEARCHED))]
        _SEARCHED[key] = refit.threshold(bins, params)
    return _SEARCHED[key]


def kept_bins(calibrated: Checkpoint) -> dict[str, Bins]:
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
