"""Run a spiking network for T steps, in chunks of time, and average its last layer's currents.

With a delayed readout, the average begins at a later step, because deep layers settle only after
some steps.

Shape:
    ``[f, B, *input] -> [T, B, classes]``: logits averaged over steps 1..t, float64; with a readout
    from step r on over steps r..t, and 0 before.

Reference:
    Methods: "The one rule": constant input or frames, the last layer does not spike.

Deviations:
    None.
"""

from pathlib import Path

import torch
from torch import Tensor

from snnconv.engine.layer_output import EVERYTHING, ObserverNeeds
from snnconv.errors import CheckFailedError
from snnconv.simulation.chunk import Observer, State
from snnconv.simulation.network import SpikingNetwork


@torch.no_grad()
def simulate(
    network: SpikingNetwork,
    x: Tensor,
    samples: Tensor,
    timesteps: int,
    chunk: int,
    observe: Observer | None = None,
    needs: ObserverNeeds = EVERYTHING,
    readout_from: int = 1,
) -> Tensor:
    """Return the logits after every step.

    Args:
        network: the network, in evaluation mode.
        x: ``[f, B, *input]``, the frames to show in turn; a single one is shown at every step.
        samples: the samples' indices, ``[B]``.
        timesteps: T.
        chunk: the steps computed at once, if the neurons are causal; it bounds memory.
        observe: called with the spikes of every node, chunk by chunk.
        needs: what the observer needs of them.
        readout_from: the first step whose currents count.
    """
    if not network.causal:
        chunk = timesteps
    state: State | None = None
    averages = total = torch.empty(0)
    for start in range(0, timesteps, chunk):
        steps = min(chunk, timesteps - start)
        currents, state = network(x, steps, samples, state, observe, needs)
        if start == 0:  # outputs may be large maps, so they are kept only once
            total = torch.zeros_like(currents[0], dtype=torch.float64)
            averages = total.new_zeros(timesteps, *total.shape)
        for t, current in enumerate(currents, start=start + 1):
            if t >= readout_from:
                total += current
                torch.div(total, t - readout_from + 1, out=averages[t - 1])
    return averages


def refuse_not_finite(file: Path, *outputs: Tensor | None, whose: str = "its logits") -> None:
    """Refuse outputs that are no numbers.

    Args:
        file: the checkpoint of the network that gave them.
        outputs: the outputs; None for those that there are not.
        whose: what they are, for the error.

    Raises:
        CheckFailedError: NaN or Inf is among them.
    """
    if not all(torch.isfinite(each).all() for each in outputs if each is not None):
        raise CheckFailedError(
            f"the simulation of {file} does not give numbers",
            f"NaN or Inf among {whose}",
            "look at the weights and the data: snnconv inspect",
        )
