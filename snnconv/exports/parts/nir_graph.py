"""The graph of NIR that says what a spiking network does, see :mod:`snnconv.exports.nir`.

Shape:
    ``[*input] -> [classes]`` at each step.
"""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from snnconv.exports.base import Subject
from snnconv.exports.parts.unit_graph import Layer, Window, unit_graph
from snnconv.graph.ir import INPUT
from snnconv.neurons.lif import LIF
from snnconv.neurons.lif import Params as LIFParams


def nir_graph(nir: Any, subject: Subject, sums: bool, dt: float) -> Any:
    """Return the graph.

    Args:
        nir: the package.
        subject: one without obstacles.
        sums: whether poolings are sums.
        dt: seconds of a step.
    """
    made, shapes = unit_graph(subject, sums), subject.network.analysis.shapes
    nodes = {INPUT: nir.Input(_array(shapes[INPUT]))}
    edges = []
    for layer in made.layers:
        nodes[layer.name] = _node(nir, subject, layer, dt)
        edges += [(source, layer.name) for source in layer.sources]
    nodes["output"] = nir.Output(_array(shapes[subject.network.network.graph.output]))
    edges += [(source, "output") for source in made.output]
    info, data = subject.info, subject.checkpoint.data
    metadata = {
        "made_by": f"snnconv {version('snnconv')}",
        "checkpoint": subject.sha256,
        "timesteps": info.timesteps,
        "steps_a_frame": subject.network.hold or info.timesteps,
        "reset": _reset(subject),
        "output": "mean over steps of the output are the logits",
        "mean": _array(data.mean, "float32"),
        "std": _array(data.std, "float32"),
        "scale": data.scale or 1.0,
    }
    return nir.NIRGraph(nodes, edges, metadata=metadata)


def _node(nir: Any, subject: Subject, layer: Layer, dt: float) -> Any:
    """Return a layer as NIR states it."""
    match layer.kind:
        case "neurons":
            return _neurons(nir, subject, layer, dt)
        case "flatten":
            return nir.Flatten(_array(layer.shape), 0, -1)
        case "linear":
            return nir.Affine(_numpy(layer.weight), _numpy(layer.bias))
    window = layer.window
    assert window is not None
    if layer.kind == "conv":
        return _conv(nir, layer, window, layer.weight, layer.bias)
    if len(layer.shape) == 2:  # NIR pools images only
        places = 1 if layer.kind == "sum" else window.kernel[0]
        weight = torch.diag(torch.full((layer.shape[0],), 1 / places))[..., None]
        weight = weight.expand(-1, -1, *window.kernel)
        one = Window(window.kernel, window.stride, window.padding, (1,))
        return _conv(nir, layer, one, weight, torch.zeros(layer.shape[0]))
    kind = nir.SumPool2d if layer.kind == "sum" else nir.AvgPool2d
    return kind(_array(window.kernel), _array(window.stride), _array(window.padding))


def _conv(nir: Any, layer: Layer, window: Window, weight: Any, bias: Any) -> Any:
    where = (window.stride, window.padding, window.dilation)
    tensors = _numpy(weight), _numpy(bias)
    if len(layer.shape) == 2:
        numbers = [each[0] for each in where]
        return nir.Conv1d(layer.shape[1], tensors[0], *numbers, 1, tensors[1])
    return nir.Conv2d(tuple(layer.shape[1:]), tensors[0], *where, 1, tensors[1])


def _neurons(nir: Any, subject: Subject, layer: Layer, dt: float) -> Any:
    """Return neurons with a threshold of 1."""
    one = _numpy(torch.ones(layer.shape))
    neuron, reset = subject.network.neurons[layer.site], {"reset": _reset(subject)}
    if not isinstance(neuron, LIF):
        return nir.IF(one, one, 0 * one, metadata=reset)
    decay, scale = neuron.shares()
    if decay == 1:
        return nir.IF(one * scale, one, 0 * one, metadata=reset)
    tau = dt / (1 - decay)
    gain, also = one * (scale * tau / dt), {**reset, "dt": dt}
    return nir.LIF(one * tau, gain, 0 * one, one, 0 * one, metadata=also)


def _reset(subject: Subject) -> str:
    params = subject.params
    return "zero" if isinstance(params, LIFParams) and params.reset == "hard" else "subtract"


def _numpy(tensor: Tensor | None) -> Any:
    assert tensor is not None
    return tensor.detach().float().contiguous().numpy()


def _array(numbers: Iterable[float], dtype: str = "int64") -> Any:
    import numpy as np

    return np.array(list(numbers), dtype)
