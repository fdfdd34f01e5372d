"""torchvision's networks: which convert, and how far their spiking twins are from them.

python docs/results/vision.py [NAME ...]    # a JSON file a network, in runs/results/vision/
python docs/results/condense.py runs/results
python docs/results/tables.py               # the table of docs/results/*.md

Weights are random (seed 0); BatchNorm's statistics are those of Fashion-MNIST's first training
images, scaled up and in three channels. Errors are measured on its first test images: L2 over all
logits, relative to the network's own. Thresholds are of both, so that `max` clips nothing.

(a) the folded graph with its sites run as plain activations, in float32 and in float64;
(b) neurons of L levels at one step, thresholds `max`: the network with quantized activations;
(c) IF with v0 = theta/2 at T steps, by the method that found the thresholds.
"""

import copy
import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from snnconv.calibration.calibrate import find_thresholds
from snnconv.calibration.collector import Collector
from snnconv.calibration.histogram import STATISTICS
from snnconv.data.dataset import load_dataset
from snnconv.engine.dispatch import compiled
from snnconv.errors import UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.ir import TRANSFER, Graph
from snnconv.graph.network import Network, ann_inputs, ceiling
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF
from snnconv.neurons.if_ import Params as IFParams
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "vision"
SIZES = {
    "alexnet": 64,
    "densenet121": 64,
    "inception_v3": 96,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 64,
    "squeezenet1_0": 64,
    "vgg16_bn": 32,
    "shufflenet_v2_x0_5": 64,
    "convnext_tiny": 64,
    "efficientnet_b0": 64,
    "mobilenet_v3_small": 64,
}
ANALOG = ("convnext_tiny", "efficientnet_b0", "mobilenet_v3_small")
LEVELS = (16, 64, 256, 4096, 16384)
STEPS = (16, 64, 256, 1024)
METHODS = ("max", "percentile")
TRAIN, TEST = 64, 4


def images(size: int) -> tuple[Tensor, Tensor]:
    """Training and test images ``[n, 3, size, size]``, of zero mean and unit variance."""
    data = load_dataset("fashion-mnist")
    first = torch.arange(TRAIN), torch.arange(TEST)
    raw = torch.cat([data.train.images(first[0]), data.test.images(first[1])])
    x = F.interpolate(raw, (size, size), mode="bilinear").expand(-1, 3, -1, -1)
    x = (x - x[:TRAIN].mean()) / x[:TRAIN].std()
    return x[:TRAIN].contiguous(), x[TRAIN:].contiguous()


WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True}
OPTIONS = {"googlenet": WITHOUT_AUXILIARY, "inception_v3": WITHOUT_AUXILIARY}


def network(name: str, train: Tensor) -> nn.Module:
    """The network with random weights and BatchNorm statistics of the data."""
    torch.manual_seed(0)
    options = {"image_size": train.shape[-1]} if name.startswith("vit") else OPTIONS.get(name, {})
    module = get_model(name, weights=None, **options)
    if name.startswith("vit"):  # torchvision's start with a last layer of zeros
        nn.init.normal_(module.heads.head.weight, std=0.02)
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    module.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for batch in train.split(16):
            module(batch)
    return module.eval()


def error(found: Tensor, expected: Tensor) -> float:
    """Relative, L2."""
    return float((found.double() - expected).norm() / expected.norm())


def largest(network: Network, samples: Tensor) -> dict[str, Tensor]:
    """The largest activation of each channel of each site ``[C]``.

    `snnconv calibrate --method max` finds the same ones. It also keeps histograms, which take
    gigabytes for the channels of the largest networks.
    """
    found = {}
    for name, before in ann_inputs(network, samples)[1].items():
        site = network.graph[name]
        value = before.abs() if site.op == TRANSFER else before.clamp(min=0)
        theta = value.transpose(0, 1).flatten(1).amax(1)
        theta = torch.where(theta > 0, theta, theta.max())
        highest = ceiling(site)
        found[name] = theta if highest is None else theta.clamp(max=highest)
    return found


def double(module: nn.Module, x: Tensor) -> Tensor:
    """What the network itself gives in float64."""
    with torch.no_grad():
        return copy.deepcopy(module).double()(x.double())


def errors(
    graph: Graph, tensors: dict[str, Tensor], train: Tensor, test: Tensor, expected: Tensor
) -> dict:
    """Everything of one network.

    Args:
        graph: as captured or imported, with tensors.
        train: images for thresholds ``[n, C, H, W]``; those to test on are used, too.
        test: images to measure errors on.
        expected: the network's own logits for them.
    """
    folded, weights = fold(graph, tensors)
    ann = Network(folded, weights).eval()
    analysis = Analysis.of(folded, weights)
    collector = Collector(analysis, "layer")
    for batch in (*train.split(16), test):
        collector.collect(ann, batch)
    thresholds = {}
    for method in METHODS:
        statistic = STATISTICS.load(method)
        thresholds[method] = find_thresholds(
            folded, collector.histograms, statistic, statistic.params()
        )

    def run(neurons: dict, T: int) -> Tensor:
        snn = SpikingNetwork(ann, neurons, 0, None).eval()
        return simulate(snn, test[None], torch.arange(len(test)), T, 8)

    levels = {}
    for L in LEVELS:
        neurons = {s: LMHT(LMHTParams(levels=L), t, 1) for s, t in thresholds["max"].items()}
        levels[str(L)] = error(run(neurons, 1)[-1], expected)
    steps: dict[str, dict[str, float]] = {}
    for method in METHODS:
        neurons = {site: IF(IFParams(), theta) for site, theta in thresholds[method].items()}
        logits = run(neurons, max(STEPS))
        steps[method] = {str(T): error(logits[T - 1], expected) for T in STEPS}
    with torch.no_grad():
        difference = error(ann(test), expected)
    return {
        "converts": True,
        "size": test.shape[-1],
        "sites": len(folded.sites),
        "cumulative_pools": len(analysis.cumulative),
        "non_spiking_share": analysis.work_count.non_spiking_share,
        "folded": difference,
        "levels": levels,
        "if": steps,
        "compiled": sorted(
            kind.__name__ for kind in map(NEURONS.load, NEURONS.own()) if compiled(kind, False)
        ),
        "torch": torch.__version__,
    }


def measure(name: str) -> dict:
    """One network of torchvision's."""
    started = time.perf_counter()
    train, test = images(SIZES[name])
    module = network(name, train)
    with torch.no_grad():
        expected = module(test).double()
    try:
        graph, tensors, _ = capture(module, tuple(test.shape[1:]), name in ANALOG)
    except UnsupportedError as refusal:
        return {"network": name, "converts": False, "why": refusal.found}
    if not graph.sites:
        return {"network": name, "converts": False, "why": "no ReLU in it"}
    found = errors(graph, tensors, train, test, expected)
    exact = {key: tensor.double() for key, tensor in tensors.items()}
    with torch.no_grad():
        refolded = Network(*fold(graph, exact)).eval()(test.double())
    found |= {"network": name, "folded_float64": error(refolded, double(module, test))}
    return found | {"seconds": time.perf_counter() - started}


def main() -> None:
    """As the module's docstring says."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or SIZES:
        found = measure(name)
        text = json.dumps(found, indent=2, sort_keys=True) + "\n"
        (REPORTS / f"{name}.json").write_text(text, encoding="utf-8")
        print(name, found.get("seconds", found.get("why")), flush=True)


if __name__ == "__main__":
    main()
