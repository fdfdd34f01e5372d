"""Padding, upsampling and interpolation, which change the number of places."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    BATCH,
    BatchAxis,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    activation,
    batched,
    sizes,
)
from snnconv.graph.network import LARGEST_VALUE
from snnconv.graph.operations.resizing import Interpolate, Upsample
from snnconv.graph.operations.wiring import Pad
from snnconv.graph.remedies import BATCH_FIRST

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "replicate"} | {
    "zeros": "constant",
    "circular": "circular",
}


def pad(
    shape: Shape, x: object, pad: Any, mode: str = "constant", value: float | None = None
) -> NodeSpec:
    """Lower a padding with zeros or copies around the places; negative sizes crop."""
    if mode not in _MODES or value:
        raise Refused(f"padding with mode '{mode}' and value {value}")
    widths = [int(n) for n in pad]
    if len(widths) > 2 * (len(shape) - 1):
        raise Refused("padding of the batch", BATCH_FIRST)
    return NodeSpec("pad", [activation(x)], Pad(pad=widths, mode=_MODES[mode]))


def pad_module(
    rank: int, mode: str, shape: Shape, x: object, padding: Any, value: Any = 0
) -> NodeSpec:
    """Lower a padding module, whose one number stands for all sides."""
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
    """Lower an upsampling: places repeated, or new places between them, by lines or cubic splines.

    A spline is not linear between places, but it is linear in the values at the places.
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
    source, places = batched(x, len(shape) - 2), list(shape[2:])
    if mode not in _BETWEEN:
        return NodeSpec("upsample", [source], Upsample(size=places))
    attrs = Interpolate(size=places, mode=mode, align_corners=bool(align_corners))
    return NodeSpec("interpolate", [source], attrs)


def aten_pad(mode: str, shape: Shape, x: object, widths: Any, value: float = 0) -> NodeSpec:
    """Lower a padding of ATen's core set."""
    return pad(shape, x, widths, mode, value)


def aten_upsample(shape: Shape, x: object, size: Any, scales: Any = None, *more: Any) -> NodeSpec:
    """Lower an upsampling that repeats places, to a size or by factors."""
    return upsample(shape, x, size, _factors(scales, more))


def _factors(scales: Any, more: tuple[Any, ...]) -> Any:
    """Return one factor for each axis, from a list or from arguments of their own."""
    return scales if scales is None or isinstance(scales, list | tuple) else [scales, *more]


def aten_between(
    mode: str,
    shape: Shape,
    x: object,
    size: Any,
    align_corners: bool,
    scales: Any = None,
    *more: Any,
) -> NodeSpec:
    """Lower an upsampling with new places between places, to a size or by factors."""
    return upsample(shape, x, size, _factors(scales, more), mode, align_corners)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def onnx_pad(call: Call) -> NodeSpec:
    """Lower ``Pad``: zeros or copies around the places; negative sizes crop."""
    x, mode = call.x, call.attrs.get("mode", "constant")
    widths, value = call.numbers("pads", 1) or [], call.number("value", 0.0, 2)
    axes = call.numbers("axes", 3) or list(range(len(x.shape)))
    if mode not in _PAD_MODES or len(widths) != 2 * len(axes):
        raise Refused(f"padding with mode '{mode}' by {widths}")
    sides = dict.fromkeys(range(len(x.shape)), (0, 0))
    for k, axis in enumerate(axes):
        sides[int(axis) % len(x.shape)] = (widths[k], widths[k + len(axes)])
    flat = [n for axis in reversed(range(len(x.shape))) for n in sides[axis]]  # the last axis first
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return pad(x.shape, x, flat, _PAD_MODES[mode], value)


_POSITIONS: Mapping[str, Callable[[Tensor, float, int, int], Tensor]] = {
    "asymmetric": lambda place, scale, old, new: place / scale,
    "half_pixel": lambda place, scale, old, new: (place + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda place, scale, old, new: (
        (place + 0.5) / scale - 0.5 if new > 1 else 0 * place
    ),
    "align_corners": lambda place, scale, old, new: place * (old - 1) / max(new - 1, 1),
}


_ROUNDED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda place: torch.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: torch.floor(place + 0.5),
}


def onnx_upsample(call: Call) -> NodeSpec:
    """Lower ``Upsample``, the predecessor of ``Resize``."""
    return _resized(call, call.numbers("scales", 1), None, "asymmetric", "floor")


def onnx_resize(call: Call) -> NodeSpec:
    """Repeat places, or interpolate between them; refused if PyTorch has no such rule."""
    if call.opset < 11:
        return onnx_upsample(call)
    position = call.attrs.get("coordinate_transformation_mode", "half_pixel")
    rounding = call.attrs.get("nearest_mode", "round_prefer_floor")
    if call.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Refused("a resize that keeps the aspect ratio")
    return _resized(call, call.numbers("scales", 2), call.numbers("sizes", 3), position, rounding)


