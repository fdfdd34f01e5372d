"""Sums, and products with constants, which keep the mean over time; products of activations."""

import math
import operator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call, Operand, spelled
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Lowering,
    NodeMaker,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
    in_place,
    stored,
)
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.operations.normalisation import Affine
from snnconv.graph.remedies import BATCH_FIRST

MASKED = -1e9
"""Added where a mask has -inf: the softmax behind it gives 0, and it is finite."""


def add(shape: Shape, x: object, other: object, alpha: float = 1) -> NodeSpec:
    """Lower ``x + alpha*other``, with two activations or with an activation and a constant."""
    if not isinstance(x, Activation):
        x, other = other, x
        if alpha != 1:
            return affine(shape, x, alpha, other)
    if not isinstance(other, Activation):
        return affine(shape, x, 1, _times(other, alpha))
    sources = [activation(x), other]
    if any(len(source.shape) != len(shape) for source in sources):
        raise Refused("a sum that mixes samples", BATCH_FIRST)
    scaled = other if alpha == 1 else affine(other.shape, other, alpha)
    return NodeSpec("add", [sources[0], scaled])


def sub(shape: Shape, x: object, other: object, alpha: float = 1) -> NodeSpec:
    """Lower ``x - alpha*other``."""
    return add(shape, x, other, -alpha)


def rsub(shape: Shape, x: object, other: object, alpha: float = 1) -> NodeSpec:
    """Lower ``other - alpha*x``."""
    return add(shape, other, x, -alpha)


def neg(shape: Shape, x: object) -> NodeSpec:
    """Lower ``-x``."""
    return affine(shape, x, -1)


