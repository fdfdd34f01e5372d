"""Networks of functions from every front end: what is taken, and whether its spikes are the same.

python docs/results/front_ends.py [NAME ...]    # a report in runs/results/front_ends.json
python docs/results/condense.py runs/results
python docs/results/tables.py                   # the table of docs/results/transfer.md

Small versions of the networks, made of PyTorch's and torchvision's own classes, with random weights
(seed 0). A front end has to give the module's outputs, to 1e-4 of their norm. Then spikes feed
every matrix that reads a function or a recurrence: signed neurons of up to four spikes, thresholds
at a quarter of the largest value, 8 steps, three samples. They are compared with the spikes of the
network that the module itself gives: how many neurons of a site spike how often, at each step and
sample, since front ends may name the axes of a site in another order.
"""

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.errors import UnsupportedOperatorError
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from snnconv.engine.layer_output import LayerOutput
from snnconv.errors import SnnconvError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.ir import TRANSFER, Graph
from snnconv.graph.network import Network, ann_inputs
from snnconv.graph.own_gates import with_own_gates
from snnconv.graph.transfer import with_transfer_sites
from snnconv.neurons.signed import Params, Signed
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

REPORT = Path(os.environ.get("RESULTS", "runs/results")) / "front_ends.json"
IMAGE, SMALL, ROW, TOKENS = (3, 32, 32), (3, 16, 16), (5, 8), 11
SAMPLES, STEPS, OPSET = 3, 8, 18


class Attention(nn.Module):
    """``nn.MultiheadAttention`` between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, L, 8] -> [B, 3]``."""
        x = self.first(x)
        return self.last(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Masked(nn.Module):
    """``F.scaled_dot_product_attention`` with a constant mask."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 24), nn.Linear(8, 3)
        self.mask = nn.Buffer(torch.ones(5, 5).tril().bool())

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 5, 8] -> [B, 3]``."""
        q, k, v = self.first(x).view(-1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, self.mask).transpose(1, 2).flatten(2)
        return self.last(x.mean(1))


class Encoder(nn.Module):
    """Words or patches, a class token, positions, and an encoder of one layer."""

    def __init__(self, first: nn.Module, length: int, norm_first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, length + 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0, "gelu", batch_first=True)
        layer.norm_first = norm_first
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, *input] -> [B, 3]``, read at the class token."""
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), self.first(x)], 1)
        return self.last(self.encoder(x + self.places)[:, 0])


class Unfolded(nn.Module):
    """Patches of 4 x 4 by ``unfold``."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, 16, 16] -> [B, 16, 8]``."""
        return self.embed(F.unfold(x, 4, stride=4).transpose(1, 2))


class Words(nn.Module):
    """An embedding of token numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, 8)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 5] -> [B, 5, 8]``."""
        return self.table(x.long())


class Recurrent(nn.Module):
    """An LSTM or a GRU in both directions, read at the mean over words."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.words = Words()
        self.states, self.last = kind(8, 6, batch_first=True, bidirectional=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 5] -> [B, 3]``."""
        return self.last(self.states(self.words(x))[0].mean(1))


def _swin(block: type[nn.Module] | None, merging: type[nn.Module] | None) -> nn.Module:
    more = {"block": block, "downsample_layer": merging} if merging else {}
    size = {"patch_size": [4, 4], "window_size": [2, 2], "num_classes": 3}
    return models.SwinTransformer(embed_dim=8, depths=[2, 1], num_heads=[2, 2], **size, **more)


def _convnext() -> nn.Module:
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(blocks, num_classes=3)


def _efficientnet() -> nn.Module:
    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0), MBConvConfig(4, 3, 2, 8, 16, 2, 1.0, 1.0)]
    return models.EfficientNet(blocks, 0.0, num_classes=3)


def _mobilenet() -> nn.Module:
    blocks = [
        InvertedResidualConfig(8, 3, 16, 8, True, "RE", 1, 1, 1.0),
        InvertedResidualConfig(8, 5, 24, 16, True, "HS", 2, 1, 1.0),
    ]
    return models.MobileNetV3(blocks, 32, num_classes=3)


def _regnet() -> nn.Module:
    blocks = BlockParams.from_init_params(2, 8, 8.0, 2.0, 4, se_ratio=0.25)
    return models.RegNet(blocks, num_classes=3, stem_width=8)


def _vit() -> nn.Module:
    size = {"hidden_dim": 8, "mlp_dim": 16, "num_classes": 3}
    module = models.VisionTransformer(16, 4, num_layers=1, num_heads=2, **size)
    nn.init.normal_(module.heads.head.weight)  # torchvision starts with zeros
    return module


def _maxvit() -> nn.Module:
    return models.MaxVit((32, 32), 8, 2, [8, 16], [1, 1], 4, 0.0, num_classes=3)


