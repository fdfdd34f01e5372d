"""Rate and differential coding on torchvision's networks: logit errors and spikes.

python docs/results/codings_vision.py [NAME ...]    # JSON lines on standard output

Weights and images are those of vision.py. Thresholds are ``mse`` for that T, one a channel, found
on the training images. Errors are L2 over all logits, relative to the network's own; spikes are
those of either sign, a neuron and step, over all steps.
"""

import json
import sys
from itertools import product

import torch
from torch import Tensor
from vision import images, network

import snnconv
from snnconv.engine.layer_output import LayerOutput
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

WAYS = {
    "rate, h = 1/4": ("rate", {"spikes": 4}, 1.0),
    "rate, h = 1/4, half of the thresholds": ("rate", {"spikes": 4}, 0.5),
    "differential, h = 1/4": (
        "differential",
        {"spikes": 4, "hysteresis": 0.25, "v0": 0.375},
        1.0,
    ),
    "differential, h = 1/2": (
        "differential",
        {"spikes": 4, "hysteresis": 0.5, "v0": 0.25},
        1.0,
    ),
}
STEPS = (16, 64)


def measured(snn: SpikingNetwork, x: Tensor, own: Tensor, timesteps: int) -> dict[str, float]:
    """The logits' error after T steps, and the spikes a neuron and step."""
    spikes = neurons = 0.0

    def count(node: str, start: int, output: LayerOutput) -> None:
        nonlocal spikes, neurons
        if node in snn.neurons and output.counts is not None:
            spikes += float(output.counts.abs().sum())
            neurons += output.counts.numel()

    logits = simulate(snn, x[None], torch.arange(len(x)), timesteps, 16, count)[-1]
    return {"error": float((logits - own).norm() / own.norm()), "spikes": spikes / neurons}


@torch.no_grad()
def main() -> None:
    """Measure the networks that are named."""
    train, test = images(64)
    for name in sys.argv[1:] or ["resnet18", "mobilenet_v2"]:
        module = network(name, train)
        own = module(test)
        for (way, (coding, params, scale)), T in product(WAYS.items(), STEPS):
            made = snnconv.convert_module(
                module,
                train,
                neuron="signed",
                param=params,
                coding=coding,
                timesteps=T,
                method_param={"scale": scale},
            )
            row = {"network": name, "way": way, "T": T}
            print(json.dumps(row | measured(made.network, test, own, T)), flush=True)


if __name__ == "__main__":
    main()
