"""Correct biases so that a network in whole numbers emits as many spikes as the network it is of.

Rounded weights move every current a little. That matters where the same current reaches many
neurons, as over the uniform background of images: if it brings their potentials close to the
threshold, they all fire, or none does. So each bias is set such that its channel emits, on average
over training samples, as many spikes as before. Layers are corrected in order, so that a layer
also makes up for what is left of the errors before it. The biases of the output keep the mean
currents.

Shape:
    Samples ``[f, B, *input]``, currents ``[T, B, C, H, W]``, shifts of biases ``[C]``.

Reference:
    Nagel et al. 2019, *Data-Free Quantization Through Weight Equalization and Bias Correction*,
    section 4.2 and appendix D: biases keep the mean of what a layer gives, measured on samples.

Deviations:
    The mean number of spikes is kept, not the mean current, because a current that differs by next
    to nothing can be a spike less. A bias stays if the difference may be chance, and if its layer
    feeds a pooling or more than one membrane.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds
from snnconv.exports.base import Subject
from snnconv.exports.parts.integer_network import IntegerLayer, IntegerNetwork, Whole
from snnconv.exports.parts.integer_run import (
    Doubles,
    Saturation,
    State,
    computed,
    fire,
    whole_input,
)
from snnconv.simulation.simulate import simulate

REACH = 4
"""A bias moves by up to 1/4 of a threshold for each step."""

ERRORS = 2
"""A mean differs if it differs by more than so many standard errors."""

HALVINGS = 10
"""How often the interval in which a shift lies is halved."""

AT_ONCE = 16
"""Samples that the network itself simulates at once."""

Kept = npt.NDArray[np.signedinteger]
"""What later layers read: numbers of spikes in 16 bits, currents in 64."""


def corrected(
    network: IntegerNetwork, sites: Mapping[str, int], subject: Subject
) -> IntegerNetwork:
    """Return the network with corrected biases.

    Args:
        network: the network in whole numbers.
        sites: its layers of neurons, by site.
        subject: the network that it is of, with samples.
    """
    wanted, output = _emitted(network, sites, subject)
    assert subject.samples is not None
    hold = subject.network.hold or network.timesteps
    return _Correction(network, wanted, output).run(subject.samples.double().numpy(), hold)


def _emitted(
    network: IntegerNetwork, sites: Mapping[str, int], subject: Subject
) -> tuple[dict[int, Doubles], Doubles]:
    """Simulate the network itself.

    Returns:
        Each sample's spikes in T steps, the mean over the places of a channel ``[B, C]``, by layer;
        and its outputs ``[B, D]``, in units of the network in whole numbers.
    """
    x, T = subject.samples, network.timesteps
    assert x is not None
    parts: dict[str, list[Tensor]] = {site: [] for site in sites}
    outputs: list[Tensor] = []

    def observe(name: str, start: int, output: LayerOutput) -> None:
        if name in sites and output.values is not None:
            theta = subject.network.neurons[name].threshold
            counts = output.values / per_neuron(theta, output.values.dim() - 1)
            parts[name].append(_by_channel(counts.sum(0).double(), channels[name]))

    channels = {site: network.layers[number - 1].gives[0] for site, number in sites.items()}
    needs = ObserverNeeds(counts=False)
    for part in torch.arange(x.shape[1]).split(AT_ONCE):
        logits = simulate(subject.network, x[:, part], part, T, T, observe, needs)
        outputs.append(_by_channel(logits[-1], network.layers[network.output[0] - 1].gives[0]))
    wanted = {number: torch.cat(parts[site]).numpy() for site, number in sites.items()}
    return wanted, torch.cat(outputs).numpy() / network.output_scale


def _by_channel(values: Tensor, channels: int) -> Tensor:
    """Return the mean over places ``[B, C]`` of values ``[B, *N]``."""
    return values.reshape(len(values), channels, -1).mean(2)


class _Correction:
    """Corrects one network, layer after layer, on samples that all layers see at once."""

    def __init__(
        self, network: IntegerNetwork, wanted: Mapping[int, Doubles], output: Doubles
    ) -> None:
        self.network, self.wanted, self.output = network, wanted, output
        self.layers: list[IntegerLayer] = list(network.layers)
        self.readers = readers(network)

    def run(self, x: Doubles, hold: int) -> IntegerNetwork:
        """Simulate layer after layer, all steps of a layer at once, and correct each."""
        network, clipped = self.network, Saturation()
        frames = [whole_input(network, frame, clipped) for frame in x]
        values: dict[int, Kept] = {
            0: np.stack([frames[t // hold % len(frames)] for t in range(network.timesteps)])
        }
        for number, layer in enumerate(network.layers, 1):
            given = sum(
                values[each].reshape(network.timesteps, -1, *layer.given).astype(np.int64)
                for each in layer.sources
            )
            assert not isinstance(given, int)
            if layer.kind == "neurons":
                given = self._shifted(number, given)
                values[number] = self._counts(number, given).astype(np.int16)
            else:
                values[number] = np.stack([computed(layer, each) for each in given])
            for each in set(layer.sources):
                if self.readers[each][-1] == number:
                    del values[each]
        self._correct_output(values)
        return replace(network, layers=tuple(self.layers))

    def _shifted(self, number: int, currents: Whole) -> Whole:
        """Correct the bias before neurons, and return their currents."""
        source = sole_source(self.network, self.readers, number)
        if source is None:
            return currents
        shift = self._shift(number, currents)
        self._add(source, shift)
        return currents + shift[:, None, None]

    def _add(self, source: int, shift: Whole) -> None:
        """Add to the biases of a layer."""
        layer, largest = self.layers[source - 1], 2**31 - 1
        bias = (layer.bias + shift).clip(-largest, largest)
        self.layers[source - 1] = replace(layer, bias=bias)

    def _shift(self, number: int, currents: Whole) -> Whole:
        """Return the shift of each channel whose mean number of spikes is nearest.

        More current never means fewer spikes of IF, and hardly ever fewer of signed neurons, so
        the interval is halved; of all that was tried, the nearest counts.
        """
        wanted, theta = self.wanted[number], self.layers[number - 1].bias
        best = np.zeros_like(theta)
        found = self._emitted(number, currents) - wanted
        gap, moves = found.mean(0), differs(found)
        if not moves.any():
            return best
        least = np.abs(gap)
        low = np.where(gap < 0, 0, -(theta // REACH))
        high = np.where(gap < 0, theta // REACH + 1, 0)
        for _ in range(HALVINGS):
            middle = (low + high) // 2
            gap = (self._emitted(number, currents + middle[:, None, None]) - wanted).mean(0)
            nearer = np.abs(gap) < least
            best = np.where(nearer, middle, best)
            least = np.where(nearer, np.abs(gap), least)
            low = np.where(gap < 0, middle, low)
            high = np.where(gap < 0, high, middle)
        return np.where(moves, best, 0)

    def _emitted(self, number: int, currents: Whole) -> Doubles:
        """Return each sample's spikes in all steps, the mean over the places of a channel."""
        found: Doubles = self._counts(number, currents).sum(0).mean((2, 3))
        return found

    def _counts(self, number: int, currents: Whole) -> Whole:
        """Return the spikes of neurons from their initial state."""
        layer, state, clipped = self.layers[number - 1], State(), Saturation()
        bits = self.network.state_bits
        return np.stack([fire(layer, number, each, state, bits, clipped) for each in currents])

    def _correct_output(self, values: Mapping[int, Kept]) -> None:
        """Make the mean output that of the network itself."""
        source = next((n for n in self.network.output if self._gives_output(n)), None)
        if source is None:
            return
        steps, samples = values[source].shape[:2]
        rows = sum(
            values[each].reshape(steps, samples, self.output.shape[1], -1)
            for each in self.network.output
        )
        assert not isinstance(rows, int)
        apart = self.output - rows.mean((0, 3))
        shift = np.where(differs(apart), apart.mean(0).round(), 0)
        self._add(source, shift.astype(np.int64))

    def _gives_output(self, number: int) -> bool:
        """Whether a layer has biases that reach the output, and nothing else."""
        layer = self.layers[number - 1]
        alone = self.readers[number] == [OUTPUT]
        return layer.kind == "weights" and alone and layer.gives[0] == self.output.shape[1]


