"""Identities outside training: dropouts, copies, changes of type or layout."""

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.call import Call, spelled
from snnconv.frontends.lowering.contract import (
    BatchAxis,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
    in_place,
)
from snnconv.frontends.lowering.functions import float32
from snnconv.frontends.lowering.sequences import whole
from snnconv.graph.operations.wiring import Dropout


def identity(shape: Shape, x: object, memory_format: object = None) -> NodeSpec:
    """Return the value itself, perhaps in another layout."""
    return NodeSpec("identity", [activation(x)])


def dropout(
    shape: Shape, x: object, p: float = 0.5, training: bool = True, inplace: bool = False
) -> NodeSpec:
    """Lower dropout: the identity outside training."""
    if training:
        raise Refused("dropout that is on outside training: pass training=self.training")
    return NodeSpec("dropout", [activation(x)], Dropout(p=p))


def stochastic_depth(
    shape: Shape, x: object, p: float, mode: str, training: bool = True
) -> NodeSpec:
    """Lower torchvision's dropout of whole branches: the identity outside training."""
    return dropout(shape, x, p, training)


def aten_identity(shape: Shape, x: object, *to: object, **options: object) -> NodeSpec:
    """Lower a copy or cast; a given type or layout has to be the one that everything has.

    Tokens may become whole numbers, because they are whole, and comparisons stay 0 or 1.
    """
    for value in (*to, *options.values()):
        if value is torch.bool and activation(x).mask:
            continue
        if value in (torch.int64, torch.int32):
            return whole(shape, x)
        if isinstance(value, torch.dtype):
            float32(value)
    return identity(shape, x)


def onnx_dropout(call: Call) -> NodeSpec:
    """Lower ``Dropout``: the identity outside training."""
    if call.number("training_mode", 0, 2) or call.read > 1:
        raise Refused("dropout that is on outside training, or gives its mask")
    return dropout((), call.x, call.number("ratio", 0.5, 1), training=False)


_FLOATS = (1, 10, 11, 16)  # TensorProto's float32, float16, float64 and bfloat16


_BOOL = 9
_WHOLE = (6, 7)  # int32, int64


def onnx_cast(call: Call) -> NodeSpec:
    """Lower ``Cast`` to floats; tokens become whole numbers, and comparisons stay 0 or 1."""
    if call.texts and call.attrs.get("to") in _WHOLE:
        return whole((), call.x)
    if call.attrs.get("to") == _BOOL and call.x.mask:
        return identity((), call.x)
    if call.attrs.get("to") not in _FLOATS:
        raise Refused("a cast to something other than floats")
    return identity((), call.x)


def onnx_cast_like(call: Call) -> NodeSpec | Stored:
    """Return the value as floats, because the other operand has floats."""
    x, like = call.operand(0), call.operand(1)
    if isinstance(like, Stored) and not like.value.is_floating_point():
        raise Refused("a cast to something other than floats")
    return Stored("", x.value.float()) if isinstance(x, Stored) else identity((), call.x)


LOWERINGS = (
    Lowering(
        make=identity,
        batch_axis=BatchAxis.MOVES,
        modules={nn.Identity: ()},
        functions=(torch.clone, torch.real),
        methods=("clone", "contiguous", "detach", "float", "data", "real"),
    ),
    Lowering(
        make=aten_identity,
        batch_axis=BatchAxis.EACH,
        aten=(
            *("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "real"),
            *("to.dtype", "to.dtype_layout", "to.device", "_to_copy", "type_as"),
        ),
        onnx={
            "Identity": Onnx(spelled(identity)),
            "Cast": Onnx(onnx_cast),
            "CastLike": Onnx(onnx_cast_like),
        },
    ),
    Lowering(
        make=dropout,
        batch_axis=BatchAxis.EACH,
        modules=dict.fromkeys(
            (
                *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
                *(nn.AlphaDropout, nn.FeatureAlphaDropout),
            ),
            ("p", "training"),
        ),
        functions=(
            *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout),
            *(F.alpha_dropout, F.feature_alpha_dropout),
        ),
        aten=in_place("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
        onnx={"Dropout": Onnx(onnx_dropout)},
    ),
    Lowering(
        make=stochastic_depth,
        batch_axis=BatchAxis.FIRST,
        named=("torchvision.ops.stochastic_depth.stochastic_depth",),
    ),
)
