"""Normalisations, by the statistics of their input, or, for BatchNorm, by running statistics."""

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    BatchAxis,
    Extent,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    activation,
    batched,
    by_rank,
    stored,
    weights,
)
from snnconv.graph.operations.normalisation import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    RmsNorm,
)
from snnconv.graph.remedies import BATCH_FIRST


def batch_norm(
    shape: Shape,
    x: object,
    running_mean: object,
    running_var: object,
    weight: object = None,
    bias: object = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: object = None,
) -> NodeSpec:
    """Lower BatchNorm by its running statistics.

    With a momentum of None, training makes them the mean over all batches, and counts the batches.
    """
    if running_mean is None or training:
        raise Refused(
            "BatchNorm without running statistics", "train it with track_running_stats=True"
        )
    tensors = weights(mean=running_mean, var=running_var, weight=weight, bias=bias)
    if momentum is None:
        tensors["batches"] = stored("number of batches", num_batches_tracked)
    return NodeSpec("batch_norm", [activation(x)], BatchNorm(eps=eps, momentum=momentum), tensors)


def layer_norm(
    shape: Shape,
    x: object,
    normalized_shape: Extent,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
) -> NodeSpec:
    """Lower LayerNorm over the last axes."""
    attrs = LayerNorm(shape=_last_axes(shape, normalized_shape), eps=eps)
    return NodeSpec("layer_norm", [activation(x)], attrs, weights(weight=weight, bias=bias))


def rms_norm(
    shape: Shape,
    x: object,
    normalized_shape: Extent,
    weight: object = None,
    eps: float | None = None,
) -> NodeSpec:
    """Lower RMSNorm over the last axes; PyTorch's eps is that of float32 unless one is given."""
    given = torch.finfo(torch.float32).eps if eps is None else eps
    attrs = RmsNorm(shape=_last_axes(shape, normalized_shape), eps=given)
    return NodeSpec("rms_norm", [activation(x)], attrs, weights(weight=weight))


def _last_axes(shape: Shape, normalized_shape: Extent) -> list[int]:
    """Return the axes that a normalisation goes over."""
    over = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    if len(over) >= len(shape):
        raise Refused("a normalisation over the batch", BATCH_FIRST)
    return over


def group_norm(
    shape: Shape,
    x: object,
    num_groups: int,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
) -> NodeSpec:
    """Lower GroupNorm."""
    attrs = GroupNorm(groups=num_groups, eps=eps)
    return NodeSpec("group_norm", [activation(x)], attrs, weights(weight=weight, bias=bias))


def instance_norm(
    shape: Shape,
    x: object,
    running_mean: object = None,
    running_var: object = None,
    weight: object = None,
    bias: object = None,
    use_input_stats: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    batches: object = None,
) -> NodeSpec:
    """Lower InstanceNorm: GroupNorm of single channels, or BatchNorm by running statistics."""
    if not use_input_stats:
        statistics = (running_mean, running_var)
        return batch_norm(shape, x, *statistics, weight, bias, False, momentum, eps, batches)
    return group_norm(shape, x, activation(x).shape[1], weight, bias, eps)


def instance_norm_module(
    rank: int,
    shape: Shape,
    x: object,
    running_mean: object,
    running_var: object,
    weight: object,
    bias: object,
    momentum: float | None,
    eps: float,
    num_batches_tracked: object,
) -> NodeSpec:
    """Lower an InstanceNorm module, by running statistics if it has some."""
    source, own = batched(x, rank), running_mean is None
    statistics, batches = (running_mean, running_var), num_batches_tracked
    return instance_norm(shape, source, *statistics, weight, bias, own, momentum, eps, batches)


