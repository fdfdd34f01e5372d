"""Options that several stages have."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)

from snnconv.core.bounds import COUNT, SEED, SIDE, STEPS, THREADS
from snnconv.core.registry import REGISTRIES
from snnconv.core.validation import Given

ARGUMENT: dict[str, JsonValue] = {"argument": True}
"""The mark of a field that is a positional argument of the command."""


def names_of(registry: str = "") -> dict[str, JsonValue]:
    """Return the mark of a field that holds names: of a registry's methods, if it has one."""
    return {"registry": registry}


def methods(registry: str) -> str:
    """Return what names a method of a registry, for help."""
    own = ", ".join(REGISTRIES[registry].own())
    return (
        f"{own} (snnconv ls {registry}), or file.py:NAME or package.module:NAME, whose code is run"
    )


def parts(given: object) -> object:
    """Return ``"a,b"``, or a list of such texts, as one list."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, list | tuple):
        return [part for each in given for part in _listed(parts(each))]
    return [given]


Engine = Literal["auto", "dense", "event"]
"""Where to go by events: where that is expected to be faster, nowhere, or wherever possible."""


def _figures(given: object) -> object:
    """Return ``"0.5,0.4"``, a number, or a list of either as one list."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",")]
    if isinstance(given, list | tuple):
        return [figure for part in given for figure in _listed(_figures(part))]
    return given if given is None else [given]


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]


FiguresOption = Annotated[tuple[float, ...], BeforeValidator(_figures)]
"""Numbers with commas between them, or an option given several times."""


def _as_text(given: object) -> object:
    """Return a number as text: names and numbers of outputs are one option."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


OutputOption = Annotated[str | None, BeforeValidator(_as_text)]
"""One of several outputs: its name, or its number from 0."""


class StageConfig(Given):
    """The options of every stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suffix: ClassVar[str] = ".safetensors"
    """What ``--out`` has to end with; empty if the stage knows."""
    panel: ClassVar[str] = "Common"
    """The heading in a command's help, of the options that a class adds."""
    example: ClassVar[str] = ""
    """A command line that works, for the help."""

    run: Path = Field(
        default=Path("snnconv-run"), description="run folder, which holds checkpoints and reports"
    )
    seed: int = Field(
        default=0, ge=0, le=SEED, description="seed of everything that is drawn at random"
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:1, ... or auto")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=THREADS,
        description="number of CPU threads; by default torch chooses it",
    )

    @field_validator("out", check_fields=False)
    @classmethod
    def _out_has_its_suffix(cls, out: Path | None) -> Path | None:
        # the stage's report goes beside it under the suffix .json, and must not be the same file
        if out is not None and cls.suffix and out.suffix != cls.suffix:
            raise ValueError(f"name a file that ends with {cls.suffix}")
        return out


class DataConfig(StageConfig):
    """Options of stages that read data."""

    panel: ClassVar[str] = "Data"
    data: str | None = Field(
        default=None,
        description="digits, fashion-mnist, cifar10, cifar100, folder:DIR, npz:FILE, "
        "speech-commands:DIR, textfolder:DIR, imdb:DIR or events:DIR; or package.module:factory "
        "or file.py:factory, whose code is run; by default the data set of the checkpoint",
        json_schema_extra=names_of("datasets"),
    )
    data_root: Path | None = Field(default=None, description="folder in which your data sets are")
    download: bool = Field(default=False, description="download the data set if it is missing")
    task: str | None = Field(
        default=None,
        description="what the network predicts: " + methods("tasks") + "; by default the task of "
        "the checkpoint, or the one that fits the labels",
        json_schema_extra=names_of("tasks"),
    )
    batch_size: int = Field(
        default=100, ge=1, le=COUNT, description="number of samples in a batch; changes no result"
    )


