"""Which layers go by events, and the computation of a layer on merged time steps.

Under ``auto`` the layer's shape and the rates that calibration expects decide, never the rates that
a simulation sees (:mod:`snnconv.engine.event_conv.sparsity`). ``event`` goes by events wherever
that is possible, ``dense`` never does.

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
from snnconv.engine.event_conv.values import EventDriven, Packed, Window, concatenated
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.network import Network, attributes
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal

Path = Literal["once", "mean", "dense", "event"]
"""How a layer is computed: once, because its input is constant; once, because the neurons behind it
want the mean over time; or at each step, dense or by events."""


class Layouts:
    """Convolutions laid out for events: made on demand, and made again when weights change."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], tuple[tuple[object, ...], EventDriven]] = {}

    def of(
        self, network: Network, node: Node, values: Tensor | Packed | None = None
    ) -> EventDriven:
        """Return the layout of a node that goes by events, for spikes in bits if the values are."""
        weight, bias = _operands(network, node)
        now: tuple[object, ...] = tuple(
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
    """Return the weight and the bias of a node."""
    bias = network.tensor(node.tensors["bias"]) if "bias" in node.tensors else None
    return network.tensor(node.tensors["weight"]), bias


def _as_images(node: Node, weight: Tensor) -> tuple[Tensor, Window]:
    """Return a weight and its window in two dimensions; missing ones have the size 1."""
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
    """Compute a node's value from those of its inputs; in training, it can be differentiated.

    ``rate`` and ``engine`` choose the :func:`path`; ``layouts`` are those of the network.
    """
    if path(network, node, rate, engine) != "event":
        return network.compute(node, inputs)
    x = inputs[0]
    if torch.is_grad_enabled():
        from snnconv.engine.event_conv.training import convolve as learning

        weight, bias = _operands(network, node)
        weight_by_events = engine == "event" or (rate or 0.0) < _break_even_back(node, weight.shape)
        return learning(x, *_as_images(node, weight), bias, weight_by_events)
    convolve = layouts.of(network, node)
    if node.op == "linear":
        *rows, features = x.shape
        return convolve(x.reshape(-1, features, 1, 1)).reshape(*rows, convolve.outputs)
    return convolve(x) if x.dim() == 4 else convolve(x[:, :, None])[:, :, 0]


def path(network: Network, node: Node, rate: float | None, engine: Engine) -> Path:
    """Return how a node is computed if its inputs change over time, in inference or training.

    Args:
        network: the node's network.
        node: any node but a site.
        rate: the share of its inputs that is expected to be nonzero at a step; None if the inputs
            are not spikes.
        engine: the engine that the user chose.
    """
    if rate is None or engine == "dense" or node.op not in ("conv", "linear"):
        return "dense"
    weight = network.tensor(node.tensors["weight"])
    planes = weight.dim() - 2
    if torch.is_grad_enabled():
        fits = planes == 2 and not torch.is_autocast_enabled("cpu")
    else:
        fits = planes <= 2  # of no dimension: a linear layer, which is one place of an image
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
    """Return those nodes that are convolutions of images and go by events in inference."""
    return frozenset(
        node.name
        for node in network.graph.nodes
        if node.name in among
        and node.op == "conv"
        and network.tensor(node.tensors["weight"]).dim() == 4
        and path(network, node, rates[node.name], engine) == "event"
    )


def _break_even(node: Node, shape: torch.Size) -> float:
    """Return the share of nonzero inputs up to which events are faster, on one core with AVX2.

    A spike has a fixed cost, which must be small compared to its additions, and a dense convolution
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
    """Return the same for the gradient of the weights, whose dense computation is faster."""
    steps = set(attributes(node, Conv).stride)
    return 0.75 * _break_even(node, shape) if steps == {1} and math.prod(shape[2:]) > 1 else 0.0


_CACHED = 1 << 21  # the most weights that stay in the cache: 8 MB

_STEPS = ((64, 0.4), (32, 0.25), (16, 0.2))
"""A number of channels, and :func:`_break_even` of layers with at least so many."""


def paths(
    network: Network,
    analysis: Analysis,
    rates: Mapping[str, float | None],
    engine: Engine,
    once: Set[str],
) -> dict[str, Path]:
    """Return how each layer with weights is computed, in inference or in training.

    ``rates`` and ``engine`` are those of :func:`path`; ``once`` are the nodes whose inputs do not
    change over time.
    """

    def way(node: Node) -> Path:
        if analysis.signals[node.name] is Signal.CONSTANT:
            return "once"
        if node.name in once:
            return "mean"
        return path(network, node, rates[node.name], engine)

    return {n.name: way(n) for n in network.graph.nodes if OPS[n.op].role is Role.SYNAPSE}


def deferrable(analysis: Analysis) -> frozenset[str]:
    """Return the convolutions and additions right before a site that have no other reader.

    An addition that broadcasts is not among them, because it is computed as a whole.
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
    """Return the sites whose spikes are wanted as bits, because all their readers take bits.

    Convolutions by events and additions to their currents take bits, and so does a concatenation
    whose readers all take bits. All other readers take float32.

    Args:
        analysis: the analysis of the network.
        deferred: the nodes that :func:`deferrable` found.
        by_events: the convolutions of images among them that go by events.
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
            or (node.name in deferred and not by_events.isdisjoint(node.inputs))
            or (node.op == "concat" and taken and _joins(node) and sites.issuperset(node.inputs))
        ):
            takes.add(node.name)
    return frozenset(found)


def of_bits(node: Node, inputs: Sequence[Tensor | Packed]) -> Packed | None:
    """Return the value of an operation on bits; None if the operation needs float32."""
    bits = [value for value in inputs if isinstance(value, Packed)]
    all_bits = 0 < len(bits) == len(inputs)
    return concatenated(bits) if all_bits and node.op == "concat" and _joins(node) else None


def _joins(node: Node) -> bool:
    """Whether a concatenation joins channels."""
    return attributes(node, Along).dim == 1


@functools.cache
def event_driven() -> Callable[..., EventDriven] | None:
    """Return the function that lays out a convolution; None without numba or wide vectors."""
    wide = platform.machine() in ("arm64", "aarch64")
    if not wide and not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return None
    try:
        from snnconv.engine.event_conv.events import laid_out
    except ImportError:
        return None
    return laid_out
