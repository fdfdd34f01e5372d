"""Which differences are more than chance: what may be marked, and what may be said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from snnconv.core.scores import Score
from snnconv.core.uncertainty import (
    CHANCE,
    FEW,
    apart,
    discordant,
    interval,
    mcnemar,
    paired,
    unpacked,
    unpacked_numbers,
)
from snnconv.render import units
from snnconv.reports import Difference, EvaluateReport


def accuracy_at(report: EvaluateReport, t: int | None = None) -> float | None:
    """Return the accuracy at a step, or at T; none where the network has no answer there."""
    return _at(report.accuracy or [], t)


def score_at(report: EvaluateReport, t: int | None = None) -> float | None:
    """Return the score that decides, at a step or at T; none where there is no answer."""
    return _at(report.by_step, t)


def _at(steps: Sequence[float | None], t: int | None) -> float | None:
    if t is None:
        return steps[-1] if steps else None
    return steps[t - 1] if t <= len(steps) else None


def intervals_apart(one: tuple[float, int], other: tuple[float, int]) -> bool:
    """Return whether the intervals of two accuracies are apart."""
    a, b = interval(*one), interval(*other)
    return a is not None and b is not None and apart(a, b)


def same_samples(one: EvaluateReport, other: EvaluateReport) -> bool:
    """Return whether two runs were measured on the same samples.

    Older files do not say on which: there it follows from the data set and their number.
    """
    if (one.data.spec, one.samples) != (other.data.spec, other.samples):
        return False
    runs = (one, other)
    drawn = [run.subset.sha256 for run in runs if run.subset]
    measured = [run.outcomes.samples_sha256 for run in runs if run.outcomes]
    if (
        sum(bool(run.subset or run.outcomes) for run in runs) == 1
    ):  # one file is older: of a part of the split, nobody knows
        return one.samples == one.data.test_samples == other.data.test_samples
    return len(set(drawn)) < 2 and len(set(measured)) < 2


def unjudged(reports: Sequence[EvaluateReport]) -> str | None:
    """Return why nothing may be called better or worse; None if it may."""
    fewest = min((report.samples for report in reports), default=0)
    if fewest < FEW:
        return f"{fewest} sample{'' if fewest == 1 else 's'}, where {FEW} are the least"
    if any(report.classes == 1 for report in reports):
        return "the samples have one class only"
    return None


def difference(
    one: EvaluateReport, other: EvaluateReport, t: int | None = None
) -> Difference | None:
    """Return McNemar's test of two runs at a step, or at T of each.

    None where the samples are not the same, or a file does not say which of them are right.
    """
    if not same_samples(one, other) or one.outcomes is None or other.outcomes is None:
        return None
    texts = [run.outcomes.steps.get(t or run.timesteps) for run in (one, other) if run.outcomes]
    bits = [unpacked(text, one.samples) for text in texts if text is not None]
    if len(bits) < 2:
        return None
    alone, other_alone = discordant(*bits)
    return Difference(
        only_this_right=alone, only_other_right=other_alone, p=mcnemar(alone, other_alone)
    )


def tested(reports: Sequence[EvaluateReport]) -> list[tuple[int, int, Difference]]:
    """Return every two runs that McNemar's test can tell something of, at T of each."""
    pairs = combinations(range(len(reports)), 2)
    found = ((i, j, difference(reports[i], reports[j])) for i, j in pairs)
    return [(i, j, test) for i, j, test in found if test is not None]


def beats(one: EvaluateReport, other: EvaluateReport, t: int | None = None) -> bool:
    """Return whether the first has the better score by more than chance.

    An accuracy is tested by McNemar's test, or where a file lacks what it needs, by whether the
    intervals are apart; other scores by the paired t-test of the jackknife's parts.
    """
    a, b, kind = score_at(one, t), score_at(other, t), one.decisive
    if a is None or b is None or kind != other.decisive or not kind.better(a, b):
        return False
    if found := difference(one, other, t):
        return found.p < CHANCE
    if (p := parts_test(one, other, t)) is not None:
        return p < CHANCE
    return kind.outcome and intervals_apart((a, one.samples), (b, other.samples))


def parts_test(one: EvaluateReport, other: EvaluateReport, t: int | None = None) -> float | None:
    """Return p of the paired t-test of two runs' scores at a step, or at T of each.

    None where the samples are not the same, or a file does not have the parts.
    """
    if not same_samples(one, other) or one.headline_parts is None or other.headline_parts is None:
        return None
    found = [
        run.headline_parts.steps.get(t or run.timesteps)
        for run in (one, other)
        if run.headline_parts
    ]
    parts = [each for each in found if each]
    if len(parts) < 2 or len(parts[0]) != len(parts[1]):
        return None
    return paired(*parts)