def mul(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower a product. No neuron keeps the mean over time of a product of two activations."""
    if not isinstance(x, Activation):
        x, other = other, x
    if isinstance(other, Activation):
        if any(len(source.shape) != len(shape) for source in (activation(x), other)):
            raise Refused("a product that mixes samples", BATCH_FIRST)
        return NodeSpec("multiply", [activation(x), other])
    return affine(shape, x, other)


def div(shape: Shape, x: object, other: object, rounding_mode: object = None) -> NodeSpec:
    """Lower a quotient by a constant, or by an activation: a product with its reciprocal."""
    if rounding_mode is not None:
        raise Refused("a quotient that is rounded")
    if isinstance(other, Activation):
        inverse = NodeSpec("pointwise", [other], Pointwise(function="reciprocal", arguments=[]))
        if isinstance(x, Activation):
            return NodeSpec("multiply", [mul(shape, x, other).sources[0], inverse])
        return line(inverse, constant(shape, x), learned=isinstance(x, Stored))
    return affine(shape, x, _inverse(other))


def line(
    x: Activation | NodeSpec,
    scale: float | Tensor,
    shift: float | Tensor = 0.0,
    learned: bool = False,
) -> NodeSpec:
    """Lower ``x*scale + shift`` for a value, or for a node that has to be made first.

    Training leaves scale and shift as they are, unless they are parameters of the network.
    """
    given = (n if isinstance(n, Tensor) else _number(n) for n in (scale, shift))
    factor, summand = (Stored("", tensor) for tensor in given)
    attrs = None if learned else Affine(fixed=True)
    return NodeSpec("affine", [x], attrs, {"scale": factor, "shift": summand})


def affine(shape: Shape, x: object, scale: object = 1, shift: object = 0) -> NodeSpec:
    """Lower ``x*scale + shift``, where each is a number or a tensor of the network."""
    source = activation(x)
    if source.shape != shape:
        raise Refused("a constant that the value is expanded to", "expand the value before")
    learned = any(isinstance(value, Stored) for value in (scale, shift))
    return line(source, constant(shape, scale), summand(shape, shift), learned)


def summand(shape: Shape, value: object) -> Tensor:
    """Return a constant as a summand: -inf, as in masks of attention, becomes :data:`MASKED`."""
    found = constant(shape, value)
    return found.clamp(min=MASKED) if bool((found == -math.inf).any()) else found


def _times(value: object, factor: float) -> object:
    """Return a constant times a number; the caller refuses anything else later."""
    if isinstance(value, Stored):
        return value if factor == 1 else Stored("", factor * value.value)
    return factor * value if isinstance(value, int | float) else value


def _inverse(value: object) -> object:
    """Return one over a constant."""
    if isinstance(value, Stored):
        return Stored("", 1 / value.value)
    return 1 / value if isinstance(value, int | float) else value


def _number(value: float) -> Tensor:
    return torch.tensor([float(value)])


def constant(shape: Shape, value: object) -> Tensor:
    """Return a constant as ``[1]``, as ``[C]`` if it has one value a channel, else as ``[*N]``.

    The last has the rank of a sample, which it broadcasts to.
    """
    if isinstance(value, bool | int | float):
        return _number(value)
    if not isinstance(value, Stored):
        raise Refused(f"a constant that is not a number ({value!r})")
    tensor = value.value.detach().float()
    sizes = [1] * (len(shape) - tensor.dim()) + list(tensor.shape)
    if len(sizes) > len(shape) or sizes[:1] not in ([], [1]):
        if tensor.numel() and bool((tensor == tensor.reshape(-1)[0]).all()):
            return tensor.reshape(-1)[:1]  # of all samples the same: ``zeros_like(x)``
        raise Refused(f"the constant '{value.name}', which differs from sample to sample")
    by_channel = all(n == 1 for n in sizes[2:])
    return tensor.reshape(-1 if by_channel else sizes[1:])


def onnx_binary(make: NodeMaker, call: Call) -> NodeSpec:
    """Make an operation on two operands, one of which may be constant."""
    a, b = call.operand(0), call.operand(1)
    made = make(broadcast(a, b), a, b)
    assert isinstance(made, NodeSpec)
    return made


def onnx_sum(call: Call) -> NodeSpec:
    """Lower a sum of any number of operands."""
    first, *others = call.operands
    if not others:
        return NodeSpec("identity", [activation(first)])
    made = onnx_binary(add, replace(call, operands=[first, others[0]]))
    for other in others[1:]:
        if len(activation(other).shape) != len(shape_of(made)):
            raise Refused("a sum that mixes samples", BATCH_FIRST)
        made = NodeSpec("add", [made, activation(other)])
    return made


def broadcast(*operands: Operand | NodeSpec) -> Shape:
    """Return the shape that operands have together."""
    shapes = [
        shape_of(x) if isinstance(x, Activation | NodeSpec) else stored("constant", x).value.shape
        for x in operands
    ]
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise Refused(f"operands of shape {[list(shape) for shape in shapes]}") from error


LOWERINGS = (
    Lowering(
        make=add,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(operator.add, operator.iadd, torch.add),
        methods=("add", "add_"),
        aten=in_place("add.Tensor", "add.Scalar"),
        onnx={"Add": Onnx(partial(onnx_binary, add)), "Sum": Onnx(onnx_sum)},
    ),
    Lowering(
        make=sub,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(operator.sub, operator.isub, torch.sub, torch.subtract),
        methods=("sub", "sub_", "subtract", "subtract_"),
        aten=in_place("sub.Tensor", "sub.Scalar"),
        onnx={"Sub": Onnx(partial(onnx_binary, sub))},
    ),
    Lowering(
        make=rsub,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(torch.rsub,),
        aten=("rsub.Tensor", "rsub.Scalar"),
    ),
    Lowering(
        make=neg,
        batch_axis=BatchAxis.EACH,
        functions=(operator.neg, torch.neg, torch.negative),
        methods=("neg", "neg_", "negative"),
        aten=in_place("neg"),
        onnx={"Neg": Onnx(spelled(neg))},
    ),
    Lowering(
        make=mul,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(operator.mul, operator.imul, torch.mul, torch.multiply),
        methods=("mul", "mul_", "multiply"),
        aten=in_place("mul.Tensor", "mul.Scalar"),
        onnx={"Mul": Onnx(partial(onnx_binary, mul))},
    ),
    Lowering(
        make=div,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(
            *(operator.truediv, operator.itruediv),
            *(torch.div, torch.true_divide, torch.divide),
        ),
        methods=("div", "div_", "true_divide", "divide"),
        aten=in_place("div.Tensor", "div.Scalar"),
        onnx={"Div": Onnx(partial(onnx_binary, div))},
    ),
)
