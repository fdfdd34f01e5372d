"""Temperatures of surrogates that follow the finite differences of the loss.

The gradient that a surrogate gives is compared with ``(L(w + eps) - L(w - eps))/(2*eps)``, the
finite difference of the loss by a weight of the first layer. Of the temperatures as they are, all a
step higher, and all a step lower, those are taken whose gradient has the largest cosine with the
differences.

Shape:
    Weights of any shape.

Reference:
    Li et al. 2021, *Differentiable Spike: Rethinking Gradient-Descent for Training Spiking Neural
    Networks*, Algorithm 1.

Deviations:
    Differences are taken by some weights only, evenly spread over the first layer, because each
    costs two simulations. They are those of the network in evaluation mode, so that they change no
    statistics of BatchNorm. We found no source for the size of the steps.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from snnconv.core import distributed
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.surrogates.base import Surrogate


def follow_differences(
    surrogates: list[Surrogate], weight: Tensor, loss: Callable[[], Tensor]
) -> None:
    """Change the temperatures of surrogates that adapt.

    Args:
        surrogates: of the network's layers; those that do not adapt stay as they are.
        weight: of the first layer.
        loss: of the network as it is, with its gradient.
    """
    adaptive = [surrogate for surrogate in surrogates if surrogate.adapts is not None]
    if not adaptive:
        return
    adapts = adaptive[0].adapts
    assert adapts is not None
    entries = evenly(weight, adapts.weights)
    wanted = distributed.add(differences(loss, weight, entries, adapts.epsilon), weight.device)
    before = [surrogate.value for surrogate in adaptive]
    alike = []
    for change in (0.0, adapts.step, -adapts.step):
        _set(adaptive, before, change)
        (gradient,) = torch.autograd.grad(loss(), weight)
        found = distributed.add(gradient[entries], weight.device)
        cosine = torch.cosine_similarity(found, wanted, 0).item()
        alike.append((cosine, -abs(change), change))
    _set(adaptive, before, max(alike)[-1])


def first_weight(network: Network) -> Tensor:
    """Return the weight of the first layer that has one."""
    layers = (node for node in network.graph.nodes if OPS[node.op].role is Role.SYNAPSE)
    return network.tensor(next(layers).tensors["weight"])


def _set(surrogates: list[Surrogate], before: list[float], change: float) -> None:
    for surrogate, value in zip(surrogates, before, strict=True):
        surrogate.value = value + change if value + change > 0 else value


def evenly(weight: Tensor, most: int) -> tuple[Tensor, ...]:
    """Return the indices of some entries of a weight, evenly spread."""
    number = min(most, weight.numel())
    return torch.unravel_index(torch.arange(number) * weight.numel() // number, weight.shape)


@torch.no_grad()
def differences(
    loss: Callable[[], Tensor], weight: Tensor, entries: tuple[Tensor, ...], epsilon: float
) -> Tensor:
    """Return finite differences of a loss by a weight's entries; the weight stays as it was."""
    found = []
    for entry in zip(*(axis.tolist() for axis in entries), strict=True):
        own = weight[entry].clone()
        sides = []
        for side in (own + epsilon, own - epsilon):
            weight[entry] = side
            sides.append(loss().item())
        weight[entry] = own
        found.append((sides[0] - sides[1]) / (2 * epsilon))
    return torch.tensor(found, dtype=weight.dtype, device=weight.device)
