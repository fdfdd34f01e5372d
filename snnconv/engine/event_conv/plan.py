"""Operations on merged time steps: by events where that is faster, else as the network does.

Under ``auto`` the choice is a fact of the layer's shape and of the rates that calibration expects,
never of those that a simulation sees (:mod:`snnconv.engine.event_conv.sparsity`). ``event`` goes
by events
wherever that is possible, ``dense`` never does.

Shape:
    ``[T*B, *N] -> [T*B, *M]``.
"""

import functools
import math
import platform
from collections.abc import Callable, Mapping, Set
from typing import Any, Literal, cast

import torch
from torch import Tensor

from snnconv.config.base import Engine
from snnconv.engine.event_conv.bit_plan import pools
from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.event_conv.deferred import EventDriven
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.network import Network, attributes
from snnconv.graph.operations.pooling import AvgPool
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal

Path = Literal["once", "mean", "dense", "event"]
"""How a layer is computed: once, its input being constant or the mean over time that neurons behind
want, or at each step, in one of two ways."""

_PLANES = (1, 2)
"""Dimensions of a convolution that goes by events; a linear layer is one of a single place."""


class Layouts:
    """Convolutions laid out for events: made when they are asked for, again when weights change."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], tuple[tuple[Any, ...], EventDriven]] = {}

    def of(
        self, network: Network, node: Node, values: Tensor | Packed | None = None
    ) -> EventDriven:
        """Of a node that goes by events, for spikes in bits where the values are."""
        weight, bias = _operands(network, node)
        now: tuple[Any, ...] = tuple(
            (x.data_ptr(), x._version) for x in (weight, bias) if x is not None
        )
        packed = values if isinstance(values, Packed) else None
        if packed is not None:
            now += (packed.amplitude.tobytes(),)
        key = node.name, packed is not None
        known, made = self._made.get(key, (None, None))
        if made is None or known != now:
            amplitude = None if packed is None else torch.from_numpy(packed.amplitude)
            made = _laid_out(node, weight, bias, amplitude)
            self._made[key] = (now, made)
        return made


def _operands(network: Network, node: Node) -> tuple[Tensor, Tensor | None]:
    """Weight and bias."""
    bias = network.tensor(node.tensors["bias"]) if "bias" in node.tensors else None
    return network.tensor(node.tensors["weight"]), bias


def _laid_out(
    node: Node, weight: Tensor, bias: Tensor | None, amplitude: Tensor | None = None
) -> EventDriven:
    convolution = event_driven()
    assert convolution is not None
    if node.op == "linear":
        return convolution(weight[:, :, None, None], bias)
    attrs = attributes(node, Conv)
    window = [tuple(each) for each in (attrs.stride, attrs.padding, attrs.dilation)]
    if weight.dim() == 3:  # one dimension: a picture of one line
        weight = weight[:, :, None]
        window = [(neutral, *of) for neutral, of in zip((1, 0, 1), window, strict=True)]
    return convolution(weight, bias, *window, attrs.groups, amplitude)


def compute(
    network: Network,
    node: Node,
    inputs: list[Tensor],
    rate: float | None,
    engine: Engine,
    layouts: Layouts,
) -> Tensor:
    """A node's value, and in training the way back.

    Args:
        network: whose node it is.
        node: any but a site.
        inputs: of the node.
        rate: as :func:`path` takes it.
        engine: whether to go by events.
        layouts: of the network's convolutions.
    """
    learns = torch.is_grad_enabled()
    if not learns and rate is not None and engine != "dense" and _pools(node, inputs[0]):
        from snnconv.engine.event_conv.pool import Pool

        return Pool.of(attributes(node, AvgPool))(inputs[0])
    if path(network, node, rate, engine) != "event":
        return network.compute(node, inputs)
    if learns:
        return _learning(network, node, inputs[0], cast("float", rate), engine)
    convolve, x = layouts.of(network, node), inputs[0]
    if node.op == "linear":
        *rows, features = x.shape
        return convolve(x.reshape(-1, features, 1, 1)).reshape(*rows, convolve.outputs)
    return convolve(x) if x.dim() == 4 else convolve(x[:, :, None])[:, :, 0]


def _learning(network: Network, node: Node, x: Tensor, rate: float, engine: Engine) -> Tensor:
    """A convolution in training, by events; its weights' gradient, too, if that is faster."""
    from snnconv.engine.event_conv.autograd import convolve
    from snnconv.engine.event_conv.events import Window

    weight, bias = _operands(network, node)
    attrs = attributes(node, Conv)
    stride, padding, dilation = (
        cast("tuple[int, int]", tuple(each))
        for each in (attrs.stride, attrs.padding, attrs.dilation)
    )
    sparse = engine == "event" or rate < _break_even_back(node, weight.shape)
    window = Window(stride, padding, dilation, attrs.groups)
    return convolve(x, weight, bias, window, sparse)


