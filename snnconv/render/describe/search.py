"""How a conversion's method and T were chosen, as facts and a table."""

from snnconv.core.scores import ACCURACY
from snnconv.render import units
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import SearchUse, TrialRow

_OUTCOMES = {"chosen": "chosen", "within": "dearer", "below": "too far below", "dearer": "dearer"}


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
    unit = "%" if kind.relative else "points"
    goal = f"{'' if found.reached else 'not '}within {found.points:g} {unit} of the ANN"
    facts = [
        Fact("chosen", f"{found.method} at T = {chosen.timesteps}", found.title),
        Fact(goal, f"{_below(chosen)} below"),
        Fact(found.measured, kind.shown(chosen.share), measured),
        Fact(f"least {found.cost}", *_spent(found)),
    ]
    if found.left_out:
        facts.append(Fact("left out", ", ".join(found.left_out), "the report's file says why"))
    return [Facts("Search", tuple(facts)), tried(found)]


def tried(found: SearchUse) -> Table:
    """Each network that was tried, in its order."""
    rows, kind = found.trials, found.headline or ACCURACY
    heads = ("T", "latency", found.measured, "below the ANN", "energy", "spikes", "samples")
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
                kind.shown(row.share),
                _below(row),
                f"{row.energy_total_ratio:.3f}",
                units.si(row.spikes_per_sample),
                units.count(row.samples),
                _OUTCOMES[row.outcome],
            )
            for row in rows
        ),
        frozenset((i, 0) for i, row in enumerate(rows) if row.outcome == "chosen"),
        note="energy is the share of the ANN's; fewer samples: given up before the end",
        mark="chosen",
    )


def _below(row: TrialRow) -> str:
    return f"{row.points_below:.2f}"


def _spent(found: SearchUse) -> tuple[str, str]:
    row = next(row for row in found.trials if row.outcome == "chosen")
    energy = f"{row.energy_total_ratio:.3f} of the ANN's energy"
    return units.energy(row.energy_total_mj), f"{energy}; {units.si(row.spikes_per_sample)} spikes"
