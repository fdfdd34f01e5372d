"""What a conversion reports of the search that chose its method and T."""

from typing import Literal

from pydantic import BaseModel, Field

from snnconv.core.scores import Score

Outcome = Literal["chosen", "within", "below", "dearer"]


class TrialRow(BaseModel):
    """One network that the search measured."""

    method: str = Field(description="a preset of snnconv ls presets, or a file of the user's")
    timesteps: int = Field(description="T")
    latency_steps: int = Field(description="steps until the answer")
    samples: int = Field(
        description="that it was measured on; fewer than all if the search gave it up before"
    )
    share: float = Field(description="accuracy or agreement on these samples, or another score")
    points_below: float = Field(
        description="below the ANN on the same samples, in points; percent of an error"
    )
    energy_total_mj: float = Field(description="per sample")
    energy_total_ratio: float = Field(description="to the ANN's energy")
    spikes_per_sample: float
    outcome: Outcome = Field(
        description="chosen; within the points, but dearer than the chosen one; too far below the "
        "ANN; or given up, because it was dearer than one that is within the points"
    )


class SearchUse(BaseModel):
    """A search for the cheapest network that is close enough to its ANN."""

    points: float = Field(description="what --within asked for")
    reached: bool = Field(description="whether the network that was written is so close")
    method: str = Field(description="the preset that it is made by")
    title: str = Field(description="the preset's")
    reference: str = Field(description="the preset's")
    cost: Literal["energy", "latency", "spikes"] = Field(description="what was to be cheap")
    allow: list[str] = Field(description="what neurons were allowed to do")
    measured: str = Field(
        description="accuracy against labels, agreement with the ANN's classes, or the score that "
        "decides for another task"
    )
    headline: Score | None = Field(None, description="that score; null in an older file")
    ann_score: float | None = Field(None, description="the ANN's on these samples")
    why_agreement: str | None = Field(description="why labels were not used; null if they were")
    ann_accuracy: float | None = Field(
        description="on the held-out samples; null if agreement was measured"
    )
    samples: int = Field(
        description="training samples that no stage had calibrated or corrected on"
    )
    samples_sha256: str = Field(
        description="of their indices in ascending order, as 64-bit integers, lowest byte first"
    )
    trials: list[TrialRow] = Field(description="in their order")
    left_out: dict[str, str] = Field(
        description="methods that were not tried, at all T or from one on, and why"
    )