def local_response_norm(
    shape: Shape,
    x: object,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> NodeSpec:
    """Divide each value by a power of the mean square of the channels around it."""
    source = activation(x)
    if len(source.shape) < 3:
        raise Refused(f"an input of shape [B, {', '.join(map(str, source.shape[1:]))}]")
    attrs = LocalResponseNorm(size=size, alpha=float(alpha), beta=float(beta), k=float(k))
    return NodeSpec("local_response_norm", [source], attrs)


def aten_batch_norm(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> NodeSpec:
    """Lower ATen's BatchNorm, which has weights before statistics."""
    return batch_norm(shape, x, mean, var, weight, bias, training, momentum, eps)


def aten_batch_norm_core(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    momentum: float,
    eps: float,
) -> list[NodeSpec]:
    """Lower the core set's BatchNorm, which also gives what it saved for a gradient."""
    return [batch_norm(shape, x, mean, var, weight, bias, False, momentum, eps)]


def aten_layer_norm(
    shape: Shape,
    x: object,
    normalized_shape: Extent,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> NodeSpec:
    """Lower ATen's LayerNorm."""
    return layer_norm(shape, x, normalized_shape, weight, bias, eps)


def aten_layer_norm_core(
    shape: Shape, x: object, normalized_shape: Extent, weight: object, bias: object, eps: float
) -> list[NodeSpec]:
    """Lower the core set's LayerNorm."""
    return [layer_norm(activation(x).shape, x, normalized_shape, weight, bias, eps)]


def aten_group_norm(
    shape: Shape,
    x: object,
    groups: int,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> NodeSpec:
    """Lower ATen's GroupNorm."""
    return group_norm(shape, x, groups, weight, bias, eps)


def aten_group_norm_core(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    samples: int,
    channels: int,
    places: int,
    groups: int,
    eps: float,
) -> list[NodeSpec]:
    """Lower the core set's GroupNorm, which also gives its statistics."""
    return [group_norm(activation(x).shape, x, groups, weight, bias, eps)]


def aten_instance_norm(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn: bool = True,
) -> NodeSpec:
    """Lower ATen's InstanceNorm, which has weights before statistics."""
    return instance_norm(shape, x, mean, var, weight, bias, use_input_stats, momentum, eps)


def onnx_batch_norm(call: Call) -> NodeSpec:
    """Lower BatchNorm by its running statistics."""
    if call.number("training_mode", 0) or call.read > 1:
        raise Refused("BatchNormalization in training mode")
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    mean, variance = call.tensor(3, "mean"), call.tensor(4, "variance")
    eps = call.number("epsilon", 1e-5)
    # ONNX gives the share of the old statistics, PyTorch and the graph that of the new ones
    momentum = round(1 - call.number("momentum", 0.9), 6)  # digits of a float32
    return batch_norm((), call.x, mean, variance, weight, bias, False, momentum, eps)


def onnx_layer_norm(call: Call) -> NodeSpec:
    """Lower LayerNorm over all axes from a given one on."""
    if call.read > 1:
        raise Refused("LayerNormalization that gives its statistics")
    x, weight, bias = call.x, call.tensor(1, "scale"), call.optional(2, "bias")
    over = x.shape[call.number("axis", -1) :]
    return layer_norm(x.shape, x, over, weight, bias, call.number("epsilon", 1e-5))


def onnx_rms_norm(call: Call) -> NodeSpec:
    """Lower RMSNorm over all axes from a given one on."""
    x, weight = call.x, call.tensor(1, "scale")
    over = x.shape[call.number("axis", -1) :]
    return rms_norm(x.shape, x, over, weight, call.number("epsilon", 1e-5))


def onnx_instance_norm(call: Call) -> NodeSpec:
    """Lower InstanceNorm."""
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    eps = call.number("epsilon", 1e-5)
    return instance_norm((), call.x, None, None, weight, bias, eps=eps)


def onnx_group_norm(call: Call) -> NodeSpec:
    """Lower GroupNorm with a scale for each channel."""
    x, groups = call.x, call.number("num_groups", 1)
    weight, bias = call.tensor(1, "scale"), call.tensor(2, "bias")
    return group_norm((), x, groups, weight, bias, call.number("epsilon", 1e-5))


def onnx_local_response_norm(call: Call) -> NodeSpec:
    """Lower LRN over the channels around each; nothing could check an even size: it is refused."""
    size = int(call.number("size", 0))
    if size % 2 == 0:
        raise Refused(f"a size of {size}: onnxruntime computes odd ones only")
    alpha, beta = call.number("alpha", 1e-4), call.number("beta", 0.75)
    return local_response_norm((), call.x, size, alpha, beta, call.number("bias", 1.0))


_BATCH_NORM = (
    *("running_mean", "running_var", "weight", "bias"),
    *("momentum", "eps", "num_batches_tracked"),
)

LOWERINGS = (
    Lowering(
        make=batch_norm,
        batch_axis=BatchAxis.FIRST,
        modules=dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _BATCH_NORM),
        functions=(F.batch_norm,),
        onnx={"BatchNormalization": Onnx(onnx_batch_norm)},
    ),
    Lowering(make=aten_batch_norm, batch_axis=BatchAxis.FIRST, aten=("batch_norm",)),
    Lowering(
        make=aten_batch_norm_core,
        batch_axis=BatchAxis.FIRST,
        aten=("_native_batch_norm_legit_no_training",),
    ),
    Lowering(
        make=layer_norm,
        batch_axis=BatchAxis.LAST,
        modules={nn.LayerNorm: ("normalized_shape", "weight", "bias", "eps")},
        functions=(F.layer_norm,),
        onnx={"LayerNormalization": Onnx(onnx_layer_norm)},
    ),
    Lowering(make=aten_layer_norm, batch_axis=BatchAxis.LAST, aten=("layer_norm",)),
    Lowering(make=aten_layer_norm_core, batch_axis=BatchAxis.LAST, aten=("native_layer_norm",)),
    Lowering(
        make=rms_norm,
        batch_axis=BatchAxis.LAST,
        modules={nn.RMSNorm: ("normalized_shape", "weight", "eps")},
        functions=(F.rms_norm, torch.rms_norm),
        aten=("rms_norm",),
        onnx={"RMSNormalization": Onnx(onnx_rms_norm)},
    ),
    Lowering(
        make=group_norm,
        batch_axis=BatchAxis.FIRST,
        modules={nn.GroupNorm: ("num_groups", "weight", "bias", "eps")},
        functions=(F.group_norm,),
        onnx={"GroupNormalization": Onnx(onnx_group_norm)},
    ),
    Lowering(make=aten_group_norm, batch_axis=BatchAxis.FIRST, aten=("group_norm",)),
    Lowering(make=aten_group_norm_core, batch_axis=BatchAxis.FIRST, aten=("native_group_norm",)),
    Lowering(
        make=instance_norm,
        batch_axis=BatchAxis.FIRST,
        functions=(F.instance_norm,),
        onnx={"InstanceNormalization": Onnx(onnx_instance_norm)},
    ),
    *by_rank(
        instance_norm_module,
        BatchAxis.FIRST,
        modules=(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        attributes=_BATCH_NORM,
    ),
    Lowering(make=aten_instance_norm, batch_axis=BatchAxis.FIRST, aten=("instance_norm",)),
    Lowering(
        make=local_response_norm,
        batch_axis=BatchAxis.FIRST,
        modules={nn.LocalResponseNorm: ("size", "alpha", "beta", "k")},
        functions=(F.local_response_norm,),
        onnx={"LRN": Onnx(onnx_local_response_norm)},
    ),
)
