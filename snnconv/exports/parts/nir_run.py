"""Runs a NIR graph as it is read back: in torch, a step at a time, with the reset that it names.

Shape:
    Samples ``[f, B, *input]``, logits ``[T, B, classes]``, spikes ``[T, B, *N]``.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.errors import CheckFailedError, UnsupportedError, one_line
from snnconv.exports.base import RunResult

State = dict[str, Tensor]
OLDEST = (1, 0, 8)
"""The first nir whose nodes and readers are those of the files here."""


def package(problem: str) -> Any:
    """Import nir, which an extra brings.

    Raises:
        UnsupportedError: it is not installed, or too old.
    """
    try:
        nir, found = importlib.import_module("nir"), version("nir")
    except ImportError as error:
        raise UnsupportedError(problem, one_line(error), "pip install 'snnconv[nir]'") from error
    if tuple(map(int, re.findall(r"\d+", found)[:3])) < OLDEST:
        raise UnsupportedError(
            problem,
            f"nir {found}, which is older than {'.'.join(map(str, OLDEST))}",
            "pip install --upgrade 'snnconv[nir]'",
        )
    return nir


def read(file: Path) -> Any:
    """Read a graph, with the reader's own check of types.

    Raises:
        CheckFailedError: the reader refuses it.
    """
    nir = package("a NIR file can't be read")
    try:
        return nir.read(file)
    except Exception as error:  # whatever h5py and the reader raise
        raise CheckFailedError(
            f"{file.name} can't be read back by nir {version('nir')}",
            one_line(error),
            "pip install --upgrade nir, and export again",
        ) from error


def run(graph: Any, names: Mapping[str, str], x: Tensor, timesteps: int, hold: int) -> RunResult:
    """Run a graph step by step.

    Args:
        graph: what :func:`read` gave.
        names: the names of the layers of neurons in the file, by the sites of the network.
        x: frames ``[f, B, *input]``.
        timesteps: T.
        hold: steps for which each frame is shown.
    """
    order = _order(graph)
    state: State = {}

    def step(shown: Tensor) -> tuple[Tensor, State]:
        found: State = {}
        for name in order:
            given = [found[source] for source, end in graph.edges if end == name]
            value = sum(given[1:], given[0]) if given else shown
            found[name] = _value(name, graph.nodes[name], value, state)
        return found["output"], found

    return over_time(step, names, x, timesteps, hold)


def over_time(
    step: Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]],
    fired: Mapping[str, str],
    x: Tensor,
    timesteps: int,
    hold: int,
) -> RunResult:
    """Show frames in turn: averages of the output, and spikes by site."""
    total, averages = torch.zeros((), dtype=torch.float64), []
    spikes: dict[str, list[Tensor]] = {own: [] for own in fired}
    with torch.no_grad():
        for t in range(timesteps):
            current, values = step(x[t // hold % len(x)])
            total = total + current.double()
            averages.append(total / (t + 1))
            for own, name in fired.items():
                spikes[own].append(values[name])
    return RunResult(torch.stack(averages), {own: torch.stack(v) for own, v in spikes.items()})


def _order(graph: Any) -> list[str]:
    """Return the nodes, each behind those that it reads.

    Raises:
        CheckFailedError: they form a circle, or one reads nothing.
    """
    before = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    found: list[str] = []
    while len(found) < len(before):
        ready = [n for n in sorted(before) if n not in found and before[n] <= set(found)]
        if not ready:
            left = sorted(set(before) - set(found))
            raise CheckFailedError(
                "the NIR graph can't be run", f"a circle through {left}", "export it again"
            )
        found += ready
    return found


def is_neuron(node: Any) -> bool:
    """Whether a node elicits spikes."""
    return type(node).__name__ in ("IF", "LIF")


def _value(name: str, node: Any, x: Tensor, state: State) -> Tensor:
    """Compute a node's value at this step, ``[B, *N]``, and replace a neuron's state."""
    match type(node).__name__:
        case "Input" | "Output":
            return x
        case "Affine":
            return F.linear(x, tensor(node.weight), tensor(node.bias))
        case "Conv1d":
            stride, padding, dilation = (int(n) for n in (node.stride, node.padding, node.dilation))
            return F.conv1d(x, tensor(node.weight), tensor(node.bias), stride, padding, dilation)
        case "Conv2d":
            where = pair(node.stride), pair(node.padding), pair(node.dilation)
            return F.conv2d(x, tensor(node.weight), tensor(node.bias), *where)
        case "AvgPool2d":
            return F.avg_pool2d(x, *window(node))
        case "SumPool2d":
            return F.avg_pool2d(x, *window(node), divisor_override=1)
        case "Flatten":
            return x.flatten(1)
        case "IF" | "LIF":
            return _fire(name, node, x, state)
    raise CheckFailedError(
        "the NIR graph can't be run", f"'{name}' is a {type(node).__name__}", "export it again"
    )


def _fire(name: str, node: Any, current: Tensor, state: State) -> Tensor:
    """Run one step of neurons: an Euler step of their equation, then a reset."""
    charge, decay = tensor(node.r) * current, torch.ones(())
    if type(node).__name__ == "LIF":
        share = tensor(node.metadata["dt"]) / tensor(node.tau)
        charge, decay = share * charge, 1 - share
    threshold = tensor(node.v_threshold)
    potential = decay * state.get(name, torch.zeros_like(current)) + charge
    spikes = (potential >= threshold).to(current)
    if text(node.metadata["reset"]) == "zero":
        state[name] = torch.where(spikes > 0, tensor(node.v_reset), potential)
    else:
        state[name] = potential - spikes * threshold
    return spikes


def tensor(value: Any) -> Tensor:
    """Return an array as float32."""
    return torch.as_tensor(value, dtype=torch.float32)


def pair(value: Any) -> tuple[int, int]:
    """Return one number an axis."""
    first, second = (int(each) for each in value)
    return first, second


def text(value: Any) -> str:
    """Return a string, which HDF5 gives as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def window(node: Any) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return kernel, stride and padding of a pooling."""
    return pair(node.kernel_size), pair(node.stride), pair(node.padding)
