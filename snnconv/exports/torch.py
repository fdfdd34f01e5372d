"""A plain PyTorch module that stands alone: one file of Python, and one of tensors.

The Python file imports torch and nothing else. It has the neuron as its own file states it, the
layers as ``nn.Module``s by the names that they had, and the walk through time; a person can read
and edit it. The tensors are a safetensors file in the same folder, which a few lines of the file
read: it runs no code when it is loaded, as a pickle would, and any other tool reads it too.

Shape:
    ``[B, *input] -> [B, classes]``.

Reference:
    Bit for bit what this tool's dense engine computes: the same operations on the same merged
    ``[T*B, *N]``, in the same layout of memory.

Deviations:
    In training, its spikes take the triangle of width 1, whatever surrogate the network was trained
    by; those that fire by thresholds of normalised potentials have no derivative.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from snnconv.checkpoint.file import plain
from snnconv.errors import CheckFailedError, Obstacle
from snnconv.exports.base import Export, RunResult, Subject
from snnconv.exports.parts.step import unwritten
from snnconv.exports.parts.torch_module import Writer

_RUN = """
import pathlib, runpy, sys
sys.modules["snnconv"] = None  # whatever is installed, the file stands alone
import torch
file, given, found, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
given = torch.load(given, weights_only=True)
module = runpy.run_path(file)
network = module["load"]()
network.chunk = given["chunk"]
with torch.no_grad():
    torch.save(network.averages(given["x"], given["timesteps"], given["samples"]), found)
"""


class TorchModule(Export):
    """Writes a module file."""

    suffix = ".py"
    referee = "torch, in a process that can't import snnconv"

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return the obstacle of a neuron whose source can't stand alone."""
        return unwritten(subject)

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the module, and its tensors."""
        writer = Writer(subject)
        return {".py": writer.text(stem).encode(), ".safetensors": plain(writer.tensors())}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the file in a fresh process, which can't import this package."""
        frames = subject.network.hold is not None
        given = {
            "x": x.transpose(0, 1) if frames else x[0],
            "samples": samples,
            "timesteps": timesteps,
            "chunk": chunk,
        }
        with tempfile.TemporaryDirectory() as folder:
            into, out = Path(folder, "given.pt"), Path(folder, "found.pt")
            torch.save(given, into)
            names = [str(file.resolve()), str(into), str(out), str(torch.get_num_threads())]
            done = subprocess.run(
                [sys.executable, "-I", "-c", _RUN, *names],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise CheckFailedError(
                    "the exported module does not run",
                    (done.stderr.strip().splitlines() or ["no word"])[-1],
                    "export with --debug, and report it with the checkpoint",
                )
            return RunResult(torch.load(out, weights_only=True), {})


EXPORT = TorchModule
