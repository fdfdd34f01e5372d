"""Normalisations, and the affine map that a folded BatchNorm becomes.

Shape:
    ``[B, C, *N] -> [B, C, *N]``.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.graph.operations.base import (
    Attributes,
    Ceiling,
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
    TensorShapes,
    any_shape,
    kept,
    of_channels,
    passed,
)
from snnconv.graph.operations.work import Work, a_product, each_value

MOMENTUM = 0.1
"""Momentum of a BatchNorm whose graph states none: older checkpoints, which trained with it."""


class BatchNorm(Attributes):
    """Attributes of a BatchNorm."""

    eps: Small = Field(description="added to the variance")
    momentum: Share | None = Field(
        MOMENTUM,
        description="share of a batch in the running statistics; null: they are a mean of all",
    )
    scale: Ceiling = Field(1.0, description="factor of what is normalised, before the weight")


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


def factor(attrs: BatchNorm, tensors: Tensors) -> Tensor | None:
    """Return what a normalised value is multiplied by, ``[C]``: the weight and the scale."""
    weight = tensors.get("weight")
    if attrs.scale == 1:
        return weight
    return attrs.scale * (torch.ones_like(tensors["var"]) if weight is None else weight)


def _batch_norm(attrs: BatchNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.batch_norm(
        inputs[0],
        tensors["mean"],
        tensors["var"],
        factor(attrs, tensors),
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
    """Return one number, one a channel, or a tensor of a sample's rank, as they broadcast."""
    if values.dim() > 1:
        return values[None]
    return per_neuron(values, like.dim())


