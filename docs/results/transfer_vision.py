"""torchvision's networks by name, with spiking functions: errors, spikes, and what does not spike.

python docs/results/transfer_vision.py [NAME ...]    # a JSON file a network, in runs/results/
python docs/results/condense.py runs/results
python docs/results/tables.py                        # the table of docs/results/transfer.md

A network that has its file is not run again, and small ones come first. Weights are those of
vision.py: random, with BatchNorm's statistics of the images. Each network goes the way of a user:
calibrate, convert and evaluate, by its name and a file of weights. Functions and ReLUs feed
matrices through signed neurons (``non_relu=spike``, g = 4). Thresholds are the largest activation
of a channel, on four training images and the two that are simulated. Errors are L2 over all logits,
relative to the ANN's; spikes are those of either sign, a neuron and step, over all steps.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from vision import OPTIONS, images, network

import snnconv

REPORTS = Path(os.environ.get("RESULTS", "runs/results")) / "transfer-vision"
STEPS = (16, 64)
TRAIN, TEST = 4, 2
SLOW = ("maxvit_t",)
"""Calibrated on one training image, and simulated on one image."""
NETWORKS = {  # side of its images by name, fast ones first; MaxViT's windows of 7 x 7 fix its own
    "squeezenet1_0": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "mobilenet_v3_small": 64,
    "resnet34": 64,
    "alexnet": 64,
    "mnasnet0_5": 64,
    "googlenet": 64,
    "mobilenet_v2": 64,
    "resnet50": 64,
    "inception_v3": 96,
    "regnet_y_400mf": 64,
    "vgg16_bn": 32,
    "convnext_tiny": 64,
    "densenet121": 64,
    "resnext50_32x4d": 64,
    "swin_t": 64,
    "efficientnet_b0": 64,
    "vit_b_16": 64,
    "maxvit_t": 224,
}


def spec(name: str, size: int) -> str:
    """The MODEL of a network: its name, and options as ``OPTIONS`` and its size ask."""
    options = {"image_size": size} if name.startswith("vit") else OPTIONS.get(name, {})
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"torchvision:{name}" + f"?{query}" * bool(query)


def measure(name: str) -> dict[str, Any]:
    """One network, with and without sites where a matrix reads what no function gives."""
    started = time.perf_counter()
    size = NETWORKS[name]
    taken = (1, 1) if name in SLOW else (TRAIN, TEST)
    train, test = (x[:n] for x, n in zip(images(size), taken, strict=True))
    found: dict[str, Any] = {"network": name, "size": size, "timesteps": max(STEPS)}
    found["images"] = len(test)
    with tempfile.TemporaryDirectory() as run:
        weights = Path(run) / "weights.safetensors"
        save_file(network(name, train).state_dict(), weights)
        data = {"train": torch.cat([train, test]), "test": test}
        model, here = spec(name, size), {"run": run, "threads": 1}
        options: dict[str, Any] = {"weights": weights, "data": data, "non_relu": "spike"}
        everything = {"spike_everything": True, "spike_input": True}
        described = snnconv.inspect(model, **options, **everything, **here)
        found |= shares("_everything", described)
        calibrated = snnconv.calibrate(model, method="max", **options, **here)
        found |= shares("", snnconv.inspect(str(Path(run) / "calibrated.safetensors")))
        neuron = {"neuron": "signed", "param": {"spikes": 4}, "timesteps": max(STEPS)}
        snnconv.convert(**neuron, **here)
        seen = snnconv.evaluate(metric=["scores", "firing-rate"], **here)
    assert calibrated.imported is not None
    found["imported"] = calibrated.imported.difference
    errors = seen.scores["relative-error"]
    found["error"] = {str(T): errors[T - 1] for T in STEPS}
    found |= {"spikes": seen.firing_rate_mean, "torch": torch.__version__}
    return found | {"seconds": time.perf_counter() - started}


def shares(suffix: str, seen: Any) -> dict[str, Any]:
    """Sites, transfer sites among them, the share that does not spike, and that of functions."""
    sites = [node for node in seen.nodes if node.role == "site"]
    numbers = {"sites": len(sites), "transfer_sites": sum(n.op == "transfer" for n in sites)}
    numbers |= {key: getattr(seen, key) for key in ("non_spiking_share", "function_share")}
    return {f"{key}{suffix}": value for key, value in numbers.items()}


def main() -> None:
    """Measure the networks that are named, or all."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or NETWORKS:
        file = REPORTS / f"{name}.json"
        if file.exists():
            continue
        found = measure(name)
        print(found, flush=True)
        file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
