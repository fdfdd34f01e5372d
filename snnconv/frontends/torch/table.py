"""Which of PyTorch's modules, functions and methods are which form: all that can be read.

A module goes through a form with those of its attributes that are the form's parameters.
"""

import operator
from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

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
from snnconv.frontends.lowering.contract import NodeMaker


class Spelling(NamedTuple):
    """A form, and the module's attributes that are its arguments after ``x``.

    ``tensors`` stands for all of the module's own parameters, by name.
    """

    form: NodeMaker
    attributes: tuple[str, ...] = ()


def _all(targets: Iterable[Hashable], form: NodeMaker, *attributes: str) -> dict[Any, Spelling]:
    return dict.fromkeys(targets, Spelling(form, attributes))


def _by_rank(targets: Iterable[Hashable], form: NodeMaker, *attributes: str) -> dict[Any, Spelling]:
    """Targets for one, two and three axes; their form knows which."""
    return {
        target: Spelling(partial(form, rank), attributes)
        for rank, target in enumerate(targets, start=1)
    }


def _padding(*kinds: tuple[str, str]) -> dict[Any, Spelling]:
    """Padding modules, for one, two and three axes."""
    return {
        getattr(nn, f"{name}Pad{rank}d"): Spelling(
            partial(resizing.pad_module, rank, mode), ("padding", "value")
        )
        for name, mode in kinds
        for rank in (1, 2, 3)
        if hasattr(nn, f"{name}Pad{rank}d")
    }


_softmax = partial(functions.softmax, torch.softmax)
_log_softmax = partial(functions.softmax, torch.log_softmax)

_FUNCTION_MODULES: dict[Any, Spelling] = {
    kind: Spelling(partial(functions.pointwise, kind.__name__.lower()))
    for kind in (nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Hardswish, nn.Mish)
} | {
    nn.GELU: Spelling(functions.gelu, ("approximate",)),
    nn.ELU: Spelling(functions.elu, ("alpha",)),
    nn.Softplus: Spelling(functions.softplus, ("beta", "threshold")),
    nn.LayerNorm: Spelling(functions.layer_norm, ("normalized_shape", "weight", "bias", "eps")),
    nn.GroupNorm: Spelling(functions.group_norm, ("num_groups", "weight", "bias", "eps")),
    nn.LocalResponseNorm: Spelling(functions.local_response_norm, ("size", "alpha", "beta", "k")),
}

_FUNCTIONS: dict[Any, Spelling] = {
    target: Spelling(partial(functions.pointwise, name))
    for name, targets in {
        "sigmoid": (torch.sigmoid, F.sigmoid, "sigmoid", "sigmoid_"),
        "tanh": (torch.tanh, F.tanh, "tanh", "tanh_"),
        "silu": (F.silu,),
        "hardswish": (F.hardswish,),
        "mish": (F.mish,),
        "sqrt": (torch.sqrt, "sqrt"),
        "rsqrt": (torch.rsqrt, "rsqrt"),
        "reciprocal": (torch.reciprocal, "reciprocal"),
        "erf": (torch.erf, "erf"),
        "exp": (torch.exp, "exp"),
        "log": (torch.log, "log"),
        "floor": (torch.floor, "floor", "floor_"),
        "ceil": (torch.ceil, "ceil", "ceil_"),
        "round": (torch.round, "round", "round_"),
        "sign": (torch.sign, "sign"),
    }.items()
    for target in targets
} | {
    F.gelu: Spelling(functions.gelu),
    F.elu: Spelling(functions.elu),
    F.softplus: Spelling(functions.softplus),
    F.layer_norm: Spelling(functions.layer_norm),
    F.group_norm: Spelling(functions.group_norm),
    F.instance_norm: Spelling(functions.instance_norm),
    F.local_response_norm: Spelling(functions.local_response_norm),
    **_all((operator.pow, torch.pow, "pow"), functions.power),
    **_all((torch.square, "square"), functions.square),
    **_all((operator.matmul, torch.matmul, "matmul"), functions.matmul),
    **_all((torch.bmm, "bmm"), functions.matmul),
    **_all((F.scaled_dot_product_attention,), attention.product),
    **_all((operator.gt, torch.gt, "gt"), choices.greater),
    **_all((operator.ge, torch.ge, "ge"), choices.greater_equal),
    **_all((operator.lt, torch.lt, "lt"), choices.less),
    **_all((operator.le, torch.le, "le"), choices.less_equal),
    **_all((torch.where,), choices.where),
    **_all((torch.masked_fill, "masked_fill", "masked_fill_"), choices.masked_fill),
}

