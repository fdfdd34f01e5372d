"""How a conversion's method and T were chosen, as facts and a table."""

from snnconv.core.scores import ACCURACY, Score
from snnconv.render import units
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import SearchUse, TrialRow

_OUTCOMES = {"chosen": "chosen", "within": "dearer", "below": "too far {}", "dearer": "dearer"}


def searched(found: SearchUse) -> list[Block]:
    """Describe a search: what it was for, and what it tried."""
    chosen = next(row for row in found.trials if row.outcome == "chosen")
    measured = f"on {units.count(found.samples)} held-out training samples"
    kind = found.headline or ACCURACY
    if found.ann_score is not None and not found.why_agreement:
        measured += f", where the ANN has {kind.shown(found.ann_score)}"
    elif found.ann_accuracy is not None:
        measured += f", where the ANN has {units.percent(found.ann_accuracy)}"
    elif found.why_agreement:
        measured += f" with the ANN, because {found.why_agreement}"
    reached = f"{'' if found.reached else 'not '}{goal(found)} of the ANN"
    facts = [
        Fact("chosen", f"{found.method} at T = {chosen.timesteps}", found.title),
        Fact(reached, f"{_worse(chosen)} {kind.short_unit} {_side(kind)}"),
        Fact(found.measured, kind.shown(chosen.share), measured),
        Fact(f"least {found.cost}", *_spent(found)),
    ]
    if found.left_out:
        facts.append(Fact("left out", ", ".join(found.left_out), "the report's file says why"))
    return [Facts("Search", tuple(facts)), tried(found)]


def goal(found: SearchUse) -> str:
    """Say how close to the ANN a network was searched for."""
    return f"within {found.points:g} {(found.headline or ACCURACY).short_unit}"


def tried(found: SearchUse) -> Table:
    """Describe each network that was tried, in its order."""
    rows, kind = found.trials, found.headline or ACCURACY
    unit = "% " if kind.relative else ""
    worse = f"{unit}{_side(kind)} the ANN"
    heads = ("T", "latency", found.measured, worse, "energy", "spikes", "samples")
    return Table(
        "Tried",
        (
            Column("method", numeric=False),
            *(Column(head) for head in heads),
            Column("", numeric=False),
        ),
        tuple(
            (
                row.method,
                str(row.timesteps),
                str(row.latency_steps),
                units.score(kind, row.share),
                _worse(row),
                units.ratio(row.energy_total_ratio, 3),
                units.si(row.spikes_per_sample),
                units.count(row.samples),
                _OUTCOMES[row.outcome].format(_side(kind)),
            )
            for row in rows
        ),
        frozenset((i, 0) for i, row in enumerate(rows) if row.outcome == "chosen"),
        note="energy is the share of the ANN's; fewer samples: given up before the end",
        mark="chosen",
    )


def _worse(row: TrialRow) -> str:
    return units.ratio(row.points_below)


def _side(kind: Score) -> str:
    """Return where a worse network lies: an error is above the ANN's."""
    return "below" if kind.higher else "above"


def _spent(found: SearchUse) -> tuple[str, str]:
    row = next(row for row in found.trials if row.outcome == "chosen")
    energy = f"{row.energy_total_ratio:.3f} of the ANN's energy"
    return units.energy(row.energy_total_mj), f"{energy}; {units.si(row.spikes_per_sample)} spikes"
