"""A convolution of spikes in training: by events, as is the gradient of its weights.

PyTorch computes the gradient of the input, which is no sparser than that of the output, and that of
the weights if the dense way is faster.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnconv.engine.event_conv.events import Window, laid_out
from snnconv.engine.event_conv.weight_gradient import of_weight


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: Window,
        sparse: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window, ctx.sparse = window, sparse
        w = window
        return laid_out(weight, bias, w.stride, w.padding, w.dilation, w.groups)(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_w, of_bias = ctx.needs_input_grad[:3]
        w = ctx.window
        rest = (w.stride, w.padding, w.dilation, False, (0, 0), w.groups)
        wanted = (of_x, of_w and not ctx.sparse, of_bias)
        found = torch.ops.aten.convolution_backward(
            gradient, x, weight, [len(weight)], *rest, wanted
        )
        if of_w and ctx.sparse:
            of_weights = of_weight(weight.shape, w, x, gradient)
            found = (found[0], of_weights, found[2])
        return (*found, None, None)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, sparse: bool = True
) -> Tensor:
    """PyTorch's ``conv2d``, by events.

    Args:
        x: ``[N, C, H, W]``, mostly zeros.
        weight: ``[C_out, C/groups, kh, kw]``.
        bias: ``[C_out]``.
        window: of the convolution.
        sparse: whether the weight's gradient is found by events, too.
    """
    found: Tensor = _Convolve.apply(x, weight, bias, window, sparse)
    return found
