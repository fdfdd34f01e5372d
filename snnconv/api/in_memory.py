"""Spiking networks as modules: from a file, or from a live module in memory."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from snnconv.api.modules import modes_kept
from snnconv.calibration.calibrate import Method, calibrate, planned
from snnconv.calibration.histogram import STATISTICS
from snnconv.calibration.refit import refitted
from snnconv.checkpoint import Checkpoint, load
from snnconv.config import CalibrateConfig, ConvertConfig
from snnconv.config.base import Engine
from snnconv.config.options import Data
from snnconv.core import runtime
from snnconv.core.kinds import SPIKING
from snnconv.core.metadata import DataInfo, LineageStep, SpikingInfo
from snnconv.core.validation import parameters
from snnconv.data.dataset import Drawn
from snnconv.data.objects.held import part_of
from snnconv.data.objects.parts import Part
from snnconv.data.objects.values import nameless
from snnconv.errors import UsageError, did_you_mean
from snnconv.frontends.open import NO_DATA, from_module
from snnconv.frontends.transfer import with_spiking_functions
from snnconv.graph.obstacles import refuse_obstacles
from snnconv.neurons.base import NEURONS
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.loaded import LoadedModule


class ModuleOptions(TypedDict, total=False):
    """The options of ``convert`` for a module, without ``data``: see :func:`convert_module`."""

    neuron: str
    param: Mapping[str, Any] | None
    coding: str
    timesteps: int
    method: str
    method_param: Mapping[str, Any] | None
    granularity: Literal["layer", "channel"]
    non_relu: Literal["refuse", "analog", "spike"]
    spike_everything: bool
    spike_input: bool
    output: str | int | None
    seed: int
    batch_size: int


def module_options(config: ConvertConfig | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``convert`` for a module; None stands for a default, as everywhere.

    Raises:
        UsageError: an option that does not apply to a module, or no data.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = {"data", *ModuleOptions.__annotations__}
    names = ["config"] * (config is not None) + [name for name in given if name not in known]
    if names:
        raise UsageError(
            f"convert takes no option '{names[0]}' for a module",
            "a conversion in memory, without a run folder",
            did_you_mean(names[0], known),
        )
    if "data" not in given:
        raise UsageError(
            "convert needs samples to calibrate a module on",
            "no data",
            "give data=x, with x of shape [n, *input] as the module takes it",
        )
    return given


def load_network(
    checkpoint: str | Path | Checkpoint,
    *,
    batch_norm: Literal["folded", "kept"] = "folded",
    engine: Engine = "auto",
) -> LoadedModule:
    """Load a spiking network as a ``torch.nn.Module``.

    ``snn(x)`` takes normalised samples ``[B, *input]``, as the network that was converted takes
    them, and gives logits ``[B, classes]`` after the checkpoint's T steps. ``snn.normalise(raw)``
    makes raw samples normalised ones. ``snn(x, timesteps=4, every_step=True)`` gives the logits
    after every step, ``[4, B, classes]``. ``snn.step(x, state)`` and ``snn.stream()`` run one step
    at a time. It is in evaluation mode, learns as other modules do, and goes to any device.

    Args:
        checkpoint: a spiking checkpoint: a file, or a loaded one.
        batch_norm: whether to fold BatchNorm into the weights, which is fast and exact, or to keep
            it for training.
        engine: when to compute layers from events: if a layer's shape says that it is faster,
            never, or whenever it is possible.

    Raises:
        CheckpointError: the file is damaged, or its network has no neurons.

    >>> snn = snnconv.load_network("snnconv-run/converted.safetensors")
    >>> x = snn.normalise(torch.rand(2, 1, 8, 8))
    >>> snn(x).shape
    torch.Size([2, 10])
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load(Path(checkpoint), SPIKING)
    return LoadedModule(checkpoint, batch_norm, engine)


