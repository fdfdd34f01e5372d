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
    to nothing can be a spike less. A bias stays if its layer feeds more than one membrane.
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
    wanted, output = _means(network, sites, subject)
    assert subject.samples is not None
    hold = subject.network.hold or network.timesteps
    return _Correction(network, wanted, output).run(subject.samples.double().numpy(), hold)


def _means(
    network: IntegerNetwork, sites: Mapping[str, int], subject: Subject
) -> tuple[dict[int, Doubles], Doubles]:
    """Simulate the network itself.

    Returns:
        The mean number of spikes in T steps of each channel, by layer; and the mean output ``[D]``
        in units of the network in whole numbers.
    """
    x, T = subject.samples, network.timesteps
    assert x is not None
    counted: dict[str, Tensor] = {}
    outputs: list[Tensor] = []

    def observe(name: str, start: int, output: LayerOutput) -> None:
        if name in sites and output.values is not None:
            values = output.values.double().sum((0, 1))
            counted[name] = counted.get(name, torch.zeros(())) + values

    needs = ObserverNeeds(counts=False)
    for part in torch.arange(x.shape[1]).split(AT_ONCE):
        logits = simulate(subject.network, x[:, part], part, T, T, observe, needs)
        outputs.append(logits[-1])
    wanted = {}
    for site, number in sites.items():
        theta = subject.network.neurons[site].threshold.double()
        counts = counted[site] / x.shape[1]
        counts = counts / per_neuron(theta, counts.dim() + 1)
        wanted[number] = counts.reshape(network.layers[number - 1].gives[0], -1).mean(1).numpy()
    channels = network.layers[network.output[0] - 1].gives[0]
    rows = torch.cat(outputs).reshape(x.shape[1], channels, -1)
    return wanted, rows.mean((0, 2)).numpy() / network.output_scale


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

        More current never means fewer spikes of IF, so the interval is halved.
        """
        wanted, theta = self.wanted[number], self.layers[number - 1].bias
        best = np.zeros_like(theta)
        found = self._mean(number, currents)
        gap = np.abs(found - wanted)
        low = np.where(found < wanted, 0, -theta // REACH)
        high = np.where(found < wanted, theta // REACH, 0)
        for _ in range(HALVINGS):
            middle = (low + high) // 2
            found = self._mean(number, currents + middle[:, None, None])
            nearer = np.abs(found - wanted) < gap
            best = np.where(nearer, middle, best)
            gap = np.where(nearer, np.abs(found - wanted), gap)
            low = np.where(found < wanted, middle, low)
            high = np.where(found < wanted, high, middle)
        return best

    def _mean(self, number: int, currents: Whole) -> Doubles:
        """Return each channel's mean number of spikes in all steps."""
        found: Doubles = self._counts(number, currents).sum(0).mean((0, 2, 3))
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
            values[each].reshape(steps, samples, len(self.output), -1)
            for each in self.network.output
        )
        assert not isinstance(rows, int)
        self._add(source, np.round(self.output - rows.mean((0, 1, 3))).astype(np.int64))

    def _gives_output(self, number: int) -> bool:
        """Whether a layer has biases that reach the output, and nothing else."""
        layer = self.layers[number - 1]
        alone = self.readers[number] == [OUTPUT]
        return layer.kind == "weights" and alone and layer.gives[0] == len(self.output)


OUTPUT = 2**31
"""The number of the output among the readers of a layer: behind all others."""


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
