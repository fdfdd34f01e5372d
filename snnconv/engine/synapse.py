"""Operations on merged time steps: by events where that is faster, else as the network does.

Under ``auto`` the choice is a fact of the layer's shape, never of its rates: it may not depend on
what stands in a batch, since the two ways round differently in the last bit. ``event`` goes by
events wherever that is possible, ``dense`` never does.

Shape:
    ``[T*B, *N] -> [T*B, *M]``.
"""

import functools
import platform
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from snnconv.graph.build import Network
from snnconv.graph.ir import Node
from snnconv.graph.ops import OPS, Role
from snnconv.graph.roles import Carries

Engine = Literal["auto", "dense", "event"]
"""Where to go by events: where a layer's shape says it is faster, nowhere, or wherever possible."""

Path = Literal["once", "dense", "event"]
"""How a layer is computed: once, its input being constant, or at each step, in one of two ways."""

_INPUTS, _OUTPUTS = 32, 64
"""Channels from which on events win at every rate below a fifth, or a quarter of all neurons."""


def compute(
    network: Network, node: Node, inputs: list[Tensor], spikes: bool, engine: Engine = "auto"
) -> Tensor:
    """A node's value.

    Args:
        network: whose node it is.
        node: any but a site.
        inputs: of the node.
        spikes: whether they are spikes, which are sparse.
        engine: whether to go by events.
    """
    if torch.is_grad_enabled() or path(network, node, spikes, engine) != "event":
        return network.compute(node, inputs)
    convolve = event_driven()
    assert convolve is not None
    stride, padding, dilation = (
        tuple(node.attrs[key]) for key in ("stride", "padding", "dilation")
    )
    weight, bias = (
        network.tensor(node.tensors[role]) if role in node.tensors else None
        for role in ("weight", "bias")
    )
    return convolve(inputs[0], weight, bias, stride, padding, dilation)


def path(network: Network, node: Node, spikes: bool, engine: Engine) -> Path:
    """Which way a node goes in inference, where its inputs change over time."""
    if not spikes or engine == "dense" or node.op != "conv" or node.attrs["groups"] != 1:
        return "dense"
    weight = network.tensor(node.tensors["weight"])
    outputs, inputs = weight.shape[:2]
    possible = (
        weight.dim() == 4
        and outputs % 16 == 0
        and weight.dtype is torch.float32
        and weight.device.type == "cpu"
        and event_driven() is not None
    )
    faster = inputs >= _INPUTS and outputs >= _OUTPUTS
    return "event" if possible and (faster or engine == "event") else "dense"


def paths(network: Network, kinds: Mapping[str, Carries], engine: Engine) -> dict[str, Path]:
    """Which way each layer with weights goes in inference.

    Args:
        kinds: what each node carries.
    """

    def way(node: Node) -> Path:
        if kinds[node.name] is Carries.CONSTANT:
            return "once"
        return path(network, node, all(kinds[x] is Carries.SPIKES for x in node.inputs), engine)

    return {n.name: way(n) for n in network.graph.nodes if OPS[n.op].role is Role.SYNAPSE}


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
