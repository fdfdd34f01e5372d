"""Which of ONNX's operators is which form: all that can depend on the input."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from snnconv.frontends.lowering import arithmetic, reductions
from snnconv.frontends.lowering import piecewise as forms
from snnconv.frontends.onnx import (
    batch_axis,
    conv_pool,
    layers,
    movement,
    piecewise,
    resizing,
    sequences,
)
from snnconv.frontends.onnx.batch_axis import Result
from snnconv.frontends.onnx.call import Call

_Forms = Mapping[str, Callable[[Call], Result | Sequence[Result]]]

FUNCTIONS: _Forms = {
    "Elu": layers.elu,
    "Erf": partial(layers.pointwise, "erf"),
    "GroupNormalization": layers.group_normalization,
    "GRU": partial(sequences.recurrent, "gru"),
    "Gelu": layers.gelu,
    "HardSwish": partial(layers.pointwise, "hardswish"),
    "InstanceNormalization": layers.instance_normalization,
    "LRN": layers.local_response_norm,
    "LSTM": partial(sequences.recurrent, "lstm"),
    "LayerNormalization": layers.layer_normalization,
    "Mish": partial(layers.pointwise, "mish"),
    "Sigmoid": partial(layers.pointwise, "sigmoid"),
    "Softplus": layers.softplus,
    "Tanh": partial(layers.pointwise, "tanh"),
}
"""Operators that no neuron stands for, whatever their operands; taken on request only."""

OPERATORS: _Forms = {
    "Abs": piecewise.magnitude,
    "Add": partial(layers.binary, arithmetic.add),
    "AveragePool": conv_pool.avg_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": movement.cast,
    "CastLike": movement.cast_like,
    "Clip": piecewise.clip,
    "Concat": movement.concat,
    "Conv": conv_pool.conv,
    "ConvTranspose": conv_pool.conv_transpose,
    "DepthToSpace": movement.depth_to_space,
    "Div": partial(layers.binary, arithmetic.div),
    "Dropout": movement.dropout,
    "Expand": movement.expand,
    "Flatten": movement.flatten,
    "Gather": sequences.gather,
    "GatherND": movement.gather_nd,
    "Gemm": layers.gemm,
    "GlobalAveragePool": conv_pool.global_avg_pool,
    "GlobalMaxPool": conv_pool.global_max_pool,
    "HardSigmoid": piecewise.hard_sigmoid,
    "Identity": movement.identity,
    "LeakyRelu": piecewise.leaky_relu,
    "LogSoftmax": partial(layers.softmax, torch.log_softmax),
    "MatMul": layers.matmul,
    "Max": partial(piecewise.extreme, forms.maximum),
    "MaxPool": conv_pool.max_pool,
    "Min": partial(piecewise.extreme, forms.minimum),
    "Mul": partial(layers.binary, arithmetic.mul),
    "Neg": layers.negative,
    "Pad": resizing.pad,
    "PRelu": piecewise.prelu,
    "Pow": layers.power,
    "Reciprocal": partial(layers.pointwise, "reciprocal"),
    "ReduceMax": partial(movement.reduced, reductions.amax),
    "ReduceMean": partial(movement.reduced, reductions.mean),
    "ReduceMin": partial(movement.reduced, reductions.amin),
    "ReduceSum": partial(movement.reduced, reductions.sum_),
    "Relu": piecewise.relu,
    "Reshape": movement.reshape,
    "Resize": resizing.resize,
    "Shape": movement.shape,
    "Slice": movement.slices,
    "Softmax": partial(layers.softmax, torch.softmax),
    "SpaceToDepth": movement.space_to_depth,
    "Split": movement.split,
    "Sqrt": partial(layers.pointwise, "sqrt"),
    "Squeeze": movement.squeeze,
    "Sub": partial(layers.binary, arithmetic.sub),
    "Sum": layers.sum_,
    "Tile": movement.tile,
    "Transpose": batch_axis.transpose,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": resizing.upsample,
    **FUNCTIONS,
}
"""Operators of a value that depends on the input; what they give as ``Stored`` does not."""
