"""Figures with a row per layer or run: firing rate, SOPs, energy."""

from collections.abc import Callable, Sequence

from snnconv.render import units
from snnconv.render.figure import (
    MANY,
    Figure,
    Run,
    absent,
    coincident,
    energy_axis,
    quoted,
    together,
    without,
)
from snnconv.render.svg.bars import Bar, Dots, bar_plot, dot_plot
from snnconv.render.svg.plot import Axis
from snnconv.render.svg.scale import Scale, finite, linear
from snnconv.render.svg.styles import Style
from snnconv.reports import EvaluateReport, LayerRow

SOPS = (
    "A spike counts one operation for every synapse, membrane or logit that it reaches without "
    "passing another neuron, with borders, strides and groups as they are. Average pooling is part "
    "of the synapse behind it, an identity shortcut is one operation, a spike of s levels counts s "
    "times."
)
ENERGY = (
    "\u201cSynaptic\u201d counts an accumulate for each SOP. The others add the MACs of the first "
    "layer, whose input is analog: computed once if it is constant, for every frame if it is not, "
    "or at each step. The ANN's energy is that of its MACs, with padding counted. In brackets is "
    "the share of the ANN's energy. Only \u201cwith memory\u201d counts memory: it adds addresses, "
    "and reading and writing events, weights and potentials. Its share is of the ANN's energy with "
    "memory."
)


def families(everybody: Sequence[Run]) -> list[list[Run]]:
    """Return runs of the same layers together: only these share rows."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in everybody:
        found.setdefault(tuple(row.name for row in run.report.layers), []).append(run)
    return [family for names, family in found.items() if names]


def per_layer(
    everybody: Sequence[Run],
    name: str,
    title: str,
    caption: str,
    get: Callable[[LayerRow], float | None],
    axis: Callable[[Scale], Axis],
    missing: tuple[str, str],
    of_ann: bool = False,
) -> list[Figure]:
    """Return a dot plot for each family of runs."""
    figures = []
    kept = families(everybody)
    for i, family in enumerate(kept):
        shown = [run for run in family if finite(get(row) for row in run.report.layers)]
        if not shown:
            continue
        # a max pooling has no neurons, so no rate and no error; a row without any value is left out
        kept_rows = [
            r
            for r in range(len(family[0].report.layers))
            if finite(get(run.report.layers[r]) for run in shown)
        ]
        names = [family[0].report.layers[r].name for r in kept_rows]
        dots = [
            Dots(run.label, tuple(get(run.report.layers[r]) for r in kept_rows), run.style)
            for run in shown
        ]
        x = axis(linear([v for each in dots for v in each.values], 4, lo=0.0))
        labels, folded = [run.label for run in shown], len(names) > MANY
        head = title if len(kept) == 1 else f"{title}: {together(labels)}"
        head = f"{head} ({len(names)} layers)" if folded else head

        def draw(
            unique: str,
            width: float,
            x: Axis = x,
            names: list[str] = names,
            dots: list[Dots] = dots,
            head: str = head,
        ) -> str:
            about = f"{title} for {len(names)} layers of {', '.join(d.label for d in dots)}."
            return dot_plot(unique, head, about, x, ("Layer", names), dots, width)

        rest = coincident((each.label, each.values) for each in dots)
        rest += without(family, shown, of_ann)
        if len(kept) > 1 < len(shown):
            rest += f" Of {quoted(labels)}."
        unique = f"{name}-{i}" if i else name
        figures.append(Figure(unique, head, caption + rest, draw, folded=folded))
    return figures or [absent(name, title, *missing)]


def rates(everybody: Sequence[Run]) -> list[Figure]:
    """Draw the firing rate of each layer."""
    return per_layer(
        everybody,
        "rates",
        "Firing rate by layer",
        "Spikes per neuron and step, averaged over samples and steps 1 to T.",
        lambda row: row.firing_rate,
        lambda scale: Axis("Spikes per neuron and step", scale),
        ("the firing rate", "firing-rate"),
    )


def sops(everybody: Sequence[Run]) -> list[Figure]:
    """Draw the synaptic operations of each layer."""
    return per_layer(
        everybody,
        "sops",
        "Synaptic operations by layer",
        f"Operations that each layer's spikes cause, per sample, in T steps. {SOPS}",
        lambda row: row.sops_per_sample,
        lambda scale: Axis("SOPs per sample", scale, _si_tick, units.si),
        ("the number of synaptic operations", "synops"),
    )


def _si_tick(x: float) -> str:
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= factor:
            return f"{units.tick(x / factor)} {prefix}"
    return units.tick(x)


def energy(everybody: Sequence[Run]) -> Figure:
    """Draw the energy of every run, and the ANN's."""
    title = "Energy per sample"
    shown = [run for run in everybody if _energies(run.report)]
    if not shown:
        return absent("energy", title, "energy", "synops --metric energy")
    anns = {_ann_energies(run.report) for run in shown}
    shared = len(shown) > 1 and len(anns) == 1 and () not in anns
    values = finite(v for run in shown for _, v, _ in _energies(run.report))
    values += finite(v for ann in anns for _, v in ann)
    factor, unit = units.energy_scale(max(values, default=1.0))
    ink = Style("ink")
    groups: list[tuple[str, list[Bar]]] = []
    for run in shown:
        bars = [
            Bar(name, factor * mj, _worth(mj, ratio), run.style)
            for name, mj, ratio in _energies(run.report)
        ]
        if not shared:
            bars += [
                Bar(f"ANN, {name}", factor * mj, _worth(mj, None), ink)
                for name, mj in _ann_energies(run.report)
            ]
        groups.append((run.label, bars))
    if shared:
        bars = [Bar(name, factor * mj, _worth(mj, None), ink) for name, mj in anns.pop()]
        groups.insert(0, ("ANN of all runs", bars))
    x = energy_axis(linear([factor * v for v in values], 4, lo=0.0), unit)

    def draw(name: str, width: float) -> str:
        about = f"Energy per sample of {', '.join(r.label for r in shown)}, and of the ANN."
        return bar_plot(name, title, about, x, groups, width)

    caption = f"{ENERGY}{constants(shown)}{without(everybody, shown)}"
    return Figure("energy", title, caption, draw)


