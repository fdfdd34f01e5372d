"""Whole numbers: weights, thresholds and potentials of stated width, in a plain binary file.

A C header in the same folder has the sizes of the network; the layout is in
:mod:`snnconv.exports.parts.integer_network`. The report says how accurate the network is before and
after rounding, and how many inputs and potentials were clipped.

Shape:
    Weights ``[D, C, KH, KW]`` in 2 to 16 bits; biases, thresholds and potentials in 32 at most.

Reference:
    Units of least mean square error, as Banner et al. 2019, *Post Training 4-bit Quantization*,
    choose clipping. The bias correction is in :mod:`snnconv.exports.parts.integer_bias`. A
    simulator in numpy runs the file.

Deviations:
    A leak and MSAT's adaptive threshold have no whole numbers here: a leak would round at every
    step, and MSAT's threshold is a power and a logarithm of its potential.
"""

import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from snnconv.core.metadata import Parameters
from snnconv.errors import CheckFailedError, Obstacle
from snnconv.exports.base import Export, RunResult, Subject
from snnconv.exports.parts.integer_bias import corrected
from snnconv.exports.parts.integer_network import (
    MAGIC,
    VERSION,
    IntegerNetwork,
    LayoutError,
    packed,
    unpacked,
)
from snnconv.exports.parts.integer_quantize import Widths, quantized
from snnconv.exports.parts.integer_run import logits, run
from snnconv.exports.parts.unit_graph import obstacles, unit_graph, valued
from snnconv.neurons.if_ import IF
from snnconv.neurons.signed import Params as SignedParams
from snnconv.neurons.signed import Signed


class Params(Parameters):
    """Parameters of the format."""

    bits: int = Field(8, ge=2, le=16, description="of a weight, its sign included")
    unit: Literal["channel", "layer"] = Field(
        "channel", description="what has a unit of its own: each channel, or a layer"
    )
    input_bits: int = Field(
        12, ge=2, le=16, description="of a sample's normalised value, its sign included"
    )
    state_bits: int = Field(24, ge=8, le=32, description="of a potential, its sign included")
    bias_correction: bool = Field(
        False, description="biases keep the mean number of spikes of each channel"
    )
    samples: int = Field(
        128, ge=2, description="training samples for the bias correction, if there are so many"
    )

    @property
    def widths(self) -> Widths:
        """What is asked for, in the quantizer's terms."""
        channel = self.unit == "channel"
        return Widths(self.bits, self.input_bits, self.state_bits, channel)


class Integer(Export):
    """Writes a network of whole numbers."""

    params_type = Params
    params: Params
    suffix = ".snni"
    referee = "a simulator of whole numbers in numpy, which reads the file"
    tolerance: ClassVar[float | None] = None

    @property
    def samples(self) -> int:
        """How many training samples the bias correction simulates."""
        return self.params.samples if self.params.bias_correction else 0

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return what has no whole numbers."""
        found = list(obstacles(subject, "integer", True, (IF, Signed)))
        params, called = subject.params, f"neuron '{subject.info.neuron}'"
        if isinstance(params, SignedParams) and params.levels > 1:
            found.append(Obstacle(called, "levels of theta/2^k", "convert with --param levels=1"))
        for name, neuron in subject.network.neurons.items():
            if isinstance(neuron, Signed) and neuron.ceiling is not None:
                other = "convert to --neuron if, whose spikes stay below it"
                found.append(Obstacle(name, "a ceiling of signed neurons", other))
            if neuron.two_sided:
                other = "calibrate without --non-relu spike, or export with --to torch"
                found.append(Obstacle(name, "an activation of both signs", other))
        return found

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the network, and a header for C."""
        network = self.network(subject)
        return {self.suffix: packed(network), ".h": _header(network, stem).encode()}

    def network(self, subject: Subject) -> IntegerNetwork:
        """Return the network in whole numbers."""
        network, sites = quantized(subject, self.params.widths)
        return corrected(network, sites, subject) if self.params.bias_correction else network

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the file."""
        try:
            network = unpacked(file.read_bytes())
        except LayoutError as error:
            raise CheckFailedError(
                f"{file.name} can't be read", str(error), "export it again"
            ) from error
        layers = unit_graph(subject, sums=True).layers
        sites = [layer.site for layer in layers if layer.kind == "neurons"]
        neurons = [n for n, layer in enumerate(network.layers, 1) if layer.kind == "neurons"]
        hold = subject.network.hold or timesteps
        found = run(network, x.double().numpy(), timesteps, hold)
        shapes = subject.network.analysis.shapes
        spikes = {
            site: torch.from_numpy(found.spikes[number])
            .float()
            .reshape(timesteps, -1, *shapes[site])
            for site, number in zip(sites, neurons, strict=True)
        }
        clipped = found.saturation
        counted = {
            "inputs": clipped.of_inputs,
            "inputs_clipped": clipped.inputs,
            "potentials": clipped.of_potentials,
            "potentials_clipped": clipped.potentials,
        }
        said = torch.from_numpy(logits(network, found.outputs))
        said = said.reshape(*said.shape[:2], *subject.outputs)
        return valued(RunResult(said, spikes, counted), subject)


def _header(network: IntegerNetwork, stem: str) -> str:
    """Return what a C program has to know before it reads the file."""
    largest = max(int(np.prod(layer.gives)) for layer in network.layers)
    numbers = {
        "MAGIC": f'"{MAGIC.decode()}"',
        "VERSION": VERSION,
        "LAYERS": len(network.layers),
        "TIMESTEPS": network.timesteps,
        "CHANNELS": network.shape[0],
        "HEIGHT": network.shape[1],
        "WIDTH": network.shape[2],
        "OUTPUTS": int(np.prod(network.layers[network.output[0] - 1].gives)),
        "WEIGHT_BYTES": network.weight_bytes,
        "INPUT_BITS": network.input_bits,
        "STATE_BITS": network.state_bits,
        "LARGEST_LAYER": largest,
        "BYTES": len(packed(network)),
    }
    lines = [f"#define SNNI_{name} {value}" for name, value in numbers.items()]
    lines.append(f"#define SNNI_INPUT_SCALE {np.float32(network.input_scale)!s}f")
    lines.append(f"#define SNNI_OUTPUT_SCALE {np.float32(network.output_scale)!s}f")
    guard = re.sub(r"\W", "_", f"{stem}_H".upper())
    text = "\n".join(lines)
    head = (
        f"/* {stem}.snni: a spiking network in whole numbers */\n#ifndef {guard}\n#define {guard}\n"
    )
    return f"{head}{text}\n#endif\n"


EXPORT = Integer
