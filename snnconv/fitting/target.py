"""A chip as a file: its figures, each with its public source.

A target is TOML: ``title``, a table ``[sources]`` of names and where each is found, and a table for
each figure, ``[kernels]`` with its ``value`` and its ``source``, one of these names. A figure that
no source gives is left out, and what depends on it is not checked. Those of the package are in the
folder ``targets``; a user's own are named by their path.
"""

from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from snnconv.core.toml_files import TomlFiles

Value = TypeVar("Value")
Count = Annotated[int, Field(gt=0, strict=True)]
Sizes = Annotated[tuple[Count, ...], Field(min_length=1)]
Lengths = Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], Field(min_length=1)]
Pool = Literal["sum", "max", "global-average"]


class Figure(BaseModel, Generic[Value]):
    """One figure of a chip."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    value: Value
    source: str = Field(min_length=1, description="a name of the table of sources")
    note: str = Field("", description="how the source's words became this value")


def _figure(description: str) -> Figure[Value] | None:
    found: Figure[Value] | None = Field(None, description=description)
    return found


class Target(BaseModel):
    """One chip. Sizes are in places and channels, memories in entries unless they say bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, description="what it is, in one line")
    sources: dict[str, str] = Field(description="where each source is found, by its name")

    cores: Figure[Count] | None = _figure("cores of the chip")
    one_layer_per_core: Figure[bool] | None = _figure("whether a core computes one layer, whole")
    weight_memory: Figure[Sizes] | None = _figure("weights that each core holds, core by core")
    neuron_memory: Figure[Sizes] | None = _figure("potentials that each core holds")
    bias_memory: Figure[Sizes] | None = _figure("biases that each core holds")
    powers_of_two: Figure[bool] | None = _figure(
        "whether a core's memories take kernels, channels and maps of powers of two, filled up"
    )
    neurons_per_core: Figure[Count] | None = _figure("neurons of a core, at most")
    synapses_per_core: Figure[Count] | None = _figure("stored weights of a core, at most")
    neurons: Figure[Count] | None = _figure("neurons of the chip, at most")
    synapses: Figure[Count] | None = _figure("synapses of the chip, at most")
    memory_bytes: Figure[Count] | None = _figure("memory of the chip, for weights and all else")

    weight_bits: Figure[Count] | None = _figure("bits of a weight, at most")
    state_bits: Figure[Count] | None = _figure("bits of a potential")
    spike_bits: Figure[Count] | None = _figure("bits of the number that a spike carries")
    graded_spikes: Figure[bool] | None = _figure("whether a spike carries a number")
    signed_spikes: Figure[bool] | None = _figure("whether a spike may be negative")
    neuron_models: Figure[tuple[str, ...]] | None = _figure(
        "neurons as `--neuron` names them; `any` for neurons that are programs"
    )
    real_input: Figure[bool] | None = _figure("whether real numbers come in, not events alone")

    input_side: Figure[Count] | None = _figure("places of an axis of what a layer reads, at most")
    output_side: Figure[Count] | None = _figure("places of an axis of a map of neurons, at most")
    channels: Figure[Count] | None = _figure("channels that a layer reads or gives, at most")
    fan_in: Figure[Count] | None = _figure("synapses of one neuron, at most")
    fan_out: Figure[Count] | None = _figure("layers that read one layer, at most")
    dense_inputs: Figure[Count] | None = _figure("numbers that a matrix reads, at most")
    dense_as_convolution: Figure[bool] | None = _figure(
        "whether a matrix behind a map is a convolution whose kernel is the whole map"
    )
    one_convolution: Figure[bool] | None = _figure("whether one matrix or kernel feeds a neuron")
    square_kernels: Figure[bool] | None = _figure("whether height and width of a kernel are equal")
    kernels: Figure[Sizes] | None = _figure("sides of kernels")
    strides: Figure[Sizes] | None = _figure("strides of convolutions")
    strided_kernels: Figure[Sizes] | None = _figure("sides of kernels whose stride is not 1")
    paddings: Figure[Lengths] | None = _figure("paddings of convolutions")
    same_padding: Figure[bool] | None = _figure("whether a padding has to keep the map's size")
    pools: Figure[tuple[Pool, ...]] | None = _figure(
        "poolings: `sum`, which an average is when the weights behind it take up its divisor, "
        "`max`, and `global-average` over whole maps"
    )
    pool_sizes: Figure[Sizes] | None = _figure("sides of the windows of `sum` and `max`")
    global_average_side: Figure[Count] | None = _figure("places of an axis under `global-average`")

    first_kernels: Figure[Sizes] | None = _figure("sides of kernels of the first layer")
    first_strides: Figure[Sizes] | None = _figure("strides of the first layer")
    first_channels: Figure[Sizes] | None = _figure("numbers of channels of the input")
    first_sides: Figure[tuple[Count, Count]] | None = _figure("least and most places of its width")
    first_filters: Figure[tuple[tuple[Count, Count, Count], ...]] | None = _figure(
        "channels of the input, side of the kernel, and the most channels that the layer gives"
    )
    first_weight_bits: Figure[Count] | None = _figure("bits of its weights, at most")

    @property
    def figures(self) -> "dict[str, Figure[object]]":
        """The figures that it has, by name."""
        found = {name: getattr(self, name) for name in FIGURES}
        return {name: figure for name, figure in found.items() if figure is not None}

    @model_validator(mode="after")
    def _every_figure_has_a_source(self) -> "Target":
        for name, figure in self.figures.items():
            if figure.source not in self.sources:
                raise ValueError(
                    f"figure {name} names the source '{figure.source}', and [sources] has "
                    f"{', '.join(self.sources) or 'none'}"
                )
        if len(memories := {len(each) for each in self.memories.values()}) > 1:
            raise ValueError(f"the memories are of {sorted(memories)} cores: give one for each")
        return self

    @property
    def memories(self) -> dict[str, Sizes]:
        """What each core holds, by the name of the figure."""
        names = ("weight_memory", "neuron_memory", "bias_memory")
        found = {name: getattr(self, name) for name in names}
        return {name: figure.value for name, figure in found.items() if figure is not None}


FIGURES = tuple(name for name in Target.model_fields if name not in ("title", "sources"))
TARGETS = TomlFiles(Path(__file__).parent / "targets", Target, "target", "target", "guide/fit")
