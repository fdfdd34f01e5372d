"""The content of a checkpoint, and its checks, which run before each write and after each read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint.corrections import misfit
from snnconv.checkpoint.file import Broken, refuse_not_finite
from snnconv.core.kinds import SPIKING, Kind
from snnconv.core.metadata import (
    CalibrationInfo,
    CorrectionInfo,
    DataInfo,
    LineageStep,
    SpikingInfo,
)
from snnconv.core.validation import parameters
from snnconv.errors import CheckpointError, SnnconvError, one_line
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Graph
from snnconv.graph.network import LARGEST_VALUE
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal
from snnconv.neurons.base import NEURONS, NeuronParams
from snnconv.neurons.norms.base import normalise

SECTIONS = ("network", "calibration", "neurons", "reference", "corrections")
"""Groups of tensors, by the part of a name before the first slash."""

_HISTOGRAM = ("edges", "counts")
_BINS = ("bins", "lengths")
_CALIBRATE = "calibrate again: snnconv calibrate"
_FINITE = "train again with a lower --lr, or repair the file it came from"
_CORRECT = "correct again: snnconv correct"
_FLOAT32 = "write it again with its tensors in float32: tensor.float()"


@dataclass(frozen=True)
class Checkpoint:
    """A network as one stage has written it.

    Attributes:
        kind: the kind of the checkpoint; one stage writes each kind.
        graph: the network, with BatchNorm as trained; a simulation folds it.
        data: the data for which it was made.
        network: the tensors of the graph, by their names in the graph, float32.
        calibration: ``<site>/threshold`` once calibrated, float32 ``[]``, ``[1]`` or ``[C]``, and a
            histogram of the site's activations, ``<site>/edges`` ``[n + 1]`` and ``<site>/counts``
            ``[n]``, float64. Of kind ``calibrated`` and for a statistic that a conversion fits to
            its T, ``<site>/bins`` ``[n, 4]`` and ``<site>/lengths`` ``[1]`` or ``[C]``, float32:
            see :mod:`snnconv.calibration.bins`.
        neurons: ``<site>/<parameter>`` of neurons with learned parameters, float32.
        reference: the tensors of the ANN that was converted, if fine-tuning has changed the
            network's own; empty if the network still is that ANN.
        corrected: its corrections, in their order.
        corrections: what they add, ``<number>/<part>/<name>``, float32: the number of the
            correction from 1 on, a part (:mod:`snnconv.checkpoint.corrections`), and the name of
            the site or tensor that it is added to.
    """

    kind: Kind
    graph: Graph
    data: DataInfo
    network: dict[str, Tensor]
    lineage: tuple[LineageStep, ...]
    calibrated: CalibrationInfo | None = None
    calibration: dict[str, Tensor] = field(default_factory=dict)
    spiking: SpikingInfo | None = None
    neurons: dict[str, Tensor] = field(default_factory=dict)
    reference: dict[str, Tensor] = field(default_factory=dict)
    corrected: tuple[CorrectionInfo, ...] = ()
    corrections: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def analysis(self) -> Analysis:
        """The analysis of its graph."""
        source = Signal.CONSTANT if self.data.frames is None else Signal.FRAMES
        return Analysis.of(self.graph, self.network, source)

    @property
    def conversion(self) -> SpikingInfo:
        """Its neurons, their T, and what else the conversion decided.

        Raises:
            CheckpointError: it has no neurons.
        """
        if self.spiking is None:
            found = f"no neurons ({self.kind})"
            raise CheckpointError("the checkpoint can't be simulated", found, "snnconv convert")
        return self.spiking

    @property
    def trained_directly(self) -> bool:
        """Whether the network was trained with its neurons in place, so that it has no ANN."""
        trainings = (step for step in self.lineage if step.stage == "train")
        return any(step.config.get("neuron") for step in trainings)

    def thresholds(self) -> dict[str, Tensor]:
        """Return theta by site, ``[]`` or ``[C]``, in units of the ANN's activation."""
        suffix = "/threshold"
        return {
            name.removesuffix(suffix): tensor
            for name, tensor in self.calibration.items()
            if name.endswith(suffix)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors, under ``<section>/<name>``."""
        return {
            f"{section}/{name}": tensor
            for section in SECTIONS
            for name, tensor in getattr(self, section).items()
        }


def neuron_params(info: SpikingInfo) -> NeuronParams:
    """Return the neuron's parameters, validated against its kind."""
    return parameters(
        NEURONS.recall(info.neuron).params_type, info.params, f"neuron '{info.neuron}'"
    )


def check(checkpoint: Checkpoint) -> None:
    """Check types, finite numbers, shapes, and that the parts of a checkpoint fit each other.

    Raises:
        Broken: a part does not fit, which the error names.
    """
    _check_types(checkpoint)
    refuse_not_finite(checkpoint.tensors(), _FINITE)
    sizes = _check_network(checkpoint)
    if checkpoint.kind == "ann":
        if checkpoint.calibration or checkpoint.neurons:
            raise Broken("a checkpoint of kind 'ann' with tensors of calibration or neurons")
    else:
        _check_calibration(checkpoint, sizes)
    if checkpoint.kind in SPIKING:
        check_neurons(checkpoint)
    _check_corrections(checkpoint, sizes)


def _check_types(checkpoint: Checkpoint) -> None:
    for key, tensor in checkpoint.tensors().items():
        histogram = key.startswith("calibration/") and key.endswith(_HISTOGRAM)
        if tensor.dtype is torch.float32 or (histogram and tensor.dtype is torch.float64):
            continue
        raise Broken(
            f"the tensor '{key}' of type {_named(tensor)}, where it has to be float32", _FLOAT32
        )


def _named(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _check_network(checkpoint: Checkpoint) -> Mapping[str, tuple[int, ...]]:
    """Check that everything in the network fits, and return its sizes."""
    graph, network = checkpoint.graph, checkpoint.network
    wanted = graph.tensor_names()
    missing, surplus = wanted - set(network), set(network) - wanted
    if missing or surplus:
        raise Broken(f"tensors missing: {sorted(missing)}; tensors no node uses: {sorted(surplus)}")
    try:
        sizes = checkpoint.analysis.shapes
    except SnnconvError as error:
        raise Broken(f"{error.problem} ({error.found})") from error
    data = checkpoint.data
    shape, classes = data.shape, len(data.classes)
    if {len(data.mean), len(data.std)} - {1, *shape[:1]}:
        raise Broken(
            f"{len(data.mean)} means and {len(data.std)} stds for samples of shape {list(shape)}"
        )
    if graph.input_shape != shape:
        raise Broken(
            f"a network for inputs of shape {list(graph.input_shape)}, and data of {list(shape)}"
        )
    if data.task == "classification" and sizes[graph.output] != (classes,):
        raise Broken(f"an output of shape {list(sizes[graph.output])} for {classes} classes")
    for node in graph.nodes:
        if node.op == "qcfs" and not (network[node.tensors["threshold"]] > 0).all():
            raise Broken(
                f"a theta that is not positive at '{node.name}'", "train again with a lower --lr"
            )
        if node.op == "step_scale":
            steps = checkpoint.spiking.timesteps if checkpoint.spiking else 0
            if len(network[node.tensors["scale"]]) != steps:
                raise Broken(f"factors at '{node.name}' that are not those of T = {steps} steps")
        if node.op == "batch_norm" and (network[node.tensors["var"]] < 0).any():
            raise Broken(f"a variance below 0 at '{node.name}'")
    reference = {name: tensor.shape for name, tensor in checkpoint.reference.items()}
    if reference and reference != {name: tensor.shape for name, tensor in network.items()}:
        raise Broken("reference tensors that are not those of the network")
    return sizes


def _check_calibration(checkpoint: Checkpoint, sizes: Mapping[str, tuple[int, ...]]) -> None:
    info, tensors = checkpoint.calibrated, checkpoint.calibration
    sites = {site.name for site in checkpoint.graph.sites}
    thresholds = checkpoint.thresholds()
    if info is None:
        raise Broken(f"a checkpoint of kind '{checkpoint.kind}' without 'calibration'")
    if set(thresholds) != sites:
        raise Broken(f"thresholds for {sorted(thresholds)}, sites {sorted(sites)}", _CALIBRATE)
    if set(info.sites) != sites:
        raise Broken(f"calibration of {sorted(info.sites)}, sites {sorted(sites)}", _CALIBRATE)
    for name, theta in thresholds.items():
        if not (theta > 0).all():
            raise Broken(f"a threshold that is not positive at '{name}'", _CALIBRATE)
        if theta.shape not in ((), (1,), sizes[name][:1]):
            raise Broken(f"a threshold of shape {list(theta.shape)} at '{name}'", _CALIBRATE)
    allowed = {f"{site}/{part}" for site in sites for part in ("threshold", *_HISTOGRAM, *_BINS)}
    if surplus := sorted(set(tensors) - allowed):
        raise Broken(f"tensors that calibration has no use for: {', '.join(surplus)}", _CALIBRATE)
    for site in sites:
        _check_histogram(site, *(tensors.get(f"{site}/{part}") for part in _HISTOGRAM))
        bins, lengths = (tensors.get(f"{site}/{part}") for part in _BINS)
        _check_bins(site, bins, lengths, thresholds[site])


def _check_histogram(site: str, edges: Tensor | None, counts: Tensor | None) -> None:
    if edges is None and counts is None:
        return
    whole = (
        edges is not None
        and counts is not None
        and edges.dim() == counts.dim() == 1
        and len(edges) == len(counts) + 1 > 1
        and bool((edges.diff() > 0).all())
        and bool((counts >= 0).all())
    )
    if not whole:
        raise Broken(f"a histogram that is none at '{site}'", _CALIBRATE)


def _check_bins(site: str, bins: Tensor | None, lengths: Tensor | None, theta: Tensor) -> None:
    if bins is None and lengths is None:
        return
    whole = (
        bins is not None
        and lengths is not None
        and bins.dim() == 2
        and bins.shape[1] == 4
        and lengths.shape == (theta.numel(),)
        and bool(((lengths >= 0) & (lengths == lengths.round())).all())
        and int(lengths.double().sum()) == len(bins)
        and bool((bins > 0).all() and (bins[:, 2] <= bins[:, 3]).all())
    )
    if not whole:
        raise Broken(f"bins that are none at '{site}'", _CALIBRATE)


def check_neurons(checkpoint: Checkpoint) -> None:
    """Check that the learned tensors are exactly those of the neurons at the sites.

    Raises:
        Broken: one is missing, or too many.
    """
    info = checkpoint.spiking
    if info is None:
        raise Broken(f"a checkpoint of kind '{checkpoint.kind}' without 'spiking'")
    sites = {site.name for site in checkpoint.graph.sites}
    if info.confidence is not None and not set(info.confidence.keep) <= sites:
        raise Broken("spike confidence at a place that is no site", "snnconv convert again")
    try:
        wanted = learned_shapes(checkpoint)
    except CheckpointError:
        raise  # about the code of its neurons: nothing is wrong with the file
    except (SnnconvError, ValueError) as error:
        raise Broken(
            f"neurons that there can't be ({one_line(error)})", "snnconv convert again"
        ) from error
    there = {name: tuple(tensor.shape) for name, tensor in checkpoint.neurons.items()}
    converted = checkpoint.kind in ("converted", "corrected")
    if not there and converted and not neuron_params(info).by_layer:
        return  # they start as their parameters say
    if there == wanted:
        for name, tensor in checkpoint.neurons.items():
            if name.endswith("/norm.var") and (tensor < 0).any():
                raise Broken(f"a variance below 0 at '{name}'")
        return
    missing, surplus = sorted(set(wanted) - set(there)), sorted(set(there) - set(wanted))
    if missing or surplus:
        found = f"missing: {missing[:5]}; with no use: {surplus[:5]}"
    else:
        name = next(name for name in wanted if there[name] != wanted[name])
        found = f"'{name}' of shape {list(there[name])}, where it has {list(wanted[name])}"
    raise Broken(
        f"learned tensors that are not those of {info.neuron} neurons: {found}",
        "snnconv convert again" if converted else "fine-tune again: snnconv finetune",
    )


def _check_corrections(checkpoint: Checkpoint, sizes: Mapping[str, tuple[int, ...]]) -> None:
    made, facts = checkpoint.corrected, checkpoint.spiking
    if facts is None:
        if made or checkpoint.corrections:
            raise Broken(f"a checkpoint of kind '{checkpoint.kind}' with corrections")
        return
    sites = {site.name: sizes[site.name] for site in checkpoint.graph.sites}
    weights = {
        name: tuple(checkpoint.network[name].shape)
        for node in checkpoint.graph.nodes
        if OPS[node.op].role is Role.SYNAPSE
        for name in node.tensors.values()
    }
    for number, correction in enumerate(made, start=1):
        if correction.timesteps not in (None, facts.timesteps):
            raise Broken(
                f"correction {number} ({correction.method}) for T = {correction.timesteps}, "
                f"in a network for T = {facts.timesteps}",
                _CORRECT,
            )
    for key, tensor in checkpoint.corrections.items():
        if wrong := misfit(key, tensor, made, sites, weights):
            raise Broken(f"the tensor 'corrections/{key}': {wrong}", _CORRECT)


def learned_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what the neurons learn, ``<site>/<parameter>``, without allocating it.

    Raises:
        SnnconvError: there are no such neurons or parameters.
        Broken: memory could not hold the tensors.
    """
    info = checkpoint.conversion
    kind, params = NEURONS.recall(info.neuron), neuron_params(info)
    thresholds = checkpoint.thresholds()
    found: dict[str, tuple[int, ...]] = {}
    for site in checkpoint.graph.sites:
        with torch.device("meta"):
            neuron = kind(params, torch.empty(thresholds[site.name].shape), info.timesteps)
            neuron.train_by(info.surrogate, site.name)
            if info.norm is not None:
                normalise(neuron, info.norm, checkpoint.analysis.shapes[site.name][0])
        own = {name: tuple(tensor.shape) for name, tensor in neuron.kept().items()}
        if sum(math.prod(shape) for shape in own.values()) > LARGEST_VALUE:
            raise Broken(f"T = {info.timesteps}, too large for {info.neuron} neurons")
        found |= {f"{site.name}/{name}": shape for name, shape in own.items()}
    return found


def sections(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return tensors by section and name.

    Raises:
        Broken: a tensor belongs to no section.
    """
    found: dict[str, dict[str, Tensor]] = {section: {} for section in SECTIONS}
    for key, tensor in tensors.items():
        section, _, name = key.partition("/")
        if section not in found:
            raise Broken(f"the unknown tensor '{key}'")
        found[section][name] = tensor
    return found
