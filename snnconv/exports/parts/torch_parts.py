"""The plain functions that a module file contains, in addition to its neurons and its network."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from snnconv.core.shapes import fold_time, laid_out, unfold_time


class Attributes(SimpleNamespace):
    """The attributes of an operation, by their names."""


def each(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Compute a function of samples at every step, ``[T, B, *N] -> [T, B, *M]``.

    An input that does not change over time has ``T = 1``; so has what is computed from it alone.
    """
    steps = max(len(x) for x in inputs)
    merged = [fold_time(x.expand(steps, *x.shape[1:])) for x in inputs]
    return unfold_time(function(*merged), steps)


def over_time(function: Callable[..., Tensor]) -> Callable[[list[Tensor]], Tensor]:
    """Make a function of samples one of all steps' samples."""
    return lambda inputs: each(function, *inputs)


def fire(
    neuron: Any, currents: Tensor, timesteps: int, state: Any, keep: Tensor | None = None
) -> tuple[Tensor, Any]:
    """Run a layer of neurons: what the next layer sees ``[T, B, *N]``, and the state after it."""
    currents = currents.expand(timesteps, *currents.shape[1:])
    spikes, state = neuron(currents, state, keep)
    return laid_out(spikes.values, currents), state


def lead(network: Any, steps: int, x: Tensor, at_once: int, samples: Tensor | None) -> Any:
    """Run the steps before the T steps: the state that the T steps start from."""
    state: Any = {"steps": 0}
    for start in range(0, steps, at_once):
        _, state = network.steps(x, min(at_once, steps - start), state, samples)
    layers: dict[str, Any] = {name: getattr(network, name, None) for name in state}
    neurons = {name: layer for name, layer in layers.items() if hasattr(layer, "begun")}
    return {name: neuron.begun(state[name]) for name, neuron in neurons.items()}


def settled(x: Tensor, *readers: Any) -> Tensor:
    """Take the mean over time if the neurons that read these spikes would take it.

    The order of the sum is that of time. In training every step counts.
    """
    if torch.is_grad_enabled() or not all(neuron.averages() for neuron in readers):
        return x
    total = x[0]
    for step in x[1:]:
        total = total + step
    return (total / len(x))[None]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file: a header in JSON, and float32 values behind it."""
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(content[begin:end], dtype=torch.float32)
            tensors[name] = values.reshape(entry["shape"])
    return tensors
