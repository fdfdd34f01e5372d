"""Which of ONNX's operators is which form: all that can depend on the input."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from snnconv.ann.onnx import layers, moves, sequences, turned, windows
from snnconv.ann.onnx.call import Call
from snnconv.ann.onnx.turned import Result
from snnconv.graph import arithmetic

_Forms = Mapping[str, Callable[[Call], Result | Sequence[Result]]]

FUNCTIONS: _Forms = {
    "Elu": layers.elu,
    "Erf": partial(layers.pointwise, "erf"),
    "GRU": partial(sequences.recurrent, "gru"),
    "Gelu": layers.gelu,
    "HardSigmoid": layers.hard_sigmoid,
    "HardSwish": partial(layers.pointwise, "hardswish"),
    "LRN": layers.local_response_norm,
    "LSTM": partial(sequences.recurrent, "lstm"),
    "LayerNormalization": layers.layer_normalization,
    "LeakyRelu": layers.leaky_relu,
    "Mish": partial(layers.pointwise, "mish"),
    "Sigmoid": partial(layers.pointwise, "sigmoid"),
    "Softplus": layers.softplus,
    "Tanh": partial(layers.pointwise, "tanh"),
}
"""Operators that no neuron stands for, whatever their operands; taken on request only."""

OPERATORS: _Forms = {
    "Add": partial(layers.binary, arithmetic.add),
    "AveragePool": windows.avg_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": moves.cast,
    "CastLike": moves.cast_like,
    "Clip": layers.clip,
    "Concat": moves.concat,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Div": partial(layers.binary, arithmetic.div),
    "Dropout": moves.dropout,
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Gather": sequences.gather,
    "Gemm": layers.gemm,
    "GlobalAveragePool": windows.global_avg_pool,
    "GlobalMaxPool": windows.global_max_pool,
    "Identity": moves.identity,
    "LogSoftmax": partial(layers.softmax, torch.log_softmax),
    "MatMul": layers.matmul,
    "Max": layers.maximum,
    "MaxPool": windows.max_pool,
    "Mul": partial(layers.binary, arithmetic.mul),
    "Neg": layers.negative,
    "Pad": moves.pad,
    "Pow": layers.power,
    "Reciprocal": partial(layers.pointwise, "reciprocal"),
    "ReduceMax": moves.reduce_max,
    "ReduceMean": moves.reduce_mean,
    "Relu": layers.relu,
    "Reshape": moves.reshape,
    "Resize": moves.resize,
    "Shape": moves.shape,
    "Slice": moves.slices,
    "Softmax": partial(layers.softmax, torch.softmax),
    "Split": moves.split,
    "Sqrt": partial(layers.pointwise, "sqrt"),
    "Squeeze": moves.squeeze,
    "Sub": partial(layers.binary, arithmetic.sub),
    "Sum": layers.total,
    "Transpose": turned.transpose,
    "Unsqueeze": moves.unsqueeze,
    "Upsample": moves.upsample,
    **FUNCTIONS,
}
"""Operators of a value that depends on the input; what they give as ``Stored`` does not."""
