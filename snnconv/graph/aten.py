"""The operators of exported programs (``torch.export``): which form each of them is.

An exported program calls ATen, PyTorch's own library of operators, with positional arguments in the
order of its schemas. Most have the order of the functional forms; those that have not, or that give
several values where a form gives one, stand here. Programs come as ``torch.export`` makes them, or
decomposed into the smaller core set.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconv.graph import arithmetic, forms, functions, reductions, sequences, wiring
from snnconv.graph.form import Form, Made, Refused, Shape, activation, stored
from snnconv.graph.spellings import MODULES, Spelling

LEAVES = frozenset(f"{kind.__module__}.{kind.__qualname__}" for kind in MODULES)
"""Modules that the graph holds as one node, by the name that an exported program has for them."""


def convolution(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Made:
    """A convolution of the core set."""
    rank = stored("weight", weight).value.dim() - 2
    if transposed:
        window = (stride, padding, output_padding, groups, dilation)
        return forms.conv_transpose(rank, shape, x, weight, bias, *window)
    return forms.conv(rank, shape, x, weight, bias, stride, padding, dilation, groups)


def addmm(
    shape: Shape, bias: object, x: object, other: object, *, beta: float = 1, alpha: float = 1
) -> Made:
    """A linear layer of the core set."""
    if beta != 1 or alpha != 1 or stored("bias", bias).value.shape != shape[-1:]:
        raise Refused("a matrix product whose sum is no bias")
    made = functions.matmul(shape, x, other)
    return Made(made.op, made.sources, made.attrs, {**made.tensors, "bias": stored("bias", bias)})


def batch_norm(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Made:
    """BatchNorm, weights before statistics."""
    return forms.batch_norm(shape, x, mean, var, weight, bias, training, momentum, eps)


def batch_norm_core(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    momentum: float,
    eps: float,
) -> list[Made]:
    """BatchNorm of the core set, which gives what it saved for a gradient as well."""
    return [forms.batch_norm(shape, x, mean, var, weight, bias, False, momentum, eps)]


def layer_norm(
    shape: Shape,
    x: object,
    over: Any,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Made:
    """LayerNorm."""
    return functions.layer_norm(shape, x, over, weight, bias, eps)


def layer_norm_core(
    shape: Shape, x: object, over: Any, weight: object, bias: object, eps: float
) -> list[Made]:
    """LayerNorm of the core set."""
    return [functions.layer_norm(activation(x).shape, x, over, weight, bias, eps)]


def elu(
    shape: Shape, x: object, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> Made:
    """ELU; with another scale it is SELU."""
    if (scale, input_scale) != (1, 1):
        raise Refused(f"an ELU with scale {scale} and input scale {input_scale}")
    return functions.elu(shape, x, alpha)


def typed(form: Form, shape: Shape, x: object, *over: Any, dtype: object = None) -> Any:
    """A mean or a sum over axes, of a type that is given perhaps."""
    _float32(dtype)
    return form(shape, x, *over)


def index(shape: Shape, x: object, indices: Any) -> Made:
    """Rows of places on axes; None leaves an axis as it is."""
    return wiring.getitem(shape, x, tuple(slice(None) if i is None else i for i in indices))


def slice_(
    shape: Shape,
    x: object,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Made:
    """Places of an axis; ``x[:, ...]`` is one of all samples first."""
    if step == 1 and shape == activation(x).shape:
        return wiring.identity(shape, x)
    picked = [slice(None)] * len(shape)
    picked[dim] = slice(start, end, step)
    return wiring.getitem(shape, x, tuple(picked))


def pad(mode: str, shape: Shape, x: object, widths: Any, value: float = 0) -> Made:
    """A padding of the core set."""
    return wiring.pad(shape, x, widths, mode, value)


def upsample(shape: Shape, x: object, size: Any, scales: Any = None, *more: Any) -> Made:
    """Each place repeated, to a size or by factors."""
    factors = scales if scales is None or isinstance(scales, list | tuple) else [scales, *more]
    return wiring.upsample(shape, x, size, factors)


def identity(shape: Shape, x: object, *to: object, **options: object) -> Made:
    """The value itself; where type or layout are given, they have to be what everything has.

    Tokens may become whole numbers, which they are.
    """
    for value in (*to, *options.values()):
        if value in (torch.int64, torch.int32):
            return sequences.whole(shape, x)
        if isinstance(value, torch.dtype):
            _float32(value)
    return wiring.identity(shape, x)


def embedding(shape: Shape, weight: object, x: object, *options: object) -> Made:
    """A row of a table for each token, the table first."""
    return sequences.embedding(shape, x, weight)


def softmax(
    function: Callable[..., Tensor], shape: Shape, x: object, dim: int, dtype: object = None
) -> Made:
    """A softmax or its logarithm; the core set has a flag in the place of the type."""
    if isinstance(dtype, torch.dtype):
        _float32(dtype)
    return functions.softmax(function, shape, x, dim)


def _float32(dtype: object) -> None:
    if dtype not in (None, torch.float32):
        raise Refused(f"numbers of type {dtype}")


def _first(form: Form) -> Form:
    """A form for an operator that gives other values behind the one that counts."""

    def first(rank: int, shape: Shape, x: object, *arguments: Any) -> list[Made]:
        made = form(rank, shape, x, *arguments)
        return made if isinstance(made, list) else [made]

    return first


def _ranks(name: str, form: Form, overload: str = "default") -> dict[str, Form]:
    """An operator for one, two and three axes."""
    return {name.replace("#", str(n)) + f".{overload}": partial(form, n) for n in (1, 2, 3)}


def _all(names: Iterable[str], form: Form) -> dict[str, Form]:
    return {name if "." in name else f"{name}.default": form for name in names}


def _in_place(names: Iterable[str], form: Form) -> dict[str, Form]:
    """With the operators that change their operand, which have an underscore."""
    both = _all(names, form)
    return both | {name.replace(".", "_.", 1): form for name in both}


_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")

_FORMS: Mapping[str, Form] = {
    **_ranks("conv#d", forms.conv),
    **_ranks("conv#d", forms.conv, "padding"),
    "conv_transpose1d.default": partial(forms.conv_transpose, 1),
    "conv_transpose2d.input": partial(forms.conv_transpose, 2),
    "conv_transpose3d.input": partial(forms.conv_transpose, 3),
    **_all(("convolution",), convolution),
    **_all(("linear",), forms.linear),
    **_all(("matmul", "mm", "bmm"), functions.matmul),
    **_all(("addmm",), addmm),
    **_all(("batch_norm",), batch_norm),
    **_all(("_native_batch_norm_legit_no_training",), batch_norm_core),
    **_in_place(("relu",), forms.relu),
    **_in_place(("relu6",), forms.relu6),
    **_in_place(("hardtanh",), forms.hardtanh),
    **_in_place(("clamp", "clamp_min", "clip"), forms.clamp),
    **_in_place(("threshold",), forms.threshold),
    **_ranks("max_pool#d", forms.max_pool),
    **_ranks("max_pool#d_with_indices", _first(forms.max_pool)),
    **_ranks("adaptive_max_pool#d", _first(forms.adaptive_max_pool)),
    **_ranks("avg_pool#d", forms.avg_pool),
    **_ranks("adaptive_avg_pool#d", forms.adaptive_avg_pool),
    **_ranks("_adaptive_avg_pool#d", forms.adaptive_avg_pool),
    **_all(("mean.dim",), partial(typed, reductions.mean)),
    **_all(("amax",), reductions.amax),
    **_all(("max.dim",), reductions.largest),
    **_all(("max.other", "maximum"), forms.maximum),
    **_all(("minimum",), forms.minimum),
    **_in_place(("clamp_max",), forms.clamp_max),
    **_all(("sum.dim_IntList",), partial(typed, reductions.total)),
    **_all(("embedding",), embedding),
    **_all(("lstm.input",), partial(sequences.operator, "lstm")),
    **_all(("gru.input",), partial(sequences.operator, "gru")),
    **_in_place(("add.Tensor", "add.Scalar"), arithmetic.add),
    **_in_place(("sub.Tensor", "sub.Scalar"), arithmetic.sub),
    **_all(("rsub.Tensor", "rsub.Scalar"), arithmetic.rsub),
    **_in_place(("neg",), arithmetic.neg),
    **_in_place(("mul.Tensor", "mul.Scalar"), arithmetic.mul),
    **_in_place(("div.Tensor", "div.Scalar"), arithmetic.div),
    **_all(("cat", "concat"), wiring.concat),
    **_all(("stack",), wiring.stack),
    **_all(("channel_shuffle",), wiring.channel_shuffle),
    **{"pixel_shuffle.default": wiring.pixel_shuffle, "index_select.default": wiring.index_select},
    **_all(("view", "reshape", "_unsafe_view", "view_as", "reshape_as"), wiring.reshape),
    **_all(("flatten.using_ints", "unflatten.int"), wiring.reshape),
    **_all(("squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze"), wiring.reshape),
    **_all(("permute",), wiring.permute),
    **_all(("transpose.int", "swapaxes"), wiring.transpose),
    **_all(("t",), wiring.t),
    **_all(("movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist"), wiring.movedim),
    **_all(("select.int",), wiring.select),
    **_all(("index.Tensor",), index),
    **_all(("slice.Tensor",), slice_),
    **_all(("narrow",), wiring.narrow),
    **_all(("split.Tensor", "split.sizes", "split_with_sizes"), wiring.split),
    **_all(("chunk",), wiring.chunk),
    **_all(("unbind.int",), wiring.unbind),
    **_all(("pad",), wiring.pad),
    **_all(("constant_pad_nd",), partial(pad, "constant")),
    **_all((f"reflection_pad{n}d" for n in (1, 2, 3)), partial(pad, "reflect")),
    **_all((f"replication_pad{n}d" for n in (1, 2, 3)), partial(pad, "replicate")),
    **_all((f"upsample_nearest{n}d" for n in (1, 2, 3)), upsample),
    **_all((f"upsample_nearest{n}d.vec" for n in (1, 2, 3)), upsample),
    **_in_place(_DROPOUTS, wiring.dropout),
    **_all(("clone", "contiguous", "detach", "alias", "lift_fresh_copy"), identity),
    **_all(("to.dtype", "to.dtype_layout", "to.device", "_to_copy", "type_as"), identity),
    **_all(("softmax.int", "_softmax"), partial(softmax, torch.softmax)),
    **_all(("log_softmax.int", "_log_softmax"), partial(softmax, torch.log_softmax)),
    **_in_place(("sigmoid",), partial(functions.pointwise, "sigmoid")),
    **_in_place(("tanh",), partial(functions.pointwise, "tanh")),
    **_in_place(("silu",), partial(functions.pointwise, "silu")),
    **_in_place(("hardswish",), partial(functions.pointwise, "hardswish")),
    **_in_place(("hardsigmoid",), partial(functions.pointwise, "hardsigmoid")),
    **_in_place(("mish",), partial(functions.pointwise, "mish")),
    **_in_place(("gelu",), functions.gelu),
    **_in_place(("leaky_relu",), functions.leaky_relu),
    **_in_place(("elu",), elu),
    **_all(("softplus",), functions.softplus),
    **_all(("pow.Tensor_Scalar",), functions.power),
    **_all(("square",), functions.square),
    **_all(("sqrt",), partial(functions.pointwise, "sqrt")),
    **_all(("rsqrt",), partial(functions.pointwise, "rsqrt")),
    **_all(("reciprocal",), partial(functions.pointwise, "reciprocal")),
    **_all(("erf",), partial(functions.pointwise, "erf")),
    **_all(("layer_norm",), layer_norm),
    **_all(("native_layer_norm",), layer_norm_core),
}

ATEN: Mapping[str, Spelling] = {f"aten.{name}": Spelling(form) for name, form in _FORMS.items()}
"""Forms by the operators' names, as ``str(torch.ops.aten.relu.default)`` gives them."""