def _affine(attrs: Affine, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x * _for_samples(tensors["scale"], x) + _for_samples(tensors["shift"], x)


def _over_steps(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return what the value is on average over the steps."""
    return inputs[0] * tensors["scale"].mean()


def _fits_steps(attrs: Attributes, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    if tensors["scale"].dim() != 1 or not len(tensors["scale"]):
        return f"factors of shape {list(tensors['scale'].shape)}, where there is one for each step"
    return None


def _layer_norm(attrs: LayerNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    shape = tuple(attrs.shape)
    return F.layer_norm(inputs[0], shape, tensors.get("weight"), tensors.get("bias"), attrs.eps)


def _over_last_axes(attrs: LayerNorm | RmsNorm, changed: list[Tensor]) -> Tensor:
    """Return the groups of the last axes in which something has changed."""
    return changed[0].flatten(-len(attrs.shape)).amax(-1)


def _normalised(values: int, groups: int, tensors: Mapping[str, Shape]) -> Work:
    """Work of a group of n: its mean, n differences and squares, 1/sqrt of their mean, n products.

    A weight is a product more, in which the bias is added.
    """
    weighted = values if "weight" in tensors else 0
    added = values if "bias" in tensors and not weighted else 0
    return Work(
        macs=2 * values + 2 * groups + weighted,
        lookups=groups,
        additions=2 * values - groups + added,
    )


def _layer_norm_work(
    attrs: LayerNorm, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    values = math.prod(output)
    return _normalised(values, values // math.prod(attrs.shape), tensors)


def _layer_norm_recomputed(attrs: LayerNorm, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    return _over_last_axes(attrs, changed)


def _rms_norm_work(
    attrs: RmsNorm, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Work of a group of n: n squares, 1/sqrt of their mean, n products; n more with a weight."""
    values = math.prod(output)
    groups = values // math.prod(attrs.shape)
    weighted = values if "weight" in tensors else 0
    return Work(macs=2 * values + groups + weighted, lookups=groups)


def _rms_norm_recomputed(attrs: RmsNorm, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    return _over_last_axes(attrs, changed)


def _rms_norm(attrs: RmsNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return ``x / sqrt(mean(x**2) + eps) * weight``, with the mean over the last axes."""
    return F.rms_norm(inputs[0], attrs.shape, tensors.get("weight"), attrs.eps)


def _group_norm(attrs: GroupNorm, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the GroupNorm; with groups of one channel it is an InstanceNorm."""
    weight, bias = tensors.get("weight"), tensors.get("bias")
    # unlike its functional form it takes one sample of one place
    return torch.group_norm(inputs[0], attrs.groups, weight, bias, attrs.eps)


def _group_norm_work(
    attrs: GroupNorm, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    return _normalised(math.prod(output), attrs.groups, tensors)


def _group_norm_recomputed(attrs: GroupNorm, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    """Return the groups in which something has changed."""
    return changed[0].reshape(len(changed[0]), attrs.groups, -1).amax(-1)


def _fits_groups(attrs: GroupNorm, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    return of_channels(shapes[0], tensors)


def _local_response_norm(
    attrs: LocalResponseNorm, tensors: Tensors, inputs: list[Tensor]
) -> Tensor:
    """Return ``x / (k + alpha*mean(x**2))**beta``; the mean is over ``size`` channels around x.

    If ``size`` is even, the window has one more channel before than behind. Channels beyond the
    first and the last count as zeros.
    """
    (x,) = inputs
    means = _around(attrs, x.square()).mean(-1).transpose(1, -1)
    scale: Tensor = (attrs.k + attrs.alpha * means) ** attrs.beta
    return x / scale


def _around(attrs: LocalResponseNorm, x: Tensor) -> Tensor:
    """Return each channel's window, which has become the last axis but one: ``[B, *, C, size]``."""
    size = attrs.size
    return F.pad(x.transpose(1, -1), (size // 2, (size - 1) // 2)).unfold(-1, size, 1)


def _local_response_norm_work(
    attrs: LocalResponseNorm, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Work of each value: a square, the sum of the window, a line, a power by table, a product."""
    values = math.prod(output)
    return Work(macs=3 * values, lookups=values, additions=(attrs.size - 1) * values)


def _local_response_norm_recomputed(
    attrs: LocalResponseNorm, tensors: Tensors, changed: list[Tensor]
) -> Tensor:
    """Return the values in whose window something has changed."""
    return _around(attrs, changed[0]).amax(-1)


def _affine_shape(attrs: Affine, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the input's shape, if there is one number, one a channel, or one a value."""
    (shape,) = inputs
    return shape if shape and set(tensors.values()) <= {(1,), shape[:1], shape} else None


def _last_axes_shape(
    attrs: LayerNorm | RmsNorm, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the input's shape, if its last axes are those of the norm and of its tensors."""
    (shape,), last = inputs, tuple(attrs.shape)
    return shape if {shape[-len(last) :], *tensors.values()} == {last} else None


def _group_norm_shape(
    attrs: GroupNorm, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the input's shape, if its channels are groups of one size."""
    (shape,) = inputs
    return None if not shape or shape[0] % attrs.groups else shape


def _local_response_norm_shape(
    attrs: LocalResponseNorm, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the input's shape, if it has channels."""
    return inputs[0] or None


OPERATIONS = (
    Op(
        name="batch_norm",
        role=Role.LINEAR,
        attributes=BatchNorm,
        value=_batch_norm,
        wiring=passed,
        rule=_fits_statistics,
        work=a_product,
        silence=Silence.NOWHERE,
        recomputed=each_value,
        required=("mean", "var"),
        optional=("weight", "bias", "batches"),
        asked=_number_of_batches,
        shape=kept,
    ),
    Op(
        name="affine",
        role=Role.LINEAR,
        attributes=Affine,
        value=_affine,
        wiring=passed,
        rule=any_shape,
        work=a_product,
        silence=Silence.UNSHIFTED,
        recomputed=each_value,
        required=("scale", "shift"),
        shape=_affine_shape,
    ),
    Op(
        name="step_scale",
        role=Role.STEPWISE,
        attributes=Attributes,
        value=_over_steps,
        wiring=passed,
        rule=_fits_steps,
        work=a_product,
        silence=Silence.NOWHERE,
        recomputed=each_value,
        required=("scale",),
        shape=kept,
    ),
    Op(
        name="layer_norm",
        role=Role.ANALOG,
        attributes=LayerNorm,
        value=_layer_norm,
        wiring=passed,
        rule=any_shape,
        work=_layer_norm_work,
        silence=Silence.NOWHERE,
        recomputed=_layer_norm_recomputed,
        optional=("weight", "bias"),
        shape=_last_axes_shape,
    ),
    Op(
        name="rms_norm",
        role=Role.ANALOG,
        attributes=RmsNorm,
        value=_rms_norm,
        wiring=passed,
        rule=any_shape,
        work=_rms_norm_work,
        silence=Silence.NOWHERE,
        recomputed=_rms_norm_recomputed,
        optional=("weight",),
        shape=_last_axes_shape,
    ),
    Op(
        name="group_norm",
        role=Role.ANALOG,
        attributes=GroupNorm,
        value=_group_norm,
        wiring=passed,
        rule=_fits_groups,
        work=_group_norm_work,
        silence=Silence.NOWHERE,
        recomputed=_group_norm_recomputed,
        optional=("weight", "bias"),
        shape=_group_norm_shape,
    ),
    Op(
        name="local_response_norm",
        role=Role.ANALOG,
        attributes=LocalResponseNorm,
        value=_local_response_norm,
        wiring=passed,
        rule=any_shape,
        work=_local_response_norm_work,
        silence=Silence.NOWHERE,
        recomputed=_local_response_norm_recomputed,
        shape=_local_response_norm_shape,
    ),
)
