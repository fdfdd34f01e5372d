"""What corrections add to a network in a simulation, and the ANN without these additions.

At a site a correction adds a current before the neurons, an initial potential to the neurons, or an
amplitude to their spikes; at other nodes it adds to a weight. A correction of zero changes no
spike, because the same numbers are computed in the same order.

Shape:
    Currents ``[C]`` or ``[T, C]``, potentials ``[*N]``, amplitudes ``[C]``.

Reference:
    Methods: "Corrections".

Deviations:
    None.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part, keeping, place
from snnconv.core.shapes import per_neuron
from snnconv.engine.event_conv.values import Deferred
from snnconv.engine.layer_output import LayerOutput
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.neurons.base import Neuron
from snnconv.simulation import stepwise

Currents = TypeVar("Currents", Tensor, Deferred)


class Added(nn.Module):
    """What corrections add at one site; a part that is None adds nothing.

    Args:
        current: ``[C]`` at every step, or ``[T, C]`` step by step.
        potential: ``[*N]``, to the initial potential.
        amplitude: ``[C]``, to what a spike carries, as a share of that.
    """

    current: Tensor | None
    potential: Tensor | None
    amplitude: Tensor | None

    def __init__(
        self,
        current: Tensor | None = None,
        potential: Tensor | None = None,
        amplitude: Tensor | None = None,
    ) -> None:
        super().__init__()
        # training does not learn these tensors, and its files contain only the network's own
        self.register_buffer("current", current, persistent=False)
        self.register_buffer("potential", potential, persistent=False)
        self.register_buffer("amplitude", amplitude, persistent=False)

    def plus(self, more: Mapping[Part, Tensor]) -> "Added":
        """Return the same with more added, by part."""
        parts = {"current": self.current, "potential": self.potential, "amplitude": self.amplitude}
        for part, value in more.items():
            known = parts[part]
            parts[part] = value if known is None else known + value
        return Added(**parts)

    def to_currents(self, currents: Currents, start: int, steps: int) -> Currents:
        """Return the corrected currents of ``steps`` steps after the first ``start``.

        Args:
            currents: ``[T, B, *N]``, or ``[1, B, *N]`` if they do not change over time.
            start: the number of steps done before.
            steps: the number of these steps.
        """
        if self.current is None:
            return currents
        each = self.current[None]
        if self.current.dim() > 1:
            each = self.current[start : start + steps]
        if isinstance(currents, Deferred):
            return currents.plus_channels(each)
        return currents + each.reshape(*each.shape[:1], 1, -1, *[1] * (currents.dim() - 3))

    def initial(self, neuron: Neuron[Any], currents: Tensor | Deferred) -> Any:
        """Return the neurons' corrected state before the first step; None if nothing is added."""
        if self.potential is None:
            return None
        sample = (currents.like() if isinstance(currents, Deferred) else currents)[0]
        # in the order of the currents' memory, because later sums go in that order
        potential = torch.empty_like(sample).copy_(self.potential)
        return neuron.raised(neuron.initial(sample), potential)

    def to_output(self, output: LayerOutput) -> LayerOutput:
        """Return the neurons' output, with spikes of the corrected amplitude."""
        if self.amplitude is None:
            return output
        factor = 1 + self.amplitude

        def scaled(values: Tensor | None) -> Tensor | None:
            return None if values is None else values * per_neuron(factor, values.dim() - 1)

        packed = output.packed
        if packed is not None:
            packed = dataclasses.replace(packed, amplitude=packed.amplitude * factor.numpy())
        membrane = output.membrane
        if membrane is not None:
            values = membrane.values * per_neuron(factor, membrane.values.dim() - 1)
            membrane = dataclasses.replace(membrane, values=values)
        return dataclasses.replace(
            output,
            values=scaled(output.values),
            mean=scaled(output.mean),
            packed=packed,
            membrane=membrane,
        )

    def to_amplitude(self, amplitude: Tensor | None) -> Tensor | None:
        """Return what each spike carries, ``[C]``; None if spikes differ."""
        if self.amplitude is None or amplitude is None:
            return amplitude
        return amplitude * (1 + self.amplitude)


