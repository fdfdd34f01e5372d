"""ONNX's forms of what slides a window: convolutions and pooling, with padding at either side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from snnconv.frontends.lowering import layers
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import Activation, NodeSpec, Refused, batched
from snnconv.frontends.onnx.call import Call


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
    """The window of a call on axes of some extent."""
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
        begin, end = _halves(total, auto)
    return Window(list(kernel), stride, dilation, begin, end)


def _halves(total: Sequence[int], auto: str) -> tuple[list[int], list[int]]:
    """Padding shared between two sides; an odd place goes where ``auto_pad`` says."""
    small = [n // 2 for n in total]
    large = [n - half for n, half in zip(total, small, strict=True)]
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def zeros(x: Activation | NodeSpec, begin: Sequence[int], end: Sequence[int]) -> NodeSpec:
    """Zeros around the last axes; negative widths crop."""
    pairs = list(zip(begin, end, strict=True))
    widths = [n for pair in reversed(pairs) for n in pair]  # the last axis comes first
    return NodeSpec("pad", [x], {"pad": widths, "mode": "constant"})


def _kernel(call: Call) -> list[int]:
    """What a convolution's weight spans."""
    kernel = list(call.tensor(1, "weight").value.shape[2:])
    if not 1 <= len(kernel) <= 3:
        raise Refused(f"a convolution over {len(kernel)} axes")
    return kernel


def conv(call: Call) -> NodeSpec:
    """A convolution; what is padded at one side more is padded by a node of its own."""
    kernel = _kernel(call)
    x = batched(call.x, len(kernel))
    w = window(call, kernel, x.shape[2:])
    weight, bias = call.tensor(1, "weight"), call.optional(2, "bias")
    padding = w.begin if w.even else [0] * w.rank
    groups = call.number("group", 1)
    made = layers.conv(w.rank, (), x, weight, bias, w.stride, padding, w.dilation, groups)
    return made if w.even else replace(made, sources=[zeros(x, w.begin, w.end)])


