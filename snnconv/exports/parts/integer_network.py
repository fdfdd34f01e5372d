"""A spiking network in whole numbers, and the plain binary file that holds it.

Every layer is on images ``[C, H, W]``: a matrix is a convolution of one place, and one axis is a
height of one. Flattening moves nothing, so it is no layer.

The file is a row of little-endian 32-bit words. Its header is ``SNNI``, the version 1, the number
of layers, T, ``C, H, W`` of a sample, the bytes of a weight, the bits of the input, the bits of a
potential, the input's and the output's scale as float32, and the sources of the output: their
number, then their numbers. Each layer then has

- its kind: 1 weights, 2 gains, 3 a sum over windows, 4 neurons;
- the number of its sources, and their numbers: 0 is the input, k the layer k of the file. A layer
  reads the sum of its sources;
- ``C, H, W`` of what it reads, and of what it gives;
- kernel, stride, padding and dilation, each for height and width;
- the shift to the left of what weights add up to, before the bias;
- weights: ``[D, C, KH, KW]`` in bytes as the header says, filled up to a whole word, then the
  biases ``[D]``. Gains: ``[D]``. Neurons: thresholds ``[D]``, initial potentials ``[D]``, the dead
  zones ``[D]``, the most spikes of a step, and 1 if spikes may be negative.

Shape:
    Weights ``[D, C, KH, KW]``; all other tensors ``[D]``.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC, VERSION = b"SNNI", 1
KINDS = ("", "weights", "gains", "sum", "neurons")

Whole = npt.NDArray[np.int64]
Size = tuple[int, int, int]
Pair = tuple[int, int]


class LayoutError(ValueError):
    """The file is no network in whole numbers."""


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One layer.

    Attributes:
        kind: one of :data:`KINDS`.
        sources: the layers whose sum it reads, from 1; 0 is the input.
        given: the shape ``C, H, W`` of its input.
        gives: the shape ``C, H, W`` of its output.
        kernel: its places, as stride, padding and dilation, for height and width.
        shift: the left shift of the sum of weights, before the bias.
        weight: the weights of a matrix or convolution.
        bias: the bias of a matrix or convolution, the gains, or the thresholds.
        initial: the potentials at which neurons start.
        dead: how far below 0 a potential may go before a negative spike.
        spikes: the largest number of spikes in a step.
        negative: whether spikes may be negative.
    """

    kind: str
    sources: tuple[int, ...]
    given: Size
    gives: Size
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    shift: int = 0
    weight: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    bias: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    initial: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    dead: Whole = field(default_factory=lambda: np.zeros(0, np.int64))
    spikes: int = 1
    negative: bool = False


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """The layers in order.

    Attributes:
        layers: each behind those that it reads.
        output: the layers whose sum is the output.
        timesteps: T.
        shape: ``C, H, W`` of a sample.
        weight_bytes: 1 or 2.
        input_bits: a sample is ``clip(round(x / input_scale))`` in so many bits.
        state_bits: a potential is clipped to so many.
        input_scale: the scale of a sample.
        output_scale: the logits are the mean output over T steps, times it.
    """

    layers: tuple[IntegerLayer, ...]
    output: tuple[int, ...]
    timesteps: int
    shape: Size
    weight_bytes: int
    input_bits: int
    state_bits: int
    input_scale: float
    output_scale: float


def packed(network: IntegerNetwork) -> bytes:
    """Return the file's content."""
    head = [VERSION, len(network.layers), network.timesteps, *network.shape]
    head += [network.weight_bytes, network.input_bits, network.state_bits]
    parts = [MAGIC, _words(*head), struct.pack("<2f", network.input_scale, network.output_scale)]
    parts.append(_words(len(network.output), *network.output))
    for layer in network.layers:
        parts.append(_words(KINDS.index(layer.kind), len(layer.sources), *layer.sources))
        parts.append(_words(*layer.given, *layer.gives, *layer.kernel, *layer.stride))
        parts.append(_words(*layer.padding, *layer.dilation, layer.shift))
        if layer.kind == "weights":
            raw = layer.weight.astype(f"<i{network.weight_bytes}").tobytes()
            parts.append(raw + bytes(-len(raw) % 4))
        parts.append(_words(*layer.bias.tolist()))
        if layer.kind == "neurons":
            also = [*layer.initial.tolist(), *layer.dead.tolist(), layer.spikes, layer.negative]
            parts.append(_words(*also))
    return b"".join(parts)


