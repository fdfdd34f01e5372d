"""Whether a network fits a chip, as facts and tables."""

from snnconv.render import units
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import FitReport


def fit(done: FitReport) -> list[Block]:
    """Describe a :class:`FitReport`: what fits, what does not, and what a core holds."""
    total = "everything that was checked fits" if done.fits else _count(len(done.misfits))
    bytes_ = [row.weight_bytes for row in done.layers if row.weight_bytes is not None]
    facts = [
        Fact("target", done.title),
        Fact("neuron", done.neuron, f"T = {done.timesteps}"),
        Fact("fits", total, f"{len(done.figures)} published figures; no more is claimed"),
        *([Fact("weights", f"{units.count(round(sum(bytes_)))} bytes")] if bytes_ else []),
        *([Fact("mapped", done.mapping)] if done.mapping else []),
        *([Fact("spikes of", done.evaluation)] if done.evaluation else []),
        Fact("not checked", ", ".join(done.not_checked) or "nothing", "no source gives it"),
        *(Fact("note", text) for text in done.notes),
        Fact("time", units.seconds(done.seconds)),
    ]
    blocks: list[Block] = [Facts(f"Held against {done.target}", tuple(facts)), _layers(done)]
    if done.cores and done.cores[0].of:
        blocks.append(_cores(done))
    return [*blocks, _misfits(done)] if done.misfits else blocks


def _count(number: int) -> str:
    return "no: 1 thing does not" if number == 1 else f"no: {number} things do not"


def _layers(done: FitReport) -> Table:
    heads = ("neurons", "synapses", "weights", "bytes", "core", "spikes per step", "fits")
    return Table(
        "Layers",
        (Column("layer", numeric=False), *(Column(head) for head in heads)),
        tuple(
            (
                row.name,
                units.count(row.neurons),
                units.count(row.synapses),
                units.count(row.weights),
                units.shown(units.count, None if row.weight_bytes is None else row.weight_bytes),
                _span(row.cores),
                units.shown(units.number, row.spikes_per_step),
                "yes" if row.fits else "no",
            )
            for row in done.layers
        ),
    ).without_empty()


def _span(cores: list[int]) -> str | None:
    """Return the cores of a layer, which lie side by side."""
    if not cores:
        return None
    return str(cores[0]) if len(cores) == 1 else f"{cores[0]} to {cores[-1]}"


def _cores(done: FitReport) -> Table:
    names = list(done.cores[0].of)
    return Table(
        "Cores",
        (
            Column("core"),
            Column("layer", numeric=False),
            *(Column(name.replace("_", " ")) for name in names),
            Column("spikes per step"),
        ),
        tuple(
            (
                str(row.core),
                row.layer,
                *(f"{units.count(row.used[n])} of {units.count(row.of[n])}" for n in names),
                units.shown(units.number, row.spikes_per_step),
            )
            for row in done.cores
        ),
    ).without_empty()


def _misfits(done: FitReport) -> Table:
    heads = ("where", "figure", "found", "allowed", "what to do")
    rows = tuple((row.place, row.rule, row.found, row.allowed, row.remedy) for row in done.misfits)
    return Table("What does not fit", tuple(Column(head, numeric=False) for head in heads), rows)
