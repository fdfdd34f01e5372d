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
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

import torch
from torch import Tensor

from snnconv.config.base import Engine
from snnconv.engine.event_conv.bit_spikes import Packed, concatenated
from snnconv.engine.event_conv.deferred import EventDriven
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.network import Network, attributes
from snnconv.graph.operations.base import Along
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
        laid_out, key = event_driven(), (node.name, packed is not None)
        known, made = self._made.get(key, (None, None))
        assert laid_out is not None
        if made is None or known != now:
            amplitude = None if packed is None else torch.from_numpy(packed.amplitude)
            weight, window = _as_images(node, weight)
            made = laid_out(weight, bias, window, amplitude)
            self._made[key] = (now, made)
        return made


def _operands(network: Network, node: Node) -> tuple[Tensor, Tensor | None]:
    """Weight and bias."""
    bias = network.tensor(node.tensors["bias"]) if "bias" in node.tensors else None
    return network.tensor(node.tensors["weight"]), bias


def _as_images(node: Node, weight: Tensor) -> tuple[Tensor, Any]:
    """A weight and its window in two dimensions: of one line, or of one place, if it has fewer."""
    from snnconv.engine.event_conv.events import Window

    if node.op == "linear":
        return weight[:, :, None, None], Window()
    attrs = attributes(node, Conv)
    window: list[Any] = [tuple(each) for each in (attrs.stride, attrs.padding, attrs.dilation)]
    if weight.dim() == 3:
        weight = weight[:, :, None]
        window = [(neutral, *of) for neutral, of in zip((1, 0, 1), window, strict=True)]
    return weight, Window(window[0], window[1], window[2], attrs.groups)


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
    if path(network, node, rate, engine) != "event":
        return network.compute(node, inputs)
    x = inputs[0]
    if torch.is_grad_enabled():
        from snnconv.engine.event_conv.training import convolve as learning

        weight, bias = _operands(network, node)
        return learning(x, *_as_images(node, weight), bias)
    convolve = layouts.of(network, node)
    if node.op == "linear":
        *rows, features = x.shape
        return convolve(x.reshape(-1, features, 1, 1)).reshape(*rows, convolve.outputs)
    return convolve(x) if x.dim() == 4 else convolve(x[:, :, None])[:, :, 0]


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


_CACHED = 1 << 21  # weights of which a spike finds its own in the cache: 8 MB

_STEPS = ((64, 0.4), (32, 0.25), (16, 0.2))
"""Channels, and what :func:`_break_even` is from there."""


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


def deferrable(analysis: Analysis) -> frozenset[str]:
    """Convolutions and additions that stand right before a site and have no other reader.

    An addition that broadcasts is not among them: it is computed as a whole.
    """
    found: set[str] = set()
    for node in reversed(analysis.graph.nodes):
        behind = analysis.readers[node.name]
        if (
            len(behind) != 1
            or node.name == analysis.graph.output
            or node.op not in ("conv", "add")
            or (node.op == "add" and len({analysis.shapes[name] for name in node.inputs}) > 1)
        ):
            continue
        (reader,) = behind
        if OPS[reader.op].role is Role.SITE or (reader.op == "add" and reader.name in found):
            found.add(node.name)
    return frozenset(found)


def bit_sites(analysis: Analysis, deferred: Set[str], by_events: Set[str]) -> frozenset[str]:
    """The sites whose spikes are wanted as bits: those all of whose readers take bits.

    Convolutions by events and additions to their currents do, and so does a concatenation all of
    whose readers do. Every other reader is given float32.

    Args:
        analysis: of the network.
        deferred: as :func:`deferrable` has it.
        by_events: those convolutions of images among it that go by events.
    """
    graph = analysis.graph
    sites = {site.name for site in graph.sites}
    takes: set[str] = set()
    found: set[str] = set()
    for node in reversed(graph.nodes):
        readers = [reader.name for reader in analysis.readers[node.name]]
        taken = node.name != graph.output and bool(readers) and takes.issuperset(readers)
        if OPS[node.op].role is Role.SITE:
            if taken:
                found.add(node.name)
        elif (
            node.name in by_events
            or (node.name in deferred and _adds_any(node, by_events))
            or (node.op == "concat" and taken and joins(node) and sites.issuperset(node.inputs))
        ):
            takes.add(node.name)
    return frozenset(found)


def _adds_any(node: Node, terms: Set[str]) -> bool:
    """Whether a node adds one of these to something."""
    return node.op == "add" and not terms.isdisjoint(node.inputs)


def of_bits(node: Node, inputs: Sequence[Tensor | Packed]) -> Packed | None:
    """The value of an operation on bits; none if it needs float32."""
    bits = [value for value in inputs if isinstance(value, Packed)]
    if not bits or len(bits) < len(inputs):
        return None
    if node.op == "concat" and joins(node):
        return concatenated(bits)
    return None


def joins(node: Node) -> bool:
    """Whether a concatenation is one of channels."""
    return attributes(node, Along).dim == 1


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
