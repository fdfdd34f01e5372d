"""Samples of one split to simulate: for ``predict`` and ``trace``, and for formats of exports."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.config.outputs import SamplesConfig
from snnconv.core.runtime import mib
from snnconv.data.dataset import Dataset, batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import Split, strata, subset
from snnconv.errors import UsageError
from snnconv.simulation.build import spiking_network, timesteps
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.stages.session import (
    Session,
    data_use,
    files_named,
    load_data,
    plan_batches,
    subset_use,
)
from snnconv.tasks.base import refuse_labels

AT_ONCE = 100
"""Samples that are read at once."""


def spiking_checkpoint(session: Session, config: SamplesConfig) -> tuple[Path, Checkpoint]:
    """Read the checkpoint that the options name, and note its files as inputs of the session."""
    file, checkpoint = session.open_checkpoint(config.checkpoint)
    info = checkpoint.conversion
    session.inputs += [*files_named(info.neuron), *files_named(info.coding)]
    return file, checkpoint


@dataclass(frozen=True)
class Samples:
    """The samples of one split, and the network that is simulated on them.

    Attributes:
        config: the options of the stage.
        checkpoint: the checkpoint of the network.
        snn: the network, on the session's device, in evaluation mode.
        timesteps: T.
        frames: how many different frames T steps show.
        dataset: the data set.
        split: the split that the options name.
        order: the samples' indices, ``[n]``.
    """

    config: SamplesConfig
    checkpoint: Checkpoint
    snn: SpikingNetwork
    timesteps: int
    frames: int
    dataset: Dataset
    split: Split
    order: Tensor

    @classmethod
    def of(
        cls, session: Session, config: SamplesConfig, checkpoint: Checkpoint, limit: int | None
    ) -> "Samples":
        """Read the data, and build the network.

        Args:
            session: the session, which notes the files of the data.
            config: the options of the stage.
            checkpoint: the checkpoint of the network.
            limit: how many samples to take; None for all of the split.

        Raises:
            UsageError: T does not fit the frames of a sample, or labels do not fit the outputs.
        """
        T = timesteps(checkpoint, config.timesteps)
        frames = frames_per_run(checkpoint.data.frames, T, checkpoint.conversion.hold)
        dataset = load_data(session, config, checkpoint.data)
        refuse_labels(dataset.info, dataset.labels, checkpoint.analysis.outputs)
        split = dataset.test if config.split == "test" else dataset.train
        order = subset(strata(split), limit, config.seed)
        snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
        return cls(config, checkpoint, snn, T, frames, dataset, split, order)

    @property
    def labels(self) -> Tensor | None:
        """The samples' labels, in their order; None if there are none."""
        return None if self.split.labels is None else self.split.labels[self.order]

    @property
    def wanted(self) -> BatchPlan:
        """How many samples and steps the options want to compute at once."""
        T, chunk = self.timesteps, self.config.chunk
        return BatchPlan(self.config.batch_size, min(chunk, T) if self.snn.causal else T)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield frames ``[f, B, *input]`` and indices ``[B]`` of ``size`` samples at a time.

        They are normalised, and on the network's device.
        """
        device = next(self.snn.parameters()).device
        info = self.checkpoint.data
        for indices, x, _ in batches(
            self.split, info, self.order, size, frames_per_run=self.frames
        ):
            yield x.to(device), indices.to(device)

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a :class:`.SamplesReport`."""
        return {
            "data": data_use(self.dataset),
            "subset": subset_use(self.split, self.order, self.config.seed),
            **self.checkpoint.analysis.shares,
            "neuron": self.checkpoint.conversion.neuron,
            "timesteps": self.timesteps,
            "latency_steps": self.snn.latency(self.timesteps),
            "split": self.config.split,
            "samples": len(self.order),
        }


def training_samples(
    session: Session,
    checkpoint: Checkpoint,
    network: SpikingNetwork,
    dataset: Dataset,
    count: int,
    seed: int,
    memory: int | None = None,
) -> Tensor | None:
    """Return samples for a format that simulates some, ``[f, B, *input]``; None if it wants none.

    Args:
        session: the session, with its device.
        checkpoint: the checkpoint that is exported.
        network: its network.
        dataset: the data set.
        count: how many training samples the format wants; fewer if there are no more.
        seed: the seed of their choice.
        memory: the bytes that the user gave; None for a share of the free memory.

    Raises:
        UsageError: memory does not hold them.
    """
    if not count:
        return None
    info = checkpoint.conversion
    chosen = subset(strata(dataset.train), count, seed)
    wanted = BatchPlan(len(chosen), info.timesteps)
    found = plan_batches(session, network, wanted, memory, share=4)
    if found != wanted:
        given = session.bound.bytes if session.bound else 0
        fewer = found.steps == wanted.steps and 2 <= found.samples < len(chosen)
        raise UsageError(
            f"memory does not hold {len(chosen)} samples over {info.timesteps} steps",
            f"{mib(given)} can be taken",
            f"correct biases on fewer: samples={found.samples}"
            if fewer
            else "leave bias_correction out, or give more memory",
        )
    shown = frames_per_run(checkpoint.data.frames, info.timesteps, info.hold)
    drawn = batches(dataset.train, checkpoint.data, chosen, AT_ONCE, frames_per_run=shown)
    return torch.cat([x for _, x, _ in drawn], 1)
