"""Makes whole numbers of a spiking network.

A threshold is 1 in the graph, see :mod:`snnconv.exports.parts.unit_graph`. Each membrane has a unit
``u``, for a layer or a channel, and a shift ``f``: the weights are ``round(W / (u * 2^f))``, what
they add up to is shifted to the left by f, biases are ``round(b / u)``, and the threshold is ``1 /
u``, a whole number by the choice of u. ``u * 2^f`` has the least mean square error of the weights
among those from 0.3 of the largest weight on. So few bits of a weight do not make the threshold
coarse. Layers whose sum a membrane takes share its unit; a shortcut by identity multiplies its
spikes by ``round(gain / u)``.

Shape:
    Units ``[]`` or ``[D]``.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from snnconv.errors import UsageError
from snnconv.exports.base import Subject
from snnconv.exports.parts.integer_network import IntegerLayer, IntegerNetwork, Pair, Size, Whole
from snnconv.exports.parts.unit_graph import Layer, UnitGraph, unit_graph
from snnconv.graph.ir import INPUT
from snnconv.neurons.signed import Params as SignedParams

FINE = 2.0**-12
"""The largest unit of a membrane that no weights feed."""

ROOM = 16
"""At least this many thresholds fit into a potential; finer weights get a larger unit."""

NOTHING = 1 / 64
"""Currents below so much of a threshold may be rounded to 0, as in a layer that never fires."""

SHIFT = 6
"""The largest f: a membrane has units of 1/64 of a weight's."""


@dataclass(frozen=True)
class Widths:
    """How wide numbers are.

    Attributes:
        bits: the number of bits of weights.
        input_bits: the number of bits of the input.
        state_bits: the number of bits of potentials.
        channel: whether each channel has a unit.
    """

    bits: int
    input_bits: int
    state_bits: int
    channel: bool


def quantized(subject: Subject, widths: Widths) -> tuple[IntegerNetwork, dict[str, int]]:
    """Return the network, and the layers of neurons by the sites that they were."""
    return _Quantizer(subject, widths).network()


