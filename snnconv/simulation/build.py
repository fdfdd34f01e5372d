"""Build the spiking network of a checkpoint, and the context of its metrics."""

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint, check_neurons, neuron_params
from snnconv.checkpoint.file import Broken
from snnconv.config.base import Engine
from snnconv.engine.event_conv.sparsity import Rate, always, expected_rate
from snnconv.errors import CheckpointError, UsageError
from snnconv.graph.fold import fold
from snnconv.graph.ir import TRANSFER, Graph, Node
from snnconv.graph.network import Network, ceiling
from snnconv.graph.ops import OPS, Role
from snnconv.metrics.base import MetricContext
from snnconv.neurons.base import NEURONS, Grid, Neuron
from snnconv.neurons.norms.base import normalise
from snnconv.neurons.norms.potentials import PotentialNorm
from snnconv.simulation.codings.base import CODINGS, Coding
from snnconv.simulation.corrected import added, weights
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.stepwise import has_stepwise

_NAMED = 5  # the most sites that an error names


def timesteps(checkpoint: Checkpoint, wanted: int | None) -> int:
    """Return T: the user's choice, or the T for which the network was made.

    Raises:
        UsageError: the user wants another T, but neurons have learned parameters for each step, or
            corrections were made for one T.
    """
    info = checkpoint.conversion
    if wanted is None or wanted == info.timesteps:
        return info.timesteps
    for made in checkpoint.corrected:
        if made.timesteps is not None:
            raise UsageError(
                f"a network with correction '{made.method}' can't run for T = {wanted} steps",
                f"the correction was made for T = {made.timesteps}",
                f"drop --timesteps, or snnconv convert --timesteps {wanted} and correct again",
            )
    if has_stepwise(checkpoint.graph):
        raise UsageError(
            f"the network can't run for T = {wanted} steps",
            f"it has learned factors for each of T = {info.timesteps} (norm "
            f"'{info.norm.name if info.norm else 'tebn'}')",
            f"drop --timesteps, or train it again: --timesteps {wanted}",
        )
    if not neuron_params(info).fixed:
        return wanted
    raise UsageError(
        f"{info.neuron} neurons can't run for T = {wanted} steps",
        f"they were made for T = {info.timesteps}",
        f"drop --timesteps, or snnconv convert --neuron {info.neuron} --timesteps {wanted}",
    )


def fixed(checkpoint: Checkpoint) -> bool:
    """Whether a network runs only for the T that it was made for: it knows something of each step.

    Args:
        checkpoint: a checkpoint of a kind that has neurons.
    """
    of_steps = has_stepwise(checkpoint.graph) or neuron_params(checkpoint.conversion).fixed
    return of_steps or any(made.timesteps is not None for made in checkpoint.corrected)


def spiking_network(
    checkpoint: Checkpoint, folded: bool = True, engine: Engine = "auto"
) -> SpikingNetwork:
    """Return the network of a checkpoint, with its neurons.

    Args:
        checkpoint: a checkpoint of a kind that has neurons.
        folded: whether BatchNorm is folded into weights, as for a simulation. Training keeps it.
        engine: when to compute convolutions by events.

    Raises:
        CheckpointError: the checkpoint has no neurons.
    """
    info = checkpoint.conversion
    if checkpoint.neurons:  # there are none when a training starts
        try:
            check_neurons(checkpoint)
        except Broken as broken:
            problem = "the checkpoint can't be simulated"
            raise CheckpointError(problem, broken.found, broken.remedy) from broken
    kind, params = NEURONS.recall(info.neuron), neuron_params(info)
    thresholds = checkpoint.thresholds()
    neurons: dict[str, Neuron[Any]] = {}
    for site in checkpoint.graph.sites:
        neuron = kind(params, thresholds[site.name], info.timesteps)
        neuron.ceiling = _ceiling(site, thresholds[site.name])
        neuron.train_by(info.surrogate, site.name)
        if info.norm is not None:
            normalise(neuron, info.norm, checkpoint.analysis.shapes[site.name][0])
        neuron.load_state_dict(_learned_at(site.name, checkpoint.neurons), strict=False)
        if folded and isinstance(neuron.norm, PotentialNorm):
            neuron.norm = neuron.norm.folded()
        neurons[site.name] = neuron
    coding, neurons = _coded(info.coding, neurons)
    for neuron in neurons.values():
        check_transfers(info.neuron, neuron, checkpoint.graph)
        _check_gates(info.neuron, neuron, checkpoint.graph)
    network = (
        Network(*fold(checkpoint.graph, weights(checkpoint)))
        if folded
        else Network(checkpoint.graph, weights(checkpoint))
    )
    network = network.laid_out()  # two to three times as fast on a CPU with few channels
    hold = None if checkpoint.data.frames is None else info.hold
    rates = expected_rates(checkpoint, params.grid(1))
    if not coding.sparse:
        rates = dict.fromkeys(neurons, always)
    return SpikingNetwork(
        network,
        neurons,
        info.seed,
        info.confidence,
        hold,
        engine,
        rates,
        added(checkpoint),
        coding,
    )


