"""Reductions: maxima, means and sums over axes of the samples."""

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F

from snnconv.frontends.lowering import arithmetic, piecewise
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Extent,
    Lowering,
    NodeMaker,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
)
from snnconv.frontends.lowering.functions import float32
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.operations.pooling import MaxPool, Mean
from snnconv.graph.operations.wiring import Shaped
from snnconv.graph.remedies import BATCH_FIRST


def amax(shape: Shape, x: object, dim: Extent = (), keepdim: bool = False) -> NodeSpec:
    """Lower the maximum over adjacent axes of the samples, by max pooling of all their places."""
    source = x if isinstance(x, NodeSpec) else activation(x)
    whole, dims = shape_of(source), [dim] if isinstance(dim, int) else dim or ()
    rank = len(whole)
    over = sorted(int(d) % rank for d in dims)
    if not over or over[0] == 0:
        raise Refused("an extreme over the batch", BATCH_FIRST)
    if over != list(range(over[0], over[-1] + 1)):
        raise Refused(
            f"an extreme over axes {over}, which do not lie side by side", "take one after another"
        )
    extent = whole[1:]
    before, behind = extent[: over[0] - 1], extent[over[-1] :]
    places = math.prod(extent[over[0] - 1 : over[-1]])
    rows = [math.prod(before), places, math.prod(behind)]  # a column of places for each behind
    window = MaxPool(
        kernel=[places, 1], stride=[1, 1], padding=[0, 0], dilation=[1, 1], ceil_mode=False
    )
    columns = NodeSpec("reshape", [source], Shaped(shape=rows))
    largest = NodeSpec("max_pool", [columns], window)
    left = [*before, *([1] * len(over) if keepdim else []), *behind]
    return NodeSpec("reshape", [largest], Shaped(shape=left))


def amin(shape: Shape, x: object, dim: Extent = (), keepdim: bool = False) -> NodeSpec:
    """Lower the minimum: minus the largest of the negated values."""
    source = activation(x)
    return arithmetic.line(amax(shape, arithmetic.line(source, -1.0), dim, keepdim), -1.0)


def max_(
    shape: Shape, x: object, dim: Extent | None = None, keepdim: bool = False
) -> NodeSpec | list[NodeSpec]:
    """Lower ``max(x, dim)`` without its indices, which can't be used, or ``max(x, other)``."""
    if isinstance(x, Stored) or isinstance(dim, Activation | Stored):
        return piecewise.maximum(shape, x, dim)
    if not isinstance(dim, int):
        raise Refused("a maximum over the batch", "name an axis of the samples: amax(dim)")
    return [amax(shape, x, dim, keepdim)]


def min_(
    shape: Shape, x: object, dim: Extent | None = None, keepdim: bool = False
) -> NodeSpec | list[NodeSpec]:
    """Lower ``min(x, dim)`` and ``min(x, other)``, as :func:`max_` does."""
    if isinstance(x, Stored) or isinstance(dim, Activation | Stored):
        return piecewise.minimum(shape, x, dim)
    if not isinstance(dim, int):
        raise Refused("a minimum over the batch", "name an axis of the samples: amin(dim)")
    return [amin(shape, x, dim, keepdim)]


