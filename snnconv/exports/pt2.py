"""PyTorch's exported program: one step of the network, with its states as inputs and outputs.

The program takes ``x``, the samples at this step, normalised; ``step``, the number of steps done
before; and the states, whatever they are at the first step. It gives the currents, whose mean over
the steps so far are the logits; the states after the step; and the spikes of each layer of neurons.
``torch.export.load`` reads it with torch alone, and its example inputs have the shapes of the
states. The batch may have any size.

Shape:
    ``x [B, *input]``, ``step []``, states ``[B, *N] -> [B, classes]``, states, spikes ``[B, *N]``.

Reference:
    Bit for bit what this tool's dense engine computes a step at a time.

Deviations:
    What the tracer notes of the code that it found is left out, so that equal networks give equal
    bytes.
"""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnconv.errors import CheckFailedError, Obstacle
from snnconv.exports.base import Export, RunResult, Subject
from snnconv.exports.parts import step


class Pt2(Export):
    """Writes an exported program."""

    suffix = ".pt2"
    referee = "torch.export.load, step after step"
    steps_at_once: ClassVar[int | None] = 1

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return what a program of one step can't say."""
        whole = "export with --to torch, whose module computes all steps"
        return step.unwritten(subject) or step.obstacles(subject, whole)

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the program."""
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(_program(subject), content)
        return {self.suffix: content.getvalue()}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the program, step after step."""
        if not zipfile.is_zipfile(file):  # torch tells of it at length
            raise CheckFailedError(f"{file.name} can't be read", "no archive", "export it again")
        program = torch.export.load(file)
        module, hold = program.module(), subject.network.hold or timesteps
        (_, _, states), _ = program.example_inputs
        states = [each.new_zeros(x.shape[1], *each.shape[1:]) for each in states]
        spikes: dict[str, list[Tensor]] = {name: [] for name in subject.network.neurons}
        total, averages = torch.zeros((), dtype=torch.float64), []
        with torch.no_grad():
            for t in range(timesteps):
                shown = x[t // hold % len(x)]
                currents, states, fired = module(shown, torch.tensor(t), states)
                total = total + currents.double()
                averages.append(total / (t + 1))
                for site, values in zip(spikes, fired, strict=True):
                    spikes[site].append(values)
        shown_spikes = {site: torch.stack(each) for site, each in spikes.items()}
        return RunResult(torch.stack(averages), shown_spikes)


@torch.no_grad()
def _program(subject: Subject) -> torch.export.ExportedProgram:
    """Return one step, with nothing in it of the machine that traced it."""
    traced = step.traced(subject)
    batch = torch.export.Dim("batch", min=1)

    def sized(argument: Any) -> Any:
        if isinstance(argument, list):
            return [sized(each) for each in argument]
        return {0: batch} if argument.dim() else {}

    shapes = tuple(sized(each) for each in traced.arguments)
    program = torch.export.export(traced.module, traced.arguments, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        for noted in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(noted, None)
    return program


EXPORT = Pt2
