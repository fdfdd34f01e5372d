"""Where an evaluation comes from: configuration, files with their hashes, machine, command."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from snnconv.config import ARGUMENT, STAGES
from snnconv.core.scores import ACCURACY
from snnconv.render import units
from snnconv.render.labels import calibration, drawn
from snnconv.render.tables import Column, Fact, Facts, Table
from snnconv.reports import EvaluateReport, FinetuneReport, Report, TrainReport


def command(stage: str, config: Mapping[str, Any]) -> str:
    """Return the command line of a stage, with options that differ from their defaults only."""
    model = STAGES.get(stage)
    fields = model.model_fields if model else {}
    defaults = model().model_dump(mode="json") if model else {}
    arguments: list[str] = []
    options: list[str] = []
    for key, value in config.items():
        if value is None or value == defaults.get(key):
            continue
        if key in fields and fields[key].json_schema_extra == ARGUMENT:
            arguments += [str(each) for each in (value if isinstance(value, list) else [value])]
        else:
            options += list(_option(key.replace("_", "-"), value))
    return shlex.join(["snnconv", stage, *arguments, *options])


def _option(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from (f"--{name}", f"{key}={each}")
    else:
        for each in value if isinstance(value, list) else [value]:
            yield from (f"--{name}", str(each))


def conversion(report: EvaluateReport) -> Facts:
    """Return which neuron stands at the sites, and how its thresholds were found."""
    items = [
        Fact("Network", report.model),
        Fact("Neuron", report.neuron),
        Fact("Parameters", units.pairs(report.params) or "none"),
        Fact("Coding", report.coding),
        Fact("Thresholds", calibration(report) or "unknown"),
        Fact("Time steps T", str(report.timesteps)),
    ]
    if report.confidence:
        items.append(Fact("Spike confidence", f"in steps 1 to {report.early}"))
        items += [
            Fact(f"kept at {site}", units.percent(p)) for site, p in report.confidence.items()
        ]
    else:
        items.append(Fact("Spike confidence", "off"))
    # a checkpoint's lineage holds no paths, so neither do these
    items += [Fact(f"by {step.stage}", command(step.stage, step.config)) for step in report.history]
    return Facts("Conversion", tuple(items))


def measurement(report: EvaluateReport) -> Facts:
    """Return what was measured on, with which seed, and how long it took."""
    data = report.data
    return Facts(
        "Measurement",
        (
            Fact("Schema", report.schema_id),
            Fact("Data", data.spec),
            Fact(
                "Samples",
                f"{drawn(report.subset, report.samples, 'test')}; "
                f"{units.count(data.train_samples)} in the training split",
            ),
            Fact("Seed", str(report.seed)),
            Fact("Wall time", units.seconds(report.seconds)),
            Fact("Command", command(report.stage, report.config)),
        ),
    )


def _tested(report: TrainReport) -> Fact:
    """Return the score on the test split."""
    if report.accuracy is not None:
        return Fact("Test accuracy", units.percent(report.accuracy))
    score = report.headline or ACCURACY
    return Fact(f"Test {score.words}", score.shown(report.score or 0.0))


def training(report: TrainReport | FinetuneReport) -> Facts:
    """Return what was trained, on what, with which command."""
    data, epochs = report.data, str(len(report.epochs))
    if isinstance(report, FinetuneReport):
        title, items = "Fine-tuning", []
        epochs += f", of which {report.epoch_best} was kept"
    else:
        title = "Training"
        items = [
            Fact("Network", f"{report.model}, {units.count(report.parameters)} parameters"),
            _tested(report),
        ]
        if report.neuron is None:
            items.append(Fact("Activation", report.activation))
    if report.neuron is not None:
        items += [
            Fact("Neuron", report.neuron),
            Fact("Time steps T", str(report.timesteps)),
        ]
    return Facts(
        title,
        (
            Fact("Schema", report.schema_id),
            *items,
            Fact("Data", f"{data.spec}, {units.count(data.train_samples)} training samples"),
            Fact("Epochs", epochs),
            Fact("Seed", str(report.seed)),
            Fact("Wall time", units.seconds(report.seconds)),
            Fact("Command", command(report.stage, report.config)),
        ),
    )


def environment(report: Report) -> Facts:
    """Return versions and machine."""
    items = tuple(Fact(key, str(value)) for key, value in report.environment.items())
    return Facts("Environment", items)


def configuration(report: Report) -> Facts:
    """Return every option of the stage, defaults included."""
    items = tuple(Fact(key, units.value(value)) for key, value in report.config.items())
    return Facts("Configuration", items)


def lineage(report: Report) -> Table:
    """Return every file read and written, with its hash."""
    rows = [("read", each.path, each.sha256) for each in report.lineage.inputs]
    rows += [("written", each.path, each.sha256) for each in report.lineage.outputs]
    parent = report.lineage.parent_report_sha256
    if parent:
        rows.append(("read", "report of the stage before", parent))
    columns = tuple(Column(name, numeric=False) for name in ("", "file", "SHA-256"))
    return Table("Files", columns, tuple(rows))
