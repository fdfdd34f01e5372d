"""Small networks of functions, trained here, and their spiking twins at few steps.

python docs/results/functions.py [NAME ...]    # a JSON file a network, in runs/results/functions/

``convnext`` and ``efficientnet`` see Fashion-MNIST for two epochs, ``text`` the package
descriptions (package_texts.py, in runs/packages) for six. Spikes feed every matrix and convolution,
the first one too (``spike_everything``, ``spike_input``), by signed neurons that fire up to four
spikes a step. Thresholds are ``mse`` for that T and coding, one a channel, from 512 training
samples; with ``fine`` in its name, a way takes half of them. Accuracy is that of the first test
samples; spikes are those of either sign, a neuron and step.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.calibration.calibrate import Method, calibrate
from snnconv.calibration.histogram import STATISTICS
from snnconv.calibration.refit import refitted
from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import SpikingInfo
from snnconv.data.dataset import Dataset, load_dataset
from snnconv.engine.layer_output import LayerOutput
from snnconv.frontends.open import from_module
from snnconv.frontends.transfer import with_spiking_functions
from snnconv.graph.analysis import Analysis
from snnconv.neurons.signed import Params
from snnconv.simulation.build import spiking_network
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.simulate import simulate

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "functions"
RUNS = Path(os.environ.get("RUNS", "runs"))
TEXTS, WEIGHTS = RUNS / "packages", RUNS / "functions"
STEPS = (1, 2, 4, 8, 16)
CHANGES = Params(spikes=4, hysteresis=0.25, v0=0.375)
WAYS = {
    "rate": ("rate", Params(spikes=4), 1.0),
    "rate-fine": ("rate", Params(spikes=4), 0.5),
    "differential": ("differential", CHANGES, 1.0),
    "differential-fine": ("differential", CHANGES, 0.5),
}
"""Coding, neurons, and thresholds as a share of those that ``mse`` finds."""
SAMPLES, TESTED, BATCH, RATE = 512, 500, 128, 3e-3


class ConvNeXtBlock(nn.Module):
    """A depthwise 7 x 7, LayerNorm over channels, two layers with GELU, a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``, as it comes."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Patches of 4 x 4, three blocks."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, 28, 28] -> [B, 10]``."""
        return self.head(self.norm(self.blocks(self.patches(x)).mean((2, 3))))


class MBConv(nn.Module):
    """Wider, a depthwise 3 x 3, squeeze and excite, narrower again."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.wider = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU()
        )
        depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(wide), nn.SiLU())
        self.squeeze, self.excite = nn.Conv2d(wide, width, 1), nn.Conv2d(width, wide, 1)
        self.narrower = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``, perhaps at half the size."""
        y = self.depthwise(self.wider(x))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y = self.narrower(y * gate)
        return x + y if self.residual else y


class EfficientNet(nn.Module):
    """A stem, four blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.SiLU()
        )
        self.blocks = nn.Sequential(
            MBConv(12, 16, 2), MBConv(16, 16, 1), MBConv(16, 24, 2), MBConv(24, 24, 1)
        )
        self.last = nn.Sequential(nn.Conv2d(24, 64, 1, bias=False), nn.BatchNorm2d(64), nn.SiLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, 28, 28] -> [B, 10]``."""
        return self.head(self.last(self.blocks(self.stem(x))).mean((2, 3)))


class Text(nn.Module):
    """Words and places, an encoder of two layers, the mean over words."""

    def __init__(self, tokens: int, length: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(tokens, width)
        self.places = nn.Parameter(0.02 * torch.randn(1, length, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, L] -> [B, classes]``."""
        x = self.encoder(self.words(x.long()) + self.places)
        return self.head(self.norm(x).mean(1))


def opened(name: str) -> tuple[nn.Module, Dataset, int]:
    """The network, its data, and the epochs of its training."""
    torch.manual_seed(0)
    if name == "text":
        data = load_dataset(f"textfolder:{TEXTS}?length=32")
        assert data.info.tokens is not None
        net = Text(data.info.tokens, data.info.shape[0], len(data.info.classes))
        return net, data, 6
    return (
        {"convnext": ConvNeXt, "efficientnet": EfficientNet}[name](),
        load_dataset("fashion-mnist"),
        2,
    )


