"""In-place kernels of the neurons, for inference.

Each follows its neuron's ``step`` operation by operation; what a line computes is stated there. The
given state is not changed.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import torch
from torch import Tensor

from snnconv.neuron import Spikes
from snnconv.neurons import if_, msat


def run_if(
    neuron: if_.IF, currents: Tensor, state: if_.State, keep: Tensor | None
) -> tuple[Spikes, if_.State]:
    """IF neurons."""
    theta = neuron.theta(currents[0])
    counts, values = torch.empty_like(currents), torch.empty_like(currents)
    potential = state.potential.clone()
    for t, current in enumerate(currents):
        potential += current
        torch.ge(potential, theta, out=counts[t])
        if keep is not None:
            counts[t] *= keep[t]
        potential -= torch.mul(counts[t], theta, out=values[t])
    return Spikes(counts, values), if_.State(potential)


def run_msat(
    neuron: msat.MSAT, currents: Tensor, state: msat.State, keep: Tensor | None
) -> tuple[Spikes, msat.State]:
    """MSAT neurons."""
    p, theta = neuron.params, neuron.theta(currents[0])
    adaptive = p.dtt or p.det
    counts, values = torch.empty_like(currents), torch.empty_like(currents)
    before, after, mean = (x.clone() for x in state[:3])
    drive, term, other = (torch.empty_like(before) for _ in range(3))
    steps = state.steps
    for t, current in enumerate(currents):
        threshold = theta
        if adaptive and steps > 0:
            _drive(p, theta, current, before, after, mean, drive, term, other)
            threshold = drive
        torch.add(after, current, out=before)
        torch.ge(before, threshold, out=counts[t])
        if keep is not None:
            counts[t] *= keep[t]
        torch.mul(counts[t], threshold, out=values[t])
        torch.sub(before, values[t], out=after)
        if p.dtt:
            mean.lerp_(after, 1 / (steps + 1))
        steps += 1
    return Spikes(counts, values), msat.State(before, after, mean, steps)


def _drive(
    p: msat.Params,
    theta: Tensor,
    current: Tensor,
    before: Tensor,
    after: Tensor,
    mean: Tensor,
    drive: Tensor,
    term: Tensor,
    other: Tensor,
) -> None:
    """This step's threshold, into ``drive``; ``term`` and ``other`` are scratch."""
    drive.zero_()
    if p.dtt:
        torch.sub(after, mean, out=other).div_(theta)
        torch.div(other, p.k_i, out=term)
        torch.relu_(drive.copy_(term))
        drive += term.abs_().neg_().exp_().log1p_()
        drive *= p.tau_mp * p.k_a
        drive += other.mul_(p.tau_mp * p.alpha)
        drive += p.tau_mp * p.v_t
    if p.det:
        if p.depolarization == "input":
            term.copy_(current)
        else:
            torch.add(after, current, out=term).sub_(before)
        term.div_(-p.c * theta).clamp_(max=msat.LARGEST).exp_().mul_(p.tau_rd)
        drive += term
    torch.div(theta, drive.neg_().exp_().add_(1), out=drive)
