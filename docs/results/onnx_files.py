"""ONNX files: which convert, how far their spiking twins are, and whether the way changes spikes.

python docs/results/onnx_files.py [NAME ...]    # a JSON file a network, in runs/results/onnx/
python docs/results/condense.py runs/results
python docs/results/tables.py                   # the tables of docs/results/*.md

Two kinds of files. Those that the onnx package ships for its own tests, `light_NAME`, have the real
networks' operators and one number a weight tensor; the weights here are random (seed 0) instead,
and so the errors are those of `vision.py`, which this program shares. One image, since inputs are
3 x 224 x 224. And torchvision's networks as `vision.py` makes them, exported by both of torch's
exporters, BatchNorm kept: their IF networks (thresholds `max`, T = 64) beside that of the module,
spike for spike.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from vision import SIZES, errors, images, network

from snnconv.calibration.calibrate import find_thresholds
from snnconv.calibration.collector import Collector
from snnconv.calibration.histogram import STATISTICS
from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.torch.capture import Captured, capture
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.neurons.if_ import IF, Params
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "onnx"
SHIPPED = Path(onnx.__file__).parent / "backend/test/data/light"
LIGHT = (
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50"),
    *("shufflenet", "squeezenet", "vgg19", "zfnet512"),
)
EXPORTED = ("densenet121", "mnasnet0_5", "mobilenet_v2", "resnet18", "resnet50", "squeezenet1_0")
"""Not AlexNet and VGG: torchscript's exporter has no adaptive pooling from 1 x 1 to 6 x 6."""
T = 64


def randomised(name: str, folder: Path) -> Path:
    """A file that the onnx package ships, with random weights that keep values in range."""
    model, random = onnx.load(SHIPPED / f"light_{name}.onnx"), np.random.default_rng(0)
    shape_of = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made = {}
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        shape = tuple(shape_of[node.input[0]])
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        made[node.output[0]] = (random.normal(size=shape) * spread).astype(np.float32)
        model.graph.node.remove(node)
    for node in [n for n in model.graph.node if n.op_type == "BatchNormalization"]:
        for role in {node.input[1], node.input[4]} & set(made):  # scale and variance
            made[role] = np.abs(made[role]) + 0.5
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in made.items())
    model.ir_version = 8  # older ones want every initialiser among the inputs
    file = folder / f"light_{name}.onnx"
    onnx.save(model, file)
    return file


def light(name: str, folder: Path) -> dict:
    """A shipped file with random weights."""
    train, test = images(224)
    train, test = train[:8], test[:1]
    try:
        graph, tensors, verdict = import_onnx(randomised(name, folder), tuple(test.shape[1:]))
    except UnsupportedError as refusal:
        return {"converts": False, "why": refusal.found}
    with torch.no_grad():
        expected = Network(graph, tensors).eval()(test).double()
    return errors(graph, tensors, train, test, expected) | {"imported": verdict.difference}


def export(module: nn.Module, x: Tensor, file: Path, dynamo: bool) -> Path:
    """A module by one of torch's exporters; BatchNorm stays as it is."""
    how = {"input_names": ["x"], "output_names": ["y"], "opset_version": 18}
    if not dynamo:  # a graph in training form keeps BatchNorm; its modules are in evaluation mode
        how |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    torch.onnx.export(module, (x[:1],), str(file), dynamo=dynamo, optimize=False, **how)
    return file


def spikes(found: Captured, train: Tensor, test: Tensor, thetas: list[Tensor] | None) -> tuple:
    """Counts by site, in the graph's order, and thresholds; those given, if any."""
    graph, tensors = fold(found.graph, found.tensors)
    ann = Network(graph, tensors).eval()
    if thetas is None:
        collector = Collector(Analysis.of(graph, tensors), "layer")
        for batch in (*train.split(16), test):
            collector.collect(ann, batch)
        method = STATISTICS.load("max")
        by_site = find_thresholds(graph, collector.histograms, method, method.params())
        thetas = [by_site[site.name] for site in graph.sites]
    neurons = {
        site.name: IF(Params(), theta) for site, theta in zip(graph.sites, thetas, strict=True)
    }
    counts: dict[str, list[Tensor]] = {name: [] for name in neurons}

    def observe(name: str, _: int, found: object) -> None:
        if name in counts:
            counts[name].append(found.counts.to(torch.uint8))

    snn = SpikingNetwork(ann, neurons, 0, None).eval()
    simulate(snn, test[None], torch.arange(len(test)), T, 8, observe)
    return [torch.cat(each) for each in counts.values()], thetas


def exported(name: str, folder: Path) -> dict:
    """A network of torchvision's by its module and by two files."""
    train, test = images(SIZES[name])
    module = network(name, train)
    own, thetas = spikes(capture(module, tuple(test.shape[1:])), train, test, None)
    found: dict = {"size": SIZES[name], "sites": len(own), "timesteps": T}
    for exporter in ("torchscript", "dynamo"):
        file = export(module, test, folder / f"{exporter}.onnx", exporter == "dynamo")
        imported = import_onnx(file, tuple(test.shape[1:]))
        theirs, _ = spikes(imported, train, test, thetas)
        differ = sum(int((a != b).sum()) for a, b in zip(own, theirs, strict=True))
        found[exporter] = {
            "imported": imported.verdict.difference,
            "neuron_steps_that_differ": differ,
            "neuron_steps": sum(each.numel() for each in own),
        }
    return found | {"spikes": sum(int(each.sum()) for each in own)}


def main() -> None:
    """As the module's docstring says."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or (*(f"light_{each}" for each in LIGHT), *EXPORTED):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            shipped = name.startswith("light_")
            where = Path(folder)
            found = light(name[6:], where) if shipped else exported(name, where)
        found |= {"network": name, "seconds": time.perf_counter() - started}
        found |= {"onnx": onnx.__version__, "torch": torch.__version__}
        text = json.dumps(found, indent=2, sort_keys=True) + "\n"
        (REPORTS / f"{name}.json").write_text(text, encoding="utf-8")
        print(name, found["seconds"], flush=True)


if __name__ == "__main__":
    main()