OUTPUT = 2**31
"""The number of the output among the readers of a layer: behind all others."""


def differs(apart: Doubles) -> npt.NDArray[np.bool_]:
    """Whether the mean of differences ``[B, C]`` is another than 0, by what samples can tell."""
    error = apart.std(0, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.inf
    found: npt.NDArray[np.bool_] = np.abs(apart.mean(0)) > ERRORS * error
    return found


def readers(network: IntegerNetwork) -> dict[int, list[int]]:
    """Return the layers that read each layer, in order; :data:`OUTPUT` is the last."""
    found: dict[int, list[int]] = {number: [] for number in range(len(network.layers) + 1)}
    for number, layer in enumerate(network.layers, 1):
        for each in layer.sources:
            found[each].append(number)
    for each in network.output:
        found[each].append(OUTPUT)
    return found


def sole_source(network: IntegerNetwork, read: Mapping[int, list[int]], number: int) -> int | None:
    """Return weights whose output reaches a layer as it is, and nothing else; None without any.

    Args:
        network: the network.
        read: the readers of each layer.
        number: the layer's number.
    """
    for source in network.layers[number - 1].sources:
        if source == 0 or read[source] != [number]:
            continue
        layer = network.layers[source - 1]
        if layer.kind == "weights":
            return source
        if layer.kind == "sum" and layer.kernel == (1, 1):
            found = sole_source(network, read, source)
            if found is not None:
                return found
    return None
