"""Run a spiking network for T steps, in chunks of time, and average its last layer's currents.

Shape:
    ``[f, B, *input] -> [T, B, classes]``: logits averaged over steps 1..t, float64.

Reference:
    Methods, section 0: constant input or frames, the last layer does not spike.

Deviations:
    None.
"""

import torch
from torch import Tensor

from snnconv.engine.layer_output import EVERYTHING, ObserverNeeds
from snnconv.simulation.network import Observer, SpikingNetwork, State


@torch.no_grad()
def simulate(
    network: SpikingNetwork,
    x: Tensor,
    samples: Tensor,
    timesteps: int,
    chunk: int,
    observe: Observer | None = None,
    needs: ObserverNeeds = EVERYTHING,
) -> Tensor:
    """The logits at every step.

    Args:
        network: in evaluation mode.
        x: ``[f, B, *input]``, the frames that are shown in turn; one is shown at every step.
        samples: which samples these are, ``[B]``.
        timesteps: T.
        chunk: steps computed at once, where the neurons are causal; it bounds memory.
        observe: sees every node's spikes, chunk by chunk.
        needs: what it needs of them.
    """
    if not network.causal:
        chunk = timesteps
    state: State | None = None
    total = torch.zeros(())
    averages = []
    for start in range(0, timesteps, chunk):
        steps = min(chunk, timesteps - start)
        currents, state = network(x, steps, samples, state, observe, needs)
        for t, current in enumerate(currents.double(), start=start + 1):
            total = current if t == 1 else total + current
            averages.append(total / t)
    return torch.stack(averages)