def samples_of(data: Dataset, split: str, first: int | None = None) -> tuple[Tensor, Tensor]:
    """Normalised samples and labels, all or the first of them."""
    part = getattr(data, split)
    labels = part.labels[:first]
    x = part.images(torch.arange(len(labels)))
    if data.info.tokens is None:
        x = (x - data.info.mean[0]) / data.info.std[0]
    return x, labels


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    """AdamW, its rate falling to 0."""
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    steps = epochs * (len(x) // BATCH)
    orders = (torch.randperm(len(x)) for _ in range(epochs))
    batches = (b for order in orders for b in order.split(BATCH) if len(b) == BATCH)
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def calibrated(ann: Checkpoint, x: Tensor, y: Tensor) -> Checkpoint:
    """The network with the statistics of its sites."""
    statistic = STATISTICS.load("mse")
    how = Method("mse", statistic, statistic.params(), "channel")
    batch = torch.zeros(0, dtype=torch.int64), x, y
    return calibrate(ann, how, lambda: [batch], torch.device("cpu"))


@torch.no_grad()
def run(checkpoint: Checkpoint, way: str, T: int, x: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy after T steps, and spikes a neuron and step."""
    coding, params, scale = WAYS[way]
    made, _, _ = refitted(checkpoint, CODINGS.load(coding)().fit(params.fit(T), T))
    finer = {f"{name}/threshold": scale * theta for name, theta in made.thresholds().items()}
    made = replace(made, calibration={**made.calibration, **finer})
    spiking = SpikingInfo(
        neuron="signed", params=params.model_dump(), coding=coding, timesteps=T, seed=0
    )
    snn = spiking_network(replace(made, kind="converted", spiking=spiking)).eval()
    spikes = neurons = right = 0.0

    def count(node: str, start: int, output: LayerOutput) -> None:
        nonlocal spikes, neurons
        if node in snn.neurons and output.counts is not None:
            spikes += float(output.counts.abs().sum())
            neurons += output.counts.numel()

    for samples in torch.arange(len(x)).split(100):
        logits = simulate(snn, x[samples][None], samples, T, 4, count)[-1]
        right += float((logits.argmax(1) == y[samples]).sum())
    return {"accuracy": right / len(x), "spikes": spikes / neurons}


def measure(name: str) -> dict:
    """One network: trained, converted, simulated at each T."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    net, data, epochs = opened(name)
    weights = WEIGHTS / f"{name}.pt"
    if weights.exists():
        net.load_state_dict(torch.load(weights, weights_only=True))
    else:
        train(net.train(), *samples_of(data, "train"), epochs)
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), weights)
    net.eval()
    print(name, f"trained: {time.perf_counter() - started:.0f} s", flush=True)
    x, y = samples_of(data, "test", TESTED)
    with torch.no_grad():
        accuracy = float((net(x).argmax(1) == y).float().mean())
    ann = with_spiking_functions(from_module(net, data.info, analog=True)[0], True, True)
    shares = Analysis.of(ann.graph, ann.network).shares
    found: dict = {"network": name, "ann_accuracy": accuracy, "samples": len(x), **shares}
    found |= {"sites": len(ann.graph.sites), "epochs": epochs, "torch": torch.__version__}
    checkpoint = calibrated(ann, *samples_of(data, "train", SAMPLES))
    for way in WAYS:
        rows = found[way] = {}
        for T in STEPS:
            rows[str(T)] = run(checkpoint, way, T, x, y)
            print(name, way, T, rows[str(T)], f"{accuracy:.3f}", flush=True)
    return found | {"seconds": time.perf_counter() - started}


def main() -> None:
    """Measure the networks that are named, or all."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or ("convnext", "efficientnet", "text"):
        file = REPORTS / f"{name}.json"
        if not file.exists():
            text = json.dumps(measure(name), indent=2, sort_keys=True) + "\n"
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
