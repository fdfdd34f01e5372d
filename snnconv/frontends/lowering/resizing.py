"""Forms of what gives a value more places, or fewer: paddings, upsampling, interpolation."""

from typing import Any

from snnconv.frontends.lowering.contract import NodeSpec, Refused, Shape, activation, batched, sizes
from snnconv.graph.remedies import BATCH_FIRST

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "replicate"} | {
    "zeros": "constant",
    "circular": "circular",
}


def pad(
    shape: Shape, x: object, pad: Any, mode: str = "constant", value: float | None = None
) -> NodeSpec:
    """Zeros or copies around the places; negative sizes crop."""
    if mode not in _MODES or value:
        raise Refused(f"padding with mode '{mode}' and value {value}")
    widths = [int(n) for n in pad]
    if len(widths) > 2 * (len(shape) - 1):
        raise Refused("padding of the batch", BATCH_FIRST)
    return NodeSpec("pad", [activation(x)], {"pad": widths, "mode": _MODES[mode]})


def pad_module(
    rank: int, mode: str, shape: Shape, x: object, padding: Any, value: Any = 0
) -> NodeSpec:
    """A padding module, whose one number stands for all sides."""
    return pad(shape, x, sizes(padding, 2 * rank), mode, value)


_BETWEEN = ("linear", "bilinear", "trilinear", "bicubic")


def upsample(
    shape: Shape,
    x: object,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> NodeSpec:
    """Each place repeated, or places between places: by lines or by cubic splines.

    A spline is not linear between places, but in the values at them.
    """
    source = activation(x)
    if antialias or mode not in ("nearest", *_BETWEEN):
        raise Refused(f"upsampling with mode '{mode}'" + antialias * " and antialias")
    if scale_factor is not None and not recompute_scale_factor:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else [scale_factor]
        factors = list(factors) * (len(shape) - 2) if len(factors) == 1 else list(factors)
        exact = [n * f for n, f in zip(source.shape[2:], factors, strict=True)]
        if exact != list(shape[2:]):
            raise Refused(f"upsampling by {scale_factor}, which gives no whole sizes")
    attrs: dict[str, Any] = {"size": list(shape[2:])}
    if mode in _BETWEEN:
        attrs |= {"mode": mode, "align_corners": bool(align_corners)}
    op = "interpolate" if mode in _BETWEEN else "upsample"
    return NodeSpec(op, [batched(x, len(shape) - 2)], attrs)
