"""Measure a network in whole numbers on the samples of an evaluation, next to the network.

Shape:
    Samples ``[f, B, *input]``, logits ``[T, B, classes]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint, sha256
from snnconv.core.uncertainty import mcnemar
from snnconv.core.validation import parameters
from snnconv.errors import ObstaclesError
from snnconv.exports.base import Subject, corrections
from snnconv.exports.integer import Integer, Params
from snnconv.exports.parts.corrected import stated
from snnconv.exports.parts.integer_run import logits, run
from snnconv.reports import Difference, IntegerUse
from snnconv.simulation.build import spiking_network
from snnconv.simulation.network import SpikingNetwork


class IntegerMeasure:
    """Runs the network of ``export --to integer``, and counts.

    Args:
        checkpoint: a checkpoint of a kind that has neurons.
        file: the file of the checkpoint.
        given: parameters of the format.
        timesteps: T.
        first: the step from which outputs count.
        draw: gives so many training samples ``[f, B, *input]``, None for 0; see
            :attr:`.Export.samples`.

    Raises:
        UsageError: a parameter that is none, or out of its range.
        ObstaclesError: what has no whole numbers.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        file: Path,
        given: Mapping[str, Any],
        timesteps: int,
        first: int,
        draw: Callable[[SpikingNetwork, int], Tensor | None],
    ) -> None:
        self.params = parameters(Params, given, "option --integer")
        said = stated(checkpoint)
        network = spiking_network(said, engine="dense").eval()
        subject, format_ = Subject(said, network, str(file), sha256(file)), Integer(self.params)
        of_integers = format_.obstacles(subject)
        if found := (*corrections(said), *of_integers):
            raise ObstaclesError(str(file), found, "be computed in whole numbers", "part")
        seen = draw(network, format_.samples)
        self.network = format_.network(replace(subject, samples=seen))
        self.timesteps, self.first = timesteps, first
        self.hold = network.hold or timesteps
        self.sums: dict[str, Any] = {
            "right": torch.zeros(timesteps, dtype=torch.int64),
            "labelled": 0,
            "only_this": 0,
            "only_other": 0,
            "same": 0,
            "inputs": 0,
            "inputs_clipped": 0,
            "potentials": 0,
            "potentials_clipped": 0,
        }

    def add(self, x: Tensor, own: Tensor, labels: Tensor | None) -> None:
        """Run a batch.

        Args:
            x: the samples.
            own: logits of the network itself, ``[T, B, *outputs]``.
            labels: classes ``[B]``, if there are any.
        """
        samples = x.double().cpu().numpy()
        found = run(self.network, samples, self.timesteps, self.hold, watched=False)
        outputs = torch.from_numpy(logits(self.network, found.outputs, self.first))
        said = outputs.reshape(own.shape).argmax(2)
        before = own[-1].argmax(1).cpu()
        sums, clipped = self.sums, found.saturation
        sums["same"] += int((said[-1] == before).reshape(len(before), -1).all(1).sum())
        sums["inputs"] += clipped.of_inputs
        sums["inputs_clipped"] += clipped.inputs
        sums["potentials"] += clipped.of_potentials
        sums["potentials_clipped"] += clipped.potentials
        if labels is None or labels.dim() != 1 or labels.is_floating_point():
            return
        right = said == labels.cpu()
        other = before == labels.cpu()
        sums["labelled"] += len(other)
        sums["right"] += right.sum(1)
        sums["only_this"] += int((right[-1] & ~other).sum())
        sums["only_other"] += int((~right[-1] & other).sum())

    def use(self, reduce: Callable[[dict[str, Any]], dict[str, Any]]) -> IntegerUse:
        """Return what was found, over all processes.

        Args:
            reduce: adds numbers up over processes.
        """
        sums = reduce(self.sums)
        this, other = sums["only_this"], sums["only_other"]
        count = sums["labelled"]
        paired = Difference(only_this_right=this, only_other_right=other, p=mcnemar(this, other))
        return IntegerUse(
            params=self.params.model_dump(),
            accuracy=(sums["right"].double() / count).tolist() if count else None,
            against_itself=paired if count else None,
            same_class=sums["same"],
            inputs=sums["inputs"],
            inputs_clipped=sums["inputs_clipped"],
            potentials=sums["potentials"],
            potentials_clipped=sums["potentials_clipped"],
        )