class _Quantizer:
    """Quantizes one network."""

    def __init__(self, subject: Subject, widths: Widths) -> None:
        self.subject, self.widths = subject, widths
        self.graph: UnitGraph = unit_graph(subject, sums=True)
        self.by_name = {layer.name: layer for layer in self.graph.layers}
        self.groups = self._grouped()
        self.input_scale = self._range() / (2 ** (widths.input_bits - 1) - 1)
        self.units: dict[str, Tensor] = {}  # of each group's membrane
        self.shifts: dict[str, int] = {}

    def network(self) -> tuple[IntegerNetwork, dict[str, int]]:
        """Return the whole network."""
        layers: list[IntegerLayer] = []
        numbers, sites = {INPUT: 0}, {}
        for layer in self.graph.layers:
            sources = tuple(self._source(each, layer, layers, numbers) for each in layer.sources)
            if layer.kind == "flatten":
                numbers[layer.name] = sources[0]
            else:
                layers.append(self._layer(layer, sources))
                numbers[layer.name] = len(layers)
            if layer.kind == "neurons":
                sites[layer.site] = len(layers)
        shape = self.subject.network.analysis.shapes[INPUT]
        return IntegerNetwork(
            tuple(layers),
            tuple(numbers[each] for each in self.graph.output),
            self.subject.info.timesteps,
            _image(shape),
            1 if self.widths.bits <= 8 else 2,
            self.widths.input_bits,
            self.widths.state_bits,
            self.input_scale,
            float(self._unit("output")),
        ), sites

    def _range(self) -> float:
        """Return the largest normalised number, for raw values in 0..1, or -1..1 without images."""
        data = self.subject.checkpoint.data
        lowest = 0.0 if len(data.shape) == 3 else -1.0
        ends = [
            abs((raw - m) / s)
            for m, s in zip(data.mean, data.std, strict=True)
            for raw in (lowest, 1.0)
        ]
        return max(ends)

    def _grouped(self) -> dict[str, str]:
        """Return the membrane that gives each layer's output its unit; neurons have their own."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent.setdefault(name, name) != name:
                name = parent[name]
            return name

        readers = [(layer.name, layer.kind, layer.sources) for layer in self.graph.layers]
        readers.append(("output", "neurons", self.graph.output))
        for name, kind, sources in readers:
            currents = [each for each in sources if self._is_current(each)]
            joined = [*currents, name] if kind in ("neurons", "sum", "flatten") else currents
            if kind in ("sum", "flatten") and not currents:
                continue  # a sum of spikes counts spikes
            for each in joined[1:]:
                parent[root(joined[0])] = root(each)
        return {name: root(name) for name in (*self.by_name, "output")}

    def _is_current(self, name: str) -> bool:
        """Whether a value is out of weights, not of spikes or of the input alone."""
        if name == INPUT or self.by_name[name].kind == "neurons":
            return False
        layer = self.by_name[name]
        if layer.kind in ("sum", "flatten"):
            return any(self._is_current(each) for each in layer.sources)
        return True

    def _unit(self, name: str) -> Tensor:
        """Return a layer output's unit: 1 for spikes, the input's scale, or its group's."""
        if name == INPUT:
            return torch.tensor(self.input_scale)
        if name != "output" and not self._is_current(name):
            layer = self.by_name[name]
            return torch.ones(()) if layer.kind == "neurons" else self._unit(layer.sources[0])
        return self._of_membrane(name)

    def _of_membrane(self, name: str) -> Tensor:
        """Return a group's unit: for its layers' outputs, and for the membrane that takes them."""
        group = self.groups[name]
        if group not in self.units:
            least = ROOM / 2 ** (self.widths.state_bits - 1)
            ends = self._has_potential(group)
            weights = self._fitted(group).clamp(min=least if ends else least / self._gain(group))
            finest = math.floor(math.log2(float(weights.min()) / least))
            shift = min(SHIFT, finest) if ends else 0
            unit = weights / 2**shift
            if group != self.groups["output"]:
                unit = 1 / (1 / unit).round().clamp(min=1)  # of a whole threshold, above 0
            self.shifts[group], self.units[group] = shift, unit
        return self.units[group]

    def _has_potential(self, group: str) -> bool:
        """Whether a group ends in neurons or in the output, and not in a pooling with a gain."""
        ends = any(
            layer.kind == "neurons" and self.groups[layer.name] == group
            for layer in self.graph.layers
        )
        return ends or group == self.groups["output"]

    def _fitted(self, group: str) -> Tensor:
        """Return the unit of least mean square error of a group's weights."""
        rows = [
            self._weight(layer).flatten(1)
            for layer in self.graph.layers
            if self.groups[layer.name] == group and layer.weight is not None and layer.gain is None
        ]
        if not rows:
            return self._of_gains(group)
        one = self.groups["output"] == group or not self.widths.channel
        one = one or self._is_flattened(group)
        weights = torch.cat(rows, 1)
        weights = weights.reshape(1, -1) if one else weights
        best = fitted_unit(weights.double(), self.widths.bits)
        return (best[0] if one else best).float()

    def _of_gains(self, group: str) -> Tensor:
        """Return the unit of a membrane that no weights feed: with it, gains are whole numbers."""
        unit = torch.tensor(FINE)
        for layer in self.graph.layers:
            if self.groups[layer.name] == group and layer.gain is not None:
                unit = torch.minimum(unit, layer.gain * self._unit(layer.sources[0]))
        one = group == self.groups["output"] or not self.widths.channel
        return unit.min() if one or self._is_flattened(group) else unit

    def _gain(self, group: str) -> float:
        """Return the smallest gain of what a group gives to another; 1 without any."""
        gains = [
            float(layer.gain.min())
            for layer in self.graph.layers
            if layer.gain is not None and self.groups.get(layer.sources[0]) == group
        ]
        return min((each for each in gains if each > 0), default=1.0)

    def _is_flattened(self, group: str) -> bool:
        """Whether a group's channels become single places."""
        members = (layer for layer in self.graph.layers if self.groups[layer.name] == group)
        return any(layer.kind == "flatten" for layer in members)

    def _weight(self, layer: Layer) -> Tensor:
        """Return weights on whole numbers, which include the unit of their input."""
        assert layer.weight is not None
        unit = self._unit(layer.sources[0]).expand(layer.weight.shape[1])
        return layer.weight * unit.reshape(1, -1, *[1] * (layer.weight.dim() - 2))

    def _source(
        self, name: str, reader: Layer, layers: list[IntegerLayer], numbers: dict[str, int]
    ) -> int:
        """Return a source's number; spikes among currents are multiplied by a threshold first."""
        among = reader.kind == "neurons" or any(map(self._is_current, reader.sources))
        if self._is_current(name) or reader.weight is not None or not among:
            return numbers[name]
        shape = _image(reader.shape)
        gain = _whole((self._unit(name) / self._of_membrane(reader.name)).expand(shape[0]))
        layers.append(IntegerLayer("gains", (numbers[name],), shape, shape, bias=gain))
        return len(layers)

    def _layer(self, layer: Layer, sources: tuple[int, ...]) -> IntegerLayer:
        """Return a layer in whole numbers."""
        given = _image(layer.shape)
        if layer.kind == "neurons":
            return self._neurons(layer, sources, given)
        if layer.gain is not None:
            source = self._unit(layer.sources[0])
            gain = _whole((layer.gain * source / self._unit(layer.name)).expand(given[0]))
            self._refuse_lost(layer, layer.gain, gain)
            return IntegerLayer("gains", sources, given, given, bias=gain)
        window = layer.window
        where = (
            [
                _pair(each, fill)
                for each, fill in (
                    (window.kernel, 1),
                    (window.stride, 1),
                    (window.padding, 0),
                    (window.dilation, 1),
                )
            ]
            if window is not None
            else [(1, 1), (1, 1), (0, 0), (1, 1)]
        )
        kernel, stride, padding, dilation = where
        outputs = given[0] if layer.weight is None else layer.weight.shape[0]
        places = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(given[1:], kernel, stride, padding, dilation, strict=True)
        ]
        gives = outputs, places[0], places[1]
        made = IntegerLayer("sum", sources, given, gives, kernel, stride, padding, dilation)
        if layer.weight is None:
            return made
        weight, bias = self._weights(layer, kernel)
        shift = self.shifts[self.groups[layer.name]]
        return replace(made, kind="weights", shift=shift, weight=weight, bias=bias)

    def _weights(self, layer: Layer, kernel: Pair) -> tuple[Whole, Whole]:
        """Return weights and biases."""
        wanted, unit = self._weight(layer), self._unit(layer.name)
        outputs, inputs = wanted.shape[:2]
        each = unit.expand(outputs)
        largest = 2 ** (self.widths.bits - 1) - 1
        of_weights = each * 2 ** self.shifts[self.groups[layer.name]]
        scaled = wanted / of_weights.reshape(-1, *[1] * (wanted.dim() - 1))
        found = scaled.round().clamp(-largest, largest)
        most = 2 ** (self.widths.input_bits - 1) - 1 if INPUT in layer.sources else 1
        if most * float(wanted.abs().flatten(1).sum(1).max()) >= NOTHING:
            self._refuse_lost(layer, wanted, _array(found))
        assert layer.bias is not None
        bias = layer.bias / each
        return _array(found).reshape(outputs, inputs, *kernel), _whole(bias)

    def _refuse_lost(self, layer: Layer, wanted: Tensor, found: Whole) -> None:
        """Refuse widths with which nothing is left of a layer."""
        if wanted.any() and not found.any():
            raise UsageError(
                "these widths leave nothing of a layer",
                f"{layer.name}: all its weights are rounded to 0, with bits={self.widths.bits}, "
                f"state_bits={self.widths.state_bits} and input_bits={self.widths.input_bits}",
                "give more bits or state_bits, or fewer input_bits",
            )

    def _neurons(self, layer: Layer, sources: tuple[int, ...], given: Size) -> IntegerLayer:
        """Return neurons whose threshold is the inverse of their membrane's unit."""
        params = self.subject.params
        signed = params if isinstance(params, SignedParams) else None
        theta = (1 / self._of_membrane(layer.name)).expand(given[0])
        h = signed.hysteresis if signed is not None else 0.0
        return IntegerLayer(
            "neurons",
            sources,
            given,
            given,
            bias=_whole(theta),
            initial=_whole(theta * float(getattr(params, "v0", 0.0))),
            dead=_whole(theta * h),
            spikes=signed.spikes if signed is not None else 1,
            negative=signed is not None and signed.negative,
        )


