"""Scores: what says how good outputs are, and how close two networks are by it."""

from pydantic import Field

from snnconv.core.metadata import Record


class Score(Record):
    """One figure that a task is measured by.

    Scores between 0 and 1 are told in percent, and differences of them in points, a hundredth
    each. Errors have the unit of the data, and a difference is told in percent of the ANN's error.
    """

    name: str = Field(description="as top-1, mean-iou or rmse")
    title: str = Field(description="as tables and plots call it")
    higher: bool = Field(True, description="whether more is better")
    relative: bool = Field(
        False, description="whether differences are told in percent of the ANN's value, not points"
    )
    outcome: bool = Field(
        False, description="whether it is the share of samples that are right, as an accuracy is"
    )

    @property
    def words(self) -> str:
        """The title within a sentence: RMSE, but mean IoU."""
        first, rest = self.title[:1], self.title[1:]
        return first.lower() + rest if rest[:1].islower() else self.title

    @property
    def unit(self) -> str:
        """What differences are told in."""
        return "% of the ANN's" if self.relative else "points"

    @property
    def short_unit(self) -> str:
        """The same where there is no room: points, or percent."""
        return "%" if self.relative else "points"

    def shown(self, value: float) -> str:
        """Return a value as tables have it."""
        return f"{value:.4g}" if self.relative else f"{value:.2%}"

    def ahead(self, value: float, reference: float) -> float | None:
        """Return by how much a value is better than another, in :attr:`unit`; worse is below 0.

        None where the reference is 0 and percent of it say nothing.
        """
        found = 100 * (value - reference) * (1 if self.higher else -1)
        if not self.relative:
            return found
        return found / abs(reference) if reference else None

    def within(self, value: float, reference: float, margin: float) -> bool:
        """Return whether a value is at most so much worse than another, in :attr:`unit`."""
        allowed = margin / 100 * (abs(reference) if self.relative else 1)
        worse = (reference - value) * (1 if self.higher else -1)
        return worse <= allowed + 1e-9

    def better(self, value: float, other: float) -> bool:
        """Return whether a value is better than another."""
        return value > other if self.higher else value < other


MARGINS = (1.0, 0.5, 0.1)
"""How close to the ANN is looked for, in :attr:`Score.unit`."""

ACCURACY = Score(name="top-1", title="Accuracy", outcome=True)
"""The share of samples whose class is right."""