def conv_transpose(call: Call) -> NodeSpec:
    """A transposed convolution; what PyTorch's padding can't express is cropped."""
    kernel = _kernel(call)
    x = batched(call.x, len(kernel))
    w = window(call, kernel, x.shape[2:])
    extra = call.numbers("output_padding") or [0] * w.rank
    begin, end = w.begin, w.end
    auto = call.attrs.get("auto_pad", "NOTSET")
    wanted = call.numbers("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], w.stride, strict=True)]
    if wanted is not None:
        axes = zip(x.shape[2:], w.stride, w.dilation, kernel, extra, strict=True)
        full = [s * (n - 1) + d * (k - 1) + 1 + e for n, s, d, k, e in axes]
        total = [f - n for f, n in zip(full, wanted[-w.rank :], strict=True)]
        extra = [e + max(-t, 0) for e, t in zip(extra, total, strict=True)]
        begin, end = _halves([max(t, 0) for t in total], auto)
    weight, bias = call.tensor(1, "weight"), call.optional(2, "bias")
    groups = call.number("group", 1)

    def made(padding: list[int], output_padding: list[int]) -> NodeSpec:
        window_ = (w.stride, padding, output_padding, groups, w.dilation)
        return layers.conv_transpose(w.rank, (), x, weight, bias, *window_)

    limits = [max(s, d) for s, d in zip(w.stride, w.dilation, strict=True)]
    if any(o >= n for o, n in zip(extra, limits, strict=True)):
        raise Refused(f"output padding {extra} with stride {w.stride}")
    uneven = [o + b - e for o, b, e in zip(extra, begin, end, strict=True)]
    if min(begin) >= 0 and all(0 <= o < n for o, n in zip(uneven, limits, strict=True)):
        return made(begin, uneven)
    return zeros(made([0] * w.rank, extra), [-n for n in begin], [-n for n in end])


def max_pool(call: Call) -> NodeSpec:
    """Max pooling; padding stands for no place, so only where windows begin counts."""
    if call.read > 1:
        raise Refused("max pooling that gives indices")
    x, w = _pooled(call)

    def made(padding: list[int], ceil_mode: bool) -> NodeSpec:
        return layers.max_pool(w.rank, (), x, w.kernel, w.stride, padding, w.dilation, ceil_mode)

    return _as_many(made, w, _places(call, w, x.shape[2:]))


def avg_pool(call: Call) -> NodeSpec:
    """Average pooling; zeros that count get a node of their own where PyTorch's are not those."""
    x, w = _pooled(call)
    if w.dilation != [1] * w.rank:
        raise Refused("average pooling with dilation")
    counted = bool(call.number("count_include_pad", 0))
    halves = all(2 * b <= k for b, k in zip(w.begin, w.kernel, strict=True))
    places = _places(call, w, x.shape[2:])
    source: Activation | NodeSpec = x
    if counted and not (w.even and halves):
        none = [0] * w.rank
        source, w = zeros(x, w.begin, w.end), replace(w, begin=none, end=none)

    def made(padding: list[int], ceil_mode: bool) -> NodeSpec:
        pool = layers.avg_pool(w.rank, (), x, w.kernel, w.stride, padding, ceil_mode, counted)
        return replace(pool, sources=[source])

    return _as_many(made, w, places)


def _pooled(call: Call) -> tuple[Activation, Window]:
    kernel = call.numbers("kernel_shape") or []
    if not 1 <= len(kernel) <= 3:
        raise Refused(f"pooling over {len(kernel)} axes")
    x = batched(call.x, len(kernel))
    return x, window(call, kernel, x.shape[2:])


def _places(call: Call, w: Window, extent: Sequence[int]) -> list[int]:
    """How many windows there are along each axis, by ONNX's rule."""
    ceil_mode = bool(call.number("ceil_mode", 0))
    found = []
    for n, k, s, d, b, e in zip(
        extent, w.kernel, w.stride, w.dilation, w.begin, w.end, strict=True
    ):
        room = n + b + e - (d * (k - 1) + 1)
        count = (-(-room // s) if ceil_mode else room // s) + 1
        begins_in_padding = ceil_mode and (count - 1) * s >= n + b
        found.append(count - 1 if begins_in_padding else count)
    return found


def _as_many(made: Callable[[list[int], bool], NodeSpec], w: Window, places: list[int]) -> NodeSpec:
    """A pooling of so many windows, from one that PyTorch knows and that begins where they do.

    PyTorch pads both sides alike. Where the end needs more, its ``ceil_mode`` may do, or padding by
    some strides more; windows that are too many are cut off.
    """
    axes = list(zip(w.begin, w.end, w.stride, strict=True))
    ahead = [max(-(-(e - b) // s), 0) for b, e, s in axes]  # strides
    wider = [b + k * s for (b, _, s), k in zip(axes, ahead, strict=True)]
    for padding, first in ((w.begin, [0] * w.rank), (wider, ahead)):
        for ceil_mode in (False, True):
            pool = made(padding, ceil_mode)
            try:
                found = shape_of(pool)[2:]
            except Refused:  # padding beyond half of the window
                continue
            last = [n - k - wanted for n, k, wanted in zip(found, first, places, strict=True)]
            if min(last) >= 0:
                cut = [[-n for n in side] for side in (first, last)]
                return zeros(pool, *cut) if any(first + last) else pool
    raise Refused(f"padding by {w.begin} and {w.end} of windows {w.kernel}")


def global_avg_pool(call: Call) -> NodeSpec:
    """The average over all places."""
    x = call.x
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise Refused(f"pooling over {rank} axes")
    return layers.adaptive_avg_pool(rank, (*x.shape[:2], *[1] * rank), x, 1)


def global_max_pool(call: Call) -> NodeSpec:
    """The largest over all places."""
    x = call.x
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise Refused(f"pooling over {rank} axes")
    return layers.max_pool(rank, (), x, list(x.shape[2:]))
