"""Which of ONNX's operators is which form: all that can depend on the input."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from snnconv.ann.onnx import layers, moves, piecewise, resizing, sequences, turned, windows
from snnconv.ann.onnx.call import Call
from snnconv.ann.onnx.turned import Result
from snnconv.graph import arithmetic, reductions
from snnconv.graph import piecewise as forms

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
    "AveragePool": windows.avg_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": moves.cast,
    "CastLike": moves.cast_like,
    "Clip": piecewise.clip,
    "Concat": moves.concat,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "DepthToSpace": moves.depth_to_space,
    "Div": partial(layers.binary, arithmetic.div),
    "Dropout": moves.dropout,
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Gather": sequences.gather,
    "GatherND": moves.gather_nd,
    "Gemm": layers.gemm,
    "GlobalAveragePool": windows.global_avg_pool,
    "GlobalMaxPool": windows.global_max_pool,
    "HardSigmoid": piecewise.hard_sigmoid,
    "Identity": moves.identity,
    "LeakyRelu": piecewise.leaky_relu,
    "LogSoftmax": partial(layers.softmax, torch.log_softmax),
    "MatMul": layers.matmul,
    "Max": partial(piecewise.extreme, forms.maximum),
    "MaxPool": windows.max_pool,
    "Min": partial(piecewise.extreme, forms.minimum),
    "Mul": partial(layers.binary, arithmetic.mul),
    "Neg": layers.negative,
    "Pad": resizing.pad,
    "PRelu": piecewise.prelu,
    "Pow": layers.power,
    "Reciprocal": partial(layers.pointwise, "reciprocal"),
    "ReduceMax": partial(moves.reduced, reductions.amax),
    "ReduceMean": partial(moves.reduced, reductions.mean),
    "ReduceMin": partial(moves.reduced, reductions.amin),
    "ReduceSum": partial(moves.reduced, reductions.total),
    "Relu": piecewise.relu,
    "Reshape": moves.reshape,
    "Resize": resizing.resize,
    "Shape": moves.shape,
    "Slice": moves.slices,
    "Softmax": partial(layers.softmax, torch.softmax),
    "SpaceToDepth": moves.space_to_depth,
    "Split": moves.split,
    "Sqrt": partial(layers.pointwise, "sqrt"),
    "Squeeze": moves.squeeze,
    "Sub": partial(layers.binary, arithmetic.sub),
    "Sum": layers.total,
    "Tile": moves.tile,
    "Transpose": turned.transpose,
    "Unsqueeze": moves.unsqueeze,
    "Upsample": resizing.upsample,
    **FUNCTIONS,
}
"""Operators of a value that depends on the input; what they give as ``Stored`` does not."""