def summed(corrections: Mapping[str, Tensor], part: Part) -> dict[str, Tensor]:
    """Return what all corrections together add to one part, by the name of the site or tensor."""
    found: dict[str, Tensor] = {}
    for key in sorted(corrections, key=lambda key: place(key).number):
        _, of, name = place(key)
        if of == part:
            added = corrections[key]
            found[name] = found[name] + added if name in found else added
    return found


def added(checkpoint: Checkpoint) -> dict[str, Added]:
    """Return what the corrections of a checkpoint add, by site; other sites are left out."""
    currents = summed(checkpoint.corrections, "current")
    potentials = summed(checkpoint.corrections, "potential")
    amplitudes = summed(checkpoint.corrections, "amplitude")
    return {
        name: Added(currents.get(name), potentials.get(name), amplitudes.get(name))
        for name in sorted({*currents, *potentials, *amplitudes})
    }


def uncorrected(checkpoint: Checkpoint) -> Network | None:
    """Return the network without corrections of its weights; None if there are none."""
    if not summed(checkpoint.corrections, "weight"):
        return None
    return Network(*fold(checkpoint.graph, checkpoint.network)).laid_out()


def without_weights(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint without corrections of weights, which its own weights have learned."""
    others = [key for key in checkpoint.corrections if place(key).part != "weight"]
    made, tensors = keeping(checkpoint.corrected, checkpoint.corrections, others)
    return dataclasses.replace(checkpoint, corrected=made, corrections=tensors)


def slowed(checkpoint: Checkpoint, factor: int) -> Checkpoint:
    """Return corrections, and factors of steps, for neurons of one level.

    These neurons take ``factor`` steps for one step of neurons of L levels. The current of one step
    is given at each step of its window, and potentials are ``factor`` times as high, as in
    :meth:`~snnconv.neurons.base.Neuron.single_threshold`.
    """
    tensors = {}
    for key, tensor in checkpoint.corrections.items():
        match place(key).part:
            case "potential":
                tensors[key] = tensor * factor
            case "current" if tensor.dim() > 1:
                tensors[key] = tensor.repeat_interleave(factor, 0)
            case _:
                tensors[key] = tensor
    made = tuple(
        each.model_copy(update={"timesteps": each.timesteps and each.timesteps * factor})
        for each in checkpoint.corrected
    )
    return dataclasses.replace(
        checkpoint,
        network=stepwise.slowed(checkpoint.graph, checkpoint.network, factor),
        reference=stepwise.slowed(checkpoint.graph, checkpoint.reference, factor),
        corrected=made,
        corrections=tensors,
    )


def weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the network's tensors with what corrections add to them."""
    changes = summed(checkpoint.corrections, "weight")
    return checkpoint.network | {
        name: checkpoint.network[name] + change for name, change in changes.items()
    }


def compared(
    checkpoint: Checkpoint, simulated: Network, device: torch.device
) -> tuple[Network, Network | None]:
    """Return the networks with which a simulation is compared.

    Returns:
        The network without what corrections add to its weights; and the ANN that was converted, if
        fine-tuning has changed the weights.
    """
    reference = None
    if checkpoint.reference:
        reference = Network(*fold(checkpoint.graph, checkpoint.reference)).to(device).eval()
    return (uncorrected(checkpoint) or simulated).to(device).eval(), reference


def beside(
    network: Network, reference: Network | None, x: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the ANN's logits, and the pre-activations by site under the present weights.

    Args:
        network: the network without what corrections add to its weights.
        reference: the ANN, if fine-tuning has changed the weights.
        x: the samples.
    """
    logits, inputs = ann_inputs(network, x)
    if reference is not None:
        with torch.no_grad():
            logits = reference(x)
    return logits, inputs
