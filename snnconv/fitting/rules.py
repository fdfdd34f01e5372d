"""Find everything in a network that does not fit the figures of a chip, each with a remedy.

A rule checks one figure. A figure that the target lacks is not checked.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snnconv.fitting.demand import OUTPUT, Demand, Layer, Pooling, Synapses
from snnconv.fitting.target import Figure, Target
from snnconv.graph.network import Shape

SMALLER = "take fewer channels, or split the layer into two of half of the channels each"
AVERAGE = "train with average pooling: snnconv train MODEL --activation qcfs --pool average"
SINGLE = "snnconv reparameterize --vanilla, or convert with --neuron if"
STRIDE = "drop the pooling, and give the convolution before it a stride of 2"


@dataclass(frozen=True)
class Misfit:
    """One thing that does not fit.

    Attributes:
        place: the layer, operation or neuron.
        rule: the figure that is exceeded.
        found: what the network has.
        allowed: what the chip has.
        remedy: one way round it.
    """

    place: str
    rule: str
    found: str
    allowed: str
    remedy: str


@dataclass(frozen=True)
class Kernel:
    """A convolution on two axes, or a matrix that a chip treats as one."""

    channels: int
    sides: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def kernel_of(synapses: Synapses, target: Target) -> Kernel | None:
    """Return the kernel that rules check; None for a matrix that is no convolution on the chip."""
    sides = pair(synapses.given[1:], 1)
    if synapses.kind == "linear":
        if not (target.dense_as_convolution and target.dense_as_convolution.value):
            return None
        return Kernel(synapses.given[0], sides, sides, (1, 1), (0, 0), (1, 1))
    return Kernel(
        synapses.given[0],
        sides,
        pair(synapses.kernel, 1),
        pair(synapses.stride, 1),
        pair(synapses.padding, 0),
        pair(synapses.dilation, 1),
    )


def pair(numbers: Shape, fill: int) -> tuple[int, int]:
    """Return numbers for height and width; a missing height gets the number ``fill``."""
    row = [fill, fill, *numbers][-2:]
    return row[0], row[1]


def misfits(target: Target, asked: Demand) -> list[Misfit]:
    """Return everything that does not fit by its kind or size, apart from its place on a core."""
    found = [
        Misfit(each.place, "operations", each.found, "layers of weights and neurons", each.remedy)
        for each in asked.others
    ]
    for rule in (*_OF_NETWORK, *map(_of_layers, _OF_LAYER), *map(_of_synapses, _OF_SYNAPSES)):
        found += rule(target, asked)
    return found


_Network = Callable[[Target, Demand], Iterator[Misfit]]


def _of_layers(rule: Callable[[Target, Demand, Layer], Iterator[Misfit]]) -> _Network:
    def rule_of_all(target: Target, asked: Demand) -> Iterator[Misfit]:
        for layer in asked.layers:
            yield from rule(target, asked, layer)

    return rule_of_all


def _of_synapses(rule: Callable[[Target, bool, Synapses], Iterator[Misfit]]) -> _Network:
    def rule_of_all(target: Target, asked: Demand) -> Iterator[Misfit]:
        for layer in asked.layers:
            for each in layer.synapses:
                yield from rule(target, layer.first, each)

    return rule_of_all


# The network


def _neuron_models(target: Target, asked: Demand) -> Iterator[Misfit]:
    models = target.neuron_models
    if models and "any" not in models.value and asked.neuron not in models.value:
        allowed = ", ".join(models.value)
        remedy = f"convert with --neuron {models.value[0]}"
        yield Misfit("neurons", "neuron_models", asked.neuron, allowed, remedy)


def _signed_spikes(target: Target, asked: Demand) -> Iterator[Misfit]:
    if not target.signed_spikes or target.signed_spikes.value:
        return
    for layer in asked.layers:
        if layer.neuron is not None and (layer.neuron.signed or layer.neuron.two_sided):
            found = "spikes of both signs"
            yield Misfit(layer.name, "signed_spikes", found, "none", "convert with --neuron if")


def _graded_spikes(target: Target, asked: Demand) -> Iterator[Misfit]:
    graded, bits = target.graded_spikes, target.spike_bits
    for layer in asked.layers:
        if layer.neuron is None:
            continue
        levels, found = layer.neuron.levels, f"{layer.neuron.levels} levels of a spike"
        if levels > 1 and graded and not graded.value:
            yield Misfit(layer.name, "graded_spikes", found, "spikes that carry nothing", SINGLE)
        needed = levels.bit_length() + bool(layer.neuron.signed)
        if bits and needed > bits.value:
            found = f"{found}: {needed} bits"
            yield Misfit(layer.name, "spike_bits", found, f"{bits.value} bits", SINGLE)


def _real_input(target: Target, asked: Demand) -> Iterator[Misfit]:
    if target.real_input and not target.real_input.value and not asked.frames:
        remedy = (
            "compute the first layer and its neurons outside the chip, or make the network of "
            "events: --data events:DIR"
        )
        yield Misfit("input", "real_input", "real numbers at every step", "events", remedy)


def _totals(target: Target, asked: Demand) -> Iterator[Misfit]:
    neurons = sum(layer.neurons for layer in asked.layers if layer.name != OUTPUT)
    synapses = sum(each.synapses for layer in asked.layers for each in layer.synapses)
    smaller = "take a smaller network, or several chips"
    if target.neurons and neurons > target.neurons.value:
        allowed = f"{target.neurons.value:,}"
        yield Misfit("network", "neurons", f"{neurons:,} neurons", allowed, smaller)
    if target.synapses and synapses > target.synapses.value:
        found = f"{synapses:,} synapses, each place of a kernel's map counted"
        yield Misfit("network", "synapses", found, f"{target.synapses.value:,}", smaller)
    if target.memory_bytes:
        needed = [weight_bytes(target, layer) for layer in asked.layers]
        total = math.ceil(sum(each for each in needed if each is not None))
        if total > target.memory_bytes.value:
            found, allowed = f"{total:,} bytes of weights", f"{target.memory_bytes.value:,} bytes"
            yield Misfit("network", "memory_bytes", found, allowed, smaller)


def weight_bytes(target: Target, layer: Layer) -> float | None:
    """Return the bytes of a layer's weights at the chip's width; None if it has no such figure."""
    bits = (layer.first and target.first_weight_bits) or target.weight_bits
    return layer.weights * bits.value / 8 if bits else None


_OF_NETWORK: tuple[_Network, ...] = (
    _neuron_models,
    _signed_spikes,
    _graded_spikes,
    _real_input,
    _totals,
)


# A layer


def _output_side(target: Target, asked: Demand, layer: Layer) -> Iterator[Misfit]:
    side = max(pair(layer.shape[1:], 1))
    if target.output_side and side > target.output_side.value:
        allowed = f"{target.output_side.value} at most"
        remedy = "pool before it, or give the convolution a larger stride"
        yield Misfit(layer.name, "output_side", f"a map of {side} places", allowed, remedy)


def _fan_out(target: Target, asked: Demand, layer: Layer) -> Iterator[Misfit]:
    readers = asked.readers(layer.name)
    if target.fan_out and readers > target.fan_out.value:
        allowed, remedy = f"{target.fan_out.value} at most", "take a network with fewer shortcuts"
        yield Misfit(layer.name, "fan_out", f"{readers} layers read it", allowed, remedy)


def _one_convolution(target: Target, asked: Demand, layer: Layer) -> Iterator[Misfit]:
    if target.one_convolution and target.one_convolution.value and len(layer.synapses) > 1:
        found = "a sum of " + " and ".join(each.node for each in layer.synapses)
        remedy = "take a network without shortcuts: snnconv train vgg11"
        yield Misfit(layer.name, "one_convolution", found, "one matrix or kernel", remedy)


def _output_channels(target: Target, asked: Demand, layer: Layer) -> Iterator[Misfit]:
    if target.channels and layer.shape[0] > target.channels.value:
        found, allowed = f"{layer.shape[0]} channels", f"{target.channels.value} at most"
        yield Misfit(layer.name, "channels", found, allowed, SMALLER)


_OF_LAYER = (_output_side, _output_channels, _fan_out, _one_convolution)


# What feeds a layer


def _smaller(given: Shape) -> str:
    """Return how to make samples ``[C, *places]`` smaller."""
    if len(given) == 3:
        return "scale the images: --size N"
    return "cut the samples into shorter ones, or give a convolution before it a larger stride"


def _sizes(target: Target, first: bool, each: Synapses) -> Iterator[Misfit]:
    """Check the sizes of what a layer reads."""
    kernel = kernel_of(each, target)
    side = max(pair(each.given[1:], 1))
    if target.input_side and side > target.input_side.value:
        allowed = f"{target.input_side.value} at most"
        found = f"it reads {side} places"
        yield Misfit(each.node, "input_side", found, allowed, _smaller(each.given))
    if target.channels and kernel and kernel.channels > target.channels.value:
        found, allowed = f"it reads {kernel.channels} channels", f"{target.channels.value} at most"
        yield Misfit(each.node, "channels", found, allowed, SMALLER)
    if target.fan_in and each.fan_in > target.fan_in.value:
        found, allowed = f"{each.fan_in} synapses of a neuron", f"{target.fan_in.value} at most"
        yield Misfit(each.node, "fan_in", found, allowed, "take fewer channels or smaller kernels")
    if target.dense_inputs and each.kind == "linear":
        inputs = math.prod(each.given)
        if inputs > target.dense_inputs.value:
            allowed = f"{target.dense_inputs.value} at most"
            remedy = "pool before the matrix"
            yield Misfit(each.node, "dense_inputs", f"it reads {inputs} numbers", allowed, remedy)


def _kernels(target: Target, first: bool, each: Synapses) -> Iterator[Misfit]:
    """Check the window of a convolution."""
    kernel = kernel_of(each, target)
    if kernel is None:
        return
    called, text = each.node, _times(kernel.kernel)
    (height, width), windows = kernel.kernel, (first and target.first_kernels) or target.kernels
    if target.square_kernels and target.square_kernels.value and height != width:
        remedy = f"take a square kernel: {_times((max(kernel.kernel),) * 2)}"
        if len(each.given) == 2:
            remedy = "take a network of images: its convolutions have one axis"
        yield Misfit(called, "square_kernels", f"a kernel of {text}", "square", remedy)
    rule = "first_kernels" if windows is target.first_kernels else "kernels"
    yield from _among(windows, rule, called, kernel.kernel, "a kernel of")
    strides = (first and target.first_strides) or target.strides
    rule = "first_strides" if strides is target.first_strides else "strides"
    yield from _among(strides, rule, called, kernel.stride, "a stride of")
    strided = target.strided_kernels
    if strided and not first and max(kernel.stride) > 1:
        what = f"a stride of {_times(kernel.stride)} with a kernel of"
        yield from _among(strided, "strided_kernels", called, kernel.kernel, what)
    yield from _among(target.paddings, "paddings", called, kernel.padding, "a padding of")
    spread = zip(kernel.kernel, kernel.dilation, strict=True)
    same = tuple(d * (k - 1) // 2 for k, d in spread)
    if target.same_padding and target.same_padding.value and not first and kernel.padding != same:
        found, allowed = f"a padding of {_times(kernel.padding)}", f"{_times(same)}, which keeps it"
        yield Misfit(called, "same_padding", found, allowed, f"take a padding of {_times(same)}")


def _first_layer(target: Target, first: bool, each: Synapses) -> Iterator[Misfit]:
    """Check the figures of the first layer alone."""
    if not first:
        return
    channels, (_, width) = each.given[0], pair(each.given[1:], 1)
    yield from _among(target.first_channels, "first_channels", "input", (channels,), "channels:")
    if target.first_sides and not (
        target.first_sides.value[0] <= width <= target.first_sides.value[1]
    ):
        least, most = target.first_sides.value
        found, allowed = f"a width of {width}", f"{least} to {most}"
        yield Misfit("input", "first_sides", found, allowed, _smaller(each.given))
    kernel = kernel_of(each, target)
    for known, side, most in target.first_filters.value if target.first_filters else ():
        if kernel and known == channels and max(kernel.kernel) == side and each.gives[0] > most:
            found, allowed = f"{each.gives[0]} channels", f"{most} at a kernel of {side}"
            yield Misfit(each.node, "first_filters", found, allowed, SMALLER)


def _pools(target: Target, first: bool, each: Synapses) -> Iterator[Misfit]:
    """Check the poolings between spikes and weights."""
    for pool in each.pools:
        allowed = target.pools.value if target.pools else None
        kind = pool.kind
        if kind == "global-average" and allowed is not None and kind not in allowed:
            kind = "sum"  # over the whole map
        if allowed is not None and kind not in allowed:
            called = "max" if kind == "max" else "average"
            other = AVERAGE if kind == "max" else STRIDE
            found = f"{called} pooling of {_times(pool.kernel)}"
            yield Misfit(pool.node, "pools", found, ", ".join(allowed), other)
        elif kind == "global-average":
            sides = target.global_average_side
            if sides and max(pool.kernel) > sides.value:
                found = f"a mean over {_times(pool.kernel)} places"
                most = f"{sides.value} at most"
                yield Misfit(pool.node, "global_average_side", found, most, "pool before it")
        else:
            yield from _window(target.pool_sizes, kind, pool)


def _window(sizes: Figure[tuple[int, ...]] | None, kind: str, pool: Pooling) -> Iterator[Misfit]:
    """Check the window of a pooling that a chip has."""
    yield from _among(sizes, "pool_sizes", pool.node, pool.kernel, "a window of")
    apart = kind == "sum" and (pool.stride != pool.kernel or any(pool.padding))
    if sizes and apart:
        found = f"windows of {_times(pool.kernel)} at strides of {_times(pool.stride)}"
        remedy = "take windows side by side, without padding"
        yield Misfit(pool.node, "pool_sizes", found, "windows side by side", remedy)


def _among(
    figure: Figure[tuple[int, ...]] | None,
    rule: str,
    place: str,
    numbers: tuple[int, ...],
    what: str,
) -> Iterator[Misfit]:
    """Check numbers that have to be among those of a figure."""
    if figure and not set(numbers) <= set(figure.value):
        best = min(figure.value, key=lambda size: abs(size - max(numbers)))
        allowed = ", ".join(map(str, figure.value))
        remedy = f"take {best} in its place, and train that network"
        yield Misfit(place, rule, f"{what} {_times(numbers)}", allowed, remedy)


def _times(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))


_OF_SYNAPSES = (_sizes, _kernels, _first_layer, _pools)