MODULES: Mapping[type[nn.Module], Spelling] = {
    **_FUNCTION_MODULES,
    **_by_rank(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        layers.conv,
        *("weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode"),
    ),
    **_by_rank(
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        layers.conv_transpose,
        *("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    ),
    **_all((nn.Linear,), layers.linear, "weight", "bias"),
    **_all((nn.Embedding,), sequences.embedding, "weight", "padding_idx", "max_norm"),
    **_all((nn.MultiheadAttention,), attention.module, *attention.ATTRIBUTES),
    **_all((nn.LSTM,), partial(sequences.recurrent, "lstm"), *sequences.ATTRIBUTES),
    **_all((nn.GRU,), partial(sequences.recurrent, "gru"), *sequences.ATTRIBUTES),
    **_all(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        layers.batch_norm,
        *("running_mean", "running_var", "weight", "bias"),
        *("momentum", "eps", "num_batches_tracked"),
    ),
    **_by_rank(
        (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        functions.instance_norm_module,
        *("running_mean", "running_var", "weight", "bias"),
        *("momentum", "eps", "num_batches_tracked"),
    ),
    **_all((nn.ReLU,), piecewise.relu),
    **_all((nn.ReLU6,), piecewise.relu6),
    **_all((nn.Hardtanh,), piecewise.hardtanh, "min_val", "max_val"),
    **_all((nn.Threshold,), piecewise.threshold, "threshold", "value"),
    **_all((nn.Hardsigmoid,), piecewise.hardsigmoid),
    **_all((nn.LeakyReLU,), piecewise.leaky_relu, "negative_slope"),
    **_all((nn.PReLU,), piecewise.prelu, "weight"),
    **_all((nn.RReLU,), piecewise.rrelu, "lower", "upper"),
    **_all((nn.Softshrink,), piecewise.softshrink, "lambd"),
    **_by_rank(
        (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        layers.max_pool,
        *("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    **_by_rank(
        (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        layers.avg_pool,
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    **_by_rank(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        layers.adaptive_avg_pool,
        "output_size",
    ),
    **_by_rank(
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        layers.adaptive_max_pool,
        *("output_size", "return_indices"),
    ),
    **_all((nn.Flatten, nn.Unflatten), movement.reshape),
    **_all((nn.ChannelShuffle,), movement.channel_shuffle, "groups"),
    **_all((nn.PixelShuffle,), movement.pixel_shuffle, "upscale_factor"),
    **_all((nn.PixelUnshuffle,), movement.pixel_unshuffle, "downscale_factor"),
    **_padding(("Zero", "constant"), ("Constant", "constant"), ("Reflection", "reflect")),
    **_padding(("Replication", "replicate"), ("Circular", "circular")),
    **_all((nn.Upsample,), resizing.upsample, "size", "scale_factor", "mode", "align_corners"),
    **_all(
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), movement.dropout, "p", "training"
    ),
    **_all((nn.AlphaDropout, nn.FeatureAlphaDropout), movement.dropout, "p", "training"),
    **_all((nn.Identity,), movement.identity),
    **_all((nn.Softmax,), _softmax, "dim"),
    **_all((nn.Softmax2d,), partial(_softmax, dim=-3)),
    **_all((nn.LogSoftmax,), _log_softmax, "dim"),
}

FUNCTIONS: Mapping[Hashable, Spelling] = {
    **_FUNCTIONS,
    **_by_rank((F.conv1d, F.conv2d, F.conv3d), layers.conv),
    **_by_rank((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), layers.conv_transpose),
    **_all((F.linear,), layers.linear),
    **_all((F.embedding,), sequences.embedding),
    **_all(("long", "int"), sequences.whole),
    **_all((F.batch_norm,), layers.batch_norm),
    **_all((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), piecewise.relu),
    **_all((F.relu6,), piecewise.relu6),
    **_all((F.hardtanh, F.hardtanh_), piecewise.hardtanh),
    **_all((torch.clamp, torch.clamp_, torch.clip, torch.clip_), piecewise.clamp),
    **_all(("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"), piecewise.clamp),
    **_all((torch.clamp_min, torch.clamp_min_), piecewise.clamp),
    **_all((F.threshold, torch.threshold, torch.threshold_), piecewise.threshold),
    **_all((F.hardsigmoid,), piecewise.hardsigmoid),
    **_all((F.leaky_relu, F.leaky_relu_), piecewise.leaky_relu),
    **_all((F.prelu, torch.prelu, "prelu"), piecewise.prelu),
    **_all((F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_), piecewise.rrelu),
    **_all((F.softshrink,), piecewise.softshrink),
    **_all((torch.abs, torch.absolute, operator.abs), piecewise.magnitude),
    **_all(("abs", "abs_", "absolute", "absolute_"), piecewise.magnitude),
    **_by_rank((F.max_pool1d, F.max_pool2d, F.max_pool3d), layers.max_pool),
    **_by_rank((torch.max_pool1d, torch.max_pool2d, torch.max_pool3d), layers.max_pool),
    **_by_rank((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), layers.avg_pool),
    **_by_rank(
        (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
        layers.adaptive_avg_pool,
    ),
    **_by_rank(
        (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),
        layers.adaptive_max_pool,
    ),
    **_all((torch.mean, "mean"), reductions.mean),
    **_all((torch.amax, "amax"), reductions.amax),
    **_all((torch.max, "max"), reductions.max_),
    **_all((torch.amin, "amin"), reductions.amin),
    **_all((torch.min, "min"), reductions.min_),
    **_all((torch.maximum, "maximum", torch.fmax, "fmax"), piecewise.maximum),
    **_all((torch.minimum, "minimum", torch.fmin, "fmin"), piecewise.minimum),
    **_all((torch.clamp_max, torch.clamp_max_, "clamp_max", "clamp_max_"), piecewise.clamp_max),
    **_all((torch.sum, "sum"), reductions.sum_),
    **_all((operator.add, operator.iadd, torch.add, "add", "add_"), arithmetic.add),
    **_all((operator.sub, operator.isub, torch.sub, torch.subtract, "sub", "sub_"), arithmetic.sub),
    **_all(("subtract", "subtract_"), arithmetic.sub),
    **_all((torch.rsub,), arithmetic.rsub),
    **_all((operator.neg, torch.neg, torch.negative, "neg", "neg_", "negative"), arithmetic.neg),
    **_all((operator.mul, operator.imul, torch.mul, "mul", "mul_"), arithmetic.mul),
    **_all((torch.multiply, "multiply"), arithmetic.mul),
    **_all((operator.truediv, operator.itruediv, torch.div, "div", "div_"), arithmetic.div),
    **_all((torch.true_divide, torch.divide, "true_divide", "divide"), arithmetic.div),
    **_all((torch.cat, torch.concat, torch.concatenate), movement.concat),
    **_all((torch.stack,), movement.stack),
    **_all((torch.channel_shuffle, F.channel_shuffle), movement.channel_shuffle),
    **_all((torch.pixel_shuffle, F.pixel_shuffle), movement.pixel_shuffle),
    **_all((torch.pixel_unshuffle, F.pixel_unshuffle), movement.pixel_unshuffle),
    **_all((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), movement.reshape),
    **_all(("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze"), movement.reshape),
    **_all(("view_as", "reshape_as"), movement.reshape),
    **_all((torch.permute, "permute"), movement.permute),
    **_all((torch.transpose, torch.swapaxes, "transpose", "swapaxes"), movement.transpose),
    **_all((torch.swapdims, "swapdims"), movement.transpose),
    **_all((torch.t, "t"), movement.t),
    **_all((torch.movedim, torch.moveaxis, "movedim", "moveaxis"), movement.movedim),
    **_all((operator.getitem,), movement.getitem),
    **_all((torch.index_select, "index_select"), movement.index_select),
    **_all((torch.select, "select"), movement.select),
    **_all((torch.narrow, "narrow"), movement.narrow),
    **_all((torch.split, "split"), movement.split),
    **_all((torch.chunk, "chunk"), movement.chunk),
    **_all((torch.tensor_split, "tensor_split"), movement.tensor_split),
    **_all((torch.unbind, "unbind"), movement.unbind),
    **_all((torch.roll, "roll", torch.flip, "flip", torch.rot90, "rot90"), movement.rearranged),
    **_all((torch.fliplr, "fliplr", torch.flipud, "flipud"), movement.rearranged),
    **_all((torch.tile, "tile", "repeat", "expand", "expand_as"), movement.rearranged),
    **_all((torch.repeat_interleave, "repeat_interleave"), movement.rearranged),
    **_all((torch.broadcast_to, "broadcast_to", "unfold"), movement.rearranged),
    **_all((F.pad,), resizing.pad),
    **_all((F.interpolate,), resizing.upsample),
    **_all((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), movement.dropout),
    **_all((F.alpha_dropout, F.feature_alpha_dropout, torch.dropout), movement.dropout),
    **_all((torch.clone, "clone", "contiguous", "detach", "float"), movement.identity),
    **_all((F.softmax, torch.softmax, "softmax"), _softmax),
    **_all((F.log_softmax, torch.log_softmax, "log_softmax"), _log_softmax),
}
"""Functions by themselves, methods by their names."""

NAMED: Mapping[str, Spelling] = {
    "torchvision.ops.stochastic_depth.stochastic_depth": Spelling(movement.stochastic_depth),
}
"""Functions of other packages by their full names: the packages need not be installed."""


def spelling(target: object) -> Spelling | None:
    """How a function or method that a graph calls is spelled, if it is known."""
    if found := FUNCTIONS.get(target):
        return found
    name = f"{getattr(target, '__module__', None)}.{getattr(target, '__qualname__', None)}"
    return NAMED.get(name)