class NormalisationConfig(DataConfig):
    """Options of stages that may set the normalisation: (raw / scale - mean) / std."""

    panel: ClassVar[str] = "Data"
    mean: FiguresOption = Field(
        default=(),
        description="mean that is subtracted from the values after --scale: one number, or one "
        "for each channel, separated by commas; by default that of the data set or the checkpoint",
    )
    std: FiguresOption = Field(
        default=(),
        validate_default=True,
        description="standard deviation by which the values are then divided; requires --mean",
    )
    scale: float | None = Field(
        default=None,
        gt=0,
        description="number by which raw values are divided, for example 255; 1 leaves them as "
        "they are; by default the number that brings them to 0..1",
    )

    size: int | None = Field(
        default=None,
        ge=1,
        le=SIDE,
        description="scale images until their shorter side has this many pixels, and cut out the "
        "middle",
    )
    layout: str | None = Field(
        default=None,
        description="order of the axes of arrays of raw samples: NCHW, NHWC, NHW, NCL, NLC, NF, "
        "NTCHW, ...",
    )

    @field_validator("std")
    @classmethod
    def _std_goes_with_mean(cls, std: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if bool(std) != bool(info.data.get("mean", std)):
            raise ValueError("give --mean and --std, or neither")
        return std


class ModelConfig(DataConfig):
    """Options of stages that take a network from anywhere."""

    panel: ClassVar[str] = "Model"
    model: str | None = Field(
        default=None,
        description="checkpoint, FILE.onnx, FILE.pt2, zoo name, torchvision:NAME, or "
        "package.module:factory or file.py:factory, whose code is run; by default the network "
        "that was trained or calibrated in the run folder, or else the embedded CNN",
        json_schema_extra=ARGUMENT,
    )
    weights: Path | None = Field(
        default=None, description="file with the weights of MODEL: .safetensors, .pt or .pth"
    )
    output: OutputOption = Field(
        default=None,
        description="the output to use if the network has several, by name or by number from 0; "
        "layers that only the other outputs need are cut away",
    )
    non_relu: Literal["refuse", "analog", "spike"] = Field(
        default="refuse",
        description="what to do with functions that no neuron can replace: refuse them, compute "
        "them without spikes (analog), or put a neuron with signed spikes behind each function "
        "whose output a matrix reads (spike)",
    )

    spike_everything: bool = Field(
        default=False,
        description="feed spikes to every matrix and convolution behind the first layer, "
        "including those that read sums of currents, as linear bottlenecks do; implies --non-relu "
        "spike",
    )
    spike_input: bool = Field(
        default=False,
        description="feed spikes to the first layer, too; implies --non-relu spike",
    )

    @property
    def transfers(self) -> bool:
        """Whether the network gets transfer sites."""
        return self.non_relu == "spike" or self.spike_everything or self.spike_input

    @property
    def takes_functions(self) -> bool:
        """Whether functions are taken that no neuron stands for."""
        return self.non_relu == "analog" or self.transfers


class SimulationConfig(DataConfig):
    """Options of stages that simulate for a measurement."""

    panel: ClassVar[str] = "Simulation"
    engine: Engine = Field(
        default="auto",
        description="when to compute convolutions from spike events: if that should be faster "
        "(auto), never (dense), or whenever it is possible (event)",
    )
    memory: str | None = Field(
        default=None,
        description="memory that a simulation or calibration may use in addition to the network "
        "and the data, for example 500MiB or 4GiB; by default half of what the process may still "
        "use",
    )

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_is_a_size(cls, memory: object) -> str | None:
        if memory is None:
            return None
        if TypeAdapter(ByteSize).validate_python(memory) < 1:
            raise ValueError("give a size: 500MiB, 4GiB, or a number of bytes")
        return str(memory)

    def memory_bytes(self) -> int | None:
        """Return ``memory`` as a number of bytes, or None if it is not given."""
        return TypeAdapter(ByteSize).validate_python(self.memory) if self.memory else None


SpikingCheckpoint = Annotated[
    Path | None,
    Field(
        description="spiking checkpoint; by default the newest of the run folder",
        json_schema_extra=ARGUMENT,
    ),
]
"""The checkpoint that a stage reads, if it takes every kind that has neurons."""


class SpikingConfig(SimulationConfig):
    """Options of stages that simulate a spiking network on samples."""

    checkpoint: SpikingCheckpoint = None
    timesteps: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="T, the time steps; by default those of the checkpoint",
    )
    chunk: int = Field(
        default=32,
        ge=1,
        le=COUNT,
        description="number of time steps computed at once; changes no result",
    )
