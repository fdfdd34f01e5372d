"""ONNX's forms of what gives a value more places, or fewer."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering import resizing
from snnconv.frontends.lowering.contract import NodeSpec, Refused
from snnconv.frontends.onnx.call import Call
from snnconv.frontends.onnx.tensors import LARGEST
from snnconv.frontends.torch.capture import BATCH

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(call: Call) -> NodeSpec:
    """Zeros or copies around the places; negative sizes crop."""
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
    return resizing.pad(x.shape, x, flat, _PAD_MODES[mode], value)


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


def upsample(call: Call) -> NodeSpec:
    """``Upsample``, which is the first ``Resize``."""
    return _resized(call, call.numbers("scales", 1), None, "asymmetric", "floor")


def resize(call: Call) -> NodeSpec:
    """Each place repeated, or places between places; refused where they are not PyTorch's."""
    if call.opset < 11:
        return upsample(call)
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
    whole = 1 <= min(new) <= math.prod(new) <= BATCH * LARGEST
    if not batch or new[1] != x.shape[1] or not whole:
        raise Refused(f"a resize of {list(x.shape[1:])} to {new[1:]}")
    if mode != "nearest":
        return _between(call, position, new, scale)
    for old, count, factor in zip(x.shape[2:], new[2:], scale[2:], strict=True):
        place = torch.arange(count, dtype=torch.float64)
        nearest = _ROUNDED[rounding](_POSITIONS[position](place, factor, old, count))
        if not torch.equal(nearest.clamp(0, old - 1), (place * old / count).floor()):
            raise Refused(f"a resize by '{position}' and '{rounding}' to {new[2:]}")
    return resizing.upsample((x.shape[0], *new[1:]), x, new[2:])


_OTHERS = ("antialias", "cubic_coeff_a", "exclude_outside")


def _between(call: Call, position: str, new: list[int], scale: list[float]) -> NodeSpec:
    """By lines or splines, whose ends are those that PyTorch's have."""
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
    return resizing.upsample(shape, x, new[2:], None, by_rank[len(new)], corners)
