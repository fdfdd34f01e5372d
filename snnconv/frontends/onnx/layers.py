"""ONNX's forms of matrices, normalisation, activations and arithmetic."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from snnconv.frontends.lowering import arithmetic, functions, layers, movement
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import (
    Activation,
    NodeMaker,
    NodeSpec,
    Refused,
    Shape,
    Stored,
    activation,
    stored,
)
from snnconv.frontends.onnx.call import Call, Operand
from snnconv.graph.remedies import BATCH_FIRST


def matmul(call: Call) -> NodeSpec:
    """A matrix from the right, on the last axis, or a product of two activations."""
    return functions.matmul((), call.x, call.operand(1))


def gemm(call: Call) -> NodeSpec:
    """``alpha * x @ B + beta * C``."""
    x, matrix, bias = call.x, call.tensor(1, "weight"), call.optional(2, "bias")
    if call.number("transA", 0) or len(x.shape) != 2:
        raise Refused("a product over the batch", BATCH_FIRST)
    if not call.number("transB", 0):
        matrix = Stored("", matrix.value.T)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if alpha != 1:
        matrix = Stored("", alpha * matrix.value)
    if bias is not None:
        bias = as_bias(bias, matrix.value.shape[0])
        if bias is None:
            raise Refused("a bias that differs from sample to sample")
        if beta != 1:
            bias = Stored("", beta * bias.value)
    return layers.linear((), x, matrix, bias)


def as_bias(constant: Stored, outputs: int) -> Stored | None:
    """A constant as one number an output, if it is that when it broadcasts; keeps its name."""
    shape = constant.value.shape
    if tuple(shape) == (outputs,):
        return constant
    if math.prod(shape) == (shape[-1] if shape else 1) and constant.value.numel() in (1, outputs):
        return Stored("", constant.value.reshape(-1).expand(outputs))
    return None


def batch_normalization(call: Call) -> NodeSpec:
    """BatchNorm by its running statistics."""
    if call.number("training_mode", 0) or call.read > 1:
        raise Refused("BatchNormalization in training mode")
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    mean, variance = call.tensor(3, "mean"), call.tensor(4, "variance")
    eps = call.number("epsilon", 1e-5)
    # ONNX states the share of the old statistics, PyTorch and the graph that of the new ones
    momentum = round(1 - call.number("momentum", 0.9), 6)  # a float32 has so many digits
    return layers.batch_norm((), call.x, mean, variance, weight, bias, False, momentum, eps)


def binary(form: NodeMaker, call: Call) -> NodeSpec:
    """An operation on two operands, of which one may be constant."""
    a, b = call.operand(0), call.operand(1)
    made = form(broadcast(a, b), a, b)
    assert isinstance(made, NodeSpec)
    return made


def sum_(call: Call) -> NodeSpec:
    """A sum of any number of operands."""
    first, *others = call.operands
    if not others:
        return movement.identity((), first)
    made = binary(arithmetic.add, replace(call, operands=[first, others[0]]))
    for other in others[1:]:
        if len(activation(other).shape) != len(shape_of(made)):
            raise Refused("a sum that mixes samples", BATCH_FIRST)
        made = NodeSpec("add", [made, activation(other)])
    return made


def negative(call: Call) -> NodeSpec:
    """``-x``."""
    return arithmetic.neg(call.x.shape, call.x)


def broadcast(a: Operand | NodeSpec, b: Operand | NodeSpec) -> Shape:
    """The shape that two operands have together."""
    shapes = [
        shape_of(x) if isinstance(x, Activation | NodeSpec) else stored("constant", x).value.shape
        for x in (a, b)
    ]
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise Refused(f"operands of shape {[list(shape) for shape in shapes]}") from error


def pointwise(name: str, call: Call) -> NodeSpec:
    """A function of one number."""
    return functions.pointwise(name, (), call.x)


def elu(call: Call) -> NodeSpec:
    """An exponential below 0."""
    return functions.elu((), call.x, call.number("alpha", 1.0))


def softplus(call: Call) -> NodeSpec:
    """``ln(1 + exp(x))``."""
    return functions.softplus((), call.x)


def gelu(call: Call) -> NodeSpec:
    """GELU, exact or by tanh."""
    return functions.gelu((), call.x, call.attrs.get("approximate", "none"))


def layer_normalization(call: Call) -> NodeSpec:
    """LayerNorm over the axes from one on."""
    if call.read > 1:
        raise Refused("LayerNormalization that gives its statistics")
    x, weight, bias = call.x, call.tensor(1, "scale"), call.optional(2, "bias")
    over = x.shape[call.number("axis", -1) :]
    return functions.layer_norm(x.shape, x, over, weight, bias, call.number("epsilon", 1e-5))


def instance_normalization(call: Call) -> NodeSpec:
    """InstanceNorm."""
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    eps = call.number("epsilon", 1e-5)
    return functions.instance_norm((), call.x, None, None, weight, bias, eps=eps)


def group_normalization(call: Call) -> NodeSpec:
    """GroupNorm, a scale a channel."""
    x, groups = call.x, call.number("num_groups", 1)
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    return functions.group_norm((), x, groups, weight, bias, call.number("epsilon", 1e-5))


def power(call: Call) -> NodeSpec:
    """``x**exponent``, the exponent a constant."""
    return functions.power((), call.x, call.tensor(1, "exponent"))


def local_response_norm(call: Call) -> NodeSpec:
    """Over channels around each; of an even number nobody is there to compare with."""
    size = int(call.number("size", 0))
    if size % 2 == 0:
        raise Refused(f"a size of {size}: onnxruntime computes odd ones only")
    alpha, beta = call.number("alpha", 1e-4), call.number("beta", 0.75)
    return functions.local_response_norm((), call.x, size, alpha, beta, call.number("bias", 1.0))


def softmax(function: Callable[..., Tensor], call: Call) -> NodeSpec:
    """Along an axis; dropped at the end, where it is over the classes.

    Up to opset 12 it is over everything from its axis on, later over the axis alone.
    """
    x, name = call.x, function.__name__
    old = call.opset < 13
    axis = call.number("axis", 1 if old else -1) % len(x.shape)
    if axis == 0:
        raise Refused("a softmax over the batch", BATCH_FIRST)
    over = math.prod(x.shape[axis:]) if old else x.shape[axis]
    if call.last and over == math.prod(x.shape[1:]):
        return NodeSpec("identity", [x], {"dropped": name}, ending=partial(function, dim=1))
    if over == x.shape[axis]:
        return NodeSpec(name, [x], {"dim": axis})
    flat = NodeSpec("reshape", [x], {"shape": [*x.shape[1:axis], over]})
    inside = NodeSpec(name, [flat], {"dim": axis})
    return NodeSpec("reshape", [inside], {"shape": list(x.shape[1:])})
