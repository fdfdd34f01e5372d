"""Operations on merged time steps: by events where that is faster, else as the network does.

The choice is a fact of the layer's shape, never of its rates: it may not depend on what stands in
a batch, since the two ways round differently in the last bit.

Shape:
    ``[T*B, *N] -> [T*B, *M]``.
"""

import functools
import platform
from collections.abc import Callable

import torch
from torch import Tensor

from snnconv.graph.build import Network
from snnconv.graph.ir import Node

_INPUTS, _OUTPUTS = 32, 64
"""Channels from which on events win at every rate below a fifth, or a quarter of all neurons."""


def compute(network: Network, node: Node, inputs: list[Tensor], spikes: bool) -> Tensor:
    """A node's value.

    Args:
        network: whose node it is.
        node: any but a site.
        inputs: of the node.
        spikes: whether they are spikes, which are sparse.
    """
    convolve = event_driven() if spikes and fits(network, node, inputs[0]) else None
    if convolve is None:
        return network.compute(node, inputs)
    stride, padding, dilation = (
        tuple(node.attrs[key]) for key in ("stride", "padding", "dilation")
    )
    weight, bias = (
        network.tensor(node.tensors[role]) if role in node.tensors else None
        for role in ("weight", "bias")
    )
    return convolve(inputs[0], weight, bias, stride, padding, dilation)


def fits(network: Network, node: Node, values: Tensor) -> bool:
    """Whether a node is one that events are faster for."""
    if node.op != "conv" or values.dim() != 4 or node.attrs["groups"] != 1:
        return False
    outputs, channels, *_ = network.tensor(node.tensors["weight"]).shape
    return (
        channels >= _INPUTS
        and outputs >= _OUTPUTS
        and outputs % 16 == 0
        and values.dtype is torch.float32
        and values.device.type == "cpu"
        and not torch.is_grad_enabled()
    )


@functools.cache
def event_driven() -> Callable[..., Tensor] | None:
    """The event-driven convolution, where numba can be imported and vectors are wide enough."""
    wide = platform.machine() in ("arm64", "aarch64")
    if not wide and "AVX" not in torch.backends.cpu.get_cpu_capability():
        return None
    try:
        from snnconv.engine.events import convolve
    except ImportError:
        return None
    return convolve
