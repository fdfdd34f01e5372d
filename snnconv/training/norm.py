"""The norm that the options of a training name, and a network with it."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.config.training import NeuronTrainingConfig
from snnconv.core.metadata import NormInfo
from snnconv.core.validation import parameters
from snnconv.errors import UsageError
from snnconv.graph.ir import Graph
from snnconv.neurons.norms.base import NORMS, make_norm


def named_norm(config: NeuronTrainingConfig) -> NormInfo | None:
    """Return what the options name, its parameters complete; None if they name none.

    Raises:
        UsageError: there is no such norm, or it has no such parameters.
    """
    if config.norm is None:
        if config.norm_param:
            raise UsageError(
                "there is no norm to have a parameter",
                "--norm-param",
                "name one: --norm tdbn (snnconv ls norms)",
            )
        return None
    kind = NORMS.load(config.norm).params_type
    params = parameters(kind, config.norm_param, f"norm '{config.norm}'")
    return NormInfo(name=config.norm, params=params.model_dump())


def with_norm(
    checkpoint: Checkpoint, info: NormInfo | None, timesteps: int, trained: bool
) -> Checkpoint:
    """Return a network's checkpoint with a norm instead of its BatchNorm.

    Args:
        checkpoint: with neurons.
        info: which norm; none leaves the network as it is.
        timesteps: T.
        trained: whether the network has been trained already.

    Raises:
        UsageError: the network has no BatchNorm, or it is trained and would compute something else.
    """
    spiking = checkpoint.conversion
    if info is None or info == spiking.norm:
        return checkpoint
    norm = make_norm(info)
    if trained and not (norm.finetunes and spiking.norm is None):
        found = f"it has '{spiking.norm.name}'" if spiking.norm else "it was trained with BatchNorm"
        raise UsageError(
            f"the network can't be fine-tuned with the norm '{info.name}'",
            f"{found}, and would compute something else from the start",
            f"drop --norm, or train from scratch: snnconv train --neuron {spiking.neuron} "
            f"--norm {info.name}",
        )

    def placed(tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
        return norm.placed(checkpoint.graph, tensors, checkpoint.thresholds(), timesteps)

    graph, network = placed(checkpoint.network)
    if not any(node.op == "batch_norm" for node in graph.nodes) and not norm.of_potentials(1):
        raise UsageError(
            f"the norm '{info.name}' has nothing to take the place of",
            "a network without BatchNorm",
            "drop --norm, or take a network that has some: vgg11, resnet20",
        )
    return replace(
        checkpoint,
        graph=graph,
        network=network,
        reference=placed(checkpoint.reference)[1] if checkpoint.reference else {},
        spiking=spiking.model_copy(update={"norm": info}),
    )
