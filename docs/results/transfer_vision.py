"""torchvision's networks with transfer sites: what spikes, and how far the logits are.

python docs/results/transfer_vision.py [NAME ...]    # a JSON file a network, in runs/results/
python docs/results/condense.py runs/results
python docs/results/tables.py                        # the table of docs/results/transfer.md

Weights are those of vision.py: random, with BatchNorm's statistics of the images. Functions and
ReLUs feed matrices through signed neurons (``non_relu=spike``, g = 4). Thresholds are the largest
activation of a channel, on four training images and the two that are simulated. Errors are L2 over
all logits, relative to the network's own; spikes are those of either sign, a neuron and step, over
all steps.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from vision import SIZES, error, images, largest, network

from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import CalibrationInfo, DataInfo, SpikingInfo
from snnconv.engine.layer_output import LayerOutput
from snnconv.frontends.open import NO_DATA, from_module
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.ir import TRANSFER, Graph
from snnconv.graph.network import Network
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "transfer-vision"
STEPS = (16, 64)
PARAMS = Params(spikes=4)
TRAIN, TEST = 4, 2
MORE = {  # what vision.py does not name; MaxViT's windows of 7 x 7 fix its size
    "googlenet": 64,
    "maxvit_t": 224,
    "regnet_y_400mf": 64,
    "resnext50_32x4d": 64,
    "swin_t": 64,
    "vit_b_16": 64,
}


@torch.no_grad()
def measure(name: str) -> dict:
    """One network, with and without sites where a matrix reads what no function gives."""
    started = time.perf_counter()
    size = (SIZES | MORE)[name]
    train, test = images(size)
    train, test = train[:TRAIN], test[:TEST]
    module = network(name, train)
    own = module(test)
    info = DataInfo(spec=NO_DATA, shape=train.shape[1:], classes=(), mean=(0.0,), std=(1.0,))
    ann, _ = from_module(module, info, analog=True)
    found: dict = {"network": name, "size": size, "timesteps": max(STEPS)}
    everything = with_transfer_sites(ann.graph, ann.network, True, True)
    found |= described("_everything", everything, ann)
    graph = with_transfer_sites(ann.graph, ann.network)
    found |= described("", graph, ann)
    checkpoint = calibrated(replace(ann, graph=graph), torch.cat([train, test]))
    spiking = SpikingInfo(neuron="signed", params=PARAMS.model_dump(), timesteps=max(STEPS), seed=0)
    snn = spiking_network(replace(checkpoint, kind="converted", spiking=spiking)).eval()
    spikes = neurons = 0.0

    def count(node: str, start: int, output: LayerOutput) -> None:
        nonlocal spikes, neurons
        if node in snn.neurons and output.counts is not None:
            spikes += float(output.counts.abs().sum())
            neurons += output.counts.numel()

    logits = simulate(snn, test[None], torch.arange(TEST), max(STEPS), 4, count)
    found["error"] = {str(T): error(logits[T - 1], own.double()) for T in STEPS}
    found |= {"spikes": spikes / neurons, "torch": torch.__version__}
    return found | {"seconds": time.perf_counter() - started}


def calibrated(ann: Checkpoint, samples: Tensor) -> Checkpoint:
    """The checkpoint with a threshold for each channel of each site."""
    network = Network(*fold(ann.graph, ann.network)).eval()
    found = {f"{name}/threshold": theta for name, theta in largest(network, samples).items()}
    info = CalibrationInfo(
        method="max", params={}, granularity="channel", samples=len(samples), sites={}
    )
    return replace(ann, calibrated=info, calibration=found)


def described(suffix: str, graph: Graph, ann: Checkpoint) -> dict:
    """Sites, transfer sites among them, the share that does not spike, and that of functions."""
    transfer = sum(node.op == TRANSFER for node in graph.sites)
    numbers = {"sites": len(graph.sites), "transfer_sites": transfer}
    numbers |= Analysis.of(graph, ann.network).shares
    return {f"{key}{suffix}": value for key, value in numbers.items()}


def main() -> None:
    """Measure the networks that are named, or all."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or sorted(SIZES | MORE):
        file = REPORTS / f"{name}.json"
        if file.exists():
            continue
        found = measure(name)
        print(found, flush=True)
        file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
