"""The optimiser of a training, and its learning rate over time.

Shape:
    Tensors of any shape.

Reference:
    Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization* (AdamW). Loshchilov & Hutter
    2017, *SGDR*, for the cosine schedule.

Deviations:
    By default weight decay acts on weights of two or more dimensions only: not on biases, BatchNorm
    or what neurons learn, where it has no regularising effect and moves firing rates.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from snnconv.config import OptimiserConfig
from snnconv.config.training import GROUPS
from snnconv.neurons.base import Neuron
from snnconv.training.resume import check_tensors


def optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Return SGD or AdamW, with weight decay on the groups of parameters that have it.

    A group's ``pace`` is its learning rate, in units of that of the weights.
    """
    paces = {"neurons": 1.0 if config.neuron_lr is None else config.neuron_lr / config.lr}
    groups = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if name in config.decay_on else 0.0,
            "pace": paces.get(name, 1.0),
        }
        for name, parameters in by_group(module).items()
    ]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)


def by_group(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return what is trained, by group: weights of layers, one-dimensional ones, and neurons'."""
    of_neurons = {
        id(p) for part in module.modules() if isinstance(part, Neuron) for p in part.parameters()
    }
    found: dict[str, list[nn.Parameter]] = {name: [] for name in GROUPS}
    for p in module.parameters():
        if p.requires_grad:
            group = "neurons" if id(p) in of_neurons else "weights" if p.dim() > 1 else "biases"
            found[group].append(p)
    return found


SAVED = {
    "momentum": "momentum_buffer",
    "average": "exp_avg",
    "square": "exp_avg_sq",
    "step": "step",
}
"""What optimisers know of a parameter, by the section of a saved state."""


def saved(descent: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Return what an optimiser knows of each parameter, ``<section>/<parameter>``."""
    return {
        f"{section}/{name}": known[key]
        for name, parameter in module.named_parameters()
        if (known := descent.state.get(parameter))
        for section, key in SAVED.items()
        if known.get(key) is not None
    }


def restore(
    descent: torch.optim.Optimizer, module: nn.Module, state: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Give an optimiser back what it knew, by section and parameter.

    Raises:
        ValueError: tensors of other parameters.
    """
    parameters = dict(module.named_parameters())
    for section, key in SAVED.items():
        tensors = state.get(section, {})
        one = torch.zeros(())
        wanted = {n: one if section == "step" else p for n, p in parameters.items() if n in tensors}
        check_tensors(tensors, wanted)
        for name, tensor in tensors.items():
            # in the parameter's own memory layout, as the optimiser makes it
            like = torch.zeros(()) if section == "step" else parameters[name]
            descent.state[parameters[name]][key] = torch.empty_like(like).copy_(tensor).detach()


class Average:
    """The exponential moving average of a module's floating tensors.

    Outside of an epoch the module has the averages, and this has what goes on learning.

    Args:
        module: that learns.
        decay: the share of the average that a step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.tensors = {
            name: tensor.detach().clone()
            for name, tensor in module.state_dict().items()
            if tensor.is_floating_point()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Follow the tensors after a step of the optimiser."""
        for name, tensor in self._module.state_dict().items():
            if name in self.tensors:
                self.tensors[name].lerp_(tensor, 1 - self._decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages with what the module has."""
        for name, tensor in self._module.state_dict().items():
            if name in self.tensors:
                own = tensor.clone()
                tensor.copy_(self.tensors[name])
                self.tensors[name].copy_(own)


def learning_rate(config: OptimiserConfig, epoch: float) -> float:
    """Return the rate: linear warm-up from zero, then half a cosine down to zero.

    The rate is zero at both ends, but no step has it: a step takes the rate of its middle
    (:func:`middle`).

    Args:
        config: the peak rate, and how long warm-up and training last.
        epoch: the time, counted from 0, with fractions.
    """
    if epoch < config.warmup:
        return config.lr * epoch / config.warmup
    share = (epoch - config.warmup) / max(config.epochs - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def middle(epoch: int, step: int, steps: int) -> float:
    """Return the time in the middle of a step: ``epoch + (step + 1/2)/steps``, counted from 0."""
    return epoch + (step + 0.5) / steps