def fitted_unit(weights: Tensor, bits: int) -> Tensor:
    """Find the unit with the least square error for the weights of each row.

    Args:
        weights: ``[D, n]`` float64.
        bits: the number of bits of a weight, its sign included.
    """
    largest = 2 ** (bits - 1) - 1
    most = weights.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny * 2**bits)
    best: Tensor = most / largest
    error = torch.full_like(most, torch.inf)
    for share in torch.linspace(0.3, 1, 281, dtype=torch.float64):
        unit = share * most / largest
        found = (weights / unit[:, None]).round().clamp(-largest, largest) * unit[:, None]
        wrong = (found - weights).square().sum(1)
        best, error = torch.where(wrong < error, unit, best), torch.minimum(wrong, error)
    return best


def _image(shape: tuple[int, ...]) -> Size:
    """Return a shape as ``C, H, W``."""
    channels, *places = shape
    width = places[-1] if places else 1
    return channels, places[0] if len(places) == 2 else 1, width


def _pair(numbers: tuple[int, ...], fill: int) -> Pair:
    """Return numbers for height and width."""
    row = [fill, fill, *numbers][-2:]
    return row[0], row[1]


def _whole(values: Tensor) -> Whole:
    """Round to 32 bits."""
    largest = 2**31 - 1
    return _array(values.double().round().clamp(-largest, largest))


def _array(values: Tensor) -> Whole:
    found: Whole = values.detach().double().numpy().astype(np.int64)
    return found
