"""The attributes of every operation: names, types and bounds, in one place.

A graph comes from a file, and what a file says reaches PyTorch's functions, which check little:
numbers of a wrong type, of no size at all or of more memory than there is are refused here, before
anything is computed.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST = 2**31 - 1
"""Of a whole number in an attribute."""

FLOAT32 = 3.4e38
"""Of any other number: what float32 holds, which the graph computes in."""

Size = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Whole = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Offset = Annotated[int, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Axis = Annotated[int, Field(strict=True, ge=1, le=16, description="never 0, the batch")]
Number = Annotated[float, Field(strict=True, ge=-FLOAT32, le=FLOAT32)]
Ceiling = Annotated[float, Field(strict=True, gt=0, le=FLOAT32)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Small = Annotated[float, Field(strict=True, ge=0, le=1e6)]
Flag = Annotated[bool, Field(strict=True)]
Sizes = Annotated[list[Size], Field(min_length=1, max_length=16)]
Wholes = Annotated[list[Whole], Field(min_length=1, max_length=3)]
Window = Annotated[list[Size], Field(min_length=1, max_length=3)]
Axes = Annotated[list[Axis], Field(min_length=1, max_length=16)]


class Attributes(BaseModel):
    """Those of an operation that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Conv(Attributes):
    """Of a convolution."""

    stride: Window
    padding: Wholes
    dilation: Window
    groups: Size


class ConvTranspose(Conv):
    """Of a transposed convolution."""

    output_padding: Wholes


class BatchNorm(Attributes):
    """Momentum None is the mean over all batches."""

    eps: Small
    momentum: Share | None = 0.1


class Affine(Attributes):
    """Fixed: training leaves it as it is."""

    fixed: Flag = False


class Relu(Attributes):
    """Ceiling None: there is none."""

    ceiling: Ceiling | None


class Qcfs(Attributes):
    """Of a quantized activation."""

    levels: Annotated[int, Field(strict=True, ge=1, le=2**16)]
    ceiling: Ceiling | None = None


class Pool(Attributes):
    """Of a window that moves."""

    kernel: Window
    stride: Window
    padding: Wholes
    ceil_mode: Flag


class MaxPool(Pool):
    """Of a max pooling."""

    dilation: Window


class AvgPool(Pool):
    """Of an average pooling."""

    count_include_pad: Flag


class Adaptive(Attributes):
    """Of a pooling to a size."""

    output: Window


class Mean(Attributes):
    """Of a mean over axes."""

    dims: Axes
    keepdim: Flag


class Along(Attributes):
    """Of what goes along an axis."""

    dim: Axis


class Shaped(Attributes):
    """Of a sample's new shape."""

    shape: Annotated[list[Size], Field(max_length=16)]


class Permute(Attributes):
    """Of the order of axes."""

    dims: Axes


class Slice(Along):
    """Places from start to before stop."""

    start: Offset
    stop: Offset
    step: Offset

    @model_validator(mode="after")
    def _some(self) -> "Slice":
        if self.step == 0 or not range(self.start, self.stop, self.step):
            raise ValueError("a slice of no place")
        return self

    def places(self) -> range:
        """Those it takes."""
        return range(self.start, self.stop, self.step)


class Take(Along):
    """Places in an order of their own."""

    taken: Annotated[list[Whole], Field(min_length=1, alias="places")]

    def places(self) -> list[int]:
        """Those it takes."""
        return self.taken


class Pad(Attributes):
    """Before and after each of the last axes; below 0 it crops."""

    pad: Annotated[list[Offset], Field(min_length=2, max_length=32)]
    mode: Literal["constant", "reflect", "replicate", "circular"]


class Upsample(Attributes):
    """Of each place repeated."""

    size: Window


class Interpolate(Upsample):
    """Of places between places."""

    mode: Literal["linear", "bilinear", "trilinear", "bicubic"]
    align_corners: Flag


class Pointwise(Attributes):
    """Of a function of one number."""

    function: str
    arguments: Annotated[list[Number], Field(max_length=2)]


class Normed(Attributes):
    """Of a LayerNorm."""

    shape: Sizes
    eps: Small


class Grouped(Attributes):
    """Of a GroupNorm."""

    groups: Size
    eps: Small


class ResponseNorm(Attributes):
    """Of a local response normalisation."""

    size: Size
    alpha: Number
    beta: Number
    k: Number


class Recurrent(Attributes):
    """Of an LSTM or a GRU."""

    hidden: Size
    layers: Annotated[int, Field(strict=True, ge=1, le=1024)]
    bias: Flag
    bidirectional: Flag
    dropout: Share


class Dropout(Attributes):
    """Of what drops in training."""

    p: Share


class Identity(Attributes):
    """Dropped: the softmax that stood here, at the end of the network."""

    dropped: str | None = None


ATTRIBUTES: Mapping[str, type[Attributes]] = {
    "conv": Conv,
    "conv_transpose": ConvTranspose,
    "batch_norm": BatchNorm,
    "affine": Affine,
    "relu": Relu,
    "qcfs": Qcfs,
    "max_pool": MaxPool,
    "adaptive_max_pool": Adaptive,
    "avg_pool": AvgPool,
    "adaptive_avg_pool": Adaptive,
    "mean": Mean,
    "concat": Along,
    "reshape": Shaped,
    "permute": Permute,
    "slice": Slice,
    "take": Take,
    "pad": Pad,
    "upsample": Upsample,
    "expand": Shaped,
    "interpolate": Interpolate,
    "pointwise": Pointwise,
    "layer_norm": Normed,
    "group_norm": Grouped,
    "softmax": Along,
    "log_softmax": Along,
    "local_response_norm": ResponseNorm,
    "lstm": Recurrent,
    "gru": Recurrent,
    "dropout": Dropout,
    "identity": Identity,
}
"""By operation; one that is not here has none."""


def of(op: str) -> type[Attributes]:
    """What an operation's attributes are checked against."""
    return ATTRIBUTES.get(op, Attributes)
