"""What one training step in slices of time takes of memory, beyond what the process held before.

python docs/results/slices_memory.py NETWORK CONVERTED    # its rows, in runs/results/
python docs/results/condense.py runs/results
python docs/results/tables.py                             # the table of docs/results/*.md

A checkpoint of LM-H neurons, 128 random images. Each row is a process of its own, which has
trained on two images before, so that all is compiled and loaded.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from snnconv.checkpoint import load
from snnconv.core import runtime
from snnconv.core.progress import Quiet
from snnconv.simulation.build import spiking_network
from snnconv.tasks.base import TASKS
from snnconv.training.losses.base import named_loss
from snnconv.training.objective import SpikingLoss, slice_of

BATCH = 128
ROWS = [(8, 1), (8, 2), (8, 4), (8, 8), (16, 1), (32, 1), (16, 16)]
"""T, and steps of a slice."""


def step(trained: SpikingLoss, shape: tuple[int, ...], batch: int) -> None:
    """Forward and backward through all slices, as ``finetune --slice`` does."""
    x = torch.rand(1, batch, *shape).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long)
    for loss, _ in trained.losses(trained.module, torch.arange(batch), x[None], labels):
        loss.backward()
    trained.module.zero_grad()


def status(which: str) -> int:
    """MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) // 1024


def measure(file: Path, T: int, k: int) -> int:
    """MiB at most."""
    runtime.prepare(0, 1)
    checkpoint = load(file)
    snn = spiking_network(checkpoint, folded=False).train()
    task, loss = TASKS.load("classification"), named_loss("mean", {})
    held_out, device = None, torch.device("cpu")  # nothing is measured but the step
    trained = SpikingLoss(
        snn,
        task,
        T,
        slice_of(snn, T, k),
        loss,
        0.0,
        held_out,
        device,
        Quiet(),  # type: ignore[arg-type]
    )
    step(trained, checkpoint.data.shape, 2)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak from now on
    before = status("VmRSS")
    step(trained, checkpoint.data.shape, BATCH)
    return status("VmHWM") - before


def main() -> None:
    """As the module's docstring says."""
    name, checkpoint, rows = sys.argv[1], Path(sys.argv[2]), []
    for T, k in ROWS:
        command = [sys.executable, __file__, str(checkpoint), str(T), str(k)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"timesteps": T, "slice": k, "mib": int(done.stdout)})
        print(rows[-1], flush=True)
    file = Path(os.environ.get("RESULTS", "runs/results")) / "slices_memory.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found[name] = {
        "batch": BATCH,
        "checkpoint": checkpoint.name,
        "rows": rows,
        "torch": torch.__version__,
    }
    file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