def _energies(report: EvaluateReport) -> list[tuple[str, float, float | None]]:
    found = (
        ("synaptic", report.energy_synaptic_mj, report.energy_synaptic_ratio),
        ("first layer once", report.energy_total_mj, report.energy_total_ratio),
        (
            "first layer each step",
            report.energy_total_every_step_mj,
            report.energy_total_every_step_ratio,
        ),
        ("with memory", report.energy_memory_mj, report.energy_memory_ratio),
    )
    return [(name, mj, ratio) for name, mj, ratio in found if mj is not None]


def _ann_energies(report: EvaluateReport) -> tuple[tuple[str, float], ...]:
    found = (("all MACs", report.energy_ann_mj), ("with memory", report.energy_memory_ann_mj))
    return tuple((name, mj) for name, mj in found if mj is not None)


def _worth(mj: float, ratio: float | None) -> str:
    return units.typographic(units.energy_of_ann(mj, ratio) or "")


def constants(shown: Sequence[Run]) -> str:
    """Return the energies of one operation, where all runs used the same."""
    keys = ("energy_ac_pj", "energy_mac_pj")
    used = {tuple(run.report.config.get(key) for key in keys) for run in shown}
    if len(used) != 1 or None in next(iter(used)):
        return ""
    ac, mac = next(iter(used))
    lookups = {run.report.config.get("energy_lookup_pj") for run in shown if run.report.functions}
    table = f", a look-up {units.value(lookups.pop())} pJ" if len(lookups) == 1 else ""
    return (
        f" An accumulate takes {units.value(ac)} pJ, a multiply-accumulate {units.value(mac)} pJ"
        f"{table}."
    )
