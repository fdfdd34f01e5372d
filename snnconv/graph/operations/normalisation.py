"""Normalisations, and the affine map that a folded BatchNorm becomes.

Shape:
    ``[B, C, *N] -> [B, C, *N]``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    Attributes,
    Flag,
    Number,
    Op,
    Role,
    Shape,
    Share,
    Silence,
    Size,
    Sizes,
    Small,
    Tensors,
    any_shape,
    no_macs,
    of_channels,
    one_a_value,
    passed,
)

MOMENTUM = 0.1
"""Momentum of a BatchNorm whose graph states none: older checkpoints, which trained with it."""


class BatchNorm(Attributes):
    """Attributes of a BatchNorm."""

    eps: Small = Field(description="added to the variance")
    momentum: Share | None = Field(
        MOMENTUM,
        description="share of a batch in the running statistics; null: they are a mean of all",
    )


class Affine(Attributes):
    """Attributes of a line."""

    fixed: Flag = Field(False, description="training leaves its tensors as they are")


class LayerNorm(Attributes):
    """Attributes of a LayerNorm."""

    shape: Sizes = Field(description="the last axes, which it goes over")
    eps: Small = Field(description="added to the variance")


class RmsNorm(Attributes):
    """Attributes of an RMSNorm."""

    shape: Sizes = Field(description="the last axes, which it goes over")
    eps: Small = Field(description="added to the mean square")


class GroupNorm(Attributes):
    """Attributes of a GroupNorm."""

    groups: Size = Field(description="groups of channels")
    eps: Small = Field(description="added to the variance")


class LocalResponseNorm(Attributes):
    """Attributes of a local response normalisation."""

    size: Size = Field(description="channels around each")
    alpha: Number = Field(description="factor of their mean square")
    beta: Number = Field(description="exponent")
    k: Number = Field(description="summand")


def _batch_norm(attrs: BatchNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.batch_norm(
        inputs[0],
        tensors["mean"],
        tensors["var"],
        tensors.get("weight"),
        tensors.get("bias"),
        training=False,
        eps=attrs.eps,
    )


def _number_of_batches(attrs: BatchNorm) -> tuple[str, ...]:
    return ("batches",) if attrs.momentum is None else ()


def _fits_statistics(attrs: BatchNorm, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    own = {role: tensor for role, tensor in tensors.items() if role != "batches"}
    if wrong := of_channels(shapes[0], own):
        return wrong
    if "batches" in tensors and tensors["batches"].dim():
        return f"a number of batches of shape {list(tensors['batches'].shape)}"
    return None


def _for_samples(values: Tensor, like: Tensor) -> Tensor:
    """One number for all, one a channel, or, with the rank of a sample, as they broadcast."""
    if values.dim() > 1:
        return values[None]
    return values.reshape(1, -1, *[1] * (like.dim() - 2))


def _affine(attrs: Affine, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x * _for_samples(tensors["scale"], x) + _for_samples(tensors["shift"], x)


def _layer_norm(attrs: LayerNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    shape = tuple(attrs.shape)
    return F.layer_norm(inputs[0], shape, tensors.get("weight"), tensors.get("bias"), attrs.eps)


def _rms_norm(attrs: RmsNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """``x / sqrt(mean(x**2) + eps) * weight``, the mean over the last axes."""
    return F.rms_norm(inputs[0], attrs.shape, tensors.get("weight"), attrs.eps)


def _group_norm(attrs: GroupNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """GroupNorm; with groups of one channel it is InstanceNorm."""
    weight, bias = tensors.get("weight"), tensors.get("bias")
    # unlike its functional form it takes one sample of one place
    return torch.group_norm(inputs[0], attrs.groups, weight, bias, attrs.eps)


def _fits_groups(attrs: GroupNorm, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    return of_channels(shapes[0], tensors)


def _local_response_norm(
    attrs: LocalResponseNorm, tensors: Tensors, inputs: list[Tensor]
) -> Tensor:
    """``x / (k + alpha*mean(x**2))**beta``, the mean over ``size`` channels around each.

    If ``size`` is even, the window has one more channel before than behind. Channels beyond the
    first and the last count as zeros.
    """
    (x,), size = inputs, attrs.size
    squares = F.pad(x.square().transpose(1, -1), (size // 2, (size - 1) // 2))
    means = squares.unfold(-1, size, 1).mean(-1).transpose(1, -1)
    scale: Tensor = (attrs.k + attrs.alpha * means) ** attrs.beta
    return x / scale


OPERATIONS = (
    Op(
        name="batch_norm",
        role=Role.LINEAR,
        attributes=BatchNorm,
        value=_batch_norm,
        wiring=passed,
        rule=_fits_statistics,
        macs=no_macs,
        silence=Silence.NOWHERE,
        required=("mean", "var"),
        optional=("weight", "bias", "batches"),
        asked=_number_of_batches,
    ),
    Op(
        name="affine",
        role=Role.LINEAR,
        attributes=Affine,
        value=_affine,
        wiring=passed,
        rule=any_shape,
        macs=no_macs,
        silence=Silence.UNSHIFTED,
        required=("scale", "shift"),
    ),
    Op(
        name="layer_norm",
        role=Role.ANALOG,
        attributes=LayerNorm,
        value=_layer_norm,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
        optional=("weight", "bias"),
    ),
    Op(
        name="rms_norm",
        role=Role.ANALOG,
        attributes=RmsNorm,
        value=_rms_norm,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
        optional=("weight",),
    ),
    Op(
        name="group_norm",
        role=Role.ANALOG,
        attributes=GroupNorm,
        value=_group_norm,
        wiring=passed,
        rule=_fits_groups,
        macs=one_a_value,
        silence=Silence.NOWHERE,
        optional=("weight", "bias"),
    ),
    Op(
        name="local_response_norm",
        role=Role.ANALOG,
        attributes=LocalResponseNorm,
        value=_local_response_norm,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
    ),
)