def convert_module(
    module: nn.Module,
    data: Data,
    *,
    neuron: str = "if",
    param: Mapping[str, Any] | None = None,
    coding: str = "rate",
    timesteps: int = 8,
    method: str = "mse",
    method_param: Mapping[str, Any] | None = None,
    granularity: Literal["layer", "channel"] = "channel",
    non_relu: Literal["refuse", "analog", "spike"] = "refuse",
    spike_everything: bool = False,
    spike_input: bool = False,
    output: str | int | None = None,
    seed: int = 0,
    batch_size: int = 100,
) -> LoadedModule:
    """Convert a live module in memory, without a run folder or files.

    Args:
        module: a module that takes ``[B, *input]`` and gives one or several outputs
            ``[B, *out]``. It is not changed.
        data: samples to calibrate on, normalised as the module takes them: an array or a tensor
            ``[n, *input]``, a pair of samples and labels, a ``Dataset``, a ``DataLoader``, a data
            set of Hugging Face, or batches. Whole numbers ``[n, L]`` are token numbers. Labels
            are not used.
        neuron: a name of ``snnconv ls neurons``, or ``file.py:NAME``.
        param: the neuron's parameters.
        coding: how spikes stand for what a neuron sends, a name of ``snnconv ls codings``.
        timesteps: T.
        method: how thresholds are found, a name of ``snnconv ls statistics``.
        method_param: the parameters of that method.
        granularity: one threshold for each channel, or one for each layer.
        non_relu: what to do with functions that no neuron computes: refuse them, compute them
            without spikes, or also put a transfer site, with signed neurons, behind each.
        spike_everything: also put transfer sites before matrices that read sums or other matrices.
        spike_input: also put a transfer site before the first matrix.
        output: which of several outputs to use, by its name or its number from 0.
        seed: the seed of everything random.
        batch_size: how many samples to compute at once.

    Returns:
        The spiking network; its ``to_checkpoint()`` can be saved.

    Raises:
        UsageError: an unknown name, parameter or output, or no samples.
        UnsupportedError: operations can't be converted, and the error lists all of them; or the
            module has several outputs, and none is chosen.
        CheckFailedError: the imported graph does not compute what the module computes.

    >>> from torch import nn
    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> snn = snnconv.convert_module(net, torch.rand(100, 4), timesteps=16)
    >>> snn(torch.rand(2, 4)).shape
    torch.Size([2, 3])
    """
    if isinstance(data, str):
        raise UsageError(
            "a conversion in memory can't read data by name",
            f"'{data}'",
            f"give the samples as the module takes them, or use a run folder: "
            f"snnconv.calibrate(module, data={data!r}), then snnconv.convert()",
        )
    for name, value, model in (
        ("timesteps", timesteps, ConvertConfig),
        ("granularity", granularity, CalibrateConfig),
        ("non_relu", non_relu, CalibrateConfig),
    ):
        parameters(model, {name: value}, "convert_module", "option")
    statistic, kind = STATISTICS.load(method), NEURONS.load(neuron)
    code = CODINGS.load(coding)()
    options = parameters(statistic.params, dict(method_param or {}), f"statistic '{method}'")
    params = parameters(kind.params_type, dict(param or {}), f"neuron '{neuron}'")
    with runtime.host_kept(), modes_kept(module):
        part = part_of(data)
        order = torch.arange(len(part))
        shape = tuple(_values(part, order[:1]).shape[1:])
        info = DataInfo(
            spec=NO_DATA,
            shape=shape,
            classes=(),
            mean=(0.0,),
            std=(1.0,),
            vocabulary=_vocabulary(part, order),
            task="none",
        )
        transfers = non_relu == "spike" or spike_everything or spike_input
        analog = non_relu == "analog" or transfers
        chosen = None if output is None else str(output)
        ann, _ = from_module(module, info, analog, chosen)
        if transfers:
            ann = with_spiking_functions(ann, spike_everything, spike_input)
        refuse_obstacles(ann.graph, type(module).__name__, analog)
        origin = LineageStep(stage="import", parent=None, config={"model": type(module).__name__})
        how = Method(method, statistic, options, granularity)
        nobody = torch.zeros(0, dtype=torch.int64)
        plan = planned(ann, how, batch_size, runtime.free_memory() // 2)
        calibrated = calibrate(
            replace(ann, lineage=(origin,)),
            how,
            lambda: (Drawn(nobody, _values(part, few), None) for few in order.split(plan.samples)),
            torch.device("cpu"),
            plan=plan,
        )
    calibrated, _, _ = refitted(calibrated, code.fit(params.fit(timesteps), timesteps))
    spiking = SpikingInfo(
        neuron=neuron,
        params=params.model_dump(),
        coding=coding,
        timesteps=timesteps,
        seed=seed,
    )
    return LoadedModule(replace(calibrated, kind="converted", spiking=spiking))


def _values(part: Part, indices: Tensor) -> Tensor:
    """Return samples as a module takes them, ``[B, *input]`` float32."""
    return part.samples(indices, lambda x: x).float()


def _vocabulary(part: Part, order: Tensor) -> tuple[str, ...]:
    """Return the vocabulary of texts, which are whole numbers; none for other samples."""
    kind = part.samples(order[:1], lambda x: x).dtype
    if kind.is_floating_point or kind is torch.uint8:
        return ()
    return nameless(int(part.samples(order, lambda x: x).max()))
