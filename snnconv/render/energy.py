"""What a network spends, by each convention, and the honest pair in front of them.

A spiking network is compared with its float32 ANN by operations alone, as the field does, and with
its quantized twin, which has the same capacity and needs no steps. If the twin is cheaper and as
accurate within chance, no sentence says that the spiking network is cheap.
"""

from collections.abc import Sequence

from snnconv.core.uncertainty import CHANCE
from snnconv.render import units
from snnconv.render.significance import accuracy_at, intervals_apart, unjudged
from snnconv.render.tables import Fact
from snnconv.reports import EvaluateReport

PARTS = {
    "operations": "operations",
    "addressing": "addresses",
    "inout": "events in and out",
    "weights": "weights",
    "potentials": "potentials",
}


def as_accurate(report: EvaluateReport) -> bool | None:
    """Return whether the twin is at T as accurate as the network, or less so by chance only."""
    spiking, twin, test = accuracy_at(report), report.twin_accuracy, report.against_twin
    if spiking is None or twin is None:
        return None
    if twin >= spiking:
        return True
    if test is not None:
        return test.p >= CHANCE
    return not intervals_apart((spiking, report.samples), (twin, report.samples))


def twin_wins(report: EvaluateReport) -> bool:
    """Return whether the twin is cheaper, and as accurate within chance."""
    ratio = report.energy_twin_ratio
    return ratio is not None and ratio > 1 and as_accurate(report) is True


def winning(report: EvaluateReport) -> str:
    """Return how a twin that wins compares: its accuracy, without a claim that chance may make."""
    test = report.against_twin
    if test and test.p < CHANCE and test.only_other_right > test.only_this_right:
        return "more accurate and cheaper"
    return "as accurate within chance, and cheaper"


def twin(report: EvaluateReport) -> str:
    """Return which twin it is: ``4 bits, 99.44% accurate``."""
    bits = f"{report.twin_bits} bit" + ("" if report.twin_bits == 1 else "s")
    accurate = units.shown(units.percent, report.twin_accuracy)
    return f"{bits}, {accurate} accurate" if accurate else bits


def judged(report: EvaluateReport) -> str:
    """Return what the second half of the pair says, in a few words; empty on too few samples."""
    if unjudged([report]):
        return ""
    if twin_wins(report):
        return f"the twin is {winning(report)}"
    ratio, same = report.energy_twin_ratio, as_accurate(report)
    if same is False:
        return "the twin is less accurate"
    return "the spiking network is cheaper" if same and ratio is not None and ratio < 1 else ""


def pair(report: EvaluateReport) -> list[Fact]:
    """Return the energy against the float32 ANN's, and against the quantized twin's."""
    facts = []
    if report.energy_total_ratio is not None:
        share = units.percent(report.energy_total_ratio)
        facts.append(Fact("energy / float32 ANN's", share, "operations alone"))
    if report.energy_twin_ratio is not None:
        said = "; ".join(text for text in (f"twin of {twin(report)}", judged(report)) if text)
        share = units.percent(report.energy_twin_ratio)
        facts.append(Fact("energy / quantized twin's", share, said))
    return facts


def facts(report: EvaluateReport) -> list[Fact]:
    """Return the energy by each convention."""
    passes = report.first_layer_passes or 1
    often = "once" if passes == 1 else f"{passes} times"
    found = []
    for name, mj, ratio in (
        ("energy, synaptic", report.energy_synaptic_mj, report.energy_synaptic_ratio),
        (f"energy, first layer {often}", report.energy_total_mj, report.energy_total_ratio),
        (
            "energy, first layer each step",
            report.energy_total_every_step_mj,
            report.energy_total_every_step_ratio,
        ),
        ("energy, ANN", report.energy_ann_mj, None),
    ):
        if mj is not None:
            remark = "" if ratio is None else f"{units.percent(ratio)} of the ANN"
            found.append(Fact(name, units.energy(mj), remark))
    if report.energy_memory_mj is not None:
        remark = parts(report.energy_memory_terms_mj)
        found.append(Fact("energy with memory", units.energy(report.energy_memory_mj), remark))
    if report.energy_memory_ann_mj is not None:
        remark = parts(report.energy_memory_ann_terms_mj)
        value = units.energy(report.energy_memory_ann_mj)
        found.append(Fact("energy with memory, ANN", value, remark))
    return found


def parts(terms: dict[str, float] | None) -> str:
    """Return the parts of an energy, the largest first: ``weights 96%, potentials 2%``."""
    total = sum((terms or {}).values())
    if not terms or not total:
        return ""
    largest = sorted(terms.items(), key=lambda item: -item[1])
    shares = ((PARTS.get(name, name), round(100 * mj / total)) for name, mj in largest)
    return ", ".join(f"{name} {share}%" for name, share in shares if share)


def sentence(report: EvaluateReport) -> str:
    """Return what a sample takes, as the end of a sentence; empty if no energy was measured."""
    if report.energy_total_mj is None:
        return ""
    text = f"takes {units.typographic(units.energy(report.energy_total_mj))} per sample"
    if report.energy_total_ratio is not None:
        alone = "the energy of an ANN of its form"
        whose = alone if report.trained_directly else "its float32 ANN's energy"
        text += f", {units.percent(report.energy_total_ratio)} of {whose} by operations alone"
    if report.energy_twin_ratio is not None:
        share = units.percent(report.energy_twin_ratio)
        text += f", and {share} of the energy of its quantized twin ({twin(report)})"
    return text


def star(reports: Sequence[EvaluateReport]) -> str:
    """Return what it means to stand left of the ANN in a plot of accuracy against energy.

    It says "cheaper" only if no twin is cheaper and as accurate within chance.
    """
    beaten = sum(map(twin_wins, reports))
    if not beaten:
        measured = all(report.energy_twin_ratio is not None for report in reports)
        unknown = "" if measured else "; their quantized twins were not measured"
        return f" Left of the star is cheaper than the float32 ANN, by operations alone{unknown}."
    whose = "its" if len(reports) == 1 else f"{beaten} of {len(reports)} runs' "
    twins = f"{whose} quantized twin" if len(reports) == 1 else f"{whose}quantized twins"
    are = "is" if beaten == 1 or len(reports) == 1 else "are"
    return (
        f" Left of the star are fewer or cheaper operations than the float32 ANN's; {twins} {are} "
        "as accurate within chance, and cheaper still."
    )