def mean(
    shape: Shape,
    x: object,
    dim: Extent | None = None,
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> NodeSpec:
    """Lower the mean over axes."""
    float32(dtype)
    source = activation(x)
    return NodeSpec("mean", [source], Mean(dims=_over(source, dim), keepdim=bool(keepdim)))


def _over(source: Activation, dim: Extent | None) -> list[int]:
    """Return the axes of a mean, which must not include the batch."""
    given = list(dim) if isinstance(dim, Sequence) else [] if dim is None else [dim]
    dims = sorted(int(d) % len(source.shape) for d in given)
    if not dims or 0 in dims:
        raise Refused("a mean over the batch", BATCH_FIRST)
    return dims


def sum_(
    shape: Shape,
    x: object,
    dim: Extent | None = None,
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> NodeSpec:
    """Lower the sum over axes."""
    float32(dtype)
    source = activation(x)
    return _summed(source, source.shape, _over(source, dim), keepdim)


def _summed(x: Activation | NodeSpec, shape: Shape, dims: list[int], keepdim: bool) -> NodeSpec:
    """Return the sum over places: their mean times their number."""
    averaged = NodeSpec("mean", [x], Mean(dims=dims, keepdim=bool(keepdim)))
    return arithmetic.line(averaged, math.prod(shape[axis] for axis in dims))


def cumsum(shape: Shape, x: object, dim: int, *, dtype: object = None) -> NodeSpec:
    """Lower the sums up to each place of an axis."""
    float32(dtype)
    source = activation(x)
    if dim % len(source.shape) == 0:
        raise Refused("a running sum over the batch", BATCH_FIRST)
    return NodeSpec("cumsum", [source], Along(dim=dim % len(source.shape)))


def norm(
    shape: Shape,
    x: object,
    ord: float | str | None = 2,  # noqa: A002
    dim: Extent | None = None,
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> NodeSpec:
    """Lower a norm: the square root of the sum of squares over axes."""
    if ord not in (2, 2.0, "fro", None):
        raise Refused(f"a norm of order {ord}", "use the one of order 2")
    float32(dtype)
    source = activation(x)
    squares = _pointwise(source, "pow", 2.0)
    return _pointwise(_summed(squares, source.shape, _over(source, dim), keepdim), "sqrt")


def normalized(
    shape: Shape, x: object, p: float = 2.0, dim: Extent = 1, eps: float = 1e-12, out: object = None
) -> NodeSpec:
    """Lower ``x`` divided by its norm, to which eps is added."""
    size = arithmetic.line(norm(shape, x, p, dim, keepdim=True), 1.0, eps)
    return NodeSpec("multiply", [activation(x), _pointwise(size, "reciprocal")])


def _pointwise(x: Activation | NodeSpec, name: str, *arguments: float) -> NodeSpec:
    return NodeSpec("pointwise", [x], Pointwise(function=name, arguments=list(arguments)))


def onnx_norm(call: Call) -> NodeSpec:
    """Lower the norm over axes of the samples."""
    return onnx_reduced(lambda shape, x, dim, keep: norm(shape, x, 2, dim, keep), call)


def onnx_cumsum(call: Call) -> NodeSpec:
    """Lower ``CumSum``: the sums from the start on, each with its own place."""
    if call.number("exclusive", 0) or call.number("reverse", 0):
        raise Refused("a running sum that is exclusive or goes backwards")
    return cumsum((), call.x, call.number("axis", 0, 1))


def onnx_reduced(make: NodeMaker, call: Call) -> NodeSpec:
    """Lower a reduction over axes of the samples."""
    axes = call.numbers("axes", 1)
    if not axes and call.number("noop_with_empty_axes", 0):
        return NodeSpec("identity", [call.x])
    made = make((), call.x, axes or None, bool(call.number("keepdims", 1)))
    assert isinstance(made, NodeSpec)
    return made


_AXES = ("axes", 1)


LOWERINGS = (
    Lowering(
        make=cumsum,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.cumsum,),
        methods=("cumsum",),
        aten=("cumsum",),
        onnx={"CumSum": Onnx(onnx_cumsum, ("axis", 1))},
    ),
    Lowering(
        make=amax,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.amax,),
        methods=("amax",),
        aten=("amax",),
        onnx={"ReduceMax": Onnx(partial(onnx_reduced, amax), _AXES)},
    ),
    Lowering(
        make=amin,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.amin,),
        methods=("amin",),
        aten=("amin",),
        onnx={"ReduceMin": Onnx(partial(onnx_reduced, amin), _AXES)},
    ),
    Lowering(
        make=max_,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.max,),
        methods=("max",),
        aten=("max.dim",),
        pair=piecewise.maximum,
    ),
    Lowering(
        make=min_,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.min,),
        methods=("min",),
        aten=("min.dim",),
        pair=piecewise.minimum,
    ),
    Lowering(
        make=mean,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.mean,),
        methods=("mean",),
        aten=("mean.dim",),
        onnx={"ReduceMean": Onnx(partial(onnx_reduced, mean), _AXES)},
    ),
    Lowering(
        make=sum_,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.sum,),
        methods=("sum",),
        aten=("sum.dim_IntList",),
        onnx={"ReduceSum": Onnx(partial(onnx_reduced, sum_), _AXES)},
    ),
    Lowering(
        make=norm,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.linalg.vector_norm, torch.linalg.norm, torch.norm),
        methods=("norm",),
        aten=("linalg_vector_norm", "norm.ScalarOpt_dim"),
        onnx={"ReduceL2": Onnx(onnx_norm, _AXES)},
    ),
    Lowering(make=normalized, batch_axis=BatchAxis.ALONG, functions=(F.normalize,)),
)