def _pools(node: Node, x: Tensor) -> bool:
    """Whether it is an average pool of spikes that lie as the kernel wants them."""
    return (
        node.op == "avg_pool"
        and pools(node)
        and x.dtype is torch.float32
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
        and event_driven() is not None
    )


def path(network: Network, node: Node, rate: float | None, engine: Engine) -> Path:
    """Which way a node goes where its inputs change over time, in inference or in training.

    Args:
        network: whose node it is.
        node: any but a site.
        rate: the share of its inputs that is expected to be nonzero at a step; none where they
            are no spikes.
        engine: whether to go by events.
    """
    if rate is None or engine == "dense" or node.op not in ("conv", "linear"):
        return "dense"
    weight = network.tensor(node.tensors["weight"])
    planes = weight.dim() - 2
    if torch.is_grad_enabled():
        fits = planes == 2 and not torch.is_autocast_enabled("cpu")
    else:
        fits = planes in (0, *_PLANES)
    possible = (
        fits
        and weight.dtype is torch.float32
        and weight.device.type == "cpu"
        and event_driven() is not None
    )
    wanted = engine == "event" or rate < _break_even(node, weight.shape)
    return "event" if possible and wanted else "dense"


def images_by_events(
    network: Network, among: Set[str], rates: Mapping[str, float | None], engine: Engine
) -> frozenset[str]:
    """Those of some nodes that are convolutions of images and go by events in inference."""
    convolutions = (
        node
        for node in network.graph.nodes
        if node.name in among
        and node.op == "conv"
        and network.tensor(node.tensors["weight"]).dim() == 4
    )
    return frozenset(
        node.name
        for node in convolutions
        if path(network, node, rates[node.name], engine) == "event"
    )


def _break_even(node: Node, shape: torch.Size) -> float:
    """The share of nonzero inputs up to which events win, as measured on one core with AVX2.

    A spike has a fixed cost, which must be small against its additions, and a dense convolution
    reaches its full speed only with many channels.
    """
    outputs, inputs, *window = shape
    if node.op == "linear":
        wide = outputs >= 128 and inputs >= 512
        return 0.15 if wide and outputs * inputs <= _CACHED else 0.0
    attrs = attributes(node, Conv)
    if len(shape) != 4 or attrs.groups != 1:
        return 0.0
    if set(attrs.stride) != {1} or math.prod(window) == 1:
        return 0.3 if inputs >= 32 and outputs >= 64 else 0.0
    return next((most for least, most in _STEPS if min(inputs, outputs) >= least), 0.0)


def _break_even_back(node: Node, shape: torch.Size) -> float:
    """The same for the gradient of the weights of a convolution that goes by events."""
    outputs, inputs, *window = shape
    least = min(outputs, inputs)
    if set(attributes(node, Conv).stride) != {1} or math.prod(window) == 1:
        return 0.1 if least >= 64 and math.prod(window) > 1 else 0.0
    return next((most for number, most in _STEPS_BACK if least >= number), 0.0)


_CACHED = 1 << 21  # weights of which a spike finds its own in the cache: 8 MB

_STEPS = ((64, 0.4), (32, 0.25), (16, 0.2))
_STEPS_BACK = ((64, 0.3), (32, 0.2), (16, 0.15))
"""Channels, and what :func:`_break_even` and :func:`_break_even_back` are from there."""


def paths(
    network: Network,
    analysis: Analysis,
    rates: Mapping[str, float | None],
    engine: Engine,
    once: Set[str],
) -> dict[str, Path]:
    """Which way each layer with weights goes, in inference or in training.

    Args:
        network: whose layers they are.
        analysis: of its graph.
        rates: of each node's inputs, as :func:`path` takes it.
        engine: whether to go by events.
        once: the nodes whose inputs do not change over time.
    """

    def way(node: Node) -> Path:
        if analysis.signals[node.name] is Signal.CONSTANT:
            return "once"
        if node.name in once:
            return "mean"
        return path(network, node, rates[node.name], engine)

    return {n.name: way(n) for n in network.graph.nodes if OPS[n.op].role is Role.SYNAPSE}


@functools.cache
def event_driven() -> Callable[..., EventDriven] | None:
    """Lays out a convolution, where numba can be imported and vectors are wide enough."""
    wide = platform.machine() in ("arm64", "aarch64")
    if not wide and not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return None
    try:
        from snnconv.engine.event_conv.events import laid_out
    except ImportError:
        return None
    return laid_out
