"""Matrix products: with a constant matrix, which is a linear layer, or of two activations."""

import math
import operator

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
    stored,
    weights,
)
from snnconv.graph.remedies import BATCH_FIRST


def linear(shape: Shape, x: object, weight: object, bias: object = None) -> NodeSpec:
    """Lower a linear layer: a matrix on the last axis."""
    return NodeSpec("linear", [activation(x)], None, weights(weight=weight, bias=bias))


def matmul(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower a product with a constant matrix, which is a linear layer, or of two activations."""
    if isinstance(other, Activation):
        source = activation(x)
        if not len(source.shape) == len(other.shape) > 2:
            raise Refused("a matrix product that mixes samples", BATCH_FIRST)
        return NodeSpec("matmul", [source, other])
    matrix = stored("weight", other).value
    if 2 < matrix.dim() <= len(activation(x).shape) and math.prod(matrix.shape[:-2]) == 1:
        matrix = matrix.reshape(matrix.shape[-2:])  # one matrix for all
    if matrix.dim() != 2:
        raise Refused(f"a product with a constant of shape {list(matrix.shape)}")
    return linear(shape, x, Stored("", matrix.t()))


def addmm(
    shape: Shape, bias: object, x: object, other: object, *, beta: float = 1, alpha: float = 1
) -> NodeSpec:
    """Lower a linear layer of ATen's core set."""
    if beta != 1 or alpha != 1 or stored("bias", bias).value.shape != shape[-1:]:
        raise Refused("a matrix product whose sum is not a bias")
    made = matmul(shape, x, other)
    return NodeSpec(
        made.op, made.sources, made.attrs, {**made.tensors, "bias": stored("bias", bias)}
    )


def onnx_matmul(call: Call) -> NodeSpec:
    """Lower a matrix from the right on the last axis, or a product of two activations."""
    return matmul((), call.x, call.operand(1))


def onnx_gemm(call: Call) -> NodeSpec:
    """Lower ``alpha * x @ B + beta * C``."""
    x, matrix, bias = call.x, call.tensor(1, "weight"), call.optional(2, "bias")
    if call.number("transA", 0):
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
    return linear((), x, matrix, bias)


def as_bias(constant: Stored, outputs: int) -> Stored | None:
    """Return a constant as one number an output, if it broadcasts to that; it keeps its name."""
    shape = constant.value.shape
    if tuple(shape) == (outputs,):
        return constant
    if math.prod(shape) == (shape[-1] if shape else 1) and constant.value.numel() in (1, outputs):
        return Stored("", constant.value.reshape(-1).expand(outputs))
    return None


LOWERINGS = (
    Lowering(
        make=linear,
        batch_axis=BatchAxis.ROWS,
        modules={nn.Linear: ("weight", "bias")},
        functions=(F.linear,),
        aten=("linear",),
        onnx={"Gemm": Onnx(onnx_gemm)},
    ),
    Lowering(
        make=matmul,
        batch_axis=BatchAxis.MATRICES,
        functions=(operator.matmul, torch.matmul, torch.bmm),
        methods=("matmul", "bmm"),
        aten=("matmul", "mm", "bmm"),
        onnx={"MatMul": Onnx(onnx_matmul)},
    ),
    Lowering(make=addmm, batch_axis=BatchAxis.ROWS, aten=("addmm",)),
)