def _resized(
    call: Call, scales: list[Any] | None, sizes: list[Any] | None, position: str, rounding: str
) -> NodeSpec:
    x, mode = call.x, call.attrs.get("mode", "nearest")
    known = mode in ("nearest", "linear", "cubic")
    if not known or position not in _POSITIONS or rounding not in _ROUNDED:
        raise Refused(f"a resize with mode '{mode}', '{position}' and '{rounding}'")
    rank = len(x.shape)
    axes = [int(axis) % rank for axis in call.numbers("axes") or range(rank)]
    given = sizes or scales or []
    if len(given) != len(axes):
        raise Refused(f"a resize of {len(axes)} axes by {given}")
    new, scale = list(x.shape), [1.0] * rank
    for axis, number in zip(axes, given, strict=True):
        new[axis] = int(number) if sizes else math.floor(x.shape[axis] * number)
        scale[axis] = number / x.shape[axis] if sizes else number
    batch = new[0] == BATCH or (bool(sizes) and new[0] in (1, call.batch))
    whole = 1 <= min(new) <= math.prod(new) <= BATCH * LARGEST_VALUE
    if not batch or new[1] != x.shape[1] or not whole:
        raise Refused(f"a resize of {list(x.shape[1:])} to {new[1:]}")
    if mode != "nearest":
        return _between(call, position, new, scale)
    for old, count, factor in zip(x.shape[2:], new[2:], scale[2:], strict=True):
        place = torch.arange(count, dtype=torch.float64)
        nearest = _ROUNDED[rounding](_POSITIONS[position](place, factor, old, count))
        if not torch.equal(nearest.clamp(0, old - 1), (place * old / count).floor()):
            raise Refused(f"a resize by '{position}' and '{rounding}' to {new[2:]}")
    return upsample((x.shape[0], *new[1:]), x, new[2:])


_OTHERS = ("antialias", "cubic_coeff_a", "exclude_outside")


def _between(call: Call, position: str, new: list[int], scale: list[float]) -> NodeSpec:
    """Interpolate linearly or by splines, with PyTorch's rule at the ends."""
    x, mode, corners = call.x, call.attrs["mode"], position == "align_corners"
    by_rank = {3: "linear", 4: "bilinear", 5: "trilinear"} if mode == "linear" else {4: "bicubic"}
    lines = list(zip(x.shape[2:], new[2:], scale[2:], strict=True))
    exact = corners or all(math.isclose(old * factor, count) for old, count, factor in lines)
    half = position == "half_pixel" or (
        position == "pytorch_half_pixel" and all(n > 1 or old == 1 for old, n, _ in lines)
    )
    plain = not call.number("exclude_outside", 0) and not call.number("antialias", 0)
    spline = mode == "linear" or call.number("cubic_coeff_a", -0.75) == -0.75
    if len(new) not in by_rank or not (exact and (corners or half) and plain and spline):
        others = {name: call.attrs[name] for name in _OTHERS if name in call.attrs}
        raise Refused(f"a resize with mode '{mode}' and '{position}' to {new[2:]} {others or ''}")
    shape = (x.shape[0], *new[1:])
    return upsample(shape, x, new[2:], None, by_rank[len(new)], corners)


def _padding(rank: int, name: str, mode: str) -> Lowering:
    """Return the lowering of a padding module, and of the operator of ATen that it becomes."""
    return Lowering(
        make=partial(pad_module, rank, mode),
        batch_axis=BatchAxis.FIRST,
        modules={getattr(nn, f"{name}Pad{rank}d"): ("padding", "value")},
    )


_PADDINGS = {"Zero": "constant", "Constant": "constant", "Reflection": "reflect"}
_PADDINGS |= {"Replication": "replicate", "Circular": "circular"}

LOWERINGS = (
    *(_padding(rank, name, mode) for name, mode in _PADDINGS.items() for rank in (1, 2, 3)),
    Lowering(
        make=pad,
        batch_axis=BatchAxis.FIRST,
        functions=(F.pad,),
        aten=("pad",),
        onnx={"Pad": Onnx(onnx_pad)},
    ),
    *(
        Lowering(make=partial(aten_pad, mode), batch_axis=BatchAxis.FIRST, aten=names)
        for mode, names in {
            "constant": ("constant_pad_nd",),
            "reflect": tuple(f"reflection_pad{n}d" for n in (1, 2, 3)),
            "replicate": tuple(f"replication_pad{n}d" for n in (1, 2, 3)),
        }.items()
    ),
    Lowering(
        make=upsample,
        batch_axis=BatchAxis.FIRST,
        modules={nn.Upsample: ("size", "scale_factor", "mode", "align_corners")},
        functions=(F.interpolate,),
        onnx={"Resize": Onnx(onnx_resize), "Upsample": Onnx(onnx_upsample)},
    ),
    Lowering(
        make=aten_upsample,
        batch_axis=BatchAxis.FIRST,
        aten=tuple(f"upsample_nearest{n}d{end}" for n in (1, 2, 3) for end in ("", ".vec")),
    ),
    *(
        Lowering(
            make=partial(aten_between, mode.rstrip("123d")),
            batch_axis=BatchAxis.FIRST,
            aten=(f"upsample_{mode}", f"upsample_{mode}.vec"),
        )
        for mode in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
    ),
)
