"""Training curves of fine-tuning: accuracy, loss, firing rate, what neurons learn, by epoch."""

from collections.abc import Sequence

from snnconv.render import units
from snnconv.render.figure import Figure, Run, percent_axis
from snnconv.render.looks import Look, run_look
from snnconv.render.plot import Axis, Rule, Series, line_plot
from snnconv.render.scale import Scale, finite, linear
from snnconv.reports import FinetuneReport

_EVERY = 8
"""Epochs with a marker, at most: lines are told apart, not buried."""


def named(finetunes: Sequence[FinetuneReport], everybody: Sequence[Run]) -> list[tuple[str, Look]]:
    """A label and look for each: those of the run that evaluated what it wrote, if one did."""
    owners = {each.sha256: run for run in everybody for each in run.report.lineage.inputs}
    found: list[tuple[str, Look]] = []
    used: dict[str, int] = {}
    free = len(everybody)
    for report in finetunes:
        written = (owners.get(each.sha256) for each in report.lineage.outputs)
        owner = next((run for run in written if run), None)
        if owner is not None:
            label, look = owner.label, owner.look
        else:
            label, look = f"{report.neuron}, T = {report.timesteps}", run_look(free)
            free += 1
        used[label] = used.get(label, 0) + 1
        found.append((f"{label} ({used[label]})" if used[label] > 1 else label, look))
    return found


def _epochs(finetunes: Sequence[FinetuneReport]) -> Axis:
    longest = max((row.epoch for report in finetunes for row in report.epochs), default=1)
    return Axis(
        "Epoch",
        Scale("linear", 0.0, float(max(longest, 1))),
        lambda v: f"{v:.0f}" if v == int(v) else "",
        lambda v: f"epoch {v:.0f}",
    )


def _marked(epochs: Sequence[int]) -> frozenset[float]:
    stride = -(-len(epochs) // _EVERY) or 1
    return frozenset(map(float, (*epochs[::stride], *epochs[-1:])))


def training(finetunes: Sequence[FinetuneReport], everybody: Sequence[Run]) -> list[Figure]:
    """Validation accuracy and loss; nothing where nothing was fine-tuned."""
    trained = [(r, *name) for r, name in zip(finetunes, named(finetunes, everybody), strict=True)]
    trained = [(report, label, look) for report, label, look in trained if report.epochs]
    if not trained:
        return []
    x = _epochs([report for report, _, _ in trained])
    accuracies, losses, rules = [], [], []
    for report, label, look in trained:
        epochs = [row.epoch for row in report.epochs]
        start = (0.0, 100 * report.accuracy_epoch0)
        points = (start, *((float(r.epoch), 100 * r.accuracy) for r in report.epochs))
        accuracies.append(Series(label, points, look, _marked([0, *epochs])))
        rows = tuple((float(row.epoch), row.loss) for row in report.epochs)
        losses.append(Series(label, rows, look, _marked(epochs)))
        before = f"{label}, before: {units.percent(report.accuracy_epoch0)}"
        rules.append(Rule(before, start[1], Look(look.colour, "2 3", width=1.2)))
    names = ", ".join(label for _, label, _ in trained)
    highest = finite(y for each in accuracies for _, y in each.points)
    scale = linear(highest, 6)
    y = percent_axis(
        "Validation accuracy", linear(highest, 6, hi=100.0) if scale.hi > 100 else scale
    )
    y_loss = Axis("Training loss", linear([v for s in losses for _, v in s.points], lo=0.0))

    def draw_accuracy(name: str, width: float) -> str:
        about = f"Validation accuracy by epoch of {names}."
        return line_plot(name, "Validation accuracy", about, x, y, accuracies, width, rules)

    def draw_loss(name: str, width: float) -> str:
        return line_plot(
            name, "Training loss", f"Loss by epoch of {names}.", x, y_loss, losses, width
        )

    more = [_rates(trained, x), *_parameters(trained, x)]
    return [
        Figure(
            "training-accuracy",
            "Validation accuracy by epoch",
            "On samples held out of the training split, after every epoch; the dashed line is the "
            "accuracy before any training, and the best epoch is the one that was kept.",
            draw_accuracy,
        ),
        Figure(
            "training-loss",
            "Training loss by epoch",
            "Mean loss over the epoch's training samples, measured while training.",
            draw_loss,
        ),
        *(figure for figure in more if figure),
    ]


_Trained = tuple[FinetuneReport, str, Look]


def _rates(trained: Sequence[_Trained], x: Axis) -> Figure | None:
    """Firing rates; none where no report has them."""
    series = []
    for report, label, look in trained:
        start = [(0, report.firing_rate_epoch0)]
        rows = [*start, *((row.epoch, row.firing_rate) for row in report.epochs)]
        points = tuple((float(epoch), rate) for epoch, rate in rows if rate is not None)
        if points:
            series.append(Series(label, points, look, _marked([int(e) for e, _ in points])))
    if not series:
        return None
    return _figure(
        "training-firing-rate",
        "Firing rate",
        "Spikes per neuron and step on the validation samples; epoch 0 is before any training.",
        series,
        x,
        from_zero=True,
    )


def _parameters(trained: Sequence[_Trained], x: Axis) -> list[Figure]:
    """The mean of each parameter that neurons learn, a figure a parameter."""
    names = dict.fromkeys(
        name for report, _, _ in trained for row in report.epochs for name in row.neuron_parameters
    )
    return [
        _figure(
            f"training-{name}",
            f"Mean {name}",
            f"Mean of the neurons' learned {name} over all sites, after every epoch.",
            [
                Series(
                    label,
                    tuple((float(row.epoch), row.neuron_parameters[name]) for row in report.epochs),
                    look,
                    _marked([row.epoch for row in report.epochs]),
                )
                for report, label, look in trained
                if all(name in row.neuron_parameters for row in report.epochs)
            ],
            x,
        )
        for name in names
    ]


def _figure(
    name: str, title: str, about: str, series: Sequence[Series], x: Axis, from_zero: bool = False
) -> Figure:
    values = [v for each in series for _, v in each.points]
    scale = linear(values, lo=0.0) if from_zero else linear(values)
    y = Axis(title, scale)

    def draw(page: str, width: float) -> str:
        return line_plot(page, title, f"{title} by epoch.", x, y, series, width)

    return Figure(name, f"{title} by epoch", about, draw)
