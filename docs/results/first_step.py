"""What training methods see at their first step: firing rates and gradients, layer by layer.

python docs/results/first_step.py NETWORK PRESET[@T] ...    # its rows, in runs/results/
python docs/results/condense.py runs/results
python docs/results/tables.py                               # the table of docs/results/training.md

An untrained network on 128 training images of Fashion-MNIST, in training mode; T is 2 if it is not
given. A layer's gradient is that of the cross-entropy of the mean output, divided by the weight,
both as norms.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from snnconv.checkpoint import load
from snnconv.config import TrainConfig
from snnconv.core import runtime
from snnconv.data.dataset import batches, load_dataset
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.build import spiking_network
from snnconv.stages import train

BATCH, DATA = 128, "fashion-mnist"
RATES = ObserverNeeds(counts=False)


def first_step(model: str, preset: str, T: int) -> dict[str, Any]:
    """Rates of neurons, and gradients of weights, from the first layer to the last."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        how = {"preset": preset, "timesteps": T, "epochs": 0, "limit": BATCH, "threads": 1}
        train.run(TrainConfig(model=model, data=DATA, run=run, **how))
        checkpoint = load(run / "trained.safetensors")
    snn = spiking_network(checkpoint, folded=False).train()
    split = load_dataset(DATA).train
    drawn = batches(split, checkpoint.data, torch.arange(BATCH), BATCH, frames_per_run=1)
    samples, x, labels = next(iter(drawn))
    rates: dict[str, float] = {}

    def observe(name: str, start: int, output: LayerOutput) -> None:
        assert output.values is not None
        rates[name] = output.values.detach().ne(0).float().mean().item()

    runtime.prepare(0, 1)
    currents, _ = snn(x, T, samples, None, observe, RATES)
    F.cross_entropy(currents.mean(0), labels).backward()
    layers = [node for node in checkpoint.graph.nodes if OPS[node.op].role is Role.SYNAPSE]
    weights = [snn.network.tensor(node.tensors["weight"]) for node in layers]
    return {
        "preset": preset,
        "timesteps": T,
        "firing_rates": list(rates.values()),
        "gradients": [(w.grad.norm() / w.norm()).item() for w in weights if w.grad is not None],
    }


def main() -> None:
    """As the module's docstring says."""
    name, rows = sys.argv[1], []
    for given in sys.argv[2:]:
        preset, _, steps = given.partition("@")
        row = first_step(name, preset, int(steps or 2))
        rows.append(row | {"preset": Path(preset).stem})
        print(rows[-1], flush=True)
    file = Path(os.environ.get("RESULTS", "runs/results")) / "first_step.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = {"model": name, "data": {"spec": DATA}, "samples": BATCH, "rows": rows}
    file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