def winner(reports: Sequence[EvaluateReport], t: int | None = None) -> int | None:
    """Return the run whose score is better than every other one's at a step, if there is one."""
    if unjudged(reports):
        return None
    competing = [i for i, report in enumerate(reports) if score_at(report, t) is not None]
    for i in competing if len(competing) > 1 else ():
        if all(beats(reports[i], reports[j], t) for j in competing if j != i):
            return i
    return None


Costs = Sequence[float] | None
"""Of each sample; none where a file does not have them."""


def operations(report: EvaluateReport) -> Costs:
    """Return the synaptic operations of each sample in T steps."""
    if report.sops_by_sample is None:
        return None
    return unpacked_numbers(report.sops_by_sample, report.samples)


def total_energy(report: EvaluateReport) -> Costs:
    """Return the energy of each sample in mJ, the first layer counted once.

    What does not spike takes the same energy for every sample, so it follows from the operations.
    """
    found, mean = operations(report), report.sops_per_sample
    synaptic, total = report.energy_synaptic_mj, report.energy_total_mj
    if found is None or synaptic is None or total is None or not mean:
        return None
    return [total - synaptic + synaptic / mean * sops for sops in found]


def cheapest(
    reports: Sequence[EvaluateReport],
    costs: Callable[[EvaluateReport], Costs],
    eligible: Sequence[bool],
) -> frozenset[int]:
    """Return the run that costs less than every other eligible one, by more than chance.

    Args:
        reports: all on the same samples.
        costs: of one of them.
        eligible: which of them compete.
    """
    both = enumerate(zip(reports, eligible, strict=True))
    found = {i: costs(run) for i, (run, able) in both if able}
    competing = {i: each for i, each in found.items() if each is not None}
    if len(competing) < max(2, len(found)):
        return frozenset()
    best = min(competing, key=lambda i: sum(competing[i]))
    others = (each for i, each in competing.items() if i != best)
    beaten = all(paired(competing[best], each) < CHANCE for each in others)
    return frozenset({best} if beaten else ())


@dataclass(frozen=True)
class Against:
    """A network at T, compared with its ANN.

    Attributes:
        ahead: by how much the score is better than the ANN's, in the score's unit.
        score: which one.
        p: of McNemar's test, or the paired t-test for what is no accuracy; none in an older file.
        differs: whether the difference is more than chance.
        unjudged: why nothing is said about it, or none.
    """

    ahead: float
    score: Score
    p: float | None
    differs: bool
    unjudged: str | None

    def words(self) -> tuple[str, str]:
        """Return a difference and how to judge it: ``-1.20 points``, ``p = 0.004``."""
        if self.unjudged:
            return "no verdict", self.unjudged
        chance = "" if self.differs or not self.ahead else "no more than chance"
        test = "McNemar" if self.score.outcome else "paired t-test"
        tested = "" if self.p is None else f"{units.p_value(self.p)} ({test})"
        said = ": ".join(text for text in (tested, chance) if text)
        difference = f"{units.points(self.ahead / 100)} {self.score.unit}"
        return difference, said or ("the intervals are apart" if self.score.outcome else "")


def against_ann(report: EvaluateReport) -> Against | None:
    """Return the comparison of a report's two scores; none where there is one only."""
    at_end, ann, kind = score_at(report), report.of_ann, report.decisive
    if at_end is None or ann is None or report.task == "none":
        return None
    ahead = kind.ahead(at_end, ann)
    if ahead is None:
        return None
    p = report.against_ann.p if report.against_ann else report.headline_against_ann
    both = ((at_end, report.samples), (ann, report.samples))
    apart_enough = kind.outcome and intervals_apart(*both)
    differs = apart_enough if p is None else p < CHANCE
    return Against(ahead, kind, p, differs, unjudged([report]))


def told_bounds(evaluations: Sequence[EvaluateReport], where: str) -> list[str]:
    """Say what the bounds of scores in a table are, and ``where`` they stand."""
    found = []
    if any(run.accuracy for run in evaluations):
        found.append(f"{where} an accuracy: its 95 % interval (Wilson).")
    if any(run.headline_errors for run in evaluations):
        found.append(f"{where} a score: two standard errors (jackknife).")
    return found
