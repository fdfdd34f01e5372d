"""A calibration, as facts and a table of sites."""

from snnconv.render import units
from snnconv.render.describe.common import closing, data, imported, non_spiking, settings
from snnconv.render.labels import drawn
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import CalibrateReport

_ORIGINS = {
    "fixed": "fixed for this data set",
    "measured": "measured on the training samples",
    "given": "as given",
    "weights": "of torchvision's weights",
    "checkpoint": "of the checkpoint",
}
_BINS = "at most: activations are counted in bins"
_SITES = (
    Column("site", numeric=False),
    Column("theta", hint="threshold, mean over channels"),
    Column("largest", hint="activation of the ANN"),
    Column("mean", hint="activation"),
    Column("zero", hint="share of the activations that are 0"),
    Column("clipped", hint="share above theta"),
    Column("thresholds", hint="how many the site has"),
)


def _look(report: CalibrateReport) -> list[Fact]:
    """Return what a first look at the data found, and what they are calibrated on, if others."""
    facts = []
    if look := report.look:
        values = f"{units.compact(look.low)} to {units.compact(look.high)}"
        around = f"mean {units.compact(look.mean)}, std {units.compact(look.std)}"
        facts.append(Fact("values", values, f"{around}, of {units.count(look.samples)} samples"))
        if look.classes is not None and look.largest_class_share is not None:
            share = units.percent(look.largest_class_share)
            facts.append(Fact("classes", str(look.classes), f"the most frequent one has {share}"))
    if report.calibration_data:
        facts.append(Fact("calibrated on", data(report.calibration_data)))
    return facts


def _ann(report: CalibrateReport) -> list[Fact]:
    """Return how well the ANN does on the samples, and how they were normalised."""
    facts = []
    if report.ann_accuracy is not None:
        samples = f"on these {units.count(report.ann_samples or 0)} samples"
        facts.append(Fact("ANN accuracy", units.percent(report.ann_accuracy), samples))
    if use := report.normalisation:
        mean, std = (", ".join(units.compact(v) for v in each[:3]) for each in (use.mean, use.std))
        more = ", ..." if len(use.mean) > 3 else ""
        text = f"scale {units.compact(use.scale)}, mean {mean}{more}, std {std}{more}"
        facts.append(Fact("normalisation", text, _ORIGINS[use.origin]))
    return facts


def calibrate(report: CalibrateReport) -> list[Block]:
    """Describe a :class:`CalibrateReport`."""
    given, thresholds = settings(report.params), f"one threshold for each {report.granularity}"
    if None in report.params.values():
        thresholds += "; convert finds it again for its T and neuron"
    method = f"{report.method} ({given})" if given else report.method
    facts = [
        Fact("data", data(report.data)),
        *_look(report),
        Fact("method", method, thresholds),
        Fact("samples", drawn(report.subset, report.samples, "training")),
        *_ann(report),
        Fact("rounding of bins", units.percent(report.relative_error_bound), _BINS),
        *non_spiking(report),
        *([imported(report.imported)] if report.imported else []),
        *closing(report),
    ]
    heads = list(_SITES)
    if report.sin_steps is not None:
        samples = f"IF neurons, {units.count(report.sin_samples or 0)} samples"
        facts.insert(-1, Fact("SIN after steps", str(report.sin_steps), samples))
        heads.append(Column("SIN", hint="share of inactivated neurons that have fired"))
    sites = Table(
        "Sites",
        tuple(heads),
        tuple(
            (
                site.name,
                units.number(site.threshold),
                units.number(site.max),
                units.number(site.mean),
                units.percent(site.zero_share),
                units.percent(site.clipped_share),
                str(site.channels),
                *([] if site.sin_ratio is None else [units.percent(site.sin_ratio)]),
            )
            for site in report.sites
        ),
    )
    return [Facts(f"Calibrated {len(report.sites)} sites", tuple(facts)), sites.explained()]
