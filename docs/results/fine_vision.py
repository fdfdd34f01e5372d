"""Signed neurons on fine thresholds in torchvision's networks: logit errors and spikes.

python docs/results/fine_vision.py [NAME ...]    # a JSON file a network, in runs/results/
python docs/results/condense.py runs/results
python docs/results/tables.py                    # the table of docs/results/torchvision.md

Weights and images are those of vision.py. Thresholds are a share of the largest activation of a
channel on 64 training images. Signed neurons fire up to four spikes a step, or up to g. Errors are
those of the logits of four test images at T = 16 and 64, L2, relative to the network's own; spikes
are those of either sign, a neuron and step, over all 64 steps.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from vision import error, images, largest, network

from snnconv.engine.layer_output import LayerOutput
from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ceiling
from snnconv.neurons.base import NEURONS
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "fine-vision"
NAMES = ("resnet18", "mobilenet_v2", "resnet50", "densenet121")


CHANGES = {"spikes": 4, "hysteresis": 0.25, "v0": 0.375}
WAYS: dict[str, tuple[str, str, dict[str, float], float]] = {
    "IF, whole": ("if", "rate", {}, 1.0),
    "signed, whole": ("signed", "rate", {"spikes": 4}, 1.0),
    "signed, half": ("signed", "rate", {"spikes": 4}, 0.5),
    "signed, half, g = 8": ("signed", "rate", {"spikes": 8}, 0.5),
    "signed, differential, quarter": ("signed", "differential", CHANGES, 0.25),
}
"""Neuron, coding, parameters, and thresholds as a share of the largest activation."""
STEPS = (16, 64)


def measured(ann: Network, thetas: dict[str, Tensor], way: str, x: Tensor, own: Tensor) -> dict:
    """Errors by steps, and spikes."""
    name, coding, params, scale = WAYS[way]
    kind, code, neurons = NEURONS.load(name), CODINGS.load(coding)(), {}
    for site in ann.graph.sites:
        neuron = kind(kind.params_type(**params), scale * thetas[site.name])
        highest = ceiling(site)
        neuron.ceiling = None if highest is None else torch.tensor(float(highest))
        neurons[site.name] = code.neuron(neuron) if coding != "rate" else neuron
    snn = SpikingNetwork(ann, neurons, 0, None, coding=code).eval()
    spikes = fired = 0.0

    def count(node: str, start: int, output: LayerOutput) -> None:
        nonlocal spikes, fired
        if node in neurons and output.counts is not None:
            spikes += float(output.counts.abs().sum())
            fired += output.counts.numel()

    logits = simulate(snn, x[None], torch.arange(len(x)), max(STEPS), 8, count)
    errors = {str(T): error(logits[T - 1], own.double()) for T in STEPS}
    return {"error": errors, "spikes": spikes / fired}


@torch.no_grad()
def main() -> None:
    """Measure the networks that are named, or all."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    train, test = images(64)
    for name in sys.argv[1:] or NAMES:
        file, started = REPORTS / f"{name}.json", time.perf_counter()
        module = network(name, train)
        graph, tensors, _ = capture(module, tuple(test.shape[1:]))
        ann = Network(*fold(graph, tensors)).eval().laid_out()
        thetas, ways = largest(ann, train), {}
        for way in WAYS:
            ways[way] = measured(ann, thetas, way, test, module(test))
            print(name, way, ways[way], flush=True)
        found = {"network": name, "sites": len(ann.graph.sites), "ways": ways}
        found |= {"torch": torch.__version__, "seconds": time.perf_counter() - started}
        text = json.dumps(found, indent=2, sort_keys=True) + "\n"
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
