"""The records inside checkpoints and reports, as plain validated data."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from snnconv.core.bounds import COUNT, SEED, STEPS
from snnconv.core.validation import Given, bounded

Count = Annotated[int, Field(ge=1, le=COUNT)]
Positive = Annotated[float, Field(gt=0), AfterValidator(bounded)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parameters(Record, Given):
    """The parameters of a method, as a user gives them.

    Attributes:
        examples: settings, in addition to the defaults, for which tests check the laws of the
            method's kind; if there are none, tests take each alternative of each switch alone.
        trial: what tests set in place of the defaults to be quick, for example few iterations.
    """

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    trial: ClassVar[Mapping[str, Any]] = {}


class DataInfo(Record):
    """What a network must know about the data for which it was made."""

    spec: str = Field(description="the data set, as --data takes it")
    shape: tuple[Count, ...] = Field(description="of one sample, or one frame, channels first")
    classes: tuple[str, ...] = Field(
        description="class names; logit k is classes[k]. Of a data set that does not say: empty"
    )
    mean: tuple[float, ...] = Field(description="per channel, subtracted from values in 0..1")
    std: tuple[Positive, ...] = Field(description="per channel, divided by after that")
    scale: Positive | None = Field(
        default=None,
        description="raw values are divided by, as the user said; null where it is the data set's "
        "own, which brings them to 0..1",
    )
    layout: str | None = Field(
        default=None,
        description="of raw samples, as the user said; null where the data set takes them as usual",
    )
    size: Count | None = Field(
        default=None,
        description="in pixels, that images are scaled and cut to, as the user said; null where "
        "they stay as they are",
    )
    frames: int | None = Field(
        default=None,
        ge=2,
        le=STEPS,
        description="of a sample that changes over time; null where it is constant",
    )
    vocabulary: tuple[str, ...] = Field(
        default=(), description="of a text: token k is word k - 2, after padding and unknown words"
    )

    task: str = Field(default="classification", description="what outputs are for, and measured by")

    @property
    def tokens(self) -> int | None:
        """How many different token numbers a text may have; none where samples are no texts."""
        return len(self.vocabulary) + 2 if self.vocabulary else None


class SiteStats(Record):
    """What calibration found at one activation site; the checkpoint stores histograms as tensors.

    For a network that was trained with neurons, only the threshold is known, because it was given.
    """

    threshold: float = Field(
        gt=0, description="theta; the mean over channels when there is one for each channel"
    )
    max: float | None = Field(default=None, description="largest activation seen")
    mean: float | None = Field(default=None, description="mean activation")
    zero_share: float | None = Field(
        default=None, ge=0, le=1, description="share of activations that are zero, 0..1"
    )
    clipped_share: float | None = Field(
        default=None, description="share of activations above the threshold, 0..1"
    )


class CalibrationInfo(Record):
    """How thresholds were found."""

    method: str
    params: dict[str, Any]
    granularity: str = Field(description="layer or channel")
    samples: int = Field(ge=0)
    sites: dict[str, SiteStats]


class ConfidenceInfo(Record):
    """Spike confidence (MSAT section 4.2): keep probability by site in steps 1..early."""

    early: int = Field(ge=1, le=STEPS)
    keep: dict[str, Share]


class SurrogateInfo(Record):
    """What stands for the derivative of a spike in training."""

    name: str
    params: dict[str, Any]


class NormInfo(Record):
    """The norm that replaced BatchNorm in training."""

    name: str
    params: dict[str, Any]


class SpikingInfo(Record):
    """The neurons at the sites, and how they are simulated."""

    neuron: str
    params: dict[str, Any]
    coding: str = Field(default="rate", description="how spikes stand for what a neuron sends")
    timesteps: int = Field(ge=1, le=STEPS)
    seed: int = Field(ge=-SEED, le=SEED, description="of everything random in the simulation")
    hold: int = Field(
        default=1, ge=1, le=STEPS, description="steps for which a frame of the input is shown"
    )
    confidence: ConfidenceInfo | None = None
    surrogate: SurrogateInfo | None = Field(
        default=None, description="of the neurons' training; null for their own"
    )
    norm: NormInfo | None = Field(
        default=None, description="of the training; null for the network's own BatchNorm"
    )


class CorrectionInfo(Record):
    """One correction of a converted network; it adds tensors of its own."""

    method: str
    params: dict[str, Any]
    samples: int = Field(ge=1, description="training samples that it was measured on")
    timesteps: int | None = Field(
        ge=1, le=STEPS, description="the one T that it is made for; null if it holds for every T"
    )


class LineageStep(Record):
    """One stage in a checkpoint's past."""

    stage: str
    parent: str | None = Field(description="SHA-256 of the checkpoint it read, if it read one")
    config: dict[str, Any] = Field(description="the stage's configuration, without paths")