def check_transfers(name: str, neuron: Neuron[Any], graph: Graph) -> None:
    """Refuse neurons without signed spikes at transfer sites.

    Raises:
        UsageError: there are transfer sites; the error names them.
    """
    sites = [site.name for site in graph.sites if site.op == TRANSFER]
    if sites and not neuron.tracks:
        more = f" and {len(sites) - _NAMED} more" if len(sites) > _NAMED else ""
        raise UsageError(
            f"{name} neurons can't be used at transfer sites",
            f"activations that may be negative at {', '.join(sites[:_NAMED])}{more}",
            "convert with --neuron signed, whose spikes have both signs",
        )


def _check_gates(name: str, neuron: Neuron[Any], graph: Graph) -> None:
    """Refuse gates whose inputs are no spikes of one size.

    Raises:
        UsageError: there are some; the error names them.
    """
    gates = [node.name for node in graph.nodes if OPS[node.op].role is Role.GATE]
    if gates and (neuron.levels > 1 or neuron.signed or neuron.amplitude() is None):
        raise UsageError(
            f"{name} neurons can't be used with gates of spikes",
            f"products of spikes that differ in size or sign at {', '.join(gates[:_NAMED])}",
            "take neurons of one threshold: --neuron lif, or blocks that add: block=sew",
        )


def _coded(name: str, neurons: Mapping[str, Neuron[Any]]) -> tuple[Coding, dict[str, Neuron[Any]]]:
    """Return the coding of a checkpoint, and the neurons that it puts at the sites.

    Raises:
        CheckpointError: there is no such coding, or it does not work with these neurons.
    """
    try:
        coding = CODINGS.recall(name)()
        return coding, {site: coding.neuron(neuron) for site, neuron in neurons.items()}
    except UsageError as error:
        problem = f"the checkpoint can't be simulated ({error.problem})"
        raise CheckpointError(problem, error.found, "snnconv convert again") from error


def expected_rates(checkpoint: Checkpoint, grid: Grid) -> dict[str, Rate]:
    """Return the share of neurons that should spike at a step, for sites with a histogram.

    Args:
        checkpoint: a checkpoint with neurons.
        grid: the values of their output in one step.
    """
    assert checkpoint.calibrated is not None
    levels = round(grid.levels / grid.end)  # how many spikes carry theta together
    return {
        name: functools.partial(
            expected_rate,
            checkpoint.calibration[f"{name}/edges"].double(),
            checkpoint.calibration[f"{name}/counts"].double(),
            site.zero_share or 0.0,
            checkpoint.calibration[f"{name}/threshold"],
            levels,
        )
        for name, site in checkpoint.calibrated.sites.items()
        if f"{name}/edges" in checkpoint.calibration
    }


def _ceiling(site: Node, theta: Tensor) -> Tensor | None:
    """Return the value at which a site's activation is clipped: theta for QCFS, 6 for ReLU6."""
    if site.op == "qcfs":
        return theta
    highest = ceiling(site)
    return None if highest is None else theta.new_tensor(float(highest))


def _learned_at(site: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the learned parameters of a site's neurons; empty if they have learned none."""
    return {
        name.removeprefix(f"{site}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{site}/")
    }


def metric_context(
    checkpoint: Checkpoint,
    network: SpikingNetwork,
    T: int,
    energy_ac_pj: float = 0.9,
    energy_mac_pj: float = 4.6,
    population: int = 0,
) -> MetricContext:
    """Return the context of metrics, for a network that runs for T steps."""
    return MetricContext(
        analysis=network.analysis,
        network=network.network.views(),
        thresholds=checkpoint.thresholds(),
        grid=neuron_params(checkpoint.conversion).grid(T),
        levels=network.levels,
        timesteps=T,
        energy_ac_pj=energy_ac_pj,
        energy_mac_pj=energy_mac_pj,
        hold=network.hold,
        answers=network.answers(T),
        population=population,
        signed=network.signed,
        lead=network.lead,
        neurons=network.neurons,
    )


def learned(network: SpikingNetwork) -> dict[str, Tensor]:
    """Return what neurons have learned, ``<site>/<name>``, as a checkpoint keeps it."""
    return {
        f"{site}/{name}": tensor.detach().cpu().clone()
        for site, neuron in network.neurons.items()
        for name, tensor in neuron.kept().items()
    }
