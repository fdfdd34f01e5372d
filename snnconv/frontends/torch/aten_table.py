"""Which of ATen's operators is which form: what an exported program (``torch.export``) may call.

Most take their arguments in the order of the functional forms; those that do not, or that give
several values where a form gives one, have their own in :mod:`snnconv.frontends.torch.aten`.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch

from snnconv.frontends.lowering import (
    arithmetic,
    attention,
    choices,
    functions,
    layers,
    movement,
    piecewise,
    reductions,
    resizing,
    sequences,
)
from snnconv.frontends.lowering.contract import NodeMaker, NodeSpec, Shape
from snnconv.frontends.torch import aten
from snnconv.frontends.torch.table import MODULES, Spelling

LEAVES = frozenset(f"{kind.__module__}.{kind.__qualname__}" for kind in MODULES)
"""Modules that the graph holds as one node, by the name that an exported program has for them."""


def _first(form: NodeMaker) -> NodeMaker:
    """A form for an operator that gives other values behind the one that counts."""

    def first(rank: int, shape: Shape, x: object, *arguments: Any) -> list[NodeSpec]:
        made = form(rank, shape, x, *arguments)
        return made if isinstance(made, list) else [made]

    return first


def _ranks(name: str, form: NodeMaker, overload: str = "default") -> dict[str, NodeMaker]:
    """An operator for one, two and three axes."""
    return {name.replace("#", str(n)) + f".{overload}": partial(form, n) for n in (1, 2, 3)}


def _all(names: Iterable[str], form: NodeMaker) -> dict[str, NodeMaker]:
    return {name if "." in name else f"{name}.default": form for name in names}


def _in_place(names: Iterable[str], form: NodeMaker) -> dict[str, NodeMaker]:
    """With the operators that change their operand, which have an underscore."""
    both = _all(names, form)
    return both | {name.replace(".", "_.", 1): form for name in both}


_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")

_FORMS: Mapping[str, NodeMaker] = {
    **_ranks("conv#d", layers.conv),
    **_ranks("conv#d", layers.conv, "padding"),
    "conv_transpose1d.default": partial(layers.conv_transpose, 1),
    "conv_transpose2d.input": partial(layers.conv_transpose, 2),
    "conv_transpose3d.input": partial(layers.conv_transpose, 3),
    **_all(("convolution",), aten.convolution),
    **_all(("linear",), layers.linear),
    **_all(("matmul", "mm", "bmm"), functions.matmul),
    **_all(("addmm",), aten.addmm),
    **_all(("scaled_dot_product_attention",), attention.product),
    **_all(("batch_norm",), aten.batch_norm),
    **_all(("_native_batch_norm_legit_no_training",), aten.batch_norm_core),
    **_in_place(("relu",), piecewise.relu),
    **_in_place(("relu6",), piecewise.relu6),
    **_in_place(("hardtanh",), piecewise.hardtanh),
    **_in_place(("clamp", "clamp_min", "clip", "clamp.Tensor"), piecewise.clamp),
    **_in_place(("threshold",), piecewise.threshold),
    **_in_place(("rrelu",), piecewise.rrelu),
    **_in_place(("abs",), piecewise.magnitude),
    **_all(("prelu", "_prelu_kernel"), piecewise.prelu),
    **_all(("softshrink",), piecewise.softshrink),
    **_ranks("max_pool#d", layers.max_pool),
    **_ranks("max_pool#d_with_indices", _first(layers.max_pool)),
    **_ranks("adaptive_max_pool#d", _first(layers.adaptive_max_pool)),
    **_ranks("avg_pool#d", layers.avg_pool),
    **_ranks("adaptive_avg_pool#d", layers.adaptive_avg_pool),
    **_ranks("_adaptive_avg_pool#d", layers.adaptive_avg_pool),
    **_all(("mean.dim",), partial(aten.typed, reductions.mean)),
    **_all(("amax",), reductions.amax),
    **_all(("max.dim",), reductions.max_),
    **_all(("max.other", "maximum", "fmax"), piecewise.maximum),
    **_all(("amin",), reductions.amin),
    **_all(("min.dim",), reductions.min_),
    **_all(("min.other", "minimum", "fmin"), piecewise.minimum),
    **_in_place(("clamp_max",), piecewise.clamp_max),
    **_all(("sum.dim_IntList",), partial(aten.typed, reductions.sum_)),
    **_all(("embedding",), aten.embedding),
    **_all(("lstm.input",), partial(sequences.operator, "lstm")),
    **_all(("gru.input",), partial(sequences.operator, "gru")),
    **_in_place(("add.Tensor", "add.Scalar"), arithmetic.add),
    **_in_place(("sub.Tensor", "sub.Scalar"), arithmetic.sub),
    **_all(("rsub.Tensor", "rsub.Scalar"), arithmetic.rsub),
    **_in_place(("neg",), arithmetic.neg),
    **_in_place(("mul.Tensor", "mul.Scalar"), arithmetic.mul),
    **_in_place(("div.Tensor", "div.Scalar"), arithmetic.div),
    **_all(("cat", "concat"), movement.concat),
    **_all(("stack",), movement.stack),
    **_all(("channel_shuffle",), movement.channel_shuffle),
    **_all(("pixel_shuffle",), movement.pixel_shuffle),
    **_all(("pixel_unshuffle",), movement.pixel_unshuffle),
    **_all(("index_select",), movement.index_select),
    **_all(("view", "reshape", "_unsafe_view", "view_as", "reshape_as"), movement.reshape),
    **_all(("flatten.using_ints", "unflatten.int"), movement.reshape),
    **_all(("squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze"), movement.reshape),
    **_all(("permute",), movement.permute),
    **_all(("transpose.int", "swapaxes"), movement.transpose),
    **_all(("t",), movement.t),
    **_all(
        ("movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist"), movement.movedim
    ),
    **_all(("select.int",), movement.select),
    **_all(("index.Tensor",), aten.index),
    **_all(("slice.Tensor",), aten.slice_),
    **_all(("narrow",), movement.narrow),
    **_all(("split.Tensor", "split.sizes", "split_with_sizes"), movement.split),
    **_all(("chunk",), movement.chunk),
    **_all(("unbind.int",), movement.unbind),
    **_all(("tensor_split.sections", "tensor_split.indices"), movement.tensor_split),
    **_all(("roll", "flip", "rot90", "tile", "repeat"), movement.rearranged),
    **_all(("expand", "expand_as", "broadcast_to", "unfold"), movement.rearranged),
    **_all(("repeat_interleave.self_int",), movement.rearranged),
    **_all(("pad",), resizing.pad),
    **_all(("constant_pad_nd",), partial(aten.pad, "constant")),
    **_all((f"reflection_pad{n}d" for n in (1, 2, 3)), partial(aten.pad, "reflect")),
    **_all((f"replication_pad{n}d" for n in (1, 2, 3)), partial(aten.pad, "replicate")),
    **_all((f"upsample_nearest{n}d" for n in (1, 2, 3)), aten.upsample),
    **_all((f"upsample_nearest{n}d.vec" for n in (1, 2, 3)), aten.upsample),
    **{
        f"upsample_{mode}.{overload}": partial(aten.between, mode.rstrip("123d"))
        for mode in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
        for overload in ("default", "vec")
    },
    **_in_place(_DROPOUTS, movement.dropout),
    **_all(("clone", "contiguous", "detach", "alias", "lift_fresh_copy"), aten.identity),
    **_all(("to.dtype", "to.dtype_layout", "to.device", "_to_copy", "type_as"), aten.identity),
    **_all(("softmax.int", "_softmax"), partial(aten.softmax, torch.softmax)),
    **_all(("log_softmax.int", "_log_softmax"), partial(aten.softmax, torch.log_softmax)),
    **_in_place(("sigmoid",), partial(functions.pointwise, "sigmoid")),
    **_in_place(("tanh",), partial(functions.pointwise, "tanh")),
    **_in_place(("silu",), partial(functions.pointwise, "silu")),
    **_in_place(("hardswish",), partial(functions.pointwise, "hardswish")),
    **_in_place(("hardsigmoid",), piecewise.hardsigmoid),
    **_in_place(("mish",), partial(functions.pointwise, "mish")),
    **_in_place(("gelu",), functions.gelu),
    **_in_place(("leaky_relu",), piecewise.leaky_relu),
    **_in_place(("elu",), aten.elu),
    **_all(("softplus",), functions.softplus),
    **_all(("pow.Tensor_Scalar",), functions.power),
    **_all(("square",), functions.square),
    **_all(("sqrt",), partial(functions.pointwise, "sqrt")),
    **_all(("rsqrt",), partial(functions.pointwise, "rsqrt")),
    **_all(("reciprocal",), partial(functions.pointwise, "reciprocal")),
    **_all(("erf",), partial(functions.pointwise, "erf")),
    **{
        f"{name}.default": partial(functions.pointwise, name)
        for name in ("exp", "log", "floor", "ceil", "round", "sign")
    },
    **_all(("gt.Scalar", "gt.Tensor"), choices.greater),
    **_all(("ge.Scalar", "ge.Tensor"), choices.greater_equal),
    **_all(("lt.Scalar", "lt.Tensor"), choices.less),
    **_all(("le.Scalar", "le.Tensor"), choices.less_equal),
    **_all(("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar"), choices.where),
    **_in_place(("masked_fill.Scalar", "masked_fill.Tensor"), choices.masked_fill),
    **_all(("layer_norm",), aten.layer_norm),
    **_all(("group_norm",), aten.group_norm),
    **_all(("native_group_norm",), aten.group_norm_core),
    **_all(("instance_norm",), aten.instance_norm),
    **_all(("native_layer_norm",), aten.layer_norm_core),
}

ATEN: Mapping[str, Spelling] = {f"aten.{name}": Spelling(form) for name, form in _FORMS.items()}
"""Forms by the operators' names, as ``str(torch.ops.aten.relu.default)`` gives them."""
