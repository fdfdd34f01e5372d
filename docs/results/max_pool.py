"""Max pooling of spikes: the cumulative rule beside the largest spike of each step.

python docs/results/max_pool.py     # runs/results/max_pool.json, for condense.py
python docs/results/tables.py       # the table of docs/results/*.md, from that file

Spikes are those of IF neurons (v0 = theta/2, theta the largest activation) in the trained ResNet-20
beside this file, at the first activation of each stage, on Fashion-MNIST's first test images; a
neuron's current is constant, the ANN's own. Each pooling is run on them for T steps by both rules.
Errors are L2 over all places, relative: of the mean output against the pool of the mean input,
which is what the rule is to give, and against the pool of the ANN's activations.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from snnconv.checkpoint import load
from snnconv.data.dataset import batches, load_dataset
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network, ann_inputs
from snnconv.neurons.if_ import IF, Params
from snnconv.simulation.network import SpikingNetwork

HERE = Path(__file__).parent
WINDOWS = ((2, 2, 0), (3, 2, 1), (3, 1, 1))  # kernel, stride, padding
STAGES = (0, 7, 13)  # of ResNet-20's activations, the first of each width
T, SAMPLES = 32, 50


def error(found: Tensor, expected: Tensor) -> float:
    """Relative, L2."""
    return float((found - expected).norm() / expected.norm())


def currents() -> dict[str, Tensor]:
    """What the activations of the trained network are given, by site ``[n, C, H, W]``."""
    ann = load(HERE / "resnet20" / "ann.safetensors", ["ann"])
    data = load_dataset("fashion-mnist")
    ((_, x, _),) = batches(data.test, ann.data, torch.arange(SAMPLES), SAMPLES)
    with torch.no_grad():
        _, inputs = ann_inputs(Network(ann.graph, ann.network).eval(), x)
    return {ann.graph.sites[k].name: inputs[ann.graph.sites[k].name] for k in STAGES}


def measure(site: str, x: Tensor, window: tuple[int, int, int]) -> dict:
    """One pooling of the spikes of one site."""
    pool, spikes = nn.MaxPool2d(*window), list[Tensor]()
    graph, tensors, _ = capture(nn.Sequential(nn.ReLU(), pool, nn.Flatten()), tuple(x.shape[1:]))
    (neuron,) = graph.sites
    snn = SpikingNetwork(
        Network(graph, tensors).eval(), {neuron.name: IF(Params(), x.max()[None])}, 0, None
    ).eval()

    def observe(name: str, start: int, seen: object) -> None:
        if name == neuron.name:
            spikes.append(seen.values)

    with torch.no_grad():
        out, _ = snn(x[None], T, torch.arange(len(x)), observe=observe)
    into = torch.cat(spikes)
    largest = pool(into.flatten(0, 1)).unflatten(0, into.shape[:2]).mean(0)
    means = {"cumulative": out.mean(0).view_as(largest), "largest_spike": largest}
    wanted = {"pool_of_mean": pool(into.mean(0)), "ann": pool(x.relu())}
    return {
        "site": site,
        "window": list(window),
        "input_error": error(into.mean(0), x.relu()),
        **{
            f"{rule}_against_{reference}": error(found, expected)
            for rule, found in means.items()
            for reference, expected in wanted.items()
        },
    }


def main() -> None:
    """As the module's docstring says."""
    rows = [measure(site, x, window) for site, x in currents().items() for window in WINDOWS]
    found = {"timesteps": T, "samples": SAMPLES, "torch": torch.__version__, "rows": rows}
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    file = Path(os.environ.get("RESULTS", "runs/results")) / "max_pool.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
