"""Windows of ONNX's convolutions and poolings, which may be padded at either side."""

from collections.abc import Sequence
from dataclasses import dataclass

from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import Activation, NodeSpec, Refused
from snnconv.graph.operations.wiring import Pad


@dataclass(frozen=True)
class Window:
    """A window on some axes, one number an axis.

    Attributes:
        begin: padding before the first place.
        end: padding behind the last.
    """

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    begin: list[int]
    end: list[int]

    @property
    def rank(self) -> int:
        """How many axes."""
        return len(self.kernel)

    @property
    def even(self) -> bool:
        """Whether it is padded at both sides alike."""
        return self.begin == self.end


def window(call: Call, kernel: Sequence[int], extent: Sequence[int]) -> Window:
    """Return the window of a call on axes of some extent."""
    rank = len(kernel)
    stride = call.numbers("strides") or [1] * rank
    dilation = call.numbers("dilations") or [1] * rank
    pads = call.numbers("pads") or [0] * (2 * rank)
    lengths = {rank, len(extent), len(stride), len(dilation)}
    if len(lengths) > 1 or len(pads) != 2 * rank or min(*stride, *dilation, *kernel) < 1:
        raise Refused(f"a window of {rank} axes that does not fit {len(extent)} axes")
    begin, end = pads[:rank], pads[rank:]
    auto = call.attrs.get("auto_pad", "NOTSET")
    if auto == "VALID":
        begin = end = [0] * rank
    elif auto != "NOTSET":
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        steps = [-(-n // s) - 1 for n, s in zip(extent, stride, strict=True)]
        covered = [k * s + span for k, s, span in zip(steps, stride, spans, strict=True)]
        total = [max(c - n, 0) for c, n in zip(covered, extent, strict=True)]
        begin, end = halves(total, auto)
    return Window(list(kernel), stride, dilation, begin, end)


def halves(total: Sequence[int], auto: str) -> tuple[list[int], list[int]]:
    """Share padding between two sides; an odd place goes to the side that ``auto_pad`` names."""
    small = [n // 2 for n in total]
    large = [n - half for n, half in zip(total, small, strict=True)]
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def zeros(x: Activation | NodeSpec, begin: Sequence[int], end: Sequence[int]) -> NodeSpec:
    """Add zeros around the last axes; negative widths crop."""
    pairs = list(zip(begin, end, strict=True))
    widths = [n for pair in reversed(pairs) for n in pair]  # the last axis comes first
    return NodeSpec("pad", [x], Pad(pad=widths, mode="constant"))