def _words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


class _Reader:
    """Reads words in turn."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Return the next values, as :mod:`struct` has them."""
        size = struct.calcsize(form)
        if self.at + size > len(self.content):
            raise LayoutError(f"it ends after {len(self.content)} bytes")
        found = struct.unpack_from(form, self.content, self.at)
        self.at += size
        return found

    def words(self, count: int) -> tuple[int, ...]:
        """Read this many words."""
        if not 0 <= count <= len(self.content):
            raise LayoutError(f"{count} words at byte {self.at}")
        return self.take(f"<{count}i")

    def array(self, count: int) -> Whole:
        """Read this many words as an array."""
        return np.array(self.words(count), np.int64)

    def weights(self, count: int, size: int) -> Whole:
        """Read this many weights, and skip what fills up their last word."""
        if not 0 <= count * size <= len(self.content):
            raise LayoutError(f"{count} weights at byte {self.at}")
        (raw,) = self.take(f"{count * size + -(count * size) % 4}s")
        return np.frombuffer(raw[: count * size], f"<i{size}").astype(np.int64)


def unpacked(content: bytes) -> IntegerNetwork:
    """Read a network from a file's content.

    Raises:
        LayoutError: it is not a file of this format.
    """
    reader = _Reader(content)
    if reader.take("4s") != (MAGIC,) or reader.words(1) != (VERSION,):
        raise LayoutError("it does not begin with SNNI and version 1")
    count, timesteps, *shape = reader.words(5)
    size, input_bits, state_bits = reader.words(3)
    if size not in (1, 2):
        raise LayoutError(f"weights of {size} bytes")
    scales = reader.take("<2f")
    output = reader.words(reader.words(1)[0])
    layers = tuple(_layers(reader, count, size))
    if reader.at != len(content):
        raise LayoutError(f"{len(content) - reader.at} bytes behind the last layer")
    sample = shape[0], shape[1], shape[2]
    return IntegerNetwork(
        layers, output, timesteps, sample, size, input_bits, state_bits, scales[0], scales[1]
    )


def _layers(reader: _Reader, count: int, size: int) -> Iterator[IntegerLayer]:
    for number in range(1, count + 1):
        (kind,) = reader.words(1)
        sources = reader.words(reader.words(1)[0])
        if not 0 < kind < len(KINDS) or not all(0 <= each < number for each in sources):
            raise LayoutError(f"layer {number} is of kind {kind} and reads {list(sources)}")
        c, h, w, d, *out = reader.words(6)
        where = reader.words(9)
        kernel = where[0], where[1]
        weight = np.zeros((0, 0, 0, 0), np.int64)
        if KINDS[kind] == "weights":
            row = reader.weights(d * c * kernel[0] * kernel[1], size)
            weight = row.reshape(d, c, *kernel)
        bias = np.zeros(0, np.int64) if KINDS[kind] == "sum" else reader.array(d)
        layer = IntegerLayer(
            KINDS[kind],
            sources,
            (c, h, w),
            (d, out[0], out[1]),
            kernel,
            stride=(where[2], where[3]),
            padding=(where[4], where[5]),
            dilation=(where[6], where[7]),
            shift=where[8],
            weight=weight,
            bias=bias,
        )
        if layer.kind == "neurons":
            initial, dead = reader.array(d), reader.array(d)
            spikes, negative = reader.words(2)
            layer = replace(
                layer, initial=initial, dead=dead, spikes=spikes, negative=bool(negative)
            )
        yield layer
