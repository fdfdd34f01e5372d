"""Attention, written out in matrix products, a softmax and linear layers."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.arithmetic import MASKED, constant, line
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Lowering,
    NodeSpec,
    Refused,
    Shape,
    Stored,
    activation,
    stored,
)
from snnconv.frontends.lowering.matrices import linear, matmul
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.pooling import Mean
from snnconv.graph.operations.wiring import Permute, Shaped
from snnconv.graph.remedies import FIXED_MASK, NO_PADDING

ATTRIBUTES = ("num_heads", "batch_first", "add_zero_attn", "tensors")


def product(
    shape: Shape,
    query: object,
    key: object,
    value: object,
    attn_mask: object = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> NodeSpec:
    """Lower ``softmax(q @ k.T * scale + mask) @ v`` of ``[B, ..., L, E]``."""
    if dropout_p:
        raise Refused("dropout that is on outside training: pass dropout_p=0 there")
    if enable_gqa:
        raise Refused("attention of groups of heads (enable_gqa)", "repeat the keys and values")
    parts = [activation(x) for x in (query, key, value)]
    return _attended(*parts, mask=_mask(parts, attn_mask, is_causal), scale=scale)[0]


def masked_product(
    shape: Shape, mask: object, x: object, other: object, *, beta: float = 1, alpha: float = 1
) -> NodeSpec:
    """Lower ``mask + x @ other``, as an exported ``nn.MultiheadAttention`` adds its mask."""
    if beta != 1 or alpha != 1 or not isinstance(other, Activation):
        raise Refused("products of matrices that are scaled, or of constant ones")
    added = _mask([activation(x), other], mask, causal=False)
    assert added is not None
    return line(matmul(shape, x, other), 1.0, constant(shape, added))


def module(
    shape: Shape,
    query: object,
    key: object,
    value: object,
    key_padding_mask: object = None,
    need_weights: bool = True,
    attn_mask: object = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    num_heads: int,
    batch_first: bool,
    add_zero_attn: bool,
    tensors: Mapping[str, Stored],
) -> list[NodeSpec | None]:
    """Lower ``nn.MultiheadAttention``: its output, and its weights if the caller asks for them."""
    sources = [activation(x) for x in (query, key, value)]
    if not batch_first or any(len(source.shape) != 3 for source in sources):
        raise Refused(
            "attention without batch_first=True: samples have to come first",
            "make it with batch_first=True, or transpose its input: x.transpose(0, 1)",
        )
    if key_padding_mask is not None or add_zero_attn or "bias_k" in tensors:
        raise Refused(
            "attention with a padding mask, bias_k or add_zero_attn",
            NO_PADDING,
        )
    if isinstance(attn_mask, Stored) and attn_mask.value.dtype is torch.bool:
        attn_mask = Stored("", ~attn_mask.value)  # here True marks a place that is left out
    causal = is_causal and attn_mask is None
    heads = [
        _heads(source, num_heads, *_projection(tensors, index))
        for index, source in enumerate(sources)
    ]
    mask = _mask(heads, attn_mask, causal)
    mixed, weights = _attended(*heads, mask=mask, scale=None)
    length, size = sources[0].shape[1], tensors["out_proj.weight"].value.shape[1]
    rows = NodeSpec("permute", [mixed], Permute(dims=[2, 1, 3]))
    joined = NodeSpec("reshape", [rows], Shaped(shape=[length, size]))
    bias = tensors.get("out_proj.bias")
    roles = {"weight": tensors["out_proj.weight"], "bias": bias}
    out = NodeSpec("linear", [joined], None, roles)
    if not need_weights:
        return [out, None]
    if average_attn_weights:
        weights = NodeSpec("mean", [weights], Mean(dims=[1], keepdim=False))
    return [out, weights]


def _projection(tensors: Mapping[str, Stored], index: int) -> tuple[Stored, Stored | None]:
    """Return the weight and bias of queries, keys or values."""
    if "in_proj_weight" in tensors:
        weight = tensors["in_proj_weight"].value.chunk(3)[index]
    else:
        weight = tensors[f"{'qkv'[index]}_proj_weight"].value
    bias = tensors.get("in_proj_bias")
    return Stored("", weight), None if bias is None else Stored("", bias.value.chunk(3)[index])


def _heads(x: Activation, heads: int, weight: Stored, bias: Stored | None) -> NodeSpec:
    """Split the heads: ``[B, L, E] -> [B, heads, L, E/heads]``."""
    length, size = x.shape[1], weight.value.shape[0]
    rows = linear(x.shape, x, weight, bias)
    split = NodeSpec("reshape", [rows], Shaped(shape=[length, heads, size // heads]))
    return NodeSpec("permute", [split], Permute(dims=[2, 1, 3]))


def _attended(
    query: Activation | NodeSpec,
    key: Activation | NodeSpec,
    value: Activation | NodeSpec,
    *,
    mask: object,
    scale: float | None,
) -> tuple[NodeSpec, NodeSpec]:
    """Return the values that queries find, and the weights by which they find them."""
    rank = len(shape_of(key))
    if rank < 3 or not rank == len(shape_of(query)) == len(shape_of(value)):
        raise Refused("attention that mixes samples", "give [B, L, E] or [B, heads, L, E]")
    swapped = [*range(1, rank - 2), rank - 1, rank - 2]
    products = NodeSpec("matmul", [query, NodeSpec("permute", [key], Permute(dims=swapped))])
    factor = 1 / math.sqrt(shape_of(query)[-1]) if scale is None else float(scale)
    shift = 0.0 if mask is None else constant(shape_of(products), mask)
    weights = NodeSpec("softmax", [line(products, factor, shift)], Along(dim=rank - 1))
    return NodeSpec("matmul", [weights, value]), weights


def _mask(parts: list[Activation] | list[NodeSpec], mask: object, causal: bool) -> Stored | None:
    """Return what is added to products before the softmax."""
    if causal:
        length, other = shape_of(parts[0])[-2], shape_of(parts[1])[-2]
        mask = Stored("", torch.ones(length, other, dtype=torch.bool).tril())
    if mask is None:
        return None
    if not isinstance(mask, Stored):
        raise Refused("attention with a mask that depends on the input", FIXED_MASK)
    own = stored("mask", mask).value
    if own.dtype is torch.bool:
        return Stored("", (~own).float() * MASKED)
    return Stored("", own.float().clamp(min=MASKED))


LOWERINGS = (
    Lowering(
        make=product,
        batch_axis=BatchAxis.FIRST,
        functions=(F.scaled_dot_product_attention,),
        aten=("scaled_dot_product_attention",),
    ),
    Lowering(make=masked_product, batch_axis=BatchAxis.MATRICES, aten=("baddbmm",)),
    Lowering(
        make=module,
        batch_axis=BatchAxis.SEQUENCES,
        modules={nn.MultiheadAttention: ATTRIBUTES},
    ),
)
