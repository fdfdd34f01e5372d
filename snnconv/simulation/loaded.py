"""The network of a checkpoint as a module, which can become a checkpoint again.

Shape:
    ``[B, *input] -> [B, classes]``, see :mod:`snnconv.simulation.module`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.config.base import Engine
from snnconv.core.metadata import LineageStep
from snnconv.data.frames import frames_in_turn
from snnconv.errors import UsageError
from snnconv.simulation.build import fixed, learned, spiking_network
from snnconv.simulation.chunk import State
from snnconv.simulation.corrected import without_weights
from snnconv.simulation.module import SpikingModule

BatchNorm = Literal["folded", "kept"]


class LoadedModule(SpikingModule):
    """The network of a checkpoint, computed by the package's engine.

    Args:
        checkpoint: a checkpoint of a kind that has neurons.
        batch_norm: whether to fold BatchNorm into the weights, which is fast and exact, or to keep
            it for training.
        engine: when to compute convolutions by events: if that is faster, never, or always.

    Raises:
        CheckpointError: the checkpoint has no neurons.
    """

    def __init__(
        self, checkpoint: Checkpoint, batch_norm: BatchNorm = "folded", engine: Engine = "auto"
    ) -> None:
        network = spiking_network(checkpoint, folded=batch_norm == "folded", engine=engine)
        info, data = checkpoint.conversion, checkpoint.data
        super().__init__(
            timesteps=info.timesteps,
            fixed=fixed(checkpoint),
            causal=network.causal,
            mean=data.mean,
            std=data.std,
            scale=data.scale or 1.0,
            input_shape=checkpoint.graph.input_shape,
        )
        self.network = network
        self._origin = checkpoint
        self._folded = batch_norm == "folded"
        self.eval()

    def steps(
        self,
        x: Tensor,
        timesteps: int,
        state: State | None = None,
        samples: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Run the next steps; see :meth:`.SpikingModule.steps`."""
        if samples is None:
            samples = torch.arange(x.shape[1], device=x.device)
        found: tuple[Tensor, State] = self.network(x, timesteps, samples, state)
        return found

    def shown(self, x: Tensor, timesteps: int) -> Tensor:
        """Return the frames to show in turn, from samples or from their frames."""
        frames, hold = self._origin.data.frames, self.network.hold
        if frames is None or hold is None:
            return super().shown(x, timesteps)
        self.check(x, axes=2)
        return frames_in_turn(x, frames, timesteps, hold)

    def to_checkpoint(self) -> Checkpoint:
        """Return the network as a checkpoint, which :func:`snnconv.save` writes.

        Returns:
            The checkpoint that the network was loaded from; if it has learned since then, one of
            kind ``finetuned``.

        Raises:
            UsageError: the network was trained with BatchNorm folded into its weights.
        """
        origin, now = self._origin, _tensors(self)
        if _equal(now, _tensors(LoadedModule(origin, "folded" if self._folded else "kept"))):
            return origin
        of_potentials = any(neuron.norm for neuron in self.network.neurons.values())
        has_norm = any(node.op == "batch_norm" for node in origin.graph.nodes)
        if self._folded and (has_norm or of_potentials):
            raise UsageError(
                "the network can't be used back into a checkpoint",
                "it was trained with BatchNorm folded into its weights",
                'load it with batch_norm="kept", and train that',
            )
        step = LineageStep(stage="finetune", parent=None, config={})
        return replace(
            without_weights(origin),
            kind="finetuned",
            network=self.network.network.tensors(),
            neurons=learned(self.network),
            reference={} if origin.trained_directly else origin.reference or origin.network,
            lineage=(*origin.lineage, step),
        )


def _tensors(module: LoadedModule) -> dict[str, Tensor]:
    """Return the parameters that a module may learn, by name."""
    neurons = {f"neurons/{name}": tensor for name, tensor in learned(module.network).items()}
    return {**module.network.network.tensors(), **neurons}


def _equal(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, others[name]) for name, tensor in some.items())
