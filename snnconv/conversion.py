"""From a checkpoint to a spiking network that runs, and the measurement of spike confidence."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.errors import CheckpointError, UsageError
from snnconv.facts import ConfidenceFacts, SpikingFacts
from snnconv.graph.build import Network, shapes, walk
from snnconv.graph.fold import fold
from snnconv.graph.ir import Graph, Node
from snnconv.metric import Batch, Figures, Setup
from snnconv.metrics.sin import Sin
from snnconv.neuron import ROOM, Neuron, NeuronParams
from snnconv.plugins import did_you_mean
from snnconv.simulate import simulate
from snnconv.spiking import SpikingNetwork
from snnconv.validated import parameters


def neuron_params(facts: SpikingFacts) -> NeuronParams:
    """The neuron's parameters, validated against its kind."""
    return parameters(ROOM.load(facts.neuron).params_type, facts.params, f"neuron '{facts.neuron}'")


def spiking_network(checkpoint: Checkpoint, folded: bool = True) -> SpikingNetwork:
    """The network of a checkpoint with its neurons in place.

    Args:
        checkpoint: of a kind that has neurons.
        folded: with BatchNorm folded into weights, as it is simulated; without, as it is trained.

    Raises:
        CheckpointError: it has no neurons.
    """
    facts = checkpoint.spiking
    if facts is None:
        raise CheckpointError(
            "the checkpoint can't be simulated",
            f"no neurons ({checkpoint.kind})",
            "snnconv convert",
        )
    kind, params = ROOM.load(facts.neuron), neuron_params(facts)
    thresholds = checkpoint.thresholds()
    neurons: dict[str, Neuron[Any]] = {}
    for site in checkpoint.graph.sites:
        neurons[site.name] = kind(params, thresholds[site.name], facts.timesteps)
        learned = {
            name.removeprefix(f"{site.name}/"): tensor
            for name, tensor in checkpoint.neurons.items()
            if name.startswith(f"{site.name}/")
        }
        neurons[site.name].load_state_dict(learned, strict=False)
    network = (
        Network(*fold(checkpoint.graph, checkpoint.network))
        if folded
        else Network(checkpoint.graph, checkpoint.network)
    )
    if len(checkpoint.graph.input_shape) == 3:
        # convolutions over few channels run two to three times faster on a CPU in this layout
        network = network.to(memory_format=torch.channels_last)
    return SpikingNetwork(network, neurons, facts.seed, facts.confidence)


def learned(network: SpikingNetwork) -> dict[str, Tensor]:
    """The neurons' learned parameters, ``<site>/<parameter>``, as a checkpoint keeps them."""
    return {
        f"{site}/{name}": parameter.detach().cpu()
        for site, neuron in network.neurons.items()
        for name, parameter in neuron.named_parameters()
    }


@torch.no_grad()
def ann_inputs(network: Network, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The ANN's logits ``[B, classes]``, and its pre-activations by site ``[B, *N]``."""
    inputs: dict[str, Tensor] = {}

    def evaluate(node: Node, values: list[Tensor]) -> Tensor:
        if node.op == "relu":
            inputs[node.name] = values[0]
        return network.compute(node, values)

    return walk(network.graph, x, evaluate), inputs


def confident_sites(graph: Graph, wanted: str) -> list[str]:
    """The sites at which spike confidence acts.

    Args:
        graph: the network.
        wanted: ``off``, ``last``, ``all``, or names with commas between them.

    Raises:
        UsageError: a name that is no site.
    """
    names = [site.name for site in graph.sites]
    match wanted:
        case "off":
            return []
        case "last":
            return names[-1:]
        case "all":
            return names
    chosen = wanted.split(",")
    for name in chosen:
        if name not in names:
            raise UsageError(
                "spike confidence can't be put there", f"'{name}'", did_you_mean(name, names)
            )
    return chosen


def measure_confidence(
    checkpoint: Checkpoint,
    sites: Iterable[str],
    early: int,
    samples: Iterable[tuple[Tensor, Tensor, Tensor]],
    device: torch.device,
    advance: Callable[[int], None],
) -> ConfidenceFacts:
    """``p = 1 - SIN ratio`` of each site after ``early`` steps, without confidence acting.

    Args:
        checkpoint: converted, without confidence.
        sites: where it is to act.
        early: E.
        samples: batches of indices, normalised inputs and labels; calibration samples.
        device: where to simulate.
        advance: told of samples done.
    """
    network = spiking_network(checkpoint).to(device).eval()
    graph = network.network.graph
    facts = checkpoint.spiking
    assert facts is not None
    metric = Sin(
        Setup(
            graph=graph,
            network={},
            shapes=shapes(graph, network.network.tensors()),
            thresholds=checkpoint.thresholds(),
            v0=0.0,
            levels=network.levels,
            timesteps=early,
            energy_ac_pj=0.0,
            energy_mac_pj=0.0,
        )
    )
    for indices, x, labels in samples:
        x = x.to(device)
        logits, inputs = ann_inputs(network.network, x)
        metric.begin(Batch(labels, logits, inputs))
        simulate(network, x, indices.to(device), early, early, metric.observe)
        advance(len(labels))
    layers = metric.figures(Figures()).layers
    return ConfidenceFacts(early=early, keep={s: 1 - layers[s]["sin_ratio"][-1] for s in sites})