Maker = Callable[[], nn.Module]
NETWORKS: dict[str, tuple[Maker, tuple[int, ...]]] = {
    "`nn.MultiheadAttention`": (Attention, ROW),
    "`scaled_dot_product_attention`, masked": (Masked, ROW),
    "`nn.TransformerEncoderLayer`": (lambda: Encoder(nn.Linear(8, 8), 5), ROW),
    "the same, fast path": (lambda: Encoder(nn.Linear(8, 8), 5), ROW),
    "the same, norm first": (lambda: Encoder(nn.Linear(8, 8), 5, True), ROW),
    "patches by `unfold`, class token": (lambda: Encoder(Unfolded(), 16), SMALL),
    "text encoder": (lambda: Encoder(Words(), 5), (5,)),
    "ViT": (_vit, SMALL),
    "Swin": (partial(_swin, None, None), IMAGE),
    "Swin v2": (partial(_swin, SwinTransformerBlockV2, PatchMergingV2), IMAGE),
    "MaxViT": (_maxvit, IMAGE),
    "ConvNeXt": (_convnext, IMAGE),
    "EfficientNet": (_efficientnet, IMAGE),
    "MobileNetV3": (_mobilenet, IMAGE),
    "RegNet-Y": (_regnet, IMAGE),
    "LSTM": (partial(Recurrent, nn.LSTM), (5,)),
    "GRU": (partial(Recurrent, nn.GRU), (5,)),
}
"""Each network by its name, and the shape of its input."""

Opened = tuple[Graph, dict[str, Tensor]]


def opened(
    front_end: str, module: nn.Module, x: Tensor, folder: Path, learns: bool = True
) -> Opened:
    """The network of a module by one of the front ends; exported as one that learns, or not."""
    shape, tokens = tuple(x.shape[1:]), TOKENS if x.dtype == torch.int64 else None
    if front_end == "module":
        return capture(module, shape, True, tokens)[:2]
    file = folder / f"{front_end}.{'pt2' if front_end == 'pt2' else 'onnx'}"
    batch = ({0: torch.export.Dim("batch")},)
    logging.disable()
    try:
        quiet = warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO())
        with torch.set_grad_enabled(learns), quiet[0], quiet[1]:
            if front_end == "pt2":
                torch.export.save(torch.export.export(module, (x,), dynamic_shapes=batch), file)
            elif front_end == "dynamo":
                more = {"dynamic_shapes": batch, "verbose": False}
                torch.onnx.export(module, (x,), file, opset_version=OPSET, dynamo=True, **more)
            else:
                more = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
                torch.onnx.export(module, (x,), file, opset_version=OPSET, dynamo=False, **more)
    finally:
        logging.disable(logging.NOTSET)
    if front_end == "pt2":
        return import_exported(file, shape, True, tokens)[:2]
    return import_onnx(file, shape, analog=True, tokens=tokens)[:2]


NOT_WRITTEN = "no file"
"""PyTorch's exporter itself can't write the network."""
FRONT_ENDS = ("module", "pt2", "torchscript", "dynamo")


def spikes(found: Opened, x: Tensor, thetas: list[Tensor] | None) -> tuple[Graph, list, list]:
    """The graph with its sites, the thresholds in their order, and the counts."""
    graph, tensors = with_own_gates(*found)
    graph = with_transfer_sites(graph, tensors)
    network = Network(graph, tensors).eval()
    if thetas is None:
        inputs = ann_inputs(network, x)[1]
        thetas = [inputs[s.name].abs().max().clamp(min=1e-3) / 4 for s in graph.sites]
    neurons = {
        site.name: Signed(Params(spikes=4), theta)
        for site, theta in zip(graph.sites, thetas, strict=True)
    }
    counts: dict[str, list[Tensor]] = {name: [] for name in neurons}

    def observe(name: str, _: int, output: LayerOutput) -> None:
        if name in counts and output.counts is not None:
            counts[name].append(output.counts.clone())

    snn = SpikingNetwork(network, neurons, 0, None).eval()
    simulate(snn, x[None], torch.arange(len(x)), STEPS, STEPS, observe)
    # front ends may name the axes of a site in another order: its neurons are put in an order
    return graph, thetas, [torch.cat(each).flatten(2).sort(2)[0] for each in counts.values()]


@torch.no_grad()
def measure(name: str, front_ends: tuple[str, ...] = FRONT_ENDS) -> dict[str, Any]:
    """One network from the front ends; what is refused says why."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    module = make().eval()
    text, learns = len(shape) == 1, "fast path" not in name
    x = torch.randint(TOKENS, (SAMPLES, *shape)) if text else torch.randn(SAMPLES, *shape)
    graph, thetas, own = spikes(opened("module", module, x, Path()), x.float(), None)
    sites = sum(site.op == TRANSFER for site in graph.sites)
    row: dict[str, Any] = {"network": name, "sites": len(graph.sites), "transfer_sites": sites}
    for front_end in front_ends:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = opened(front_end, module, x, Path(folder), learns)
            except SnnconvError as refusal:
                row[front_end] = str(refusal.found)
                continue
            except UnsupportedOperatorError:
                row[front_end] = NOT_WRITTEN
                continue
        out = Network(*found).eval()(x.float())
        assert (out - module(x)).norm() <= 1e-4 * module(x).norm(), (name, front_end)
        _, _, theirs = spikes(found, x.float(), thetas)
        differ = sum(int((a != b).sum()) for a, b in zip(own, theirs, strict=True))
        row[front_end] = differ / sum(each.numel() for each in own)
    return row


def main() -> None:
    """Measure the networks that are named, or all."""
    rows = []
    for name in sys.argv[1:] or NETWORKS:
        rows.append(measure(name))
        print(rows[-1], flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": rows, "torch": torch.__version__}
    REPORT.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
