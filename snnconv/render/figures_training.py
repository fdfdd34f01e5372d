"""Training curves: accuracy, loss, firing rate, what neurons learn, by epoch."""

from collections.abc import Callable, Sequence
from functools import partial

from snnconv.core.scores import ACCURACY
from snnconv.render import units
from snnconv.render.figure import Figure, percent_axis
from snnconv.render.svg.plot import Axis, Rule, Series, line_plot
from snnconv.render.svg.scale import Scale, finite, linear
from snnconv.render.svg.styles import Style
from snnconv.render.training_curves import TrainingCurve
from snnconv.reports import EpochRow, FinetuneReport

_EVERY = 8
"""Epochs with a marker, at most: lines are told apart, not buried."""


def training(everybody: Sequence[TrainingCurve]) -> list[Figure]:
    """Draw validation accuracy, loss, firing rate and parameters; nothing without an epoch."""
    shown = [curve for curve in everybody if curve.rows]
    if not shown:
        return []
    x = _epochs(shown)
    figures = [_accuracies(shown, x), _losses(shown, x), _rates(shown, x), *_parameters(shown, x)]
    return [figure for figure in figures if figure]


def _epochs(everybody: Sequence[TrainingCurve]) -> Axis:
    return Axis(
        "Epoch",
        Scale("linear", 0.0, float(max(row.epoch for each in everybody for row in each.rows))),
        lambda v: f"{v:.0f}" if v == int(v) else "",
        lambda v: f"epoch {v:.0f}",
    )


def _line(
    curve: TrainingCurve,
    get: Callable[[EpochRow], float | None],
    start: float | None = None,
    factor: float = 1.0,
) -> Series:
    """Return a curve's values by epoch; ``start`` is the one at epoch 0."""
    values = [(0, start), *((row.epoch, get(row)) for row in curve.rows)]
    points = tuple((float(epoch), factor * v) for epoch, v in values if v is not None)
    epochs = [epoch for epoch, _ in points]
    stride = -(-len(epochs) // _EVERY) or 1
    marked = frozenset((*epochs[::stride], *epochs[-1:]))
    return Series(curve.label, points, curve.style, marked)


def _accuracies(shown: Sequence[TrainingCurve], x: Axis) -> Figure | None:
    kind = shown[0].report.headline or ACCURACY
    shown = [c for c in shown if (c.report.headline or ACCURACY) == kind]
    factor = 1.0 if kind.relative else 100.0
    series = [_line(c, lambda row: row.measured, c.start_accuracy, factor) for c in shown]
    rules = [
        Rule(
            f"{c.label}, before: {kind.shown(c.start_accuracy)}",
            factor * c.start_accuracy,
            Style(c.style.colour, "2 3", width=1.2),
        )
        for c in shown
        if c.start_accuracy is not None
    ]
    about = "On samples held out of the training split, after every epoch."
    if any(isinstance(c.report, FinetuneReport) for c in shown):
        about += (
            " The dotted line is the score before fine-tuning. Fine-tuning keeps the best epoch; "
            "epoch 0 is the network as it came."
        )
    if any(not isinstance(c.report, FinetuneReport) for c in shown):
        about += " A training from scratch keeps the last epoch."
    title = f"Validation {kind.words}"

    def plain(label: str, scale: Scale) -> Axis:
        return Axis(label, scale, exact=units.number)

    axis = plain if kind.relative else percent_axis
    limit = None if kind.relative else 100.0
    return _figure("accuracy", title, about, series, x, axis, limit, rules)


def _losses(shown: Sequence[TrainingCurve], x: Axis) -> Figure | None:
    about = "Mean loss over the epoch's training samples, measured while training."
    return _figure(
        "loss", "Training loss", about, [_line(c, lambda row: row.loss) for c in shown], x
    )


def _rates(shown: Sequence[TrainingCurve], x: Axis) -> Figure | None:
    """Draw firing rates; None if no report has them, as for an ANN."""
    series = [_line(c, lambda row: row.firing_rate, c.start_rate) for c in shown]
    about = "Spikes per neuron and step on the validation samples"
    about += "; epoch 0 is before any training." if any(c.start_rate for c in shown) else "."
    return _figure("firing-rate", "Firing rate", about, series, x, _spikes)


def _spikes(title: str, scale: Scale) -> Axis:
    return Axis("Spikes per neuron and step", scale)


def _mean(parameter: str, row: EpochRow) -> float | None:
    return row.neuron_parameters.get(parameter)


def _parameters(shown: Sequence[TrainingCurve], x: Axis) -> list[Figure | None]:
    """Draw the mean of each parameter that neurons learn, one figure for each."""
    names = dict.fromkeys(n for c in shown for row in c.rows for n in row.neuron_parameters)
    return [
        _figure(
            name,
            f"Mean {name}",
            f"Mean of the neurons' {name} over all sites, after every epoch.",
            [_line(c, partial(_mean, name)) for c in shown],
            x,
            from_zero=False,
        )
        for name in names
    ]


def _figure(
    name: str,
    title: str,
    about: str,
    series: Sequence[Series],
    x: Axis,
    axis: Callable[[str, Scale], Axis] = Axis,
    most: float | None = None,
    rules: Sequence[Rule] = (),
    from_zero: bool = True,
) -> Figure | None:
    """Draw lines by epoch; None without a value. ``most`` is what no value can pass."""
    series = [each for each in series if each.points]
    if not series:
        return None
    values = finite(v for each in series for _, v in each.points)
    scale = linear(values, 6, lo=0.0) if from_zero and most is None else linear(values, 6)
    y = axis(title, linear(values, 6, hi=most) if most is not None and scale.hi > most else scale)

    def draw(page: str, width: float) -> str:
        described = f"{title} by epoch of {', '.join(each.label for each in series)}."
        return line_plot(page, title, described, x, y, series, width, rules)

    return Figure(f"training-{name}", f"{title} by epoch", about, draw)
