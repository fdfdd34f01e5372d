"""Runs a network in whole numbers, in numpy.

Floating-point matrices add up, and they are exact here: no sum reaches 2^53, and float32 is taken
where none reaches 2^24.

Shape:
    Samples ``[f, B, C, H, W]``, outputs ``[T, B, D]``, spikes ``[T, B, C, H, W]``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnconv.exports.parts.integer_network import IntegerLayer, IntegerNetwork, Whole

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int16]
"""Numbers of spikes, which are kept for all layers and steps."""

EXACT_SINGLE = 2**24
"""Below it, every whole number is one of float32."""


@dataclass
class Saturation:
    """How often a number was clipped, of how many."""

    inputs: int = 0
    potentials: int = 0
    of_inputs: int = 0
    of_potentials: int = 0


@dataclass
class IntegerRun:
    """What a run gives.

    Attributes:
        outputs: whole numbers ``[T, B, D]``; times the output's scale they are currents.
        spikes: counts by the number of the layer, ``[T, B, C, H, W]``.
        saturation: what was clipped.
    """

    outputs: Whole
    spikes: Mapping[int, Counts]
    saturation: Saturation


@dataclass
class State:
    """Potentials, and sums of counts, by the number of the layer."""

    potentials: dict[int, Whole] = field(default_factory=dict)
    totals: dict[int, Whole] = field(default_factory=dict)


def run(
    network: IntegerNetwork, x: Doubles, timesteps: int, hold: int, watched: bool = True
) -> IntegerRun:
    """Run steps from the initial state.

    Args:
        network: the network.
        x: frames, normalised.
        timesteps: T.
        hold: steps for which each frame is shown.
        watched: whether the spikes are kept.
    """
    saturation, state = Saturation(), State()
    frames = [whole_input(network, frame, saturation) for frame in x]
    outputs, spikes = [], dict[int, list[Counts]]()
    for t in range(timesteps):
        values: dict[int, Whole] = {0: frames[t // hold % len(frames)]}
        for number, layer in enumerate(network.layers, 1):
            given = sum(values[each].reshape(-1, *layer.given) for each in layer.sources)
            assert not isinstance(given, int)
            if layer.kind == "neurons":
                values[number] = fire(layer, number, given, state, network.state_bits, saturation)
                if watched:
                    spikes.setdefault(number, []).append(values[number].astype(np.int16))
            else:
                values[number] = computed(layer, given)
        rows = sum(values[each].reshape(len(values[each]), -1) for each in network.output)
        assert not isinstance(rows, int)
        outputs.append(rows)
    shown = {number: np.stack(each) for number, each in spikes.items()}
    return IntegerRun(np.stack(outputs), shown, saturation)


def logits(network: IntegerNetwork, outputs: Whole, first: int = 1) -> Doubles:
    """Return what a run says after each step, ``[T, B, D]``: the mean so far, at its scale.

    Args:
        network: what has run.
        outputs: its whole numbers ``[T, B, D]``.
        first: the step from which outputs count.
    """
    steps = np.arange(1, len(outputs) + 1).reshape(-1, 1, 1)
    counted = np.where(steps < first, 0, outputs).cumsum(0)
    found: Doubles = counted / np.maximum(steps - first + 1, 1) * network.output_scale
    return found


def whole_input(network: IntegerNetwork, x: Doubles, saturation: Saturation) -> Whole:
    """Return a frame in whole numbers."""
    # in float32, as a chip's host would
    wanted = np.round(x.astype(np.float32) / np.float32(network.input_scale)).astype(np.int64)
    largest = 2 ** (network.input_bits - 1) - 1
    found = wanted.clip(-largest, largest)
    saturation.inputs += int((found != wanted).sum())
    saturation.of_inputs += found.size
    return found.reshape(len(x), *network.shape)


def computed(layer: IntegerLayer, given: Whole) -> Whole:
    """Compute a layer without a state."""
    if layer.kind == "gains":
        return given * layer.bias[:, None, None]
    if layer.kind == "sum":
        summed: Whole = _windows(layer, given).sum((-2, -1))
        return summed
    weight = layer.weight.reshape(len(layer.weight), -1)
    most = int(np.abs(weight).sum(1).max(initial=0)) * int(np.abs(given).max(initial=0))
    exact = np.float32 if most < EXACT_SINGLE else np.float64
    windows = _windows(layer, given.astype(exact))
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(given), weight.shape[1], -1)
    found = (weight.astype(exact) @ columns).astype(np.int64).reshape(len(given), *layer.gives)
    whole: Whole = (found << layer.shift) + layer.bias[:, None, None]
    return whole


def _windows(layer: IntegerLayer, given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what each place of the output reads, ``[B, C, OH, OW, KH, KW]``."""
    (ph, pw), (sh, sw), (dh, dw) = layer.padding, layer.stride, layer.dilation
    padded = np.pad(given, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    _, height, width = layer.gives
    return views[:, :, ::sh, ::sw, ::dh, ::dw][:, :, :height, :width]


def fire(
    layer: IntegerLayer,
    number: int,
    currents: Whole,
    state: State,
    state_bits: int,
    saturation: Saturation,
) -> Whole:
    """Run one step of neurons: return counts, and replace their state."""
    theta, dead = layer.bias[:, None, None], layer.dead[:, None, None]
    before = state.potentials.get(number)
    if before is None:
        before = np.zeros_like(currents) + layer.initial[:, None, None]
    total = state.totals.get(number, np.zeros_like(currents))
    potential = _clipped(before + currents, state_bits, saturation)
    lowest = -layer.spikes if layer.negative else 0
    # in float64: below 2^53 its quotients are on the right side of every whole number
    quotient = np.floor(potential / theta).clip(lowest, layer.spikes)
    count: Whole = quotient.astype(np.int64)
    if layer.negative:
        count = np.maximum(count, -total)
        count = np.where((potential < 0) & (potential > -dead), 0, count)
    state.potentials[number] = potential - count * theta
    state.totals[number] = total + count
    return count


def _clipped(potential: Whole, bits: int, saturation: Saturation) -> Whole:
    largest = 2 ** (bits - 1) - 1
    found = potential.clip(-largest, largest)
    saturation.potentials += int((found != potential).sum())
    saturation.of_potentials += potential.size
    return found
